"""Reading a timeline as a stranger would: does every row follow, and does every checkpoint still hold?"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bot.errors import TimelineError
from bot.store import chain
from bot.store.anchors import Anchors
from bot.store.archive import AtRest
from bot.store.checkpoints import public_of
from bot.store.finding import Finding
from bot.store.links import Links
from bot.store.sqlite import connect

UNDECODABLE = "Could not decode to UTF-8"  # what SQLite says of bytes that are no text
MOST = 1000  # findings kept: a file broken throughout is said to be, in constant memory

# The index gives the order, the second look at the table the texts: what an index repeats is not what is proved.
_COLUMNS = ",".join(f"t.{name}" for name in chain.Row._fields)
_ROWS = f"SELECT {_COLUMNS} FROM timeline i CROSS JOIN timeline t ON t.seq = i.seq ORDER BY i.stream, i.version"  # noqa: S608  constants
_BODY = chain.Row._fields.index("body")
_TOTAL = "SELECT count(*), max(seq) FROM timeline NOT INDEXED"


@dataclass(slots=True)
class Report:
    """What was read: `unanchored` rows came after the last checkpoint and could be cut without a trace."""

    entries: int = 0
    streams: int = 0
    unanchored: int = 0
    problems: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Say whether everything holds."""
        return not self.problems

    def add(self, finding: Finding) -> None:
        """Keep a finding, while there is room."""
        if len(self.problems) < MOST:
            self.problems.append(replace(finding, stream=_printable(finding.stream), detail=_printable(finding.detail)))

    def as_json(self) -> dict[str, Any]:
        """Give the shape `lastgood timeline verify --json` promises."""
        return {
            "ok": self.ok,
            "entries": self.entries,
            "unanchored": self.unanchored,
            "problems": [asdict(one) for one in self.problems],
        }


def verify(path: Path, checkpoints: Sequence[dict[str, Any]] = (), public_key: str | None = None) -> Report:
    """Read the whole file once and hold it to its own checkpoints and to exported ones; nothing is written.

    `checkpoints` are parsed lines of `serve`, `public_key` is hexadecimal. Raises TimelineError for an unreadable file.
    """
    if not path.exists():
        message = f"There is no database {path}."
        raise TimelineError(message)
    key = public_of(public_key) if public_key else None
    log = path.with_name(f"{path.name}-wal")
    still = not log.exists()  # nobody has it open: leave no trace beside what may be evidence
    report = _read(path, checkpoints, key, still=still)
    if still and log.exists() and not report.ok:  # somebody opened it meanwhile, so it may have moved under our eyes
        return _read(path, checkpoints, key, still=False)
    return report


def _read(path: Path, checkpoints: Sequence[dict[str, Any]], key: str | None, *, still: bool) -> Report:
    try:
        return _verified(path, checkpoints, key, str, still=still)
    except TimelineError as error:
        if UNDECODABLE not in str(error):
            raise
        return _verified(path, checkpoints, key, _escaped, still=still)  # slower, and names the entry


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _escaped(raw: bytes) -> str:
    """Keep bytes that are no text; hashing them fails, and that is the finding."""
    return raw.decode("utf-8", "surrogateescape")


def _verified(
    path: Path, checkpoints: Sequence[dict[str, Any]], key: str | None, text: Callable[[bytes], str], *, still: bool
) -> Report:
    report = Report()
    with _opened(path, text, still=still) as connection:
        anchors = Anchors(connection, checkpoints, key)
        _chains(connection, report, anchors)
        _places(connection, report)
        for finding in anchors.findings():
            report.add(finding)
        report.unanchored = anchors.unanchored()
    return report


@contextmanager
def _opened(path: Path, text: Callable[[bytes], str], *, still: bool) -> Iterator[sqlite3.Connection]:
    try:
        connection = connect(path, still=still)
        connection.text_factory = text
        try:
            yield connection
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        message = f"The file {path} cannot be read: {error}."
        raise TimelineError(message) from error


def _chains(connection: sqlite3.Connection, report: Report, anchors: Anchors) -> None:
    links, rest = Links(anchors.covering), AtRest(connection)
    for row in connection.execute(_ROWS):
        report.entries += 1
        if row[_BODY] == "":
            row = rest.whole(row)  # noqa: PLW2901  the same row, with what belongs to it
        for finding in links.follow(row):
            report.add(finding)
    for finding in links.end():
        report.add(finding)
    report.streams = links.streams


def _places(connection: sqlite3.Connection, report: Report) -> None:
    """Places count from 1 without a gap, so an entry taken out leaves a hole even after the last checkpoint."""
    total, highest = connection.execute(_TOTAL).fetchone()
    if total != report.entries:
        detail = f"the table holds {total} entries, its index {report.entries}"
        report.add(Finding("timeline", 0, "index", detail))
    elif total and highest != total:
        detail = f"{total} entries stand on {highest} places, so entries were taken out or put elsewhere"
        report.add(Finding("timeline", 0, "gap", detail))
