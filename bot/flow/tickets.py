"""An incident that only wants a ticket gets one, by an action of the environment, once."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.domain.entries import Entry, TicketAsked, TicketOpened
from bot.domain.incident import Incident
from bot.domain.traffic import Outcome
from bot.errors import AdapterError, NotFound
from bot.flow.steps import action
from bot.flow.targets import CALL, within
from bot.flow.world import TICKET_LANE, Step, World
from bot.ports import Act, Write

__all__ = ["TICKET_LANE", "open_one"]
AGAIN, TRIES = timedelta(minutes=1), timedelta(hours=6)
_DONE = (Outcome.APPLIED, Outcome.NOOP)


async def open_one(stream: str, world: World) -> datetime | None:
    """Open the ticket that policy asked for; give when to try again, None when there is one or none is wanted.

    The action has the same key at every attempt, so one whose answer was lost is looked up and not done again.
    """
    try:
        incident = await world.incident(stream)
    except NotFound:
        return None
    environment = world.catalogue.environment(incident)
    name = environment.ticket if environment else None
    wanted = incident.decision is not None and incident.decision.tell == "ticket"
    if name is None or not wanted or world.observes(incident.model):
        return None
    if isinstance(incident.ticket, TicketOpened) and incident.ticket.done:
        return None
    if incident.ticket is None:
        await _written(incident, TicketAsked(action=name), world)
    return await _asked(incident, name, world)


async def _asked(incident: Incident, name: str, world: World) -> datetime | None:
    plan = incident.plan
    act = Act(
        key=f"{incident.id}/ticket", model=incident.model, environment=incident.environment,
        bad=plan.from_version if plan else incident.alert_version or "", good=plan.to_version if plan else "",
        incident=incident.id, reason=f"incident {incident.short}",
    )  # fmt: skip
    try:
        ended = await within(CALL, action(incident, world, name).perform(act), world.clock)
        done, final, detail = ended.outcome in _DONE, ended.outcome is Outcome.REJECTED, ended.detail.removesuffix(".")
    except AdapterError as error:
        done, final, detail = False, False, str(error).removesuffix(".")
    except TimeoutError:
        done, final, detail = False, False, f"{name} did not answer in time"
    told = TicketOpened(done=done, detail=detail)
    if told != incident.ticket:  # the same refusal is told once
        await _written(incident, told, world)
    now = world.clock.now()
    return None if done or final or now - incident.opened_at > TRIES else now + AGAIN


async def _written(incident: Incident, entry: Entry, world: World) -> None:
    await world.append(incident, Step((Write(incident.stream, (entry,)),)))
