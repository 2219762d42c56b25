"""Sentry's integration platform webhooks: metric alerts, issue alerts and issues, signed with the client secret."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel

from adapters.alerts._sender import Signed, delivery, header
from bot.domain import credential, extract
from bot.domain.alert import Alert, Kind, Parsed, RawRequest, Rejection
from bot.errors import PayloadInvalid

_PLACES = frozenset({*extract.MODEL, *extract.VERSION, *extract.ENVIRONMENT, *extract.SLI})
_KINDS = {"metric_alert": "metric_alert", "event_alert": "event", "issue": "issue"}  # resource -> its key in `data`
_ISSUE = {"created": "firing", "unresolved": "firing", "resolved": "resolved"}


class NotAHook(PayloadInvalid):
    """The body has no action and no data."""

    reason = "not_a_sentry_message"


class SentryConfig(credential.SignedConfig):
    """The integration's client secret; `environment` is taken when an alert names none."""


class Sentry(Signed):
    """Reads one alert. What it names of model and version are tags, or terms of the alert rule's query."""

    name: ClassVar[str] = "sentry"
    Config: ClassVar[type[BaseModel]] = SentryConfig
    reads: ClassVar[tuple[str, ...]] = ("sentry-hook-resource",)

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Check the signature over the bytes as they came."""
        del now
        given = header(headers, "Sentry-Hook-Signature").strip()
        credential.signed(self.config, self._secret, [given], credential.hexadecimal(body))

    def delivery_id(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Take the sender's `Request-ID`."""
        del body
        return delivery(headers, "Request-ID")

    def parse(self, raw: RawRequest) -> Parsed:
        """Read the resource that the header names, or whose key is there; others are left alone."""
        found = extract.json_value(raw.body)
        data, action = extract.inside(found, "data"), extract.inside(found, "action")
        if not isinstance(data, dict) or not isinstance(action, str):
            raise NotAHook
        resource = header(raw.headers, "Sentry-Hook-Resource")
        resource = resource or next((name for name, key in _KINDS.items() if key in data), "")
        if resource not in _KINDS:
            return Parsed(outcome="ping" if resource == "installation" else "ignored")
        one = data.get(_KINDS[resource])
        if not isinstance(one, dict):
            return Parsed(rejected=(Rejection(where=f"/data/{_KINDS[resource]}", reason="it is not an object"),))
        read = {"metric_alert": _metric, "event_alert": _event, "issue": _issue}[resource]
        fields = read(one, data, action, raw)
        if fields is None:
            reason = f"action {extract.text(action, 40)!r} is not one that Sentry documents"
            return Parsed(rejected=(Rejection(where="/action", reason=reason),))
        fields["raw"] = {"id": raw.id, "pointer": f"/data/{_KINDS[resource]}"}
        return Parsed(alerts=(Alert.model_validate({"source": self.name, **fields}),))


def _metric(one: dict[str, Any], data: dict[str, Any], action: str, raw: RawRequest) -> dict[str, Any] | None:
    if action not in ("critical", "warning", "resolved"):
        return None
    rule = extract.table(one.get("alert_rule"))
    labels = _terms(extract.word(rule.get("query")))
    if environment := extract.word(rule.get("environment")):
        labels = {"environment": environment, **labels}
    if project := extract.word(extract.inside(one, "projects", 0)):
        labels = {"project": project, **labels}
    over, place = action == "resolved", extract.named(labels)
    starts, ends, flags = extract.times(one.get("date_started"), one.get("date_closed"), raw.received_at)
    said = {
        "summary": extract.word(data.get("description_title")),
        "description": extract.word(data.get("description_text")),
    }
    limits = (extract.table(one) for one in extract.rows(rule.get("triggers")))
    limit = next((one.get("alert_threshold") for one in limits if one.get("label") == action), None)
    native = f"{extract.word(one.get('organization_id'))}:{extract.word(rule.get('id')) or extract.word(one.get('id'))}"
    return {
        "fingerprint": extract.fingerprint(Sentry.name, native), "status": "resolved" if over else "firing",
        "severity": extract.severity(None if over else action),
        **place, "sli": place["sli"] or extract.word(rule.get("aggregate")) or None, "threshold": extract.number(limit),
        "starts_at": starts, "ends_at": (ends or raw.received_at) if over else None, "summary": said["summary"], "labels": labels,
        "annotations": {name: text for name, text in said.items() if text},
        "links": extract.links((("source", data.get("web_url")),)), "flags": frozenset(flags),
    }  # fmt: skip


def _event(one: dict[str, Any], data: dict[str, Any], action: str, raw: RawRequest) -> dict[str, Any] | None:
    if action != "triggered":
        return None
    labels = _tags(one.get("tags"))
    starts, _, flags = extract.times(one.get("datetime"), None, raw.received_at)
    said = {"summary": extract.word(one.get("title")), "rule": extract.word(data.get("triggered_rule"))}
    return {
        "fingerprint": extract.fingerprint(Sentry.name, f"issue:{extract.word(one.get('issue_id'))}"), "status": "firing",
        "severity": extract.severity(extract.word(one.get("level"))), **extract.named(labels), "starts_at": starts,
        "summary": said["summary"], "labels": labels, "annotations": {name: text for name, text in said.items() if text},
        "links": extract.links((("source", one.get("web_url")),)), "flags": frozenset(flags),
    }  # fmt: skip


def _issue(one: dict[str, Any], data: dict[str, Any], action: str, raw: RawRequest) -> dict[str, Any]:
    del data
    labels, status = _tags(one.get("tags")), _ISSUE.get(action, "update")
    starts, _, flags = extract.times(one.get("firstSeen"), None, raw.received_at)
    summary = extract.word(one.get("title"))
    return {
        "kind": Kind.INCIDENT_UPDATE if status == "update" else Kind.ALERT,
        "fingerprint": extract.fingerprint(Sentry.name, f"issue:{extract.word(one.get('id'))}"), "status": status,
        "severity": extract.severity(extract.word(one.get("level"))), **extract.named(labels), "starts_at": starts,
        "ends_at": raw.received_at if status == "resolved" else None, "summary": summary, "labels": labels,
        "annotations": {"summary": summary} if summary else {}, "links": extract.links((("source", one.get("web_url")),)),
        "extra": {"action": extract.text(action, 100)}, "flags": frozenset(flags),
    }  # fmt: skip


def _terms(query: str) -> dict[str, str]:
    """Read the `name:value` terms of a query that say where this is; a negated one says where it is not."""
    pairs = (term.partition(":") for term in query.split())
    return extract.kept_texts({name: value.strip('"') for name, colon, value in pairs if colon and name in _PLACES})


def _tags(found: Any) -> dict[str, str]:
    """Read tags, which come as pairs or as objects with key and value."""
    kept: dict[str, Any] = {}
    for one in extract.rows(found):
        match one:
            case [str(name), value] | {"key": str(name), "value": value}:
                kept[name] = value
    return extract.kept_texts(kept)


SOURCE = Sentry
