"""One database behind the store: jobs on threads, and an event loop that never waits for a disk."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from bot.errors import TimelineError
from bot.ports import Clock
from bot.store.chain import Row
from bot.store.place import place_of

Answer = TypeVar("Answer")
Due = Sequence[tuple[str, str, str]]  # (lane, stream, at)


class Cursor(Protocol):
    """The rows a statement gave."""

    def fetchone(self) -> Any:
        """Give the next row, None when there is no more."""

    def fetchall(self) -> list[Any]:
        """Give all rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """Give row after row."""


class Connection(Protocol):
    """What a job does its work on: statements in SQL both databases read, with `?` for each value."""

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Cursor:
        """Run one statement."""

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]], /) -> object:
        """Run one statement for each row of values."""


Job = Callable[[Any], Answer]
Sure = Callable[[Any, Any], bool]  # after a commit whose answer was lost: does this answer stand?


class Head(NamedTuple):
    """Where a stream ends."""

    version: int = 0
    epoch: int = 0
    digest: str = ""
    at: str = ""


class Writes(Protocol):
    """Runs writing jobs, each all or nothing."""

    async def run(self, job: Job[Answer], sure: Sure | None = None) -> Answer:
        """Run a job and wait for its commit. Once asked for, it runs to its end even when the caller is cancelled."""

    def submit(self, job: Job[Answer], sure: Sure | None = None) -> asyncio.Future[Answer]:
        """Ask for a job; the future has its answer after the commit. Raises TimelineError when nothing is written any more."""


class Backend(Protocol):
    """One kind of database, and what it does in its own words."""

    lock: str  # ends a SELECT whose rows nobody else may change before the commit
    deferring: Callable[[Any, Due], None]  # an engine's jobs, made in the transaction that makes work due

    @property
    def writer(self) -> Writes:
        """Give what runs writing jobs."""

    @property
    def failure(self) -> tuple[type[Exception], ...]:
        """Give what the driver raises."""

    async def read(self, job: Job[Answer]) -> Answer:
        """Run a reading job. Raises what the driver raises."""

    def close(self) -> None:
        """Finish what is queued and let the database go."""

    def time(self, connection: Any) -> datetime | None:
        """Give what the database's own clock says, None when it has none of its own."""

    def damage(self, connection: Any) -> str:
        """Look for damage; give what was found, an empty text when there is none."""

    def refuse(self, reason: str) -> None:
        """Write nothing more, and say why to whoever asks."""

    def heads(self, connection: Any, given: Sequence[str], written: Sequence[str]) -> Mapping[str, Head]:
        """Give where streams end, and keep others from moving them before the commit."""

    def insert(self, connection: Any, rows: Sequence[Row]) -> list[int]:
        """Write rows of the timeline, each after the last of its stream; give their places."""

    def hold(self, connection: Any, names: Sequence[str]) -> None:
        """Keep others who ask for one of these names waiting until the commit."""

    def defer(self, connection: Any, due: Due) -> None:
        """Tell an engine that needs to be told in the same transaction what became due."""

    def changed(self, connection: Any) -> tuple[list[tuple[str, int, str]], int]:
        """Give the heads (stream, version, digest) no checkpoint covers, and how many entries are covered with them."""

    def member(self, column: str, name: str) -> str:
        """Write the expression that reads a member of a JSON object as text."""


class Database:
    """The database of a site; the parts of the store build on it."""

    def __init__(self, url: str, clock: Clock, *, on_crash: Callable[[BaseException], None]) -> None:
        """Open the database of `url`; the schema must be there (see `bot.store.schema.migrate`)."""
        self.place = place_of(url)
        self._clock = clock
        self._backend: Backend
        if self.place.alone:
            from bot.store.sqlite import Sqlite  # each brings its own driver

            self._backend = Sqlite(self.place.file, on_crash)
        else:
            from bot.store.postgres import Postgres

            self._backend = Postgres(self.place)
        self._writer = self._backend.writer
        self.ring: Callable[[], None] = _nobody  # is told after a commit that made work due

    async def __aenter__(self) -> Self:
        """Use it as a context."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Finish writing and close."""
        await asyncio.to_thread(self.close)

    @property
    def path(self) -> Path:
        """Give the file. Raises TimelineError when it is no file."""
        return self.place.file

    def close(self) -> None:
        """Finish what is queued and let the database go."""
        self._backend.close()

    def deferring(self, defer: Callable[[Any, Due], None]) -> None:
        """Let an engine make its jobs in the transaction that makes work due, where the database has such an engine."""
        self._backend.deferring = defer

    async def apart(self) -> float:
        """Give how many seconds this machine's clock is away from the database's; 0 when they share one."""
        there = await self._reading(self._backend.time)
        return abs((self._clock.now() - there).total_seconds()) if there else 0.0

    async def check(self) -> str:
        """Look through the database for damage; when there is some, write nothing more and give the sentence that says why."""
        found = await self._reading(self._backend.damage)
        if not found:
            return ""
        reason = f"The timeline {self.place.name} is damaged ({found}), so nothing is written to it and no rollback begins. Stop serve and put a backup in its place; what was done meanwhile is looked up, not done again."
        self._backend.refuse(reason)
        return reason

    async def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Read rows without blocking the event loop. Raises TimelineError."""
        return await self._reading(lambda connection: connection.execute(sql, tuple(parameters)).fetchall())

    async def _reading(self, job: Job[Answer]) -> Answer:
        try:
            return await self._backend.read(job)
        except self._backend.failure as error:
            message = f"The timeline {self.place.name} cannot be read: {error}."
            raise TimelineError(message) from error

    async def _writing(self, job: Job[Answer], sure: Sure | None = None) -> Answer:
        return await self._writer.run(job, sure)


def text(*values: str) -> None:
    """Refuse text no database can hold before it reaches the writer. Raises UnicodeEncodeError, a ValueError."""
    "".join(values).encode()


def _nobody() -> None:
    """No engine runs here: another process looks for the work."""


def end_process(error: BaseException) -> None:
    """End at once and non-zero: nothing may happen that cannot be recorded."""
    os.write(2, f"The timeline writer ended with {error!r}; nothing can be recorded, so Lastgood ends.\n".encode())
    os._exit(70)
