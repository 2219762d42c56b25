"""One SQLite file: a writer thread, a few reading threads, and an event loop that never waits for a disk."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from bot.errors import TimelineError
from bot.ports import Clock
from bot.store.writer import Answer, Job, Writer

READERS = 4
LOCKED_FOR_MS = 5000


def path_of(url: str) -> Path:
    """Give the file of a `sqlite:///` URL or of a plain path. Raises TimelineError for another kind of database."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Path(url)
    if scheme != "sqlite" or not rest.removeprefix("/"):
        message = f"{scheme}:// names no database Lastgood can open: give sqlite:/// and the path of a file."
        raise TimelineError(message)
    return Path(rest.removeprefix("/"))


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


def text(*values: str) -> None:
    """Refuse text no database can hold before it reaches the writer. Raises UnicodeEncodeError, a ValueError."""
    "".join(values).encode()


class Database:
    """The file, its writer and its readers; the parts of the store build on it."""

    def __init__(self, url: str, clock: Clock, *, on_crash: Callable[[BaseException], None]) -> None:
        """Open the file of `url`; the schema must be there (see `bot.store.schema.migrate`)."""
        self.path = path_of(url)
        self._clock = clock
        self._writer = Writer(lambda: connect(self.path, write=True), str(self.path), on_crash)
        self.ring: Callable[[], None] = _nobody  # is told after a commit that made work due
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="timeline-reader")
        self._free: list[sqlite3.Connection] = []

    async def __aenter__(self) -> Self:
        """Use it as a context."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish writing and close."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Finish what is queued and let the file go."""
        self._readers.shutdown(wait=True)
        while self._free:
            self._free.pop().close()
        self._writer.close()

    async def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Read rows without blocking the event loop. Raises TimelineError."""
        return await self._reading(lambda connection: connection.execute(sql, tuple(parameters)).fetchall())

    async def _reading(self, job: Job[Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, job)

    def _read(self, job: Job[Answer]) -> Answer:
        try:
            with self._reader() as connection:
                return job(connection)
        except sqlite3.Error as error:
            message = f"The timeline {self.path} cannot be read: {error}."
            raise TimelineError(message) from error

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._free.pop()
        except IndexError:  # every other reader is busy, or nobody has read yet
            connection = connect(self.path)
        try:
            yield connection
        finally:
            self._free.append(connection)

    async def _writing(self, job: Job[Answer]) -> Answer:
        return await self._writer.run(job)


def _nobody() -> None:
    """No engine runs here: another process looks for the work."""


def end_process(error: BaseException) -> None:
    """End at once and non-zero: nothing may happen that cannot be recorded."""
    os.write(2, f"The timeline writer ended with {error!r}; nothing can be recorded, so Lastgood ends.\n".encode())
    os._exit(70)
