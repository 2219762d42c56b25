"""The pager follows the timeline: acknowledged when somebody has it, resolved when the model recovered, a note for each turn.

Where a rule says `tell: page` and no pager brought the incident here, it is paged for; a rollback is shown as a change.
Stakeholders are told how the rollback stands, whoever is next is asked in when nobody acts, and fields hold our facts.

Nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain import entries as e
from bot.domain import words
from bot.domain.alert import Severity, problem_name
from bot.domain.incident import Incident
from bot.errors import NotFound, Unavailable
from bot.flow.pager_incident import brought_up, digest_of, notes_of, plain, wanted_of
from bot.flow.people import paged
from bot.flow.world import PAGER_LANE, World
from bot.ports import PagerDesk

__all__ = ["PAGER_LANE", "follow"]
AGAIN, KEPT_UP = (
    timedelta(seconds=30),
    timedelta(hours=6),
)  # how often it is tried, and for how long after the last entry
ONE_PROBLEM = timedelta(minutes=30)  # incidents of one group of alerts that begin within this time wake one person once
_SEVERITY = {Severity.CRITICAL: "critical", Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "info"}
_AFTER_A_CLAIM = frozenset(
    {"recovered", "unproven", "marked_recovered", "gave_up"}
)  # how an incident with a rollback closes


@dataclass(frozen=True, slots=True)
class _Reached:
    """Up to where the pager was brought: the version of the stream, for which of its incidents, and what was wanted."""

    version: int = 0
    paged: str = ""
    wanted: str = ""

    @classmethod
    def read(cls, text: str) -> _Reached:
        """Read what was noted; what is in no such form was never reached."""
        version, _, rest = text.partition(" ")
        paged, _, wanted = rest.partition(" ")
        return cls(int(version), paged, wanted) if version.isdigit() and wanted else cls()

    def __str__(self) -> str:
        return f"{self.version} {self.paged} {self.wanted}"


async def follow(stream: str, world: World) -> datetime | None:
    """Bring the pager's incidents up to what the timeline says; give when to try again, None when they are."""
    if world.desk is None:
        return None
    try:
        incident = await world.incident(stream)
    except NotFound:
        return None
    theirs, page = paged(incident) if world.desk.writes else (), _page(incident, world.desk)
    reached = _Reached.read(await world.work.noted(f"{PAGER_LANE}/{stream}"))
    same = reached.paged == digest_of(theirs)  # one that came later is told the whole story
    rows = await world.timeline.read(stream, reached.version if same else 0)
    changes, notes = _changes(rows, world.desk), notes_of(rows) if theirs else []
    if not (theirs or page or changes):
        return None
    wanted = wanted_of(incident, world.desk)
    aim = _Reached(incident.version, digest_of(theirs), digest_of((page, *(wanted.texts if theirs else ()))))
    if same and reached.wanted == aim.wanted and not (notes or changes):
        return None
    try:
        for one in theirs:
            await brought_up(one, wanted, notes, incident, world.desk, world)
        await _own(incident, page, world.desk, world)
        for row in changes:
            await _changed(row, incident, world.desk, world)
    except Unavailable as error:
        world.log.warning("pager.behind", stream=stream, error=str(error))
        now, last = world.clock.now(), rows[-1].at if rows else incident.closed_at or incident.since
        return now + AGAIN if now - last < KEPT_UP else None
    await world.work.note(f"{PAGER_LANE}/{stream}", str(aim))
    return None


def _page(incident: Incident, desk: PagerDesk) -> str:
    """Say whether this incident wants a page of its own: a rule says so, and no pager brought it here."""
    decided = incident.decision
    if not desk.pages or paged(incident) or decided is None or decided.tell != "page":
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
        if paged(first):
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
    pages = first.decision is None or first.decision.tell == "page" or bool(paged(first))
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
    return [one for one in rows if _is_change(one.entry)] if desk.pages else []


def _is_change(entry: e.Entry) -> bool:
    ended = isinstance(entry, e.IncidentClosed) and entry.outcome in _AFTER_A_CLAIM
    return ended or isinstance(entry, e.RollbackClaimed)


async def _changed(one: e.Recorded, incident: Incident, desk: PagerDesk, world: World) -> None:
    name = f"{PAGER_LANE}/change/{one.digest}"
    if await world.work.noted(name):
        return
    plan = incident.plan
    change = words.change(plan.from_version, plan.to_version) if plan else ""
    began = f"Lastgood rolls {incident.model} in {incident.environment} back {change}"
    summary = began if isinstance(one.entry, e.RollbackClaimed) else plain(one)
    await desk.change(
        summary, one.at, {"model": incident.model, "environment": incident.environment, "incident": incident.id}
    )
    await world.work.note(name, "sent")
