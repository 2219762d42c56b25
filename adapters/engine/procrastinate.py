"""The engine of several replicas: procrastinate on the PostgreSQL that holds the `work` table.

Rows of `work` are the truth of what is due. A job says only "look at this row", so one too many costs a look, and one lost
is made again by the next resync. Three things keep procrastinate's queue from losing or delaying a look: no queueing lock
and no retry on a job, timers are jobs without a lock that only wake, and a sweeper of our own hands on what a dead replica
held. Its schema is made by `prepare`, once, by the role that owns the database.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any

import procrastinate
import psycopg
from procrastinate import exceptions, jobs

from adapters.engine._turn import LONGEST, turn
from bot.errors import TimelineError
from bot.ports import LOOKS, Clock, Handler, Log, WorkTable

POLL = 0.25  # seconds: how late a timer is, and how long a lost notification waits
BEAT = 3.0  # seconds between signs of life
DEAD = 10.0  # seconds without one after which a replica's turns are handed on
DRAIN = 10.0  # seconds turns get to end when the process does
AT_ONCE = 32
EARLY = timedelta(seconds=2)  # a timer may come this much early where clocks differ
WRITTEN_WITHIN = 2.0  # seconds from the end of a turn to the end of its job
QUEUE = "work"
LAST = (
    "03.04.00_50_post_add_retry_failed_job_procedure"  # the newest of the library's migrations this code was tried with
)
_TURN = 4729_2027  # the advisory lock of `prepare`

# A job that waits for a lock is not told when the lock is freed: without this it would wait for the next poll.
_UNLOCK = """
CREATE OR REPLACE FUNCTION lastgood_unlocked() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF EXISTS (SELECT 1 FROM procrastinate_jobs WHERE lock = OLD.lock AND status = 'todo') THEN
        PERFORM pg_notify(
            'procrastinate_queue_v1#' || OLD.queue_name,
            json_build_object('type', 'job_inserted', 'job_id', OLD.id)::text
        );
    END IF;
    RETURN OLD;
END $body$;
CREATE OR REPLACE TRIGGER lastgood_unlocked AFTER DELETE ON procrastinate_jobs
    FOR EACH ROW WHEN (OLD.lock IS NOT NULL AND OLD.status = 'doing') EXECUTE FUNCTION lastgood_unlocked();
CREATE TABLE IF NOT EXISTS engine_schema (migration text PRIMARY KEY);
"""
_OVERDUE = """
SELECT lane, stream, at FROM work w WHERE at <= %(until)s AND NOT EXISTS (
    SELECT 1 FROM procrastinate_jobs j WHERE j.lock = w.lane || ' ' || w.stream AND j.status IN ('todo', 'doing')
) ORDER BY at LIMIT 1000
"""
# The turn ended in this process, and the connection that was to say so died.
_LOST = "SELECT id, args FROM procrastinate_jobs WHERE status = 'doing' AND id = ANY(%(ids)s)"
# Held for longer than any turn may last, though its replica lives: the end of the job was not written.
_OLD = """
SELECT j.id, j.args FROM procrastinate_jobs j WHERE j.status = 'doing' AND j.queue_name = %(queue)s AND NOT EXISTS (
    SELECT 1 FROM procrastinate_events e WHERE e.job_id = j.id AND e.type = 'started'
    AND e.at > now() - make_interval(secs => %(seconds)s)
)
"""


def prepare(dsn: str) -> None:
    """Make procrastinate's schema unless it is there, as the owner of the database.

    Raises TimelineError when another version of it is there, or the role may not make it.
    """
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_TURN,))
            if _there(connection, "engine_schema"):
                _hold_to(connection)
                return
            if _there(connection, "procrastinate_jobs"):
                message = "This database holds tables of procrastinate Lastgood did not make. Give Lastgood a database of its own."
                raise TimelineError(message)
            connection.execute(_library_schema())
            connection.execute(_UNLOCK)
            connection.execute("INSERT INTO engine_schema(migration) VALUES(%s)", (LAST,))
    except psycopg.Error as error:
        first = str(error).strip().partition("\n")[0]
        message = f"The engine's tables cannot be made: {first}. Run `lastgood db migrate` once as the role that owns the database."
        raise TimelineError(message) from error


def _there(connection: psycopg.Connection[Any], table: str) -> bool:
    return connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() != (None,)


def _hold_to(connection: psycopg.Connection[Any]) -> None:
    found = [name for (name,) in connection.execute("SELECT migration FROM engine_schema")]
    if found != [LAST]:
        message = f"The engine's tables are of {', '.join(found) or 'no version'}, this Lastgood needs {LAST}. Nothing was changed."
        raise TimelineError(message)


def _library_schema() -> Any:
    shipped = sorted(
        one.name for one in resources.files("procrastinate.sql.migrations").iterdir() if one.name.endswith(".sql")
    )
    if not shipped or shipped[-1] != f"{LAST}.sql":
        message = f"procrastinate brings {shipped[-1] if shipped else 'no migrations'}, Lastgood was tried with {LAST}. Install what the lock file names."
        raise TimelineError(message)
    return resources.files("procrastinate.sql").joinpath("schema.sql").read_text(encoding="utf-8")


def _rank(lane: str) -> int:
    """Give the priority of a lane's jobs: the queue takes higher ones first."""
    return -1 if lane in LOOKS else 0


