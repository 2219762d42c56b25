"""Settings of an SLI that name a version or a cohort: `{version}` and `{cohort}` are put in before it is measured."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+@/-]{0,127}")
_TOKEN = re.compile(r"\{(version|cohort)\}")


def asks(settings: Mapping[str, Any], name: str) -> bool:
    """Say whether any text of the settings, however deep, holds `{name}`."""
    return any(f"{{{name}}}" in text for text in _texts(settings))


def filled(settings: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """Put names into every text, and leave all else as it is; a token without a name stays.

    Raises ValueError for a name that could leave a quoted label: only letters, digits and `_ . : + @ / -` are put in.
    """
    for name, value in names.items():
        if not _SAFE.fullmatch(value):
            message = f"{name} {value[:60]!r} cannot be put into a query: only letters, digits and _ . : + @ / - can"
            raise ValueError(message)
    return {key: _put(value, names) for key, value in settings.items()}


def _put(held: Any, names: Mapping[str, str]) -> Any:
    if isinstance(held, str):
        return _TOKEN.sub(lambda found: names.get(found[1], found[0]), held)
    if isinstance(held, Mapping):
        return {key: _put(value, names) for key, value in held.items()}
    if isinstance(held, (list, tuple)):
        return [_put(value, names) for value in held]
    return held


def _texts(held: Any) -> list[str]:
    if isinstance(held, str):
        return [held]
    if isinstance(held, Mapping):
        return [text for value in held.values() for text in _texts(value)]
    if isinstance(held, (list, tuple)):
        return [text for value in held for text in _texts(value)]
    return []
