"""From a stored request to incidents: one per (environment, model), duplicates counted, the unknown never acted on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain import access, words
from bot.domain import entries as e
from bot.domain.alert import Alert, Kind, Parsed, RawRequest, Rejection, group_name, hint_name
from bot.domain.catalogue import Catalogue
from bot.domain.incident import MAX_EPISODES, REOPEN_WITHIN, Incident, Phase, model_stream
from bot.errors import AlertEnded, Conflict, Denied, NotFound, PayloadInvalid, RequestTaken, Unavailable
from bot.flow import sampling
from bot.flow.people import direct, spoken, whose
from bot.flow.world import FIRST, World, to
from bot.ports import Append, InboundDone, Said, Work, Write

ATTEMPTS = 5  # at one request before the engine waits and tries again
IN_THREAD = 64 * 1024  # bytes; more would hold up the event loop
ASKED_FOR, ASK_AGAIN = timedelta(minutes=5), timedelta(seconds=15)  # how long a sender is asked, and how often
OWN_MARK = "[lastgood:"  # in every note Lastgood writes into somebody else's system
_LOST = frozenset({"no_model", "unknown_model", "unknown_environment"})
_NO_END = frozenset({"no_data", "merged"})  # what is resolved with one of these has not been seen to end
_ASKABLE = frozenset({Phase.OPENED, Phase.PLANNED, Phase.WAITING, Phase.STUCK, Phase.NOTED})


@dataclass(frozen=True, slots=True)
class _Part:
    """What the alerts of one model mean: the writes, the incident's stream, the alerts with what was found out."""

    writes: tuple[Write, ...]
    stream: str
    alerts: tuple[Alert, ...]
    given: tuple[tuple[str, int], ...] = ()


Occurrences = frozenset[tuple[str, datetime]]  # fingerprint and start
Ends = Callable[[Sequence[_Part]], tuple[InboundDone, ...]]  # what of the inbox is done with these parts


async def take(inbound_id: str, world: World) -> datetime | None:
    """Look at one stored request and append what it means, in one transaction that also marks it done.

    Gives None when one look is enough, else when to look again: its sender has to be asked, and does not answer yet.
    Raises Conflict when streams keep moving on; the engine then tries later.
    """
    raw = await world.inbox.request(inbound_id)
    if raw is None:
        return None
    large = len(raw.body) > IN_THREAD
    parsed = await asyncio.to_thread(_parsed, raw, world) if large else _parsed(raw, world)
    try:
        parsed = await _completed(parsed, raw, world)
    except Unavailable as error:
        world.log.warning("intake.incomplete", source=raw.source, inbound=raw.id, error=str(error))
        return world.clock.now() + ASK_AGAIN
    parsed = parsed.model_copy(update={"alerts": tuple([await _related(one, world) for one in parsed.alerts])})
    alerts = await asyncio.to_thread(_all_placed, parsed, raw, world) if large else _all_placed(parsed, raw, world)
    try:
        await _taken(alerts, world, lambda parts: (_done(raw, parsed, parts),))
    except RequestTaken:
        return None
    return None


async def notice(alerts: Sequence[Alert], world: World) -> None:
    """Append what alerts mean that no sender sent: Lastgood's own, whose model and environment are registered.

    Raises Conflict when streams keep moving on.
    """
    await _taken(alerts, world, lambda _: ())


async def _taken(alerts: Sequence[Alert], world: World, ends: Ends) -> None:
    """Append what alerts mean together with the end of the message that brought them, judged anew when streams move on."""
    ended: Occurrences = frozenset()
    for _ in range(ATTEMPTS):
        parts = await _parts(alerts, ended, world)
        try:
            await world.timeline.append(_append(parts, ends(parts), world))
        except RequestTaken:
            raise
        except AlertEnded as error:
            ended |= error.occurrences
        except Conflict:
            continue
        else:
            return
    raise Conflict


def _parsed(raw: RawRequest, world: World) -> Parsed:
    """Read the message again."""
    source = world.sources.get(raw.source)
    if source is None:
        return Parsed(rejected=(Rejection(where="", reason=f"source {raw.source} is no longer configured"),))
    try:
        return source.parse(raw)
    except PayloadInvalid as error:
        return Parsed(rejected=(Rejection(where="", reason=str(error)),))


