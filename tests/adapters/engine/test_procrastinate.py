"""What procrastinate's queue would lose or delay, and does not: dead, frozen and drained replicas, a database that goes away."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from adapters.engine.procrastinate import LAST, Procrastinate, prepare
from bot.clock import SystemClock
from bot.errors import TimelineError
from bot.ports import Work
from bot.store.copying import verify_at
from bot.store.place import place_of
from bot.store.schema import migrate
from bot.store.timeline import Store
from tests.adapters.engine.replica import DEAD, STAGES
from tests.adapters.engine.test_contract import Noted
from tests.postgres import Server

CLOCK = SystemClock()
SCRIPT = Path(__file__).with_name("replica.py")
ROOT = Path(__file__).parents[3]


@dataclass
class Fleet:
    """A database, and replicas in processes of their own that note what they do."""

    url: str
    folder: Path
    store: Store
    engine: Procrastinate
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, *names: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        for name in names:
            with (self.folder / f"{name}.log").open("wb") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, str(SCRIPT), self.url, str(self.folder), name],
                    env=environment,
                    stdout=log,
                    stderr=log,
                )

    def send(self, name: str, what: signal.Signals) -> None:
        self.processes[name].send_signal(what)

    def pause(self, seconds: float) -> None:
        (self.folder / "pause").write_text(str(seconds))

    def notes(self) -> list[str]:
        file = self.folder / "notes"
        return file.read_text().splitlines() if file.exists() else []

    async def wake(self, *streams: str) -> None:
        await self.store.wake([Work("advance", stream, CLOCK.now()) for stream in streams])

    async def until(self, true: Callable[[], bool], within: float = 30) -> None:
        async with asyncio.timeout(within):
            while not true():
                await asyncio.sleep(0.02)

    async def finished(self, *streams: str, within: float = 40) -> float:
        """Wait until every stream has all its stages and nothing is due; give how long that took."""
        began = time.monotonic()
        async with asyncio.timeout(within):
            while True:
                done = [len(await self.store.read(stream)) == STAGES for stream in streams]
                if all(done) and not await self.store.query("SELECT 1 FROM work"):
                    return time.monotonic() - began
                await asyncio.sleep(0.05)

    async def holds(self, *streams: str) -> None:
        """Every stage was written once and acted on once, and the timeline verifies."""
        acted = Counter(line.partition(" did ")[2] for line in self.notes() if " did " in line)
        assert acted == Counter({f"{stream} {stage}": 1 for stream in streams for stage in range(STAGES)})
        assert (await asyncio.to_thread(verify_at, self.store.place)).ok


@pytest.fixture
async def fleet(postgres: Server, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with _fleet(postgres.database(), tmp_path) as made:
        yield made


class _fleet:  # noqa: N801  reads as a function
    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder

    async def __aenter__(self) -> Fleet:
        self._store = Store(self._url, CLOCK)
        engine = Procrastinate(self._store.place.dsn, self._store, CLOCK, Noted())
        self._store.deferring(engine.defer)
        self._made = Fleet(self._url, self._folder, self._store, engine)
        self._made.pause(0)
        return self._made

    async def __aexit__(self, *_: object) -> None:
        for process in self._made.processes.values():
            process.kill()
            process.wait()
        self._store.close()


def in_process(fleet: Fleet, **options: float) -> Procrastinate:
    return Procrastinate(fleet.store.place.dsn, fleet.store, CLOCK, Noted(), **options)


async def test_a_killed_replica_is_taken_over_within_its_time(fleet: Fleet) -> None:
    fleet.pause(1.5)
    fleet.start("a")
    await fleet.until(lambda: "a up" in fleet.notes())
    await fleet.wake("incident/1", "incident/2")
    await fleet.until(lambda: sum("a begins" in line for line in fleet.notes()) == 2)
    fleet.start("b")
    await fleet.until(lambda: "b up" in fleet.notes())
    fleet.send("a", signal.SIGKILL)
    killed = time.monotonic()
    fleet.pause(0)
    await fleet.until(lambda: any("b begins" in line for line in fleet.notes()))
    assert time.monotonic() - killed < DEAD + DEAD / 3 + 1.5
    await fleet.finished("incident/1", "incident/2")
    await fleet.holds("incident/1", "incident/2")


async def test_a_frozen_replica_that_comes_back_changes_nothing(fleet: Fleet) -> None:
    fleet.pause(1.0)
    fleet.start("a")
    await fleet.until(lambda: "a up" in fleet.notes())
    await fleet.wake("incident/1")
    await fleet.until(lambda: any("a begins" in line for line in fleet.notes()))
    fleet.send("a", signal.SIGSTOP)
    fleet.pause(0)
    fleet.start("b")
    await fleet.finished("incident/1")
    fleet.send("a", signal.SIGCONT)
    await fleet.until(lambda: any("a conflict" in line for line in fleet.notes()))
    await fleet.wake("incident/2")  # it is of use again
    await fleet.finished("incident/2")
    await fleet.holds("incident/1", "incident/2")


@pytest.mark.parametrize("stage", range(STAGES))
async def test_a_kill_at_any_stage_leaves_one_timeline(fleet: Fleet, stage: int) -> None:
    fleet.pause(0.3)
    fleet.start("a", "b")
    await fleet.until(lambda: {"a up", "b up"} <= set(fleet.notes()))
    await fleet.wake("incident/1")
    await fleet.until(lambda: any(f"begins incident/1 {stage}" in line for line in fleet.notes()))
    name = next(line for line in fleet.notes() if f"begins incident/1 {stage}" in line).split()[0]
    fleet.send(name, signal.SIGKILL)
    await fleet.finished("incident/1")
    await fleet.holds("incident/1")


@pytest.mark.parametrize("pause", [0.3, 4.0], ids=["within the drain", "beyond the drain"])
async def test_a_replica_told_to_end_loses_no_turn(fleet: Fleet, pause: float) -> None:
    fleet.pause(pause)
    fleet.start("a")
    await fleet.until(lambda: "a up" in fleet.notes())
    await fleet.wake("incident/1")
    await fleet.until(lambda: any("a begins" in line for line in fleet.notes()))
    fleet.send("a", signal.SIGTERM)
    fleet.pause(0)
    assert await asyncio.to_thread(fleet.processes["a"].wait, 10) == 0
    fleet.start("b")
    await fleet.until(lambda: "b up" in fleet.notes())
    assert await fleet.finished("incident/1") < DEAD + 2
    await fleet.holds("incident/1")


@pytest.fixture
def own() -> Iterator[Server]:
    """A server of this test alone, which it may stop."""
    server = Server.started()
    yield server
    server.remove()


@pytest.mark.parametrize("away", [0.0, 7.0], ids=["restarted", "away for longer than the pool waits"])
async def test_a_database_that_goes_away_costs_time_and_nothing_else(own: Server, tmp_path: Path, away: float) -> None:
    async with _fleet(own.database(), tmp_path) as fleet:
        fleet.pause(0.2)
        fleet.start("a", "b")
        await fleet.until(lambda: {"a up", "b up"} <= set(fleet.notes()))
        streams = [f"incident/{number}" for number in range(12)]
        await fleet.wake(*streams)
        await fleet.until(lambda: any("begins" in line for line in fleet.notes()))
        await asyncio.to_thread(own.stop)
        await asyncio.sleep(away)
        await asyncio.to_thread(own.start)
        assert await fleet.finished(*streams) < 30
        rows = {stream: [one.version for one in await fleet.store.read(stream)] for stream in streams}
        assert rows == {stream: [1, 2, 3] for stream in streams}
        async with asyncio.timeout(15):  # what the server forgot of ended turns is tidied up
            while await fleet.store.query("SELECT 1 FROM procrastinate_jobs WHERE status='doing'"):
                await asyncio.sleep(0.1)


async def test_one_stream_on_five_workers_has_one_turn_at_a_time(fleet: Fleet) -> None:
    inside = most = turns = 0

    async def handler(_: Work) -> datetime | None:
        nonlocal inside, most, turns
        inside += 1
        most, turns = max(most, inside), turns + 1
        await asyncio.sleep(0.03)
        inside -= 1
        return CLOCK.now() if turns < 20 else None

    engines = [in_process(fleet) for _ in range(5)]
    runs = [engine.run({"advance": handler}) for engine in engines]
    for run in runs:
        await run.__aenter__()
    await fleet.wake("incident/1")
    async with asyncio.timeout(30):
        while await fleet.store.query("SELECT 1 FROM work"):
            await fleet.wake("incident/1") if turns < 10 else None
            await asyncio.sleep(0.05)
    for run in runs:
        await run.__aexit__(None, None, None)
    assert (most, turns >= 20) == (1, True)


async def test_nothing_is_left_in_the_queue_after_many_turns(fleet: Fleet) -> None:
    streams = [f"incident/{number}" for number in range(100)]

    async def handler(_: Work) -> None:
        return None

    async with in_process(fleet).run({"advance": handler}):
        await fleet.wake(*streams)
        async with asyncio.timeout(20):
            while await fleet.store.query("SELECT 1 FROM work UNION ALL SELECT 1 FROM procrastinate_jobs"):
                await asyncio.sleep(0.05)
        assert await fleet.store.query("SELECT count(*) FROM procrastinate_events") == [(0,)]


async def test_a_job_deleted_by_hand_is_made_again(fleet: Fleet) -> None:
    seen: list[str] = []

    async def handler(work: Work) -> None:
        seen.append(work.stream)

    await fleet.wake("incident/1")
    await fleet.store.wake([Work("advance", "incident/2", CLOCK.now() + timedelta(seconds=1))])
    await fleet.store._writing(lambda connection: connection.execute("DELETE FROM procrastinate_jobs"))
    async with in_process(fleet, dead=2).run({"advance": handler}):
        await fleet.until(lambda: set(seen) == {"incident/1", "incident/2"}, within=10)


async def test_a_turn_whose_end_was_not_written_blocks_its_stream_for_a_limited_time(fleet: Fleet) -> None:
    seen: list[str] = []

    async def handler(work: Work) -> None:
        seen.append(work.stream)

    async with in_process(fleet, dead=1.5, longest=1).run({"advance": handler}):
        await asyncio.sleep(0.5)  # its worker has said that it lives
        with psycopg.connect(fleet.store.place.dsn) as other:  # the job it holds and will never end
            other.execute(
                "INSERT INTO procrastinate_jobs(queue_name,task_name,lock,args,status,worker_id) SELECT 'work','turn',"
                '\'advance incident/1\',\'{"lane":"advance","stream":"incident/1"}\',\'doing\',max(id) '
                "FROM procrastinate_workers"
            )
        await fleet.wake("incident/1")
        await fleet.until(lambda: seen == ["incident/1"], within=10)


async def test_a_worker_whose_row_a_peer_removed_goes_on(fleet: Fleet) -> None:
    seen: list[str] = []

    async def handler(work: Work) -> None:
        seen.append(work.stream)

    engine = in_process(fleet, beat=0.3)
    async with engine.run({"advance": handler}):
        await asyncio.sleep(0.5)
        with psycopg.connect(fleet.store.place.dsn) as other:
            other.execute("DELETE FROM procrastinate_workers")
        await asyncio.sleep(0.5)
        await fleet.wake("incident/1")
        await fleet.until(lambda: seen == ["incident/1"], within=15)
        await fleet.until(lambda: engine.healthy, within=5)


# ── its schema ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tables_of_another_version_are_refused(postgres: Server) -> None:
    dsn = place_of(postgres.database()).dsn
    prepare(dsn)
    with psycopg.connect(dsn) as other:
        other.execute("UPDATE engine_schema SET migration='09.00.00_01_later'")
    with pytest.raises(TimelineError, match=f"are of 09.00.00_01_later, this Lastgood needs {LAST}"):
        prepare(dsn)


def test_tables_somebody_else_made_are_left_alone(postgres: Server) -> None:
    url = postgres.database(made=False)
    migrate(url)
    with psycopg.connect(place_of(url).dsn) as other:
        other.execute("CREATE TABLE procrastinate_jobs(id bigint)")
    with pytest.raises(TimelineError, match="Lastgood did not make"):
        prepare(place_of(url).dsn)
