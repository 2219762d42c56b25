"""The last line of a card: what comes next and by when, or whose turn it is."""

from __future__ import annotations

from bot.domain import words
from bot.domain.entries import PolicyDecided
from bot.domain.incident import Incident, Phase
from bot.flow.approve import REMIND_AT
from bot.report.facts import next_sentence
from bot.report.standing import mitigated
from bot.slack.facts import Facts


def upcoming(incident: Incident, facts: Facts) -> str:
    """Say it with times as tokens. Nothing in here is text from outside but versions and names."""
    match incident.phase:
        case Phase.PLANNED if facts.past.snoozed is not None:
            return f"Next: people are asked {words.moment(facts.past.snoozed.until)}, or when a worse alert fires."
        case Phase.WAITING:
            return _waiting(incident, facts)
        case Phase.STUCK:
            return _stuck(incident, facts)
        case Phase.APPLIED if incident.plan is not None:
            return f"Next: a verdict on the traffic{_counting(incident)}."
        case Phase.MOVED if incident.plan is not None:
            return _judging(incident)
        case Phase.RECOVERED if incident.plan is not None:
            return f"Next: watched for {words.span(incident.plan.verify.recovery.watch)}, then closed."
        case Phase.NOTED:
            return "Next: it closes by itself after a day, unless somebody proposes a rollback."
        case Phase.CLOSED:
            at = f" {words.moment(incident.closed_at)}" if incident.closed_at else ""
            who = f" by {words.person(incident.closed.person)}" if incident.closed and incident.closed.person else ""
            return f"Closed{at}{who}. {mitigated(incident)}".rstrip()
    text = next_sentence(incident)
    return f"Next: {text[:1].lower()}{text[1:]}"


def _waiting(incident: Incident, facts: Facts) -> str:
    decision, plan = incident.decision, incident.plan
    if decision is None or plan is None:
        return ""
    need = sum(place.count for place in decision.require)
    samples = plan.verify.recovery.samples
    judged = f"{samples} good sample{'s' * (samples > 1)} in a row decide{'s' * (samples == 1)}"
    text = f"Next: at {need} of {need} approved traffic moves, then {judged}."
    if decision.expires_at is None:
        return text
    remind = decision.remind_at or incident.since + (decision.expires_at - incident.since) * REMIND_AT
    told = "Those who can were reminded." if incident.reminded else f"I remind those who can {words.moment(remind)}."
    return f"{text} {told}{_told_next(decision, facts)} The plan expires {words.moment(decision.expires_at)}."


def _told_next(decision: PolicyDecided, facts: Facts) -> str:
    """Say who was told when nobody completed the quorum, and what is due when they do not either."""
    told = [role for role in facts.past.told if role]
    said = f" I told {words.listed(told)}." if told else ""
    if "" in facts.past.told:
        return f"{said} The page is due."
    return f"{said} A page is due {words.moment(decision.page_at)}." if decision.page_at and told else said


def _counting(incident: Incident) -> str:
    plan, at = incident.plan, max((step.at for step in incident.steps.values() if step.at), default=None)
    return f" by {words.moment(at + plan.verify.traffic.within)}" if plan and at else ""


def _judging(incident: Incident) -> str:
    check = incident.plan.verify.recovery if incident.plan else None
    if check is None or incident.moved_at is None:
        return ""
    every, ends = words.span(check.every), words.moment(incident.moved_at + check.within)
    needed = f"{check.samples} good sample{'s in a row are' if check.samples > 1 else ' is'} needed"
    return (
        f"Next: a sample every {every}, {needed}. Verdict by {ends} at the latest; if there is none, a person decides."
    )


def _stuck(incident: Incident, facts: Facts) -> str:
    if incident.rejected_by:
        return "Next: a person decides. A new plan needs new approvals."
    if incident.taken_by:
        return f"{words.person(incident.taken_by)} has it and decides."
    owners = words.people(facts.owners[:3], "or")
    return f"Next: {owners or 'a person'} decides."
