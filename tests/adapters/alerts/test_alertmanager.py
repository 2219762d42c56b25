"""What Alertmanager sends, what strangers send in its name, and what is read from either."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from adapters.alerts.alertmanager import SOURCE, AlertmanagerConfig
from bot.clock import START
from bot.domain.alert import Alert, Parsed, RawRef, RawRequest, Severity
from bot.errors import PayloadInvalid
from bot.ports import AlertSource

LABELS = {
    "alertname": "ErrorRatio",
    "model": "fraud-scorer",
    "version": "42",
    "env": "prod",
    "sli": "error_ratio",
    "severity": "page",
}
NOTES = {
    "summary": "12 % errors ≥ 1 %",
    "value": "12%",
    "threshold": "0.01",
    "runbook_url": "https://books.example.com/f",
}
STARTED = datetime(2026, 11, 23, 2, 5, 7, 123456, tzinfo=UTC)


def alert(**changes: Any) -> dict[str, Any]:
    """One member of a group as Go writes it: nanoseconds, and a zero end."""
    return {
        "status": "firing", "labels": LABELS, "annotations": NOTES, "startsAt": "2026-11-23T02:05:07.123456789Z",
        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://prometheus:9090/graph?g0.expr=x", "fingerprint": "aba41437ed61d29d",
        **changes,
    }  # fmt: skip


def parse(body: Any) -> Parsed:
    source = SOURCE(AlertmanagerConfig(insecure=True), lambda _: None)
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return source.parse(RawRequest(id="01X", source="alertmanager", received_at=START, body=raw))


def read(**changes: Any) -> Alert:
    """The only alert of a group whose member has these changes."""
    (found,) = parse({"status": "firing", "alerts": [alert(**changes)], "groupKey": "{}:{}"}).alerts
    return found


def test_it_is_an_alert_source() -> None:
    assert isinstance(SOURCE(AlertmanagerConfig(insecure=True), lambda _: None), AlertSource)


def test_every_field_is_read() -> None:
    found = read()
    assert (found.model, found.version, found.environment, found.sli) == ("fraud-scorer", "42", "prod", "error_ratio")
    assert (found.severity, found.value, found.threshold) == (Severity.CRITICAL, 0.12, 0.01)
    assert (found.starts_at, found.ends_at, found.status) == (STARTED, None, "firing")
    assert (found.fingerprint, found.group_key) == ("alertmanager:aba41437ed61d29d", "{}:{}")
    assert (found.summary, found.flags) == ("12 % errors ≥ 1 %", frozenset())
    assert found.raw == RawRef(id="01X", pointer="/alerts/0")
    assert [link.rel for link in found.links] == ["source", "runbook"]


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "resolved": ({"status": "resolved", "endsAt": "2026-11-23T02:10:00Z"}, {"ends_at": datetime(2026, 11, 23, 2, 10, tzinfo=UTC)}),
    "resolved without an end": ({"status": "resolved"}, {"ends_at": START, "flags": frozenset()}),
    "ends before it starts": (
        {"status": "resolved", "endsAt": "2026-11-23T01:00:00Z"}, {"ends_at": START, "flags": {"ends_before_starts"}},
    ),
    "end is no time": ({"status": "resolved", "endsAt": "soon"}, {"ends_at": START, "flags": {"bad_ends_at"}}),
    "start never set": ({"startsAt": "0001-01-01T00:00:00Z"}, {"starts_at": START, "flags": frozenset()}),
    "start in the year 99999": ({"startsAt": "99999-01-01T00:00:00Z"}, {"starts_at": START, "flags": {"bad_starts_at"}}),
    "start is an object": ({"startsAt": {}}, {"starts_at": START, "flags": {"bad_starts_at"}}),
    "start in the future": ({"startsAt": "2026-11-23T02:15:00Z"}, {"starts_at": START, "flags": {"future_starts_at"}}),
    "start a little ahead": (
        {"startsAt": "2026-11-23T02:13:59Z"}, {"starts_at": datetime(2026, 11, 23, 2, 13, 59, tzinfo=UTC), "flags": frozenset()},
    ),
    "start without a zone": (
        {"startsAt": "2026-11-23T02:00:00"}, {"starts_at": datetime(2026, 11, 23, 2, tzinfo=UTC), "flags": {"naive_starts_at"}},
    ),
    "start in milliseconds": ({"startsAt": 1795399507123}, {"starts_at": STARTED.replace(microsecond=123000), "flags": frozenset()}),
    "start in seconds": ({"startsAt": 1795399507}, {"starts_at": STARTED.replace(microsecond=0), "flags": frozenset()}),
    "start with an offset": ({"startsAt": "2026-11-23T03:05:07.123456+0100"}, {"starts_at": STARTED}),
    "value is no number": ({"annotations": {"value": "NaN", "threshold": "lots"}}, {"value": None, "threshold": None}),
    "no fingerprint": ({"fingerprint": None}, {"flags": {"fingerprint_recomputed"}}),
    "labels of every kind": (
        {"labels": {"model": "m", "n": 7, "yes": True, "none": None, "deep": {"a": 1}}},
        {"labels": {"model": "m", "n": "7", "yes": "true", "none": "", "deep": '{"a": 1}'}},
    ),
    "a control character": ({"labels": {"model": "a\u0000b\u001b"}}, {"model": "a\ufffdb\ufffd"}),
    "links that run": ({"generatorURL": "javascript:alert(1)", "annotations": {"runbook_url": "http://x\u0000y"}}, {"links": ()}),
    "an unknown severity": ({"labels": {**LABELS, "severity": "spicy"}}, {"severity": Severity.UNKNOWN}),
    "a template": ({"annotations": {"summary": "{{ 7*7 }} <!channel>"}}, {"summary": "{{ 7*7 }} <!channel>"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_member_is_read_as(name: str) -> None:
    changes, wanted = CASES[name]
    found = read(**changes)
    assert {key: getattr(found, key) for key in wanted} == wanted


@pytest.mark.parametrize("native", [None, "", {}, [], 7, True])
def test_a_fingerprint_that_is_no_text_is_computed(native: Any) -> None:
    assert read(fingerprint=native).fingerprint == read(fingerprint="").fingerprint
    assert read(fingerprint=native).flags == {"fingerprint_recomputed"}


def test_long_fingerprints_that_end_differently_are_two() -> None:
    assert read(fingerprint="f" * 1000 + "a").fingerprint != read(fingerprint="f" * 1000 + "b").fingerprint


def test_labels_beyond_the_cap_still_name_the_model_and_tell_alerts_apart() -> None:
    many = {f"a{n:03}": "v" for n in range(500)}
    one, other = (read(labels={**many, **LABELS, "z": z}, fingerprint="") for z in "12")
    assert (one.model, one.version, one.severity) == ("fraud-scorer", "42", Severity.CRITICAL)
    assert len(one.labels) == 128
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("given", "flags"),
    [(0, set()), (None, set()), ("0", set()), (2, {"truncated"}), ("2", {"truncated"}), (-1, {"truncated"}), ({}, {"truncated"}),
     (True, {"truncated"}), (0.5, {"truncated"})],
)  # fmt: skip
def test_a_group_is_complete_only_when_that_is_sure(given: Any, flags: set[str]) -> None:
    assert parse({"alerts": [alert()], "truncatedAlerts": given}).flags == flags


def test_a_missing_fingerprint_is_computed_as_the_sender_would() -> None:
    labels = {  # with the fingerprint that Alertmanager 0.25 gave them
        "alertname": "ModelFeatureDrift", "cluster": "eks-prod-1", "env": "prod", "feature": "txn_amount_7d_µ",
        "instance": "127.0.0.1:19400", "job": "ml", "model": "fraud-scorer", "severity": "warning", "sink": "ok", "sli": "psi",
        "version": "7",
    }  # fmt: skip
    assert read(labels=labels, fingerprint="").fingerprint == "alertmanager:aba41437ed61d29d"


def test_a_missing_status_is_the_groups() -> None:
    member = alert()
    del member["status"]
    for absent in ({}, {"status": None}, {"status": ""}):
        (one,) = parse({"status": "resolved", "alerts": [{**member, **absent}]}).alerts
        assert one.status == "resolved"
    assert parse({"alerts": [member]}).rejected[0].where == "/alerts/0/status"


@pytest.mark.parametrize(
    ("member", "where"),
    [
        (alert(status="pending"), "status"), (alert(status=["firing"]), "status"), (alert(labels=["model"]), "labels"),
        ("text", ""), (None, ""), ([], ""), ({}, "labels"), (alert(status=0), "status"), (alert(status=False), "status"),
        (alert(labels=None), "labels"), (alert(labels="model"), "labels"), (alert(status="Firing"), "status"),
    ],
)  # fmt: skip
def test_one_bad_member_is_set_aside_and_the_rest_is_taken(member: Any, where: str) -> None:
    found = parse({"alerts": [alert(), member]})
    assert len(found.alerts) == 1
    assert [one.where for one in found.rejected] == [f"/alerts/1/{where}".rstrip("/")]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b'"x"', b"[]", b"7", b"{}", b'{"alerts":{}}', b'{"alerts":null}', b"{", b'{"alerts":[NaN]}',
        b'{"alerts":[1e999]}', b'{"alerts":["\xe9"]}', b'{"alerts":["\\ud800"]}', '{"alerts":[]}'.encode("utf-16"),
        b'{"alerts":' * 40 + b"[]" + b"}" * 40, b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
def test_what_is_not_a_group_is_refused_with_a_short_reason(body: bytes) -> None:
    with pytest.raises(PayloadInvalid) as refused:
        parse(body)
    assert 0 < len(str(refused.value)) < 80


def test_nesting_up_to_32_levels_is_read() -> None:
    def nested(levels: int) -> dict[str, Any]:
        found: Any = 1
        for _ in range(levels - 1):
            found = [found]
        return {"alerts": [], "x": found}

    assert parse(nested(32)).alerts == ()
    with pytest.raises(PayloadInvalid, match="32"):
        parse(nested(33))


def test_an_empty_group_is_fine() -> None:
    assert parse({"alerts": []}) == Parsed()


def test_a_thousand_alerts_are_read_and_more_are_flagged() -> None:
    found = parse({"alerts": [alert(fingerprint=f"{n:016x}") for n in range(1001)]})
    assert len(found.alerts) == 1000
    assert "too_many_alerts" in found.flags
    assert parse({"alerts": [alert()], "truncatedAlerts": 2}).flags == {"truncated"}


def test_labels_names_and_texts_are_capped() -> None:
    found = read(labels={"model": "m", **{f"l{n}": "v" * 9000 for n in range(500)}}, fingerprint="f" * 500)
    assert len(found.labels) == 128
    assert max(len(text) for text in found.labels.values()) == 4096
    assert len(found.fingerprint) <= 160


def test_the_last_of_two_equal_keys_wins() -> None:
    body = orjson.dumps({"alerts": [alert()]}).replace(b'"status":"firing"', b'"status":"firing","status":"resolved"')
    assert parse(body).alerts[0].status == "resolved"
