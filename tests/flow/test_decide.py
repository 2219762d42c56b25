"""Policy chooses the way, and each way has an end: auto, approve, notify and hold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from adapters.traffic.memory import Fault
from bot.domain import entries as e
from bot.domain.alert import Kind, Severity
from bot.domain.incident import Phase
from bot.flow.path import advance
from tests.flow.corridor import ALONE, BOTH, STREAM, Corridor

SRE = {"id": "sre", "require": [{"role": "sre"}]}
HOLD = {"id": "hold", "mode": "hold", "when": "blast_radius < 0.5"}
RIPE = ({"id": "ripe", "mode": "auto", "for": "2m"}, SRE)
CRITICAL = ({"id": "critical", "when": 'severity == "critical"', "require": [{"role": "boss"}]}, SRE)


async def test_no_rule_means_that_people_are_told() -> None:
    here = Corridor(())
    stream = await here.fire()
    await here.turn(stream)
    incident = await here.incident(stream)
    assert incident.phase is Phase.NOTED
    assert incident.decision is not None
    assert incident.decision.reason == "No rule matches, so nobody is asked and nothing is moved."


async def test_a_hold_is_looked_at_each_minute_and_written_down_only_when_it_changes() -> None:
    here = Corridor((HOLD, SRE))
    here.targets["route"].move({"41": 80, "42": 20})
    stream = await here.fire()
    for _ in range(3):
        again = await here.turn(stream)
        assert again is not None
        assert (again - here.clock.now()).total_seconds() == 60
        here.clock.advance(60)
    assert here.types(stream) == ["incident.opened", "plan.made", "sli.sampled", "policy.decided"]


async def test_nobody_votes_while_it_holds() -> None:
    here = Corridor((HOLD, SRE))
    here.targets["route"].move({"41": 80, "42": 20})
    stream = await here.fire()
    await here.turn(stream)
    answer = await here.press("U0ANA", "approve", stream)
    assert answer.text == "No plan waits for approval now. Nothing was changed."


async def test_a_hold_that_ends_leads_to_a_new_plan_not_to_the_old_one() -> None:
    here = Corridor((HOLD, SRE))
    here.targets["route"].move({"41": 80, "42": 20})
    stream = await here.fire()
    await here.turn(stream)
    here.targets["route"].move({"41": 0, "42": 100})
    here.clock.advance(60)
    incident = await here.run(stream, 5, until=Phase.WAITING)
    assert incident.plan is not None
    assert (incident.phase, incident.plan.ordinal, incident.voids) == (Phase.WAITING, 2, 0)
    assert str(incident.plan.targets[0].before.split) == "42 100\u00a0%, 41 0\u00a0%"


async def test_a_hold_whose_alerts_all_ended_closes() -> None:
    here = Corridor((HOLD,))
    here.targets["route"].move({"41": 80, "42": 20})
    stream = await here.fire()
    await here.turn(stream)
    await here.resolve()
    incident = await here.run(stream, 61, until=Phase.CLOSED)
    assert incident.closed is not None
    assert incident.closed.outcome == "recovered_by_itself"


async def test_an_automatic_rule_that_waited_for_time_comes_true_and_acts() -> None:
    here = Corridor(RIPE)
    stream = await here.fire()
    await here.turn(stream)
    assert (await here.incident(stream)).phase is Phase.WAITING
    incident = await here.run(stream, 130, until=Phase.MOVED)
    assert (incident.phase, here.shifts) == (Phase.MOVED, 1)
    assert [one.mode for one in here.entries(stream) if isinstance(one, e.PolicyDecided)] == ["approve", "auto"]


async def test_a_rule_that_is_still_short_of_requests_is_asked_again_without_an_entry() -> None:
    rule = {"id": "ripe", "mode": "auto", "min_samples": 10**6}
    here = Corridor((rule, SRE))
    stream = await here.fire()
    await here.run(stream, 240)
    assert here.types(stream).count("policy.decided") == 1
    here.targets["route"].serve(2 * 10**6)
    await here.run(stream, 40, until=Phase.MOVED)
    assert here.shifts == 1


@pytest.mark.parametrize(
    ("facts", "due"),
    [
        ({"severity": Severity.CRITICAL}, True),
        ({"sli": "latency_p99"}, True),
        ({"kind": Kind.COST}, True),
        ({}, False),
        ({"sli": None, "severity": Severity.INFO}, False),
    ],
)
async def test_a_joined_alert_that_says_something_new_is_decided_on_and_votes_are_kept(
    facts: dict[str, Any],
    *,
    due: bool,
) -> None:  # fmt: skip
    here = Corridor()
    stream = await here.fire()
    await here.turn(stream)
    before = await here.incident(stream)
    assert (await here.press("U0ANA", "approve", stream)).ok
    await here.fire("f2", **facts)
    await here.turn(stream)
    after = await here.incident(stream)
    assert here.types(stream).count("decision.due") == int(due)
    assert ([vote.person for vote in after.votes], after.phase) == (["U0ANA"], Phase.WAITING)
    assert after.plan is not None
    assert before.plan is not None
    assert after.plan.id == before.plan.id
    assert after.decision is not None
    assert before.decision is not None
    assert after.decision.expires_at == before.decision.expires_at


async def test_the_same_alert_firing_anew_is_no_news() -> None:
    here = Corridor()
    stream = await here.fire()
    await here.turn(stream)
    here.clock.advance(5)
    await here.fire()
    await here.turn(stream)
    assert "decision.due" not in here.types(stream)


async def test_requirements_are_judged_anew_and_a_kept_vote_fills_what_its_person_can_fill() -> None:
    here = Corridor(CRITICAL)
    here.people.groups["S0SRE"].add("U0INES")
    stream = await here.fire()
    await here.turn(stream)
    assert (await here.press("U0INES", "approve", stream)).ok
    await here.fire("f2", severity=Severity.CRITICAL)
    await here.turn(stream)
    incident = await here.incident(stream)
    assert incident.decision is not None
    assert (incident.decision.rule, incident.phase, here.shifts) == ("critical", Phase.MOVED, 1)


async def test_a_worse_alert_before_the_start_asks_for_what_it_needs() -> None:
    here = Corridor(CRITICAL)
    stream = await here.fire()
    await here.turn(stream)
    assert (await here.press("U0ANA", "approve", stream)).ok

    def worse() -> None:  # the quorum is complete; this comes just before the claim
        alert = here.alert("f2", severity=Severity.CRITICAL)
        here.memory.put(stream, e.AlertsJoined(alerts=(alert,)))

    here.memory.before_append = worse
    await here.turn(stream)
    incident = await here.incident(stream)
    assert (incident.phase, here.shifts) == (Phase.WAITING, 0)
    assert incident.decision is not None
    assert incident.decision.rule == "critical"
    assert here.types(stream)[-4:] == ["alerts.joined", "plan.cleared", "decision.due", "policy.decided"]


async def test_a_person_who_asks_is_never_a_rule_that_acts_alone() -> None:
    here = Corridor(ALONE)
    stream = await here.ask("U0ANA", "41")
    await here.turn(stream)
    incident = await here.incident(stream)
    assert incident.decision is not None
    assert (incident.phase, incident.decision.rule, here.shifts) == (Phase.WAITING, "else", 0)
    refused = await here.press("U0ANA", "approve", stream)
    assert refused.text.startswith("You asked for this rollback, so somebody else must approve.")
    assert (await here.press("U0TOM", "approve", stream)).ok
    await here.run(stream, 5, until=Phase.MOVED)
    assert here.shifts == 1


async def test_a_proposal_under_a_rule_that_only_tells_reaches_people() -> None:
    here = Corridor(({"id": "tell", "mode": "notify"}, *BOTH))
    stream = await here.fire()
    await here.turn(stream)
    assert (await here.incident(stream)).phase is Phase.NOTED
    assert (await here.press("U0ANA", "plan_again", stream)).ok
    await here.turn(stream)
    incident = await here.incident(stream)
    assert (incident.phase, incident.requester) == (Phase.WAITING, "U0ANA")


async def test_an_automatic_decision_is_asked_again_at_the_claim() -> None:
    here = Corridor(({"id": "small", "mode": "auto", "when": "samples < 1000.0"}, SRE))
    stream = await here.fire()
    row = here.memory

    def more() -> None:
        row.before_append = lambda: here.targets["route"].serve(5000)

    row.before_append = more  # the plan goes in, then the decision, then the world gets busier
    await here.turn(stream)
    incident = await here.incident(stream)
    assert (incident.phase, here.shifts) == (Phase.WAITING, 0)
    assert incident.decision is not None
    assert incident.decision.mode == "approve"
    assert here.types(stream)[-3:] == ["policy.decided", "plan.uncleared", "policy.decided"]


async def test_a_rule_that_cannot_read_its_facts_does_not_act_alone() -> None:
    here = Corridor(({"id": "small", "mode": "auto", "when": "blast_radius <= 1.0"}, SRE))
    stream = await here.fire()
    here.memory.before_append = lambda: here.targets["route"].faults.append(Fault.DOWN)
    await advance(stream, here.world)
    incident = await here.incident(stream)
    assert incident.decision is not None
    assert incident.decision.mode == "approve"
    assert "blast_radius unknown" in incident.decision.trace[0].detail


async def test_the_blast_radius_is_the_largest_share_at_any_target() -> None:
    here = Corridor(({"id": "small", "mode": "auto", "when": "blast_radius <= 0.2"}, SRE), targets=("eu", "us"))
    here.targets["eu"].move({"41": 90, "42": 10})
    stream = await here.fire()
    await here.turn(stream)
    incident = await here.incident(stream)
    assert incident.decision is not None
    assert incident.decision.facts["blast_radius"] == 1.0
    assert incident.phase is Phase.WAITING


# ── snooze and orders ─────────────────────────────────────────────────────────────────────────────────────────────


async def snoozed(here: Corridor, minutes: float = 90) -> str:
    """Open an incident that waits for people, and put it off."""
    stream = await here.fire()
    await here.turn(stream)
    until = here.clock.now() + timedelta(minutes=minutes)
    here.memory.put(stream, e.IncidentSnoozed(person="U0ANA", until=until, text_ref="r"))
    await here.turn(stream)
    return stream


async def test_a_snoozed_plan_is_held_with_the_name_of_who_put_it_off() -> None:
    here = Corridor((SRE,))
    stream = await snoozed(here)
    incident = await here.incident(stream)
    assert incident.decision is not None
    assert (incident.phase, incident.decision.mode) == (Phase.PLANNED, "hold")
    assert "<@U0ANA> snoozed the incident until" in incident.decision.reason
    assert not (await here.press("U0ANA", "approve", stream)).ok


async def test_a_snooze_is_looked_at_each_minute_and_ends_exactly_at_its_time_with_a_new_plan() -> None:
    here = Corridor((SRE,))
    stream = await snoozed(here, minutes=2.5)
    until = (await here.incident(stream)).snoozed_until
    looks = []
    while (again := await here.turn(stream)) is not None and again <= (until or again):
        looks.append((again - here.clock.now()).total_seconds())
        here.clock.advance(looks[-1])
        if here.clock.now() == until:
            break
    assert looks == [60, 60, 30]
    assert here.types(stream).count("policy.decided") == 2  # nothing is written while it stands
    incident = await here.run(stream, 5, until=Phase.WAITING)
    assert incident.plan is not None
    assert (incident.phase, incident.plan.ordinal) == (Phase.WAITING, 2)


async def test_a_worse_alert_ends_a_snooze_and_an_equal_one_does_not() -> None:
    here = Corridor((SRE,))
    stream = await snoozed(here)
    await here.fire("f2")
    await here.turn(stream)
    assert (await here.incident(stream)).phase is Phase.PLANNED
    await here.fire("f3", severity=Severity.CRITICAL)
    await here.turn(stream)
    incident = await here.incident(stream)
    assert incident.plan is not None
    assert (incident.phase, incident.plan.ordinal) == (Phase.WAITING, 2)


async def test_a_snoozed_incident_whose_alerts_all_ended_closes() -> None:
    here = Corridor((SRE,))
    stream = await snoozed(here)
    await here.resolve()
    await here.turn(stream)
    incident = await here.incident(stream)
    assert incident.closed is not None
    assert incident.closed.outcome == "recovered_by_itself"


async def test_a_hold_for_another_reason_is_written_down_and_goes_on() -> None:
    here = Corridor((HOLD, SRE))
    here.targets["route"].move({"41": 80, "42": 20})
    stream = await here.fire()
    await here.turn(stream)
    until = here.clock.now() + timedelta(minutes=5)
    here.memory.put(stream, e.IncidentSnoozed(person="U0ANA", until=until, text_ref="r"))
    here.targets["route"].move({"41": 0, "42": 100})
    await here.turn(stream)
    first, second = (one for one in here.entries(stream) if isinstance(one, e.PolicyDecided))
    assert (first.rule, second.rule, second.mode) == ("hold", "sre", "hold")


async def test_an_autopilot_switched_off_before_the_claim_asks_people_instead() -> None:
    here = Corridor(ALONE)
    stream = await here.fire()
    off = e.AutopilotSwitched(on=False, person="U0INES", text_ref="r", via="slack")

    def later() -> None:  # the plan goes in, then the decision to act alone, then the switch
        here.memory.before_append = lambda: here.memory.put("system/switch", off)

    here.memory.before_append = later
    await here.turn(stream)
    incident = await here.incident(stream)
    assert incident.decision is not None
    assert (incident.phase, incident.decision.mode, here.shifts) == (Phase.WAITING, "approve", 0)
    assert "Autopilot is off" in incident.decision.reason


async def test_a_flapping_alert_is_never_answered_without_a_person_rt22() -> None:
    here = Corridor(({"id": "ripe", "mode": "auto", "for": "10m"}, SRE))
    for _ in range(4):
        stream = await here.fire()
        await here.turn(stream)
        here.clock.advance(1)
    await here.run(stream, 620)
    incident = await here.incident(stream)
    assert incident.restarts == {"f1": 3}
    assert here.shifts == 0


def rolled_back(here: Corridor, bad: str, good: str) -> None:
    """Let an automatic rollback of this model have happened just now."""
    lock = e.LockTaken(incident="incident/OLD", plan="p", rule="alone", mode="auto", from_version=bad, to_version=good)
    here.memory.put(STREAM, lock)
    here.memory.put(STREAM, e.LockReleased(incident="incident/OLD"))


@pytest.mark.parametrize(
    ("before", "wait", "because"),
    [
        ([("42", "41")], 60, "the cooldown of 30\N{NO-BREAK SPACE}min (last rollback 1\N{NO-BREAK SPACE}min ago)"),
        ([("42", "41"), ("42", "41")], 3600, "the limit of 2 automatic rollbacks in 24\N{NO-BREAK SPACE}h (2 done)"),
        ([("41", "40")], 3600, "a loop (the good version was rolled back from within 7\N{NO-BREAK SPACE}d)"),
    ],
)
async def test_rollbacks_in_a_row_and_in_a_circle_are_a_persons_turn_rt22(
    before: list[tuple[str, str]], wait: int, because: str
) -> None:
    here = Corridor(ALONE)
    for bad, good in before:
        rolled_back(here, bad, good)
    here.clock.advance(wait)
    stream = await here.fire()
    await here.turn(stream)
    incident = await here.incident(stream)
    assert incident.decision is not None
    assert (incident.phase, here.shifts) == (Phase.WAITING, 0)
    assert because in incident.decision.reason