async def _completed(parsed: Parsed, raw: RawRequest, world: World) -> Parsed:
    """Ask the sender for what the message left out. Raises Unavailable while it may still answer in time."""
    asked = world.completes.get(raw.source)
    if asked is None:
        return parsed
    try:
        return await asked.completed(parsed)
    except Unavailable as error:
        if world.clock.now() - raw.received_at < ASKED_FOR:
            raise
        return parsed.model_copy(update={"note": f"{error}, so what the message leaves out is not known"})


async def _related(alert: Alert, world: World) -> Alert:
    """Place what is said without a model where an earlier message about it, its group's key or its hint led."""
    told_of_one = alert.kind is Kind.INCIDENT_UPDATE or "incident_id" in alert.extra or alert.hint
    if alert.model or not told_of_one:
        return alert
    names = [alert.fingerprint, *([group_name(key)] if (key := alert.extra.get("incident_key")) else [])]
    names += [hint_name(alert.hint)] if alert.hint else []
    stream = await world.inbox.related(names)
    if stream is None:
        return alert
    incident = await world.incident(stream)
    return alert.model_copy(update={"model": incident.model, "environment": incident.environment}).flagged("correlated")


def _all_placed(parsed: Parsed, raw: RawRequest, world: World) -> tuple[Alert, ...]:
    default = getattr(getattr(world.sources.get(raw.source), "config", None), "environment", None)
    return tuple(_placed(alert.flagged(*parsed.flags), default, world.catalogue) for alert in parsed.alerts)


async def _parts(alerts: Sequence[Alert], ended: Occurrences, world: World) -> list[_Part]:
    told = [_over(alert) if (alert.fingerprint, alert.since) in ended else alert for alert in alerts]
    changes = [alert for alert in told if alert.is_change and not alert.flags & _LOST]
    others = [alert for alert in told if alert not in changes]
    noticed = [_noticed(alert, world) for alert in changes]
    return noticed + [
        await _joined(environment, model, group, world) if model else _Part((), "", tuple(group))
        for (environment, model), group in _grouped(others).items()
    ]


def _noticed(alert: Alert, world: World) -> _Part:
    """Keep a change where it happened; one of the registry, which knows no environment, in each of the model's."""
    model = str(alert.model)
    places = [alert.environment] if alert.environment else list(world.catalogue.models[model].environments)
    entry = e.ChangeNoticed(alert=alert)
    return _Part(tuple(Write(model_stream(place, model), (entry,)) for place in places), "", (alert,))


def _over(alert: Alert) -> Alert:
    """Mark a beginning of which the store knows that it has ended, or that it gave way to a newer one."""
    return alert.flagged("out_of_order") if alert.status == "firing" else alert


def _done(raw: RawRequest, parsed: Parsed, parts: Sequence[_Part]) -> InboundDone:
    alerts = [alert for part in parts for alert in part.alerts]
    streams = tuple(part.stream for part in parts if part.stream)
    error = _error(parsed.rejected, alerts) or parsed.note
    return InboundDone(raw.id, parsed.result, error, tuple(alerts), streams)


def _append(parts: Sequence[_Part], done: tuple[InboundDone, ...], world: World) -> Append:
    changed = [part for part in parts if part.writes]
    return Append(
        writes=tuple(write for part in changed for write in part.writes),
        given=dict(pair for part in parts for pair in part.given),
        work=tuple(work for part in changed if part.stream for work in _work(part.stream, part.writes, world)),
        inbound=done,
    )


def _work(stream: str, writes: Sequence[Write], world: World) -> tuple[Work, ...]:
    now = world.clock.now()
    opens = any(isinstance(entry, e.IncidentOpened) for write in writes for entry in write.entries)
    begun = [write.stream for write in writes if isinstance(write.entries[0], e.IncidentLinked)]
    more = [Work(sampling.LANE, stream, now) for model in begun if sampling.wanted(model, world)]
    return (Work("advance", stream, now), *more, *world.follow(stream, now + FIRST if opens else now))


def _placed(alert: Alert, default: str | None, catalogue: Catalogue) -> Alert:
    """Resolve the model against the registry, exactly; then the environment: the alert's, the source's, the model's only one."""
    if not alert.model:
        return alert if alert.kind is Kind.INCIDENT_UPDATE else alert.flagged("no_model")
    known = catalogue.model_named(alert.model)
    if known is None:
        return alert.flagged("unknown_model")
    places = catalogue.models[known].environments
    environment = alert.environment or default or (next(iter(places)) if len(places) == 1 else None)
    if alert.is_change and environment is None:
        return alert.model_copy(update={"model": known})
    if environment not in places:
        return alert.model_copy(update={"model": known}).flagged("unknown_environment")
    return alert.model_copy(update={"model": known, "environment": environment})


