"""What the desk says: every `/rollback` and every dialog, each act through the one function that judges it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from bot.domain import access, words
from bot.domain.incident import Incident, Phase
from bot.domain.orders import SWITCH
from bot.domain.press import Answer, Order, Press
from bot.errors import LastgoodError
from bot.flow.acts import ACTS
from bot.flow.intake import propose, proposed
from bot.flow.people import standing, standings, who_can
from bot.flow.world import World
from bot.report.facts import explained, next_sentence
from bot.slack.cards import unconfirmed
from bot.slack.commands import Command
from bot.slack.forms import FORMS, Backdrop, View, wanted

TO_ACT = 5  # characters of an id an act needs: fewer may fit another incident tomorrow
LISTED = 10  # incidents that one ending of an id is said to fit
VIA = "slash"
PROVEN = "slack"  # what a terminal is let in by: Slack says who typed the code
_MARKS = {True: "✓", False: "✗", None: "?"}


class Finder(Protocol):
    """Finds incidents; the store is one."""

    async def incidents(self, before: str | None = None, limit: int = 50, *, open_only: bool = False) -> list[str]:
        """Give incident streams, newest first."""

    async def ending(self, suffix: str) -> list[str]:
        """Give the incident streams whose id ends like this."""

    async def quarantined(self, limit: int = 50, before: str | None = None) -> Sequence[Any]:
        """Give the requests in which something led nowhere, newest first, each with `source` and `error`."""


class Clerk:
    """Answers commands and draws dialogs. It judges nothing itself."""

    def __init__(
        self, world: Callable[[], World], finder: Finder, press: Callable[[Press], Awaitable[Answer]],
        order: Callable[[Order], Awaitable[Answer]], name: Callable[[str], str], confirm_link: Callable[[Press], str],
    ) -> None:  # fmt: skip
        """Take acts to `press` and `order`; `world` gives the world as the files in force have it, `name` people's names.

        `confirm_link` gives the one-time address at which an approval is confirmed, empty when there is no sign-in.
        """
        self._now, self._finder, self._press, self._order, self._name = world, finder, press, order, name
        self._link = confirm_link

    @property
    def _world(self) -> World:
        return self._now()

    # ── dialogs ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def form(self, press: Press, channel: str) -> View | None:
        """Give the dialog this act asks first, from the fold in memory; None when there is nothing to ask.

        An act that is refused anyway asks nothing: it goes to the function that refuses it and says why.
        """
        if press.action not in FORMS:
            return None
        incident = await self._world.incident(f"incident/{press.incident}")
        old = _needs_the_card(press) and access.outdated(incident, press.plan, "decide")
        if old or press.action not in access.legal(incident) or not wanted(press, incident):
            return None
        ledger = await self._world.ledger(incident.model_stream)
        glass = self._world.catalogue.policy.break_glass
        about = Backdrop(
            against={version: f"quarantined: {why}" for version, why in ledger.quarantined.items()}, glass=glass,
            review_due=self._world.clock.now() + glass.review_within if glass else None,
            owner=self._owner(incident), name=self._name,
        )  # fmt: skip
        return FORMS[press.action](incident, about).view(press, channel)

    def _owner(self, incident: Incident) -> str:
        model = self._world.catalogue.models.get(incident.model)
        if model is None:
            return ""
        if model.owner.member:
            return self._name(model.owner.member)
        return f"the owners of {incident.model}" if model.owner.usergroup else ""

    # ── commands ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def answer(self, person: str, asked: Command) -> str:
        """Answer `/rollback` in sentences with people and times as tokens. Raises LastgoodError."""
        match asked.verb:
            case "list":
                return await self._list()
            case "status" if not asked.name:
                return await self._newest()
            case "autopilot" if "way" not in asked.asked:
                return await self._autopilot()
            case "propose":
                return await self._propose(person, asked)
            case "autopilot" | "lend" | "return" | "trust" | "login":
                return (await self._order(_ordered(person, asked))).text
        return await self._about(person, asked)

    async def _about(self, person: str, asked: Command) -> str:
        """Answer what is about one incident."""
        if asked.verb in ("approve", "reject", "snooze") and len(asked.name) < TO_ACT:
            return f"An act needs at least {TO_ACT} characters of the id. `/rollback list` names the incidents that are open. Nothing was changed."
        found = await self._one(asked.name)
        if isinstance(found, str):
            return found
        match asked.verb:
            case "who":
                return await self.who(person, found)
            case "why":
                return why(found)
            case "approve" if "plan" not in asked.asked:
                return unseen(found, asked.name)
            case "approve" | "reject" | "snooze":
                return await self._acted(_pressed(person, found, asked))
        return status(found)

    async def _acted(self, press: Press) -> str:
        answer = await self._press(press)
        link = self._link(press) if answer.link_for else ""
        return f"{answer.text}\nConfirm behind the company sign-in: {link}" if link else answer.text

    async def _one(self, suffix: str) -> Incident | str:
        """Find the incident that is meant; else say what there is."""
        streams = await self._finder.ending(suffix)
        if len(streams) == 1:
            return await self._world.incident(streams[0])
        if not streams:
            return f"No incident ends in {words.plain(suffix, 40)}. `/rollback list` names those that are open. Nothing was changed."
        rows = [await self._world.incident(stream) for stream in streams[:LISTED]]
        lines = [f"{one.id}  {one.model} in {one.environment}, opened {words.moment(one.opened_at)}" for one in rows]
        return "\n".join(
            [f"{len(streams)} incidents end in {suffix}; write more of the id. Nothing was changed.", *lines]
        )

    async def _list(self) -> str:
        rows = [await self._world.incident(stream) for stream in await self._finder.incidents(open_only=True)]
        lines = [f"{one.short}  {one.phase}  {one.model} in {one.environment}" for one in rows] or ["Nothing is open."]
        if off := (await self._world.orders(SWITCH)).off(""):
            lines.append(off)
        if aside := await self._finder.quarantined(limit=1):
            source, reason = aside[0].source.capitalize(), words.plain(aside[0].error, 200)
            lines.append(f'Something led nowhere, last from {source}: "{reason}" `lastgood inbox` lists it.')
        return "\n".join(lines)

    async def _newest(self) -> str:
        streams = await self._finder.incidents(limit=1, open_only=True)
        return status(await self._world.incident(streams[0])) if streams else "Nothing is open."

    async def _autopilot(self) -> str:
        """Say whether Lastgood may act alone, for all models and for those that differ."""
        orders = await self._world.orders(SWITCH)
        off = [said for model in orders.switched if (said := orders.off(model))]
        return "\n".join(dict.fromkeys(off)) or "Autopilot is on for all models: rules that act alone do."

    async def _propose(self, person: str, asked: Command) -> str:
        try:
            stream = await propose(
                person, asked.name, asked.environment, asked.version, self._world, reason=asked.reason, via=VIA
            )
        except LastgoodError as error:
            return str(error)
        return await proposed(stream, person, self._world)

    async def who(self, person: str, incident: Incident) -> str:
        """Say who could fill each open place now, who has no vote and why, and whom a look-up could not confirm."""
        decision, plan = incident.decision, incident.plan
        if incident.phase is not Phase.WAITING or decision is None or plan is None:
            return f"{incident.short} waits for nobody: it is {incident.phase}. {next_sentence(incident)}"
        need = sum(place.count for place in decision.require)
        change = words.change(plan.from_version, plan.to_version)
        head = f"{incident.short} needs {need} {'different people' if need > 1 else 'person'} for {change}, plan {plan.short}."
        voted = [
            f"☑ {vote.role}: {words.person(vote.person)} approved {words.moment(vote.at)}" for vote in incident.votes
        ]
        roles = list(dict.fromkeys(access.open_places(decision.require, incident.votes)))
        able = await standings(await who_can(incident, self._world), roles, incident, self._world)
        out = access.barred(plan)
        open_ = [
            _place(role, [user for user, held in able.items() if user not in out and held.holds(role)])
            for role in roles
        ]
        barred = [f"Not {words.person(user)}: {did}" for user, did in out.items()]
        mine = await standing(person, roles, incident, self._world)
        return "\n".join([head, *voted, *open_, *barred, *_unanswered(mine, able, roles)])


def _needs_the_card(press: Press) -> bool:
    """Say whether the act is about the plan the person saw."""
    return press.action not in ACTS or ACTS[press.action].card


def _place(role: str, people: Sequence[str]) -> str:
    return f"☐ {role}: {words.people(people, 'or')} can" if people else f"☐ {role}: nobody could be named"


def _unanswered(mine: access.Standing, able: Mapping[str, access.Standing], roles: Sequence[str]) -> list[str]:
    """Say which look-ups failed: what they could not tell about one person they can tell about nobody."""
    failed = [(role, one.detail) for role in roles for one in mine.roles.get(role, ()) if one.held is None]
    return list(
        dict.fromkeys(
            unconfirmed(why, role, some=any(one.holds(role) for one in able.values())) for role, why in failed
        )
    )


def status(incident: Incident) -> str:
    """Say where one incident stands and what comes next."""
    plan = incident.plan
    change = f" {words.change(plan.from_version, plan.to_version)}" if plan else ""
    return f"{incident.short}  {incident.phase}  {incident.model}{change}. {next_sentence(incident)}"


def unseen(incident: Incident, typed: str) -> str:
    """Say what would be approved and what to type for it: nobody votes on a plan they did not name."""
    decision, plan = incident.decision, incident.plan
    if incident.phase is not Phase.WAITING or decision is None or plan is None:
        more = f"`/rollback status {typed}` says what comes next."
        return f"{incident.short} is {incident.phase}, so no plan waits for approval. {more} Nothing was changed."
    need = sum(place.count for place in decision.require)
    roles = words.listed(f"{place.count} {place.role}" if place.count > 1 else place.role for place in decision.require)
    because = " because …" if decision.ask_reason else ""
    change = words.change(plan.from_version, plan.to_version)
    return (
        f"{incident.short}: {incident.model} in {incident.environment}, {change}, plan {plan.short}. "
        f"It needs {roles}; {len(incident.votes)} of {need} approved.\n"
        f"Type `/rollback approve {typed} {plan.short}{because}` to approve it. Nothing was changed."
    )


def why(incident: Incident) -> str:
    """Give mode, rule and reason, and every check as it came out: ✓ yes, ✗ no, ? cannot tell."""
    told = explained(incident)
    if told["mode"] is None:
        return f"{incident.short}: {told['reason']}"
    doubt = incident.decision.doubt if incident.decision else ""
    rows = [f"{_MARKS[one['ok']]} {one['name']}{_detail(one)}" for one in told["trace"]]
    head = f"{incident.short}: {told['mode']} by rule {told['rule']}. {told['reason']}"
    return "\n".join([head, *([doubt] if doubt else []), *rows])


def _detail(row: Mapping[str, Any]) -> str:
    return f": {row['detail']}" if row["detail"] else ""


def _pressed(person: str, incident: Incident, asked: Command) -> Press:
    """Make the press of a card as it is now; an approval is about the plan that was typed."""
    plan = asked.asked.get("plan") or (incident.plan.short if incident.plan else "none")
    given = {name: value for name, value in asked.asked.items() if name != "plan"}
    return Press(
        person=person, action=asked.verb, incident=incident.id, plan=plan, card_version=incident.version, via=VIA,
        reason=asked.reason, asked=given, request=dict(asked.request),
    )  # fmt: skip


def _ordered(person: str, asked: Command) -> Order:
    given: dict[str, str] = {}
    match asked.verb:
        case "autopilot":
            action, given = f"autopilot_{asked.asked['way']}", {"model": asked.name} if asked.name else {}
        case "lend" | "return":
            action, given = asked.verb, {"role": asked.name, **asked.asked}
        case "trust":
            place = {"environment": asked.environment} if asked.environment else {}
            action, given = "trust", {"model": asked.name, **place, **asked.asked}
        case _:
            action, given = "login", {"code": asked.name}
    via = PROVEN if action == "login" else VIA
    return Order(person=person, action=action, asked=given, reason=asked.reason, via=via, request=dict(asked.request))
