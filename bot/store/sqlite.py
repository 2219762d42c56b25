"""One SQLite file: a writer thread, and a few reading threads."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bot.store.chain import COLUMNS, Row
from bot.store.database import Answer, Due, Head, Job
from bot.store.writer import Writer

READERS = 4
LOCKED_FOR_MS = 5000

_HEAD = "SELECT version,epoch,digest,at FROM timeline WHERE stream=? ORDER BY version DESC LIMIT 1"
_INSERT = f"INSERT INTO timeline({COLUMNS}) VALUES(?,?,?,?,?,?,?,?,?,?)"
_COVERED = (
    "SELECT json_extract(body,'$.count') FROM timeline WHERE stream='system/checkpoints' ORDER BY version DESC LIMIT 1"
)
# One statement is one view of the timeline: the count and the heads belong together whatever is appended meanwhile.
_CHANGED = """SELECT t.stream, t.version, t.digest, (SELECT max(seq) FROM timeline) FROM timeline t
JOIN (SELECT stream, max(version) AS version FROM timeline WHERE stream <> 'system/checkpoints' AND seq > ? GROUP BY stream) h
ON t.stream = h.stream AND t.version = h.version ORDER BY t.stream"""


def connect(path: Path, *, write: bool = False, still: bool = False) -> sqlite3.Connection:
    """Open the file the way every part of the store does; only a migration makes one.

    `still` promises that nobody writes: nothing is put beside the file, and read-only media will do.
    """
    how = "mode=rw" if write else "mode=ro&immutable=1" if still else "mode=ro"
    uri = f"file://{quote(str(path.absolute()))}?{how}"
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=LOCKED_FOR_MS / 1000
    )
    connection.execute("PRAGMA recursive_triggers=ON")
    if write:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA journal_mode=WAL")
    return connection


class Sqlite:
    """The Backend of a file. Whoever writes is alone, so nothing needs to be locked."""

    failure: tuple[type[Exception], ...] = (sqlite3.Error,)
    lock = ""

    def __init__(self, path: Path, on_crash: Callable[[BaseException], None]) -> None:
        """Open nothing before it is needed."""
        self._path = path
        self.writer = Writer(lambda: connect(path, write=True), str(path), on_crash)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="timeline-reader")
        self._free: list[sqlite3.Connection] = []
        self.deferring: Callable[[Any, Due], None] = _nobody

    def close(self) -> None:
        """Finish what is queued and let the file go."""
        self._readers.shutdown(wait=True)
        while self._free:
            self._free.pop().close()
        self.writer.close()

    async def read(self, job: Job[Answer]) -> Answer:
        """Run a reading job on a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, job)

    def _read(self, job: Job[Answer]) -> Answer:
        with self._reader() as connection:
            return job(connection)

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._free.pop()
        except IndexError:  # every other reader is busy, or nobody has read yet
            connection = connect(self._path)
        try:
            yield connection
        finally:
            self._free.append(connection)

    def time(self, connection: sqlite3.Connection) -> None:
        """A file has no clock."""

    def damage(self, connection: sqlite3.Connection) -> str:
        """Look through the whole file for damage; give the first thing found, an empty text when it is whole."""
        try:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            found = str(error)
        return "" if found == "ok" else str(found).strip().replace("\n", "; ")

    def refuse(self, reason: str) -> None:
        """Write nothing more."""
        self.writer.refuse(reason)

    def heads(self, connection: sqlite3.Connection, given: Sequence[str], written: Sequence[str]) -> Mapping[str, Head]:
        """Give where streams end."""
        found = {stream: connection.execute(_HEAD, (stream,)).fetchone() for stream in {*given, *written}}
        return {stream: Head(*row) if row else Head() for stream, row in found.items()}

    def insert(self, connection: sqlite3.Connection, rows: Sequence[Row]) -> list[int]:
        """Write rows on the next places, which count from 1 without a gap."""
        (last,) = connection.execute("SELECT coalesce(max(seq),0) FROM timeline").fetchone()
        places = list(range(last + 1, last + 1 + len(rows)))
        connection.executemany(_INSERT, [(seq, *row[1:]) for seq, row in zip(places, rows, strict=True)])
        return places

    def hold(self, connection: sqlite3.Connection, names: Sequence[str]) -> None:
        """Nobody else writes."""

    def defer(self, connection: sqlite3.Connection, due: Due) -> None:
        """Tell whoever asked to be told; the engine of one process looks at the table of work itself."""
        self.deferring(connection, due)

    def changed(self, connection: sqlite3.Connection) -> tuple[list[tuple[str, int, str]], int]:
        """Give the heads that stand on places after the last checkpoint's, and the highest place."""
        last = connection.execute(_COVERED).fetchone()
        rows = connection.execute(_CHANGED, (last[0] if last else 0,)).fetchall()
        return [row[:3] for row in rows], rows[0][3] if rows else 0

    def member(self, column: str, name: str) -> str:
        """Read a member with SQLite's own function."""
        return f"json_extract({column},'$.{name}')"


def _nobody(connection: object, due: Due) -> None:
    """No engine asked to be told."""
    del connection, due
