"""What each person may do now, asked of the rules that will judge the press."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bot.demo import picture
from bot.domain import access, acts, words
from bot.domain.incident import Incident, Phase
from bot.domain.orders import LENT
from bot.flow import acts as judged
from bot.flow.people import breakers, counting, held, standings, who_can, who_could
from bot.flow.world import World

NOBODY = "Nothing is asked of anybody yet."
NOTHING = "Nothing is asked of you now."
_CANCEL = "You may pause or cancel; what is applied stays."
_DECIDE = "You may decide here: the buttons are on the card."
_AFTER = "It is over. You may record the fix or overrule the grade."
_REVIEW = "You may review what was done behind broken glass."


async def title(user: str, world: World) -> str:
    """Give the roles a person holds, lent ones too, the word guest, or that there are none."""
    roles = world.catalogue.roles
    mine = await held(user, roles, world, await world.orders(LENT))
    names = [role for role in roles if mine.holds(role)]
    return words.listed(names) or ("guest" if mine.person and mine.person.guest else "no role in this plan")


async def may(user: str, incident: Incident | None, world: World, name: Callable[[str], str]) -> str:
    """Say what this person may do now, or why not, from the ruling a press would get; who else may, and who may not."""
    if incident is None:
        return NOBODY
    ask = _votes if incident.phase is Phase.WAITING else _acts
    said = [one.removesuffix("Nothing was changed.").strip() for one in await ask(user, incident, world)]
    return words.put(
        " ".join(dict.fromkeys(one for one in said if one)) or NOTHING, name, picture.near(world.clock.now())
    )


async def _votes(user: str, incident: Incident, world: World) -> list[str]:
    """Judge a press on Approve, then say who has no vote, and who could do without one."""
    plan, out = incident.plan, access.barred(incident.plan)
    names = (user, *(vote.person for vote in incident.votes), *out)
    known, could, glass = await asyncio.gather(
        standings(names, counting(incident, world), incident, world),
        who_could(user, incident, world),
        breakers(incident, world),
    )
    question = access.Question(
        user=user, plan=plan.short if plan else "", standing=known[user], others=known, who_could=could,
        now=world.clock.now(), glass=glass,
    )  # fmt: skip
    ruling = access.may_approve(incident, question)
    own = f"You may approve as {ruling.role}." if ruling.role else ruling.text
    barred = [f"Not {words.person(who)}: {did}." for who, did in out.items() if who != user]
    return [own, *barred, _glass(incident, question, world)]


def _glass(incident: Incident, question: access.Question, world: World) -> str:
    """Say who may act alone: this person, when the rule lets them given a reason and the name typed; else whom it names."""
    rule = world.catalogue.policy.break_glass
    if rule is None:
        return ""
    alone = acts.Alone(reason="." * rule.min_reason_chars, typed=incident.model)
    ruling = acts.may_break(incident, question, rule, alone)
    return f"{'You' if ruling.error is None else question.glass} may break the glass."


async def _acts(user: str, incident: Incident, world: World) -> list[str]:
    """Judge what the card offers beside a vote."""
    legal = set(access.legal(incident))
    if incident.phase is Phase.CLEARED and incident.parked_on is None:
        legal.discard("reject")  # it starts in a moment: the card offers none
    if not legal:
        return []
    review = [(await judged.may_review(user, incident, world)).text or _REVIEW] if "review" in legal else []
    if not legal - {"review"}:
        return review
    able = _CANCEL if "cancel" in legal else _AFTER if incident.phase is Phase.CLOSED else _DECIDE
    return [(await judged.may(user, incident, world)).text or able, *review]


async def could(incident: Incident | None, world: World) -> dict[str, tuple[str, ...]]:
    """Give, for each place still open, its role and the people who could fill it."""
    if incident is None or incident.decision is None:
        return {}
    roles, out = access.open_places(incident.decision.require, incident.votes), access.barred(incident.plan)
    able = await standings(await who_can(incident, world), roles, incident, world)
    mine = {user: access.without(one, out) for user, one in able.items()}
    return {role: tuple(user for user, one in mine.items() if one.holds(role)) for role in dict.fromkeys(roles)}
