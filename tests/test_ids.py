"""Identifiers sort by the time they were made, also when the clock stands still or goes back."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bot.clock import START, ManualClock
from bot.ids import CountingIds, UlidIds
from bot.ports import Ids


@given(st.lists(st.floats(min_value=0, max_value=5), min_size=1, max_size=50))
def test_ulids_only_ever_grow(steps: list[float]) -> None:
    clock = ManualClock()
    ids = UlidIds(clock)
    made = []
    for seconds in steps:
        clock.advance(seconds)
        made.append(ids.ulid())
    assert made == sorted(set(made))


def test_ulids_grow_within_one_millisecond(clock: ManualClock) -> None:
    ids = UlidIds(clock)
    made = [ids.ulid() for _ in range(1000)]
    assert made == sorted(set(made))
    assert len({one[:10] for one in made}) == 1


def test_ulids_grow_when_the_clock_goes_back() -> None:
    class Stepping:
        def __init__(self) -> None:
            self.times = [START, START - timedelta(hours=1)]

        def now(self) -> datetime:
            return self.times.pop(0)

        def monotonic(self) -> float:
            return 0.0

        async def sleep(self, seconds: float) -> None: ...

    ids = UlidIds(Stepping())
    first = ids.ulid()
    assert ids.ulid() > first


def test_a_ulid_tells_its_time(clock: ManualClock) -> None:
    early = UlidIds(clock).ulid()
    clock.advance(0.001)
    assert early[:10] < UlidIds(clock).ulid()[:10]


def test_counted_ids_are_the_same_in_every_run(ids: CountingIds) -> None:
    source: Ids = ids
    assert [source.ulid()[-5:] for _ in range(3)] == ["00001", "00002", "00003"]
    assert len(source.ulid()) == 26
