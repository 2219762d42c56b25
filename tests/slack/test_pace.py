"""Freely until a 429, then one a second, approvals first."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bot.clock import ManualClock
from bot.slack.pace import SLOW_FOR, Pace


def test_nobody_waits_before_slack_asks_for_it(clock: ManualClock) -> None:
    pace = Pace(clock)
    assert [pace.turn(f"card {n}", urgent=False) for n in range(100)] == [0.0] * 100


def test_a_method_rests_as_long_as_slack_said(clock: ManualClock) -> None:
    pace = Pace(clock)
    pace.limited("chat.update", 5)
    assert pace.closed("chat.update") == 5
    assert pace.closed("chat.postMessage") == 0
    clock.advance(5)
    assert pace.closed("chat.update") == 0


def test_approvals_go_before_what_came_earlier(clock: ManualClock) -> None:
    pace = Pace(clock)
    pace.limited("chat.postMessage", 1)
    for name in ("noted 1", "noted 2"):
        assert pace.turn(name, urgent=False) > 0
    assert pace.turn("waits for approval", urgent=True) > 0
    clock.advance(1)
    assert pace.turn("noted 1", urgent=False) > 0
    assert pace.turn("waits for approval", urgent=True) == 0


def test_whoever_does_not_come_back_loses_the_place(clock: ManualClock) -> None:
    pace = Pace(clock)
    pace.limited("chat.postMessage", 1)
    pace.turn("gone", urgent=True)
    clock.advance(10)
    assert pace.turn("here", urgent=False) == 0


def test_after_a_quiet_minute_nobody_waits(clock: ManualClock) -> None:
    pace = Pace(clock)
    pace.limited("chat.postMessage", 1)
    pace.turn("a", urgent=False)
    clock.advance(1 + SLOW_FOR)
    assert [pace.turn(name, urgent=False) for name in "abc"] == [0.0] * 3


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_everybody_gets_a_turn_at_one_a_second_and_approvals_get_the_first(urgent: list[bool]) -> None:
    clock = ManualClock()
    pace, sent, due = Pace(clock), list[tuple[float, int]](), dict.fromkeys(range(len(urgent)), 2.0)
    pace.limited("chat.postMessage", 2)
    for n, hurry in enumerate(urgent):
        pace.turn(str(n), urgent=hurry)
    while due and clock.monotonic() < 60:
        clock.advance(0.25)
        for n in sorted(due):
            if due[n] <= clock.monotonic():
                wait = pace.turn(str(n), urgent=urgent[n])
                due[n] = clock.monotonic() + wait
                if wait == 0:
                    sent.append((clock.monotonic(), n))
                    del due[n]
    assert not due
    assert [urgent[n] for _, n in sent] == sorted(urgent, reverse=True)
    times = [at for at, _ in sent]
    assert all(later - earlier >= 1 for earlier, later in pairwise(times))


def test_the_twenty_first_card_of_a_minute_makes_a_crowd_once(clock: ManualClock) -> None:
    pace = Pace(clock)
    assert [pace.crowded() for _ in range(25)] == [False] * 20 + [True] + [False] * 4
    clock.advance(61)
    assert [pace.crowded() for _ in range(20)] == [False] * 20
