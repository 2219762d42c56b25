"""Every engine over a real work table: one turn a stream, many streams at once, nothing due is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from adapters.engine._turn import BACKOFF
from adapters.engine.local import Local
from adapters.engine.procrastinate import Procrastinate
from bot.clock import SystemClock
from bot.domain.entries import PolicyLoaded
from bot.errors import Conflict
from bot.ports import Append, Work, Write
from bot.store.schema import migrate
from bot.store.timeline import Store

CLOCK = SystemClock()
Handle = Callable[[Work], Awaitable[datetime | None]]


@dataclass
class Noted:
    """A log that keeps what it is told."""

    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def info(self, event: str, **facts: object) -> None:
        self.events.append((event, facts))

    def warning(self, event: str, **facts: object) -> None:
        self.events.append((event, facts))


@dataclass
class Bench:
    """A store, an engine on it, and what the engine said."""

    store: Store
    engine: Local | Procrastinate
    log: Noted

    async def wake(self, *streams: str, lane: str = "advance", later: float = 0.0) -> None:
        at = CLOCK.now() + timedelta(seconds=later)
        await self.store.wake([Work(lane, stream, at) for stream in streams])

    async def rows(self) -> list[tuple[str, int]]:
        return [(row[0], row[1]) for row in await self.store.query("SELECT stream, tries FROM work ORDER BY stream")]

    @asynccontextmanager
    async def running(self, handler: Handle, lane: str = "advance") -> AsyncIterator[None]:
        handlers: Mapping[str, Handle] = {lane: handler}
        async with asyncio.timeout(10), self.engine.run(handlers):
            yield


@pytest.fixture(params=["local", "procrastinate"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if request.param == "local":
        url = f"sqlite:///{tmp_path}/t.db"
        migrate(url)
    else:
        url = request.getfixturevalue("postgres").database()
    async with opened(url) as made:
        yield made


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Bench]:
    async with Store(url, CLOCK) as store:
        log = Noted()
        if store.place.alone:
            yield Bench(store, Local(store, CLOCK, log), log)
        else:
            engine = Procrastinate(store.place.dsn, store, CLOCK, log)
            store.deferring(engine.defer)
            yield Bench(store, engine, log)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


async def empty(bench: Bench) -> None:
    async with asyncio.timeout(5):
        while await bench.rows():
            await asyncio.sleep(0.005)


async def test_what_is_due_is_run_once_and_forgotten(bench: Bench) -> None:
    seen: list[str] = []

    async def handler(work: Work) -> None:
        seen.append(work.stream)

    await bench.wake("incident/A", "incident/B")
    async with bench.running(handler):
        await empty(bench)
    assert sorted(seen) == ["incident/A", "incident/B"]


async def test_one_stream_has_one_turn_at_a_time_while_others_go_on(bench: Bench) -> None:
    inside: set[str] = set()
    most = 0
    gate = asyncio.Event()

    async def handler(work: Work) -> None:
        nonlocal most
        assert work.stream not in inside
        inside.add(work.stream)
        most = max(most, len(inside))
        await gate.wait()
        inside.discard(work.stream)

    await bench.wake("incident/A", "incident/B", "incident/C")
    async with bench.running(handler):
        await until(lambda: most == 3)
        await bench.wake("incident/A")  # while its turn is under way
        bench.engine.ring()
        await asyncio.sleep(0.05)
        gate.set()
        await empty(bench)


async def test_what_is_raised_during_a_turn_is_looked_at_again(bench: Bench) -> None:
    turns: list[int] = []

    async def handler(work: Work) -> None:
        turns.append(work.turn)
        if len(turns) == 1:
            await bench.wake(work.stream)

    await bench.wake("incident/A")
    async with bench.running(handler):
        await empty(bench)
    assert turns == [1, 2]


async def test_a_handler_says_when_to_look_again(bench: Bench) -> None:
    times: list[datetime] = []

    async def handler(_: Work) -> datetime | None:
        times.append(CLOCK.now())
        return CLOCK.now() + timedelta(milliseconds=80) if len(times) == 1 else None

    await bench.wake("incident/A")
    async with bench.running(handler):
        await empty(bench)
    assert timedelta(milliseconds=80) <= times[1] - times[0] < timedelta(seconds=2)


async def test_a_fault_of_one_stream_is_logged_counted_and_leaves_the_others_alone(bench: Bench) -> None:
    seen: list[str] = []

    async def handler(work: Work) -> None:
        seen.append(work.stream)
        if work.stream == "incident/A":
            raise Conflict

    await bench.wake("incident/A", "incident/B")
    async with bench.running(handler):
        await until(lambda: bool(bench.log.events) and "incident/B" in seen)
        await asyncio.sleep(0.1)
    assert await bench.rows() == [("incident/A", 1)]
    event, facts = bench.log.events[0]
    assert (event, facts["stream"], facts["again_in"]) == ("engine.turn_failed", "incident/A", BACKOFF[0])
    assert seen.count("incident/A") == 1


async def test_work_nobody_handles_is_named_and_dropped(bench: Bench) -> None:
    async def handler(_: Work) -> None:
        raise AssertionError

    await bench.wake("x", lane="strange/thing")
    async with bench.running(handler):
        await empty(bench)
    assert bench.log.events == [("engine.no_handler", {"lane": "strange/thing"})]


async def test_work_of_another_process_is_found_without_a_ring(bench: Bench) -> None:
    seen: list[float] = []

    async def handler(_: Work) -> None:
        seen.append(CLOCK.monotonic())

    async with bench.running(handler), opened(bench.store.place.url) as other:
        await asyncio.sleep(0.1)  # the engine is idle
        written = CLOCK.monotonic()
        await other.wake("incident/A")
        await until(lambda: bool(seen))
    assert seen[0] - written < 1.0


async def test_a_turn_under_way_ends_before_the_engine_does(bench: Bench) -> None:
    steps: list[str] = []

    async def handler(_: Work) -> None:
        steps.append("begun")
        await asyncio.sleep(0.1)
        steps.append("done")

    await bench.wake("incident/A")
    async with bench.running(handler):
        await until(lambda: steps == ["begun"])
        assert bench.engine.healthy
    assert steps == ["begun", "done"]
    assert not bench.engine.healthy
    assert await bench.rows() == []


async def test_a_timer_never_delays_a_wake_and_many_timers_are_one_turn_each_at_most(bench: Bench) -> None:
    seen: list[tuple[str, float]] = []

    async def handler(work: Work) -> None:
        seen.append((work.stream, CLOCK.monotonic()))

    async with bench.running(handler):
        for later in range(2, 12):
            await bench.wake("incident/A", "incident/B", later=later / 2)
        asked = CLOCK.monotonic()
        await bench.wake("incident/A")
        await until(lambda: any(stream == "incident/A" for stream, _ in seen))
        assert seen[0][1] - asked < 0.5
        await until(lambda: any(stream == "incident/B" for stream, _ in seen))
    first_b = next(at for stream, at in seen if stream == "incident/B")
    assert 0.4 < first_b - asked < 2.5


async def test_what_was_due_before_the_start_runs_at_the_start(bench: Bench) -> None:
    seen: list[str] = []

    async def handler(work: Work) -> None:
        seen.append(work.stream)

    await bench.wake("incident/A", later=0.2)
    await asyncio.sleep(0.5)
    started = CLOCK.monotonic()
    async with bench.running(handler):
        await until(lambda: seen == ["incident/A"])
    assert CLOCK.monotonic() - started < 3


async def test_an_append_and_its_work_come_together_or_not_at_all(bench: Bench) -> None:
    seen: list[str] = []

    async def handler(work: Work) -> None:
        seen.append(work.stream)

    def both(stream: str, expect: int) -> Append:
        fact = PolicyLoaded(digest="ab", generation=1)
        return Append(writes=(Write(stream, (fact,), expect),), work=(Work("advance", stream, CLOCK.now()),))

    async with bench.running(handler):
        with pytest.raises(Conflict):
            await bench.store.append(both("incident/B", 7))
        await bench.store.append(both("incident/A", 0))
        await empty(bench)
        await asyncio.sleep(0.3)
    assert seen == ["incident/A"]
    assert await bench.store.read("incident/B") == []


async def test_a_wake_that_commits_after_the_waiting_turn_was_taken_is_not_lost(bench: Bench) -> None:
    """The turn under way has read already: what is written now needs a look of its own."""
    turns = 0
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def handler(_: Work) -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            inside.set()
            await go_on.wait()

    async with bench.running(handler):
        await bench.wake("incident/A")
        await inside.wait()
        for _ in range(5):
            await bench.wake("incident/A")
        go_on.set()
        await empty(bench)
    assert turns == 2


async def test_a_lane_that_fails_at_every_turn_holds_up_no_other_wake_of_its_stream(bench: Bench) -> None:
    seen: list[str] = []

    async def handler(work: Work) -> None:
        seen.append(work.lane)
        if work.lane == "advance":
            raise Conflict

    async with asyncio.timeout(10), bench.engine.run({"advance": handler, "surface": handler}):
        await bench.wake("incident/A")
        await until(lambda: "advance" in seen)
        await bench.wake("incident/A", lane="surface/slack")
        await until(lambda: "surface/slack" in seen)
        await bench.wake("incident/A")  # a failed turn waits for its next try, and a wake does not
        await until(lambda: seen.count("advance") >= 2)


async def test_after_a_pause_a_rollback_under_way_comes_before_looks_that_waited_longer(bench: Bench) -> None:
    seen: list[str] = []

    async def handler(work: Work) -> None:
        seen.append(work.lane)

    async def behind(work: Work) -> None:
        await asyncio.sleep(0.02)
        seen.append(work.lane)

    await bench.wake(*(f"model/prod/m{n}" for n in range(150)), lane="observe", later=-3600)
    await bench.wake("incident/A")
    async with asyncio.timeout(20), bench.engine.run({"advance": handler, "observe": behind}):
        await until(lambda: "advance" in seen)
    assert seen.index("advance") == 0
