"""People: what is known about one person now, and who could act. Everything that can be asked at once is."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence

from bot.domain import access, proof, words
from bot.domain.incident import Incident, Phase
from bot.domain.orders import LENT, LOGINS, Orders
from bot.domain.person import Membership, Person
from bot.domain.press import Order, Press
from bot.domain.roles import Role
from bot.errors import Unavailable
from bot.flow.world import World
from bot.ports import Said

NAMED = 3  # how many people a sentence names


async def standing(
    user: str, roles: Sequence[str], incident: Incident, world: World, *, fresh: bool = False
) -> access.Standing:
    """Fetch what is known about a person: the account and the roles in question, lent ones too."""
    return (await standings((user,), roles, incident, world, fresh=fresh))[user]


async def standings(
    users: Iterable[str], roles: Sequence[str], incident: Incident, world: World, *, fresh: bool = False
) -> dict[str, access.Standing]:
    """Fetch what is known about several people."""
    asked = {name: role for name in roles if (role := _counting(name, incident, world))}
    names, lent = list(dict.fromkeys(users)), await world.orders(LENT)
    found = await asyncio.gather(*(held(name, asked, world, lent, fresh=fresh) for name in names))
    return dict(zip(names, found, strict=True))


async def held(
    user: str, roles: Mapping[str, Role], world: World, lent: Orders, *, fresh: bool = False
) -> access.Standing:
    """Fetch what one person holds of these roles: what is their own, and what was lent to them by somebody who has it now.

    What the lender was lent themselves is not asked, so a loan is never lent on.
    """
    now = world.clock.now()
    loans = [(name, one.person) for name in roles for one in lent.lenders(name, user, now) if one.person != user]
    mine, *theirs = await asyncio.gather(
        direct(user, roles, world, fresh=fresh),
        *(direct(whose, {name: roles[name]}, world, fresh=fresh) for name, whose in loans),
    )
    answers: dict[str, list[Membership]] = {name: list(said) for name, said in mine.roles.items()}
    for (name, whose), about in zip(loans, theirs, strict=True):
        answers[name].append(access.loan(name, whose, about, world.clock.now()))
    return access.Standing(mine.person, answers, mine.unreached)


async def direct(user: str, roles: Mapping[str, Role], world: World, *, fresh: bool = False) -> access.Standing:
    """Fetch what one person holds of these roles themselves, nothing lent."""
    sources = list(dict.fromkeys(source for role in roles.values() for source in role.sources))
    (person, unreached), answers = await asyncio.gather(
        _account(user, world, fresh=fresh),
        asyncio.gather(*(world.directory.belongs(user, source, fresh=fresh) for source in sources)),
    )
    said = dict(zip(sources, answers, strict=True))
    return access.Standing(
        person, {name: [said[source] for source in role.sources] for name, role in roles.items()}, unreached
    )


async def _account(user: str, world: World, *, fresh: bool) -> tuple[Person | None, str]:
    try:
        return await world.directory.person(user, fresh=fresh), ""
    except Unavailable as error:
        return None, str(error)


def _counting(name: str, incident: Incident, world: World) -> Role | None:
    role = world.catalogue.roles.get(name)
    return role if role and access.in_scope(role, incident.model, incident.environment) else None


def counting(incident: Incident, world: World) -> list[str]:
    """Give the roles that count for this model in this environment."""
    return [name for name in world.catalogue.roles if _counting(name, incident, world)]


# ── what a terminal proves ────────────────────────────────────────────────────────────────────────────────────────


async def unsigned(asked: Press | Order, subject: proof.Subject, world: World) -> str:
    """Say that a terminal's act lacks the signature of its person; an empty text when it is there, or it came another way."""
    if asked.via != access.TERMINAL:
        return ""
    logins = await world.timeline.read(LOGINS)
    if proof.proven(asked.request, subject, asked.person, world.clock.now(), logins):
        return ""
    return f"This came from a terminal, and {access.UNSIGNED}. `lastgood login` signs in anew."


