"""The model's stream as a fold: what served when, what is quarantined, which incident and which rollback are open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from bot.domain import entries as e
from bot.domain import words
from bot.domain.alert import Alert
from bot.domain.plan import Candidate
from bot.domain.traffic import TrafficSplit

CHANGES = 50  # told by senders, kept in the fold


@dataclass(frozen=True, slots=True)
class Served:
    """One stretch in which a target gave a version traffic without a break; `until` is None while it still does."""

    target: str
    version: str
    share: Decimal  # percent, the latest seen
    since: datetime
    until: datetime | None = None
    alerted: bool = False
    by: str = "observed"


@dataclass(frozen=True, slots=True)
class PastRollback:
    """One claimed rollback of this model: by which rule, how it was allowed, and how it ended."""

    at: datetime
    incident: str
    rule: str
    mode: str  # auto | approve | break_glass
    from_version: str
    to_version: str
    verdict: e.Verdict = "not_yet"
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """Everything one model's stream says now."""

    stream: str
    version: int = 0
    epoch: int = 0
    served: tuple[Served, ...] = ()
    splits: Mapping[str, TrafficSplit] = field(default_factory=lambda: MappingProxyType({}))
    open_incident: str | None = None
    last_incident: str | None = None
    last_closed_at: datetime | None = None
    lock: str | None = None
    released_at: datetime | None = None
    quarantined: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    rollbacks: tuple[PastRollback, ...] = ()  # oldest first
    trust: Mapping[str, e.TrustMoved] = field(default_factory=lambda: MappingProxyType({}))  # by rule
    trusted_at: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    leftovers: Mapping[tuple[str, str], e.LeftoverOpened] = field(default_factory=lambda: MappingProxyType({}))
    grades: Mapping[str, e.RollbackGraded] = field(default_factory=lambda: MappingProxyType({}))  # by incident
    followed: Mapping[str, datetime] = field(
        default_factory=lambda: MappingProxyType({})
    )  # when each follow-up was last done
    digests: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # what each version served with
    aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # the registry's, as last seen
    changes: tuple[tuple[datetime, Alert], ...] = ()  # what senders told of, oldest first, the last `CHANGES`
    readiness: e.ReadinessJudged | None = None
    ready_at: datetime | None = None
    at: datetime | None = None

    def first_seen(self, version: str) -> datetime | None:
        """Give when a version was first seen to serve."""
        return min((one.since for one in self.served if one.version == version), default=None)

    def serving(self) -> tuple[str, ...]:
        """Give the versions that have traffic now, newest first: by when they were first seen."""
        now = {one.version for one in self.served if one.until is None}
        return tuple(sorted(now, key=lambda name: self.first_seen(name) or datetime.max, reverse=True))


def fold(stream: str, recorded: Iterable[e.Recorded], ledger: Ledger | None = None) -> Ledger:
    """Fold a model's entries, continuing from `ledger` when one is given."""
    ledger = ledger or Ledger(stream)
    for one in recorded:
        ledger = replace(_next(ledger, one.entry, one.at), version=one.version, epoch=one.epoch, at=one.at)
    return ledger


def _next(ledger: Ledger, entry: e.Entry, at: datetime) -> Ledger:
    handler = _HANDLERS.get(type(entry))
    return handler(ledger, entry, at) if handler else ledger


def _linked(ledger: Ledger, entry: e.IncidentLinked, _: datetime) -> Ledger:
    return replace(_alerted(ledger, entry), open_incident=entry.incident, last_incident=entry.incident)


def _unlinked(ledger: Ledger, _: e.IncidentUnlinked, at: datetime) -> Ledger:
    return replace(ledger, open_incident=None, last_closed_at=at)


def _taken(ledger: Ledger, entry: e.LockTaken, at: datetime) -> Ledger:
    return replace(ledger, lock=entry.incident, rollbacks=(*ledger.rollbacks, *_counted(entry, at)))


def _released(ledger: Ledger, _: e.LockReleased, at: datetime) -> Ledger:
    return replace(ledger, lock=None, released_at=at)


def _ended(ledger: Ledger, entry: e.RollbackJudged, _: datetime) -> Ledger:
    return replace(ledger, rollbacks=_judged(ledger.rollbacks, entry))


def _trusted(ledger: Ledger, entry: e.TrustMoved, at: datetime) -> Ledger:
    trust = MappingProxyType({**ledger.trust, entry.rule: entry})
    return replace(ledger, trust=trust, trusted_at=MappingProxyType({**ledger.trusted_at, entry.rule: at}))


