"""The claim checks everything anew and takes every lock; one effect at a time, and what was lost is read first."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adapters.traffic.memory import Fault, Memory
from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.domain.traffic import ApplyResult, Outcome, TargetPlan
from bot.errors import TokenMoved
from bot.flow.path import advance
from tests.flow.corridor import ALONE, STREAM, Corridor

CHAIN: dict[str, Any] = {"targets": ("eu", "us", "ap")}


async def approved(**changes: Any) -> tuple[Corridor, str]:
    """Bring an incident to the click before the claim."""
    here = Corridor(**changes)
    stream = await here.fire()
    await here.turn(stream)
    await here.approved(stream)
    return here, stream


# ── the claim ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_claim_takes_the_model_and_what_it_writes_to_together() -> None:
    here, stream = await approved(targets=("eu", "us"))
    await advance(stream, here.world)
    claim = here.last(stream, e.RollbackClaimed)
    assert await here.held() == {STREAM, *claim.locks}
    assert len(claim.locks) == 2
    assert str(claim.before["eu"].split) == "42 100\u00a0%, 41 0\u00a0%"
    assert claim.people == ("U0ANA", "U0PRIYA")


async def test_the_lock_on_the_model_says_by_which_rule_and_from_where_to_where_and_no_other_does() -> None:
    here, stream = await approved()
    await advance(stream, here.world)
    lock = here.last(STREAM, e.LockTaken)
    assert (lock.rule, lock.mode, lock.from_version, lock.to_version) == ("both", "approve", "42", "41")
    (resource,) = here.last(stream, e.RollbackClaimed).locks
    assert here.last(resource, e.LockTaken) == e.LockTaken(incident=stream, plan=lock.plan)
    assert [one.rule for one in (await here.world.ledger(STREAM)).rollbacks] == ["both"]
    assert (await here.world.ledger(resource)).rollbacks == ()


async def test_a_version_quarantined_between_vote_and_claim_is_not_gone_to() -> None:
    here, stream = await approved()
    plan = here.last(stream, e.PlanMade).plan
    here.memory.put(stream, e.PlanCleared(plan=plan.id, window_ends=here.clock.now() + timedelta(seconds=60)))
    here.memory.put(STREAM, e.VersionQuarantined(version="41", incident="incident/X", reason="a finding."))
    await here.turn(stream)
    assert here.last(stream, e.PlanVoided).reason == "41 is quarantined: a finding."
    assert here.shifts == 0


async def test_what_is_only_observed_since_the_vote_is_not_moved() -> None:
    here, stream = await approved()
    here.world = replace(here.world, observe=True)
    await here.turn(stream)
    incident = await here.incident(stream)
    assert (incident.phase, here.shifts) == (Phase.NOTED, 0)
    assert "rollback.claimed" not in here.types(stream)


async def test_what_is_only_observed_since_the_clearance_is_not_moved() -> None:
    here, stream = await approved()
    plan = here.last(stream, e.PlanMade).plan
    here.memory.put(stream, e.PlanCleared(plan=plan.id, window_ends=here.clock.now() + timedelta(seconds=60)))
    here.world = replace(here.world, observe=True)
    await here.turn(stream)
    assert here.last(stream, e.DecisionDue).reason == "Lastgood only decides and shows for fraud-scorer now."
    assert here.shifts == 0


async def test_RT8_a_role_lost_between_vote_and_claim_counts_no_more_and_the_other_vote_is_kept() -> None:
    here, stream = await approved()
    here.people.groups["S0SRE"].discard("U0ANA")
    await here.turn(stream)
    incident = await here.incident(stream)
    assert (incident.phase, [vote.person for vote in incident.votes], here.shifts) == (Phase.WAITING, ["U0PRIYA"], 0)
    assert here.last(stream, e.PlanUncleared).reason == "The approval of <@U0ANA> no longer counts."
    assert (await here.press("U0TOM", "approve", stream)).ok
    await here.run(stream, 5, until=Phase.MOVED)
    assert here.shifts == 1


def forged(person: str = "U0ANA", **changes: Any) -> e.ApprovalGiven:
    """A vote that somebody wrote into the timeline without the key of the person it names."""
    given = e.ApprovalGiven(person=person, role="sre", plan="", card_version=3, via="terminal")
    return given.but(request={"terminal": "build", "key": "ab" * 8, "signature": "cd" * 64, "nonce": "0f"}, **changes)


@pytest.mark.parametrize("away", [False, True])
async def test_a_vote_that_no_terminal_signed_moves_nothing_whether_slack_is_away_or_not(*, away: bool) -> None:
    here = Corridor()
    stream = await here.fire()
    await here.turn(stream)
    assert (await here.press("U0PRIYA", "approve", stream)).ok
    here.signed_in("U0ANA")  # a sign-in vouches for the person, not for what others write in their name
    here.people.vouched["U0ANA"] = here.clock.now() + timedelta(hours=1)
    here.memory.put(stream, forged(plan=here.last(stream, e.PlanMade).plan.id))
    here.people.away = away
    await here.turn(stream)
    if away:
        assert (await here.incident(stream)).phase is Phase.CLEARED  # nobody confirms the other vote now
        here.people.away = False
        await here.run(stream, 5, until=Phase.WAITING)
    incident = await here.incident(stream)
    assert ([vote.person for vote in incident.votes], incident.phase, here.shifts) == (["U0PRIYA"], Phase.WAITING, 0)
    assert here.last(stream, e.PlanUncleared).reason == (
        "The approval of <@U0ANA> does not count: the terminal's signature does not hold."
    )


async def test_a_vote_that_was_signed_for_an_earlier_plan_is_not_to_be_written_again_for_this_one() -> None:
    here = Corridor(({"id": "one", "require": [{"role": "sre"}]},))
    stream, key = await here.fire(), here.signed_in("U0ANA")
    await here.turn(stream)
    earlier = await here.signature(key, "approve", stream)
    here.targets["route"].move({"41": 10, "42": 90})
    await here.run(stream, 20)
    assert here.types(stream).count("plan.made") == 2
    here.memory.put(stream, forged(plan=here.last(stream, e.PlanMade).plan.id).but(request=earlier))
    await here.turn(stream)
    assert ((await here.incident(stream)).phase, here.shifts) == (Phase.WAITING, 0)


@pytest.mark.parametrize("signed", [False, True])
async def test_glass_that_was_broken_in_a_terminal_counts_by_its_signature(*, signed: bool) -> None:
    here = Corridor(break_glass={"role": "boss"})
    stream, key = await here.fire(), here.signed_in("U0INES")
    await here.turn(stream)
    wish = {"reason": "nobody else answers for an hour", "asked": {"typed": "fraud-scorer"}}
    assert (await here.typed(key, "U0INES", "break_glass", stream, **wish)).ok
    if not signed:
        row = here.memory.streams[stream].pop()
        here.memory.put(stream, row.entry.but(request={"terminal": "build"}))
        here.restart()
    here.clock.advance(1)
    here.people.away = True
    here.people.vouched["U0INES"] = here.clock.now() + timedelta(hours=1)
    await here.run(stream, 5, until=Phase.MOVED if signed else Phase.WAITING)
    assert here.shifts == (1 if signed else 0)
    if not signed:
        assert here.last(stream, e.PlanUncleared).reason == (
            "It says that <@U0INES> broke the glass in a terminal, and the terminal's signature does not hold, "
            "so the broken glass clears nothing."
        )


@pytest.mark.parametrize("facts", [{"active": False}, {"guest": True}, {"ours": False}, {"bot": True}])
async def test_RT7_a_voter_whose_account_changed_counts_no_more(facts: dict[str, Any]) -> None:
    here, stream = await approved()
    here.people.facts["U0PRIYA"] = facts
    await here.turn(stream)
    assert ((await here.incident(stream)).phase, here.shifts) == (Phase.WAITING, 0)


async def test_no_answer_about_a_voter_is_asked_again_inside_the_window_and_costs_no_vote() -> None:
    here, stream = await approved()
    here.people.away = True
    await here.run(stream, 30)
    assert (await here.incident(stream)).phase is Phase.CLEARED
    here.people.away = False
    incident = await here.run(stream, 5, until=Phase.MOVED)
    assert (incident.phase, len(incident.votes)) == (Phase.MOVED, 2)


async def test_the_window_ends_and_people_are_asked_again_for_as_long_as_they_had() -> None:
    here, stream = await approved()
    before = (await here.incident(stream)).decision
    here.people.away = True
    await here.run(stream, 61)
    incident = await here.incident(stream)
    assert (incident.phase, incident.votes, here.shifts) == (Phase.WAITING, (), 0)
    assert before is not None
    assert before.expires_at is not None
    assert incident.decision is not None
    assert incident.decision.expires_at == before.expires_at + timedelta(seconds=60)


async def test_an_automatic_rollback_of_a_target_nobody_can_read_ends_with_a_person() -> None:
    here = Corridor(ALONE)
    stream = await here.fire()

    def down() -> None:  # after the plan and the decision, before the claim
        here.memory.before_append = lambda: here.targets["route"].faults.append(Fault.DOWN)

    here.memory.before_append = down
    incident = await here.run(stream, 300, until=Phase.STUCK)
    assert (incident.phase, here.shifts, await here.held()) == (Phase.STUCK, 0, set())


async def test_RT9_a_world_that_moved_before_the_claim_voids_the_plan() -> None:
    here, stream = await approved()
    here.targets["route"].move({"41": 50, "42": 50})
    await here.turn(stream)
    assert (here.types(stream).count("plan.voided"), here.shifts) == (1, 0)
    assert "rollback.claimed" not in here.types(stream)


async def test_alerts_that_end_before_the_claim_close_it() -> None:
    here, stream = await approved()
    await here.resolve()
    await here.turn(stream)
    assert ((await here.incident(stream)).phase, here.shifts) == (Phase.CLOSED, 0)


async def other(here: Corridor) -> str:
    """Let another model that shares the route roll back first, and stop before its traffic is proven."""
    first = await here.fire("r1", model="ranker")
    await here.turn(first)
    await here.approved(first)
    here.meter.value = None
    await here.run(first, until=Phase.MOVED)
    return first


async def test_a_shared_route_parks_the_second_names_the_holder_and_costs_it_no_time() -> None:
    here = Corridor(shared=True)
    first = await other(here)
    here.targets["route"].move({"41": 0, "42": 100})
    stream = await here.fire()
    await here.turn(stream)
    await here.approved(stream)
    await here.run(stream, 20 * 60)
    incident = await here.incident(stream)
    assert (incident.phase, incident.parked_on) == (Phase.CLEARED, first)
    assert here.types(stream).count("rollback.parked") == 1
    assert here.last(stream, e.RollbackParked).sentence().startswith(f"Waits for the rollback of incident {first[-5:]}")
    await here.run(first, 60, until=Phase.STUCK)
    assert (await here.press("U0ANA", "give_up", first)).ok
    assert await here.held() == set()
    incident = await here.run(stream, 10, until=Phase.MOVED)
    assert (incident.phase, len(incident.votes)) == (Phase.MOVED, 2)


async def test_RI6_two_claims_on_one_route_never_both_succeed() -> None:
    here = Corridor(shared=True)
    streams = [await here.fire(), await here.fire("r1", model="ranker")]
    for stream in streams:
        await here.turn(stream)
        await here.approved(stream)
    await asyncio.gather(*(advance(stream, here.world) for stream in streams))
    holders = {(await here.world.ledger(name)).lock for name in await here.held()}
    assert len(holders) == 1
    assert here.shifts == 1


# ── one effect, its owner, and what was lost ──────────────────────────────────────────────────────────────────────


async def test_one_advance_makes_one_effect_and_hands_back_its_turn() -> None:
    here, stream = await approved(targets=("eu", "us"))
    again = await advance(stream, here.world)
    assert (again, here.shifts) == (here.clock.now(), 1)
    assert here.types(stream)[-2:] == ["step.started", "step.applied"]


class Killed(BaseException):
    """What no code of ours catches: the process is gone."""


class Dying(Memory):
    """A target whose process dies when it is told to move: before the effect, or after it."""

    after = False

    async def apply(self, plan: TargetPlan) -> ApplyResult:
        if self.after:
            await super().apply(plan)
        raise Killed


async def died(*, after: bool) -> tuple[Corridor, str]:
    here, stream = await approved()
    target = here.targets["route"]
    target.__class__, target.after = Dying, after  # type: ignore[attr-defined]  # the fake's own switch
    with pytest.raises(Killed):
        await advance(stream, here.world)
    target.__class__ = Memory
    return here, stream


@pytest.mark.parametrize("after", [False, True])
async def test_another_process_reads_first_and_moves_at_most_once(*, after: bool) -> None:
    here, stream = await died(after=after)
    assert here.types(stream)[-1] == "step.started"
    here.restart()
    incident = await here.run(stream, 5, until=Phase.MOVED)
    assert (incident.phase, here.shifts) == (Phase.MOVED, 1)
    assert here.types(stream).count("step.started") == (1 if after else 2)


async def test_another_call_of_the_same_process_waits_until_the_intent_is_over() -> None:
    here, stream = await died(after=True)
    started = here.last(stream, e.StepStarted)
    assert await advance(stream, here.world) == started.deadline
    assert here.types(stream)[-1] == "step.started"
    here.clock.advance(25)
    await here.turn(stream)
    assert (here.shifts, "step.applied" in here.types(stream)) == (1, True)


async def test_an_effect_is_not_sent_when_no_time_is_left_to_hear_the_answer() -> None:
    here, stream = await approved()

    class Slow(Memory):
        async def reading(self) -> Any:
            here.memory.before_append = lambda: here.clock.advance(6)  # the intent takes long to be written
            return await super().reading()

    here.targets["route"].__class__ = Slow
    again = await advance(stream, here.world)
    assert (again, here.shifts) == (here.last(stream, e.StepStarted).deadline, 0)


async def test_a_clock_that_is_set_back_does_not_make_a_late_effect_look_early() -> None:
    here, stream = await approved()
    real = here.clock

    class Reset:
        """An hour earlier from the moment the intent is written; only the steady clock tells."""

        back = timedelta(0)

        def now(self) -> Any:
            return real.now() - self.back

        def monotonic(self) -> float:
            return real.monotonic()

        async def sleep(self, seconds: float) -> None:
            await real.sleep(seconds)

    clock = Reset()

    class Slow(Memory):
        async def reading(self) -> Any:
            def late() -> None:
                real.advance(30)
                clock.back = timedelta(hours=1)

            here.memory.before_append = late
            return await super().reading()

    here.targets["route"].__class__ = Slow
    here.world = replace(here.world, clock=clock)
    await advance(stream, here.world)
    assert here.shifts == 0


@pytest.mark.parametrize(
    ("fault", "types"),
    [
        (Fault.LOSE, ["step.started", "step.unknown", "step.applied"]),
        (Fault.REFUSE, ["step.started", "step.unknown", "step.started", "step.applied"]),
    ],
)
async def test_a_lost_answer_is_read_before_anything_is_sent_again(fault: Fault, types: list[str]) -> None:
    here, stream = await approved()
    here.targets["route"].faults.append(fault)
    await here.run(stream, 60, until=Phase.MOVED)
    seen = [one for one in here.types(stream) if one.startswith("step.")]
    assert (seen, here.shifts) == (types, 1)


@pytest.mark.parametrize(("fault", "shifts"), [(Fault.STALL, 1), (Fault.HANG, 0)])
async def test_an_answer_that_never_comes_ends_after_its_time(fault: Fault, shifts: int) -> None:
    here, stream = await approved()
    here.targets["route"].faults.append(fault)
    await here.hung(stream)
    assert here.types(stream)[-1] == "step.unknown"
    assert here.last(stream, e.StepUnknown).detail == "route did not answer within 20 s."
    assert here.shifts == shifts
    incident = await here.run(stream, 30, until=Phase.MOVED)
    assert (incident.phase, here.shifts) == (Phase.MOVED, 1)


async def test_a_target_that_lies_is_found_out_by_its_counters() -> None:
    here, stream = await approved()
    here.targets["route"].faults.append(Fault.LIE)
    incident = await here.run(stream, 60, until=Phase.STUCK)
    assert (incident.verdicts["accepted"], incident.verdicts["traffic_moved"]) == ("yes", "no")


async def test_half_a_move_with_a_lost_answer_is_a_persons_turn_and_keeps_the_locks() -> None:
    here, stream = await approved()
    here.targets["route"].faults.append(Fault.PARTIAL)
    incident = await here.run(stream, 60, until=Phase.STUCK)
    assert (
        "route was 42 100\u00a0%, 41 0\u00a0%, is 42 50\u00a0%, 41 50\u00a0%, and should be 42 0\u00a0%, 41 100\u00a0%."
        in incident.stuck_reason
    )
    assert len(await here.held()) == 2
    assert "rollback.released" not in here.types(stream)


async def test_attempts_are_bounded() -> None:
    here, stream = await approved()
    here.targets["route"].faults.extend([Fault.REFUSE] * 9)
    incident = await here.run(stream, 300, until=Phase.STUCK)
    assert (incident.steps["route"].attempt, here.shifts) == (3, 0)
    assert here.types(stream).count("step.started") == 3


async def test_a_conflict_with_nothing_applied_lets_go_and_plans_anew() -> None:
    here, stream = await approved()
    here.targets["route"].faults.append(Fault.CONFLICT)
    await advance(stream, here.world)
    assert here.types(stream)[-3:] == ["step.failed", "rollback.released", "plan.voided"]
    incident = await here.incident(stream)
    assert (incident.phase, incident.claim, await here.held()) == (Phase.OPENED, None, set())
    await here.run(stream, 5, until=Phase.WAITING)
    assert (await here.incident(stream)).votes == ()


async def test_the_third_conflict_is_a_persons_turn_without_locks() -> None:
    here, stream = await approved()
    for _ in range(3):
        here.targets["route"].faults.append(Fault.CONFLICT)
        await here.run(stream, 30, until=Phase.WAITING)
        if (await here.incident(stream)).phase is Phase.WAITING:
            await here.approved(stream)
    incident = await here.run(stream, 30, until=Phase.STUCK)
    assert (incident.phase, incident.claim, await here.held(), here.shifts) == (Phase.STUCK, None, set(), 0)
    assert (await here.press("U0ANA", "plan_again", stream)).ok


async def test_a_conflict_at_a_later_step_keeps_what_is_applied_and_asks() -> None:
    here, stream = await approved(targets=("eu", "us"))
    here.targets["us"].faults.append(Fault.CONFLICT)
    incident = await here.run(stream, 30, until=Phase.STUCK)
    assert (incident.steps["eu"].state, incident.steps["us"].state) == ("moved", "failed")
    assert "rollback.released" not in here.types(stream)
    assert len(await here.held()) == 3


async def test_a_target_that_left_the_configuration_is_a_persons_turn() -> None:
    here, stream = await died(after=False)
    here.restart()
    here.world = replace(here.world, targets={})
    await here.turn(stream)
    incident = await here.incident(stream)
    assert incident.phase is Phase.STUCK
    assert "no longer has a target route" in incident.stuck_reason


# ── several steps, and what is put back ───────────────────────────────────────────────────────────────────────────


async def test_a_step_waits_for_the_proof_of_the_one_before_it() -> None:
    here, stream = await approved(**CHAIN)
    await here.run(stream, 30, until=Phase.MOVED)
    told = [f"{x.type} {x.step}" for x in here.entries(stream) if isinstance(x, e.StepStarted | e.TrafficVerified)]
    assert told == [f"{what} {name}" for name in ("eu", "us", "ap") for what in ("step.started", "traffic.verified")]


@pytest.mark.parametrize(("mode", "back"), [("before_traffic", []), ("stop", []), ("compensate", ["us", "eu"])])
async def test_a_failed_step_follows_on_failure_in_exact_reverse(mode: str, back: list[str]) -> None:
    here, stream = await approved(**CHAIN, on_failure=mode)
    here.targets["ap"].faults.append(Fault.CONFLICT)
    incident = await here.run(stream, 60, until=Phase.STUCK)
    undone = [entry.step for entry in here.entries(stream) if isinstance(entry, e.StepCompensated)]
    assert (undone, incident.phase) == (back, Phase.STUCK)
    assert incident.stuck_reason.startswith("Step ap failed:")
    bad = "42 100\u00a0%, 41 0\u00a0%"
    assert [name for name in ("eu", "us") if str(here.targets[name].split) == bad] == sorted(back)
    assert len(await here.held()) == 4


async def test_a_compensation_that_is_refused_hands_over_and_never_says_that_nothing_was_changed() -> None:
    here, stream = await approved(**CHAIN, on_failure="compensate")
    here.targets["ap"].faults.append(Fault.CONFLICT)

    class Refusing(Memory):
        async def apply(self, plan: TargetPlan) -> ApplyResult:
            if plan.restoring:
                now = here.clock.now()
                return ApplyResult(
                    outcome=Outcome.CONFLICT, detail="Somebody else was here.", started_at=now, finished_at=now
                )
            return await super().apply(plan)

    here.targets["eu"].__class__ = Refusing
    incident = await here.run(stream, 60, until=Phase.STUCK)
    assert (incident.steps["us"].state, incident.steps["eu"].state) == ("back", "failed")
    assert not {"rollback.released", "plan.voided"} & set(here.types(stream))


async def test_trying_again_after_everything_was_put_back_goes_the_whole_way() -> None:
    here, stream = await approved(**CHAIN, on_failure="compensate")
    here.targets["us"].faults.append(Fault.CONFLICT)
    await here.run(stream, 60, until=Phase.STUCK)
    assert {str(target.split) for target in here.targets.values()} == {"42 100\u00a0%, 41 0\u00a0%"}
    assert (await here.press("U0ANA", "retry", stream)).ok
    incident = await here.run(stream, 60, until=Phase.MOVED)
    assert (incident.phase, {step.state for step in incident.steps.values()}) == (Phase.MOVED, {"moved"})


async def test_trying_again_what_somebody_touched_since_it_was_put_back_is_a_conflict() -> None:
    here, stream = await approved(**CHAIN, on_failure="compensate")
    here.targets["us"].faults.append(Fault.CONFLICT)
    await here.run(stream, 60, until=Phase.STUCK)
    here.targets["eu"].move({"41": 5, "42": 95})
    assert (await here.press("U0ANA", "retry", stream)).ok
    incident = await here.run(stream, 60, until=Phase.STUCK)
    assert str(here.targets["eu"].split) == "42 95\u00a0%, 41 5\u00a0%"
    assert incident.stuck_reason.startswith("Step eu failed: eu was 42 100\u00a0%, 41 0\u00a0%")


# ── people while it rolls ─────────────────────────────────────────────────────────────────────────────────────────


def cancel(here: Corridor, stream: str) -> None:
    here.memory.put(stream, e.RollbackCancelled(person="U0ANA", text_ref="t"))


async def test_a_cancel_after_the_intent_and_before_the_effect_sends_nothing() -> None:
    here, stream = await approved()

    put = here.memory.put

    def then_cancel(stream: str, entry: e.Entry) -> e.Recorded:
        row = put(stream, entry)
        if isinstance(entry, e.StepStarted):
            cancel(here, stream)
        return row

    here.memory.put = then_cancel  # type: ignore[method-assign]  # the other writer of the race
    incident = await here.run(stream, 5, until=Phase.STUCK)
    assert (incident.phase, here.shifts) == (Phase.STUCK, 0)
    assert here.last(stream, e.StepFailed).detail == "Cancelled before anything was sent."


async def test_a_cancel_during_the_effect_reads_it_once_and_stops() -> None:
    here, stream = await approved()

    class Pressed(Memory):
        async def apply(self, plan: TargetPlan) -> ApplyResult:
            done = await super().apply(plan)
            here.memory.before_append = lambda: cancel(here, stream)  # before the answer is written down
            return done

    here.targets["route"].__class__ = Pressed
    incident = await here.run(stream, 1, until=Phase.STUCK)
    assert (incident.phase, here.shifts, here.types(stream).count("step.started")) == (Phase.STUCK, 1, 1)
    assert here.types(stream)[-3:] == ["rollback.cancelled", "step.applied", "incident.stuck"]
    assert len(await here.held()) == 2


async def test_a_cancel_while_the_answer_is_lost_never_sends_again() -> None:
    here, stream = await approved()
    here.targets["route"].faults.append(Fault.REFUSE)
    await advance(stream, here.world)
    assert here.types(stream)[-1] == "step.unknown"
    assert (await here.press("U0ANA", "cancel", stream)).ok
    incident = await here.run(stream, 60, until=Phase.STUCK)
    assert (incident.phase, here.shifts, here.types(stream).count("step.started")) == (Phase.STUCK, 0, 1)
    assert (await here.press("U0ANA", "retry", stream)).ok
    await here.run(stream, 10, until=Phase.MOVED)
    assert here.shifts == 1


async def test_a_target_that_never_answers_again_is_handed_over_and_a_retry_reads_first() -> None:
    here, stream = await died(after=True)
    here.restart()
    here.targets["route"].faults.append(Fault.DOWN)
    incident = await here.run(stream, 120, until=Phase.STUCK)
    assert "so its state is unknown." in incident.stuck_reason
    assert incident.verdicts["accepted"] == "not_yet" or incident.verdicts["accepted"] == "cannot_tell"
    here.targets["route"].faults.clear()
    assert (await here.press("U0ANA", "retry", stream)).ok
    incident = await here.run(stream, 5, until=Phase.MOVED)
    assert (here.shifts, here.types(stream).count("step.started")) == (1, 1)


async def test_nothing_is_tried_again_while_lastgood_only_shows() -> None:
    here, stream = await approved()
    here.targets["route"].faults.append(Fault.PARTIAL)
    await here.run(stream, 60, until=Phase.STUCK)
    here.world = replace(here.world, observe=True)
    told = await here.press("U0ANA", "retry", stream)
    text = "Lastgood only decides and shows for fraud-scorer now, so it moves nothing. Nothing was changed."
    assert (told.ok, told.text) == (False, text)
    here.world = replace(here.world, observe=False)
    assert (await here.press("U0ANA", "retry", stream)).ok


async def test_giving_up_closes_and_frees_everything() -> None:
    here, stream = await approved()
    here.targets["route"].faults.append(Fault.PARTIAL)
    await here.run(stream, 60, until=Phase.STUCK)
    assert (await here.press("U0ANA", "give_up", stream)).ok
    incident = await here.incident(stream)
    ledger = await here.world.ledger(STREAM)
    assert incident.closed is not None
    assert (incident.closed.outcome, incident.closed.person) == ("gave_up", "U0ANA")
    assert (await here.held(), ledger.open_incident, dict(ledger.quarantined)) == (set(), None, {})


async def test_a_refusal_without_a_second_chance_fails_at_once() -> None:
    here, stream = await approved()

    class Moved(Memory):
        async def apply(self, plan: TargetPlan) -> ApplyResult:
            raise TokenMoved(f"{plan.target} changed since it was read.")

    here.targets["route"].__class__ = Moved
    incident = await here.run(stream, 5, until=Phase.STUCK)
    assert incident.stuck_reason == "Step route failed: route changed since it was read. Nothing was sent."