# ── who could ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def who_can(incident: Incident, world: World) -> tuple[str, ...]:
    """Give the people who could fill an open place; voters are left out, and those whose own change the plan is."""
    decision = incident.decision
    if decision is None:
        return ()
    missing = list(dict.fromkeys(access.open_places(decision.require, incident.votes)))
    out = {incident.requester, *access.barred(incident.plan), *(vote.person for vote in incident.votes)}
    found, lent = await asyncio.gather(holders(missing, incident, world), world.orders(LENT))
    now = world.clock.now()
    borrowed = [
        x.to for x in lent.lent if x.role in missing and x.until > now and x.person in found and x.person not in out
    ]
    return tuple(dict.fromkeys(one for one in (*found, *borrowed) if one not in out))  # fmt: skip


async def holders(names: Sequence[str], incident: Incident, world: World) -> tuple[str, ...]:
    """Give the people who hold any of these roles for this model themselves, as far as somebody could say."""
    roles = [role for name in names if (role := _counting(name, incident, world))]
    sources = dict.fromkeys(source for role in roles for source in role.sources)
    found = await asyncio.gather(*(world.directory.people(source) for source in sources))
    return tuple(dict.fromkeys(one for people in found for one in people))


def paged(incident: Incident) -> tuple[str, ...]:
    """Give the pager's names of the incidents whose alerts belong here."""
    alerts = [one for one in incident.alerts.values() if one.source == "pagerduty" and "merged" not in one.flags]
    return tuple(dict.fromkeys(one.extra["incident_id"] for one in alerts if "incident_id" in one.extra))


async def next_in(incident: Incident, world: World) -> tuple[str, tuple[str, ...]]:
    """Give whom to ask in when nobody acts: the owner's escalation policy, or in its place at most three people.

    Those are the people a waiting plan was escalated to, else whoever holds the owner's `escalate_to`.
    """
    model = world.catalogue.models.get(incident.model)
    if model is None:
        return "", ()
    if model.owner.escalation_policy:
        return model.owner.escalation_policy, ()
    decision = incident.decision
    told = decision.escalate_to if decision is not None and incident.phase is Phase.WAITING else ""
    role = told if told in incident.escalated and told else model.owner.escalate_to
    return "", (await holders([role], incident, world))[:NAMED] if role else ()


async def asks_in(incident: Incident, world: World) -> str:
    """Say who is asked into the pager's incident now that nobody acted; an empty text when no pager can, or nobody is known."""
    if world.desk is None or not world.desk.writes or not paged(incident):
        return ""
    policy, people = await next_in(incident, world)
    who = f"escalation policy {policy}" if policy else words.people(people)
    return f"Next: the pager asks {who} in." if who else ""


async def who_could(user: str, incident: Incident, world: World) -> str:
    """Say who else could fill an open place; an empty text when nobody is known."""
    others = [one for one in await who_can(incident, world) if one != user]
    return f"{words.people(others[:NAMED], 'or')} can." if others else ""


async def breakers(incident: Incident, world: World) -> str:
    """Name who may act alone here, by name as far as that is known; an empty text when nobody may."""
    rule = world.catalogue.policy.break_glass
    if rule is None:
        return ""
    people = await holders([rule.role], incident, world)
    return words.people(people[:NAMED], "or") or f"whoever holds {rule.role}"


def whose(requester: str | None, person: str) -> str:
    """Say to a person who asked for a plan who has no vote on it."""
    if requester in (None, person):
        return "You asked for it, so somebody else approves it."
    return f"{words.person(requester)} asked for it first, so somebody else approves it."


async def warm(incident: Incident, world: World) -> None:
    """Have at hand what a press on this plan asks: who holds a role that counts, who voted, whose change it is, who lent what."""
    sources = [source for name in counting(incident, world) for source in world.catalogue.roles[name].sources]
    lent, now = await world.orders(LENT), world.clock.now()
    people = [one for loan in lent.lent if loan.until > now for one in (loan.person, loan.to)]
    people += [*access.barred(incident.plan), *(vote.person for vote in incident.votes)]
    world.directory.keep_warm(dict.fromkeys(sources), dict.fromkeys(people))


# ── what they said ────────────────────────────────────────────────────────────────────────────────────────────────


def spoken(text: str, world: World) -> Said:
    """Keep a person's words beside the chain, referenced by a salted hash."""
    text, salt = text.strip(), world.ids.ulid()
    return Said(hashlib.sha256(f"{salt}{text}".encode()).hexdigest(), salt, text)
