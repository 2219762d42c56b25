"""What MLflow's registry says, and how it signs."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.clock import START
from bot.domain.alert import Kind
from bot.errors import SignatureInvalid
from tests.adapters.alerts.senders import ALIAS, BEGAN, SECRET, SENDERS

SENDER = SENDERS["mlflow"]


def test_an_alias_that_moved_is_a_change_and_no_alert() -> None:
    found = SENDER.read()
    assert (found.kind, found.status, found.model, found.version, found.environment) == (
        Kind.CHANGE,
        "update",
        "fraud-scorer",
        "42",
        None,
    )
    assert found.labels == {"event": "model_version_alias.created", "alias": "champion"}
    assert (found.fingerprint, found.starts_at) == ("mlflow:9d0f4a", BEGAN)
    assert found.is_change


def test_prompts_and_budgets_are_left_alone() -> None:
    assert SENDER.parse({**ALIAS, "entity": "prompt_version"}).outcome == "ignored"


def test_a_retry_carries_its_old_time_and_is_good_for_five_minutes() -> None:
    source, body = SENDER.source(), SENDER.body()
    headers = SENDER.headers(body)
    source.verify(headers, body, START + timedelta(seconds=90))
    assert source.delivery_id(headers, body) == "9d0f4a"
    with pytest.raises(SignatureInvalid):
        source.verify(headers, body, START + timedelta(minutes=6))


def test_a_signature_in_hexadecimal_or_over_another_delivery_is_refused() -> None:
    source, body = SENDER.source(), SENDER.body()
    headers = SENDER.headers(body, SECRET)
    with pytest.raises(SignatureInvalid):
        source.verify({**headers, "X-MLflow-Signature": "v1," + "a" * 64}, body, START)
    with pytest.raises(SignatureInvalid):
        source.verify({**headers, "X-MLflow-Delivery-Id": "another"}, body, START)
