"""What `lastgood policy explain` rests on: facts from options or an incident, orders from the timeline, people from the files or asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bot import reading
from bot.config import Config, Settings
from bot.domain import access, calendar, trust, words
from bot.domain import orders as standing
from bot.domain.facts import FACTS, live
from bot.domain.incident import Incident
from bot.domain.ledger import Ledger
from bot.domain.ledger import fold as fold_ledger
from bot.domain.orders import LENT, SWITCH, Orders
from bot.domain.policy import Bounds
from bot.errors import LastgoodError
from bot.flow.facts import snoozed
from bot.policy_tests import completed, value
from bot.report import explain
from bot.shapes import meant
from bot.store.place import place_of
from bot.store.schema import exists
from bot.store.timeline import Store

if TYPE_CHECKING:  # types only: importing this makes every command wait
    from bot.app import Application
    from bot.flow.world import World

_ID = re.compile(r"[UW][A-Z0-9]{2,}")
NO_ANSWER = "no answer, or nobody in it"


@dataclass(frozen=True, slots=True)
class Record:
    """What the timeline says around a question; empty where there is no database."""

    incident: Incident | None = None
    ledger: Ledger | None = None
    switch: Orders = field(default_factory=lambda: Orders(SWITCH))
    lent: Orders = field(default_factory=lambda: Orders(LENT))
    names: Mapping[str, str] = field(default_factory=dict)


def record(settings: Settings, suffix: str, stream: str) -> Record:
    """Read it; `suffix` names an incident, else `stream` the model. Raises LastgoodError when the incident is not there."""
    if not suffix and not exists(place_of(settings.database)):
        return Record()

    async def work(store: Store) -> Record:
        incident = (await reading.find(store, suffix))[0] if suffix else None
        about = incident.model_stream if incident else stream
        return Record(
            incident, fold_ledger(about, await store.read(about)), standing.fold(SWITCH, await store.read(SWITCH)),
            standing.fold(LENT, await store.read(LENT)), await store.everybody(),
        )  # fmt: skip

    return reading.read(work)


def subject(config: Config, model: str, environment: str, now: datetime) -> Incident:
    """Give an incident as it would be opened for this model, so that the same questions can be put to it.

    Raises LastgoodError when the model or the environment is not registered, or several are and none is named.
    """
    name = config.catalogue.model_named(model)
    if name is None:
        message = f"There is no model `{model}`. {meant(model, config.catalogue.models)}"
        raise LastgoodError(message)
    described = config.catalogue.models[name]
    places = sorted(described.environments)
    environment = environment or (places[0] if len(places) == 1 else "")
    if environment not in places:
        message = f"{name} is not in `{environment}`." if environment else f"{name} is in {words.listed(places)}."
        raise LastgoodError(
            f"{message} Name one with --env. {meant(environment, places) if environment else ''}".strip()
        )
    return Incident(f"incident/of-{name}", name, environment, described.tier, opened_at=now, since=now)


def moment(text: str, now: datetime) -> datetime:
    """Read `03:15` as a time of today here, or ISO 8601; one without a zone is local. Raises LastgoodError."""
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}", text):
            hour, minute = text.split(":")
            return now.astimezone().replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)
        at = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"`{text}` is no time. Write 03:15 or 2026-11-27T03:15:00+01:00."
        raise LastgoodError(message) from error
    return at if at.tzinfo else at.astimezone()


def facts(
    config: Config, incident: Incident, said: Sequence[str], at: datetime | None, now: datetime
) -> dict[str, Any]:
    """Give what policy is asked about: the incident's stored facts, those on the command line over them, the rest unknown."""
    kept = live(incident.decision.facts) if incident.decision else {}
    when = at or kept.get("now") or now
    asked = dict(_fact(one, when) for one in said)
    about = {"model": incident.model, "environment": incident.environment, "tier": incident.tier}
    follows = calendar.facts(config.catalogue.policy.limits.blackouts, when)
    return completed({**about, **kept, **follows, **asked}, config.catalogue)


def _fact(text: str, now: datetime) -> tuple[str, Any]:
    name, equals, said = text.partition("=")
    if not equals or name not in FACTS:
        hint = meant(name, FACTS) if equals else "Write NAME=VALUE."
        message = f"`{text}` names no fact. {hint}"
        raise LastgoodError(message)
    try:
        return name, value(name, _typed(name, said), now)
    except ValueError as error:
        message = f"{name} {error}."
        raise LastgoodError(message) from error