def _grouped(alerts: Iterable[Alert]) -> dict[tuple[str, str], list[Alert]]:
    groups: dict[tuple[str, str], list[Alert]] = {}
    for alert in alerts:
        key = ("", "") if alert.flags & _LOST or not alert.model else (alert.environment or "", alert.model)
        groups.setdefault(key, []).append(alert)
    return groups


def _error(rejected: Iterable[Rejection], alerts: Iterable[Alert]) -> str:
    reasons = [f"{one.where}: {one.reason}" if one.where else one.reason for one in rejected]
    for alert in alerts:
        if "no_model" in alert.flags:
            reasons.append(f"{alert.fingerprint} names no model")
        elif "unknown_model" in alert.flags:
            reasons.append(f"{alert.fingerprint}: model {alert.model!r} is not registered")
        elif "unknown_environment" in alert.flags:
            reasons.append(f"{alert.fingerprint}: no environment of {alert.model} fits")
    return "; ".join(dict.fromkeys(reasons))[:2000]


async def _joined(environment: str, model: str, alerts: list[Alert], world: World) -> _Part:
    """Give the writes for one model, the incident they belong to, and the alerts with what was found out about them."""
    ledger = await world.ledger(model_stream(environment, model))
    known = await world.incident(ledger.last_incident) if ledger.last_incident else None
    marked = tuple(_marked(alert, known) for alert in alerts)
    heard = _newest(alert for alert in alerts if alert.says_whether and "out_of_order" not in alert.flags)
    # The model's stream moves when an incident opens or closes: what is found out here must hold when it is written.
    as_read = ((ledger.stream, ledger.epoch),)
    if known is not None and known.phase is not Phase.CLOSED:
        writes = _more(known, heard, [alert for alert in marked if not alert.says_whether or alert.flags & _NO_END])
        return _Part(writes, known.stream, marked, as_read if writes else ())
    firing = tuple(
        alert for alert in heard if alert.status == "firing" and (known is None or known.alert_is_news(alert))
    )
    if not firing:
        return _Part((), "", marked, as_read if any(alert.status == "resolved" for alert in heard) else ())
    if known is not None and _relapsed(known, world):
        entry = e.IncidentReopened(alerts=firing, episode=known.episode + 1)
        linked = e.IncidentLinked(incident=known.stream, version=firing[0].version)
        return _Part((Write(known.stream, (entry,), known.epoch), to(ledger, linked)), known.stream, marked)
    stream = f"incident/{world.ids.ulid()}"
    tier = world.catalogue.models[model].tier
    opened = e.IncidentOpened(model=model, environment=environment, tier=tier, alerts=firing)
    linked = e.IncidentLinked(incident=stream, version=firing[0].version)
    return _Part((Write(stream, (opened,), 0), to(ledger, linked)), stream, marked)


def _newest(alerts: Iterable[Alert]) -> list[Alert]:
    """Keep one message per alert, the newest occurrence; in one message a resolve of the same occurrence wins."""
    kept: dict[str, Alert] = {}
    for alert in alerts:
        before = kept.get(alert.fingerprint)
        if before is None or (alert.since, alert.status == "resolved") >= (
            before.since,
            before.status == "resolved",
        ):
            kept[alert.fingerprint] = alert
    return list(kept.values())


def _marked(alert: Alert, known: Incident | None) -> Alert:
    before = known.alerts.get(alert.fingerprint) if known else None
    if before is None or not alert.says_whether:
        return alert
    if before.since == alert.since and before.status == alert.status:
        return alert.flagged("repeat")
    late = alert.since < before.since or (alert.since == before.since and before.status == "resolved")
    return alert.flagged("out_of_order") if late else alert


def _more(known: Incident, heard: list[Alert], told: list[Alert]) -> tuple[Write, ...]:
    """Give what joins, what ends and what else was told; an end whose beginning is not in the fold may be under way in another message."""
    firing = tuple(alert for alert in heard if alert.status == "firing" and known.alert_is_news(alert))
    ended = tuple(
        alert
        for alert in heard
        if alert.status == "resolved"
        and (alert.fingerprint not in known.alerts or known.alert_is_news(alert))
        and not alert.flags & {"too_many_alerts", "truncated", *_NO_END}
    )
    entries: list[e.Entry] = []
    if firing:
        entries.append(e.AlertsJoined(alerts=firing))
    if ended:
        entries.append(e.AlertsResolved(alerts=ended))
    updates = tuple(alert for alert in told if not _is_ours(alert))
    if updates and not all("repeat" in alert.flags for alert in updates):
        entries.append(e.AlertsUpdated(alerts=updates))
    return (Write(known.stream, tuple(entries)),) if entries else ()


