"""The world as a stage sees it: the ports, the catalogue, and folds kept warm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from bot.domain import incident as incidents
from bot.domain import ledger as ledgers
from bot.domain import orders as standing
from bot.domain.catalogue import Catalogue
from bot.domain.entries import Entry, PolicyLoaded, Recorded
from bot.domain.incident import Incident, Phase
from bot.domain.ledger import Ledger
from bot.domain.orders import Orders
from bot.errors import NotFound
from bot.ports import (
    ActionAdapter,
    AlertSource,
    Append,
    Authorizer,
    Clock,
    Completes,
    Directory,
    EvidenceTable,
    Ids,
    InboundDone,
    Inbox,
    Log,
    MetricSource,
    PagerDesk,
    Polls,
    Registry,
    Renderer,
    Said,
    SampleSource,
    Silences,
    Surface,
    SurfaceTable,
    Timeline,
    TrafficAdapter,
    Work,
    WorkTable,
    Write,
)


@dataclass(frozen=True, slots=True)
class Step:
    """What a stage gives back: entries for one or more streams, and what they depended on."""

    writes: tuple[Write, ...]
    given: Mapping[str, int] = field(default_factory=dict)
    said: tuple[Said, ...] = ()
    yields: bool = False  # an effect was made: hand the turn back to the engine
    until: datetime | None = None  # when it may no longer be written
    lanes: tuple[str, ...] = ()  # beside the advance, what is due for the incident from now on


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing to do before this time."""

    at: datetime


Outcome = Step | Later | None
POLICY = "system/policy"
PAGER_LANE, TICKET_LANE = "pager", "ticket"
FIRST = timedelta(seconds=1)  # a first card waits this long for its plan, so that it can name who is asked
SOON = timedelta(
    milliseconds=150
)  # what follows at once is told together, and does not get in the way of the next step
_TOLD_AFTER = {Phase.OPENED: FIRST, Phase.PLANNED: timedelta(0)}  # by the phase an entry is written in


class Folds:
    """Folds by stream, continued from where they were; at most `keep`, the least used dropped, closed incidents never kept."""

    def __init__(self, timeline: Timeline, keep: int = 2000) -> None:
        """Read from `timeline`."""
        self._timeline, self._keep = timeline, keep
        self._incidents: OrderedDict[str, Incident] = OrderedDict()
        self._ledgers: OrderedDict[str, Ledger] = OrderedDict()
        self._orders: dict[str, Orders] = {}

    async def incident(self, stream: str) -> Incident:
        """Give an incident as it is now. Raises NotFound."""
        known = self._incidents.get(stream)
        tail = await self._timeline.read(stream, known.version if known else 0)
        if known is None and not tail:
            message = f"There is no incident {stream.rpartition('/')[2]}."
            raise NotFound(message)
        return self._kept(incidents.fold(tail, known))

    def after(self, incident: Incident, recorded: Sequence[Recorded]) -> Incident | None:
        """Continue what is kept by what was just appended; None when somebody else's entries lie between, to be read."""
        for one in recorded:
            ledger = self._ledgers.get(one.stream)
            if ledger is not None and ledger.version + 1 == one.version:
                self._ledgers[one.stream] = ledgers.fold(one.stream, [one], ledger)
        own = [one for one in recorded if one.stream == incident.stream]
        if [one.version for one in own] != [*range(incident.version + 1, incident.version + 1 + len(own))]:
            return None
        return self._kept(incidents.fold(own, incident))

    def caught_up(self, entries: Sequence[Recorded]) -> Incident:
        """Fold a whole stream that was just read, from where it is kept."""
        stream = entries[0].stream
        known = self._incidents.get(stream)
        if known is not None and known.version > entries[-1].version:
            return known  # somebody read later than this
        return self._kept(incidents.fold(entries[known.version if known else 0 :], known))

    def _kept(self, folded: Incident) -> Incident:
        if folded.phase is Phase.CLOSED:
            self._incidents.pop(folded.stream, None)
        else:
            _remember(self._incidents, folded.stream, folded, self._keep)
        return folded

    async def ledger(self, stream: str) -> Ledger:
        """Give a model's or a resource's ledger; an empty one when nothing was written yet."""
        known = self._ledgers.get(stream)
        tail = await self._timeline.read(stream, known.version if known else 0)
        folded = ledgers.fold(stream, tail, known)
        _remember(self._ledgers, stream, folded, self._keep)
        return folded

    async def orders(self, stream: str) -> Orders:
        """Give what people ordered in one of the system's streams."""
        known = self._orders.get(stream)
        tail = await self._timeline.read(stream, known.version if known else 0)
        self._orders[stream] = standing.fold(stream, tail, known)
        return self._orders[stream]


