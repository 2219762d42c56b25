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

REPAIR = (
    "Answers stored since then: mark them, and compute them again with the good version.",
    "Answers in caches: expire everything keyed by the bad version or written in that time.",
    "Answers in queues and topics: find consumers that have read them, and send corrections.",
    "Answers sent to people or partners: tell them what was wrong, from when to when.",
)
NAMES = ("request_id", "id", "request.id")  # where a sample may name its request


def affected(incident: Incident, entries: Sequence[e.Recorded], kept: Mapping[str, bytes]) -> dict[str, Any]:
    """Give first and last bad answer, their number, request ids where samples name them, and the checklist, with lines to print."""
    first, last = _first(incident), _last(incident, entries)
    count, why = _count(entries)
    ids = _ids(incident, kept)
    bad = incident.plan.from_version if incident.plan else incident.alert_version or "the bad version"
    span = f"from {_at(first)} to {_at(last)}" if last else f"since {_at(first)}, and nothing proves that it has ended"
    lines = [
        f"{incident.model} in {incident.environment}: version {bad} answered {span}.",
        f"Answers counted: {words.quantity(count)}." if count is not None else f"Answers: unknown ({why}).",
        f"Requests sampled: {', '.join(ids[:20])}{' …' if len(ids) > 20 else ''}."
        if ids
        else "Requests: no sample names one.",
        "To repair:",
        *(f"  - {one}" for one in REPAIR),
    ]
    return {
        "incident": incident.id, "model": incident.model, "environment": incident.environment, "version": bad,
        "first": first.isoformat() if first else None, "last": last.isoformat() if last else None, "answers": count,
        "unknown": why, "requests": ids, "repair": list(REPAIR), "lines": lines,
    }  # fmt: skip


def _at(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S} UTC" if when else "an unknown time"


def _first(incident: Incident) -> datetime | None:
    """The service was ill at the latest when the first alert says so."""
    return min((one.starts_at for one in incident.alerts.values()), default=incident.opened_at)


def _last(incident: Incident, entries: Sequence[e.Recorded]) -> datetime | None:
    """It ended when traffic was proven to have moved, of the last step that moved it."""
    wanted = {step.name for step in incident.plan.steps if step.whole} if incident.plan else set()
    proven = {
        one.entry.step: one.at
        for one in entries
        if isinstance(one.entry, e.TrafficVerified) and one.entry.verdict == "yes" and one.entry.step in wanted
    }
    return max(proven.values()) if wanted and proven.keys() >= wanted else None


def _count(entries: Sequence[e.Recorded]) -> tuple[float | None, str]:
    """Add up what was counted of the bad version while it was looked at; less than there was, and said to be."""
    counted = [
        sample.measurement.requests
        for one in entries
        if isinstance(one.entry, e.SliSampled) and one.entry.before
        for sample in one.entry.samples
        if sample.measurement.requests is not None
    ]
    if not counted:
        return None, "no source counted the requests before the rollback"
    return max(counted), ""


def _ids(incident: Incident, kept: Mapping[str, bytes]) -> list[str]:
    digest = incident.captured.files.get("samples.jsonl") if incident.captured else None
    rows = [orjson.loads(line) for line in kept.get(digest or "", b"").splitlines()]
    return [str(found) for row in rows if (found := next((v for n in NAMES if (v := member(row, n))), None))]
