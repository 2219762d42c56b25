"""A service is called recovered only when every part of it is proven to be: what is worse, silent, stale or noisy never is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from bot.domain import entries as e
from bot.domain.incident import Incident, Phase
from bot.domain.sli import Measurement
from tests.flow.corridor import ALONE, STREAM, Corridor, Meter
from tests.flow.test_preflight import COHORTS
from tests.flow.test_steps import flowing, rolled

BURN: dict[str, Any] = {"figures": {"burn_rate_short": {"source": "meter", "of": "burn"}}}


class Counter(Meter):
    """A source that counts each request once, with a failure ratio of its own for each look."""

    ratios: Iterator[float | None]
    size: int

    async def measure(self, query: Any, since: Measurement | None) -> Measurement:
        del query
        now = self.clock.now()
        value = next(self.ratios) if since else None
        return Measurement(
            at=now, since=since.at if since else None, value=value, requests=self.size if since else None,
            counters={"total": 1.0}, reason="" if value is not None else "nothing yet",
        )  # fmt: skip


class Stale(Meter):
    """A source whose answers are all from before traffic moved."""

    async def measure(self, query: Any, since: Measurement | None) -> Measurement:
        look = await super().measure(query, since)
        return look.but(since=look.at - timedelta(hours=1))


async def judged(kind: type[Meter], **facts: Any) -> tuple[Corridor, Incident]:
    here = Corridor(ALONE)
    here.meter.__class__ = kind
    for name, value in facts.items():
        setattr(here.meter, name, value)
    return here, await rolled(here, until=Phase.RECOVERED)


# ── the rollback does not help ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("before", "after"), [(0.12, 0.12), (0.05, 0.5)])
async def test_a_rollback_that_does_not_help_or_makes_it_worse_is_a_persons_turn_and_nothing_is_done_twice(
    before: float, after: float
) -> None:
    here = Corridor(ALONE)
    here.meter.value = before
    stream = await here.fire()
    await flowing(here, stream, until=Phase.MOVED)
    here.meter.value = after
    incident = await flowing(here, stream)
    assert (incident.phase, incident.verdicts["recovered"]) == (Phase.STUCK, "no")
    await here.run(stream, 24 * 3600)
    assert (here.shifts, here.types(stream).count("rollback.claimed")) == (1, 1)
    assert (await here.incident(stream)).phase is Phase.STUCK
    assert incident.escalations == 0
    assert (await here.incident(stream)).escalations > 0


# ── what cannot be told ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_source_without_a_value_is_never_recovery() -> None:
    here = Corridor(ALONE)
    here.meter.value = None
    incident = await rolled(here)
    assert (incident.phase, incident.verdicts["recovered"]) == (Phase.STUCK, "cannot_tell")


async def test_a_source_whose_answers_are_from_before_the_move_is_never_recovery() -> None:
    _, incident = await judged(Stale)
    assert (incident.phase, incident.verdicts["recovered"]) == (Phase.STUCK, "cannot_tell")


async def test_too_little_traffic_is_never_recovery() -> None:
    here = Corridor(ALONE)
    here.meter.requests = 9
    incident = await rolled(here)
    assert (incident.phase, incident.verdicts["recovered"]) == (Phase.STUCK, "cannot_tell")
    assert "9 requests; 10 needed" in incident.stuck_reason


async def test_good_samples_of_so_few_requests_that_they_may_be_luck_are_never_recovery() -> None:
    _, incident = await judged(Counter, ratios=iter([0.0] * 99), size=10)
    assert (incident.phase, incident.verdicts["recovered"]) == (Phase.STUCK, "cannot_tell")
    assert "Too few requests to tell it from 2 times its objective: error ratio 0\u00a0%" in incident.stuck_reason


async def test_no_sli_at_all_is_never_recovery() -> None:
    here = Corridor(ALONE, place={"slis": {}})
    incident = await rolled(here)
    assert (incident.phase, incident.verdicts["recovered"]) == (Phase.STUCK, "cannot_tell")


@pytest.mark.parametrize("seed", range(5))
async def test_a_noisy_service_at_three_times_its_objective_is_never_recovery(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  a simulation, not a secret
    noise = [sum(chance.random() < 0.06 for _ in range(50)) / 50 for _ in range(99)]
    _, incident = await judged(Counter, ratios=iter(noise), size=50)
    assert incident.phase is Phase.STUCK
    assert incident.verdicts["recovered"] in ("no", "cannot_tell")


async def test_enough_requests_that_were_counted_once_are_recovery() -> None:
    _, incident = await judged(Counter, ratios=iter([0.001] * 99), size=500)
    assert incident.phase is Phase.RECOVERED
    assert incident.judged is not None
    assert incident.judged.reason.endswith("2 good samples in a row. Burn rate 0.05.")


# ── the burn rate ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("rate", "phase"), [(0.2, Phase.RECOVERED), (1.0, Phase.STUCK), (None, Phase.STUCK)])
async def test_the_short_window_must_burn_less_than_its_budget_where_it_is_measured(
    rate: float | None, phase: Phase
) -> None:
    here = Corridor(ALONE, place=BURN)
    here.meter.values["burn"] = rate
    incident = await rolled(here, until=Phase.RECOVERED)
    assert incident.phase is phase
    if phase is Phase.STUCK:
        assert incident.verdicts["recovered"] == "cannot_tell"
        assert "burn rate short" in incident.stuck_reason


# ── cohorts ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_cohort_that_relapses_in_the_watch_is_a_persons_turn_and_is_named() -> None:
    here = Corridor(ALONE, place=COHORTS)
    incident = await rolled(here, until=Phase.RECOVERED)
    assert incident.phase is Phase.RECOVERED
    await here.resolve()
    here.meter.values["cohort=us"] = 0.3
    incident = await flowing(here, incident.stream)
    assert incident.phase is Phase.STUCK
    assert incident.stuck_reason.startswith("It was recovered and is not any more.")
    assert "by of us 0.3" in incident.stuck_reason


async def test_a_relapse_of_one_cohort_soon_after_it_closed_reopens_it_and_every_cohort_is_judged_anew() -> None:
    here = Corridor(ALONE, place=COHORTS)
    incident = await rolled(here, until=Phase.RECOVERED)
    await here.resolve()
    incident = await flowing(here, incident.stream)
    assert incident.phase is Phase.CLOSED
    here.clock.advance(600)
    assert await here.fire(version="41", sli="by") == incident.stream
    await here.turn(incident.stream)
    again = await here.incident(incident.stream)
    assert (again.episode, again.samples, again.judged) == (2, (), None)
    assert again.phase is not Phase.CLOSED


async def test_a_version_is_put_in_and_the_good_one_is_asked_about() -> None:
    sli = {"own_ratio": {"source": "meter", "objective": 0.02, "of": "version={version}"}}
    here = Corridor(ALONE, place={"slis": sli})
    here.meter.values["version=42"] = 0.5
    incident = await rolled(here)
    assert (incident.phase, incident.grade.grade if incident.grade else "") == (Phase.CLOSED, "helped")
    assert here.meter.asked[-1] == "version=41"
    assert here.last(STREAM, e.RollbackGraded).grade == "helped"
