"""Structured logging: one JSON line an event, control characters escaped, secrets never given to it."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TextIO

import orjson

from bot.ports import Clock

# What JSON leaves as it is and a terminal obeys: C1 controls, direction and line marks, invisible characters.
_OBEYED = re.compile("[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


class JsonLog:
    """Writes to a stream, stderr by default."""

    def __init__(self, clock: Clock, out: TextIO | None = None, *, quiet: bool = False) -> None:
        """Stamp lines with `clock`; `quiet` leaves information out."""
        self._clock, self._out, self._quiet = clock, out or sys.stderr, quiet

    def info(self, event: str, **facts: object) -> None:
        """Write what happened."""
        if not self._quiet:
            self._write("info", event, facts)

    def warning(self, event: str, **facts: object) -> None:
        """Write what a person may want to know."""
        self._write("warning", event, facts)

    def _write(self, level: str, event: str, facts: dict[str, object]) -> None:
        line = {"at": self._clock.now(), "level": level, "event": event, **facts}
        text = _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", _json(line))
        with contextlib.suppress(OSError):  # a full disk or a closed pipe must not end a rollback
            self._out.write(f"{text}\n")
            self._out.flush()


def _json(line: dict[str, object]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # a number or a text JSON cannot hold
        readable = {name: str(value).encode(errors="backslashreplace").decode() for name, value in line.items()}
        return orjson.dumps(readable).decode()
