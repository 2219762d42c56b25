"""What an incident did, measured from its timeline; what nobody measured is the word unknown with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.domain import entries as e
from bot.domain import words
from bot.domain.alert import Alert
from bot.domain.incident import Incident
from bot.domain.recovery import called, shown
from bot.domain.traffic import Reading
from bot.report.measures import Moment, afterwards, began, between, episode

_RATIOS = ("ratio", "rate", "share")


@dataclass(frozen=True, slots=True)
class Effect:
    """One line of the impact: what, how much, and how that is known."""

    name: str
    value: str
    how: str


@dataclass(frozen=True, slots=True)
class Served:
    """Requests the bad version's own counter shows between two looks of the timeline."""

    requests: int
    since: e.Recorded
    until: Reading


def impact(incident: Incident, entries: Sequence[e.Recorded]) -> list[Effect]:
    """Give the effect of the last episode: share, time, requests and failures of the bad version, and the service after."""
    rows = episode(entries)
    bad = incident.plan.from_version if incident.plan else (incident.alert_version or "")
    on = f" on {bad}" if bad else " on the bad version"
    return [
        Effect("When it began", first_value(first_alert(incident, rows)), "the alert that opened the incident"),
        Effect(f"Share of traffic{on}", _share(incident), "read from each target when the rollback was claimed, else when it was planned"),
        Effect(f"Time{on}", _time(incident, rows), "from the moment the alert says it began to the proof that traffic moved"),
        Effect(f"Requests{on}", _requests(incident, rows), "the version's own counter, between two looks on this timeline"),
        Effect(f"Failures{on}", failures(incident, rows), "SLI samples taken while it served"),
        Effect("Service after the move", afterwards(incident), "the last round of SLI samples"),
        Effect("Users affected", words.unknown("requests carry no user"), "not measured"),
        *_deltas(incident),
    ]  # fmt: skip


def _deltas(incident: Incident) -> list[Effect]:
    """Give each figure of the business and the cost, before and after; what nobody measured is unknown."""
    last = {one.name: one for when in ("before", "after") for one in incident.deltas if one.when == when}
    how = "measured when it was planned and when it was over"
    found = [Effect(called(name).capitalize(), one.text, how) for name, one in last.items()]
    if not last.keys() - {"cost"}:
        found.append(Effect("Business effect", words.unknown("the timeline holds no business sample"), "not measured"))
    if "cost" not in last:
        found.append(Effect("Cost", words.unknown("the timeline holds no cost sample"), "not measured"))
    return found


def first_alert(incident: Incident, rows: Sequence[e.Recorded]) -> Alert | None:
    """Give the alert that began an episode: the earliest it opened with, else the earliest that joined."""
    alerts = getattr(rows[0].entry, "alerts", ()) or incident.alerts.values()
    return min(alerts, key=lambda one: one.starts_at, default=None)


def first_value(alert: Alert | None) -> str:
    """Say what the first alert measured, against its limit."""
    if alert is None:
        return words.unknown("a person asked, no alert carried a number")
    if alert.value is None:
        return words.unknown("the alert carries no number")
    name = words.plain(called(alert.sli or "") or alert.labels.get("alertname") or "value", 60)
    if alert.threshold is None:
        return f"{name} {shown(name, alert.value)}, no limit in the alert"
    sign = "≥" if alert.value < alert.threshold else "≤"
    return f"{name} {shown(name, alert.value)}, objective {sign} {shown(name, alert.threshold)}"


def _share(incident: Incident) -> str:
    plan = incident.plan
    if plan is None:
        return words.unknown("no plan was made, so no target was read")
    before = {one.target: one.before for one in plan.targets} | (incident.claim.before if incident.claim else {})
    shares = {name: state.split.share(plan.from_version).normalize() for name, state in sorted(before.items())}
    return ", ".join(f"{name} {share:f}{words.NBSP}%" for name, share in shares.items())


