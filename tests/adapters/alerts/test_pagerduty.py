"""What PagerDuty's V3 webhooks say, and what is asked about an incident."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from adapters.alerts.pagerduty import NotAnEvent
from bot.clock import START
from bot.domain.alert import Kind, Severity
from bot.errors import SignatureInvalid
from tests.adapters.alerts.senders import BEGAN, INCIDENT, SECRET, SENDERS, event

SENDER = SENDERS["pagerduty"]
REF = {"id": "Q7INCIDENT", "html_url": "https://acme.pagerduty.com/incidents/Q7INCIDENT", "summary": None}


def test_a_triggered_incident_is_an_alert_that_wants_its_labels_asked_for() -> None:
    found = SENDER.read()
    assert (found.kind, found.status, found.severity) == (Kind.ALERT, "firing", Severity.CRITICAL)
    assert (found.fingerprint, found.starts_at, found.ends_at) == ("pagerduty:Q7INCIDENT", BEGAN, None)
    assert found.labels == {"service": "Scoring", "urgency": "high", "title": "scorer fails"}
    assert found.flags == {"needs_enrichment"}
    assert (found.extra["agent"], found.extra["service_id"], found.extra["incident_key"]) == (
        "Dana Oncall",
        "PSCORER",
        INCIDENT["incident_key"],
    )
    assert [link.url for link in found.links] == [INCIDENT["html_url"]]


def test_a_service_stands_for_a_model_where_the_configuration_says_so() -> None:
    found = SENDER.read(services={"PSCORER": {"model": "fraud-scorer", "environment": "prod"}})
    assert (found.model, found.environment) == ("fraud-scorer", "prod")


def test_a_resolve_ends_it_and_a_merge_is_said_to_be_no_end() -> None:
    ended = SENDER.read(
        event("incident.resolved", {**INCIDENT, "status": "resolved"}, occurred_at="2026-11-23T02:09:00Z")
    )
    assert (ended.status, ended.ends_at is not None, "merged" in ended.flags) == ("resolved", True, False)
    reason = {"type": "merge_resolve_reason", "incident": {"id": "QOTHER"}}
    merged = SENDER.read(event("incident.resolved", {**INCIDENT, "resolve_reason": reason}))
    assert "merged" in merged.flags
    assert merged.extra["merged_into"] == "QOTHER"


@pytest.mark.parametrize(
    ("kind", "now", "status"),
    [
        ("acknowledged", "acknowledged", "acknowledged"), ("unacknowledged", "triggered", "firing"),
        ("escalated", "triggered", "firing"), ("reassigned", "acknowledged", "acknowledged"),
        ("priority_updated", "triggered", "firing"), ("incident_type.changed", "odd", "update"),
    ],
)  # fmt: skip
def test_what_happens_to_an_incident_is_an_update_and_never_an_alert(kind: str, now: str, status: str) -> None:
    found = SENDER.read(event(f"incident.{kind}", {**INCIDENT, "status": now}))
    assert (found.kind, found.status, found.flags) == (Kind.INCIDENT_UPDATE, status, frozenset())


@pytest.mark.parametrize(
    ("kind", "data", "extra"),
    [
        ("responder.replied", {"incident": REF, "state": "accepted", "message": "help"}, {"state": "accepted", "message": "help"}),
        ("annotated", {"incident": REF, "content": "looking"}, {"content": "looking"}),
        ("role.assigned", {"incident_role_assignments": [{"incident": REF}]}, {}),
        ("task.completed", {"task": {"incident": REF}}, {}),
        ("workflow.started", {"incident": REF, "service": {"id": "PSCORER", "summary": "Scoring"}}, {"service_id": "PSCORER"}),
        ("conference_bridge.updated", {"incident": REF}, {}),
    ],
)  # fmt: skip
def test_what_happens_in_an_incident_names_it(kind: str, data: Any, extra: dict[str, str]) -> None:
    found = SENDER.read(event(f"incident.{kind}", data))
    assert (found.kind, found.status, found.fingerprint) == (Kind.INCIDENT_UPDATE, "update", "pagerduty:Q7INCIDENT")
    assert extra.items() <= found.extra.items()


@pytest.mark.parametrize(
    ("kind", "outcome"), [("pagey.ping", "ping"), ("service.updated", "ignored"), ("incident.teleported", "ignored")]
)
def test_a_ping_and_events_that_change_nothing_are_left_alone(kind: str, outcome: str) -> None:
    found = SENDER.parse(event(kind, {"type": "ping"}))
    assert (found.outcome, found.alerts) == (outcome, ())


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"event": "incident.trigger"}]}, event(7), event("incident.triggered", {"id": None}),  # type: ignore[arg-type]
        event("incident.annotated", {"content": "of what?"}),
    ],
)  # fmt: skip
def test_an_older_version_or_an_event_about_nothing_is_refused(body: Any) -> None:
    with pytest.raises(NotAnEvent):
        SENDER.parse(body)


def test_a_body_written_anew_does_not_carry_its_signature_along() -> None:
    body = SENDER.body()
    again = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
    with pytest.raises(SignatureInvalid):
        SENDER.source().verify(SENDER.headers(body, SECRET), again, START)


def test_a_message_sent_again_has_the_same_delivery() -> None:
    source = SENDER.source()
    assert source.delivery_id({"X-Webhook-Id": "wh-2"}, SENDER.body()) == "01incident.triggered"
    assert source.delivery_id({"X-Webhook-Id": "wh-2"}, b"{") == "wh-2"
    assert source.delivery_id({}, b"{") is None