def lock_of(lane: str, stream: str) -> str:
    """Give what keeps two turns of one stream in one lane apart."""
    return f"{lane} {stream}"


class Procrastinate:
    """Runs one turn per (lane, stream) at a time over all replicas, many streams at once."""

    def __init__(
        self, dsn: str, work: WorkTable, clock: Clock, log: Log, *,
        poll: float = POLL, beat: float = BEAT, dead: float = DEAD, longest: float = LONGEST, drain: float = DRAIN,
    ) -> None:  # fmt: skip
        """Run what `work` holds; nothing is connected before `run`. Times are seconds."""
        logging.getLogger("procrastinate").setLevel(
            logging.ERROR
        )  # two lines a job otherwise; what matters is in our log
        self._work, self._clock, self._log = work, clock, log
        self._dead, self._longest = dead, longest
        connector = procrastinate.PsycopgConnector(conninfo=dsn, min_size=2, max_size=6, timeout=5)
        self._app = procrastinate.App(connector=connector)
        self._within = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(conninfo=dsn)).job_manager
        self._options: dict[str, Any] = {
            "queues": [QUEUE], "concurrency": AT_ONCE, "fetch_job_polling_interval": poll, "update_heartbeat_interval": beat,
            "stalled_worker_timeout": 6 * dead, "shutdown_graceful_timeout": drain, "delete_jobs": "always",
            "install_signal_handlers": False,
        }  # fmt: skip
        self._turn = self._app.task(name="turn", queue=QUEUE, pass_context=True)(self._look)
        self._timer = self._app.task(name="timer", queue=QUEUE, pass_context=True)(self._ring)
        self._over: dict[int, float] = {}  # jobs that ended here, and when: one still `doing` lost its end on the way
        self._handlers: Mapping[str, Handler] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._up = False

    @property
    def healthy(self) -> bool:
        """Say whether turns are being taken: the worker is up, and so is what watches over it."""
        return self._up and bool(self._tasks) and not any(task.done() for task in self._tasks)

    def ring(self) -> None:
        """The database tells of what is due."""

    def defer(self, connection: Any, due: Sequence[tuple[str, str, str]]) -> None:
        """Make the jobs of raised work in the transaction that raised it: a look now, or a timer. Raises psycopg.Error."""
        now = self._clock.now()
        made = [self._job(lane, stream, datetime.fromisoformat(at), now) for lane, stream, at in due]
        try:
            self._within.batch_defer_jobs(made, connection=connection)
        except exceptions.ConnectorException as error:
            raise error.__cause__ or error from None

    def _job(self, lane: str, stream: str, at: datetime, now: datetime) -> jobs.Job:
        rank = _rank(lane)
        if at <= now:
            turn_ = self._turn.configure(lock=lock_of(lane, stream), priority=rank)
            return turn_.make_new_job(lane=lane, stream=stream)
        return self._timer.configure(schedule_at=at, priority=rank).make_new_job(lane=lane, stream=stream)

    async def _wake(self, lane: str, stream: str) -> None:
        turn_ = self._turn.configure(lock=lock_of(lane, stream), priority=_rank(lane))
        await turn_.defer_async(lane=lane, stream=stream)

    async def _ring(self, context: procrastinate.JobContext, lane: str, stream: str) -> None:
        try:
            await self._wake(lane, stream)
        finally:
            self._note(context)

    async def _look(self, context: procrastinate.JobContext, lane: str, stream: str) -> None:
        try:
            await self._take(lane, stream)
        except asyncio.CancelledError:  # drained out: the job is deleted, the row is still due
            with suppress(exceptions.ConnectorException):
                await asyncio.shield(self._wake(lane, stream))
            raise
        finally:
            self._note(context)

    def _note(self, context: procrastinate.JobContext) -> None:
        if context.job.id is not None:
            self._over[context.job.id] = self._clock.monotonic()

    async def _take(self, lane: str, stream: str) -> None:
        work, now = await self._work.next(lane, stream), self._clock.now()
        if work is None:
            return
        if work.at > now:
            if work.at <= now + EARLY:
                timer = self._timer.configure(schedule_at=work.at, priority=_rank(lane))
                await timer.defer_async(lane=lane, stream=stream)
            return
        await turn(work, self._handlers, self._work, self._clock, self._log)

    @asynccontextmanager
    async def run(self, handlers: Mapping[str, Handler]) -> AsyncIterator[None]:
        """Run until left; turns under way get `drain` seconds to end, and what they did not finish stays due."""
        self._handlers = handlers
        async with self._app.open_async():
            self._tasks = [
                asyncio.create_task(self._working(), name="engine"),
                asyncio.create_task(self._sweeping(), name="engine sweeper"),
            ]
            try:
                yield
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _working(self) -> None:
        """Run the worker, again whenever it ends: it does when PostgreSQL is away or a peer has pruned it."""
        while True:
            self._up = True
            try:
                await self._app.run_worker_async(**self._options)
            except (exceptions.ConnectorException, psycopg.Error) as error:
                self._log.warning("engine.worker_ended", error=repr(error.__cause__ or error))
            self._up = False
            await asyncio.sleep(1)

    async def _sweeping(self) -> None:
        while True:
            try:
                await self._sweep()
                await self._resync()
            except (exceptions.ConnectorException, psycopg.Error) as error:
                self._log.warning("engine.sweep_failed", error=repr(error.__cause__ or error))
            await asyncio.sleep(self._dead / 3)

    async def _sweep(self) -> None:
        """Hand on the turns of replicas that gave no sign of life, those whose end was lost, and those older than any may be."""
        held = await self._app.job_manager.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=self._dead)
        old = await self._app.connector.execute_query_all_async(_OLD, queue=QUEUE, seconds=2 * self._longest)
        lost = await self._app.connector.execute_query_all_async(_LOST, ids=self._long_over())
        rows = [*((job.id, job.task_kwargs) for job in held), *((row["id"], row["args"]) for row in (*old, *lost))]
        for id_, kwargs in dict(rows).items():
            told = kwargs if isinstance(kwargs, dict) else json.loads(kwargs)
            try:
                # The new job first, then the end of the old one: its number fences what a resumed process would still end.
                await self._wake(str(told["lane"]), str(told["stream"]))
                await self._app.job_manager.finish_job_by_id_async(id_, jobs.Status.ABORTED, delete_job=True)
            except exceptions.ConnectorException as error:  # another replica was quicker
                self._log.info("engine.taken_over", job=id_, error=repr(error.__cause__ or error))
            else:
                self._log.warning("engine.handed_on", lane=told["lane"], stream=told["stream"])

    def _long_over(self) -> list[int]:
        """Give the jobs whose end should have been written by now, and think of them no more."""
        now = self._clock.monotonic()
        ids = [id_ for id_, at in self._over.items() if now - at > WRITTEN_WITHIN]
        for id_ in ids:
            del self._over[id_]
        return ids

    async def _resync(self) -> None:
        """Make the jobs of work that is due and has none: copied from another database, or lost with one."""
        until = (self._clock.now() - EARLY).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        for row in await self._app.connector.execute_query_all_async(_OVERDUE, until=until):
            await self._wake(row["lane"], row["stream"])
