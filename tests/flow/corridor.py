"""A whole corridor in memory: one model behind fake targets, people, a metric, a clock, and the engine's turns."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Self, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel

from adapters.traffic.memory import Memory as Target
from adapters.traffic.memory import MemoryConfig
from bot.clock import ManualClock
from bot.domain import entries as e
from bot.domain import proof
from bot.domain.alert import Alert, Severity
from bot.domain.catalogue import Catalogue
from bot.domain.incident import MAX_EPISODES, REOPEN_WITHIN, Incident, Phase, model_stream
from bot.domain.model import Model
from bot.domain.orders import LOGINS
from bot.domain.person import Membership, Person
from bot.domain.policy import Policy
from bot.domain.press import Answer, Order, Press
from bot.domain.roles import Role
from bot.domain.runbook import Runbook
from bot.domain.sli import Measurement
from bot.domain.traffic import ApplyResult, Call, Finding, Outcome, TrafficSplit
from bot.errors import Unavailable
from bot.flow.approve import press
from bot.flow.intake import propose
from bot.flow.orders import order
from bot.flow.path import advance
from bot.flow.world import Folds, World
from bot.ids import CountingIds
from bot.ports import Act, Context
from tests.flow.fakes import Memory

MODEL, PLACE = "fraud-scorer", "prod"
STREAM = model_stream(PLACE, MODEL)
ROLES = {
    "sre": Role(usergroups=("S0SRE",)),
    "owner": Role(members=("U0PRIYA", "U0MIKA")),
    "boss": Role(members=("U0INES",)),
}
BOTH = ({"id": "both", "require": [{"role": "sre"}, {"role": "owner"}]},)
ALONE = ({"id": "alone", "mode": "auto"}, {"id": "else", "require": [{"role": "sre"}]})
VERIFY = {
    "traffic": {"max_bad_share": 0.01, "within": "10s"},
    "recovery": {"samples": 2, "every": "2s", "within": "20s", "min_requests": 10, "watch": "5s"},
}


class Quiet:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **facts: object) -> None:
        self.lines.append((event, facts))

    def warning(self, event: str, **facts: object) -> None:
        self.lines.append((event, facts))


class People:
    """A directory: accounts with facts, groups with members. `away` is when nothing can be asked."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.away = clock, False
        self.facts: dict[str, dict[str, Any]] = {
            name: {} for name in ("U0ANA", "U0TOM", "U0PRIYA", "U0MIKA", "U0INES", "U0NOBODY")
        }
        self.facts["U0GIL"] = {"guest": True}
        self.groups: dict[str, set[str]] = {"S0SRE": {"U0ANA", "U0TOM"}}
        self.vouched: dict[str, datetime] = {}  # for whom a sign-in vouches while Slack is away, and until when
        self.asking = self.most_at_once = 0
        self.warmed: list[tuple[tuple[str, ...], tuple[str, ...]]] = []

    async def person(self, user: str, *, fresh: bool = False) -> Person | None:
        del fresh
        await self._asked()
        if self.away and user in self.vouched:
            return Person(id=user, fetched_at=self.clock.now(), vouched_until=self.vouched[user])
        if self.away:
            raise Unavailable("Slack did not answer, so I cannot confirm this account.")
        return Person(id=user, fetched_at=self.clock.now(), **self.facts[user]) if user in self.facts else None

    async def by_email(self, email: str, *, fresh: bool = False) -> Person | None:
        named = next((user for user, facts in self.facts.items() if facts.get("email") == email), None)
        return await self.person(named, fresh=fresh) if named else None

    async def belongs(self, user: str, source: str, *, fresh: bool = False) -> Membership:
        del fresh
        await self._asked()
        kind, _, name = source.partition(" ")
        held = user == name if kind == "member" else user in self.groups[name]
        if self.away and kind == "usergroup":
            return Membership(source=source, held=None, detail="Slack did not say.", fetched_at=self.clock.now())
        return Membership(source=source, held=held, fetched_at=self.clock.now())

    async def people(self, source: str) -> tuple[str, ...]:
        await self._asked()
        kind, _, name = source.partition(" ")
        return (name,) if kind == "member" else tuple(sorted(self.groups[name]))

    def keep_warm(self, sources: Iterable[str], people: Iterable[str]) -> None:
        self.warmed.append((tuple(sources), tuple(people)))

    async def _asked(self) -> None:
        self.asking += 1
        self.most_at_once = max(self.most_at_once, self.asking)
        await asyncio.sleep(0)
        self.asking -= 1


