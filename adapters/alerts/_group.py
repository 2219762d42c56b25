"""A group of alerts in the shape that Alertmanager and Grafana share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bot.domain import extract
from bot.domain.alert import Alert, Parsed, RawRef, RawRequest, Rejection

Group = dict[str, Any]
Also = Callable[[dict[str, Any], dict[str, str]], dict[str, Any]]  # a member and its annotations -> fields of its alert
_ABSENT: tuple[Any, ...] = (None, "")


def alerts_of(body: bytes) -> Group | None:
    """Give the group, None when the body is not an object with a list of `alerts`. Raises NotJson."""
    found = extract.json_value(body)
    return found if isinstance(found, dict) and isinstance(found.get("alerts"), list) else None


def read(group: Group, raw: RawRequest, source: str, also: Also | None = None) -> Parsed:
    """Read every alert of a group; `also` gives what only this sender says: `value`, `links` and `flags`."""
    alerts = group["alerts"]
    flags = {"too_many_alerts"} if len(alerts) > extract.MAX_ALERTS else set()
    if group.get("truncatedAlerts") is not None and extract.number(group["truncatedAlerts"]) != 0:
        flags.add("truncated")  # also when the number cannot be told: then nothing is sure to be complete
    good: list[Alert] = []
    bad: list[Rejection] = []
    for at, one in enumerate(alerts[: extract.MAX_ALERTS]):
        result = _alert(one, group, RawRef(id=raw.id, pointer=f"/alerts/{at}"), raw, source, also or _nothing)
        if isinstance(result, Alert):
            good.append(result.flagged(*flags))
        else:
            bad.append(result)
    return Parsed(alerts=tuple(good), rejected=tuple(bad), flags=frozenset(flags))


def _nothing(one: dict[str, Any], notes: dict[str, str]) -> dict[str, Any]:
    del one, notes
    return {}


def _alert(one: Any, group: Group, ref: RawRef, raw: RawRequest, source: str, also: Also) -> Alert | Rejection:
    if not isinstance(one, dict):
        return Rejection(where=ref.pointer, reason="an alert is an object")
    if not isinstance(one.get("labels"), dict):
        return Rejection(where=f"{ref.pointer}/labels", reason="an alert needs an object of labels")
    status = group.get("status") if one.get("status") in _ABSENT else one["status"]
    if status not in ("firing", "resolved"):
        return Rejection(
            where=f"{ref.pointer}/status", reason=f"status {extract.text(status, 40)!r} is neither firing nor resolved"
        )
    labels, notes = extract.kept_texts(one["labels"]), extract.kept_texts(one.get("annotations"))
    starts, ends, flags = extract.times(one.get("startsAt"), one.get("endsAt"), raw.received_at)
    native = extract.text(one["fingerprint"]) if isinstance(one.get("fingerprint"), str) else ""
    if not native:
        native = extract.labels_fingerprint(extract.texts(one["labels"]))
        flags.add("fingerprint_recomputed")
    more = also(one, notes)
    value = extract.number(notes.get("value"))
    return Alert(
        source=source, fingerprint=extract.fingerprint(source, native), status=status,
        severity=extract.severity(extract.first(labels, extract.SEVERITY)), **extract.named(labels),
        value=more.get("value") if value is None else value, threshold=extract.number(notes.get("threshold")),
        starts_at=starts, ends_at=(ends or raw.received_at) if status == "resolved" else None,
        summary=notes.get("summary") or notes.get("description") or labels.get("alertname", ""), labels=labels,
        annotations=notes, links=extract.links(_links(one, notes, more.get("links", ()))),
        group_key=extract.text(group.get("groupKey"), 1000) or None, raw=ref,
        flags=frozenset(flags | more.get("flags", set())),
    )  # fmt: skip


def _links(one: dict[str, Any], notes: dict[str, str], more: tuple[tuple[str, Any], ...]) -> list[tuple[str, Any]]:
    noted = [("runbook", notes.get("runbook_url"))]
    if not any(rel == "dashboard" and url for rel, url in more):
        noted.append(("dashboard", notes.get("dashboard_url")))
    return [("source", one.get("generatorURL")), *more, *noted]
