"""RECOVERED → CLOSED: watch a little longer, then close; and what happens while people have the turn."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

from bot.domain import entries as e
from bot.domain import words
from bot.domain.alert import Alert, Kind
from bot.domain.incident import Incident
from bot.domain.plan import Plan
from bot.flow.aftermath import ended, figures
from bot.flow.facts import OWN, snoozed
from bot.flow.locks import by_itself, releases
from bot.flow.people import asks_in
from bot.flow.samples import sample
from bot.flow.world import Later, Outcome, Step, World, write

NOTED_FOR = timedelta(hours=24)
ESCALATE_AFTER = timedelta(minutes=5)
ESCALATE_AGAIN = timedelta(minutes=15)


async def close(incident: Incident, world: World) -> Outcome:
    """Watch until the watch ends; an alert still firing or an SLI in breach then is a person's turn, else close."""
    plan, since = incident.plan, incident.judged_at
    if plan is None or since is None:
        raise ValueError("a recovered incident was judged")
    check, now = plan.verify.recovery, world.clock.now()
    ends = since + check.watch
    watched = [(at, entry) for at, entry in incident.samples if entry.settling and at >= since]
    last = watched[-1][0] if watched else since
    if last < ends:  # the last look comes when the watch ends, not before
        due = min(last + check.every, ends)
        return Later(due) if now < due else await sample(incident, world, check, settling=True)
    if trouble := _trouble(incident, plan, [entry for _, entry in watched]):
        return Step((write(incident, e.IncidentStuck(reason=trouble)),))
    return await _closed(incident, plan, world)


def _trouble(incident: Incident, plan: Plan, watched: list[e.SliSampled]) -> str:
    if firing := [one for one in incident.firing if not _judged(one, watched) and not _left_behind(one, plan)]:
        names = words.listed(sorted({one.labels.get("alertname") or one.sli or one.fingerprint for one in firing}))
        start = "The samples are good, but" if incident.marked_by is None else "It was marked recovered, but"
        return f"{start} {words.plain(names)} still fires after the watch. A person decides."
    if watched and any(one.verdict == "breached" for one in watched[-1].samples):
        return f"It was recovered and is not any more. {watched[-1].sentence()}"
    return ""


def _judged(alert: Alert, watched: list[e.SliSampled]) -> bool:
    """Say whether an alert is Lastgood's own look at an SLI that the watch looked at too: the samples know better."""
    return alert.source == OWN and any(one.sli == alert.sli for entry in watched for one in entry.samples)


def _left_behind(alert: Alert, plan: Plan) -> bool:
    """Say whether it is a security finding about the version that serves no more: nobody ever says that a finding ends."""
    return alert.kind is Kind.SECURITY and alert.version == plan.from_version


async def _closed(incident: Incident, plan: Plan, world: World) -> Step:
    """Close, let everything go, and quarantine what was proven to be rolled back from.

    A rollback that only a person's word ended counts as "cannot tell" for the rules that led to it: nothing measured
    says that it helped or did not, so it is no evidence either way. What was measured before stands.
    """
    closed = e.IncidentClosed.model_validate(
        {
            "outcome": "marked_recovered" if incident.marked_by else "unproven" if incident.unproven else "recovered",
            "reason": _ending(incident, plan),
            "person": incident.marked_by,
        }
    )
    figured, both = await asyncio.gather(figures(incident, world), ended(incident, plan, world))
    entries = (closed, e.PostmortemDrafted(template=plan.postmortem), *figured, *both)
    gone = "" if incident.unproven else f"rolled back in incident {incident.short}."
    rest = await releases(incident, world, recovered=True, quarantine=gone)
    if incident.judged is None:
        word = e.RollbackJudged(incident=incident.stream, rules=incident.rules, verdict="cannot_tell")
        rest = [replace(w, entries=(word, *w.entries)) if w.stream == incident.model_stream else w for w in rest]
    rest = [replace(w, entries=(*w.entries, *both)) if w.stream == incident.model_stream else w for w in rest]
    return Step((write(incident, *entries), *rest))


def _ending(incident: Incident, plan: Plan) -> str:
    """Say what is known: who marked it, and where the model is only when traffic was proven to have moved."""
    marked = f"{words.person(incident.marked_by)} marked it recovered" if incident.marked_by else ""
    if incident.unproven:
        change = words.change(plan.from_version, plan.to_version)
        skipped = [name for name in incident.unproven if incident.state_of(name) == "skipped"]
        why = f": {words.listed(skipped)} {'was' if len(skipped) == 1 else 'were'} skipped" if skipped else ""
        return f"{marked or 'The samples are good'}; whether traffic moved {change} is not proven{why}."
    where = f"{incident.model} is on {plan.to_version}"
    return f"{f'{marked}: ' if marked else 'Recovered: '}{where}. {plan.from_version} is quarantined until somebody releases it."


async def note(incident: Incident, world: World) -> Outcome:
    """People were told. It ends with its alerts, or after a day or a snooze; a worse alert is planned for anew."""
    if incident.ended:
        return await by_itself(incident, world)
    if incident.worse:
        return _worse(incident)
    now = world.clock.now()
    ends = max(incident.since + NOTED_FOR, snoozed(incident, now) or now)
    if now < ends:
        return Later(ends)
    closed = e.IncidentClosed(
        outcome="noted", reason="For your information; nobody asked for more within a day. Nothing was changed."
    )
    return Step((write(incident, closed), *await releases(incident, world, recovered=False)))


def _worse(incident: Incident) -> Step:
    again = e.PlanRequested(requester=incident.requester, wanted=incident.wanted, reason="A worse alert joined.")
    return Step((write(incident, again),))


async def stuck(incident: Incident, world: World) -> Outcome:
    """A person's turn. Before a claim it ends with its alerts; after one it is told again until somebody acts.

    A snooze puts the telling off until it ends; a worse alert ends it.
    """
    if incident.claim is None and incident.ended:
        return await by_itself(incident, world)
    if incident.claim is None and incident.rejected_by is None and incident.worse:
        return _worse(incident)
    now = world.clock.now()
    due = await _due(incident, world, now)
    if now < due:
        return Later(due)
    holder = f"{words.person(incident.taken_by)} has it." if incident.taken_by else "Nobody has taken it."
    first = not incident.escalations and incident.taken_by is None
    asked = await asks_in(incident, world) if first else ""
    reason = f"Still waiting for a person, {words.span(now - incident.since)}. {holder} {asked}".strip()
    escalated = e.IncidentEscalated(reason=reason)
    return Step((write(incident, escalated),), given={incident.stream: incident.epoch})


async def _due(incident: Incident, world: World, now: datetime) -> datetime:
    """Give when people are told next: counted from when they last were, so that what was slept through is not made up for."""
    last = incident.since + ESCALATE_AFTER
    if incident.escalations:
        told = [
            row.at for row in await world.timeline.read(incident.stream) if isinstance(row.entry, e.IncidentEscalated)
        ]
        last = told[-1] + ESCALATE_AGAIN
    return max(last, snoozed(incident, now) or last)
