"""Acting on a site from a terminal: the functions every button goes through, run in this process. Nothing listens, no effect is made."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import aiohttp

from bot import inbox_lines, reading, signed_in
from bot.app import Application, create
from bot.clock import SystemClock
from bot.config import Settings
from bot.domain import access, proof, words
from bot.domain.entries import PolicyLoaded
from bot.domain.incident import Incident, Phase
from bot.domain.orders import LOGINS
from bot.domain.press import Answer, Order, Press
from bot.errors import Denied, LastgoodError
from bot.flow import inbox
from bot.flow.approve import press
from bot.flow.intake import propose, proposed
from bot.flow.orders import order
from bot.flow.people import standings, who_can
from bot.flow.world import POLICY, World
from bot.log import JsonLog
from bot.ports import Clock
from bot.signed_in import SignedIn
from bot.store.place import place_of
from bot.store.schema import exists
from bot.terminal import local, row

CALL_WITHIN = aiohttp.ClientTimeout(total=3, connect=2)
NOBODY = "U0"  # no member's id: asked about to learn whether a source answers at all
ASK_WITHIN = 8.0  # seconds after which Slack is asked nothing more by one command
NO_LINK = "A terminal has no such link: the card in Slack makes one."
_UNUSED = "00" * 32  # stands for the key of checkpoints, which `serve` alone signs and may alone be able to read


@dataclass(frozen=True)
class Site:
    """A site that can be acted on, and how its people are called."""

    app: Application
    settings: Settings

    @property
    def world(self) -> World:
        """Give what every surface acts through."""
        return self.app.world

    async def signed_in(self) -> SignedIn:
        """Give who acts from here. Raises Denied."""
        name = await reading.names(self.app.store)
        return await signed_in.here(self.app.store, self.settings, self.world.clock, name)


@asynccontextmanager
async def opened(settings: Settings, *, targets: bool = False) -> AsyncIterator[Site]:
    """Open the site as `serve` would, without starting it; `targets` are opened for an act that has to read them.

    Raises ConfigError, Denied, TimelineError or AdapterError.
    """
    place = place_of(settings.database)
    if not exists(place):
        message = f"There is no database {place.name}. `lastgood serve` makes one; LASTGOOD_DATABASE_URL names another."
        raise LastgoodError(message)
    logging.getLogger("slack_sdk").setLevel(logging.CRITICAL)  # what Slack did not answer is said in our own words
    clock = SystemClock()
    app = create(_keyless(settings), clock=clock, log=JsonLog(clock, io.StringIO(), quiet=True))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, app.store.close)
        await _same_files(app)
        session = aiohttp.ClientSession(timeout=CALL_WITHIN, middlewares=[_patience(clock)])
        app.client.session = await stack.enter_async_context(session)
        asked = (
            *app.world.authorizers,
            *((app.pager,) if app.pager else ()),
            *(app.world.targets.values() if targets else ()),
        )
        for one in asked:
            await stack.enter_async_context(cast("AbstractAsyncContextManager[object]", one))
        yield Site(app, settings)


def _keyless(settings: Settings) -> Settings:
    others = {name: value for name, value in settings.environ.items() if name != "LASTGOOD_SIGNING_KEY_FILE"}
    return Settings({**others, "LASTGOOD_SIGNING_KEY": _UNUSED})


def _patience(clock: Clock) -> Callable[..., Awaitable[aiohttp.ClientResponse]]:
    """Ask Slack nothing more after `ASK_WITHIN`, so that a Slack that hangs holds up no command."""
    ends = clock.monotonic() + ASK_WITHIN

    async def asked(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if clock.monotonic() >= ends:
            raise TimeoutError
        return await handler(request)

    return asked


async def _same_files(app: Application) -> None:
    """Refuse to act by other files than those `serve` decides by."""
    loaded = [one for one in await app.store.read(POLICY) if isinstance(one.entry, PolicyLoaded)]
    if not loaded:
        message = f"`serve` never ran on {app.store.place.name}, so it decides by no files yet. Start it first. Nothing was changed."
        raise Denied(message)
    last, mine = loaded[-1], app.world.catalogue.digest
    if isinstance(last.entry, PolicyLoaded) and last.entry.digest != mine:
        message = (
            f"The files here ({app.settings.config} and its runbooks, digest {mine[:8]}) are not those `serve` decides by "
            f"(digest {last.entry.digest[:8]}, loaded {local(last.at, '%d %b %H:%M %Z')}). LASTGOOD_CONFIG names the right "
            "ones; or let `serve` load these. Nothing was changed."
        )
        raise Denied(message)


# ── acts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Wanted:
    """An act on an incident: which, why, what a form would have held, and the plan it is for, as far as one was shown."""

    action: str
    reason: str = ""
    asked: Mapping[str, str] | None = None
    plan: str | None = None  # None: the plan the incident has now


async def act(settings: Settings, seen: Incident, wanted: Wanted) -> Answer:
    """Take an act of the person signed in here, on an incident as they saw it."""
    async with opened(settings, targets=wanted.action == "choose") as site:
        who = await site.signed_in()
        plan = _whole(seen, wanted.plan)
        answer = await press(
            Press(
                person=who.person, action=wanted.action, incident=seen.id, plan=plan, card_version=seen.version, via=access.TERMINAL,
                reason=wanted.reason, asked=dict(wanted.asked or {}),
                request=who.request(proof.act_on(wanted.action, seen.id, plan)),
            ),
            site.world,
        )  # fmt: skip
        return await _said(site, answer)


def _whole(seen: Incident, plan: str | None) -> str:
    """Give the whole hash of the plan that was shown; one that is not the incident's stays as it was typed, to be refused."""
    if seen.plan is None:
        return plan or ""
    return seen.plan.id if plan is None or (len(plan) >= 8 and seen.plan.id.startswith(plan)) else plan


