"""The files of a site as they were read: what stands where, before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.domain.policy import matches
from bot.errors import Problem
from bot.shapes import meant
from bot.yaml_file import Path_, Source

FILTERS = ("sources", "kinds", "slis", "severities")
Place = tuple[str, str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Site:
    """The files as they were read; `folder` holds the runbooks."""

    source: Source
    books: tuple[Source, ...]
    folder: Path

    def section(self, *names: str | int) -> dict[str, Any]:
        """Give a mapping of the configuration, empty when it is none."""
        return keys_of(self.source.content, *names)

    def places(self) -> Iterator[Place]:
        """Give every model in every environment, with what the file says there."""
        for model in self.section("models"):
            for environment, said in self.section("models", model, "environments").items():
                yield model, environment, said if isinstance(said, dict) else {}

    def served_by(self, book: Source) -> Iterator[Place]:
        """Give the places a runbook would be used for, those left out that another one always takes."""
        for model, environment, said in self.places():
            if covers(book, model, environment) and not self._taken(book, model, environment):
                yield model, environment, said

    def _taken(self, book: Source, model: str, environment: str) -> bool:
        return any(
            priority_of(other) > priority_of(book)
            and covers(other, model, environment)
            and not any(names_of(other.content, "applies_to", one) for one in FILTERS)
            for other in self.books
        )


def dig(node: Any, *names: str | int) -> Any:
    """Give what stands at a path, None when nothing does."""
    for name in names:
        if isinstance(node, dict):
            node = node.get(name)
        elif isinstance(node, list) and isinstance(name, int):
            node = node[name]
        else:
            return None
    return node


def keys_of(node: Any, *names: str | int) -> dict[str, Any]:
    """Give the mapping at a path, empty when it is none."""
    found = dig(node, *names)
    return found if isinstance(found, dict) else {}


def items_of(node: Any, *names: str | int) -> list[Any]:
    """Give the list at a path, empty when it is none."""
    found = dig(node, *names)
    return found if isinstance(found, list) else []


def names_of(node: Any, *names: str | int) -> tuple[str, ...]:
    """Give the texts of the list at a path."""
    return tuple(one for one in items_of(node, *names) if isinstance(one, str))


def priority_of(book: Source) -> int:
    """Give the priority of a runbook."""
    found = dig(book.content, "priority")
    return found if isinstance(found, int) else 0


def covers(book: Source, model: str, environment: str) -> bool:
    """Say whether a runbook is for this model in this environment."""
    models, environments = (names_of(book.content, "applies_to", one) for one in ("models", "environments"))
    return matches(models, model) and matches(environments, environment)


def versions_of(target: Any) -> list[str]:
    """Give the versions a target names."""
    found = dig(target, "versions")
    return [one for one in found if isinstance(one, str)] if isinstance(found, (list, dict)) else []


def unknown(source: Source, path: Path_, what: str, name: str, known: Iterable[str]) -> Problem:
    """Say that something is not there; `what` is said of it, for example `there is no model`."""
    return source.problem(path, f"{what} `{name}`", meant(name, known))


def warning(source: Source, path: Path_, message: str, hint: str = "") -> Problem:
    """Give what a person may want to know and what stops nothing."""
    one = source.problem(path, message, hint, key=True)
    return Problem(one.file, one.line, one.column, one.key, message, hint, level="warning")
