"""What Opsgenie's webhook says."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.alerts.opsgenie import NotAnAction
from bot.domain.alert import Kind, Severity
from tests.adapters.alerts.senders import ACTION, BEGAN, SENDERS

SENDER = SENDERS["opsgenie"]


def test_a_new_alert_is_read() -> None:
    found = SENDER.read()
    assert (found.status, found.kind, found.severity, found.value) == ("firing", Kind.ALERT, Severity.ERROR, 0.12)
    assert (found.fingerprint, found.starts_at) == ("opsgenie:scorer|errors", BEGAN)


@pytest.mark.parametrize(
    ("action", "status", "kind"),
    [
        ("Close", "resolved", Kind.ALERT), ("Delete", "resolved", Kind.ALERT), ("Acknowledge", "acknowledged", Kind.INCIDENT_UPDATE),
        ("AddNote", "update", Kind.INCIDENT_UPDATE), ("Something", "update", Kind.INCIDENT_UPDATE),
    ],
)  # fmt: skip
def test_only_create_close_and_delete_say_whether_it_is_wrong(action: str, status: str, kind: Kind) -> None:
    found = SENDER.read({**ACTION, "action": action})
    assert (found.status, found.kind, found.ends_at is not None) == (status, kind, status == "resolved")


@pytest.mark.parametrize("body", [{"action": "Create"}, {"action": 1, "alert": {}}, {"action": "Create", "alert": {}}])
def test_an_action_on_nothing_is_refused(body: Any) -> None:
    with pytest.raises(NotAnAction):
        SENDER.parse(body)
