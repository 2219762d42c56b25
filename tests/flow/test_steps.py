"""Steps of every kind: ramps, warming, checks, telling; side by side, paused, skipped, done by hand, put back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adapters.traffic.memory import Fault
from bot.domain import entries as e
from bot.domain.incident import Incident, Phase
from bot.domain.traffic import Outcome, Reading, TargetPlan, Verification
from bot.errors import Unavailable
from bot.flow.path import advance
from bot.report import story
from tests.flow.corridor import ALONE, Corridor

BY_VERSION = {"slis": {
    "error_ratio": {"source": "meter", "objective": 0.02},
    "own": {"source": "meter", "objective": 0.02, "of": "version={version}"},
}}  # fmt: skip
RAMP: list[dict[str, Any]] = [{"target": "route", "stages": [5, 50, 100]}]


class Silent:
    """A target that nobody calls."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    async def verify(self, plan: TargetPlan, baseline: Reading | None) -> Verification:
        look: Verification = await self._target.verify(plan, baseline)
        return look.but(samples={"41": 0, "42": 0}, data_plane="inconclusive")


def told(here: Corridor, stream: str, *kinds: type[e.Entry]) -> list[str]:
    """What happened to which step, in order."""
    rows = [one for one in here.entries(stream) if isinstance(one, kinds)]
    return [f"{one.type.partition('.')[2]} {one.step}" for one in rows]  # type: ignore[attr-defined]


async def rolled(here: Corridor, seconds: float = 300, *, until: Phase | None = None) -> Incident:
    """Fire, and let a rule act alone; traffic flows all the while."""
    stream = await here.fire()
    return await flowing(here, stream, seconds, until=until)


async def flowing(here: Corridor, stream: str, seconds: float = 300, *, until: Phase | None = None) -> Incident:
    end = here.clock.now() + timedelta(seconds=seconds)
    while True:
        for target in here.targets.values():
            target.serve(4000)
        again = await advance(stream, here.world)
        incident = await here.incident(stream)
        if incident.phase is until or again is None or again > end or incident.phase in (Phase.CLOSED, Phase.STUCK):
            return incident
        here.clock.advance(max(0.01, (again - here.clock.now()).total_seconds()))
        if incident.phase is Phase.RECOVERED:
            await here.resolve()


# ── ramps ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_ramp_climbs_stage_by_stage_and_is_checked_between() -> None:
    here = Corridor(ALONE, steps=RAMP, place=BY_VERSION)
    incident = await rolled(here)
    assert incident.phase is Phase.CLOSED
    plan = here.last(incident.stream, e.PlanMade).plan
    assert [(one.name, one.share, one.after) for one in plan.steps] == [
        ("route@5", 5, ()), ("route@5 check", 100, ("route@5",)), ("route@50", 50, ("route@5 check",)),
        ("route@50 check", 100, ("route@50",)), ("route", 100, ("route@50 check",)),
    ]  # fmt: skip
    moved = [one for one in here.entries(incident.stream) if isinstance(one, e.StepApplied) and one.observed]
    assert [str(one.observed) for one in moved] == [
        "42 95\u00a0%, 41 5\u00a0%", "42 50\u00a0%, 41 50\u00a0%", "42 0\u00a0%, 41 100\u00a0%",
    ]  # fmt: skip
    assert incident.verdicts == {"accepted": "yes", "traffic_moved": "yes", "recovered": "yes"}
    assert here.meter.asked.count("version=41") >= 2


async def test_what_served_at_each_stage_is_in_the_ledger() -> None:
    here = Corridor(ALONE, steps=RAMP)
    await rolled(here)
    served = [str(one.split) for one in here.entries("model/prod/fraud-scorer") if isinstance(one, e.VersionServed)]
    assert served[-3:] == ["42 95\u00a0%, 41 5\u00a0%", "42 50\u00a0%, 41 50\u00a0%", "42 0\u00a0%, 41 100\u00a0%"]


async def test_a_ramp_stops_where_the_good_version_is_not_well() -> None:
    here = Corridor(ALONE, steps=RAMP, place=BY_VERSION, on_failure="stop")
    here.meter.values["version=41"] = 0.3
    incident = await rolled(here)
    assert incident.phase is Phase.STUCK
    assert incident.stuck_reason.startswith(
        "Step route@5 check failed: own of 41 0.3 of 500 requests, objective ≤ 0.02."
    )
    assert str(here.targets["route"].split) == "42 95\u00a0%, 41 5\u00a0%"
    assert incident.verdicts["traffic_moved"] == "not_yet"


