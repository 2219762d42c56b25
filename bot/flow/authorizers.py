"""The second opinions of an organisation: each can only deny what policy allowed, and whoever does not answer denies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from bot.domain import words
from bot.domain.entries import Check
from bot.domain.incident import Incident
from bot.errors import LastgoodError
from bot.flow.targets import within
from bot.flow.world import World
from bot.ports import Authorizer, Matter

WITHIN = timedelta(seconds=3)  # an authorizer keeps a limit of its own; this one is for those that do not


async def opinions(act: str, people: Sequence[str], incident: Incident, world: World) -> tuple[Check, ...]:
    """Ask every authorizer at once about an act that policy allowed; one check each, with the objection as its detail."""
    plan, decision = incident.plan, incident.decision
    if plan is None or decision is None:
        raise ValueError("an organisation is asked about a decided plan")
    matter = Matter(
        act=act, people=tuple(people), model=incident.model, environment=incident.environment, tier=incident.tier,
        from_version=plan.from_version, to_version=plan.to_version, plan=plan.id, rule=decision.rule, incident=incident.id,
    )  # fmt: skip
    said = await asyncio.gather(*(_objection(one, matter, world) for one in world.authorizers))
    return tuple(
        Check(ok=not why, name=f"{one.kind} does not object", detail=why)
        for one, why in zip(world.authorizers, said, strict=True)
    )


async def _objection(authorizer: Authorizer, matter: Matter, world: World) -> str:
    kind = authorizer.kind.capitalize()
    try:
        return words.plain(await within(WITHIN, authorizer.objection(matter), world.clock))
    except TimeoutError:
        return f"{kind} did not answer within {words.span(WITHIN)}. That counts as no."
    except LastgoodError as error:
        return f"{kind} could not be asked: {words.plain(str(error))} That counts as no."


def objection(checks: Sequence[Check]) -> str:
    """Give the first objection among these checks; an empty text when there is none."""
    return next((one.detail for one in checks if one.ok is False), "")
