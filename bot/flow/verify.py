"""APPLIED → MOVED → RECOVERED: is traffic proven to have moved, and is the service well?"""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.domain import entries as e
from bot.domain import recovery, trust, words
from bot.domain.incident import Incident
from bot.domain.ledger import Ledger
from bot.domain.policy import Policy
from bot.domain.runbook import RecoveryCheck, TrafficCheck
from bot.domain.traffic import Reading, Verification
from bot.errors import AdapterError
from bot.flow.samples import sample
from bot.flow.targets import ask
from bot.flow.world import POLICY, Later, Outcome, Step, World, to, write
from bot.ports import Write

LOOK_EVERY = timedelta(seconds=1)


async def verify(incident: Incident, world: World) -> Outcome:
    """Look at the data plane until the bad version's counter is proven to have stopped, or its time is over.

    The baseline is the reading taken before the effect; each look at which the bad version still had requests, or the
    counters restarted, is kept and is the baseline from there on. So proof counts from when the counter stopped.
    """
    plan = incident.plan
    step = next(one for one in incident.steps.values() if one.state == "applied")
    if plan is None or step.started is None:
        raise ValueError("an applied step was planned and started")
    if incident.cancelled:
        return Step((write(incident, e.IncidentStuck(reason=incident.stuck_reason, by_hand=incident.commands)),))
    target, check, now = plan.target(plan.step(step.name).target), plan.verify.traffic, world.clock.now()
    baseline = incident.looks[-1].verification.reading if incident.looks else step.started.baseline
    if incident.looks and baseline and now < baseline.at + LOOK_EVERY:
        return Later(baseline.at + LOOK_EVERY)
    late = now - incident.since >= check.within
    try:
        look = await ask(incident, world, target.target, lambda one: one.verify(target, baseline))
    except AdapterError as error:
        reason = f"Traffic cannot be read: {error}"
        return _judged(incident, step.name, "cannot_tell", reason, None) if late else Later(now + LOOK_EVERY)
    if not late and _begins_anew(baseline, look.reading, target.bad):
        kept = e.TrafficSampled(step=step.name, verification=look)
        return Step((write(incident, kept),), given={incident.stream: incident.epoch})
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


def _judged(incident: Incident, step: str, verdict: e.Verdict, reason: str, look: Verification | None) -> Step:
    return Step((write(incident, e.TrafficVerified(step=step, verdict=verdict, reason=reason, verification=look)),))


def _served(incident: Incident, step: str) -> e.VersionServed:
    if incident.plan is None:
        raise ValueError("a rollback has a plan")
    target = incident.plan.target(incident.plan.step(step).target)
    return e.VersionServed(target=target.target, split=target.to_split, by="rollback", incident=incident.stream)


async def recover(incident: Incident, world: World) -> Outcome:
    """Take a round of samples when one is due, else judge those taken since traffic moved.

    The verdict is written to the model too, for the rules that led to the rollback. One that did not help takes each of
    them that stands on the trust ladder a rung down, once a rollback, and makes their review due. Where traffic was not
    proven to have moved nothing was tried out, so nothing is judged.
    """
    plan, moved_at = incident.plan, incident.moved_at
    if plan is None or moved_at is None:
        raise ValueError("recovery follows a rollback that moved")
    check, now = plan.verify.recovery, world.clock.now()
    due = _due(incident, check, moved_at)
    if now >= due:
        return await sample(incident, world, check, settling=False)
    judged = recovery.judge(check, [entry for _, entry in incident.samples], moved_at, now)
    if judged.verdict == "not_yet":
        return Later(due)
    verdict = e.SliJudged(verdict=judged.verdict, reason=judged.reason)
    return Step((write(incident, verdict), *await _learnt(incident, world, judged.verdict)))


async def _learnt(incident: Incident, world: World, verdict: e.Verdict) -> list[Write]:
    """Give what a verdict means for the rules that led to this rollback."""
    ledger = await world.ledger(incident.model_stream)
    judged = e.RollbackJudged(incident=incident.stream, rules=incident.rules, verdict=verdict)
    known = next((one.verdict for one in reversed(ledger.rollbacks) if one.incident == incident.stream), None)
    if verdict != "no" or known == "no":
        return [to(ledger, judged)]
    return [to(ledger, judged, *_lowered(incident, ledger, world.catalogue.policy)), _review(incident)]


def _lowered(incident: Incident, ledger: Ledger, policy: Policy) -> list[e.Entry]:
    """Take every rule of the ladder that led here a rung down, as far as there is one."""
    climbing = [one.id for one in policy.rules if one.ladder and one.id in incident.rules and policy.trust is not None]
    below = {rule: trust.step_down(trust.rung(policy.trust, ledger.trust.get(rule))) for rule in climbing}
    reason = f"The rollback {_change(incident)} of incident {incident.short} did not help."
    return [e.TrustMoved(rule=rule, rung=rung, reason=reason) for rule, rung in below.items() if rung is not None]


def _review(incident: Incident) -> Write:
    """Ask for the review of the policy; it goes in whatever else happens to it."""
    those = f"rule {incident.rules[0]}" if len(incident.rules) == 1 else f"rules {words.listed(incident.rules)}"
    reason = (
        f"The rollback of {incident.model} {_change(incident)} in {incident.environment} did not help, incident "
        f"{incident.short}. Read {those} again."
    )
    due = e.PolicyReviewDue(incident=incident.stream, rules=incident.rules, reason=reason)
    return Write(POLICY, (due,))


def _change(incident: Incident) -> str:
    if incident.plan is None:
        raise ValueError("a rollback has a plan")
    return words.change(incident.plan.from_version, incident.plan.to_version)


def _due(incident: Incident, check: RecoveryCheck, moved_at: datetime) -> datetime:
    return incident.samples[-1][0] + check.every if incident.samples else moved_at