async def test_a_check_nobody_can_answer_is_not_a_yes() -> None:
    here = Corridor(ALONE, steps=RAMP, place=BY_VERSION)
    here.meter.values["version=41"] = None
    incident = await rolled(here)
    assert incident.phase is Phase.STUCK
    assert "Not answered within 20 s" in incident.stuck_reason.replace("\u00a0", " ")


async def test_a_stage_is_proven_by_requests_and_not_by_the_answer() -> None:
    here = Corridor(ALONE, steps=RAMP)
    silent: Any = {key: Silent(one) for key, one in here.world.targets.items()}
    here.world = replace(here.world, targets=silent)
    stream = await here.fire()
    incident = await here.run(stream, 60)
    assert (incident.phase, incident.verdicts["traffic_moved"]) == (Phase.STUCK, "cannot_tell")
    assert incident.stuck_reason.startswith(
        "Cannot tell whether traffic moved: version 41 got 0 of 0 requests, 5\u00a0%"
    )


async def test_a_stage_that_only_says_it_moved_is_found_out() -> None:
    here = Corridor(ALONE, steps=RAMP)
    here.targets["route"].faults.append(Fault.LIE)
    incident = await rolled(here)
    assert incident.phase is Phase.STUCK
    assert incident.verdicts["traffic_moved"] in ("no", "cannot_tell")


async def test_somebody_elses_change_between_stages_is_a_conflict() -> None:
    here = Corridor(ALONE, steps=RAMP, place=BY_VERSION, on_failure="stop")
    here.meter.values["version=41"] = None  # the check waits
    stream = await here.fire()
    await flowing(here, stream, 3)
    here.meter.values.clear()
    here.targets["route"].move({"42": 80, "41": 20})
    incident = await flowing(here, stream)
    assert incident.phase is Phase.STUCK
    assert "Step route@50 failed" in incident.stuck_reason
    assert str(here.targets["route"].split) == "42 80\u00a0%, 41 20\u00a0%"


async def test_a_ramp_is_put_back_stage_by_stage() -> None:
    here = Corridor(ALONE, steps=[*RAMP, {"tell": "purge"}], place={**BY_VERSION, "actions": {"purge": {"adapter": "x"}}}, on_failure="compensate")  # fmt: skip
    here.doers["purge"].answers = [Outcome.REJECTED]
    incident = await rolled(here)
    assert told(here, incident.stream, e.StepCompensated) == [
        "compensated route", "compensated route@50", "compensated route@5",
    ]  # fmt: skip
    assert str(here.targets["route"].split) == "42 100\u00a0%, 41 0\u00a0%"
    assert incident.phase is Phase.STUCK


# ── warming, checking, telling ────────────────────────────────────────────────────────────────────────────────────

KINDS: dict[str, Any] = {
    "steps": [{"warm": "heat"}, {"target": "route"}, {"check": "error_ratio"}, {"tell": "purge"}, {"tell": "S0PAYMENTS"}],
    "place": {"actions": {"heat": {"adapter": "x", "undo": "x"}, "purge": {"adapter": "x"}}},
}  # fmt: skip


async def test_every_kind_of_step_runs_in_its_turn_with_an_intent_before_it() -> None:
    here = Corridor(ALONE, **KINDS)
    incident = await rolled(here)
    assert incident.phase is Phase.CLOSED
    assert told(here, incident.stream, e.StepStarted, e.StepApplied) == [
        "started heat", "applied heat", "started route", "applied route", "started error_ratio", "applied error_ratio",
        "started purge", "applied purge", "started S0PAYMENTS", "applied S0PAYMENTS",
    ]  # fmt: skip
    assert here.doers["heat"].did == [f"{incident.id}/1/heat"]
    assert incident.verdicts == {"accepted": "yes", "traffic_moved": "yes", "recovered": "yes"}


async def test_the_plan_names_what_each_step_does_and_what_cannot_be_taken_back() -> None:
    here = Corridor(**KINDS)
    stream = await here.fire()
    await here.turn(stream)
    plan = here.last(stream, e.PlanMade).plan
    assert [(one.kind, one.irreversible, one.call.text if one.call else "") for one in plan.steps] == [
        ("warm", False, "do 41"), ("target", False, ""), ("check", False, ""), ("tell", True, "do 41"), ("tell", False, ""),
    ]  # fmt: skip
    assert "do 41" in (await here.incident(stream)).commands


