"""An incident that only wants a ticket gets one, by an action of the environment, once."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.domain.entries import Entry, TicketAsked, TicketOpened
from bot.domain.incident import Incident
from bot.errors import NotFound
from bot.flow.steps import act_beside, asked_of, became_of
from bot.flow.world import TICKET_LANE, Step, World
from bot.ports import Write

__all__ = ["TICKET_LANE", "open_one"]
BACKOFF = tuple(timedelta(minutes=n) for n in (1, 5, 15, 60, 240))  # after so many attempts


async def open_one(stream: str, world: World) -> datetime | None:
    """Open the ticket that policy asked for; give when to try again, None when there is one or none is wanted.

    Nothing is sent before its intent is in the timeline. What was sent and not answered is looked up, and asked for again
    only where that is known to be safe.
    """
    try:
        incident = await world.incident(stream)
    except NotFound:
        return None
    environment, last = world.catalogue.environment(incident), incident.ticket
    name = environment.ticket if environment else None
    wanted = incident.decision is not None and incident.decision.tell == "ticket"
    if name is None or not wanted or world.observes(incident.model):
        return None
    if isinstance(last, TicketOpened) and (last.done or last.final):
        return None
    act, attempt = act_beside(incident, "ticket"), 1 + (last.attempt if last else 0)
    open_ended = isinstance(last, TicketAsked) or (isinstance(last, TicketOpened) and last.lost)
    ended = await became_of(incident, world, name, act) if open_ended else None
    if ended is None:
        await _written(incident, TicketAsked(action=name, attempt=attempt), world)
        ended = await asked_of(incident, world, name, act)
    final = ended.final or (attempt > len(BACKOFF) and not ended.done)
    told = TicketOpened(done=ended.done, detail=ended.detail, attempt=attempt, lost=ended.lost, final=final)
    await _written(incident, told, world)
    return None if ended.done or final else world.clock.now() + BACKOFF[attempt - 1]


async def _written(incident: Incident, entry: Entry, world: World) -> None:
    await world.append(incident, Step((Write(incident.stream, (entry,)),)))
