"""Who holds what: letting a model and its shared resources go, and closing what ended by itself."""

from __future__ import annotations

from bot.domain import entries as e
from bot.domain.incident import Incident
from bot.domain.ledger import Ledger
from bot.flow.world import Step, World, to, write
from bot.ports import Write


async def locked(incident: Incident, world: World) -> list[Ledger]:
    """Give the streams a rollback of this plan locks together: the model's own, and those of what it writes to."""
    names = (incident.model_stream, *(incident.plan.resources if incident.plan else ()))
    return [await world.ledger(name) for name in names]


async def forbidden(incident: Incident, world: World) -> str:
    """Say that nothing may go to the plan's version any more; an empty text when it may. No plan goes to a quarantined one, whoever asked."""
    ledger = await world.ledger(incident.model_stream)
    to = incident.plan.to_version if incident.plan else ""
    return f"{to} is quarantined: {ledger.quarantined[to].rstrip('.')}." if to in ledger.quarantined else ""


async def by_itself(incident: Incident, world: World) -> Step:
    """Close an incident whose alerts all ended before anything was claimed."""
    closed = e.IncidentClosed(
        outcome="recovered_by_itself", reason="Recovered by itself: every alert ended. Nothing was changed."
    )
    return Step((write(incident, closed), *await releases(incident, world, recovered=True)))


async def releases(incident: Incident, world: World, *, recovered: bool, quarantine: str = "") -> list[Write]:
    """Give the writes that end an incident for its model: every lock let go, the link undone."""
    model, *resources = await locked(incident, world)
    entries = _let_go(incident, model)
    if quarantine and incident.plan:
        entries.append(
            e.VersionQuarantined(version=incident.plan.from_version, incident=incident.stream, reason=quarantine)
        )
    if model.open_incident == incident.stream:
        entries.append(e.IncidentUnlinked(incident=incident.stream, recovered=recovered))
    return [
        *([to(model, *entries)] if entries else []),
        *(to(one, *free) for one in resources if (free := _let_go(incident, one))),
    ]


async def let_go(incident: Incident, world: World) -> list[Write]:
    """Give the locks back without closing the incident."""
    return [to(one, *free) for one in await locked(incident, world) if (free := _let_go(incident, one))]


def _let_go(incident: Incident, held: Ledger) -> list[e.Entry]:
    return [e.LockReleased(incident=incident.stream)] if held.lock == incident.stream else []
