"""The pager follows the timeline: acknowledged when somebody has it, resolved when the model recovered, a note for each turn.

Where a rule says `tell: page` and no pager brought the incident here, it is paged for; a rollback is shown as a change.

It is looked at before anything is written, so a lost answer leads to one note and not to two. Nothing waits for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from bot.domain import entries as e
from bot.domain import words
from bot.domain.alert import Severity, problem_name
from bot.domain.incident import Incident
from bot.errors import NotFound, Unavailable
from bot.flow.intake import OWN_MARK
from bot.flow.world import PAGER_LANE, World
from bot.ports import PagerDesk

__all__ = ["PAGER_LANE", "follow"]
AGAIN, KEPT_UP = (
    timedelta(seconds=30),
    timedelta(hours=6),
)  # how often it is tried, and for how long after the last entry
ONE_PROBLEM = timedelta(minutes=30)  # incidents of one group of alerts that begin within this time wake one person once
_TOLD = (
    e.PlanCleared, e.RollbackClaimed, e.TrafficVerified, e.SliJudged, e.IncidentStuck, e.GlassBroken, e.RollbackCancelled,
    e.IncidentReopened, e.IncidentClosed,
)  # fmt: skip
_SEVERITY = {Severity.CRITICAL: "critical", Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "info"}
_RECOVERED = frozenset({"recovered", "marked_recovered", "recovered_by_itself"})


async def follow(stream: str, world: World) -> datetime | None:
    """Bring the pager's incidents up to what the timeline says; give when to try again, None when they are."""
    if world.desk is None:
        return None
    try:
        incident = await world.incident(stream)
    except NotFound:
        return None
    rows = await world.timeline.read(stream)
    paged, page, changes = _paged(incident), _page(incident, world.desk), _changes(rows, world.desk)
    notes, status = _notes(rows) if paged else [], _status(incident)
    if not (paged or page or changes):
        return None
    said = (*paged, status, page, *notes, *(one.digest for one in changes))
    wanted = hashlib.sha256("\n".join(said).encode()).hexdigest()
    if await world.work.noted(f"{PAGER_LANE}/{stream}") == wanted:
        return None
    try:
        for one in paged:
            await _brought_up(one, status, notes, world.desk, world)
        await _own(incident, page, world.desk, world)
        for row in changes:
            await _changed(row, incident, world.desk, world)
    except Unavailable as error:
        world.log.warning("pager.behind", stream=stream, error=str(error))
        now = world.clock.now()
        return now + AGAIN if now - rows[-1].at < KEPT_UP else None
    await world.work.note(f"{PAGER_LANE}/{stream}", wanted)
    return None


def _page(incident: Incident, desk: PagerDesk) -> str:
    """Say whether this incident wants a page of its own: a rule says so, and no pager brought it here."""
    decided = incident.decision
    if not desk.pages or _paged(incident) or decided is None or decided.tell != "page":
        return ""
    return "resolve" if incident.closed is not None else "trigger"


async def _own(incident: Incident, page: str, desk: PagerDesk, world: World) -> None:
    """Page, or end the page; which key it has is noted, so that it ends under the key it began with."""
    name = _noted(incident)
    state, _, noted = (await world.work.noted(name)).partition(" ")
    key = noted or _key(incident)
    if not page or state == page or (page == "resolve" and not state):
        return
    if page == "resolve":
        if await _may_end(incident, key, world):
            await desk.quiet(key)
    else:
        first = await _first(incident, world)
        if _paged(first):
            return  # its pager woke somebody for the whole group
        key = (await world.work.noted(_noted(first))).partition(" ")[2] or _key(first)
        plan = incident.plan
        change = f" {words.change(plan.from_version, plan.to_version)}" if plan else ""
        details = {"model": incident.model, "environment": incident.environment, "incident": incident.id}
        reason = incident.decision.reason if incident.decision else ""
        summary = f"{incident.model} in {incident.environment}{change}: {words.put(reason, lambda _: 'somebody')}"
        await desk.page(key, summary, _SEVERITY.get(incident.severity, "error"), details)
    await world.work.note(name, f"{page} {key}")