def _typed(name: str, said: str) -> Any:
    """Read a value of the command line as YAML would; a map is `error_ratio:5m,latency:2m`."""
    kind = FACTS[name].kind
    if said in ("", "null", "unknown"):
        return None
    if kind == "bool":
        return {"true": True, "false": False}.get(said, said)
    if kind in ("int", "double"):
        return int(said) if re.fullmatch(r"-?\d+", said) else _decimal(said)
    if kind == "map":
        return {sli: _decimal(span) for sli, _, span in (one.partition(":") for one in said.split(","))}
    return said


def _decimal(said: str) -> float | str:
    try:
        return float(said)
    except ValueError:
        return said


def bounds(config: Config, incident: Incident, found: Record, now: datetime) -> Bounds:
    """Give what people ordered, as far as files and timeline say it."""
    policy, described = config.catalogue.policy, config.catalogue.models.get(incident.model)
    observe = described.observe if described else None
    moved = found.ledger.trust if found.ledger else {}
    until = snoozed(incident, now)
    return Bounds(
        autopilot_off=found.switch.off(incident.model),
        observing=config.file.observe if observe is None else observe,
        snoozed=f"The incident is snoozed until {words.moment(until)}." if until else "",
        rungs={one.id: trust.rung(policy.trust, moved.get(one.id)) for one in policy.rules if one.ladder},
    )


def person(text: str, config: Config, names: Mapping[str, str]) -> str:
    """Give the id of a person by id or by a part of the name. Raises LastgoodError when none or several are meant."""
    members = {one for role in config.catalogue.roles.values() for one in role.members}
    if _ID.fullmatch(text) or text in members:
        return text
    wanted = text.casefold()
    found = sorted(
        user for user, name in names.items() if any(part.startswith(wanted) for part in name.casefold().split())
    )
    if len(found) == 1:
        return found[0]
    if found:
        message = f"{len(found)} people are called `{text}`: {', '.join(f'{names[one]} ({one})' for one in found)}."
    else:
        message = f"Nobody known here is called `{text}`. Give the member id, like U0ANA."
    raise LastgoodError(message)


# ── people by the files, or asked ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class People:
    """Who could fill each open place, and what is known about the one person in question."""

    could: Sequence[explain.Candidate]
    standing: access.Standing | None = None
    names: Mapping[str, str] = field(default_factory=dict)  # learnt while asking


def offline(config: Config, incident: Incident, user: str, found: Record, now: datetime) -> People:
    """Say what the files say; what only Slack or PagerDuty could say stays unknown."""
    roles = config.catalogue.roles
    could = explain.candidates(incident, roles)
    if not user:
        return People(could)
    counting = {
        name: role for name, role in roles.items() if access.in_scope(role, incident.model, incident.environment)
    }
    lent = {name: [one.person for one in found.lent.lenders(name, user, now)] for name in counting}
    held = {name: explain.by_files(role, user, now, lent[name]) for name, role in counting.items()}
    return People(could, access.Standing(None, held))


def asked(settings: Settings, incident: Incident, user: str) -> People:
    """Ask the site's own directory. Raises ConfigError when `serve` could not start either."""
    from bot.app import create

    async def work() -> People:
        application = create(settings)
        try:
            return await _answers(application, incident, user)
        finally:
            application.store.close()

    return asyncio.run(work())


async def _answers(application: Application, incident: Incident, user: str) -> People:
    from bot.flow import people

    world = application.world
    places = explain.candidates(incident, world.catalogue.roles)
    could = await asyncio.gather(*(_answered(one, incident, world) for one in places))
    roles = people.counting(incident, world)
    held = await people.standing(user, roles, incident, world) if user else None
    everybody = [*([user] if user else []), *(one for place in could for one in place.people)]
    return People(could, held, {one: application.directory.name(one) for one in everybody})


async def _answered(place: explain.Candidate, incident: Incident, world: World) -> explain.Candidate:
    """Replace the sources that were not asked by the people they name; one that names nobody stays."""
    directory, out = world.directory, explain.excluded(incident)
    said = dict(zip(place.unasked, await asyncio.gather(*map(directory.people, place.unasked)), strict=True))
    there = dict.fromkeys([*place.people, *(one for people in said.values() for one in people if one not in out)])
    silent = tuple(source for source, people in said.items() if not people)
    return replace(place, people=tuple(there), unasked=silent, why=NO_ANSWER)
