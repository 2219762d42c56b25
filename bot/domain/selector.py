"""A counter as the configuration names it, `name{label="value",other!="value"}`, and which series it means; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_SELECTOR = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?$")
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=|!=)\s*"([^"\\]*)"\s*(?:,|$)')


@dataclass(frozen=True, slots=True)
class Selector:
    """A counter and the labels its series must or must not have."""

    text: str
    name: str
    matchers: tuple[tuple[str, str, str], ...]

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Read `name{label="value",other!="value"}`; raises ValueError that shows the form."""
        match = _SELECTOR.match(text.strip())
        inside = (match[2] or "") if match else ""
        matchers = tuple(_MATCHER.findall(inside))
        if match is None or _MATCHER.sub("", inside).strip():
            message = f'{text!r} is not a selector; write name{{label="value",other!="value"}}'
            raise ValueError(message)
        return cls(text.strip(), match[1], matchers)

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Say whether a series with these labels is one of those meant."""
        return all((labels.get(label, "") == value) == (sign == "=") for label, sign, value in self.matchers)

    @property
    def wanted(self) -> set[str]:
        """Give the labels some series must have, for the selector to be able to find anything."""
        return {label for label, sign, value in self.matchers if sign == "=" and value}
