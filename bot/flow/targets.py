"""The targets of a plan: asked with a deadline, read together, and held against what the plan was made from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from bot.domain import words
from bot.domain.alert import Alert
from bot.domain.incident import Incident
from bot.domain.traffic import TargetPlan, TargetState
from bot.errors import AdapterError, NotFound, Unavailable
from bot.flow.world import World
from bot.ports import Clock, TrafficAdapter

CALL = timedelta(seconds=20)  # how long one call to a foreign system may take
Answer = TypeVar("Answer")
Call = Coroutine[Any, Any, Answer]


async def within(limit: timedelta, call: Call[Answer], clock: Clock) -> Answer:
    """Wait for a call, and end it when its time on this clock is over. Raises TimeoutError."""
    work, alarm = asyncio.ensure_future(call), asyncio.ensure_future(clock.sleep(limit.total_seconds()))
    try:
        await asyncio.wait({work, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise TimeoutError
        return work.result()
    finally:
        work.cancel()
        alarm.cancel()
        await asyncio.gather(work, alarm, return_exceptions=True)


def adapter(incident: Incident, world: World, target: str) -> TrafficAdapter:
    """Give the adapter of one target. Raises NotFound when the configuration no longer has it."""
    found = world.targets.get((incident.environment, incident.model, target))
    if found is None:
        message = f"The configuration of {incident.model} in {incident.environment} no longer has a target {target}."
        raise NotFound(message)
    return found


async def ask(
    incident: Incident, world: World, target: str, question: Callable[[TrafficAdapter], Call[Answer]]
) -> Answer:
    """Ask one target something that changes nothing, for at most 20 s. Raises AdapterError."""
    try:
        return await within(CALL, question(adapter(incident, world, target)), world.clock)
    except TimeoutError as error:
        message = f"{target} did not answer within {CALL.seconds} s."
        raise Unavailable(message) from error


async def read(incident: Incident, world: World, target: str) -> TargetState:
    """Read one target."""
    return await ask(incident, world, target, lambda one: one.read())


async def states(incident: Incident, world: World) -> tuple[TargetState, ...]:
    """Read every target of the plan, in its order. Raises AdapterError."""
    plans = incident.plan.targets if incident.plan else ()
    return tuple(await asyncio.gather(*(read(incident, world, plan.target) for plan in plans)))


def changed(incident: Incident, seen: tuple[TargetState, ...]) -> str:
    """Say how the world moved since the plan was made; an empty text when it did not."""
    for plan, state in zip(incident.plan.targets if incident.plan else (), seen, strict=True):
        if differs(plan, state):
            return f"{plan.target} was {plan.before.split} and is {state.split} now."
    return ""


async def moved(incident: Incident, world: World) -> str:
    """Say how the world moved since the plan was made; an empty text when it did not or could not be read."""
    try:
        return changed(incident, await states(incident, world))
    except AdapterError:
        return ""


def joined(alert: Alert) -> str:
    """Say what came that policy has not weighed."""
    return f"A new alert joined: {words.plain(alert.summary or alert.sli or alert.fingerprint)}."


def differs(plan: TargetPlan, state: TargetState) -> bool:
    """Say whether a target is no longer what the plan was made for."""
    return state.token != plan.before.token or not state.split.same(plan.before.split)


def rewritten(incident: Incident, world: World) -> str:
    """Say which reviewed file changed since the plan was made; an empty text when none did."""
    plan, files = incident.plan, world.catalogue
    if plan is None:
        return ""
    if plan.policy_digest != files.policy_digest_of(plan.model, plan.environment):
        return "Policy or roles changed."
    if files.model_digests.get(plan.model) != plan.model_digest:
        return f"The model {plan.model} changed in the configuration."
    if files.runbook_digests.get(plan.runbook) != plan.runbook_digest:
        return f"The runbook {plan.runbook} changed in the configuration."
    return ""