async def test_nothing_moves_when_the_good_version_cannot_be_warmed_and_the_warmth_is_given_back() -> None:
    here = Corridor(ALONE, **{**KINDS, "steps": [{"warm": "heat"}, {"check": "error_ratio"}, {"target": "route"}]})
    here.meter.value = 0.3
    incident = await rolled(here)
    assert (incident.phase, here.shifts) == (Phase.STUCK, 0)
    assert [one.partition("/1/")[2] or one for one in here.doers["heat"].did] == ["heat", "heat"]
    assert here.doers["heat"].did[1].startswith("-")


async def test_an_action_whose_answer_is_lost_is_looked_up_and_never_done_twice_when_it_was_done() -> None:
    here = Corridor(ALONE, **KINDS)
    here.doers["purge"].answers = [Outcome.INDETERMINATE]
    incident = await rolled(here)
    assert incident.phase is Phase.CLOSED
    assert len(here.doers["purge"].did) == 1


async def test_an_action_that_was_not_done_is_done_again() -> None:
    here = Corridor(ALONE, **KINDS)
    here.doers["purge"].answers, here.doers["purge"].known = [Outcome.INDETERMINATE], Outcome.REJECTED
    incident = await rolled(here)
    assert incident.phase is Phase.CLOSED
    assert len(here.doers["purge"].did) == 2


async def test_an_action_nobody_can_tell_the_end_of_is_a_persons_turn() -> None:
    here = Corridor(ALONE, **KINDS)
    here.doers["purge"].answers, here.doers["purge"].known = [Outcome.INDETERMINATE], None
    incident = await rolled(here)
    assert incident.phase is Phase.STUCK
    assert incident.stuck_reason == "Step purge: nobody can tell whether it was done. Look there, then say so."
    assert (await here.press("U0ANA", "by_hand", incident.stream)).ok
    incident = await flowing(here, incident.stream)
    assert (incident.phase, len(here.doers["purge"].did)) == (Phase.CLOSED, 1)


@pytest.mark.parametrize("trouble", [Unavailable("away"), Outcome.REJECTED])
async def test_an_action_that_is_refused_stops_the_rollback_with_the_reason(trouble: Any) -> None:
    here = Corridor(ALONE, **KINDS)
    here.doers["heat"].answers, here.doers["heat"].known = [trouble] * 5, Outcome.REJECTED
    incident = await rolled(here)
    assert (incident.phase, here.shifts) == (Phase.STUCK, 0)
    assert incident.stuck_reason.startswith("Step heat failed: ")


async def test_an_action_that_never_answers_ends_at_its_deadline() -> None:
    here = Corridor(ALONE, **KINDS)
    here.doers["heat"].hangs, here.doers["heat"].known = True, None
    stream = await here.fire()
    await here.hung(stream)
    await here.hung(stream)
    incident = await flowing(here, stream)
    assert (incident.phase, here.shifts) == (Phase.STUCK, 0)


# ── side by side ──────────────────────────────────────────────────────────────────────────────────────────────────


FAN: list[dict[str, Any]] = [{"target": "eu"}, {"target": "us", "after": ["eu"]}, {"target": "ap", "after": ["eu"]}]


async def test_steps_run_side_by_side_only_where_the_runbook_says_so() -> None:
    steps: list[dict[str, Any]] = [{"target": "eu"}, {"target": "us"}, {"target": "ap", "after": ["eu", "us"]}]
    here = Corridor(ALONE, targets=("eu", "us", "ap"), steps=steps, rollback={"parallel": True})
    incident = await rolled(here)
    order = told(here, incident.stream, e.StepStarted, e.TrafficVerified)
    assert order[:2] == ["started eu", "started us"]
    assert order.index("started ap") > max(order.index("verified eu"), order.index("verified us"))
    assert incident.phase is Phase.CLOSED
    alone = Corridor(ALONE, targets=("eu", "us", "ap"), steps=FAN)  # fmt: skip
    incident = await rolled(alone)
    assert told(alone, incident.stream, e.StepStarted, e.TrafficVerified) == [
        "started eu", "verified eu", "started us", "verified us", "started ap", "verified ap",
    ]  # fmt: skip


