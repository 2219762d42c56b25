"""APPLIED → MOVED: is traffic proven to have moved?"""

from __future__ import annotations

from datetime import timedelta

from bot.domain import entries as e
from bot.domain import words
from bot.domain.counting import at_most
from bot.domain.incident import Incident
from bot.domain.runbook import TrafficCheck
from bot.domain.traffic import Reading, TargetPlan, Verification
from bot.errors import AdapterError
from bot.flow.effects import plan_of
from bot.flow.targets import ask
from bot.flow.world import Later, Outcome, Step, World, to, write

LOOK_EVERY = timedelta(seconds=1)


async def verify(incident: Incident, world: World) -> Outcome:
    """Look at the data plane until the bad version's counter is proven to have stopped, or its time is over.

    The baseline is the reading taken before the effect; each look at which the bad version still had requests, or the
    counters restarted, is kept and is the baseline from there on. So proof counts from when the counter stopped.
    """
    plan = incident.plan
    step = next(one for one in incident.steps.values() if one.state == "applied")
    if plan is None:
        raise ValueError("an applied step was planned")
    if incident.cancelled:
        return Step((write(incident, e.IncidentStuck(reason=incident.stuck_reason, by_hand=incident.commands)),))
    target, check, now = plan_of(incident, plan.step(step.name)), plan.verify.traffic, world.clock.now()
    began = step.started.baseline if step.started else None
    baseline = incident.looks[-1].verification.reading if incident.looks else began
    if incident.looks and baseline and now < baseline.at + LOOK_EVERY:
        return Later(baseline.at + LOOK_EVERY)
    late = now - max(incident.since, step.at or incident.since) >= check.within
    try:
        look = await ask(incident, world, target.target, lambda one: one.verify(target, baseline))
    except AdapterError as error:
        reason = f"Traffic cannot be read: {error}"
        return _judged(incident, step.name, "cannot_tell", reason, None) if late else Later(now + LOOK_EVERY)
    stage = target.to_split.share(target.bad) > 0
    if not late and _begins_anew(baseline, look.reading, "" if stage else target.bad):
        kept = e.TrafficSampled(step=step.name, verification=look)
        return Step((write(incident, kept),), given={incident.stream: incident.epoch})
    if stage:
        return await _stage(incident, world, step.name, look, target, late=late)
    return await _verdict(incident, world, step.name, look, check, late=late)


def _begins_anew(baseline: Reading | None, now: Reading, bad: str) -> bool:
    """Say whether counting must begin at this look: the bad version had requests since, or the counters restarted."""
    if baseline is None or baseline.epoch != now.epoch:
        return True
    fell = any(count < baseline.requests.get(name, 0) for name, count in now.requests.items())
    return fell or now.requests.get(bad, 0) > baseline.requests.get(bad, 0)


async def _verdict(
    incident: Incident, world: World, step: str, look: Verification, check: TrafficCheck, *, late: bool
) -> Outcome:
    small = look.upper_bound_bad is not None and look.upper_bound_bad <= check.max_bad_share
    if look.control_plane == "converged" and look.data_plane == "moved" and small:
        moved = e.TrafficVerified(step=step, verdict="yes", reason=f"Traffic moved: {look.detail}", verification=look)
        return Step((write(incident, moved), to(await world.ledger(incident.model_stream), _served(incident, step))))
    if not late:
        return Later(world.clock.now() + LOOK_EVERY)
    limit = f"limit {words.percent(check.max_bad_share)} within {words.span(check.within)}"
    if look.data_plane in ("moving", "not_moved"):
        return _judged(incident, step, "no", f"Traffic has not moved, {limit}: {look.detail}", look)
    bound = (
        ""
        if look.upper_bound_bad is None
        else f" At most {words.percent(look.upper_bound_bad)} can be claimed, {limit}."
    )
    return _judged(incident, step, "cannot_tell", f"Cannot tell whether traffic moved: {look.detail}{bound}", look)


async def _stage(
    incident: Incident, world: World, step: str, look: Verification, target: TargetPlan, *, late: bool
) -> Outcome:
    """Judge a stage of a ramp, at which the bad version keeps a share: the good one must be proven to get its part.

    Proven: the lower 95 % bound of its share of the requests since the stage began is above half of what it should be.
    """
    total, got = sum(look.samples.values()), look.samples.get(target.good, 0)
    wanted = float(target.to_split.share(target.good)) / 100
    least = 1 - at_most(total - got, total) if total else 0.0
    counted = f"version {target.good} got {words.count(got)} of {words.count(total)} requests"
    figures = f"{counted}, {words.percent(wanted)} was planned"
    if look.control_plane == "converged" and total and least > wanted / 2:
        moved = e.TrafficVerified(step=step, verdict="yes", reason=f"Traffic moved: {figures}.", verification=look)
        return Step((write(incident, moved), to(await world.ledger(incident.model_stream), _served(incident, step))))
    if not late:
        return Later(world.clock.now() + LOOK_EVERY)
    if total and 1 - least < 1 and got / total < wanted / 2 and at_most(got, total) < wanted:
        return _judged(incident, step, "no", f"Traffic has not moved: {figures}.", look)
    return _judged(incident, step, "cannot_tell", f"Cannot tell whether traffic moved: {figures}. {look.detail}", look)


def _judged(incident: Incident, step: str, verdict: e.Verdict, reason: str, look: Verification | None) -> Step:
    return Step((write(incident, e.TrafficVerified(step=step, verdict=verdict, reason=reason, verification=look)),))


def _served(incident: Incident, step: str) -> e.VersionServed:
    if incident.plan is None:
        raise ValueError("a rollback has a plan")
    planned = incident.plan.step(step)
    split = incident.plan.goal(planned)
    return e.VersionServed(target=planned.target, split=split, by="rollback", incident=incident.stream)
