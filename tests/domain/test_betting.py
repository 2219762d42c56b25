"""However often one looks, a service within its objective is hardly ever called ill, and an ill one never well for long."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from bot.domain.betting import against

DOUBT, RUNS, LOOKS, EACH = 0.05, 2000, 60, 50


def crossed(ratio: float, objective: float, seed: int) -> int | None:
    """The look at which the evidence is enough, None when it never is."""
    chance, failures = random.Random(seed), 0  # noqa: S311  a simulation, not a secret
    for look in range(1, LOOKS + 1):
        failures += sum(chance.random() < ratio for _ in range(EACH))
        if against(failures, look * EACH, objective) >= 1 / DOUBT:
            return look
    return None


@pytest.mark.parametrize(("ratio", "objective"), [(0.02, 0.02), (0.01, 0.02), (0.1, 0.1)])
def test_a_service_at_its_objective_is_called_ill_in_at_most_the_doubt_of_all_runs(
    ratio: float, objective: float, tell: Callable[[str], None]
) -> None:
    wrong = sum(crossed(ratio, objective, seed) is not None for seed in range(RUNS))
    assert wrong <= DOUBT * RUNS
    tell(f"{wrong} of {RUNS} runs at {ratio} under {objective}, {LOOKS} looks each")


def test_a_service_at_twice_its_objective_is_found_out() -> None:
    assert all(crossed(0.04, 0.02, seed) is not None for seed in range(300))


@pytest.mark.parametrize(("failures", "requests", "objective"), [(0, 0, 0.02), (5, 10, 0), (5, 10, 1), (0, -1, 0.5)])
def test_what_cannot_be_judged_is_no_evidence(failures: float, requests: float, objective: float) -> None:
    assert against(failures, requests, objective) == 1.0


def test_many_requests_are_no_overflow() -> None:
    assert against(1e9, 1e9, 0.01) > 1e100
    assert against(0, 1e9, 0.01) < 1e-100
