"""What is said under the card: three posts in a whole life, names without a ping."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.domain import entries as e
from bot.domain import words
from bot.domain.incident import Incident
from bot.domain.plan import PEOPLE
from bot.slack.facts import Facts
from bot.slack.lead import bare, named
from bot.slack.text import code, day, escape

GLASS = "thread.glass."
_JUDGED = {"yes": "Recovered", "no": "Not recovered", "cannot_tell": "Cannot tell", "not_yet": "Not yet"}


def moments(incident: Incident, entries: Sequence[e.Recorded], facts: Facts) -> list[tuple[str, str]]:
    """Give kind and text of the posts that are due before the closing one.

    A claim and a verdict are said in every rollback; broken glass, its review and an escalation when they happen.
    """
    said: dict[str, str] = {}
    for one in entries:
        match one.entry:
            case e.IncidentReopened():
                said.clear()  # what belongs to the card before stays under it
            case e.RollbackClaimed() if incident.plan is not None:
                said["thread.started"] = named(_started(incident, one.entry, one), facts)
            case e.SliJudged() if incident.moved is not None:
                said.setdefault("thread.verified", named(_verified(incident, one.entry, one), facts))
            case e.PlanEscalated():
                said[f"thread.escalated.{one.version}"] = named(
                    f"{words.moment(one.at)}: {one.entry.sentence()}", facts
                )
            case e.GlassBroken():
                said[f"{GLASS}{one.version}"] = _broken(incident, one.entry, one, facts)
            case e.StepApplied() if (told := _told(incident, one.entry)) is not None:
                said[f"thread.told.{one.version}"] = told
            case e.ReviewDone():
                said[f"thread.reviewed.{one.version}"] = _reviewed(one.entry, facts)
    return list(said.items())


def _broken(incident: Incident, entry: e.GlassBroken, at: e.Recorded, facts: Facts) -> str:
    """Call the owner: here and nowhere else somebody is woken who was not asked."""
    plan = incident.plan
    change = (
        f": {escape(words.change(plan.from_version, plan.to_version))}"
        if plan is not None and plan.id == entry.plan
        else ""
    )
    who = f"{escape(facts.name(entry.person))} broke the glass as {escape(entry.role)} {words.moment(at.at)}{change}."
    due = f"Nobody else approved. Somebody else reviews it by {day(entry.review_due)}."
    why = facts.quoted(entry.person, entry.text_ref)
    return " ".join(one for one in (_called(entry.owner), who, why, due) if one)


def _told(incident: Incident, entry: e.StepApplied) -> str | None:
    """Call whom a step of the plan tells, with where the model is going; None for any other step."""
    plan = incident.plan
    step = next((one for one in plan.steps if one.name == entry.step), None) if plan else None
    if plan is None or step is None or step.kind != "tell" or not PEOPLE.fullmatch(step.target):
        return None
    change = escape(words.change(plan.from_version, plan.to_version))
    place = escape(incident.environment)
    return f"{_called(step.target)} {escape(incident.model)} in {place} goes back, {change}."


def _called(owner: str) -> str:
    """Write an owner as a mention; an escalation policy is paged, not mentioned."""
    name = owner.rpartition(" ")[2]
    if re.fullmatch(r"[UW][A-Z0-9]{1,30}", name):
        return f"<@{name}>"
    return f"<!subteam^{name}>" if re.fullmatch(r"S[A-Z0-9]{1,30}", name) else ""


def _reviewed(entry: e.ReviewDone, facts: Facts) -> str:
    why = facts.quoted(entry.person, entry.text_ref)
    return f"{named(entry.sentence(), facts)} {why}".strip()


def _started(incident: Incident, claim: e.RollbackClaimed, at: e.Recorded) -> str:
    plan = incident.plan
    if plan is None:
        return ""
    roles = {vote.person: vote.role for vote in incident.votes}
    people = [f"{words.person(one)}{f' ({roles[one]})' if one in roles else ''}" for one in claim.people]
    who = f"{words.listed(people)} approved." if people else "Policy acts alone."
    if incident.glass is not None:
        who = f"{words.person(incident.glass.person)} acts alone, glass broken."
    targets = words.listed([f"{one.adapter.capitalize()} {one.target}" for one in plan.targets])
    return f"Started {words.moment(at.at)}: {words.change(plan.from_version, plan.to_version)}, {targets}. {who} {claim.sentence()}"


def _verified(incident: Incident, judged: e.SliJudged, at: e.Recorded) -> str:
    moved = incident.moved.reason if incident.moved else ""
    when = f" {words.moment(incident.moved_at)}" if incident.moved_at else ""
    return f"Traffic moved{when}: {bare(moved)} {_JUDGED[judged.verdict]} {words.moment(at.at)}: {bare(judged.reason)}"


def closing(incident: Incident, entries: Sequence[e.Recorded], facts: Facts, seal: str, postmortem_: str) -> str:
    """Say how it ended, how long the record is and what seals it, and where the postmortem is."""
    at = f" {words.moment(incident.closed_at)}" if incident.closed_at else ""
    reason = named(bare(incident.closed.reason), facts) if incident.closed else ""
    end = f"sealed by checkpoint {code(seal)}" if seal else f"the last one is {code(entries[-1].digest)}"
    return f"Closed{at}. {reason} {words.count(len(entries))} entries, {end}. {postmortem_}"


def postmortem(incident: Incident, facts: Facts, template: str, trouble: str) -> str:
    """Say where the postmortem is, or what keeps it from being written."""
    command = code(f"lastgood postmortem {incident.short}")
    if trouble:
        mend = f"Mend the template, then {command} writes it."
        return f"There is no postmortem yet: the template {code(template)} cannot be rendered. {code(trouble[:300])} {mend}"
    link = (
        f"<{facts.pages}/incidents/{incident.id}/postmortem|The postmortem draft>"
        if facts.pages
        else "The postmortem draft"
    )
    return f"{link} is attached; {command} writes it again."