class NoKeys(BaseModel):
    """A query without keys."""


class Of(BaseModel):
    """What a look is about, when a test tells looks apart."""

    of: str = ""


class Meter:
    """A metric source that says what it is told: a value over so many requests, None for silence."""

    kind: ClassVar[str] = "meter"
    Config: ClassVar[type[BaseModel]] = NoKeys
    Query: ClassVar[type[BaseModel]] = Of

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.hangs, self.requests = clock, False, 500.0
        self.value: float | None = 0.001
        self.values: dict[str, float | None] = {}  # by what a query asks about, before `value`
        self.asked: list[str] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *why: object) -> None:
        pass

    async def measure(self, query: BaseModel, since: Measurement | None) -> Measurement:
        del since
        of = query.of if isinstance(query, Of) else ""
        self.asked.append(of)
        if self.hangs:
            await asyncio.Event().wait()
        value = self.values.get(of, self.value)
        silent = "nothing answers" if value is None else ""
        return Measurement(at=self.clock.now(), value=value, requests=self.requests, reason=silent)


class Doer:
    """An action that does what a test says: `answers` are outcomes or errors, one a call; then it is done well."""

    kind: ClassVar[str] = "doer"
    Config: ClassVar[type[BaseModel]] = NoKeys

    def __init__(self, clock: ManualClock, *, reversible: bool = False) -> None:
        self.clock, self.reversible = clock, reversible
        self.answers: list[Outcome | Exception] = []
        self.undoing: list[Outcome | Exception] = []  # what `undo` answers, applied when nothing is left
        self.leaves = ""
        self.known: Outcome | None = Outcome.APPLIED  # what `done` says
        self.did: list[str] = []  # keys, an undo with a minus before it
        self.hangs, self.provides_capacity = False, False
        self.found: tuple[Finding, ...] | Exception = (Finding(level="ok", message="It answers."),)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *why: object) -> None:
        pass

    async def preflight(self, act: Act) -> tuple[Finding, ...]:
        del act
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def call(self, act: Act) -> Call:
        return Call(text=f"do {act.good}", by_hand=f"do {act.good}", undo_by_hand=f"undo {act.good}")

    async def perform(self, act: Act) -> ApplyResult:
        self.did.append(act.key)
        if self.hangs:
            await asyncio.Event().wait()
        return self._said(self.answers)

    async def done(self, act: Act) -> ApplyResult | None:
        del act
        return self._ended(self.known) if self.known else None

    async def undo(self, act: Act) -> ApplyResult:
        self.did.append(f"-{act.key}")
        return self._said(self.undoing)

    def _said(self, answers: list[Outcome | Exception]) -> ApplyResult:
        answer = answers.pop(0) if answers else Outcome.APPLIED
        if isinstance(answer, Exception):
            raise answer
        return self._ended(answer)

    def _ended(self, outcome: Outcome) -> ApplyResult:
        now = self.clock.now()
        return ApplyResult(outcome=outcome, detail=f"doer: {outcome}.", started_at=now, finished_at=now)


