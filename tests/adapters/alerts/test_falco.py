"""What Falco finds in a model's pod."""

from __future__ import annotations

import pytest

from bot.domain.alert import Kind, Severity
from tests.adapters.alerts.senders import BEGAN, SENDERS, SHELL

SENDER = SENDERS["falco"]


def test_a_finding_names_the_model_by_the_pods_own_label() -> None:
    found = SENDER.read()
    assert (found.kind, found.status, found.severity) == (Kind.SECURITY, "firing", Severity.CRITICAL)
    assert (found.model, found.version, found.starts_at) == ("fraud-scorer", "42", BEGAN)
    assert found.labels["rule"] == "Shell in container"


@pytest.mark.parametrize(
    ("pod", "workload"),
    [
        ("scorer-6d5f7c9b4d-x2x4z", "scorer"), ("scorer-0", "scorer"), ("scorer-x2x4z", "scorer"), ("scorer", "scorer"),
        ("fraud-scorer-6d5f7c9b4d-x2x4z", "fraud-scorer"), ("fraud-model", "fraud-model"),
    ],
)  # fmt: skip
def test_the_same_finding_in_another_pod_of_one_workload_is_one_alert(pod: str, workload: str) -> None:
    fields = {**SHELL["output_fields"], "k8s.pod.name": pod}
    found = SENDER.read({**SHELL, "output_fields": fields})
    assert found.fingerprint == f"falco:Shell in container|ml|{workload}|registry.example.com/scorer"


def test_a_message_sent_again_is_known_by_its_uuid() -> None:
    source = SENDER.source()
    assert (source.delivery_id({}, SENDER.body()), source.delivery_id({}, b"{")) == ("f-1", None)