def _quarantined(ledger: Ledger, entry: e.VersionQuarantined, _: datetime) -> Ledger:
    return replace(ledger, quarantined=MappingProxyType({**ledger.quarantined, entry.version: entry.reason}))


def _freed(ledger: Ledger, entry: e.VersionReleased, _: datetime) -> Ledger:
    left = {name: why for name, why in ledger.quarantined.items() if name != entry.version}
    return replace(ledger, quarantined=MappingProxyType(left))


def _left(ledger: Ledger, entry: e.LeftoverOpened, _: datetime) -> Ledger:
    return replace(ledger, leftovers=MappingProxyType({**ledger.leftovers, (entry.incident, entry.name): entry}))


def _cleared(ledger: Ledger, entry: e.LeftoverCleared, _: datetime) -> Ledger:
    gone = (entry.incident, entry.name)
    return replace(
        ledger, leftovers=MappingProxyType({key: one for key, one in ledger.leftovers.items() if key != gone})
    )


def _graded(ledger: Ledger, entry: e.RollbackGraded, _: datetime) -> Ledger:
    return replace(ledger, grades=MappingProxyType({**ledger.grades, entry.incident: entry}))


def _followed(ledger: Ledger, entry: e.FollowUpEnded, at: datetime) -> Ledger:
    done = {entry.name: at} if entry.outcome in ("done", "unknown") else {}
    return replace(ledger, followed=MappingProxyType({**ledger.followed, **done}))


def _could(ledger: Ledger, entry: e.ReadinessJudged, at: datetime) -> Ledger:
    return replace(ledger, readiness=entry, ready_at=at)


def _counted(entry: e.LockTaken, at: datetime) -> tuple[PastRollback, ...]:
    """Give the rollback a lock on the model stands for; a resource's lock, and one of an older format, is none."""
    if not entry.mode:
        return ()
    return (PastRollback(at, entry.incident, entry.rule, entry.mode, entry.from_version, entry.to_version),)


def _judged(rollbacks: tuple[PastRollback, ...], entry: e.RollbackJudged) -> tuple[PastRollback, ...]:
    """Write a verdict to the newest rollback of its incident."""
    newest = max((n for n, one in enumerate(rollbacks) if one.incident == entry.incident), default=-1)
    return tuple(
        replace(one, verdict=entry.verdict, rules=entry.rules) if n == newest else one
        for n, one in enumerate(rollbacks)
    )


def _served(ledger: Ledger, entry: e.VersionServed, at: datetime) -> Ledger:
    rows: list[Served] = []
    going = {name: share for name, share in entry.split.weights.items() if share > 0}
    for row in ledger.served:
        if row.target != entry.target or row.until is not None:
            rows.append(row)
        elif row.version in going:
            rows.append(replace(row, share=going.pop(row.version)))
        else:
            rows.append(replace(row, until=at))
    rows += [Served(entry.target, name, share, at, by=entry.by) for name, share in going.items()]
    splits = MappingProxyType({**ledger.splits, entry.target: entry.split})
    digests = MappingProxyType({**ledger.digests, **entry.digests}) if entry.digests else ledger.digests
    return replace(ledger, served=tuple(rows), splits=splits, digests=digests)


def _aliased(ledger: Ledger, entry: e.RegistryChanged, _: datetime) -> Ledger:
    left = {name: version for name, version in ledger.aliases.items() if name != entry.alias}
    return replace(
        ledger, aliases=MappingProxyType({**left, **({entry.alias: entry.version} if entry.version else {})})
    )


def _changed(ledger: Ledger, entry: e.ChangeNoticed, _: datetime) -> Ledger:
    return replace(ledger, changes=(*ledger.changes, (entry.alert.starts_at, entry.alert))[-CHANGES:])


def _alerted(ledger: Ledger, entry: e.IncidentLinked) -> Ledger:
    blamed = entry.version or next(iter(ledger.serving()), None)
    rows = tuple(
        replace(row, alerted=True) if row.until is None and row.version == blamed else row for row in ledger.served
    )
    return replace(ledger, served=rows)


