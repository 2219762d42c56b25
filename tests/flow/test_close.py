"""Recovered is watched before it closes; what waits for people is said again, and only what is over ends by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain import entries as e
from bot.domain.alert import Severity
from bot.domain.incident import Phase
from bot.domain.model import Owner
from bot.flow.path import advance
from tests.flow.corridor import STREAM, Corridor
from tests.flow.pagers import PAGED, Desk

NOTIFY = ({"id": "tell", "mode": "notify"},)


async def recovered() -> tuple[Corridor, str]:
    here = Corridor()
    stream = await here.rolled()
    assert (await here.run(stream, 20, until=Phase.RECOVERED)).phase is Phase.RECOVERED
    return here, stream


async def test_the_watch_ends_with_a_last_look_and_everything_is_let_go() -> None:
    here, stream = await recovered()
    await here.resolve()
    judged = (await here.incident(stream)).judged_at
    incident = await here.run(stream, 30, until=Phase.CLOSED)
    assert judged is not None
    assert incident.closed is not None
    assert incident.closed.outcome == "recovered"
    assert incident.samples[-1][0] == judged + timedelta(seconds=5) == incident.closed_at
    ledger = await here.world.ledger(STREAM)
    assert (await here.held(), ledger.open_incident, set(ledger.quarantined)) == (set(), None, {"42"})
    assert here.types(stream)[-3:] == ["incident.closed", "postmortem.drafted", "rollback.graded"]


async def test_an_alert_that_still_fires_after_the_watch_is_a_persons_turn() -> None:
    here, stream = await recovered()
    incident = await here.run(stream, 30, until=Phase.STUCK)
    assert incident.stuck_reason == "The samples are good, but Burn still fires after the watch. A person decides."
    assert len(await here.held()) == 2


async def test_a_breach_at_the_end_of_the_watch_is_a_persons_turn() -> None:
    here, stream = await recovered()
    await here.resolve()
    here.meter.value = 0.3
    incident = await here.run(stream, 30, until=Phase.STUCK)
    assert incident.stuck_reason.startswith("It was recovered and is not any more.")
    assert (await here.press("U0ANA", "mark_recovered", stream)).ok
    here.meter.value = 0.001
    incident = await here.run(stream, 30, until=Phase.CLOSED)
    assert incident.closed is not None
    assert (incident.closed.outcome, incident.closed.person) == ("marked_recovered", "U0ANA")
    assert incident.closed.reason.startswith("<@U0ANA> marked it recovered: fraud-scorer is on 41.")


async def test_what_is_marked_recovered_without_proof_claims_none_and_quarantines_nothing() -> None:
    here = Corridor()
    stream = await here.fire()
    await here.turn(stream)
    await here.approved(stream)
    here.targets["route"].faults.append("lie")
    await here.run(stream, 30, until=Phase.STUCK)
    assert (await here.press("U0ANA", "mark_recovered", stream)).ok
    await here.resolve()
    incident = await here.run(stream, 30, until=Phase.CLOSED)
    assert incident.closed is not None
    assert incident.closed.reason == "<@U0ANA> marked it recovered; whether traffic moved 42 → 41 is not proven."
    ledger = await here.world.ledger(STREAM)
    assert (dict(ledger.quarantined), await here.held()) == ({}, set())


async def test_alerts_that_join_while_it_settles_start_no_plan_and_are_judged_at_its_end() -> None:
    here, stream = await recovered()
    await here.resolve()
    assert await here.fire("f2", severity=Severity.CRITICAL) == stream
    incident = await here.run(stream, 30, until=Phase.STUCK)
    assert here.types(stream).count("plan.made") == 1
    assert "still fires after the watch" in incident.stuck_reason


async def test_a_relapse_opens_another_episode_of_the_same_incident_at_most_three_times() -> None:
    here = Corridor(NOTIFY)
    stream = await here.fire()
    await here.turn(stream)
    for episode in (2, 3):
        await here.resolve()
        await here.turn(stream)
        assert (await here.incident(stream)).phase is Phase.CLOSED
        here.clock.advance(600)
        assert await here.fire() == stream
        await here.turn(stream)
        incident = await here.incident(stream)
        assert (incident.episode, incident.phase, incident.voids) == (episode, Phase.NOTED, 0)
    await here.resolve()
    await here.turn(stream)
    assert await here.fire() != stream


async def test_a_relapse_after_half_an_hour_is_another_incident() -> None:
    here = Corridor(NOTIFY)
    stream = await here.fire()
    await here.turn(stream)
    await here.resolve()
    await here.turn(stream)
    here.clock.advance(30 * 60 + 1)
    assert await here.fire() != stream


async def test_a_reopened_incident_that_ends_by_itself_lets_the_model_go_again() -> None:
    here, stream = await recovered()
    await here.resolve()
    await here.run(stream, 30, until=Phase.CLOSED)
    here.clock.advance(60)
    assert await here.fire(version=None) == stream
    await here.turn(stream)
    await here.resolve()
    incident = await here.run(stream, 10, until=Phase.CLOSED)
    ledger = await here.world.ledger(STREAM)
    assert incident.closed is not None
    assert (incident.closed.outcome, ledger.open_incident, await here.held()) == ("recovered_by_itself", None, set())


async def test_what_is_noted_closes_after_a_day() -> None:
    here = Corridor(NOTIFY)
    stream = await here.fire()
    again = await here.turn(stream)
    assert again == here.clock.now() + timedelta(hours=24)
    incident = await here.run(stream, 24 * 3600, until=Phase.CLOSED)
    assert incident.closed is not None
    assert incident.closed.outcome == "noted"
    assert (await here.world.ledger(STREAM)).open_incident is None


@pytest.mark.parametrize(("severity", "plans"), [(Severity.CRITICAL, 2), (Severity.ERROR, 1), (Severity.INFO, 1)])
async def test_a_worse_alert_is_planned_for_and_an_equal_one_is_not(severity: Severity, plans: int) -> None:
    here = Corridor(NOTIFY)
    stream = await here.fire()
    await here.turn(stream)
    await here.fire("f2", severity=severity)
    await here.turn(stream)
    assert here.types(stream).count("plan.made") == plans
    await here.turn(stream)
    assert here.types(stream).count("plan.made") == plans


async def test_the_same_alert_firing_again_is_not_worse() -> None:
    here = Corridor(NOTIFY)
    stream = await here.fire()
    await here.turn(stream)
    here.clock.advance(60)
    await here.fire()
    await here.turn(stream)
    assert here.types(stream).count("plan.made") == 1


async def test_what_is_stuck_is_said_again_and_again_and_never_closes_after_a_claim() -> None:
    here = Corridor()
    here.meter.value = 0.5
    stream = await here.rolled()
    await here.run(stream, 60, until=Phase.STUCK)
    await here.resolve()
    incident = await here.run(stream, 5 * 60 + 3 * 15 * 60)
    assert (incident.phase, incident.escalations) == (Phase.STUCK, 4)
    assert here.last(stream, e.IncidentEscalated).reason == (
        "Still waiting for a person, 50\N{NO-BREAK SPACE}min. Nobody has taken it."
    )
    assert len(await here.held()) == 2


@pytest.mark.parametrize(
    ("taken", "writes", "asks"),
    [(False, True, [True, False]), (True, True, [False, False]), (False, False, [False, False])],
)
async def test_whom_the_pager_asks_in_is_said_once_where_it_brought_the_incident_and_nobody_has_it(
    taken: bool,  # noqa: FBT001  a case
    writes: bool,  # noqa: FBT001  a case
    asks: list[bool],
) -> None:
    here = Corridor()
    desk = Desk()
    desk.writes = writes
    models = {
        name: one.but(owner=Owner(escalation_policy="PUS0KTE")) for name, one in here.world.catalogue.models.items()
    }
    here.world = replace(here.world, desk=desk, catalogue=replace(here.world.catalogue, models=models))
    here.meter.value = 0.5
    stream = await here.rolled()
    here.memory.put(stream, e.AlertsJoined(alerts=(PAGED,)))
    await here.run(stream, 60, until=Phase.STUCK)
    if taken:
        assert (await here.press("U0ANA", "take", stream)).ok
    await here.run(stream, 5 * 60 + 15 * 60)
    told = [one.sentence() for one in here.entries(stream) if isinstance(one, e.IncidentEscalated)]
    assert [one.endswith("Next: the pager asks escalation policy PUS0KTE in.") for one in told] == asks


async def test_each_time_it_is_stuck_the_first_word_comes_after_five_minutes() -> None:
    here = Corridor()
    here.meter.value = 0.5
    stream = await here.rolled()
    await here.run(stream, 60, until=Phase.STUCK)
    await here.run(stream, 3600)
    assert (await here.press("U0ANA", "mark_recovered", stream)).ok
    stuck = await here.run(stream, 60, until=Phase.STUCK)
    assert (stuck.phase, stuck.escalations) == (Phase.STUCK, 0)
    assert await advance(stream, here.world) == stuck.since + timedelta(minutes=5)


# ── snooze ────────────────────────────────────────────────────────────────────────────────────────────────────────


def snooze(here: Corridor, stream: str, minutes: float) -> None:
    until = here.clock.now() + timedelta(minutes=minutes)
    here.memory.put(stream, e.IncidentSnoozed(person="U0ANA", until=until, text_ref="r"))


async def stuck_since(here: Corridor) -> str:
    here.meter.value = 0.5
    stream = await here.rolled()
    await here.run(stream, 60, until=Phase.STUCK)
    return stream


async def test_what_is_snoozed_is_said_again_when_the_snooze_ends_and_from_there_every_quarter_of_an_hour() -> None:
    here = Corridor()
    stream = await stuck_since(here)
    began = here.clock.now()
    await here.run(stream, 6 * 60)
    snooze(here, stream, 120)
    ends = here.clock.now() + timedelta(minutes=120)
    await here.run(stream, 150 * 60)
    told = [row.at for row in here.memory.streams[stream] if isinstance(row.entry, e.IncidentEscalated)]
    assert told == [began + timedelta(minutes=5), ends, ends + timedelta(minutes=15), ends + timedelta(minutes=30)]


async def test_a_worse_alert_ends_the_snooze_of_what_is_stuck() -> None:
    here = Corridor()
    stream = await stuck_since(here)
    snooze(here, stream, 120)
    assert await advance(stream, here.world) == here.clock.now() + timedelta(minutes=120)
    await here.fire("f2", severity=Severity.CRITICAL)
    assert await advance(stream, here.world) == here.clock.now() + timedelta(minutes=5)


async def test_what_was_slept_through_is_not_said_over_and_over() -> None:
    here = Corridor()
    stream = await stuck_since(here)
    here.clock.advance(6 * 3600)
    await here.turn(stream)
    here.clock.advance(6 * 3600)
    await here.turn(stream)
    assert here.types(stream).count("incident.escalated") == 2


async def test_what_is_noted_and_snoozed_stays_open_until_the_snooze_ends() -> None:
    here = Corridor(NOTIFY)
    stream = await here.fire()
    await here.turn(stream)
    here.clock.advance(23 * 3600)
    snooze(here, stream, 120)
    assert await advance(stream, here.world) == here.clock.now() + timedelta(minutes=120)
    incident = await here.run(stream, 7201, until=Phase.CLOSED)
    assert incident.closed is not None
    assert incident.closed.outcome == "noted"


async def test_a_worse_alert_ends_the_snooze_of_what_is_noted() -> None:
    here = Corridor(NOTIFY)
    stream = await here.fire()
    await here.turn(stream)
    snooze(here, stream, 120)
    await here.fire("f2", severity=Severity.CRITICAL)
    await here.turn(stream)
    assert here.types(stream).count("plan.made") == 2


# ── what the end means for the rules that led to it ───────────────────────────────────────────────────────────────


def judged(here: Corridor) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.verdict, one.rules) for one in here.entries(STREAM) if isinstance(one, e.RollbackJudged)]


async def test_a_persons_word_alone_is_no_evidence_for_the_rules() -> None:
    here = Corridor()
    stream = await here.fire()
    await here.turn(stream)
    await here.approved(stream)
    here.targets["route"].faults.append("lie")
    await here.run(stream, 30, until=Phase.STUCK)
    assert judged(here) == []
    assert (await here.press("U0ANA", "mark_recovered", stream)).ok
    await here.resolve()
    await here.run(stream, 30, until=Phase.CLOSED)
    assert judged(here) == [("cannot_tell", ("both",))]
    assert (await here.held(), (await here.world.ledger(STREAM)).open_incident) == (set(), None)


async def test_a_persons_word_does_not_undo_what_was_measured() -> None:
    here = Corridor()
    stream = await stuck_since(here)
    here.meter.value = 0.001
    assert (await here.press("U0ANA", "mark_recovered", stream)).ok
    await here.resolve()
    await here.run(stream, 30, until=Phase.CLOSED)
    assert judged(here) == [("no", ("both",))]


# ── Lastgood's own alert ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("sli", "phase"), [("error_ratio", Phase.CLOSED), ("latency_p99", Phase.STUCK)])
async def test_lastgoods_own_alert_gives_way_to_the_samples_of_the_watch(sli: str, phase: Phase) -> None:
    here, stream = await recovered()
    await here.resolve()
    await here.fire("own", source="lastgood", sli=sli)
    assert (await here.run(stream, 30, until=phase)).phase is phase
