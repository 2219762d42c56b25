"""What our template in Datadog sends."""

from __future__ import annotations

import pytest

from adapters.alerts.datadog import NotOurTemplate
from bot.domain.alert import Severity
from tests.adapters.alerts.senders import BEGAN, MONITOR, SENDERS

SENDER = SENDERS["datadog"]


def test_a_transition_is_read() -> None:
    found = SENDER.read()
    assert (found.status, found.severity, found.value, found.threshold) == ("firing", Severity.CRITICAL, 0.12, 0.01)
    assert (found.fingerprint, found.starts_at, found.sli) == ("datadog:77:k1", BEGAN, "ml.errors")
    assert found.labels == {"env": "prod", "model": "fraud-scorer", "version": "42"}
    assert [link.rel for link in found.links] == ["source"]  # the picture's address is none


@pytest.mark.parametrize(
    ("transition", "status"),
    [
        ("Re-Triggered", "firing"),
        ("Warn", "firing"),
        ("recovered", "resolved"),
        ("No Data", "firing"),
        ("Re-No Data", "firing"),
    ],
)
def test_every_transition_has_a_status(transition: str, status: str) -> None:
    found = SENDER.read({**MONITOR, "transition": transition})
    assert found.status == status
    assert ("no_data" in found.flags) == ("No Data" in transition)
    assert (found.value is None) == ("No Data" in transition)
    assert (found.ends_at is not None) == (status == "resolved")


def test_a_monitor_without_groups_is_named_by_its_id() -> None:
    assert SENDER.read({**MONITOR, "aggreg_key": ""}).fingerprint == "datadog:77"


def test_a_transition_nobody_documents_is_set_aside() -> None:
    found = SENDER.parse({**MONITOR, "transition": "Moved"})
    assert (found.result, found.rejected[0].where) == ("quarantined", "/transition")


def test_datadogs_own_payload_is_refused_with_the_way_to_ours() -> None:
    with pytest.raises(NotOurTemplate, match="connect-a-sender"):
        SENDER.parse({"id": "1", "title": "t", "event_type": "x"})
