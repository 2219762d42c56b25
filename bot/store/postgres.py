"""A PostgreSQL: jobs on a few threads, a transaction each; streams are locked by their heads, and nothing is locked for all."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import lru_cache
from typing import Any

import psycopg

from bot.errors import Conflict, LastgoodError, ReadOnly, TimelineError
from bot.store.chain import Row
from bot.store.database import Answer, Due, Head, Job, Sure
from bot.store.place import Place

WRITERS = 8
READERS = 4
CONNECT_WITHIN = 5  # seconds
STATEMENT_WITHIN = "15s"
TRIES = 5
AGAIN = (0.01, 0.05, 0.2, 0.5)  # seconds between the tries of one job
# Another transaction came between, in a way that trying again settles.
_RACED = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation)
_CHANGED = (
    "SELECT h.stream,h.version,h.digest,coalesce(s.version,0) FROM head h LEFT JOIN signed s ON s.stream=h.stream "
    "WHERE h.stream<>'system/checkpoints' AND h.version>coalesce(s.version,0) ORDER BY h.stream"
)
_COVERED = "SELECT coalesce(sum(version),0)+coalesce((SELECT version FROM head WHERE stream='system/checkpoints'),0) FROM signed"
Defer = Callable[[Any, Due], None]


class Joined:
    """One connection, taking the store's SQL. A NUL, which PostgreSQL cannot hold in a text, is kept as U+FFFD."""

    def __init__(self, dsn: str) -> None:
        """Connect. Raises psycopg.OperationalError."""
        self.raw = psycopg.connect(
            dsn, autocommit=True, connect_timeout=CONNECT_WITHIN, application_name="lastgood",
            keepalives_idle=5, keepalives_interval=2, keepalives_count=3, tcp_user_timeout=10_000,
        )  # fmt: skip
        self.raw.execute(f"SET statement_timeout = '{STATEMENT_WITHIN}'")

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        """Run one statement."""
        return self.raw.execute(_translated(sql), [_held(one) for one in parameters])

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row of values."""
        with self.raw.cursor() as cursor:
            cursor.executemany(_translated(sql), [[_held(one) for one in row] for row in parameters])

    def close(self) -> None:
        """Let it go."""
        with contextlib.suppress(psycopg.Error):
            self.raw.close()


@lru_cache(maxsize=512)
def _translated(sql: str) -> Any:
    return sql.replace("%", "%%").replace("?", "%s")


def _held(value: Any) -> Any:
    return value.replace("\x00", "\ufffd") if isinstance(value, str) and "\x00" in value else value


class Postgres:
    """The Backend of a PostgreSQL. Any number of processes write, and each append locks only the streams it is about."""

    failure: tuple[type[Exception], ...] = (psycopg.Error,)
    lock = " FOR UPDATE"

    def __init__(self, place: Place) -> None:
        """Connect nothing before it is needed."""
        self.writer = Transactions(place)
        self._place = place
        self._readers = _Threads(place, READERS, "timeline-reader")
        self.deferring: Defer = _nobody

    def close(self) -> None:
        """Finish what is queued and let the connections go."""
        self._readers.close()
        self.writer.close()

    async def read(self, job: Job[Answer]) -> Answer:
        """Run a reading job on a thread, again when its connection was lost."""
        return await asyncio.wrap_future(self._readers.submit(self._read, job))

    def _read(self, job: Job[Answer]) -> Answer:
        for wait in (*AGAIN, None):
            try:
                return job(self._readers.connection())
            except psycopg.OperationalError as error:
                self._readers.drop()
                if wait is None or not _lost(error):
                    raise
                time.sleep(wait)
        raise AssertionError("the last try gives or raises")

    def time(self, connection: Joined) -> datetime:
        """Ask the server what time it is."""
        ((now,),) = connection.execute("SELECT clock_timestamp()").fetchall()
        found: datetime = now
        return found

    def damage(self, connection: Joined) -> str:
        """Leave it to the server, which checks its pages as it reads them."""
        del connection
        return ""

    def refuse(self, reason: str) -> None:
        """Leave it to the server."""

    def heads(self, connection: Joined, given: Sequence[str], written: Sequence[str]) -> Mapping[str, Head]:
        """Lock heads in the order of their names: those to be written for nobody else, those depended on against change."""
        rows = connection.execute("SELECT * FROM lastgood_heads(?,?)", (list(given), list(written)))
        return {stream: Head(*head) for stream, *head in rows}

    def insert(self, connection: Joined, rows: Sequence[Row]) -> list[int]:
        """Write rows through the one function that may; places only order what is shown, and may have gaps."""
        columns = [list(column) for column in zip(*(row[1:] for row in rows), strict=True)]
        ((places,),) = connection.execute("SELECT lastgood_append(?,?,?,?,?,?,?,?,?)", columns).fetchall()
        return [int(place) for place in places]

    def hold(self, connection: Joined, names: Sequence[str]) -> None:
        """Hold advisory locks until the commit, in one order."""
        for name in names:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (name,))

    def defer(self, connection: Joined, due: Due) -> None:
        """Let the engine make its jobs in this very transaction."""
        self.deferring(connection.raw, due)

    def changed(self, connection: Joined) -> tuple[list[tuple[str, int, str]], int]:
        """Give the heads that moved since they were signed: by head, not by place, since a later place can commit first."""
        with connection.raw.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            rows = connection.execute(_CHANGED).fetchall()
            ((covered,),) = connection.execute(_COVERED).fetchall()
        return [row[:3] for row in rows], int(covered) + sum(row[1] - row[3] for row in rows)

    def member(self, column: str, name: str) -> str:
        """Read a member of a JSON text."""
        return f"({column}::jsonb->>'{name}')"


class _Threads:
    """Threads that keep a connection each."""

    def __init__(self, place: Place, count: int, name: str) -> None:
        self._place = place
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._own = threading.local()
        self._open: set[Joined] = set()

    def submit(self, work: Callable[..., Answer], *arguments: Any) -> Future[Answer]:
        return self._pool.submit(work, *arguments)

    def connection(self) -> Joined:
        """Give this thread's connection. Raises psycopg.OperationalError."""
        found: Joined | None = getattr(self._own, "connection", None)
        if found is None:
            found = self._own.connection = Joined(self._place.dsn)
            self._open.add(found)
        return found

    def drop(self) -> None:
        """Let this thread's connection go; the next use opens another."""
        if (found := getattr(self._own, "connection", None)) is not None:
            found.close()
            self._open.discard(found)
            self._own.connection = None

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        while self._open:
            self._open.pop().close()


