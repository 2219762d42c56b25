"""MOVED → RECOVERED: is the service well?"""

from __future__ import annotations

from datetime import datetime

from bot.domain import entries as e
from bot.domain import recovery, trust, words
from bot.domain.incident import Incident
from bot.domain.ledger import Ledger
from bot.domain.policy import Policy
from bot.domain.runbook import RecoveryCheck
from bot.flow.samples import sample
from bot.flow.world import POLICY, Later, Outcome, Step, World, to, write
from bot.ports import Write


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