async def test_one_of_two_side_by_side_that_is_refused_puts_the_other_back() -> None:
    here = Corridor(ALONE, targets=("eu", "us"), rollback={"parallel": True}, on_failure="compensate")
    here.targets["us"].faults.extend([Fault.REFUSE] * 5)
    incident = await rolled(here)
    assert incident.phase is Phase.STUCK
    assert {str(one.split) for one in here.targets.values()} == {"42 100\u00a0%, 41 0\u00a0%"}


# ── what people do with a rollback under way ──────────────────────────────────────────────────────────────────────

CHAIN: dict[str, Any] = {"targets": ("eu", "us", "ap")}


async def test_a_paused_rollback_ends_what_is_under_way_and_starts_nothing() -> None:
    here = Corridor(ALONE, **CHAIN)
    incident = await rolled(here, until=Phase.APPLIED)
    assert (await here.press("U0ANA", "pause", incident.stream)).ok
    incident = await flowing(here, incident.stream, 60)
    assert (incident.phase, incident.paused_by, here.shifts) == (Phase.ROLLING, "U0ANA", 1)
    assert incident.state_of("eu") == "moved"
    assert (await here.press("U0TOM", "resume", incident.stream)).ok
    assert (await flowing(here, incident.stream)).phase is Phase.CLOSED


async def test_a_pause_that_is_forgotten_calls_a_person_and_can_still_be_ended() -> None:
    here = Corridor(ALONE, **CHAIN)
    incident = await rolled(here, until=Phase.APPLIED)
    assert (await here.press("U0ANA", "pause", incident.stream)).ok
    incident = await flowing(here, incident.stream, 1200)
    assert incident.phase is Phase.STUCK
    assert incident.stuck_reason.startswith("Paused by <@U0ANA> 15")
    assert (await here.press("U0TOM", "resume", incident.stream)).ok
    assert (await flowing(here, incident.stream)).phase is Phase.CLOSED


@pytest.mark.parametrize("act", ["cancel", "retry", "skip", "compensate"])
async def test_who_says_what_comes_next_ends_the_pause(act: str) -> None:
    here = Corridor(ALONE, **CHAIN)
    incident = await rolled(here, until=Phase.APPLIED)
    assert (await here.press("U0ANA", "pause", incident.stream)).ok
    if act != "cancel":
        await flowing(here, incident.stream, 1200)
    assert (await here.press("U0TOM", act, incident.stream)).ok
    incident = await flowing(here, incident.stream)
    assert incident.paused_by is None
    assert incident.phase is Phase.CLOSED or incident.stuck_reason
    assert not (await here.press("U0ANA", "resume", incident.stream)).ok


async def stuck_at(here: Corridor, target: str) -> Incident:
    here.targets[target].faults.extend([Fault.REFUSE] * 5)
    incident = await rolled(here)
    assert incident.phase is Phase.STUCK
    here.targets[target].faults.clear()
    return incident


async def test_a_skipped_step_lets_the_rest_go_on_and_is_never_proven() -> None:
    here = Corridor(ALONE, **CHAIN, on_failure="stop")
    incident = await stuck_at(here, "us")
    assert (await here.press("U0ANA", "skip", incident.stream)).ok
    incident = await flowing(here, incident.stream)
    assert here.types(incident.stream).count("step.applied") == 2
    assert incident.verdicts["traffic_moved"] == "cannot_tell"
    assert incident.phase is Phase.CLOSED
    assert incident.closed is not None
    assert incident.closed.outcome == "unproven"
    assert "us was skipped" in incident.closed.reason
    assert story.state(incident) == ("Well, traffic unproven", "odd")
    assert not (await here.world.ledger("model/prod/fraud-scorer")).quarantined


async def test_what_a_person_did_by_hand_is_read_and_proven() -> None:
    here = Corridor(ALONE, **CHAIN, on_failure="stop")
    incident = await stuck_at(here, "us")
    here.targets["us"].move({"41": 100, "42": 0})
    assert (await here.press("U0ANA", "by_hand", incident.stream)).ok
    incident = await flowing(here, incident.stream)
    assert (incident.phase, incident.verdicts["traffic_moved"]) == (Phase.CLOSED, "yes")


