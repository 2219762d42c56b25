"""Reading a site's timeline for people and scripts, without the bot: found, folded, and written line by line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from bot import terminal
from bot.clock import SystemClock
from bot.config import environment
from bot.domain import access, words
from bot.domain import orders as standing
from bot.domain.alert import Alert
from bot.domain.entries import ApprovalRefused, GlassBroken, PlanEscalated, Recorded, ReviewDone, VersionServed
from bot.domain.incident import Incident, Phase, Vote, fold
from bot.domain.ledger import Ledger, Served
from bot.domain.ledger import fold as fold_ledger
from bot.domain.orders import LOGINS, SWITCH, Orders
from bot.domain.plan import Plan
from bot.domain.roles import MEMBER
from bot.domain.traffic import TrafficSplit
from bot.errors import LastgoodError
from bot.report import facts, story
from bot.shapes import meant
from bot.slack.headline import subject_of
from bot.store.place import place_of
from bot.store.schema import exists, migrate
from bot.store.timeline import Store
from bot.store.verify import Report
from bot.terminal import local, row

Found = TypeVar("Found")
Name = Callable[[str], str]
Deciders = dict[tuple[str, str, datetime], str]


def read(work: Callable[[Store], Coroutine[Any, Any, Found]]) -> Found:
    """Run something on the site's database without starting, or even importing, the bot."""
    url = environment().database
    place = place_of(url)
    if not exists(place):
        message = f"There is no database {place.name}. `lastgood serve` makes one; LASTGOOD_DATABASE_URL names another."
        raise LastgoodError(message)
    migrate(url)

    async def inside() -> Found:
        async with Store(url, SystemClock()) as store:
            return await work(store)

    return asyncio.run(inside())


async def find(store: Store, suffix: str) -> tuple[Incident, list[Recorded]]:
    """Give the one incident whose id ends like this, and its entries."""
    streams = await store.ending(suffix.strip().rpartition("/")[2])
    if not streams:
        message = f"No incident ends in {suffix}. `lastgood incident list --all` shows them."
        raise LastgoodError(message)
    found = [await store.read(stream) for stream in streams]
    if len(found) > 1:
        folds = [fold(entries) for entries in found]
        rows = [
            f"  {one.id}  {one.model} in {one.environment}, {local(one.opened_at, '%d %b %H:%M %Z')}" for one in folds
        ]
        message = "\n".join([f"{len(folds)} incidents end in {suffix}. Give more characters:", *rows])
        raise LastgoodError(message)
    return fold(found[0]), found[0]


async def names(store: Store) -> Name:
    """Give how people are called, as far as that was told."""
    known = await store.everybody()
    return lambda user: known.get(user, user)


async def everything(store: Store, *, open_only: bool) -> list[str]:
    """Give every incident stream, newest first."""
    streams: list[str] = []
    while page := await store.incidents(streams[-1] if streams else None, open_only=open_only):
        streams += page
    return streams


def line_of(incident: Incident) -> str:
    """Write one incident as a line of the list."""
    since = local(incident.opened_at, "%d %b %H:%M %Z")
    return f"{incident.short}  {story.state(incident)[0]:<13}  {subject_of(incident)} · {incident.environment}  since {since}"


@dataclass(frozen=True, slots=True)
class Seen:
    """One incident as it was read, and what the house says around it: the switch, the sign-ins, the names, the time."""

    incident: Incident
    entries: Sequence[Recorded]
    name: Name
    switch: Orders
    logins: Sequence[Recorded]
    now: datetime

    def put(self, text: str) -> str:
        """Put names and local times into a sentence."""
        return words.put(text, self.name, local)


async def seen(store: Store, suffix: str) -> Seen:
    """Read one incident and what stands around it."""
    incident, entries = await find(store, suffix)
    switch = standing.fold(SWITCH, await store.read(SWITCH))
    return Seen(incident, entries, await names(store), switch, await store.read(LOGINS), SystemClock().now())


def shown(one: Seen) -> list[str]:
    """Write an incident in the order of a card: wrong, proposed, who may not, approved, proven, next."""
    incident = one.incident
    return [
        *begun(one),
        *_approvals(one),
        *_refusals(one.entries, one.name),
        *_aside(one),
        *_verdicts(incident, one.put),
        row("next", one.put(facts.next_sentence(incident))),
        row("more", f"lastgood timeline show {incident.short} · lastgood incident explain {incident.short}"),
    ]