def _is_ours(alert: Alert) -> bool:
    """Say whether it is the echo of a note, a status update or a request that Lastgood wrote."""
    return any(OWN_MARK in alert.extra.get(name, "") for name in ("content", "message"))


def _relapsed(known: Incident, world: World) -> bool:
    recent = known.closed_at is not None and world.clock.now() - known.closed_at <= REOPEN_WITHIN
    return recent and known.episode < MAX_EPISODES


async def propose(
    person: str, model: str, environment: str | None, wanted: str | None, world: World, *, reason: str = "",
    via: str = "slack",
) -> str:  # fmt: skip
    """Open an incident by hand, or ask for a new plan in the open one; the caller is its requester, `reason` their words.

    Any active person of ours may: nothing moves until somebody else, who holds the roles, approves. Raises Denied or
    NotFound; Conflict when the model's streams keep moving on.
    """
    account = access.account(await direct(person, {}, world), via, world.clock.now(), "ask for a rollback")
    ruling = access.ruled(account)
    if ruling.error is not None:
        world.log.warning("proposal.refused", person=person, model=model, reason=ruling.text)
        raise ruling.error(ruling.text)
    name = world.catalogue.model_named(model)
    if name is None:
        message = f"No model `{model}` is registered. Known: {', '.join(sorted(world.catalogue.models)) or 'none'}."
        raise NotFound(message)
    places = world.catalogue.models[name].environments
    place = environment or (next(iter(places)) if len(places) == 1 else None)
    if place not in places:
        message = f"{name} runs in {', '.join(sorted(places))}; name one of them."
        raise NotFound(message)
    for _ in range(ATTEMPTS):
        try:
            return await _proposed(_Wish(person, wanted, spoken(reason, world)), name, place, world)
        except Conflict:
            continue  # an alert or a look at the model came between
    raise Conflict


async def proposed(stream: str, person: str, world: World) -> str:
    """Say to a person who asked for a rollback what comes of it, and who has no vote."""
    incident = await world.incident(stream)
    return f"Incident {words.short(stream)}: a plan is being made. {whose(incident.requester, person)}"


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a person asks for, and why."""

    person: str
    wanted: str | None
    said: Said

    @property
    def why(self) -> str | None:
        """Give the reference of what they said, None when they said nothing."""
        return self.said.ref if self.said.text else None


async def _proposed(wish: _Wish, model: str, environment: str, world: World) -> str:
    ledger = await world.ledger(model_stream(environment, model))
    if ledger.open_incident:
        return await _asked_again(await world.incident(ledger.open_incident), wish, world)
    stream = f"incident/{world.ids.ulid()}"
    tier = world.catalogue.models[model].tier
    opened = e.IncidentOpened(
        model=model, environment=environment, tier=tier, requester=wish.person, wanted=wish.wanted, text_ref=wish.why
    )
    linked = e.IncidentLinked(incident=stream)
    await _write(stream, (Write(stream, (opened,), 0), to(ledger, linked)), wish, world)
    return stream


async def _asked_again(incident: Incident, wish: _Wish, world: World) -> str:
    if incident.claim is not None or incident.phase not in _ASKABLE:
        doing = (
            "holds a rollback that has to be settled first"
            if incident.phase is Phase.STUCK
            else "is rolling back already"
        )
        message = f"{incident.model} {doing} in incident {incident.short}. Nothing was changed."
        raise Denied(message)
    repeats = incident.requester is not None and incident.wanted == wish.wanted  # which does not take the wish over
    entry = e.PlanRequested(
        person=wish.person, wanted=wish.wanted, requester=incident.requester if repeats else wish.person, text_ref=wish.why
    )  # fmt: skip
    await _write(incident.stream, (Write(incident.stream, (entry,), incident.epoch),), wish, world)
    return incident.stream


async def _write(stream: str, writes: tuple[Write, ...], wish: _Wish, world: World) -> None:
    said = (wish.said,) if wish.said.text else ()
    await world.timeline.append(Append(writes=writes, work=_work(stream, writes, world), said=said))
