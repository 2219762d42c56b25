"""Samples as JSON lines: which of them are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from bot.domain.evidence import Wanted, member

MILLISECONDS = 1e11


def chosen(lines: Iterable[bytes], wanted: Wanted) -> list[tuple[datetime, dict[str, Any]]]:
    """Give the samples of the version and time that are wanted; a line that is none is passed over."""
    found: list[tuple[datetime, dict[str, Any]]] = []
    for line in lines:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        when = _time(member(row, wanted.at)) if isinstance(row, dict) else None
        if when is None or not wanted.since <= when <= wanted.until:
            continue
        if str(member(row, wanted.named)) == wanted.version:
            found.append((when, row))
    return found


def newest(found: list[tuple[datetime, dict[str, Any]]], most: int) -> tuple[dict[str, Any], ...]:
    """Give the newest so many."""
    return tuple(row for _, row in sorted(found, key=lambda one: one[0], reverse=True)[:most])


def _time(said: Any) -> datetime | None:
    try:
        if isinstance(said, str):
            when = datetime.fromisoformat(said)
            return when if when.tzinfo else when.replace(tzinfo=UTC)
        if isinstance(said, int | float) and not isinstance(said, bool):
            return datetime.fromtimestamp(said / 1000 if said > MILLISECONDS else said, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None
