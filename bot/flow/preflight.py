"""What is asked before the click: could the good version carry the load, who would undo the change, what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from bot.domain import entries as e
from bot.domain import words
from bot.domain.incident import Incident
from bot.domain.model import Environment, Figure
from bot.domain.plan import PlanStep
from bot.domain.sli_query import filled
from bot.domain.traffic import Finding, TargetState
from bot.errors import AdapterError
from bot.flow.samples import measured
from bot.flow.steps import act_for, action, is_action
from bot.flow.targets import within
from bot.flow.world import World

WITHIN = timedelta(seconds=5)  # for each question; one that hangs delays the plan by no more
MANAGERS = {
    "argocd": "Argo CD syncs it and would bring the bad version back. Pause the sync, or merge the revert first.",
    "flux": "Flux reconciles it and would bring the bad version back. Suspend it, or merge the revert first.",
    "flagger": "Flagger owns its weights. Let its rollback webhook ask Lastgood.",
    "helm": "The next Helm upgrade would bring the bad version back.",
    "hpa": "An autoscaler sets its replicas, so the good version may start small.",
}


class Preflight(NamedTuple):
    """What was asked before the click: everything found, and whether the good version carries the full load (None: nobody can tell)."""

    findings: tuple[Finding, ...]
    capacity_enough: bool | None


async def preflight(
    incident: Incident, world: World, environment: Environment, steps: Sequence[PlanStep], *, bad: str, good: str
) -> Preflight:
    """Ask everything about these steps that is not the targets' own, all at once."""
    asked = [
        _cost(world, environment.cost, bad, good) if environment.cost else _nothing(),
        *(_action(incident, world, step, bad, good) for step in steps if is_action(incident, world, step.target)),
    ]
    (enough, told), found = await asyncio.gather(
        _capacity(world, environment, steps, good, incident), asyncio.gather(*asked)
    )
    return Preflight((*told, *(one for findings in found for one in findings)), enough)


async def _nothing() -> tuple[Finding, ...]:
    return ()


def managed(states: Mapping[str, TargetState]) -> tuple[Finding, ...]:
    """Say who else manages each target, and what they would undo."""
    return tuple(
        Finding(level="warning", message=f"{name}: {MANAGERS.get(one, f'{one} manages it too.')}")
        for name, state in states.items()
        for one in state.managers
    )


# ── capacity ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def _capacity(
    world: World, environment: Environment, steps: Sequence[PlanStep], good: str, incident: Incident
) -> tuple[bool | None, tuple[Finding, ...]]:
    """Hold what of the good version is ready to what the full load needs."""
    if (capacity := environment.capacity) is None:
        return None, ()
    ready, needed = await asyncio.gather(
        _number(world, capacity.source, capacity.ready, good), _number(world, capacity.source, capacity.needed, good)
    )
    if isinstance(ready, str) or isinstance(needed, str):
        why = ready if isinstance(ready, str) else needed
        message = f"Cannot tell whether {good} could carry the full load: {why}."
        return None, (Finding(level="warning", message=message, mend="Look at its replicas."),)
    told = f"{words.quantity(ready)} of {good} ready, {words.quantity(needed)} needed for the full load"
    if ready >= needed:
        return True, (Finding(level="ok", message=f"{told}."),)
    warming = next((one.name for one in steps if one.kind == "warm" and _scales(incident, world, one)), "")
    first = next((one for one in steps if one.kind == "target"), None)
    if warming and first is not None and _comes_before(warming, first, steps):
        return True, (Finding(level="warning", message=f"{told}. Step {warming} scales it before traffic."),)
    mend = f"Scale {good} up, or add a `warm` step that does before the first target."
    return False, (Finding(level="blocker", message=f"{told}.", mend=mend),)


def _scales(incident: Incident, world: World, step: PlanStep) -> bool:
    if not is_action(incident, world, step.target):
        return False
    return bool(getattr(action(incident, world, step.target), "provides_capacity", False))


def _comes_before(name: str, step: PlanStep, steps: Sequence[PlanStep]) -> bool:
    after = {one.name: one.after for one in steps}
    waits, seen = list(step.after), set[str]()
    while waits:
        one = waits.pop()
        if one == name:
            return True
        if one not in seen:
            seen.add(one)
            waits += after.get(one, ())
    return False


async def _number(world: World, source: str, asked: float | dict[str, Any], version: str) -> float | str:
    """Measure a number; a text says why it is not known."""
    if not isinstance(asked, dict):
        return float(asked)
    look = await measured(world, source, filled(asked, version=version), None, WITHIN)
    return look.value if look.value is not None else look.reason or "no value"


# ── actions ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def _action(incident: Incident, world: World, step: PlanStep, bad: str, good: str) -> tuple[Finding, ...]:
    """Ask an action whether it could be done now, and name it when it cannot be taken back."""
    act = act_for(incident, step.name, bad=bad, good=good)
    once = (
        [Finding(level="warning", message=f"Step {step.name} cannot be put back.")]
        if step.irreversible and step.kind == "warm"
        else []
    )
    try:
        found = await within(WITHIN, action(incident, world, step.target).preflight(act), world.clock)
    except (AdapterError, TimeoutError) as error:
        why = str(error) or f"{step.target} did not answer within {words.span(WITHIN)}."
        return (Finding(level="blocker", message=f"Step {step.name}: {why}", mend=f"Mend {step.target}."), *once)
    return (*(one for one in found if one.level != "ok"), *once)


# ── figures of the business, and cost ─────────────────────────────────────────────────────────────────────────────


async def _cost(world: World, cost: Figure, bad: str, good: str) -> tuple[Finding, ...]:
    now, then = await asyncio.gather(*(_figure(world, cost, version) for version in (bad, good)))
    if isinstance(now, str) or isinstance(then, str):
        why = now if isinstance(now, str) else then
        return (Finding(level="warning", message=f"Cost of the change unknown ({why})."),)
    more = then - now
    told = f"{_written(abs(more), cost.unit)} {'more' if more > 0 else 'less'}" if more else "no change"
    return (Finding(level="ok", message=f"Cost: {told} ({_written(now, cost.unit)} now)."),)


async def _figure(world: World, figure: Figure, version: str) -> float | str:
    return await _number(world, figure.source, figure.settings, version)


def _written(value: float, unit: str) -> str:
    return f"{words.quantity(value)}{words.NBSP + unit if unit else ''}"


async def deltas(
    world: World, environment: Environment | None, version: str, before: Mapping[str, float | None] | None
) -> tuple[e.DeltaMeasured, ...]:
    """Measure every figure of the business and the cost; `before` are the values of the first time, None for the first time."""
    if environment is None:
        return ()
    figures = {**environment.business, **({"cost": environment.cost} if environment.cost else {})}
    values = await asyncio.gather(*(_figure(world, one, version) for one in figures.values()))
    return tuple(
        _delta(name, figure, value, before) for (name, figure), value in zip(figures.items(), values, strict=True)
    )


def _delta(name: str, figure: Figure, value: float | str, before: Mapping[str, float | None] | None) -> e.DeltaMeasured:
    called, first = name.replace("_", " "), before is None
    when = "before the rollback" if first else "after"
    if isinstance(value, str):
        text = f"{called} {when}: unknown ({value})."
        return e.DeltaMeasured(name=name, when="before" if first else "after", reason=value, text=text)
    told = f"{called} {_written(value, figure.unit)} {when}"
    if before is not None:
        was = before.get(name)
        told += "; before: unknown" if was is None else f", {_written(was, figure.unit)} before"
    return e.DeltaMeasured(name=name, when="before" if first else "after", value=value, text=f"{told}.")