async def _first(incident: Incident, world: World) -> Incident:
    """Give the incident that woke somebody for this problem already: of the same group of alerts, as bad, and as new.

    Alerts that a sender put into one group are one problem, whatever models they name. A milder incident wakes nobody for
    a worse one.
    """
    keys = dict.fromkeys(one.group_key for one in incident.alerts.values() if one.group_key)
    stream = await world.inbox.related([problem_name(key) for key in keys]) if keys else None
    if stream is None or stream == incident.stream:
        return incident
    first = await world.incident(stream)
    pages = first.decision is None or first.decision.tell == "page" or bool(_paged(first))
    as_bad = first.severity.rank >= incident.severity.rank and first.tier <= incident.tier
    as_new = abs(incident.opened_at - first.opened_at) <= ONE_PROBLEM
    return first if first.closed is None and pages and as_bad and as_new else incident


async def _may_end(incident: Incident, key: str, world: World) -> bool:
    """Say whether the end of this incident ends its page: a page of a whole problem ends with the incident it is named after."""
    stream = f"incident/{key.rpartition('/')[2]}"
    if stream == incident.stream:
        return True
    first = await world.incident(stream)
    return first.closed is not None or not await world.work.noted(_noted(first))


def _key(incident: Incident) -> str:
    return f"lastgood/{incident.environment}/{incident.model}/{incident.id}"


def _noted(incident: Incident) -> str:
    return f"{PAGER_LANE}/page/{incident.stream}"


def _changes(rows: Iterable[e.Recorded], desk: PagerDesk) -> list[e.Recorded]:
    """Give the entries that are changes of the service: a rollback that began, and its end."""
    begun, found = False, []
    for one in rows if desk.pages else ():
        begun = begun or isinstance(one.entry, e.RollbackClaimed)
        if isinstance(one.entry, e.RollbackClaimed) or (begun and isinstance(one.entry, e.IncidentClosed)):
            found.append(one)
    return found


async def _changed(one: e.Recorded, incident: Incident, desk: PagerDesk, world: World) -> None:
    name = f"{PAGER_LANE}/change/{one.digest}"
    if await world.work.noted(name):
        return
    plan = incident.plan
    change = words.change(plan.from_version, plan.to_version) if plan else ""
    began = f"Lastgood rolls {incident.model} in {incident.environment} back {change}"
    summary = began if isinstance(one.entry, e.RollbackClaimed) else _plain(one)
    await desk.change(
        summary, one.at, {"model": incident.model, "environment": incident.environment, "incident": incident.id}
    )
    await world.work.note(name, "sent")


def _paged(incident: Incident) -> tuple[str, ...]:
    """Give the pager's names of the incidents whose alerts belong here."""
    alerts = [one for one in incident.alerts.values() if one.source == "pagerduty" and "merged" not in one.flags]
    return tuple(dict.fromkeys(one.extra["incident_id"] for one in alerts if "incident_id" in one.extra))


def _status(incident: Incident) -> str:
    """Say how the pager's incident should stand, empty when it may stand as it does."""
    if incident.closed is not None:
        return "resolved" if incident.closed.outcome in _RECOVERED else ""
    taken = incident.taken_by or incident.votes or incident.claim
    return "acknowledged" if taken else ""


def _notes(rows: Iterable[e.Recorded]) -> list[str]:
    """Give a note for each turn of the story, marked so that it is known again."""
    return [f"{_plain(one)} {OWN_MARK}{one.digest[:12]}]" for one in rows if isinstance(one.entry, _TOLD)]


def _plain(one: e.Recorded) -> str:
    return words.put(one.entry.sentence(), lambda _: "somebody in Slack", lambda at: f"{at:%H:%M} UTC")


async def _brought_up(name: str, status: str, notes: Sequence[str], desk: PagerDesk, world: World) -> None:
    there = await desk.look(name)
    if there is None:
        world.log.warning("pager.unknown", incident=name)
        return
    # What is resolved is not acknowledged again, and what is acknowledged needs no second word.
    if status and there.status not in (status, "resolved"):
        await desk.mark(name, status)
    for text in notes:
        mark = text[text.rindex(OWN_MARK) :]
        if not any(mark in one for one in there.notes):
            await desk.note(name, text)