_HANDLERS: dict[type[e.Entry], Callable[..., Ledger]] = {
    e.VersionServed: _served, e.IncidentLinked: _linked, e.IncidentUnlinked: _unlinked, e.LockTaken: _taken,
    e.RollbackJudged: _ended, e.TrustMoved: _trusted, e.LockReleased: _released, e.VersionQuarantined: _quarantined,
    e.VersionReleased: _freed, e.LeftoverOpened: _left, e.LeftoverCleared: _cleared, e.RollbackGraded: _graded,
    e.RegistryChanged: _aliased, e.ChangeNoticed: _changed, e.ReadinessJudged: _could, e.FollowUpEnded: _followed,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """The versions a plan is about. `good` is None when nothing can be gone back to; `candidates` say why."""

    bad: str | None
    good: str | None
    observed: bool
    since: datetime | None
    until: datetime | None
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the choice rests on beside the ledger: the versions a target can serve (newest first), and what was asked."""

    versions: Sequence[str]
    serving: Mapping[str, Decimal]
    alert_version: str | None
    asked: str | None
    last_good: str | None
    soak: timedelta
    now: datetime
    against: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # what a registry says, by version
    among: frozenset[str] | None = None  # the only versions that are wanted, None for any


def choose(ledger: Ledger, wanted: Wanted) -> Choice:
    """Choose bad and good.

    Bad is the alert's version if it serves, else the newest serving. Good is the version asked for; else the newest
    other version that served for `soak` without an alert; else the configured `last_good`; else the only other
    configured version. The last two are marked as not observed serving.
    """
    bad = _bad(ledger, wanted)
    others = [name for name in wanted.versions if name != bad]
    soaked = {name: stretch for name in others if (stretch := _soaked(ledger, name, wanted)) is not None}
    good = _good(ledger, wanted, others, soaked)
    stretch = soaked.get(good) if good else None
    candidates = tuple(_verdict(name, good, ledger, wanted, soaked) for name in others)
    return Choice(
        bad,
        good,
        stretch is not None,
        stretch.since if stretch else None,
        stretch.until if stretch else None,
        candidates,
    )


def _bad(ledger: Ledger, wanted: Wanted) -> str | None:
    going = [name for name in wanted.versions if wanted.serving.get(name, Decimal(0)) > 0]
    if wanted.alert_version in going:
        return wanted.alert_version
    going = [name for name in going if name != wanted.asked]
    order = {name: -at for at, name in enumerate(wanted.versions)}
    floor = datetime.min.replace(tzinfo=wanted.now.tzinfo)
    return max(going, key=lambda name: (ledger.first_seen(name) or floor, order[name]), default=None)


def _good(ledger: Ledger, wanted: Wanted, others: list[str], soaked: Mapping[str, Served]) -> str | None:
    wanted_ones = [name for name in others if wanted.among is None or name in wanted.among]
    allowed = [name for name in wanted_ones if name not in ledger.quarantined and name not in wanted.against]
    if wanted.asked:
        return wanted.asked if wanted.asked in allowed else None
    if ready := [name for name in allowed if name in soaked]:
        return max(ready, key=lambda name: (ledger.first_seen(name) or wanted.now, -others.index(name)))
    if wanted.last_good in allowed:
        return wanted.last_good
    if wanted.among is not None:
        return next(iter(allowed), None)  # what was asked for by its tags need not have served
    return allowed[0] if len(others) == 1 and allowed else None


def _soaked(ledger: Ledger, version: str, wanted: Wanted) -> Served | None:
    good = [
        row
        for row in ledger.served
        if row.version == version and not row.alerted and (row.until or wanted.now) - row.since >= wanted.soak
    ]
    return max(good, key=lambda row: row.since, default=None)


def _verdict(name: str, good: str | None, ledger: Ledger, wanted: Wanted, soaked: Mapping[str, Served]) -> Candidate:
    if name in ledger.quarantined:
        return Candidate(version=name, chosen=False, reason=f"quarantined: {ledger.quarantined[name]}")
    if name in wanted.against:
        return Candidate(version=name, chosen=False, reason=wanted.against[name])
    if wanted.among is not None and name not in wanted.among:
        return Candidate(version=name, chosen=False, reason="without the tags that are wanted")
    if name in soaked:
        length = words.span((soaked[name].until or wanted.now) - soaked[name].since)
        reason = f"served {length} without an alert"
    elif name == wanted.last_good:
        reason = "configured as last_good, not observed serving"
    elif ledger.first_seen(name):
        reason = f"served, but never {words.span(wanted.soak)} without an alert"
    else:
        reason = "not observed serving"
    return Candidate(version=name, chosen=name == good, reason=reason)