def _remember(cache: OrderedDict[str, Any], key: str, value: Any, keep: int) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > keep:
        cache.popitem(last=False)


@dataclass(frozen=True)
class World:
    """Everything a stage may use. `executor` names this process; `owner` names one advance call."""

    timeline: Timeline
    inbox: Inbox
    work: WorkTable
    shown: SurfaceTable
    clock: Clock
    ids: Ids
    log: Log
    catalogue: Catalogue
    sources: Mapping[str, AlertSource]
    targets: Mapping[tuple[str, str, str], TrafficAdapter]  # (environment, model, target)
    metrics: Mapping[str, MetricSource]
    directory: Directory
    surfaces: tuple[Surface, ...]
    renderer: Renderer
    folds: Folds
    executor: str
    owner: str = ""
    authorizers: tuple[Authorizer, ...] = ()
    silences: Silences | None = None
    desk: PagerDesk | None = None
    polls: Mapping[str, Polls] = field(default_factory=dict)  # by source: what it would say now
    completes: Mapping[str, Completes] = field(
        default_factory=dict
    )  # by source: whom to ask for what messages leave out
    actions: Mapping[tuple[str, str, str], ActionAdapter] = field(default_factory=dict)  # (environment, model, action)
    registries: Mapping[str, Registry] = field(default_factory=dict)
    samples: Mapping[str, SampleSource] = field(default_factory=dict)
    kept: EvidenceTable | None = None
    observe: bool = False
    alone: bool = True  # no other process serves this timeline at the same time
    generation: int = 0  # the epoch of system/policy at which this process's files were the ones in force

    def owned(self) -> World:
        """Give the world of one advance call."""
        return replace(self, owner=f"{self.executor}/{self.ids.ulid()}")

    async def incident(self, stream: str) -> Incident:
        """Fold an incident."""
        return await self.folds.incident(stream)

    async def ledger(self, stream: str) -> Ledger:
        """Fold a model or a resource."""
        return await self.folds.ledger(stream)

    async def orders(self, stream: str) -> Orders:
        """Fold what people ordered: the switch, roles lent, terminals signed in."""
        return await self.folds.orders(stream)

    async def current(self) -> bool:
        """Say whether no other process loaded other files since; who works with old ones neither decides nor claims."""
        later = await self.timeline.read(POLICY, self.generation)
        return not any(isinstance(one.entry, PolicyLoaded) for one in later)

    def observes(self, model: str) -> bool:
        """Say whether Lastgood only decides and shows for this model."""
        said = self.catalogue.models[model].observe if model in self.catalogue.models else None
        return self.observe if said is None else said

    def target(self, incident: Incident, name: str) -> TrafficAdapter:
        """Give the adapter of one target of the incident's model."""
        return self.targets[incident.environment, incident.model, name]

    def follow(self, stream: str, at: datetime) -> tuple[Work, ...]:
        """Give the work that lets every surface follow an incident."""
        told = (Work(f"surface/{surface.lane_of(stream)}", stream, at) for surface in self.surfaces)
        return (*told, *([Work(PAGER_LANE, stream, at)] if self.desk is not None else []))

    async def append(
        self, incident: Incident, step: Step, *, wake: bool = False, inbound: Sequence[InboundDone] = ()
    ) -> list[Recorded]:
        """Write a step; surfaces follow, and `wake` asks for an advance."""
        now = self.clock.now()
        work = self.follow(incident.stream, now + _TOLD_AFTER.get(incident.phase, SOON))
        work = (*work, *(Work(lane, incident.stream, now) for lane in step.lanes))
        if wake:
            work = (*work, Work("advance", incident.stream, now))
        return await self.timeline.append(
            Append(
                writes=step.writes,
                given=step.given,
                work=work,
                said=step.said,
                inbound=tuple(inbound),
                until=step.until,
            )
        )


def write(incident: Incident, *entries: Entry) -> Write:
    """Write entries to the incident as it was read; entries that commute go in whatever happened since."""
    expect = None if all(entry.commutes for entry in entries) else incident.epoch
    return Write(incident.stream, entries, expect)


def to(stream: Ledger, *entries: Entry) -> Write:
    """Write entries to a model's or resource's stream as it was read."""
    return Write(stream.stream, entries, stream.epoch)