async def give_order(settings: Settings, action: str, reason: str, asked: Mapping[str, str]) -> Answer:
    """Take an order of the person signed in here for the whole house."""
    async with opened(settings) as site:
        who = await site.signed_in()
        request = who.request(proof.order_on(action, asked))
        given = Order(who.person, action, dict(asked), reason, access.TERMINAL, request)
        return await _said(site, await order(given, site.world))


async def ask_for_rollback(settings: Settings, model: str, env: str, version: str, reason: str) -> Answer:
    """Propose a rollback; the person signed in here is its requester."""
    async with opened(settings) as site:
        who = await site.signed_in()
        wanted = (model, env or None, version or None)
        stream = await propose(who.person, *wanted, site.world, reason=reason, via=access.TERMINAL)
        return await _said(site, Answer(ok=True, text=await proposed(stream, who.person, site.world)))


async def replay(settings: Settings, which: str) -> str:
    """Have a message that led nowhere read again by the person signed in here; give a sentence."""
    async with opened(settings) as site:
        who = await site.signed_in()
        record, _ = await inbox_lines.message(site.app.store, which)
        return await inbox.replay(record.id, who.person, site.world)


async def dismiss(settings: Settings, which: str, reason: str) -> str:
    """Have a message taken off the list of what led nowhere; give a sentence."""
    async with opened(settings) as site:
        who = await site.signed_in()
        record, _ = await inbox_lines.message(site.app.store, which)
        return await inbox.dismiss(record.id, who.person, reason, site.world)


async def _said(site: Site, answer: Answer) -> Answer:
    """Put names and local times into the sentence; names that were learnt for it are known by now."""
    text = words.put(answer.text, await reading.names(site.app.store), local)
    return Answer(ok=answer.ok, text=f"{text} {NO_LINK}" if answer.link_for else text)


# ── who could ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Open:
    """One open place: who could fill it now, and why not everybody could be asked about."""

    role: str
    could: tuple[str, ...]
    unsure: tuple[str, ...]


async def who_could(settings: Settings, stream: str) -> tuple[Incident, list[Open], dict[str, str]]:
    """Give an incident, its open places, and how people are called."""
    async with opened(settings) as site:
        incident = await site.world.incident(stream)
        return incident, await _places(incident, site.world), await site.app.store.everybody()


async def _places(incident: Incident, world: World) -> list[Open]:
    """Ask about everybody a source names, and about whoever a sign-in vouches for while Slack is away."""
    if incident.decision is None or incident.phase is not Phase.WAITING:
        return []
    now, out = world.clock.now(), {person for person, _ in _out(incident)}
    roles = list(dict.fromkeys(access.open_places(incident.decision.require, incident.votes)))
    signed = [one.person for one in (await world.orders(LOGINS)).logins.values() if one.until > now]
    people = [one for one in dict.fromkeys((*await who_can(incident, world), *signed)) if one not in out]
    known = await standings(people, roles, incident, world)
    return [await _open(role, known, world) for role in roles]


async def _open(role: str, known: Mapping[str, access.Standing], world: World) -> Open:
    now = world.clock.now()
    could = [one for one, held in known.items() if access.may_act(held, [role], access.TERMINAL, now).error is None]
    sources: Sequence[str] = world.catalogue.roles[role].sources if role in world.catalogue.roles else ()
    asked = await asyncio.gather(*(world.directory.belongs(NOBODY, source) for source in sources))
    unsure = [one.detail or f"Nobody says who is in {one.source}." for one in asked if one.held is None]
    return Open(role, tuple(could), tuple(unsure))


def _out(incident: Incident) -> list[tuple[str, str]]:
    """Give who cannot fill an open place, and why."""
    voted = [(vote.person, f"approved as {vote.role}") for vote in incident.votes]
    return [*access.barred(incident.plan).items(), *voted]


def as_json(incident: Incident, places: Sequence[Open]) -> dict[str, Any]:
    """Give what `incident who --json` promises."""
    return {
        "id": incident.id,
        "phase": incident.phase.value,
        "places": [{"role": one.role, "could": one.could, "unsure": one.unsure} for one in places],
        "excluded": [{"person": person, "reason": reason} for person, reason in _out(incident)],
    }


def lines(incident: Incident, places: Sequence[Open], name: Callable[[str], str]) -> list[str]:
    """Write who could fill each open place, who may not, and why."""
    nobody = f"No place is open: nobody is asked to approve while the incident is {incident.phase.value}."
    could = [f"{one.role}: {_place_line(one, name)}" for one in places] or [nobody]
    out = [f"{name(person)} {did}" for person, did in _out(incident)]
    return [
        *(row("" if n else "could", line) for n, line in enumerate(could)),
        *(row("" if n else "could not", line) for n, line in enumerate(out)),
    ]


def _place_line(one: Open, name: Callable[[str], str]) -> str:
    could = words.listed([name(person) for person in one.could], "or") or "nobody who could be confirmed"
    return " ".join([f"{could}.", *one.unsure])
