"""Any sender that can post JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from adapters.alerts.generic import SOURCE, GenericConfig
from bot.clock import START
from bot.domain.alert import Alert, Kind, Parsed, RawRequest, Severity
from bot.errors import PayloadInvalid
from bot.ports import AlertSource

SOURCE_OF_ANYBODY = SOURCE(GenericConfig(insecure=True), lambda _: None)


def parse(body: Any) -> Parsed:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return SOURCE_OF_ANYBODY.parse(RawRequest(id="01X", source="generic", received_at=START, body=raw))


def read(**body: Any) -> Alert:
    (found,) = parse(body).alerts
    return found


def test_it_is_an_alert_source() -> None:
    assert isinstance(SOURCE_OF_ANYBODY, AlertSource)


def test_every_field_is_read() -> None:
    found = read(
        model="support-bot", version="9", environment="prod", sli="groundedness", severity="P1", value=0.71, threshold="85%",
        fingerprint="support/prod", starts_at="2026-11-23T02:00:00Z", summary="Too low", labels={"tenant": "eu"}, kind="data",
        links=[{"rel": "dashboard", "url": "https://x.example.com"}, {"url": "ftp://x"}, 7], annotations={"a": "b"},
    )  # fmt: skip
    assert (found.model, found.version, found.environment, found.sli) == ("support-bot", "9", "prod", "groundedness")
    assert (found.severity, found.value, found.threshold, found.kind) == (Severity.CRITICAL, 0.71, 0.85, Kind.DATA)
    assert (found.fingerprint, found.status) == ("generic:support/prod", "firing")
    assert (found.starts_at, found.flags) == (datetime(2026, 11, 23, 2, tzinfo=UTC), frozenset())
    assert (found.summary, found.annotations) == ("Too low", {"a": "b", "summary": "Too low"})
    assert [link.url for link in found.links] == ["https://x.example.com"]


def test_labels_fill_what_the_object_leaves_out() -> None:
    found = read(labels={"model": "m", "env": "prod", "sli": "drift", "version": "1"}, version="2")
    assert (found.model, found.environment, found.sli, found.version) == ("m", "prod", "drift", "2")


@pytest.mark.parametrize(
    ("status", "wanted"), [("firing", "firing"), ("ALERTING", "firing"), ("resolved", "resolved"), ("OK", "resolved")]
)
def test_a_status_is_one_of_four_words(status: str, wanted: str) -> None:
    assert read(model="m", status=status).status == wanted


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"status": "maybe"}, "/status"), ({"status": None}, "/status"), ({"status": 1}, "/status"), ({"status": ["firing"]}, "/status"),
        ({"kind": "party"}, "/kind"), ({"value": "lots"}, "/value"), ({"threshold": True}, "/threshold"), ({"value": [1]}, "/value"),
        ({"labels": "x"}, "/labels"), ({"annotations": []}, "/annotations"), ({"kind": 0}, "/kind"), ({"kind": []}, "/kind"),
        ({"model": ["m"]}, "/model"), ({"model_name": {}}, "/model_name"), ({"version": [42]}, "/version"), ({"env": {}}, "/env"),
        ({"fingerprint": {}}, "/fingerprint"), ({"value": "1_0"}, "/value"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_set_aside_and_never_taken_for_firing(body: dict[str, Any], where: str) -> None:
    found = parse({"model": "m", **body})
    assert found.alerts == ()
    assert [one.where for one in found.rejected] == [where]


@pytest.mark.parametrize(
    ("value", "wanted"), [("8%", 0.08), ("NaN", None), ("-Inf", None), ("", None), (None, None), ("1e3", 1000.0)]
)
def test_a_value_is_a_finite_number_or_nothing(value: Any, wanted: float | None) -> None:
    assert read(model="m", value=value).value == wanted


def test_an_alert_without_identity_gets_one_that_stays() -> None:
    body = {"model": "m", "environment": "prod", "sli": "s", "labels": {"b": "1", "a": "2"}}
    first = read(**body).fingerprint
    assert read(**{**body, "labels": {"a": "2", "b": "1"}}, value=3, summary="x", status="ok").fingerprint == first
    assert read(**{**body, "sli": "t"}).fingerprint != first
    assert read(**body, dedup_key="k").fingerprint == "generic:k"


def test_the_model_is_found_however_much_else_there_is() -> None:
    many = {f"a{n:03}": "v" for n in range(500)}
    assert read(**many, model="m", summary="s").model == "m"
    assert read(labels={**many, "model": "m"}).labels["model"] == "m"


def test_only_what_ended_has_an_end() -> None:
    assert read(model="m", ends_at="2026-11-23T02:05:00Z").ends_at is None
    assert read(model="m", status="ok").ends_at == START
    assert read(
        model="m", status="ok", starts_at="2026-11-23T02:00:00Z", ends_at="2026-11-23T02:05:00Z"
    ).ends_at == datetime(2026, 11, 23, 2, 5, tzinfo=UTC)


def test_a_start_left_out_is_the_receipt_and_no_fault() -> None:
    found = read(model="m")
    assert (found.starts_at, found.flags) == (START, frozenset())


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b"1", b'"x"', b"", '{"model":"m"}'.encode("utf-16"), b'{"model":"\xe9"}']
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadInvalid):
        parse(body)


def test_the_idempotency_key_names_the_delivery() -> None:
    assert SOURCE_OF_ANYBODY.delivery_id({"IDEMPOTENCY-key": "k\u0000" + "x" * 500}, b"") == "k\ufffd" + "x" * 198
    assert SOURCE_OF_ANYBODY.delivery_id({}, b"") is None
