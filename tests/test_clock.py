"""The clocks: one is the machine's, the other does what the test says."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta

import pytest

from bot.clock import START, ManualClock, SystemClock
from bot.ports import Clock


async def test_both_clocks_fill_the_port() -> None:
    clocks: list[Clock] = [SystemClock(), ManualClock()]
    for clock in clocks:
        assert clock.now().tzinfo is UTC
        assert clock.monotonic() <= clock.monotonic()
        await clock.sleep(0)


def test_a_manual_clock_stands_still_until_it_is_advanced(clock: ManualClock) -> None:
    assert (clock.now(), clock.monotonic()) == (START, 0)
    clock.advance(90)
    assert (clock.now(), clock.monotonic()) == (START + timedelta(seconds=90), 90)


def test_a_manual_clock_never_goes_back(clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="goes forward"):
        clock.advance(-1)


async def test_sleepers_wake_in_the_order_of_their_time(clock: ManualClock) -> None:
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as tasks:
        for name, seconds in (("late", 30), ("early", 10), ("later", 31)):
            tasks.create_task(sleeper(name, seconds))
        await clock.run(30)
        assert woken == [("early", 10), ("late", 30)]
        assert clock.next_wake == 1
        clock.advance(1)
    assert woken[-1] == ("later", 31)


async def test_one_who_sleeps_again_and_again_sees_every_time(clock: ManualClock) -> None:
    seen: list[float] = []

    async def every_ten() -> None:
        while True:
            await clock.sleep(10)
            seen.append(clock.monotonic())

    task = asyncio.create_task(every_ten())
    await clock.run(35)
    task.cancel()
    assert seen == [10, 20, 30]
    assert clock.monotonic() == 35


async def test_a_cancelled_sleeper_is_forgotten(clock: ManualClock) -> None:
    task = asyncio.create_task(clock.sleep(5))
    await asyncio.sleep(0)
    assert clock.next_wake == 5
    task.cancel()
    await asyncio.sleep(0)
    assert clock.next_wake is None
    clock.advance(10)


async def test_the_machines_clock_moves_by_itself() -> None:
    clock = SystemClock()
    before, mark = clock.now(), clock.monotonic()
    await clock.sleep(0.002)
    assert clock.now() > before
    assert clock.monotonic() > mark
