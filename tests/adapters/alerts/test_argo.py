"""What our template in Argo sends."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.alerts.argo import NotOurTemplate
from bot.domain.alert import Kind, Severity
from tests.adapters.alerts.senders import BEGAN, ROLLOUT, SENDERS

SENDER = SENDERS["argo"]


def test_an_aborted_rollout_is_an_alert() -> None:
    found = SENDER.read()
    assert (found.kind, found.status, found.severity) == (Kind.ALERT, "firing", Severity.ERROR)
    assert (found.fingerprint, found.starts_at) == ("argo:c1/ml/scorer", BEGAN)
    assert found.annotations == {"summary": "analysis failed", "trigger": "on-rollout-aborted"}


@pytest.mark.parametrize(
    "change",
    [{"trigger": "on-rollout-completed", "phase": "Healthy"}, {"trigger": "on-deployed", "phase": "Succeeded"}],
)
def test_what_was_shipped_is_a_change(change: dict[str, Any]) -> None:
    found = SENDER.read({**ROLLOUT, **change})
    assert (found.kind, found.status, found.is_change) == (Kind.CHANGE, "update", True)


def test_an_application_is_named_like_a_rollout_and_judged_by_its_phase() -> None:
    body = {key: value for key, value in ROLLOUT.items() if key != "rollout"}
    found = SENDER.read({**body, "app": "scorer", "trigger": "on-something", "phase": "Degraded"})
    assert (found.fingerprint, found.status) == ("argo:c1/ml/scorer", "firing")


@pytest.mark.parametrize(
    "body", [{}, {"trigger": "on-deployed"}, {"rollout": "scorer"}, {"trigger": 1, "app": "scorer"}]
)
def test_another_template_is_refused_with_the_way_to_ours(body: Any) -> None:
    with pytest.raises(NotOurTemplate, match="connect-a-sender"):
        SENDER.parse(body)
