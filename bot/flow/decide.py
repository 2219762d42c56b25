"""PLANNED → WAITING, CLEARED or NOTED: ask the policy, keep its reason and its trace."""

from __future__ import annotations

from datetime import timedelta

from bot.domain.entries import PlanRequested, PolicyDecided
from bot.domain.incident import Incident
from bot.flow.facts import judge, snoozed
from bot.flow.locks import by_itself
from bot.flow.world import TICKET_LANE, Later, Outcome, Step, World, write

HOLD_AGAIN = timedelta(seconds=60)


async def decide(incident: Incident, world: World) -> Outcome:
    """Decide. A `hold` is looked at again in a minute and when a snooze ends, without an entry while it stands.

    A worse alert ends a snooze. When the hold ends, the plan is made anew; when its alerts all end, it closes.
    """
    before = incident.decision
    held = before is not None and before.mode == "hold"
    if held and incident.ended and incident.requester is None:
        return await by_itself(incident, world)
    decided = await judge(incident, world)
    if before is None or not held:
        return Step((write(incident, decided),), lanes=_lanes(incident, decided, world))
    if decided.mode != "hold":
        again = PlanRequested(
            wanted=incident.wanted, requester=incident.requester, reason="The hold ended and the plan may be old."
        )
        return Step((write(incident, again),))
    if (decided.rule, decided.reason) == (before.rule, before.reason):
        now = world.clock.now()
        return Later(min(now + HOLD_AGAIN, snoozed(incident, now) or now + HOLD_AGAIN))
    return Step((write(incident, decided),), lanes=_lanes(incident, decided, world))


def _lanes(incident: Incident, decided: PolicyDecided, world: World) -> tuple[str, ...]:
    environment = world.catalogue.environment(incident)
    wanted = decided.tell == "ticket" and environment is not None and environment.ticket is not None
    return (TICKET_LANE,) if wanted else ()