class Corridor:
    """One model in prod. Version 41 served for 20 minutes, 42 has all traffic now."""

    def __init__(
        self,
        rules: Sequence[Mapping[str, Any]] = BOTH,
        *,
        targets: Sequence[str] = ("route",),
        steps: Sequence[Mapping[str, Any]] | None = None,
        on_failure: str = "before_traffic",
        shared: bool = False,
        placed: bool = True,
        versions: Sequence[str] = ("41", "42"),
        roles: Mapping[str, Role] = ROLES,
        rollback: Mapping[str, Any] | None = None,
        place: Mapping[str, Any] | None = None,
        book: Mapping[str, Any] | None = None,
        **policy: Any,
    ) -> None:
        """`policy` gives keys beside `rules`, `rollback`, `book` and `place` more keys of the runbook and the environment, as files would."""
        self.place = dict(place or {})
        self.versions = tuple(versions)
        self.clock, self.ids, self.log = ManualClock(), CountingIds(), Quiet()
        self.memory, self.people, self.meter = Memory(self.clock), People(self.clock), Meter(self.clock)
        self.targets = {name: self._target(name) for name in targets}
        self.doers = {
            name: Doer(self.clock, reversible="undo" in keys) for name, keys in self.place.get("actions", {}).items()
        }
        self.cards: dict[str, int] = {}
        absent = cast("Any", None)
        names = (MODEL, "ranker") if shared else (MODEL,)
        written = {
            "runbook": "fraud", "title": "Fraud", "owner": "team", "verify": VERIFY,
            "rollback": {"on_failure": on_failure, "steps": list(steps or ({"target": name} for name in targets)), **(rollback or {})}, **(book or {}),
        }  # fmt: skip
        catalogue = Catalogue(
            {name: self._model(targets, placed=placed) for name in names}, Policy.model_validate({"rules": list(rules), **policy}), roles,
            (Runbook.model_validate(written),),
        )  # fmt: skip
        all_targets: Any = {(PLACE, name, target): made for name in names for target, made in self.targets.items()}
        self.world = World(
            timeline=self.memory, inbox=self.memory, work=absent, shown=absent, clock=self.clock, ids=self.ids, log=self.log,
            catalogue=catalogue, sources={}, targets=all_targets, metrics={"meter": self.meter}, directory=self.people,
            surfaces=(), renderer=absent, folds=Folds(self.memory), executor="first",
            actions={(PLACE, MODEL, name): cast("Any", one) for name, one in self.doers.items()},
        )  # fmt: skip
        self._history(names)

    def _target(self, name: str) -> Target:
        def secret(_: str) -> None:
            return None

        context = Context(clock=self.clock, name=name, log=self.log, secret=secret)
        return Target(MemoryConfig(versions=self.versions), context)

    def _model(self, targets: Sequence[str], *, placed: bool) -> Model:
        keys = {"adapter": "memory", "versions": list(self.versions)}
        place = {
            "targets": {name: {**keys, **({"path": name} if placed else {})} for name in targets},
            "slis": {"error_ratio": {"source": "meter", "objective": 0.02} }, **self.place,
        }  # fmt: skip
        return Model.model_validate({"tier": 1, "environments": {PLACE: place}})

    def _history(self, models: Sequence[str]) -> None:
        for split in ({"41": 100, "42": 0}, {"41": 0, "42": 100}):
            weights = TrafficSplit(weights={name: Decimal(share) for name, share in split.items()})
            for model in models:
                for target in self.targets:
                    self.memory.put(model_stream(PLACE, model), e.VersionServed(target=target, split=weights))
            self.clock.advance(1200)

    # ── what happens outside ──────────────────────────────────────────────────────────────────────────────────────

    def alert(self, name: str = "f1", **facts: Any) -> Alert:
        given: dict[str, Any] = {
            "source": "alertmanager", "fingerprint": name, "status": "firing", "severity": Severity.ERROR, "model": MODEL,
            "version": "42", "environment": PLACE, "sli": "error_ratio", "value": 0.12, "starts_at": self.clock.now(),
            "summary": "too many errors", "labels": {"alertname": "Burn"},
        }  # fmt: skip
        return Alert.model_validate({**given, **facts})

    async def fire(self, name: str = "f1", *, model: str = MODEL, **facts: Any) -> str:
        """Let an alert arrive, as intake takes it: join, open or reopen."""
        alert, stream = self.alert(name, **facts), model_stream(PLACE, model)
        ledger = await self.world.ledger(stream)
        if ledger.open_incident:
            self.memory.put(ledger.open_incident, e.AlertsJoined(alerts=(alert,)))
            return ledger.open_incident
        known = await self.world.incident(ledger.last_incident) if ledger.last_incident else None
        if (
            known
            and known.closed_at
            and self.clock.now() - known.closed_at <= REOPEN_WITHIN
            and known.episode < MAX_EPISODES
        ):
            opening: e.Entry = e.IncidentReopened(alerts=(alert,), episode=known.episode + 1)
            incident = known.stream
        else:
            opening = e.IncidentOpened(model=model, environment=PLACE, tier=1, alerts=(alert,))
            incident = f"incident/{self.ids.ulid()}"
        self.memory.put(incident, opening)
        self.memory.put(stream, e.IncidentLinked(incident=incident, version=alert.version))
        return incident

    async def resolve(self, model: str = MODEL) -> None:
        """Let every firing alert of the open incident end."""
        ledger = await self.world.ledger(model_stream(PLACE, model))
        if ledger.open_incident:
            firing = (await self.world.incident(ledger.open_incident)).firing
            ended = tuple(one.but(status="resolved", ends_at=self.clock.now()) for one in firing)
            if ended:
                self.memory.put(ledger.open_incident, e.AlertsResolved(alerts=ended))

    async def ask(self, person: str, wanted: str | None = None) -> str:
        """Type `/rollback`."""
        return await propose(person, MODEL, PLACE, wanted, self.world)

    # ── what people and the engine do ─────────────────────────────────────────────────────────────────────────────

    async def turn(self, stream: str) -> datetime | None:
        """Let the engine advance until it has to wait: one turn after another while it hands them back at once."""
        while True:
            again = await advance(stream, self.world)
            if again is None or again > self.clock.now():
                return again

    async def hung(self, stream: str) -> datetime | None:
        """Take a turn in which somebody may never answer: time passes until it ends."""
        turn = asyncio.ensure_future(advance(stream, self.world))
        while not turn.done():
            await self.clock.run(1)
        return await turn

    async def run(self, stream: str, seconds: float = 60, *, until: Phase | None = None) -> Incident:
        """Let time pass turn by turn, at most so long, and stop when a phase is reached."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while True:
            again = await self.turn(stream)
            incident = await self.world.incident(stream)
            if incident.phase is until or again is None or again > end:
                if incident.phase is not until:
                    self.clock.advance(max(0.0, (end - self.clock.now()).total_seconds()))
                return incident
            self.clock.advance((again - self.clock.now()).total_seconds())

    async def press(
        self, person: str, action: str, stream: str, *, reason: str = "because it is so", **shown: Any
    ) -> Answer:
        """Press a button of the card as it is now."""
        incident = await self.world.incident(stream)
        plan = incident.plan.short if incident.plan else "none"
        given = {"plan": plan, "card_version": incident.version, "reason": reason, **shown}
        return await press(Press(person, action, incident.id, **given), self.world)

    async def order(self, person: str, action: str, *, reason: str = "because it is so", **asked: str) -> Answer:
        """Give an order for the whole house."""
        return await order(Order(person, action, asked, reason), self.world)

    def signed_in(self, person: str, hours: float = 12) -> Ed25519PrivateKey:
        """Let a terminal act for a person, as `lastgood login` does; give its key."""
        key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(person.encode()).digest())
        public, until = key.public_key().public_bytes_raw().hex(), self.clock.now() + timedelta(hours=hours)
        self.memory.put(LOGINS, e.LoginGranted(key=public, person=person, until=until, via="slack", host="build"))
        return key

    async def signature(self, key: Ed25519PrivateKey, action: str, stream: str) -> dict[str, str]:
        """Sign an act on the incident as it is now."""
        incident = await self.incident(stream)
        subject = proof.act_on(action, incident.id, incident.plan.id if incident.plan else "none")
        return proof.request(key, "build", subject, self.ids.ulid())

    async def typed(self, key: Ed25519PrivateKey, person: str, action: str, stream: str, **shown: Any) -> Answer:
        """Take an act in the terminal this key is for."""
        request = await self.signature(key, action, stream)
        return await self.press(person, action, stream, via="terminal", request=request, **shown)

    async def approved(self, stream: str) -> None:
        """Let the two people of the rule approve."""
        for person in ("U0ANA", "U0PRIYA"):
            assert (await self.press(person, "approve", stream)).ok

    async def rolled(self, **facts: Any) -> str:
        """Open an incident and bring it to the end of its rollback: traffic moved."""
        stream = await self.fire(**facts)
        await self.run(stream, until=Phase.WAITING)
        await self.approved(stream)
        await self.run(stream, until=Phase.MOVED)
        return stream

    def restart(self) -> None:
        """Be another process: nothing is remembered but the timeline."""
        self.world = replace(self.world, folds=Folds(self.memory), executor=self.ids.ulid())

    # ── what is there ─────────────────────────────────────────────────────────────────────────────────────────────

    async def incident(self, stream: str) -> Incident:
        return await self.world.incident(stream)

    def entries(self, stream: str) -> list[e.Entry]:
        return [row.entry for row in self.memory.streams.get(stream, [])]

    def types(self, stream: str) -> list[str]:
        return [entry.type for entry in self.entries(stream)]

    def last(self, stream: str, kind: type[Any]) -> Any:
        return [entry for entry in self.entries(stream) if isinstance(entry, kind)][-1]

    async def held(self) -> set[str]:
        """Give every stream whose lock is held."""
        names = [name for name in self.memory.streams if name.startswith(("model/", "resource/"))]
        return {name for name in names if (await self.world.ledger(name)).lock}

    @property
    def shifts(self) -> int:
        return sum(target.shifts for target in self.targets.values())
