"""More requests are sampled while an incident is open, by an action of the environment, and as many as usual afterwards."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.domain.entries import Entry, SamplingAsked, SamplingTurned
from bot.domain.incident import Incident, Phase
from bot.errors import NotFound
from bot.flow.steps import act_beside, asked_of
from bot.flow.world import Step, World
from bot.ports import Write

LANE = "sampling"
AGAIN = timedelta(minutes=1)
TRIES = timedelta(minutes=30)  # after the close; then a person sees in the timeline that it was not turned back


def wanted(model_stream: str, world: World) -> bool:
    """Say whether a model has, where it runs, something that samples more."""
    _, environment, model = model_stream.split("/", 2)
    described = world.catalogue.models.get(model)
    use = described.environments[environment].samples if described and environment in described.environments else None
    return use is not None and use.raised_by is not None


async def turn(stream: str, world: World) -> datetime | None:
    """Ask for more while the incident is open and for the usual when it is closed; give when to try again.

    Asking twice does no harm, so whoever is ended in between asks anew.
    """
    try:
        incident = await world.incident(stream)
    except NotFound:
        return None
    environment, last = world.catalogue.environment(incident), incident.sampling
    use = environment.samples if environment else None
    if use is None or use.raised_by is None or world.observes(incident.model):
        return None
    if incident.phase is not Phase.CLOSED:
        if isinstance(last, SamplingTurned) and last.to == "more" and last.done:
            return None
        if last is None or (isinstance(last, SamplingTurned) and last.to == "usual"):
            await _written(incident, SamplingAsked(action=use.raised_by), world)
        return await _turned(incident, use.raised_by, world, back=False)
    if last is None or (isinstance(last, SamplingTurned) and last.to == "usual" and last.done):
        return None
    return await _turned(incident, use.raised_by, world, back=True)


async def _turned(incident: Incident, name: str, world: World, *, back: bool) -> datetime | None:
    ended = await asked_of(incident, world, name, act_beside(incident, "sampling"), back=back)
    told = SamplingTurned(to="usual" if back else "more", done=ended.done, detail=ended.detail)
    if told != incident.sampling:  # the same refusal is told once
        await _written(incident, told, world)
    now = world.clock.now()
    if ended.done or ended.final or (incident.closed_at is not None and now - incident.closed_at > TRIES):
        return None
    return now + AGAIN


async def _written(incident: Incident, entry: Entry, world: World) -> None:
    await world.append(incident, Step((Write(incident.stream, (entry,)),)))