class Transactions:
    """Runs writing jobs, each in a transaction of its own, several at a time.

    A job that met another transaction is run again, and so is one whose connection was lost before its commit. When a
    commit is not answered the database is asked whether it stands; what nobody can say is a Conflict: read again.
    """

    def __init__(self, place: Place) -> None:
        """Connect nothing before it is needed."""
        self._place = place
        self._threads = _Threads(place, WRITERS, "timeline-writer")
        self._ended = False

    async def run(self, job: Job[Answer], sure: Sure | None = None) -> Answer:
        """Run a job and wait for its commit. Once asked for, it runs to its end even when the caller is cancelled."""
        return await asyncio.shield(self.submit(job, sure))

    def submit(self, job: Job[Answer], sure: Sure | None = None) -> asyncio.Future[Answer]:
        """Ask for a job; the future has its answer after the commit. Raises TimelineError when nothing is written any more."""
        if self._ended:
            raise TimelineError(f"The timeline {self._place.name} is closed.")
        answer = asyncio.wrap_future(self._threads.submit(self._written, job, sure))
        answer.add_done_callback(_heard)
        return answer

    def close(self) -> None:
        """Finish what is queued and let the connections go."""
        self._ended = True
        self._threads.close()

    def _written(self, job: Job[Answer], sure: Sure | None) -> Answer:
        for wait in (*AGAIN, None):
            try:
                return self._once(job, sure)
            except psycopg.OperationalError as error:
                if wait is None or not (isinstance(error, _RACED) or _lost(error)):
                    raise self._translated(error) from error
                time.sleep(wait)
            except psycopg.Error as error:
                if wait is None or not isinstance(error, _RACED):
                    raise self._translated(error) from error
                time.sleep(wait)
        raise AssertionError("the last try gives or raises")

    def _once(self, job: Job[Answer], sure: Sure | None) -> Answer:
        connection, answered = self._connected(), False
        try:
            with connection.raw.transaction():
                answer = job(connection)
                answered = True
        except psycopg.OperationalError as error:
            if not _lost(error):
                raise
            self._threads.drop()
            if not answered or sure is None:
                raise
            self._settle(answer, sure, error)
        return answer

    def _connected(self) -> Joined:
        connection = self._threads.connection()
        if connection.raw.closed:
            self._threads.drop()
            connection = self._threads.connection()
        return connection

    def _settle(self, answer: Any, sure: Sure, lost: psycopg.OperationalError) -> None:
        """After a commit without an answer, ask what stands; what is not there now is judged by whoever reads it next."""
        for wait in AGAIN:
            time.sleep(wait)
            try:
                if sure(self._threads.connection(), answer):
                    return
                break
            except psycopg.OperationalError:
                self._threads.drop()
        message = f"The timeline {self._place.name} went away at a commit, and nobody can say whether it stands."
        raise Conflict(message) from lost

    def _translated(self, error: psycopg.Error) -> LastgoodError:
        if isinstance(error, psycopg.errors.IntegrityError):
            return Conflict(f"The timeline {self._place.name} refuses this: {_said(error)}.")
        return ReadOnly(f"The timeline {self._place.name} cannot be written: {_said(error)}. No record, no rollback.")


def _lost(error: psycopg.Error) -> bool:
    """Say whether the connection is gone, or never was; what the server itself refused has a code of another class."""
    code = error.sqlstate or ""
    return not code or code[:2] == "08" or code[:3] == "57P"


def _said(error: psycopg.Error) -> str:
    """Give the first line of what the server said; connection strings in it carry no password."""
    return re.sub(r"\s+", " ", str(error).strip().partition("\n")[0])


def _heard(answer: asyncio.Future[Any]) -> None:
    """Hear an error nobody waits for any more, so that it is not reported as forgotten."""
    if not answer.cancelled():
        answer.exception()


def _nobody(connection: Any, due: Due) -> None:
    """No engine was given: the next one that runs finds what is due by itself."""
    del connection, due
