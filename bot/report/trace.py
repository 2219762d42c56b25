"""Why it was decided so: every plan with its decisions, approvals and refusals, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from bot.domain import entries as e
from bot.domain import words
from bot.domain.plan import Plan


@dataclass(frozen=True, slots=True)
class Act:
    """What one person did about a plan, with the checks it went through; `times` counts how often they were told the same."""

    person: str
    at: datetime
    text: str
    checks: tuple[e.Check, ...]
    times: int = 1


@dataclass(slots=True)
class Attempt:
    """One plan and all that was decided about it."""

    plan: Plan | None
    at: datetime
    decisions: list[e.Recorded] = field(default_factory=list)
    approvals: list[Act] = field(default_factory=list)
    refusals: dict[tuple[str, str], Act] = field(default_factory=dict)  # by person and what they were told
    claim: tuple[e.Check, ...] = ()
    fate: str = "It is still open."


def attempts(entries: Sequence[e.Recorded]) -> list[Attempt]:
    """Give every plan of a timeline in order, those that could not be made too."""
    found: list[Attempt] = []
    for one in entries:
        starts = isinstance(one.entry, e.PlanMade | e.PlanBlocked)
        if starts or (not found and isinstance(one.entry, e.ApprovalRefused)):
            found.append(Attempt(one.entry.plan if isinstance(one.entry, e.PlanMade) else None, one.at))
        if found:
            _take(found[-1], one)
    return found


def _take(attempt: Attempt, one: e.Recorded) -> None:
    match one.entry:
        case e.PolicyDecided():
            attempt.decisions.append(one)
        case e.ApprovalGiven() as given:
            seen = f"as {given.role}, on card version {given.card_version}, through {given.via}"
            attempt.approvals.append(Act(given.person, one.at, seen, given.checks))
        case e.ApprovalRefused() as told:
            before = attempt.refusals.get((told.person, told.text), Act(told.person, one.at, told.text, told.checks, 0))
            attempt.refusals[told.person, told.text] = replace(before, times=before.times + told.times)
        case e.RollbackClaimed() as claim:
            attempt.claim, attempt.fate = claim.checks, f"The rollback began at {words.moment(one.at)}."
        case e.PlanRejected() | e.PlanExpired() | e.PlanVoided() | e.PlanBlocked() as ended:
            attempt.fate = ended.sentence()
        case e.IncidentClosed() if not attempt.claim:
            attempt.fate = "The incident closed before it was carried out."
        case _:
            pass
