"""The pager follows the timeline: acknowledged when somebody has it, resolved when the model recovered, a note for each turn.

It is looked at before anything is written, so a lost answer leads to one note and not to two. Nothing waits for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from bot.domain import entries as e
from bot.domain import words
from bot.domain.incident import Incident
from bot.errors import NotFound, Unavailable
from bot.flow.intake import OWN_MARK
from bot.flow.world import PAGER_LANE, World

__all__ = ["PAGER_LANE", "follow"]
AGAIN, KEPT_UP = (
    timedelta(seconds=30),
    timedelta(hours=6),
)  # how often it is tried, and for how long after the last entry
_TOLD = (
    e.PlanCleared, e.RollbackClaimed, e.TrafficVerified, e.SliJudged, e.IncidentStuck, e.GlassBroken, e.RollbackCancelled,
    e.IncidentReopened, e.IncidentClosed,
)  # fmt: skip
_RECOVERED = frozenset({"recovered", "marked_recovered", "recovered_by_itself"})


async def follow(stream: str, world: World) -> datetime | None:
    """Bring the pager's incidents up to what the timeline says; give when to try again, None when they are."""
    if world.desk is None:
        return None
    try:
        incident = await world.incident(stream)
    except NotFound:
        return None
    paged = _paged(incident)
    if not paged:
        return None
    rows = await world.timeline.read(stream)
    notes, status = _notes(rows), _status(incident)
    wanted = hashlib.sha256("\n".join((*paged, status, *notes)).encode()).hexdigest()
    if await world.work.noted(f"{PAGER_LANE}/{stream}") == wanted:
        return None
    try:
        for one in paged:
            await _brought_up(one, status, notes, world)
    except Unavailable as error:
        world.log.warning("pager.behind", stream=stream, error=str(error))
        now = world.clock.now()
        return now + AGAIN if now - rows[-1].at < KEPT_UP else None
    await world.work.note(f"{PAGER_LANE}/{stream}", wanted)
    return None


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


async def _brought_up(name: str, status: str, notes: Sequence[str], world: World) -> None:
    if world.desk is None:
        return
    there = await world.desk.look(name)
    if there is None:
        world.log.warning("pager.unknown", incident=name)
        return
    # What is resolved is not acknowledged again, and what is acknowledged needs no second word.
    if status and there.status not in (status, "resolved"):
        await world.desk.mark(name, status)
    for text in notes:
        mark = text[text.rindex(OWN_MARK) :]
        if not any(mark in one for one in there.notes):
            await world.desk.note(name, text)
