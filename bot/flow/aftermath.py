"""CLOSED, and what is still to be done: grade what nobody graded, follow up, and look again at what was left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from bot.domain import entries as e
from bot.domain.grade import Graded, grade
from bot.domain.incident import Incident, Phase
from bot.domain.plan import Plan, PlanStep
from bot.domain.traffic import TargetPlan
from bot.errors import AdapterError
from bot.flow.follow_ups import due, follow_up
from bot.flow.preflight import WITHIN, deltas
from bot.flow.steps import act_of, asked_of
from bot.flow.targets import adapter, within
from bot.flow.world import Step, World
from bot.ports import Write

LOOK_AGAIN = timedelta(hours=1)
UNDO_AGAIN = timedelta(minutes=1)  # in the first LOOK_AGAIN after the close
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
    plan = incident.plan
    if incident.phase is not Phase.CLOSED or incident.claim is None or plan is None:
        return None
    if incident.grade is None:
        await _write(incident, world, await figures(incident, world), await ended(incident, plan, world))
        incident = await world.incident(stream)
    again = [at for name in due(incident, world) if (at := await follow_up(incident, world, name)) is not None]
    told = [one for name in incident.leftovers if (one := await _looked_at(incident, plan, world, name)) is not None]
    gone = [one for one in told if isinstance(one, e.LeftoverCleared)]
    if told:
        await _write(incident, world, [one for one in told if isinstance(one, e.LeftoverKept)], gone)
    if open_ := set(incident.leftovers) - {one.name for one in gone}:
        now = world.clock.now()
        fresh = incident.closed_at is not None and now - incident.closed_at < LOOK_AGAIN
        soon = fresh and any(_temporary(incident, plan, name) for name in open_)
        again.append(now + (UNDO_AGAIN if soon else LOOK_AGAIN))
    return min(again, default=None)


async def _write(incident: Incident, world: World, own: Sequence[e.Entry], both: Sequence[e.Entry]) -> None:
    """Write entries that commute, so nothing that happens meanwhile is in their way: to the incident, and to its model too."""
    writes = Write(incident.stream, (*own, *both)), Write(incident.model_stream, tuple(both))
    await world.append(incident, Step(tuple(one for one in writes if one.entries)))


async def ended(incident: Incident, plan: Plan, world: World) -> list[e.Entry]:
    """Give what a rollback that ends is remembered by, on its incident and on its model: the grade, and what it left behind."""
    return [_graded(incident), *await _left(incident, plan, world)]


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


async def _left(incident: Incident, plan: Plan, world: World) -> list[e.LeftoverOpened]:
    """Open what each target that was written to is left with as an item with an owner, unless it is known to be gone."""
    model = world.catalogue.models.get(incident.model)
    owner = (model.owner.usergroup or model.owner.member or model.owner.escalation_policy or "") if model else ""
    touched = {
        step.target for step in plan.steps if step.kind == "target" and incident.state_of(step.name) not in _UNTOUCHED
    }
    leaving = [one for one in plan.targets if one.leaves and one.target in touched]
    still = await asyncio.gather(*(_is_there(incident, world, one) for one in leaving))
    return [
        *(
            e.LeftoverOpened(
                incident=incident.stream, name=one.target, what=one.leaves, by_hand=one.leaves_by_hand, owner=owner
            )
            for one, there in zip(leaving, still, strict=True)
            if there
        ),
        *(_of_step(incident, one, owner) for one in plan.steps if _leaves(incident, one)),
    ]


def _leaves(incident: Incident, step: PlanStep) -> bool:
    """Say whether a step that moves no traffic was done, not put back, and left something."""
    done = incident.state_of(step.name) not in (*_UNTOUCHED, "back")
    return step.kind != "target" and bool(step.leaves or step.until) and done


def _of_step(incident: Incident, step: PlanStep, owner: str) -> e.LeftoverOpened:
    """Open what a step left behind."""
    call = step.call
    kept = f"what step {step.name} did ({call.text})" if call else f"what step {step.name} did"
    what = step.leaves or f"{kept}, until the incident is closed."
    by_hand = call.undo_by_hand if call else ""
    return e.LeftoverOpened(incident=incident.stream, name=step.name, what=what, by_hand=by_hand, owner=owner)


async def _looked_at(
    incident: Incident, plan: Plan, world: World, name: str
) -> e.LeftoverCleared | e.LeftoverKept | None:
    """Look again at what was left behind, and take back what is Lastgood's to take back; None while nothing is new."""
    if (step := _temporary(incident, plan, name)) is not None:
        return await _taken_back(incident, step, world)
    target = next((one for one in plan.targets if one.target == name), None)
    if target is None or await _is_there(incident, world, target):
        return None
    return e.LeftoverCleared(incident=incident.stream, name=name, reason=f"{name} was looked at.")


def _temporary(incident: Incident, plan: Plan, name: str) -> PlanStep | None:
    """Give the step whose leftover Lastgood takes back itself: only what a proven recovery no longer needs."""
    steps = plan.steps if incident.proven else ()
    return next((one for one in steps if one.name == name and one.until == "closed" and not one.irreversible), None)


async def _taken_back(incident: Incident, step: PlanStep, world: World) -> e.LeftoverCleared | e.LeftoverKept | None:
    """Undo a step. Asking twice does no harm, so whoever is ended in between asks anew; the same refusal is told once."""
    ended = await asked_of(incident, world, step.target, act_of(incident, step), back=True)
    if ended.done:
        return e.LeftoverCleared(incident=incident.stream, name=step.name, reason="It was taken back.")
    why = f"{ended.detail}."
    kept = e.LeftoverKept(incident=incident.stream, name=step.name, reason=why)
    return None if incident.kept_back.get(step.name) == why else kept


async def _is_there(incident: Incident, world: World, plan: TargetPlan) -> bool:
    """Ask a target whether what it left behind is there; what only a person can tell is taken to be."""
    try:
        one = adapter(incident, world, plan.target)
        return not isinstance(one, Leaves) or bool(await within(WITHIN, one.left(plan), world.clock))
    except (AdapterError, TimeoutError) as error:
        why = str(error) or "no answer"
        world.log.warning("leftover.unreadable", incident=incident.id, leftover=plan.target, reason=why)
        return True
