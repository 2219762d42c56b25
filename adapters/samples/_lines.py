"""Samples as JSON lines: which of them are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from bot.domain import words
from bot.domain.evidence import Found, Wanted, member

MILLISECONDS = 1e11


@dataclass(slots=True)
class Picked:
    """The samples picked so far, and what could not be looked at."""

    wanted: Wanted
    rows: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    unreadable: int = 0
    unread: int = 0  # files or objects that were left, or read in part

    @property
    def enough(self) -> bool:
        """Say whether there are as many as are wanted."""
        return len(self.rows) >= self.wanted.most

    def take(self, lines: Iterable[bytes]) -> None:
        """Pick the samples of the version and time that are wanted; a line that is none is counted."""
        for line in lines:
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                row = None
            when = _time(member(row, self.wanted.at)) if isinstance(row, dict) else None
            if when is None:
                self.unreadable += 1
            elif (
                self.wanted.since <= when <= self.wanted.until
                and str(member(row, self.wanted.named)) == self.wanted.version
            ):
                self.rows.append((when, row))

    def found(self, where: str) -> Found:
        """Give the newest, and say what was not looked at; `where` names files or objects, several."""
        rows = sorted(self.rows, key=lambda one: one[0], reverse=True)[: self.wanted.most]
        notes = []
        if self.unreadable:
            notes.append(f"Lines that are no sample with a time: {words.count(self.unreadable)}")
        if self.unread and len(rows) < self.wanted.most:
            notes.append(f"Too large to read whole: {words.count(self.unread)} {where}")
        return Found(rows=tuple(row for _, row in rows), notes=tuple(notes))


def whole(body: bytes, *, cut: bool) -> list[bytes]:
    """Give the lines of the end of a file; the first is left out when its beginning was cut off."""
    lines = body.splitlines()
    return lines[1:] if cut else lines


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
