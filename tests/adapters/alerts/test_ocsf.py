"""What a finding in the Open Cybersecurity Schema Framework says."""

from __future__ import annotations

from typing import Any

import pytest

from bot.domain.alert import Kind, Severity
from tests.adapters.alerts.senders import BEGAN, FINDING, SENDERS

SENDER = SENDERS["ocsf"]


def test_a_finding_is_read() -> None:
    found = SENDER.read()
    assert (found.kind, found.status, found.severity) == (Kind.SECURITY, "firing", Severity.CRITICAL)
    assert (found.fingerprint, found.starts_at) == ("ocsf:w-1", BEGAN)
    assert found.labels == {"class": "2004", "model": "fraud-scorer", "version": "42", "product": "Scan"}


@pytest.mark.parametrize("change", [{"status_id": 4}, {"status_id": 3}, {"activity_id": 3}])
def test_one_that_is_dealt_with_ends(change: dict[str, int]) -> None:
    found = SENDER.read({**FINDING, **change})
    assert (found.status, found.ends_at is not None) == ("resolved", True)


@pytest.mark.parametrize(
    ("grade", "severity"),
    [
        (1, Severity.INFO),
        (3, Severity.WARNING),
        (4, Severity.ERROR),
        (6, Severity.CRITICAL),
        (99, Severity.UNKNOWN),
        ("5", Severity.UNKNOWN),
        (True, Severity.INFO),
    ],
)
def test_every_grade_has_a_severity(grade: Any, severity: Severity) -> None:
    assert SENDER.read({**FINDING, "severity_id": grade}).severity is severity


@pytest.mark.parametrize(
    ("change", "where"), [({"category_uid": 3}, "/category_uid"), ({"finding_info": {}}, "/finding_info/uid")]
)
def test_what_is_no_finding_is_set_aside(change: dict[str, Any], where: str) -> None:
    assert [one.where for one in SENDER.parse({**FINDING, **change}).rejected] == [where]


def test_a_message_sent_again_is_known_by_its_metadata() -> None:
    source = SENDER.source()
    assert (source.delivery_id({}, SENDER.body()), source.delivery_id({}, b"{")) == ("e-1", None)