def asked(one: Seen) -> list[str]:
    """Write what a person must have read before they approve: what is wrong, what is proposed, what happens on failure."""
    plan = one.incident.plan
    failing = story.ON_FAILURE[plan.on_failure].format(good=plan.to_version) if plan else ""
    return [*begun(one), *([row("on failure", failing)] if failing else []), *_approvals(one), *_aside(one)]


def begun(one: Seen) -> list[str]:
    """Write the state, what is wrong, what is proposed, and who has no vote on it."""
    incident = one.incident
    head = f"{story.state(incident)[0]}  {subject_of(incident)} · {incident.environment}"
    since = f"since {local(incident.opened_at, '%d %b %H:%M %Z')}"
    gap = max(2, terminal.WIDTH - len(head) - len(since))
    return [
        f"{head}{' ' * gap}{since}",
        *_wrong(incident),
        *_doubt(incident),
        *([row("proposed", one.put(_proposed(incident.plan)))] if incident.plan else []),
        *_without_vote(incident, one.name),
    ]


def _doubt(incident: Incident) -> list[str]:
    return [row("doubt", incident.decision.doubt)] if incident.decision and incident.decision.doubt else []


def _without_vote(incident: Incident, name: Name) -> list[str]:
    out = ", ".join(f"{name(person)} {did}" for person, did in access.barred(incident.plan).items())
    return [row("no vote", out)] if out else []


def _approvals(one: Seen) -> list[str]:
    said = ", ".join(_vote(one, vote) for vote in one.incident.votes)
    return [row("approved", said)] if said else []


def _vote(one: Seen, vote: Vote) -> str:
    return f"{one.name(vote.person)} ({vote.role}) {local(vote.at)}{_proof(one, 'approve', vote, vote.at)}"


class Signed(Protocol):
    """What a person did to a plan, by which way in, and what proves it: a vote or a broken glass."""

    @property
    def person(self) -> str:
        """Who."""

    @property
    def plan(self) -> str:
        """The whole hash of the plan."""

    @property
    def via(self) -> str:
        """The way in."""

    @property
    def request(self) -> Mapping[str, str]:
        """What travelled with the press."""


def _proof(one: Seen, act: str, did: Signed, at: datetime) -> str:
    """Say of what was done in a terminal whether its signature holds; Slack signs the rest."""
    if did.via != access.TERMINAL:
        return ""
    from bot.domain import proof

    subject = proof.act_on(act, one.incident.id, did.plan)
    holds = proof.proven(did.request, subject, did.person, at, one.logins)
    where = words.plain(did.request.get("terminal", "a terminal"), 60)
    return f" on {where}, signature {'holds' if holds else 'DOES NOT HOLD'}"


def _glass(one: Seen) -> list[str]:
    """Write who acted alone, each time it was done."""
    return [
        row(
            "glass", f"{one.name(did.person)} ({did.role}) {local(found.at)}{_proof(one, 'break_glass', did, found.at)}"
        )
        for found in one.entries
        if isinstance(did := found.entry, GlassBroken)
    ]


def _aside(one: Seen) -> list[str]:
    """Write what people ordered beside the votes, as far as it holds now."""
    incident = one.incident
    off = "" if incident.phase is Phase.CLOSED else one.switch.off(incident.model)
    snoozed = incident.snoozed_until is not None and incident.snoozed_until > one.now
    told = [
        entry.reason for found in one.entries
        if isinstance(entry := found.entry, PlanEscalated) and incident.plan and entry.plan == incident.plan.id
    ]  # fmt: skip
    return [
        *([row("autopilot", one.put(off))] if off else []),
        *([row("snoozed", one.put(_snoozed(incident)))] if snoozed else []),
        *(row("escalated", one.put(reason)) for reason in told),
        *_glass(one),
        *(row("review", one.put(sentence)) for sentence in _review(one)),
    ]


def _snoozed(incident: Incident) -> str:
    until = words.moment(incident.snoozed_until) if incident.snoozed_until else ""
    return f"until {until}{f' by {words.person(incident.snoozed_by)}' if incident.snoozed_by else ''}"


def _review(one: Seen) -> list[str]:
    """Say what was done behind broken glass: what still has to be reviewed, else who reviewed it."""
    if one.incident.review is not None:
        return [one.incident.review.sentence()]
    done = [found.entry.sentence() for found in one.entries if isinstance(found.entry, ReviewDone)]
    return done[-1:]


def _wrong(incident: Incident) -> list[str]:
    alert = min(incident.alerts.values(), key=lambda one: one.starts_at, default=None)
    if alert is None:
        return []
    subject = alert.summary or alert.labels.get("alertname") or alert.fingerprint
    return [row("wrong", f'{words.plain(alert.source, 60).capitalize()} says: "{words.plain(subject)}"')]


