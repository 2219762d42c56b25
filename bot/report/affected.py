"""What a bad version answered while it was ill: from when to when, how much, which requests, and what to repair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from bot.domain import entries as e
from bot.domain import words
from bot.domain.evidence import member
from bot.domain.incident import Incident
from bot.report.impact import failures, first_alert, served
from bot.report.measures import episode

REPAIR = (
    "Answers stored since then: mark them, and compute them again with the good version.",
    "Answers in caches: expire everything keyed by the bad version or written in that time.",
    "Answers in queues and topics: find consumers that have read them, and send corrections.",
    "Answers sent to people or partners: tell them what was wrong, from when to when.",
)
NAMES = ("request_id", "id", "request.id")  # where a sample may name its request, when not where it was said to


def affected(
    incident: Incident,
    entries: Sequence[e.Recorded],
    kept: Mapping[str, bytes],
    model: Sequence[e.Recorded] = (),
) -> dict[str, Any]:
    """Give first and last bad answer, their number, request ids where samples name them, and the checklist, with lines to print.

    `model` are the entries of the model's own stream, which say since when the bad version had traffic. Nothing is estimated:
    what nobody saw or counted is None, and the lines say why.
    """
    rows = episode(entries)
    alert, last = first_alert(incident, rows), _last(incident, entries)
    bad = incident.plan.from_version if incident.plan else incident.alert_version or "the bad version"
    first = alert.starts_at if alert else None
    serving, counted = _served_since(model, bad, incident), served(incident, rows)
    ids = _ids(incident, kept)
    repair = incident.plan.repair if incident.plan and incident.plan.repair else REPAIR
    lines = [
        f"{incident.model} in {incident.environment}, version {bad}.",
        _began(first, serving),
        f"Last bad answer: {_at(last)}, when traffic was proven to have moved."
        if last
        else "Last bad answer: unknown (nothing proves that it has ended).",
        f"Answers of {bad} counted: {words.count(counted.requests)} from {_at(counted.since.at)} to {_at(counted.until.at)}; what came before the first look is not counted."
        if counted
        else f"Answers of {bad}: unknown (its counter was not read twice).",
        f"Failures: {failures(incident, rows)}.",
        f"Requests sampled: {', '.join(ids[:20])}{' …' if len(ids) > 20 else ''}."
        if ids
        else "Requests: unknown (no sample that is kept names one).",
        "To repair:",
        *(f"  - {one}" for one in repair),
    ]
    return {
        "incident": incident.id, "model": incident.model, "environment": incident.environment, "version": bad,
        "first": _iso(first), "served_since": _iso(serving), "last": _iso(last),
        "answers": counted.requests if counted else None, "counted_from": _iso(counted.since.at) if counted else None,
        "counted_to": _iso(counted.until.at) if counted else None, "failures": failures(incident, rows),
        "requests": ids, "repair": list(repair), "lines": lines,
    }  # fmt: skip


def _began(first: datetime | None, serving: datetime | None) -> str:
    since = f" It had traffic since {_at(serving)}, and may have answered wrongly from then on." if serving else ""
    if first is None:
        return f"First bad answer: unknown (a person asked, no alert says when it began).{since}"
    return f"First bad answer: not later than {_at(first)}, when the alert says it began.{since}"


def _at(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def _iso(when: datetime | None) -> str | None:
    return when.isoformat() if when else None


def _served_since(model: Sequence[e.Recorded], bad: str, incident: Incident) -> datetime | None:
    """Since when a target was seen to give the bad version traffic, without a break until the claim."""
    until = incident.claimed_at or incident.opened_at
    since: dict[str, datetime] = {}
    for one in model:
        if one.at >= until or not isinstance(one.entry, e.VersionServed):
            continue
        if one.entry.split.share(bad) > 0:
            since.setdefault(one.entry.target, one.at)
        else:
            since.pop(one.entry.target, None)
    return min(since.values(), default=None)


def _last(incident: Incident, entries: Sequence[e.Recorded]) -> datetime | None:
    """It ended when traffic was proven to have moved, of the last step that moved it."""
    wanted = {step.name for step in incident.plan.steps if step.whole} if incident.plan else set()
    proven = {
        one.entry.step: one.at
        for one in entries
        if isinstance(one.entry, e.TrafficVerified) and one.entry.verdict == "yes" and one.entry.step in wanted
    }
    return max(proven.values()) if wanted and proven.keys() >= wanted else None


def _ids(incident: Incident, kept: Mapping[str, bytes]) -> list[str]:
    if incident.captured is None:
        return []
    names = (incident.captured.request, *NAMES)
    rows = [orjson.loads(line) for line in kept.get(incident.captured.files.get("samples.jsonl", ""), b"").splitlines()]
    found = (next((one for name in names if (one := member(row, name)) is not None), None) for row in rows)
    return [str(one) for one in found if one is not None]
