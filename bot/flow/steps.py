"""What the steps do that move no traffic: perform an action, ask an SLI, tell people."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from bot.domain import recovery, words
from bot.domain.incident import Incident
from bot.domain.model import Sli
from bot.domain.plan import PEOPLE, PlanStep
from bot.domain.sli import SliSample
from bot.domain.sli_query import asks, filled
from bot.domain.traffic import ApplyResult, Outcome
from bot.errors import AdapterError, NotFound
from bot.flow.samples import measured
from bot.flow.targets import CALL, within
from bot.flow.world import World
from bot.ports import Act, ActionAdapter

EVERY = "*"  # a check of this name asks every SLI that can be asked about the good version alone


def act_of(incident: Incident, step: PlanStep) -> Act:
    """Give what an action is told; its key is the same at every attempt of this step of this plan."""
    if incident.plan is None:
        raise ValueError("a step belongs to a plan")
    return act_for(incident, step.name, bad=incident.plan.from_version, good=incident.plan.to_version)


def act_for(incident: Incident, step: str, *, bad: str, good: str) -> Act:
    """Give what an action is told for a step of the plan there is, or of the one that is being made."""
    ordinal = incident.plan.ordinal if incident.plan else incident.plans + 1
    return Act(
        key=f"{incident.id}/{ordinal}/{step}", model=incident.model, environment=incident.environment, bad=bad, good=good,
        incident=incident.id, reason=f"incident {incident.short}",
    )  # fmt: skip


def action(incident: Incident, world: World, name: str) -> ActionAdapter:
    """Give the adapter of an action. Raises NotFound when the configuration no longer has it."""
    found = world.actions.get((incident.environment, incident.model, name))
    if found is None:
        message = f"The configuration of {incident.model} in {incident.environment} no longer has an action {name}."
        raise NotFound(message)
    return found


def is_action(incident: Incident, world: World, name: str) -> bool:
    """Say whether a step names an action of the environment."""
    return (incident.environment, incident.model, name) in world.actions


def tells_people(step: PlanStep) -> bool:
    """Say whether a step tells a group or a member: then the thread, which follows the timeline, tells them."""
    return step.kind == "tell" and PEOPLE.fullmatch(step.target) is not None


async def performed(incident: Incident, world: World, step: PlanStep) -> ApplyResult:
    """Perform a step's action, for at most 20 s. Raises AdapterError when nothing was sent, TimeoutError when nobody answered."""
    adapter, act = action(incident, world, step.target), act_of(incident, step)
    return await within(CALL, adapter.perform(act), world.clock)


async def looked_up(incident: Incident, world: World, step: PlanStep) -> ApplyResult | None:
    """Ask what became of a step's action; None when nobody can tell. Raises AdapterError."""
    adapter, act = action(incident, world, step.target), act_of(incident, step)
    try:
        return await within(CALL, adapter.done(act), world.clock)
    except TimeoutError:
        return None


async def taken_back(incident: Incident, world: World, step: PlanStep) -> ApplyResult:
    """Undo a step's action. Raises AdapterError or TimeoutError."""
    adapter, act = action(incident, world, step.target), act_of(incident, step)
    return await within(CALL, adapter.undo(act), world.clock)


class Ended(NamedTuple):
    """How something asked of an action ended: done; or not, and then whether asking again is of use, or its answer was lost."""

    done: bool
    detail: str
    lost: bool = False
    final: bool = False


async def asked_of(incident: Incident, world: World, name: str, act: Act, *, back: bool = False) -> Ended:
    """Have an action do something, or take it back, for at most 20 s; whatever becomes of it is a value."""
    try:
        adapter = action(incident, world, name)
        ended = await within(CALL, adapter.undo(act) if back else adapter.perform(act), world.clock)
    except AdapterError as error:
        return Ended(done=False, detail=str(error).removesuffix("."))
    except TimeoutError:
        return Ended(done=False, detail=f"{name} did not answer in time", lost=True)
    return _told(ended)


async def became_of(incident: Incident, world: World, name: str, act: Act) -> Ended | None:
    """Ask what became of something whose answer was lost; None where it may safely be asked for again."""
    try:
        known = await within(CALL, action(incident, world, name).done(act), world.clock)
    except AdapterError as error:
        return Ended(done=False, detail=str(error).removesuffix("."), lost=True)
    except TimeoutError:
        return Ended(done=False, detail=f"{name} did not answer in time", lost=True)
    if known is None:
        return Ended(done=False, detail="its answer was lost and nobody can tell, so a person looks", final=True)
    return None if known.outcome is Outcome.REJECTED else _told(known)


def _told(result: ApplyResult) -> Ended:
    outcome, detail = result.outcome, result.detail.removesuffix(".")
    done, lost = outcome in (Outcome.APPLIED, Outcome.NOOP), outcome is Outcome.INDETERMINATE
    return Ended(done, detail, lost=lost, final=outcome is Outcome.REJECTED)


def act_beside(incident: Incident, what: str) -> Act:
    """Give what an action is told that belongs to an incident and to no step of a plan; its key is the same at every attempt."""
    plan = incident.plan
    return Act(
        key=f"{incident.id}/{what}", model=incident.model, environment=incident.environment,
        bad=plan.from_version if plan else incident.alert_version or "", good=plan.to_version if plan else "",
        incident=incident.id, reason=f"incident {incident.short}",
    )  # fmt: skip


# ── asking ────────────────────────────────────────────────────────────────────────────────────────────────────────


def own_slis(slis: dict[str, Sli]) -> dict[str, Sli]:
    """Give the SLIs that can be asked about one version alone."""
    return {name: sli for name, sli in slis.items() if asks(sli.settings, "version")}


def asked_by(incident: Incident, world: World, step: PlanStep) -> dict[str, Sli]:
    """Give the SLIs a check asks; none when the configuration no longer has them."""
    environment = world.catalogue.environment(incident)
    slis = dict(environment.slis) if environment else {}
    return own_slis(slis) if step.target == EVERY else {name: sli for name, sli in slis.items() if name == step.target}


async def looks(incident: Incident, world: World, step: PlanStep) -> tuple[SliSample, ...]:
    """Take one round of looks for a check, about the good version where an SLI can tell it from others.

    A source that differences two looks gets the one before from the same step's earlier try.
    """
    plan, found = incident.plan, []
    if plan is None:
        raise ValueError("a check belongs to a plan")
    for name, sli in asked_by(incident, world, step).items():
        settings = filled(sli.settings, version=plan.to_version)
        called = f"{name}[{plan.to_version}]" if asks(sli.settings, "version") else name
        before = next(
            (
                one.measurement
                for _, entry in reversed(incident.samples)
                for one in entry.samples
                if one.sli == called and one.measurement.counters
            ),
            None,
        )
        look = await measured(world, sli.source, settings, before, CALL)
        found.append(recovery.sample(called, sli, look, plan.verify.recovery.min_requests))
    return tuple(found)


def answer(samples: tuple[SliSample, ...]) -> tuple[bool | None, str]:
    """Say whether a check is answered yes, no, or not yet (None), with every look's sentence."""
    if not samples:
        return False, "There is no SLI to ask."
    verdicts = {one.verdict for one in samples}
    told = " ".join(one.sentence for one in samples)
    return (False if "breached" in verdicts else True if verdicts == {"good"} else None), told


def still_asking(limit: timedelta, told: str) -> str:
    """Say that a check was not answered in time."""
    return f"Not answered within {words.span(limit)}: {told}"
