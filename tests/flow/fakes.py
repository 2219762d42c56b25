"""A world in memory: a timeline and an inbox that keep the store's promises, and the few models the tests speak of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from adapters.alerts import alertmanager, generic
from bot.clock import ManualClock
from bot.domain import entries as e
from bot.domain.alert import RawRequest, group_name, hint_name, problem_name
from bot.domain.catalogue import Catalogue
from bot.domain.entries import Recorded
from bot.domain.incident import Incident
from bot.domain.model import Model
from bot.domain.policy import Policy
from bot.errors import Conflict
from bot.flow.intake import take
from bot.flow.world import Folds, World
from bot.ids import CountingIds
from bot.ports import AlertSource, Append, InboundDone, Work

TOKENS = {"AM": "am-token", "GEN": "gen-token"}


class Memory:
    """Timeline and Inbox. `before_append` runs once before the next append, to be the other writer of a race."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.streams: dict[str, list[Recorded]] = {}
        self.raw: dict[str, RawRequest] = {}
        self.done: dict[str, InboundDone] = {}
        self.work: list[Work] = []
        self.conflicts = 0
        self.texts: dict[str, str] = {}
        self.before_append: Callable[[], object] | None = None

    def head(self, stream: str) -> tuple[int, int]:
        rows = self.streams.get(stream, [])
        return (rows[-1].version, rows[-1].epoch) if rows else (0, 0)

    async def append(self, append: Append) -> list[Recorded]:
        race, self.before_append = self.before_append, None
        if race is not None:
            race()
        if append.until is not None and self.clock.now() >= append.until:
            raise Conflict
        expected = {**append.given, **{w.stream: w.expect for w in append.writes if w.expect is not None}}
        late = any(self.head(stream)[1] != epoch for stream, epoch in expected.items())
        if late or any(one.id in self.done for one in append.inbound):
            self.conflicts += 1
            raise Conflict
        if any(w.expect is None and not all(x.commutes for x in w.entries) for w in append.writes):
            raise ValueError("an entry that does not commute needs the epoch it was decided on")
        self.texts.update({one.ref: one.text for one in append.said})
        self.done.update({one.id: one for one in append.inbound})
        self.work.extend(append.work)
        return [self.put(write.stream, entry) for write in append.writes for entry in write.entries]

    def put(self, stream: str, entry: e.Entry) -> Recorded:
        version, epoch = self.head(stream)
        version += 1
        rows = self.streams.get(stream, [])
        at = max(self.clock.now(), rows[-1].at) if rows else self.clock.now()  # time in a stream never goes back
        row = Recorded(0, stream, version, epoch if entry.commutes else version, at, entry, "", "")
        self.streams.setdefault(stream, []).append(row)
        return row

    async def read(self, stream: str, after: int = 0) -> list[Recorded]:
        return [row for row in self.streams.get(stream, []) if row.version > after]

    async def said(self, refs: Sequence[str]) -> dict[str, str]:
        return {ref: self.texts[ref] for ref in refs if ref in self.texts}

    async def receive(self, raw: RawRequest) -> tuple[str, bool]:
        for known in self.raw.values():
            if raw.delivery_id is not None and (known.source, known.delivery_id) == (raw.source, raw.delivery_id):
                return known.id, True
        raw.model_dump_json()  # what cannot be written as UTF-8 cannot be stored
        self.raw[raw.id] = raw
        return raw.id, False

    async def request(self, inbound_id: str) -> RawRequest | None:
        return self.raw.get(inbound_id)

    async def settle(self, inbound_id: str, outcome: str, *, alike: bool) -> int:
        known = self.done.get(inbound_id)
        if known is None:
            return 0
        source = self.raw[inbound_id].source
        same = [
            one
            for one in self.done.values()
            if one.error and one.error == known.error and self.raw[one.id].source == source
        ]
        settled = same if alike and known.error else [known]
        self.done.update({one.id: replace(one, outcome=outcome, error="") for one in settled})
        return len(settled)

    async def heard_since(self, source: str, at: datetime) -> bool:
        return any(one.source == source and one.received_at >= at for one in self.raw.values())

    async def related(self, names: Sequence[str]) -> str | None:
        for one in reversed(self.done.values()):
            groups = {alert.group_key for alert in one.alerts if alert.group_key}
            known = {alert.fingerprint for alert in one.alerts} | {problem_name(key) for key in groups}
            if len(one.incidents) == 1:  # a key of several incidents means none of them
                known |= {group_name(hashlib.sha256(key.encode()).hexdigest()) for key in groups}
                known |= {hint_name(alert.hint) for alert in one.alerts if alert.hint}
            if one.incidents and known.intersection(names):
                return one.incidents[0]
        return None


def catalogue() -> Catalogue:
    """Two models: one in prod only, known by an alias and by a decomposed é; one in two places."""

    def model(*places: str, aliases: tuple[str, ...] = ()) -> Model:
        place: dict[str, Any] = {"targets": {"route": {"adapter": "memory"}}}
        return Model.model_validate({"aliases": aliases, "tier": 1, "environments": dict.fromkeys(places, place)})

    models = {
        "fraud-scorer": model("prod", aliases=("fraud_scorer", "fraude-e\u0301value")),
        "ranker": model("prod", "staging"),
    }
    return Catalogue(models, Policy(), {}, ())


def sources(**configs: Mapping[str, Any]) -> dict[str, AlertSource]:
    """Both sources with a token each; `generic={"environment": "staging"}` adds keys."""
    kinds: dict[str, tuple[Any, str]] = {
        "alertmanager": (alertmanager.SOURCE, "AM"),
        "generic": (generic.SOURCE, "GEN"),
    }
    made: dict[str, AlertSource] = {}
    for name, (kind, token) in kinds.items():
        keys = {"tokens": [{"env": token}], **configs.get(name, {})}
        made[name] = kind(kind.Config.model_validate(keys), TOKENS.get)
    return made


class Intake:
    """Receives messages and looks at them, as the engine would."""

    def __init__(self, **configs: Mapping[str, Any]) -> None:
        self.clock, self.ids = ManualClock(), CountingIds()
        self.memory = Memory(self.clock)
        absent = cast("Any", None)  # intake must not reach for these
        self.world = World(
            timeline=self.memory, inbox=self.memory, work=absent, shown=absent, clock=self.clock, ids=self.ids, log=absent,
            catalogue=catalogue(), sources=sources(**configs), targets={}, metrics={}, directory=absent, surfaces=(),
            renderer=absent, folds=Folds(self.memory), executor="test",
        )  # fmt: skip

    async def receive(self, source: str, body: bytes) -> str:
        stored, _ = await self.memory.receive(
            RawRequest(id=self.ids.ulid(), source=source, received_at=self.clock.now(), body=body)
        )
        return stored

    async def sent(self, source: str, body: bytes) -> InboundDone | None:
        """Receive one message and look once; None when it waits for another."""
        stored = await self.receive(source, body)
        await take(stored, self.world)
        return self.memory.done.get(stored)

    @property
    def incidents(self) -> list[str]:
        return [stream for stream in self.memory.streams if stream.startswith("incident/")]

    async def incident(self) -> Incident:
        """The only one."""
        (stream,) = self.incidents
        return await self.world.incident(stream)

    def types(self, stream: str) -> list[str]:
        return [row.entry.type for row in self.memory.streams.get(stream, [])]

    def close(self, stream: str, model: str = "model/prod/fraud-scorer") -> None:
        """End an incident as the flow does: both streams."""
        self.memory.put(stream, e.IncidentClosed(outcome="recovered", reason="Recovered."))
        self.memory.put(model, e.IncidentUnlinked(incident=stream, recovered=True))
