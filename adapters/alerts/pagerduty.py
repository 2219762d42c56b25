"""PagerDuty V3 webhooks (developer.pagerduty.com, "Webhooks"): one event of one incident, signed over the raw body."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel, Field

from adapters.alerts._pagerduty import Asked
from adapters.alerts._sender import Signed, header
from bot.domain import credential, extract
from bot.domain.alert import Alert, Kind, Parsed, RawRequest
from bot.domain.value import Value
from bot.errors import PayloadInvalid
from bot.ports import Context

# What happens to an incident as a whole, with the incident as its data; then what happens in it.
_WHOLE = frozenset({
    "triggered", "reopened", "resolved", "acknowledged", "unacknowledged", "escalated", "delegated", "reassigned",
    "priority_updated", "service_updated", "incident_type.changed",
})  # fmt: skip
_IN_IT = frozenset({
    "annotated", "status_update_published", "responder.added", "responder.replied", "custom_field_values.updated",
    "role.assigned", "role.unassigned", "workflow.started", "workflow.completed", "task.created", "task.updated", "task.deleted", "task.completed",
    "action_invocation.created", "action_invocation.updated", "action_invocation.terminated", "conference_bridge.updated",
})  # fmt: skip
_ALERTS = frozenset({"triggered", "reopened", "resolved"})
_STATUS = {"triggered": "firing", "acknowledged": "acknowledged", "resolved": "resolved"}


class NotAnEvent(PayloadInvalid):
    """The body is not an event of a V3 webhook subscription; extensions of version 2 are not read."""

    reason = "not_a_v3_event"


class Place(Value):
    """Which model a PagerDuty service stands for."""

    model: str
    environment: str | None = None


class PagerDutyConfig(credential.SignedConfig):
    """Secrets of the webhook subscription; `services` says which model a service stands for, by the service's id.

    With PAGERDUTY_TOKEN set, Lastgood asks for the alerts of an incident, since the webhook itself carries no labels.
    """

    services: dict[str, Place] = Field(default_factory=dict)


class PagerDuty(Signed):
    """Reads one event. Of an incident as a whole it makes an alert or an update; of a ping nothing."""

    name: ClassVar[str] = "pagerduty"
    Config: ClassVar[type[BaseModel]] = PagerDutyConfig
    config: PagerDutyConfig

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Check `v1=HEX` signatures; during a rotation there are several. There is no timestamp: repeats are known by their id."""
        del now
        given = (one.strip() for one in header(headers, "X-PagerDuty-Signature").split(","))
        versions = [one.removeprefix("v1=") for one in given if one.startswith("v1=")]
        credential.signed(self.config, self._secret, versions, credential.hexadecimal(body))

    def delivery_id(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Take the event's id, which stays the same when PagerDuty sends again."""
        try:
            found = extract.inside(orjson.loads(body), "event", "id")
        except ValueError:
            found = None
        return extract.word(found, 200) or extract.text(header(headers, "X-Webhook-Id"), 200) or None

    def completes(self, context: Context) -> Asked:
        """Give what asks PagerDuty for the labels the webhook leaves out; opened and closed by the host."""
        return Asked(context, tuple(self.config.services))

    def parse(self, raw: RawRequest) -> Parsed:
        """Read the event; one of a type that is not known is left alone."""
        found = extract.json_value(raw.body)
        event = extract.inside(found, "event")
        kind, data = extract.inside(event, "event_type"), extract.inside(event, "data")
        if not isinstance(kind, str) or not isinstance(data, dict):
            raise NotAnEvent
        if kind == "pagey.ping":
            return Parsed(outcome="ping")
        scope, _, what = kind.partition(".")
        if scope != "incident" or what not in _WHOLE | _IN_IT:
            return Parsed(outcome="ignored")
        incident = data if what in _WHOLE else _incident(data)
        if not extract.word(incident.get("id")):
            raise NotAnEvent
        fields = self._whole(event, data, what, raw) if what in _WHOLE else _part(event, data, raw)
        return Parsed(alerts=(Alert.model_validate({
            "source": self.name, "fingerprint": extract.fingerprint(self.name, extract.word(incident.get("id"))),
            "links": extract.links((("pagerduty", incident.get("html_url")),)), "raw": {"id": raw.id, "pointer": "/event/data"},
            "extra": _extra(event, data, incident, raw), **fields,
        }),))  # fmt: skip

    def _whole(self, event: dict[str, Any], data: dict[str, Any], what: str, raw: RawRequest) -> dict[str, Any]:
        """Read the incident itself. A resolve because of a merge says nothing about recovery."""
        over = what == "resolved"
        starts, ends, flags = extract.times(
            data.get("created_at"), event.get("occurred_at") if over else None, raw.received_at
        )
        if what in _ALERTS:
            flags.add("needs_enrichment")
        if over and "merge" in extract.word(extract.inside(data, "resolve_reason", "type")):
            flags.add("merged")
        labels = {
            "service": extract.word(extract.inside(data, "service", "summary")),
            "urgency": extract.word(data.get("urgency")), "title": extract.word(data.get("title")),
        }  # fmt: skip
        place = self.config.services.get(extract.word(extract.inside(data, "service", "id")))
        word = extract.word(extract.inside(data, "priority", "summary")) or labels["urgency"]
        return {
            "kind": Kind.ALERT if what in _ALERTS else Kind.INCIDENT_UPDATE,
            "status": "resolved" if over else _STATUS.get(extract.word(data.get("status")), "update"),
            "severity": extract.severity(word), "model": place.model if place else None,
            "environment": place.environment if place else None, "starts_at": starts,
            "ends_at": (ends or raw.received_at) if over else None, "summary": labels["title"],
            "labels": {name: text for name, text in labels.items() if text}, "flags": frozenset(flags),
        }  # fmt: skip


def _part(event: dict[str, Any], data: dict[str, Any], raw: RawRequest) -> dict[str, Any]:
    """Read what happened in an incident: a note, an answer, a role."""
    starts, _, flags = extract.times(event.get("occurred_at"), None, raw.received_at)
    service = extract.word(extract.inside(data, "service", "summary"))
    return {
        "kind": Kind.INCIDENT_UPDATE, "status": "update", "starts_at": starts, "flags": frozenset(flags),
        "labels": {"service": service} if service else {},
    }  # fmt: skip


def _incident(data: dict[str, Any]) -> dict[str, Any]:
    """Find the incident that something happened in: roles keep it in a list."""
    for path in (("incident",), ("incident_role_assignments", 0, "incident"), ("task", "incident")):
        found = extract.inside(data, *path)
        if isinstance(found, dict):
            return found
    return {}


def _when(found: Any, raw: RawRequest) -> str:
    """Give when it happened, by which PagerDuty orders the events of one incident."""
    at, _, _ = extract.times(found, None, raw.received_at)
    return f"{at.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _extra(event: dict[str, Any], data: dict[str, Any], incident: dict[str, Any], raw: RawRequest) -> dict[str, str]:
    found = {
        "event_type": event.get("event_type"), "event_id": event.get("id"), "incident_id": incident.get("id"),
        "occurred_at": _when(event.get("occurred_at"), raw), "agent_id": extract.inside(event, "agent", "id"),
        "agent": extract.inside(event, "agent", "summary"),
        "incident_key": data.get("incident_key"), "service_id": extract.inside(data, "service", "id"),
        "message": data.get("message"), "state": data.get("state"), "content": data.get("content"),
        "merged_into": extract.inside(data, "resolve_reason", "incident", "id"),
    }  # fmt: skip
    return {name: text for name, value in found.items() if (text := extract.word(value, 1000))}


SOURCE = PagerDuty