async def test_what_a_person_only_says_they_did_is_found_out() -> None:
    here = Corridor(ALONE, **CHAIN, on_failure="stop")
    incident = await stuck_at(here, "us")
    assert (await here.press("U0ANA", "by_hand", incident.stream)).ok
    incident = await flowing(here, incident.stream)
    assert (incident.phase, incident.verdicts["traffic_moved"]) == (Phase.STUCK, "no")


async def test_a_person_puts_back_what_was_applied_in_exact_reverse() -> None:
    here = Corridor(ALONE, **CHAIN, on_failure="stop")
    incident = await stuck_at(here, "ap")
    assert (await here.press("U0ANA", "compensate", incident.stream)).ok
    incident = await flowing(here, incident.stream)
    assert told(here, incident.stream, e.StepCompensated) == ["compensated us", "compensated eu"]
    assert {str(one.split) for one in here.targets.values()} == {"42 100\u00a0%, 41 0\u00a0%"}
    assert incident.phase is Phase.STUCK
    assert (await here.press("U0ANA", "retry", incident.stream)).ok
    assert (await flowing(here, incident.stream)).verdicts["traffic_moved"] == "yes"


async def test_nothing_goes_back_to_a_version_with_a_security_finding() -> None:
    here = Corridor(ALONE, **CHAIN, on_failure="compensate")
    here.targets["us"].faults.extend([Fault.REFUSE] * 5)
    stream = await here.fire()
    await here.fire("f2", kind="security", summary="unsafe output", sli=None)
    incident = await flowing(here, stream)
    assert incident.phase is Phase.STUCK
    assert incident.stuck_reason.endswith("Nothing goes back to a version with a security finding: unsafe output.")
    assert here.shifts == 1


@pytest.mark.parametrize("act", ["skip", "by_hand", "compensate", "pause", "resume"])
async def test_who_holds_no_role_does_none_of_it(act: str) -> None:
    here = Corridor(ALONE, **CHAIN, on_failure="stop")
    incident = await stuck_at(here, "us")
    assert not (await here.press("U0NOBODY", act, incident.stream)).ok


# ── a failure at each step, for each way of answering it ──────────────────────────────────────────────────────────

GRAPHS: dict[str, dict[str, Any]] = {
    "one": {"targets": ("a",)},
    "chain": {"targets": ("a", "b", "c", "d")},
    "diamond": {
        "targets": ("a", "b", "c", "d"), "rollback": {"parallel": True},
        "steps": [{"target": "a"}, {"target": "b", "after": ["a"]}, {"target": "c", "after": ["a"]}, {"target": "d", "after": ["b", "c"]}],
    },
    "ramps": {"targets": ("a", "b"), "steps": [{"target": "a", "stages": [10, 100]}, {"target": "b", "stages": [10, 100]}]},
    "beside": {"targets": ("a", "b", "c"), "rollback": {"parallel": True}},
}  # fmt: skip
CASES = [(graph, at, mode) for graph, keys in GRAPHS.items() for at in keys["targets"] for mode in ("stop", "before_traffic", "compensate")]  # fmt: skip


@pytest.mark.parametrize(("graph", "at", "mode"), CASES)
async def test_a_failure_at_any_step_ends_in_a_known_state(graph: str, at: str, mode: str) -> None:
    here = Corridor(ALONE, **GRAPHS[graph], on_failure=mode)
    here.targets[at].faults.extend([Fault.REFUSE] * 9)
    incident = await rolled(here)
    assert incident.phase is Phase.STUCK
    assert incident.in_flight == ()
    done = [one.removeprefix("applied ") for one in told(here, incident.stream, e.StepApplied)]
    back = [one.removeprefix("compensated ") for one in told(here, incident.stream, e.StepCompensated)]
    started = told(here, incident.stream, e.StepStarted)
    ended = told(here, incident.stream, e.StepApplied, e.StepFailed, e.StepUnknown, e.StepCompensated)
    assert len(started) == len(ended), "RI5: each intent has one outcome"
    if back:
        assert back == list(reversed(done)), "RI8"
    if mode == "compensate":
        assert sorted(back) == sorted(done)
    if mode == "stop":
        assert back == []
    left = {name for name, one in here.targets.items() if str(one.split) != "42 100\u00a0%, 41 0\u00a0%"}
    assert left == set() if back or not done else left
    assert incident.verdicts["traffic_moved"] != "yes"