def _time(incident: Incident, rows: Sequence[e.Recorded]) -> str:
    start = began(rows) if began(rows).at else Moment(rows[0].at)
    if incident.moved_at is not None:
        return between(start, Moment(incident.moved_at))
    last = incident.closed_at or rows[-1].at
    length = between(start, Moment(last))
    if length.startswith("unknown"):
        return length
    ended = incident.closed is not None and incident.closed.outcome == "recovered_by_itself"
    return f"{length}, until the alerts ended" if ended else f"at least {length}: traffic was not proven to move"


def served(incident: Incident, rows: Sequence[e.Recorded]) -> Served | None:
    """Give the requests the bad version took from the first look at its counter to the last, None when nobody counted.

    The first look is the one policy took, the last is on the same target; a counter that began anew between two
    readings tells nothing.
    """
    plan = incident.plan
    if plan is None:
        return None
    plan_id, target = plan.id, plan.targets[0].target if plan.targets else ""
    steps = {step.name for step in plan.steps if step.target == target}
    seen = [(one, count) for one in rows if (count := _seen(one.entry, plan_id)) is not None]
    looks = [look for one in rows for look in _readings(one.entry, steps) if plan.from_version in look.requests]
    if not seen or not looks or len({look.epoch for look in looks}) > 1:
        return None
    count = looks[-1].requests[plan.from_version] - seen[0][1]
    return Served(count, seen[0][0], looks[-1]) if count >= 0 else None


def _seen(entry: e.Entry, plan: str) -> int | None:
    """Give how many requests the bad version had served when policy looked."""
    seen = entry.facts.get("samples") if isinstance(entry, e.PolicyDecided) and entry.plan == plan else None
    return int(seen) if isinstance(seen, int | float) else None


def _readings(entry: e.Entry, steps: set[str]) -> list[Reading]:
    match entry:
        case e.StepStarted(step=step, baseline=Reading() as baseline) if step in steps:
            return [baseline]
        case e.TrafficSampled(step=step, verification=look) if step in steps:
            return [look.reading]
        case e.TrafficVerified(step=step, verification=look) if step in steps and look is not None:
            return [look.reading]
    return []


def _requests(incident: Incident, rows: Sequence[e.Recorded]) -> str:
    found = served(incident, rows)
    if found is None:
        return words.unknown("its counter was not read twice")
    since, until = words.stamp(found.since.at), words.stamp(found.until.at)
    return f"{words.count(found.requests)} from {since} to {until}; what came before the first look is not counted"


def failures(incident: Incident, rows: Sequence[e.Recorded]) -> str:
    """Count failures in samples taken while the bad version served, else in the look before anything moved.

    Without any, say what the alert's ratio would mean.
    """
    taken = [
        one.entry
        for one in rows
        if isinstance(one.entry, e.SliSampled)
        and not one.entry.before
        and (incident.moved_at is None or one.at < incident.moved_at)
    ]
    failed, total = _summed(taken)
    if not total and incident.before:
        failed, total = _summed([incident.before])
    if total:
        return f"{words.count(failed)} of {words.count(total)} requests"
    return words.unknown(f"no sample was taken while it served{_would_be(incident, rows)}")


def _summed(taken: Sequence[e.SliSampled]) -> tuple[float, float]:
    """Add up failures and requests of what counts failures as a share of requests."""
    failed = total = 0.0
    for sample in (sample for one in taken for sample in one.samples):
        seen = sample.measurement
        if sample.sli.endswith(_RATIOS) and sample.good == "below" and seen.value is not None and seen.requests:
            total, failed = total + seen.requests, failed + seen.value * seen.requests
    return failed, total


def _would_be(incident: Incident, rows: Sequence[e.Recorded]) -> str:
    alert, found = first_alert(incident, rows), served(incident, rows)
    if alert is None or alert.value is None or found is None or not (alert.sli or "").endswith(_RATIOS):
        return ""
    return (
        f"; at the alert's {words.percent(alert.value)} it would be about {words.count(alert.value * found.requests)} "
        f"of the {words.count(found.requests)} counted"
    )
