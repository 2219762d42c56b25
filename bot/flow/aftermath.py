"""CLOSED, and what is still to be done: grade what nobody graded, and look again at what was left behind."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from bot.domain import entries as e
from bot.domain.grade import Graded, grade
from bot.domain.incident import Incident, Phase
from bot.domain.plan import Plan
from bot.domain.traffic import TargetPlan
from bot.errors import AdapterError
from bot.flow.preflight import deltas
from bot.flow.targets import ask
from bot.flow.world import Step, World
from bot.ports import TrafficAdapter, Write

LOOK_AGAIN = timedelta(hours=1)
_UNTOUCHED = ("", "skipped", "failed")  # states of a step that wrote nothing to its target


@runtime_checkable
class Leaves(Protocol):
    """A traffic adapter that can say whether what it left behind is still there."""

    async def left(self, plan: TargetPlan) -> str:
        """Say what is still there; an empty text when it is gone. Raises AdapterError when nobody can tell."""


async def aftermath(stream: str, world: World) -> datetime | None:
    """Do what a closed rollback still needs; give when to look again, None when there is nothing left.

    Level-triggered: whatever is written already is not written again, so it may be ended anywhere and begun anew. A rollback
    that was given up is graded and measured here; one that recovered was when it closed.
    """
    incident = await world.incident(stream)
    if incident.phase is not Phase.CLOSED or incident.claim is None or incident.plan is None:
        return None
    if incident.grade is None:
        await _write(incident, world, await figures(incident, world), ended(incident, incident.plan, world))
        incident = await world.incident(stream)
    gone = [one for name in incident.leftovers if (one := await _gone(incident, world, name)) is not None]
    if gone:
        await _write(incident, world, (), gone)
    return world.clock.now() + LOOK_AGAIN if len(gone) < len(incident.leftovers) else None


async def _write(incident: Incident, world: World, own: Sequence[e.Entry], both: Sequence[e.Entry]) -> None:
    """Write entries that commute, so nothing that happens meanwhile is in their way: to the incident, and to its model too."""
    writes = Write(incident.stream, (*own, *both)), Write(incident.model_stream, tuple(both))
    await world.append(incident, Step(writes))


def ended(incident: Incident, plan: Plan, world: World) -> list[e.Entry]:
    """Give what a rollback that ends is remembered by, on its incident and on its model: the grade, and what it left behind."""
    return [_graded(incident), *_left(incident, plan, world)]


async def figures(incident: Incident, world: World) -> tuple[e.DeltaMeasured, ...]:
    """Measure the figures of the business and the cost once more, about the version that should serve now."""
    before = {one.name: one.value for one in incident.deltas if one.when == "before"}
    plan, version = incident.plan, ""
    if plan is not None:
        version = plan.to_version if incident.traffic_is_good else plan.from_version
    return await deltas(world, world.catalogue.environment(incident), version, before)


def _graded(incident: Incident) -> e.RollbackGraded:
    """Grade the rollback by what the SLIs said before anything was moved and in the last look there is."""
    after = incident.samples[-1][1].samples if incident.samples else ()
    found = grade(incident.before.samples if incident.before else (), after)
    if incident.unproven:
        found = Graded("unknown", "Unknown: it is not proven that traffic moved, so nothing was tried out.")
    return e.RollbackGraded(
        incident=incident.stream, grade=found.grade, low=found.low, high=found.high, reason=found.reason
    )


def _left(incident: Incident, plan: Plan, world: World) -> list[e.LeftoverOpened]:
    """Open what each target that was written to is left with as an item with an owner."""
    model = world.catalogue.models.get(incident.model)
    owner = (model.owner.usergroup or model.owner.member or model.owner.escalation_policy or "") if model else ""
    touched = {
        step.target for step in plan.steps if step.kind == "target" and incident.state_of(step.name) not in _UNTOUCHED
    }
    return [
        e.LeftoverOpened(
            incident=incident.stream, name=one.target, what=one.leaves, by_hand=one.leaves_by_hand, owner=owner
        )
        for one in plan.targets
        if one.leaves and one.target in touched
    ]


async def _gone(incident: Incident, world: World, name: str) -> e.LeftoverCleared | None:
    """Ask the target whether what it left behind is still there; None when it is, or when only a person can tell."""
    known = {one.target for one in incident.plan.targets} if incident.plan else set()
    if incident.plan is None or name not in known:
        return None
    plan = incident.plan.target(name)

    async def look(one: TrafficAdapter) -> str:
        return await one.left(plan) if isinstance(one, Leaves) else plan.leaves

    try:
        still = await ask(incident, world, name, look)
    except AdapterError as error:
        world.log.warning("leftover.unreadable", incident=incident.id, leftover=name, reason=str(error))
        return None
    if still:
        return None
    return e.LeftoverCleared(incident=incident.stream, name=name, reason=f"{name} was looked at.")
