"""Traffic has moved when the counter is proven to have stopped; the service is well when samples say so, never by silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from adapters.traffic.memory import Fault, Memory
from bot.domain import entries as e
from bot.domain.catalogue import Catalogue
from bot.domain.incident import Phase
from bot.domain.policy import Policy
from bot.domain.traffic import Reading
from bot.flow.path import advance
from bot.flow.verify import _begins_anew
from tests.flow.corridor import STREAM, Corridor


async def applied(kind: type[Memory] = Memory) -> tuple[Corridor, str]:
    """Bring an incident to the moment after its effect."""
    here = Corridor()
    stream = await here.fire()
    await here.turn(stream)
    await here.approved(stream)
    here.targets["route"].__class__ = kind
    await advance(stream, here.world)
    assert (await here.incident(stream)).phase is Phase.APPLIED
    return here, stream


class Trickle(Memory):
    """The bad version still gets this many requests with each of the next looks, as from connections that stay open."""

    late: list[int]

    async def verify(self, plan: Any, baseline: Reading | None) -> Any:
        if self.late:
            more = self.late.pop(0)
            self.world.change(lambda held: held.but(requests={**held.requests, "42": held.requests["42"] + more}))
        return await super().verify(plan, baseline)


async def test_the_baseline_is_the_reading_before_the_effect_and_one_look_can_prove_it() -> None:
    here, stream = await applied()
    started = here.last(stream, e.StepStarted)
    assert started.baseline is not None
    await here.turn(stream)
    assert "traffic.sampled" not in here.types(stream)
    assert here.last(stream, e.TrafficVerified).verification.samples == {"41": 400, "42": 0}


async def test_requests_still_in_flight_move_the_baseline_until_the_counter_stops() -> None:
    here, stream = await applied(Trickle)
    here.targets["route"].late = [7, 5, 3]  # type: ignore[attr-defined]  # the fake's own list
    incident = await here.run(stream, 9, until=Phase.MOVED)
    assert incident.phase is Phase.MOVED
    assert here.types(stream).count("traffic.sampled") == 3
    assert here.last(stream, e.TrafficVerified).verification.samples["42"] == 0


async def test_looks_are_a_second_apart() -> None:
    here, stream = await applied(Trickle)
    here.targets["route"].late = [1] * 100  # type: ignore[attr-defined]  # the fake's own list
    await here.run(stream, 5)
    assert here.types(stream).count("traffic.sampled") <= 6


async def test_traffic_that_does_not_stop_is_a_no_with_its_sample_when_time_is_over() -> None:
    here, stream = await applied(Trickle)
    here.targets["route"].late = [300] * 100  # type: ignore[attr-defined]  # the fake's own list
    incident = await here.run(stream, 30, until=Phase.STUCK)
    assert (incident.verdicts["traffic_moved"], (incident.since - incident.opened_at).total_seconds()) == ("no", 10)
    assert incident.stuck_reason.startswith(
        "Traffic has not moved, limit 1\N{NO-BREAK SPACE}% within 10\N{NO-BREAK SPACE}s:"
    )
    assert len(await here.held()) == 2


async def test_counters_that_restart_are_counted_from_there() -> None:
    here, stream = await applied(Trickle)
    here.targets["route"].late = [1]  # type: ignore[attr-defined]  # the fake's own list
    await here.turn(stream)
    here.targets["route"].world.restart()
    incident = await here.run(stream, 9, until=Phase.MOVED)
    assert (incident.phase, here.types(stream).count("traffic.sampled")) == (Phase.MOVED, 2)


async def test_counters_nobody_can_read_never_become_a_yes() -> None:
    here, stream = await applied()
    here.targets["route"].faults.append(Fault.DOWN)
    incident = await here.run(stream, 30, until=Phase.STUCK)
    assert incident.verdicts["traffic_moved"] == "cannot_tell"
    assert incident.stuck_reason == "Traffic cannot be read: route does not answer."


class Empty(Memory):
    """Nobody asks anything."""

    async def verify(self, plan: Any, baseline: Reading | None) -> Any:
        held = self.world.held.requests
        look = await super().verify(plan, baseline)
        self.world.change(lambda now: now.but(requests=held))
        return look if baseline is None else await self._still(plan, baseline)

    async def _still(self, plan: Any, baseline: Reading) -> Any:
        self.serve = lambda requests: None  # type: ignore[method-assign]  # no client
        return await super().verify(plan, baseline)


async def test_no_requests_are_no_proof() -> None:
    here, stream = await applied(Empty)
    incident = await here.run(stream, 30, until=Phase.STUCK)
    assert incident.verdicts["traffic_moved"] == "cannot_tell"


async def test_what_serves_is_written_to_the_model_when_it_is_proven() -> None:
    here, stream = await applied()
    await here.turn(stream)
    served = here.last(STREAM, e.VersionServed)
    assert (served.by, served.incident, str(served.split)) == ("rollback", stream, "42 0\u00a0%, 41 100\u00a0%")


@pytest.mark.parametrize(
    ("then", "now", "anew"),
    [
        (None, {"42": 1}, True),
        ({"42": 1, "41": 1}, {"42": 1, "41": 9}, False),
        ({"42": 1, "41": 1}, {"42": 2, "41": 9}, True),
        ({"42": 1, "41": 9}, {"42": 1, "41": 1}, True),
    ],
)
async def test_counting_begins_anew_when_the_bad_version_had_requests_or_counters_fell(
    then: dict[str, int] | None, now: dict[str, int], *, anew: bool
) -> None:
    at = Corridor().clock.now()
    before = Reading(at=at, requests=then) if then is not None else None
    assert _begins_anew(before, Reading(at=at, requests=now), "42") is anew
    if before:
        assert _begins_anew(before, Reading(at=at, requests=now, epoch="other"), "42")


# ── recovered ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_good_samples_in_a_row_are_recovery() -> None:
    here = Corridor()
    stream = await here.rolled()
    incident = await here.run(stream, 20, until=Phase.RECOVERED)
    assert (incident.verdicts["recovered"], len(incident.samples)) == ("yes", 2)


@pytest.mark.parametrize(("value", "verdict"), [(0.5, "no"), (None, "cannot_tell")])
async def test_a_breach_is_a_no_and_silence_is_cannot_tell(value: float | None, verdict: str) -> None:
    here = Corridor()
    here.meter.value = value
    stream = await here.rolled()
    incident = await here.run(stream, 60, until=Phase.STUCK)
    assert incident.verdicts["recovered"] == verdict
    assert (incident.since - (incident.moved_at or incident.since)).total_seconds() <= 30
    assert len(await here.held()) == 2


async def test_a_metric_source_that_hangs_is_an_unknown_sample_and_time_still_ends() -> None:
    here = Corridor()
    stream = await here.rolled()
    here.meter.hangs = True
    for _ in range(4):
        if (await here.incident(stream)).phase is Phase.MOVED:
            await here.hung(stream)
            here.clock.advance(2)
    incident = await here.incident(stream)
    assert (incident.phase, incident.verdicts["recovered"]) == (Phase.STUCK, "cannot_tell")
    assert "meter did not answer within 20\N{NO-BREAK SPACE}s" in incident.stuck_reason


async def test_samples_from_before_a_retry_do_not_judge_what_came_after() -> None:
    here = Corridor()
    here.meter.value = 0.5
    stream = await here.rolled()
    await here.run(stream, 60, until=Phase.STUCK)
    here.memory.put(stream, e.StepRetried(step="route", person="U0ANA"))
    rows = await here.incident(stream)
    assert rows.phase is Phase.ROLLING
    here.meter.value = 0.001
    here.memory.put(
        stream,
        e.StepStarted(step="route", attempt=2, owner="x", deadline=here.clock.now(), goal=here.targets["route"].split),
    )
    incident = await here.run(stream, 60, until=Phase.RECOVERED)
    assert (incident.phase, len(incident.samples)) == (Phase.RECOVERED, 2)


# ── what a verdict means for the rules that led to the rollback ───────────────────────────────────────────────────

CLIMBING = ({"id": "alone", "mode": "auto", "ladder": True}, {"id": "else", "require": [{"role": "sre"}]})
POLICY = "system/policy"


def trusting(rules: Any = CLIMBING, start: str = "auto") -> Corridor:
    """A house with a trust ladder, its rules standing where they begin."""
    here = Corridor(rules)
    files = here.world.catalogue
    policy = Policy.model_validate({"rules": list(rules), "trust": {"role": "boss", "start": start}})
    here.world = replace(here.world, catalogue=Catalogue(files.models, policy, files.roles, files.runbooks))
    return here


async def judged(here: Corridor, value: float | None, phase: Phase) -> str:
    """Let a rollback happen, by the rule or by a person, and judge it."""
    here.meter.value = value
    stream = await here.fire()
    incident = await here.run(stream, 1, until=Phase.WAITING)
    if incident.phase is Phase.WAITING:
        assert (await here.press("U0ANA", "approve", stream)).ok
    assert (await here.run(stream, 60, until=phase)).phase is phase
    return stream


def moves(here: Corridor) -> list[tuple[str, str]]:
    return [(one.rule, one.rung) for one in here.entries(STREAM) if isinstance(one, e.TrustMoved)]


@pytest.mark.parametrize(
    ("value", "phase", "verdict"),
    [(0.001, Phase.RECOVERED, "yes"), (0.5, Phase.STUCK, "no"), (None, Phase.STUCK, "cannot_tell")],
)
async def test_the_verdict_is_written_to_the_model_with_the_rules_that_led_there(
    value: float | None, phase: Phase, verdict: str
) -> None:
    here = trusting()
    stream = await judged(here, value, phase)
    written = here.last(STREAM, e.RollbackJudged)
    assert (written.incident, written.rules, written.verdict) == (stream, ("alone",), verdict)
    at = [row.at for row in here.memory.streams[STREAM] if row.entry is written]
    assert at == [row.at for row in here.memory.streams[stream] if isinstance(row.entry, e.SliJudged)]


async def test_a_rollback_that_helped_or_that_nobody_can_judge_moves_no_rung_and_needs_no_review() -> None:
    for value, phase in ((0.001, Phase.RECOVERED), (None, Phase.STUCK)):
        here = trusting()
        await judged(here, value, phase)
        assert (moves(here), here.entries(POLICY)) == ([], [])


async def test_a_false_rollback_takes_its_rule_a_rung_down_and_makes_the_review_due() -> None:
    here = trusting()
    stream = await judged(here, 0.5, Phase.STUCK)
    assert moves(here) == [("alone", "approve")]
    moved, due = here.last(STREAM, e.TrustMoved), here.last(POLICY, e.PolicyReviewDue)
    assert moved.person is None
    assert moved.sentence() == (
        f"Rule alone may approve now. Lastgood moved it: The rollback 42 → 41 of incident {stream[-5:]} did not help."
    )
    assert (due.incident, due.rules) == (stream, ("alone",))
    assert due.reason == (
        f"The rollback of fraud-scorer 42 → 41 in prod did not help, incident {stream[-5:]}. Read rule alone again."
    )


async def test_a_rule_on_the_lowest_rung_and_one_beside_the_ladder_stay_where_they_are() -> None:
    low = trusting(({"id": "sre", "require": [{"role": "sre"}]},))
    await judged(low, 0.5, Phase.STUCK)
    assert (moves(low), low.last(POLICY, e.PolicyReviewDue).rules) == ([], ("sre",))


async def test_a_rung_that_was_moved_before_is_where_the_next_step_down_begins() -> None:
    here = trusting()
    here.memory.put(STREAM, e.TrustMoved(rule="alone", rung="approve", reason="known", person="U0INES"))
    await judged(here, 0.5, Phase.STUCK)
    assert moves(here) == [("alone", "approve"), ("alone", "notify")]


async def test_one_rollback_takes_a_rule_down_once_however_often_it_is_tried_again() -> None:
    here = trusting()
    stream = await judged(here, 0.5, Phase.STUCK)
    started = here.last(stream, e.StepStarted)
    here.memory.put(stream, e.StepRetried(step="route", person="U0ANA"))
    here.memory.put(stream, started.but(attempt=2, owner="another", deadline=here.clock.now()))
    incident = await here.run(stream, 60, until=Phase.STUCK)
    assert (incident.phase, moves(here)) == (Phase.STUCK, [("alone", "approve")])
    assert len([one for one in here.entries(STREAM) if isinstance(one, e.RollbackJudged)]) == 2
    assert len(here.entries(POLICY)) == 1


async def test_traffic_that_did_not_move_judges_nothing() -> None:
    here, stream = await applied(Trickle)
    here.targets["route"].late = [300] * 100  # type: ignore[attr-defined]  # the fake's own list
    await here.run(stream, 30, until=Phase.STUCK)
    assert "rollback.judged" not in here.types(STREAM)


async def test_a_verdict_that_meets_another_word_about_the_model_is_written_after_it() -> None:
    here = trusting()
    here.meter.value = 0.5
    stream = await here.fire()
    await here.run(stream, until=Phase.MOVED)
    served = here.last(STREAM, e.VersionServed)

    def between() -> None:
        here.memory.put(STREAM, served)

    while (await here.incident(stream)).phase is Phase.MOVED:
        here.memory.before_append = between
        await here.run(stream, 2)
    assert (here.types(STREAM).count("rollback.judged"), moves(here)) == (1, [("alone", "approve")])
