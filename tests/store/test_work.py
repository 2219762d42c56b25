from __future__ import annotations

import asyncio
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from bot.clock import START, ManualClock
from bot.ports import Work
from bot.store.schema import migrate
from bot.store.timeline import Store

SOON, LATER, LATEST = (START + timedelta(minutes=minutes) for minutes in (1, 2, 3))


async def test_work_is_due_earliest_first_without_what_runs(store: Store) -> None:
    await store.wake([Work("advance", "c", LATER), Work("advance", "a", SOON), Work("surface/C", "a", LATEST)])
    assert [one.stream for one in await store.due(LATER, 9)] == ["a", "c"]
    assert [one.stream for one in await store.due(LATER, 1, skip=[("advance", "a")])] == ["c"]
    assert await store.due(START, 9) == []


async def test_nothing_is_due_in_an_empty_table(store: Store) -> None:
    assert await store.due(LATEST, 9) == []


async def test_asking_again_keeps_the_earlier_time_and_raises_the_turn(store: Store) -> None:
    await store.wake([Work("advance", "a", SOON)])
    await store.wake([Work("advance", "a", LATER)])
    assert await store.due(LATEST, 9) == [Work("advance", "a", SOON, turn=2)]


async def test_a_turn_that_was_raised_meanwhile_stays_due(store: Store) -> None:
    await store.wake([Work("advance", "a", SOON)])
    (taken,) = await store.due(LATEST, 9)
    await store.wake([Work("advance", "a", LATER)])
    await store.finish(taken)
    await store.finish(taken, again=LATEST)
    assert await store.due(LATEST, 9) == [Work("advance", "a", SOON, turn=2)]


async def test_failures_are_counted_and_a_success_forgets_them(store: Store) -> None:
    await store.wake([Work("advance", "a", SOON)])
    for expected in (1, 2, 3):
        (taken,) = await store.due(LATEST, 9)
        await store.finish(taken, again=SOON, failed=True)
        assert [one.tries for one in await store.due(LATEST, 9)] == [expected]
    await store.finish(taken, again=LATER)
    assert await store.due(LATEST, 9) == [Work("advance", "a", LATER, turn=1, tries=0)]


@settings(max_examples=40, stateful_step_count=25, deadline=None)
class TurnsAgainstAModel(RuleBasedStateMachine):
    """The table beside a dictionary that says what it should hold."""

    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        url = f"sqlite:///{Path(self.folder.name)}/site.db"
        migrate(url)
        self.loop = asyncio.new_event_loop()
        self.store = Store(url, ManualClock())
        self.rows: dict[str, Work] = {}

    def teardown(self) -> None:
        self.store.close()
        self.loop.close()
        self.folder.cleanup()

    def run(self, call: Any) -> Any:
        return self.loop.run_until_complete(call)

    @rule(stream=st.sampled_from("ab"), minutes=st.integers(0, 9))
    def wake(self, stream: str, minutes: int) -> None:
        at = START + timedelta(minutes=minutes)
        self.run(self.store.wake([Work("advance", stream, at)]))
        old = self.rows.get(stream)
        if old is None:
            self.rows[stream] = Work("advance", stream, at, 1, 0)
        else:
            self.rows[stream] = Work("advance", stream, min(old.at, at), old.turn + 1, old.tries)

    @rule(target=taken, stream=st.sampled_from("ab"))
    def take(self, stream: str) -> Work:
        found = [
            one
            for one in self.run(self.store.due(datetime.max.replace(tzinfo=START.tzinfo), 9))
            if one.stream == stream
        ]
        return found[0] if found else Work("advance", stream, START, 0)

    @rule(work=consumes(taken), minutes=st.none() | st.integers(0, 9), failed=st.booleans())
    def finish(self, work: Work, minutes: int | None, failed: bool) -> None:  # noqa: FBT001  hypothesis hands it by name
        again = None if minutes is None else START + timedelta(minutes=minutes)
        self.run(self.store.finish(work, again, failed=failed))
        row = self.rows.get(work.stream)
        if row is None:
            return
        if row.turn == work.turn and again is None:
            del self.rows[work.stream]
            return
        at = again if row.turn == work.turn and again else row.at
        self.rows[work.stream] = Work("advance", work.stream, at, row.turn, row.tries + 1 if failed else 0)

    @invariant()
    def the_table_is_the_model(self) -> None:
        rows = self.run(self.store.query("SELECT count(*) FROM work"))
        found = self.run(self.store.due(START + timedelta(days=1), 9))
        assert {one.stream: one for one in found} == self.rows
        assert rows == [(len(self.rows),)]


TestTurns = TurnsAgainstAModel.TestCase


@given(minutes=st.lists(st.integers(0, 99), min_size=1, max_size=8))
@settings(max_examples=20, deadline=None)
def test_due_gives_no_work_early_and_none_late(minutes: list[int]) -> None:
    async def story(url: str) -> None:
        async with Store(url, ManualClock()) as store:
            await store.wake([Work("advance", str(m), START + timedelta(minutes=m)) for m in minutes])
            for now in (0, 50, 99):
                due = await store.due(START + timedelta(minutes=now), 99)
                assert [int(one.stream) for one in due] == sorted({m for m in minutes if m <= now})

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/site.db"
        migrate(url)
        asyncio.run(story(url))


async def test_what_a_replica_notes_another_reads(store: Store) -> None:
    assert await store.noted("looks/x") == ""
    await store.note("looks/x", "{}")
    await store.note("looks/x", '{"a": 1}')
    assert await store.noted("looks/x") == '{"a": 1}'


async def test_a_rollback_under_way_comes_before_looks_that_have_waited_longer(
    store: Store, clock: ManualClock
) -> None:
    now = clock.now()
    looks = [
        Work(lane, f"model/prod/m{n}", now - timedelta(hours=1)) for lane in ("observe", "ready") for n in range(40)
    ]
    await store.wake(
        [*looks, Work("advance", "incident/A", now), Work("surface/x", "incident/A", now - timedelta(seconds=1))]
    )
    first = await store.due(now, 3)
    assert [(one.lane, one.stream) for one in first[:2]] == [("surface/x", "incident/A"), ("advance", "incident/A")]
    assert first[2].lane in ("observe", "ready")