def _proposed(plan: Plan) -> str:
    seen = "" if plan.observed_serving else f"; {plan.to_version} was not observed serving"
    targets = words.listed(step.target for step in plan.steps if step.whole)
    return f"{words.change(plan.from_version, plan.to_version)} on {targets}, plan {plan.short}{seen}"


def _refusals(entries: Sequence[Recorded], name: Name) -> list[str]:
    refused = {one.entry.person: one.entry.reason for one in entries if isinstance(one.entry, ApprovalRefused)}
    people = ", ".join(f"{name(person)} ({reason.replace('_', ' ')})" for person, reason in refused.items())
    return [row("refused", people)] if people else []


def _verdicts(incident: Incident, put: Name) -> list[str]:
    from bot.report.postmortem import verdicts

    answers = list(incident.verdicts.values())
    return [
        terminal.wrapped(
            f"{'' if n else 'verdicts':<11}{terminal.MARKS[answer]} {said['name'].lower():<14}", put(said["evidence"])
        )
        for n, (answer, said) in enumerate(zip(answers, verdicts(incident), strict=True))
    ]


def newest_first(served: Sequence[Served]) -> list[Served]:
    """Order what served, of two at one time the later written first."""
    return sorted(served, key=lambda one: one.since)[::-1]


async def model_streams(store: Store, model: str, env: str) -> list[str]:
    """Find a model's streams, every model's without a name; one nobody has seen is refused with the ones there are."""
    streams = [
        stream for (stream,) in await store.query("SELECT DISTINCT stream FROM timeline WHERE stream LIKE 'model/%'")
    ]
    parts = [(stream, *stream.split("/", 2)[1:]) for stream in streams]
    known = sorted({name for _, _, name in parts})
    if model and known and model not in known:
        message = f"The timeline knows no model `{model}`. {meant(model, known)}"
        raise LastgoodError(message)
    return [stream for stream, place, name in parts if model in ("", name) and env in ("", place)]


async def decided_by(store: Store, stream: str, name: Name) -> str:
    """Name the incident and the people whose decision a change of version was."""
    votes = fold(await store.read(stream)).votes
    people = " + ".join(name(vote.person) for vote in votes) or "on policy"
    return f"rollback {words.short(stream)}, {people}"


def moment(text: str) -> datetime:
    """Read a time as people write it: of today, or with its day. Raises LastgoodError."""
    now = SystemClock().now().astimezone()
    for form in ("%H:%M", "%H:%M:%S"):
        with contextlib.suppress(ValueError):
            found = datetime.strptime(text, form).replace(tzinfo=now.tzinfo)
            return found.replace(year=now.year, month=now.month, day=now.day)
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        message = f"`{text}` is no time. Write 14:03, or 2026-11-23T14:03."
        raise LastgoodError(message) from None


async def ledgers(store: Store, model: str, env: str) -> list[Ledger]:
    """Give the ledgers of one model, or of every model that was ever seen."""
    streams = sorted(await model_streams(store, model, env))
    return [fold_ledger(stream, await store.read(stream)) for stream in streams]


def readiness(ledger: Ledger) -> dict[str, Any]:
    """Give one item of `ready --json`."""
    judged, (_, environment, model) = ledger.readiness, ledger.stream.split("/", 2)
    return {
        "model": model, "environment": environment, "ready": judged.ready if judged else None,
        "to": judged.to_version if judged else None, "reason": judged.reason if judged else "Nobody looked yet.",
        "since": ledger.ready_at,
    }  # fmt: skip


def ready_lines(ledger: Ledger) -> Iterator[str]:
    """Write whether a model could go back, and what was looked at."""
    found, judged = readiness(ledger), ledger.readiness
    mark = {True: "✓", False: "✗", None: "?"}[found["ready"]]
    since = f", since {local(ledger.ready_at, '%d %b %H:%M %Z')}" if ledger.ready_at else ""
    head = f"{mark} {found['model']} · {found['environment']}  "
    yield terminal.wrapped(head, f"{found['reason'].rstrip('.')}{since}.")
    for check in judged.checks if judged else ():
        yield terminal.wrapped("    ", str(check))


