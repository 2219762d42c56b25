"""The one writer: a thread that takes requests in groups, checks each, and commits a group once."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from bot.errors import Conflict, LastgoodError, ReadOnly, TimelineError
from bot.store.database import Answer, Job, Sure

GROUP = 256
CAUSES = {
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "the file or its directory is read-only",
    "SQLITE_BUSY": "another process holds it for writing",
    "SQLITE_CANTOPEN": "the file cannot be opened",
    "SQLITE_IOERR": "the disk reports errors",
    "SQLITE_CORRUPT": "the file is damaged",
    "SQLITE_NOTADB": "the file is not a database",
}


@dataclass(slots=True)
class _Request:
    job: Job[Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    answer: Any = None
    error: Exception | None = None

    def settle(self) -> None:
        """Hand the answer over; a caller who has gone misses it and nothing else."""
        if self.future.cancelled():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.answer)


class Writer:
    """Runs jobs on the only writing connection, many in one commit.

    A job raises LastgoodError to refuse itself alone, before its first write. An SQL error rolls the group back and
    its requests are tried one by one. Any other exception fails every caller, ends the thread and calls `on_crash`.
    """

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], where: str, on_crash: Callable[[BaseException], None]
    ) -> None:
        """Write through `connect()`; `where` names the file in errors."""
        self._connect, self._where, self._on_crash = connect, where, on_crash
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._door = threading.Lock()  # nothing is queued after the thread has ended
        self._ended: str | None = None
        self._refusing: str | None = None
        self._group: list[_Request] = []
        self._connection: sqlite3.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="timeline-writer", daemon=True)
        self._thread.start()

    async def run(self, job: Job[Answer], sure: Sure | None = None) -> Answer:
        """Run a job and wait for its commit. Once asked for, it runs to its end even when the caller is cancelled."""
        return await self.submit(job, sure)

    def submit(self, job: Job[Answer], sure: Sure | None = None) -> asyncio.Future[Answer]:
        """Ask for a job; the future has its answer after the commit. Raises TimelineError when nothing is written any more."""
        del sure  # a file says whether it has committed
        loop = asyncio.get_running_loop()
        request = _Request(job, loop.create_future(), loop)
        with self._door:
            if self._ended is not None:
                raise TimelineError(self._ended)
            if self._refusing is not None:
                raise ReadOnly(self._refusing)
            self._queue.put(request)
        return request.future

    def refuse(self, reason: str) -> None:
        """Write nothing more, and say why to whoever asks; what is read stays readable."""
        with self._door:
            self._refusing = reason

    def close(self) -> None:
        """Finish what is queued and end the thread."""
        with self._door:
            if self._ended is None:
                self._ended = f"The timeline {self._where} is closed."
                self._queue.put(None)
        self._thread.join()

    def __enter__(self) -> None:
        """Watch over the thread's life."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """End the thread: after a crash nobody may act without a record, so every caller and the process must know."""
        if self._connection is not None:
            self._connection.close()
        if error is not None:
            try:
                self._on_crash(error)
            finally:
                self._fail_all(error)
        return True

    def _run(self) -> None:
        with self:
            while self._take():
                self._write(self._group)
                _settle(self._group)

    def _take(self) -> bool:
        """Take what waits, at least one request; False when closed."""
        self._group = []
        one = self._queue.get()
        while one is not None:
            self._group.append(one)
            if len(self._group) == GROUP or self._queue.empty():
                return True
            one = self._queue.get()
        if self._group:
            self._queue.put(None)  # come back for the end
        return bool(self._group)

    def _write(self, group: list[_Request]) -> None:
        """Commit the group, or each request alone when something in it is refused by the database."""
        connection = self._begin(group)
        if connection is None:
            return
        try:
            _commit(connection, group)
        except sqlite3.DatabaseError as error:
            _roll_back(connection)
            if len(group) == 1:
                group[0].error = self._translated(error)
                return
            for request in group:
                self._write([request])

    def _begin(self, group: list[_Request]) -> sqlite3.Connection | None:
        """Begin writing; when that is not possible nobody's request was at fault, and all of them fail."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.DatabaseError as error:
            for request in group:
                request.error = self._translated(error)
            return None
        return self._connection

    def _translated(self, error: sqlite3.DatabaseError) -> TimelineError | Conflict:
        name = getattr(error, "sqlite_errorname", "")
        if isinstance(error, sqlite3.IntegrityError):
            translated: TimelineError | Conflict = Conflict(f"The timeline {self._where} refuses this: {error}.")
        else:
            cause = next((sentence for code, sentence in CAUSES.items() if name.startswith(code)), str(error))
            translated = ReadOnly(f"The timeline {self._where} cannot be written: {cause}. No record, no rollback.")
        translated.__cause__ = error
        return translated

    def _fail_all(self, error: BaseException) -> None:
        with self._door:
            self._ended = f"The timeline {self._where} is written no more: its writer ended with {error!r}."
            lost = self._group
            while not self._queue.empty():
                if (request := self._queue.get()) is not None:
                    lost.append(request)
        for request in lost:
            request.error = TimelineError(self._ended)
        _settle(lost)


def _commit(connection: sqlite3.Connection, group: list[_Request]) -> None:
    for request in group:
        before = connection.total_changes
        try:
            request.answer, request.error = request.job(connection), None
        except LastgoodError as error:
            if connection.total_changes != before:
                message = "a request refused itself after it had written"
                raise AssertionError(message) from error
            request.error = error
    connection.execute("COMMIT")


def _roll_back(connection: sqlite3.Connection) -> None:
    """Undo the group; some errors have undone it already."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _settle(group: list[_Request]) -> None:
    """Wake each loop once a group, since every wake is a system call."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Request]] = defaultdict(list)
    for request in group:
        by_loop[request.loop].append(request)
    for loop, requests in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle_all, requests)
        except RuntimeError:  # the loop has closed: nobody waits there any more
            continue


def _settle_all(requests: list[_Request]) -> None:
    for request in requests:
        request.settle()
