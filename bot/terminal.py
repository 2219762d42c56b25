"""How things are written for people in a terminal: 100 columns, local times, no boxes, errors beside the results."""

from __future__ import annotations

import itertools
import re
import sys
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from bot.errors import Problem

WIDTH = 100
MARKS: Mapping[str, str] = {"yes": "✓", "no": "✗", "cannot_tell": "?", "not_yet": "…"}
_LABEL = 11
_GUTTER = 7  # before a line of source
_TOKEN = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'|[^\s,\[\]{}:]+")
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def out(text: str) -> None:
    """Print a result."""
    sys.stdout.write(f"{text}\n")


def tell(text: str) -> None:
    """Say something that is no result: an error, a warning, what happens meanwhile."""
    sys.stderr.write(f"{text}\n")


def as_json(content: Any) -> None:
    """Print the one object a script reads."""
    out(orjson.dumps(content, default=str).decode())


def interactive() -> bool:
    """Say whether a person sits here who can be asked."""
    return sys.stdin.isatty()


def ask(question: str) -> str:
    """Ask a person; give what they typed, an empty text when they would rather not."""
    sys.stderr.write(question)
    sys.stderr.flush()
    try:
        return sys.stdin.readline().strip()
    except KeyboardInterrupt:
        tell("")
        return ""


@contextmanager
def waiting(text: str) -> Iterator[Callable[[], None]]:
    """Turn a spinner at each call of the yielded function, where a person looks; elsewhere it says nothing."""
    turns = itertools.cycle("|/-\\") if sys.stderr.isatty() else None

    def turn() -> None:
        if turns is not None:
            sys.stderr.write(f"\r{text} {next(turns)}")
            sys.stderr.flush()

    try:
        yield turn
    finally:
        if turns is not None:
            sys.stderr.write(f"\r{' ' * (len(text) + 2)}\r")


def local(at: datetime, form: str = "%H:%M") -> str:
    """Write a time as the clock on this machine's wall shows it."""
    return at.astimezone().strftime(form)


def zone(at: datetime | None = None) -> str:
    """Name the zone of `local`."""
    return (at or datetime.fromtimestamp(0, UTC)).astimezone().strftime("%Z")


def row(label: str, text: str) -> str:
    """Write one answer under its label, wrapped."""
    return wrapped(f"{label:<{_LABEL}}", text)


def wrapped(first: str, text: str) -> str:
    """Write text after `first`, its further lines beneath its own beginning."""
    return textwrap.fill(
        text, WIDTH, initial_indent=first, subsequent_indent=" " * len(first), break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def counted(number: int, noun: str) -> str:
    """Write `1 problem`, `4 problems`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


# ── problems ──────────────────────────────────────────────────────────────────────────────────────────────────────


def problems(found: Sequence[Problem], root: Path) -> Iterator[str]:
    """Write each problem with its place and, where it stands in a file under `root`, its line underlined."""
    width = Counter[str]()
    for one in found:
        width[one.file] = max(width[one.file], len(_place(one)))
    lines: dict[str, list[str]] = {}
    for one in found:
        yield wrapped(f"{_place(one):<{width[one.file]}}  ", _sentence(one))
        if one.line and one.level == "problem":
            if one.file not in lines:
                lines[one.file] = _lines(root / one.file)
            yield from _underlined(lines[one.file], one.line, one.column)


def as_one_line(one: Problem) -> str:
    """Write a problem that stands in no line."""
    return f"✗ {_place(one)}: {_sentence(one)}"


def _place(one: Problem) -> str:
    return ":".join(str(part) for part in (one.file, one.line, one.column) if part)


def _sentence(one: Problem) -> str:
    key = f"{one.key}: " if one.key else ""
    end = "" if one.message.endswith((".", "?")) else "."
    hint = f" {one.hint}" if one.hint else ""
    warning = "warning: " if one.level == "warning" else ""
    return f"{warning}{key}{one.message}{end}{hint}"


def _lines(path: Path) -> list[str]:
    try:
        return re.split(r"\r\n|[\n\r\x85\u2028\u2029]", path.read_text(encoding="utf-8-sig", errors="replace"))
    except OSError:
        return []


def _underlined(lines: Sequence[str], line: int, column: int) -> Iterator[str]:
    """Show a line and carets under the word at `column`; a long line is shown around it."""
    if line > len(lines):
        return
    text = _UNSHOWN.sub(" ", lines[line - 1])
    word = _TOKEN.match(text, column - 1)
    start = 0 if column < WIDTH - _GUTTER - 20 else column - 41
    before = f"{'…' * (start > 0)}{text[start : column - 1]}"
    room = WIDTH - _GUTTER - len(before)
    carets = max(1, min(len(word[0]) if word else 1, room))
    yield f"{line:>4} | {(before + text[column - 1 :])[: WIDTH - _GUTTER]}".rstrip()
    yield f"     | {' ' * _cells(before)}{'^' * carets}"


def _cells(text: str) -> int:
    """Count the columns a terminal gives a text."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )
