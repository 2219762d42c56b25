"""Looks at a model now and then: what serves is written down when it changed, and a breach nobody alerted about is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bot.domain import extract, recovery, words
from bot.domain.alert import Alert, Severity
from bot.domain.entries import Entry, VersionServed
from bot.domain.incident import Incident
from bot.domain.ledger import Ledger
from bot.domain.model import Sli
from bot.domain.registry import Shelf
from bot.domain.sli import Measurement, SliSample
from bot.domain.sli_query import asks
from bot.domain.traffic import TrafficSplit
from bot.errors import AdapterError, Conflict
from bot.flow.facts import OWN
from bot.flow.intake import notice
from bot.flow.samples import measured
from bot.flow.shelf import changed, look
from bot.flow.targets import CALL, within
from bot.flow.world import World, to
from bot.ports import Append, TrafficAdapter, Work

EVERY = timedelta(seconds=30)
IN_A_ROW = 3
UNSEEN = 3 * EVERY  # a longer time without a look breaks a row
SLI_WITHIN = timedelta(seconds=5)
FLOOR = 1.0  # requests; a sample of fewer, or of an unknown number, is never a breach


@dataclass(slots=True)
class _Row:
    """The latest looks at one SLI. `breached_since` is the first breached look after a good one."""

    last: Measurement | None = None
    verdict: str = "unknown"
    length: int = 0
    breached_since: datetime | None = None

    def previous(self, now: datetime) -> Measurement | None:
        """Give the look before, None when it is too old to compare with: then the row begins anew."""
        if self.last is not None and now - self.last.at > UNSEEN:
            self.last, self.length, self.breached_since = None, 0, None
        return self.last

    def add(self, look: SliSample) -> None:
        """Take the next look."""
        self.last = look.measurement
        self.length = self.length + 1 if look.verdict == self.verdict else 1
        self.verdict = look.verdict
        if look.verdict == "good":
            self.breached_since = None
        elif look.verdict == "breached":
            self.breached_since = self.breached_since or look.measurement.at

    def plain(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        return {
            "last": self.last.model_dump(mode="json") if self.last else None, "verdict": self.verdict, "length": self.length,
            "breached_since": self.breached_since.isoformat() if self.breached_since else None,
        }  # fmt: skip

    def reached(self, verdict: str) -> bool:
        """Say whether enough looks in a row came out like this."""
        return self.verdict == verdict and self.length >= IN_A_ROW


@dataclass(slots=True)
class Looks:
    """What one process remembers of its looks at SLIs, by model stream and SLI. A restart counts from nothing, which is only slower."""

    rows: dict[tuple[str, str], _Row] = field(default_factory=dict)

    def row(self, stream: str, sli: str) -> _Row:
        """Give the row of one SLI."""
        return self.rows.setdefault((stream, sli), _Row())

    def told(self, stream: str) -> str:
        """Write the rows of one model as JSON, for the replica that looks next."""
        return json.dumps({sli: row.plain() for (name, sli), row in self.rows.items() if name == stream})

    @classmethod
    def heard(cls, stream: str, text: str) -> Looks:
        """Read what another replica wrote; nothing when it wrote nothing."""
        looks = cls()
        for sli, row in json.loads(text or "{}").items():
            last = Measurement.model_validate(row["last"]) if row["last"] else None
            since = datetime.fromisoformat(row["breached_since"]) if row["breached_since"] else None
            looks.rows[stream, sli] = _Row(last, row["verdict"], row["length"], since)
        return looks


async def observe(stream: str, world: World, looks: Looks | None = None) -> datetime:
    """Look at one model in one environment; give when to look again.

    A target claimed by a rollback is left to it. `looks` remembers the SLIs; without it only what serves is looked at.
    """
    again = world.clock.now() + EVERY
    ledger = await world.ledger(stream)
    if ledger.lock is None and not await _write_down(ledger, world):
        return world.clock.now() + timedelta(seconds=1)  # something else was written about this model: look again
    if looks is not None:
        await _listen(stream, world, looks)
    return again


def _place(stream: str) -> tuple[str, str]:
    _, environment, model = stream.split("/", 2)
    return environment, model


# ── what serves ───────────────────────────────────────────────────────────────────────────────────────────────────


async def _write_down(ledger: Ledger, world: World) -> bool:
    """Write down what serves where that changed; say False when something else was written about the model meanwhile."""
    own = {name: one for (*place, name), one in world.targets.items() if tuple(place) == _place(ledger.stream)}
    splits = await asyncio.gather(*(_split(ledger.stream, name, one, world) for name, one in own.items()))
    place, model = _place(ledger.stream)
    described = world.catalogue.models.get(model)
    environment = described.environments.get(place) if described else None
    shelf = await look(world, environment)
    seen: list[Entry] = [
        VersionServed(target=name, split=split, digests=_digests(split, shelf))
        for name, split in zip(own, splits, strict=True)
        if split is not None and not _same(ledger.splits.get(name), split)
    ]
    if shelf is not None and environment is not None and environment.registry is not None:
        seen += changed(shelf, environment.registry, ledger)
    if not seen:
        return True
    try:
        # A plan that waits was made for what served before: it is voided now, not when somebody presses.
        waits = (Work("advance", ledger.open_incident, world.clock.now()),) if ledger.open_incident else ()
        await world.timeline.append(Append(writes=(to(ledger, *seen),), work=waits))
    except Conflict:
        return False
    return True


def _digests(split: TrafficSplit, shelf: Shelf | None) -> dict[str, str]:
    """Give what each version with traffic is, as far as a registry says."""
    going = [name for name, share in split.weights.items() if share > 0]
    known = shelf.versions if shelf else {}
    return {name: digest for name in going if name in known and (digest := known[name].digest)}


async def _split(stream: str, target: str, adapter: TrafficAdapter, world: World) -> TrafficSplit | None:
    try:
        return (await within(CALL, adapter.read(), world.clock)).split
    except (AdapterError, TimeoutError) as error:
        why = str(error) or f"no answer within {words.span(CALL)}"
        world.log.warning("observe.unreadable", model=_place(stream)[1], target=target, error=why)
        return None


def _same(before: TrafficSplit | None, now: TrafficSplit) -> bool:
    return before is not None and all(before.share(n) == now.share(n) for n in {*before.weights, *now.weights})


# ── breaches nobody alerted about ─────────────────────────────────────────────────────────────────────────────────


async def _listen(stream: str, world: World, looks: Looks) -> None:
    """Raise an alert of Lastgood's own where an SLI is breached in three looks in a row, and end it where three are good.

    While somebody else's alert has an incident open only what Lastgood raised itself is looked at, so that it can end.
    """
    ledger = await world.ledger(stream)
    incident = await world.incident(ledger.open_incident) if ledger.open_incident else None
    own = {alert.sli or "": alert for alert in incident.firing if alert.source == OWN} if incident else {}
    slis = _slis(stream, world)
    asked = {name: sli for name, sli in slis.items() if name in own or _quiet(incident)}
    await asyncio.gather(*(_look(stream, name, sli, world, looks) for name, sli in asked.items()))
    ended = [one for name, one in own.items() if name not in slis or looks.row(stream, name).reached("good")]
    began = [
        _alert(stream, name, sli, looks.row(stream, name))
        for name, sli in asked.items()
        if name not in own and looks.row(stream, name).reached("breached")
    ]
    now = world.clock.now()
    news = [*began, *(one.but(status="resolved", ends_at=now) for one in ended)]
    if not news:
        return
    try:
        await notice(news, world)
    except Conflict:
        world.log.warning("observe.unwritten", model=_place(stream)[1], error="the model's streams keep moving on")


def _quiet(incident: Incident | None) -> bool:
    """Say whether nobody but Lastgood is the reason for an open incident."""
    return incident is None or (bool(incident.alerts) and all(one.source == OWN for one in incident.alerts.values()))


def _slis(stream: str, world: World) -> Mapping[str, Sli]:
    """Give the SLIs of the whole service: one of a version or a cohort is asked about where that is known."""
    environment, model = _place(stream)
    known = world.catalogue.models.get(model)
    place = known.environments.get(environment) if known else None
    every = place.slis if place else {}
    return {
        name: sli
        for name, sli in every.items()
        if not asks(sli.settings, "version") and not asks(sli.settings, "cohort")
    }


async def _look(stream: str, name: str, sli: Sli, world: World, looks: Looks) -> None:
    row = looks.row(stream, name)
    measurement = await measured(world, sli.source, sli.settings, row.previous(world.clock.now()), SLI_WITHIN)
    look = recovery.sample(name, sli, measurement, FLOOR)
    row.add(look)
    if look.verdict == "unknown" and row.length == 2:  # the first look of a counter is always unknown; said once a row
        world.log.warning("observe.sli_unknown", model=_place(stream)[1], sli=name, reason=look.sentence)


def _alert(stream: str, name: str, sli: Sli, row: _Row) -> Alert:
    """Give the alert Lastgood raises; its start stays that of the breach, so that one breach is told once."""
    environment, model = _place(stream)
    if row.last is None or row.breached_since is None:
        raise ValueError("a breach was looked at")
    said = recovery.sample(name, sli, row.last, FLOOR).sentence
    return Alert(
        source=OWN, fingerprint=extract.fingerprint(OWN, f"silent:{environment}/{model}/{name}"), status="firing",
        severity=Severity.WARNING, model=model, environment=environment, sli=name, value=row.last.value,
        threshold=sli.objective, starts_at=row.breached_since, summary=f"No alert came: {said.rstrip('.')}",
    )  # fmt: skip
