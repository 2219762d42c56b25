"""The demo's world behaves as it is told, every time."""

from __future__ import annotations

import pytest

from bot.clock import ManualClock
from bot.demo.traffic import OBJECTIVE, Load, ModelServer

SAMPLE = 425  # requests in two seconds


@pytest.mark.parametrize("seed", range(20))
def test_a_well_version_never_leaves_its_objective_by_bad_luck(seed: int) -> None:
    server = ModelServer("41", ManualClock(), seed)
    failed = [server.fails() for _ in range(20_000)]
    worst = max(sum(failed[start : start + SAMPLE]) for start in range(0, len(failed) - SAMPLE, 25))
    assert 0 < worst / SAMPLE < OBJECTIVE
    assert sum(failed) / len(failed) == pytest.approx(0.003, abs=0.001)


def test_an_ill_version_gets_worse_and_fails_one_request_in_eight(clock: ManualClock) -> None:
    server = ModelServer("42", clock, 42)
    server.ill_since = clock.monotonic()
    before = server.failing
    clock.advance(10)
    failed = [server.fails() for _ in range(5000)]
    assert before == pytest.approx(0.003)
    assert sum(failed) / len(failed) == pytest.approx(0.124, abs=0.01)


def test_the_window_counts_only_what_is_recent(clock: ManualClock) -> None:
    load = Load("http://127.0.0.1:1/", clock)
    for second, who, bad in ((0, "41", True), (8, "41", False), (9, "42", True)):
        load.seen.append((second, who, bad))
    clock.advance(10)
    assert load.window(3) == (2, 1)
    assert load.window(3, "42") == (1, 1)
    assert load.share("42", 3) == 0.5
