"""What Grafana's contact point sends, signed or with a token."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.clock import START
from bot.errors import SignatureInvalid
from tests.adapters.alerts.senders import LABELS, PANEL, SECRET, SENDERS

SENDER = SENDERS["grafana"]


def group(**changes: Any) -> dict[str, Any]:
    return {**PANEL, "alerts": [{**PANEL["alerts"][0], **changes}]}


def test_the_first_query_is_the_value_and_every_page_a_link() -> None:
    found = SENDER.read()
    assert (found.value, found.threshold, found.flags) == (0.12, 0.01, frozenset())
    assert [link.rel for link in found.links] == ["source", "silence", "dashboard", "panel"]


def test_an_annotation_says_the_value_better_than_a_query() -> None:
    assert SENDER.read(group(annotations={"value": "8%"})).value == 0.08


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {**LABELS, "alertname": "DatasourceNoData"}}, {"labels": {**LABELS, "alertname": "DatasourceError"}},
        {"annotations": {"grafana_state_reason": "NoData"}}, {"annotations": {"grafana_state_reason": "MissingSeries"}, "status": "resolved"},
    ],
)  # fmt: skip
def test_a_series_that_is_missing_has_no_value(change: dict[str, Any]) -> None:
    found = SENDER.read(group(**change))
    assert (found.value, found.flags) == (None, frozenset({"no_data"}))


@pytest.mark.parametrize("values", [None, [], {"A": "NaN"}, {"A": {}}, {}, {"A": True}])
def test_values_that_are_none_are_no_value(values: Any) -> None:
    assert SENDER.read(group(values=values)).value is None


def test_it_may_put() -> None:
    assert SENDER.source().methods == {"POST", "PUT"}


@pytest.mark.parametrize("late", [timedelta(minutes=6), -timedelta(minutes=6)])
def test_a_signature_is_good_for_five_minutes(late: timedelta) -> None:
    source, body = SENDER.source(), SENDER.body()
    source.verify(SENDER.headers(body, at=START), body, START + timedelta(minutes=4))
    with pytest.raises(SignatureInvalid):
        source.verify(SENDER.headers(body, at=START), body, START + late)


@pytest.mark.parametrize("stamp", ["", "soon", "NaN", "-1", "9" * 400, "é"])
def test_a_signature_without_a_time_that_can_be_read_proves_nothing(stamp: str) -> None:
    body = SENDER.body()
    with pytest.raises(SignatureInvalid):
        SENDER.source().verify({**SENDER.headers(body), "X-Grafana-Alerting-Timestamp": stamp}, body, START)


def test_a_token_is_enough_where_nothing_is_signed() -> None:
    source = SENDER.source(secrets=[], tokens=[{"env": "NEW"}])
    source.authenticate({"Authorization": f"Bearer {SECRET}"})
    with pytest.raises(SignatureInvalid):
        source.authenticate({})
    with pytest.raises(SignatureInvalid):
        source.authenticate({"Authorization": "Bearer guessed"})


def test_a_token_does_not_stand_for_a_signature_that_is_wrong() -> None:
    source, body = SENDER.source(tokens=[{"env": "NEW"}]), SENDER.body()
    headers = {**SENDER.headers(body, "guessed"), "Authorization": f"Bearer {SECRET}"}
    source.authenticate(headers)
    with pytest.raises(SignatureInvalid):
        source.verify(headers, body, START)


def test_anybody_is_believed_only_where_it_is_written_down() -> None:
    SENDER.source(secrets=[], insecure=True).authenticate({})
