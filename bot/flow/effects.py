"""One effect: sent once, by the owner of its intent, and its answer written down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from bot.domain import entries as e
from bot.domain.incident import Incident, StepState
from bot.domain.plan import PlanStep
from bot.domain.traffic import ApplyResult, Outcome, TargetPlan
from bot.errors import AdapterError
from bot.flow.locks import let_go
from bot.flow.steps import answer, looks, performed, still_asking, taken_back
from bot.flow.targets import CALL, adapter, within
from bot.flow.world import Later, Step, World, write
from bot.flow.world import Outcome as Next
from bot.ports import Write

ATTEMPTS = 3
AGAIN = timedelta(seconds=2)


def plan_of(incident: Incident, step: PlanStep) -> TargetPlan:
    """Give what a step does to its target: from what the stage before it left to its own share.

    The precondition is the token our own last write left, so that anybody else's change in between is a conflict.
    """
    if incident.plan is None:
        raise ValueError("a rollback has a plan")
    target, before = incident.plan.target(step.target), incident.plan.split_before(step)
    token = incident.tokens.get(step.target, target.before.token)
    state = target.before.but(token=token)
    if not before.same(target.before.split):
        state = state.but(desired=before, observed=None)
    return target.but(before=state, to_split=incident.plan.goal(step))


def together(incident: Incident, ended: Sequence[Next]) -> Next:
    """Make one step of several, or the earliest time to look again when none of them has anything to write."""
    steps = [one for one in ended if isinstance(one, Step)]
    if not steps:
        return min((one for one in ended if isinstance(one, Later)), key=lambda one: one.at, default=None)
    if len(steps) == 1:
        return steps[0]
    writes = [write for step in steps for write in step.writes]
    own = tuple(entry for one in writes if one.stream == incident.stream for entry in one.entries)
    others = tuple(one for one in writes if one.stream != incident.stream)
    merged = (*([write(incident, *own)] if own else []), *others)
    return Step(merged, yields=any(step.yields for step in steps))


async def effect(incident: Incident, world: World, step: PlanStep, started: e.StepStarted) -> Next:
    """Send once, as the owner of the intent, if there is time left to hear the answer."""
    if incident.cancelled:
        return failed_with(incident, started, Outcome.REJECTED, "Cancelled before anything was sent.")
    if started.deadline - world.clock.now() < CALL:
        return Later(started.deadline)  # whoever comes then reads first
    try:
        result = await _sent(incident, world, step, started)
    except TimeoutError:
        return unknown(incident, started, f"{step.target} did not answer within {CALL.seconds} s.")
    except AdapterError as error:
        if error.retryable and started.attempt < ATTEMPTS:
            return unknown(incident, started, f"{error} Nothing was sent.")
        return failed_with(incident, started, Outcome.REJECTED, f"{error} Nothing was sent.")
    return await _answered(incident, world, started, result)


async def _sent(incident: Incident, world: World, step: PlanStep, started: e.StepStarted) -> ApplyResult:
    if step.kind != "target":
        return await (taken_back if started.compensating else performed)(incident, world, step)
    target = plan_of(incident, step)
    wanted = target.but(to_split=started.goal or target.to_split)
    return await within(CALL, adapter(incident, world, step.target).apply(wanted), world.clock)


async def _answered(incident: Incident, world: World, started: e.StepStarted, result: ApplyResult) -> Next:
    if result.outcome in (Outcome.APPLIED, Outcome.NOOP):
        return Step((write(incident, done(started, result)),), yields=True)
    if result.outcome is Outcome.INDETERMINATE:
        return unknown(incident, started, result.detail)
    if result.outcome is Outcome.CONFLICT and _first_touch(incident, started) and incident.plan:
        plan, reason = incident.plan.id, result.detail
        failed = e.StepFailed(step=started.step, attempt=started.attempt, outcome=result.outcome, detail=reason)
        ended = (e.RollbackReleased(plan=plan, reason=reason), e.PlanVoided(plan=plan, reason=reason))
        held: list[Write] = await let_go(incident, world)
        return Step((write(incident, failed, *ended), *held), yields=True)
    return failed_with(incident, started, result.outcome, result.detail)


def _first_touch(incident: Incident, started: e.StepStarted) -> bool:
    """Say whether this is the only thing the rollback ever tried, so that a conflict proves that nothing was applied."""
    return started.attempt == 1 and set(incident.steps) == {started.step} and not started.compensating


def unknown(incident: Incident, started: e.StepStarted, detail: str) -> Step:
    """Write that the answer was lost."""
    entry = e.StepUnknown(step=started.step, attempt=started.attempt, detail=detail)
    return Step((write(incident, entry),), yields=True)


def failed_with(incident: Incident, started: e.StepStarted, outcome: Outcome, detail: str) -> Step:
    """Write that it was refused or is not there."""
    entry = e.StepFailed(step=started.step, attempt=started.attempt, outcome=outcome, detail=detail)
    return Step((write(incident, entry),), yields=True)


def done(started: e.StepStarted, result: ApplyResult) -> e.Entry:
    """Give the entry of an effect that holds."""
    if started.compensating:
        return e.StepCompensated(step=started.step, detail=result.detail, token=result.token)
    return e.StepApplied(
        step=started.step, attempt=started.attempt, outcome=result.outcome, observed=started.goal,
        receipt=result.receipt, detail=result.detail, token=result.token,
    )  # fmt: skip


async def asked(incident: Incident, world: World, step: PlanStep, flight: StepState) -> Next:
    """Ask a check's SLIs, again and again until they answer; what is not answered in time is not a yes.

    It changes nothing, so whoever comes may ask.
    """
    started, plan, now = flight.started, incident.plan, world.clock.now()
    if started is None or plan is None:
        raise ValueError("a check was started")
    check, begun = plan.verify.recovery, flight.at or incident.since
    last = max((at for at, _ in incident.samples if at >= begun), default=None)
    if last is not None and now < last + check.every:
        return Later(last + check.every)
    samples = await looks(incident, world, step)
    well, told = answer(samples)
    seen = [e.SliSampled(samples=samples, settling=True)] if samples else []
    if well is None and now < begun + check.within:
        return Step((write(incident, *seen),), given={incident.stream: incident.epoch})
    if well:
        applied = e.StepApplied(step=step.name, attempt=started.attempt, outcome=Outcome.APPLIED, detail=told)
        return Step((write(incident, *seen, applied),))
    why = still_asking(check.within, told) if well is None else told
    failed = e.StepFailed(step=step.name, attempt=started.attempt, outcome=Outcome.REJECTED, detail=why)
    return Step((write(incident, *seen, failed),))