async def history(store: Store, model: str, env: str, until: datetime | None = None) -> tuple[list[Ledger], Deciders]:
    """Give a model's ledgers as of a time, and by stream, target and time whose decision a change of version was."""
    name = await names(store)
    found: list[Ledger] = []
    deciders: Deciders = {}
    for stream in await model_streams(store, model, env):
        entries = [one for one in await store.read(stream) if until is None or one.at <= until]
        found.append(fold_ledger(stream, entries))
        for one in entries:
            if isinstance(one.entry, VersionServed):
                key = (stream, one.entry.target, one.at)
                if one.entry.incident:
                    deciders[key] = await decided_by(store, one.entry.incident, name)
                elif shipped := deployed_by(found[-1], one.entry.split, one.at, name):
                    deciders[key] = shipped
    return found, deciders


def deployed_by(ledger: Ledger, split: TrafficSplit, at: datetime, name: Name) -> str:
    """Say who shipped what a target was seen to serve, as the last sender to tell of it before then named them."""
    told = [one for when, one in ledger.changes if when <= at and one.by and split.weights.get(one.version or "")]
    if not told:
        return ""
    last = max(told, key=lambda one: one.since)
    said = str(last.by)
    return f"deploy {local(last.since, '%H:%M')}, {name(said) if MEMBER.fullmatch(said) else words.plain(said, 40)}"


def stretch(served: Served) -> dict[str, Any]:
    """Give one item of `history --json`."""
    return {
        "version": served.version, "from": served.since, "to": served.until, "share": float(served.share), "by": served.by,
    }  # fmt: skip


def history_line(place: str, served: Served, decider: str, mark: str) -> str:
    """Write what served when, by whose decision."""
    form = "%d %b %H:%M"
    if served.until is None:
        when, share = f"since {local(served.since, form)}", f"{served.share:g}\u00a0%"
    else:
        when, share = f"{local(served.since, form)}–{local(served.until, form)}", ""
    zone, note = terminal.zone(served.since), " ".join(filter(None, ["alerted" * served.alerted, mark]))
    return f"{place:<8}{served.version:<8}{when:<27} {zone:<5}{share:<7}{decider:<40} {note}".rstrip()


def told(at: datetime, change: Alert) -> dict[str, Any]:
    """Give one item of the changes in `history --json`."""
    return {"at": at, "source": change.source, "version": change.version, "by": change.by, "summary": change.summary}


def change_lines(ledgers: Sequence[Ledger]) -> Iterator[str]:
    """Write the changes that senders told of, newest first, those of several environments once."""
    found = {(at, change.fingerprint): change for one in ledgers for at, change in one.changes}
    if found:
        yield "Changes that were told:"
    for at, name in sorted(found, reverse=True)[:20]:
        change = found[at, name]
        head = f"{local(at, '%d %b %H:%M %Z')}  {change.source}  "
        by = f", by {change.by}" if change.by else ""
        yield terminal.wrapped(head, words.plain(f"{change.version or ''} {change.summary}{by}".strip()))


def entry_lines(entries: Sequence[Recorded], name: Name) -> Iterator[str]:
    """Write a timeline, a line an entry and one wherever a day begins."""
    first = entries[0]
    count = f"{len(entries):,} entr{'y' if len(entries) == 1 else 'ies'}"
    yield f"{first.stream}  {count}, times in {terminal.zone(first.at)}"
    day = ""
    for one in entries:
        if (today := local(one.at, "%d %b %Y")) != day:
            day = today
            yield day
        head = f"{local(one.at, '%H:%M:%S')} {one.version:>4}  {one.entry.type:<20} {one.digest[:8]}  "
        yield terminal.wrapped(head, words.put(one.entry.sentence(), name, local))


def columns(one: Recorded) -> dict[str, Any]:
    """Give one item of `timeline show --json`: the columns of its row."""
    return {
        "seq": one.seq, "stream": one.stream, "version": one.version, "epoch": one.epoch, "at": one.at, "type": one.entry.type,
        "schema": one.entry.number, "body": one.entry.model_dump(mode="json"), "prev": one.prev, "digest": one.digest,
    }  # fmt: skip


def report_lines(report: Report) -> Iterator[str]:
    """Write what a verification found, and what holds beside it."""
    for one in report.problems:
        yield terminal.wrapped(f"✗ {one.stream}  ", one.detail)
    broken = {one.stream for one in report.problems if "/" in one.stream}
    whole = terminal.counted(report.streams - len(broken), "other stream" if broken else "stream")
    if not report.ok:
        yield f"✓ {whole}; {report.entries:,} entries in all. Nothing was repaired: keep this file, restore a copy beside it."
        return
    loose = f"; {report.unanchored:,} after the last checkpoint: those alone could be cut off without a trace"
    yield f"✓ {whole}, {report.entries:,} entries{loose if report.unanchored else ''}."
