"""May this version serve? What a deploy pipeline or a progressive delivery controller asks before and while it rolls out."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain import words
from bot.domain.incident import model_stream
from bot.domain.ledger import Ledger
from bot.flow.world import World


@dataclass(frozen=True, slots=True)
class Ruling:
    """Whether it may, and why, in a sentence. `known` is False when nothing of that name is registered."""

    allowed: bool
    reason: str
    known: bool = True


async def may_serve(model: str, version: str, environment: str, world: World) -> Ruling:
    """Say whether a version may be given traffic: not while it is quarantined anywhere that was asked about.

    An empty `environment` asks about every one. Raises LastgoodError when nobody can tell; then it may not.
    """
    found = world.catalogue.model_named(model)
    if found is None:
        return Ruling(allowed=False, known=False, reason=f"No model `{words.plain(model, 60)}` is registered.")
    places = world.catalogue.models[found].environments
    if environment and environment not in places:
        reason = f"{found} runs in {words.listed(sorted(places))}, not in {words.plain(environment, 60)}."
        return Ruling(allowed=False, known=False, reason=reason)
    for place in [environment] if environment else places:
        ledger = await world.ledger(model_stream(place, found))
        if version in ledger.quarantined:
            why = ledger.quarantined[version].rstrip(".")
            reason = (
                f"Version {version} of {found} is quarantined in {place}: {why}. A person with a role can release it."
            )
            return Ruling(allowed=False, reason=reason)
    where = f" in {environment}" if environment else ""
    return Ruling(allowed=True, reason=f"Version {words.plain(version, 60)} of {found} is not quarantined{where}.")


async def may_go_on(model: str, version: str, environment: str, world: World) -> Ruling:
    """Say whether a rollout may go on: the version may serve, and no rollback of this model is under way."""
    ruling = await may_serve(model, version, environment, world) if version else await _known(model, environment, world)
    if not ruling.allowed:
        return ruling
    ledger = await _ledger(model, environment, world)
    if ledger.lock is not None:
        short = words.short(ledger.lock)
        return Ruling(allowed=False, reason=f"The rollback of incident {short} is under way, so nothing else moves.")
    return ruling


async def is_going_back(model: str, environment: str, world: World) -> Ruling:
    """Say whether a rollout must be taken back now: a rollback of this model was claimed and is not over."""
    ruling = await _known(model, environment, world)
    if not ruling.allowed:
        return ruling
    ledger = await _ledger(model, environment, world)
    incident = await world.incident(ledger.lock) if ledger.lock else None
    if incident is None or incident.plan is None or not incident.holds_locks:
        return Ruling(allowed=False, reason=f"No rollback of {words.plain(model, 60)} is under way.")
    change = words.change(incident.plan.from_version, incident.plan.to_version)
    return Ruling(allowed=True, reason=f"Incident {incident.short} rolls {incident.model} back, {change}.")


async def _known(model: str, environment: str, world: World) -> Ruling:
    return await may_serve(model, "", environment, world)


async def _ledger(model: str, environment: str, world: World) -> Ledger:
    """Give the ledger of a model that is registered; without an environment, of the only one it has."""
    found = world.catalogue.model_named(model)
    if found is None:
        raise ValueError("the model was known")
    places = list(world.catalogue.models[found].environments)
    return await world.ledger(model_stream(environment or places[0], found))
