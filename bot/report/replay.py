"""What a policy would have done over incidents that are over: a fold that simulates what follows from its own acts.

Facts are taken as they were stored, with two exceptions. What follows from time alone (`now`, `weekday`, `hour`,
`blackout`, `firing_for`, `breached`) moves on while an `auto` rule waits for its `for`. What follows from rollbacks
(`recent_rollbacks`, `auto_rollbacks_today`, `since_last_rollback`, `would_loop`, and the trust ladder) comes from the
rollbacks of this very replay, because another policy would have made others.

Three assumptions, all on the careful side. People do again what they did: a rollback they made then is made again where
they are asked or told. Where policy acted alone then and asks people now, they agree at that moment. A person moves a
rule up the trust ladder as soon as its evidence allows; it steps down by itself, as it does in service.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from bot.domain import calendar, history, trust
from bot.domain import entries as e
from bot.domain.facts import live
from bot.domain.incident import Incident, fold, model_stream
from bot.domain.ledger import Ledger, PastRollback
from bot.domain.policy import Bounds, Decision, Policy, decide
from bot.domain.roles import Trust
from bot.report.measures import episodes

Fate = Literal["helped", "false", "unknown", "asked", "told", "held"]
FATES: tuple[Fate, ...] = ("helped", "false", "unknown", "asked", "told", "held")
ALONE: frozenset[Fate] = frozenset(("helped", "false", "unknown"))
BRIEF = timedelta(minutes=10)  # what ends by itself within this needed no rollback
_OTHERS: Mapping[e.Mode, Fate] = {"approve": "asked", "notify": "told", "hold": "held"}
_VERDICTS: Mapping[bool | None, e.Verdict] = {True: "yes", False: "no", None: "cannot_tell"}


@dataclass(frozen=True, slots=True)
class Look:
    """One time policy decided: what it knew, and between which versions it was."""

    at: datetime
    facts: Mapping[str, Any]
    from_version: str = ""
    to_version: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """One incident as it went.

    `then` is what was decided last, `rolled_at` when a rollback began, `over_at` from when on there was nothing left to
    decide. `helps` says whether a rollback helped or would have; None means that nobody can tell.
    """

    id: str
    looks: tuple[Look, ...]
    then: e.Mode
    rolled_at: datetime | None = None
    over_at: datetime | None = None
    helps: bool | None = None
    cause: str = ""

    @property
    def at(self) -> datetime:
        """Give when policy was first asked."""
        return self.looks[0].at


@dataclass(frozen=True, slots=True)
class Replayed:
    """What this policy would have done about one incident. `saved` is the wait for people it would have spared."""

    past: Past
    decision: Decision
    at: datetime
    fate: Fate
    saved: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """What one rule, or all of them, would have come to. `unmeasured` helped, and no wait is recorded that it spared."""

    name: str
    fates: Mapping[Fate, int]
    saved: timedelta
    unmeasured: int

    @property
    def alone(self) -> int:
        """Give how often it acted alone."""
        return sum(self.fates.get(one, 0) for one in ALONE)


@dataclass(frozen=True, slots=True)
class Replay:
    """Every incident replayed, in order of time, and how many could not be."""

    done: tuple[Replayed, ...]
    undecided: int = 0
    order: tuple[str, ...] = ()

    @property
    def rules(self) -> list[Tally]:
        """Give a tally for each rule in the policy's order, those that never decided too; `none` when no rule matched."""
        names = dict.fromkeys((*self.order, *(one.decision.rule for one in self.done)))
        return [_tally(name, [one for one in self.done if one.decision.rule == name]) for name in names]

    @property
    def all(self) -> Tally:
        """Give the tally of all rules."""
        return _tally("in all", self.done)

    @property
    def then(self) -> Mapping[e.Mode, int]:
        """Give what was decided then, by mode."""
        return Counter(one.past.then for one in self.done)

    @property
    def changed(self) -> list[tuple[e.Mode, e.Mode, int]]:
        """Give what was done then, what is done now, and how often, where it differs; most frequent first."""
        pairs = Counter((one.past.then, one.decision.mode) for one in self.done)
        return [(then, now, n) for (then, now), n in pairs.most_common() if then != now]

    @property
    def weeks(self) -> list[tuple[date, Mapping[Fate, int]]]:
        """Give what came of each week, by its Monday in UTC, weeks without an incident included."""
        if not self.done:
            return []
        by_week: dict[date, Counter[Fate]] = {}
        for one in self.done:
            by_week.setdefault(_monday(one.past.at), Counter())[one.fate] += 1
        first, last = min(by_week), max(by_week)
        mondays = (first + timedelta(weeks=n) for n in range((last - first).days // 7 + 1))
        return [(monday, by_week.get(monday, Counter())) for monday in mondays]


def _monday(at: datetime) -> date:
    day = at.astimezone(UTC).date()
    return day - timedelta(days=day.weekday())


def _tally(name: str, done: Sequence[Replayed]) -> Tally:
    helped = [one for one in done if one.fate == "helped"]
    saved = sum((one.saved for one in helped if one.saved is not None), timedelta())
    return Tally(name, Counter(one.fate for one in done), saved, sum(one.saved is None for one in helped))


# ── the incidents of a timeline ───────────────────────────────────────────────────────────────────────────────────


def pasts(entries: Sequence[e.Recorded]) -> Iterator[Past | None]:
    """Give every episode of one incident's timeline as it went; None for one in which policy was never asked."""
    incident: Incident | None = None
    for n, episode in enumerate(episodes(entries)):
        looks: list[Look] = []
        then: e.Mode = "notify"
        for one in episode:
            incident = fold([one], incident)
            if isinstance(one.entry, e.PolicyDecided):
                looks.append(_look(one, one.entry, incident))
                then = one.entry.mode
        rolled = next((one.at for one in episode if isinstance(one.entry, e.RollbackClaimed)), None)
        last = incident
        if not looks or last is None:
            yield None
            continue
        over = rolled or last.closed_at
        name = f"{last.short}{f' episode {n + 1}' if n else ''}"
        yield Past(name, tuple(looks), then, rolled, over, _helps(last, episode[0].at, rolled))


def _look(one: e.Recorded, decided: e.PolicyDecided, incident: Incident) -> Look:
    plan = incident.plan
    return Look(one.at, live(decided.facts), plan.from_version if plan else "", plan.to_version if plan else "")


def _helps(incident: Incident, began: datetime, rolled: datetime | None) -> bool | None:
    """Say whether a rollback helped, by the third verdict; what ended by itself within minutes needed none."""
    if rolled is not None:
        return {"yes": True, "no": False}.get(incident.verdicts["recovered"])
    ended = incident.closed_at if incident.closed and incident.closed.outcome == "recovered_by_itself" else None
    return False if ended is not None and ended - began <= BRIEF else None


# ── replaying ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _House:
    """The replayed world: what this policy's own acts left behind, by model."""

    policy: Policy
    ledgers: dict[str, Ledger] = field(default_factory=dict)

    def ledger(self, stream: str, now: datetime) -> Ledger:
        """Give a model's ledger as it was at a time: rollbacks that began later are left out."""
        whole = self.ledgers.setdefault(stream, Ledger(stream))
        return replace(whole, rollbacks=tuple(one for one in whole.rollbacks if one.at <= now))

    def rungs(self, ledger: Ledger) -> dict[str, e.Rung]:
        """Give where each rule on the ladder stands for this model."""
        laddered = (rule.id for rule in self.policy.rules if rule.ladder)
        return {name: trust.rung(self.policy.trust, ledger.trust.get(name)) for name in laddered}

    def add(self, stream: str, rollback: PastRollback) -> None:
        """Keep a rollback, then move the rule that led to it as people and Lastgood would."""
        ledger = self.ledgers[stream]
        rollbacks = tuple(sorted((*ledger.rollbacks, rollback), key=lambda one: one.at))
        self.ledgers[stream] = self._moved(replace(ledger, rollbacks=rollbacks), rollback)

    def _moved(self, ledger: Ledger, rollback: PastRollback) -> Ledger:
        rule, ladder = rollback.rule, self.policy.trust
        if ladder is None or not any(one.id == rule and one.ladder for one in self.policy.rules):
            return ledger
        now = trust.rung(ladder, ledger.trust.get(rule))
        to = self._next(ladder, now, ledger, rollback)
        if to is None:
            return ledger
        moved = e.TrustMoved(rule=rule, rung=to, reason="replayed")
        return replace(ledger, trust={**ledger.trust, rule: moved}, trusted_at={**ledger.trusted_at, rule: rollback.at})

    @staticmethod
    def _next(ladder: Trust, now: e.Rung, ledger: Ledger, rollback: PastRollback) -> e.Rung | None:
        if rollback.verdict == "no":
            return trust.step_down(now)
        if now == trust.RUNGS[-1]:
            return None
        up = trust.RUNGS[trust.RUNGS.index(now) + 1]
        helped, harmful = trust.evidence(ledger.rollbacks, rollback.rule, ledger.trusted_at.get(rollback.rule))
        return up if trust.may_climb(ladder, now, up, helped, harmful).ok else None


def replay(policy: Policy, found: Iterable[Past | None]) -> Replay:
    """Replay incidents in order of time; what the policy did before bounds what it may do next."""
    everything = list(found)
    known = sorted((one for one in everything if one is not None), key=lambda one: one.at)
    house = _House(policy)
    done = tuple(_replayed(past, house) for past in known)
    return Replay(done, len(everything) - len(known), tuple(one.id for one in policy.rules))


def _replayed(past: Past, house: _House) -> Replayed:
    first = past.looks[0].facts
    stream = model_stream(str(first["environment"]), str(first["model"]))
    decision, at, look = _decided(past, stream, house)
    one = _ended(past, decision, at)
    if (began := _rolled(one)) is not None:
        mode = "auto" if decision.mode == "auto" else "approve"
        verdict = _VERDICTS[past.helps]
        house.add(stream, PastRollback(
            began, past.id, decision.rule, mode, look.from_version, look.to_version, verdict, (decision.rule,)
        ))  # fmt: skip
    return one


def _decided(past: Past, stream: str, house: _House) -> tuple[Decision, datetime, Look]:
    """Decide at every stored look, and in between when an `auto` rule said it may come true, until one acts alone."""
    ends = [*(one.at for one in past.looks[1:]), past.over_at]
    decision, at, look = None, past.at, past.looks[0]
    for look, end in zip(past.looks, ends, strict=True):
        at = look.at
        for _ in range(len(house.policy.rules) + 1):
            decision = _decide(look, at, stream, house)
            again = None if decision.due_in is None else at + decision.due_in
            if decision.mode == "auto" or again is None or (end is not None and again >= end):
                break
            at = again
        if decision is not None and decision.mode == "auto":
            return decision, at, look
    if decision is None:
        raise ValueError("an incident that is replayed was decided at least once")
    return decision, at, look


def _decide(look: Look, at: datetime, stream: str, house: _House) -> Decision:
    limits, ledger = house.policy.limits, house.ledger(stream, at)
    passed = (at - look.at).total_seconds()
    drawn = history.facts(ledger, look.from_version, look.to_version, at, limits.rollback_window)
    facts = {
        **look.facts,
        **calendar.facts(limits.blackouts, at),
        **{name: drawn[name] for name in ("recent_rollbacks", "auto_rollbacks_today", "since_last_rollback", "would_loop")},
        **_later(look.facts, passed),
    }  # fmt: skip
    return decide(house.policy, facts, Bounds(rungs=house.rungs(ledger)))


def _later(facts: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Give the facts that time alone moves on; what was unknown stays so."""
    firing, breached = facts.get("firing_for"), facts.get("breached")
    return {
        "firing_for": None if firing is None else firing + seconds,
        "breached": None if breached is None else {name: one + seconds for name, one in breached.items()},
    }


def _ended(past: Past, decision: Decision, at: datetime) -> Replayed:
    if decision.mode != "auto":
        return Replayed(past, decision, at, _OTHERS[decision.mode])
    if past.helps is None:
        return Replayed(past, decision, at, "unknown")
    if not past.helps:
        return Replayed(past, decision, at, "false")
    return Replayed(past, decision, at, "helped", _spared(past, at))


def _spared(past: Past, at: datetime) -> timedelta | None:
    """Give the wait for people that acting alone spares; nothing where nobody was waited for, None where none is recorded."""
    if past.then == "auto":
        return timedelta(0)
    return None if past.rolled_at is None else max(timedelta(0), past.rolled_at - at)


def _rolled(one: Replayed) -> datetime | None:
    """Give when a rollback would have begun in the replay, None when none would."""
    match one.decision.mode:
        case "auto":
            return one.at
        case "approve":
            return max(one.at, one.past.rolled_at) if one.past.rolled_at else None
        case "notify" if one.past.then != "auto":
            return one.past.rolled_at
        case _:
            return None


def as_json(found: Replay) -> dict[str, Any]:
    """Give what `policy replay --json` prints, beside where the incidents came from. Times are in seconds."""
    return {
        "incidents": len(found.done),
        "undecided": found.undecided,
        "rules": [_row(one) for one in found.rules],
        "all": _row(found.all),
        "changed": [{"then": then, "now": now, "incidents": n} for then, now, n in found.changed],
        "weeks": [{"monday": str(monday), **_counts(fates)} for monday, fates in found.weeks],
    }  # fmt: skip


def _row(one: Tally) -> dict[str, Any]:
    return {
        "rule": one.name,
        "alone": one.alone,
        **_counts(one.fates),
        "saved": one.saved.total_seconds(),
        "unmeasured": one.unmeasured,
    }


def _counts(fates: Mapping[Fate, int]) -> dict[str, int]:
    return {name: fates.get(name, 0) for name in FATES}
