"""What Sentry's metric alerts, issue alerts and issues say."""

from __future__ import annotations

from typing import Any

import pytest

from bot.domain.alert import Kind, Severity
from tests.adapters.alerts.senders import BEGAN, ISO, METRIC, SENDERS

SENDER = SENDERS["sentry"]
SEEN: dict[str, Any] = {
    "action": "triggered",
    "data": {
        "triggered_rule": "NaN",
        "event": {
            "issue_id": "88", "title": "NaN out", "level": "fatal", "datetime": ISO, "web_url": "https://sentry.example.com/88",
            "tags": [["model", "fraud-scorer"], {"key": "version", "value": "42"}, "odd", ["x"]],
        },
    },
}  # fmt: skip


def test_a_metric_alert_names_its_model_in_the_terms_of_its_query() -> None:
    found = SENDER.read()
    assert found.labels == {"project": "scoring", "environment": "prod", "model": "fraud-scorer", "version": "42"}
    assert (found.fingerprint, found.status, found.severity) == ("sentry:3:9", "firing", Severity.CRITICAL)
    assert (found.sli, found.threshold, found.starts_at) == ("count()", 100, BEGAN)


def test_a_metric_alert_ends() -> None:
    found = SENDER.read({**METRIC, "action": "resolved"})
    assert (found.status, found.threshold, found.ends_at is not None) == ("resolved", None, True)


def test_an_issue_alert_is_read_from_its_tags() -> None:
    found = SENDER.read(SEEN, headers={"Sentry-Hook-Resource": "event_alert"})
    assert (found.model, found.version, found.severity) == ("fraud-scorer", "42", Severity.CRITICAL)
    assert (found.fingerprint, found.annotations) == ("sentry:issue:88", {"summary": "NaN out", "rule": "NaN"})


@pytest.mark.parametrize(
    ("action", "status", "kind"),
    [
        ("created", "firing", Kind.ALERT),
        ("resolved", "resolved", Kind.ALERT),
        ("assigned", "update", Kind.INCIDENT_UPDATE),
    ],
)
def test_an_issue_begins_ends_or_is_worked_on(action: str, status: str, kind: Kind) -> None:
    body = {"action": action, "data": {"issue": {"id": "88", "title": "NaN out", "level": "error", "firstSeen": ISO}}}
    found = SENDER.read(body, headers={"Sentry-Hook-Resource": "issue"})
    assert (found.status, found.kind, found.fingerprint) == (status, kind, "sentry:issue:88")


@pytest.mark.parametrize(("resource", "outcome"), [("installation", "ping"), ("comment", "ignored")])
def test_other_resources_are_left_alone(resource: str, outcome: str) -> None:
    assert SENDER.parse(METRIC, headers={"Sentry-Hook-Resource": resource}).outcome == outcome


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({**METRIC, "action": "deleted"}, "/action"),
        ({"action": "critical", "data": {"metric_alert": []}}, "/data/metric_alert"),
    ],
)
def test_what_cannot_be_read_is_set_aside_and_says_where(body: Any, where: str) -> None:
    assert [one.where for one in SENDER.parse(body).rejected] == [where]


def test_without_the_header_the_message_says_what_it_is() -> None:
    assert SENDER.read(SEEN, headers={"Sentry-Hook-Resource": ""}).fingerprint == "sentry:issue:88"
