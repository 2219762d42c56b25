"""CloudEvents in each of their three modes, and the handshake before them."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.alerts.cloudevents import NotACloudEvent
from bot.errors import NotJson
from tests.adapters.alerts.senders import BEGAN, EVENT, SENDERS

SENDER = SENDERS["cloudevents"]
BATCH = {"Content-Type": "application/cloudevents-batch+json; charset=utf-8"}


def test_a_structured_event_is_named_by_source_and_subject() -> None:
    found = SENDER.read()
    assert (found.fingerprint, found.starts_at, found.value) == (
        "cloudevents:/watch/drift|fraud-scorer/psi",
        BEGAN,
        0.12,
    )
    assert found.raw is not None
    assert found.raw.pointer == "/data"


def test_a_binary_event_keeps_its_attributes_in_headers() -> None:
    headers = {f"ce-{name}": EVENT[name] for name in ("specversion", "id", "source", "type", "subject", "time")}
    found = SENDER.read(EVENT["data"], headers={"Content-Type": "application/json", **headers})
    assert (found.fingerprint, found.starts_at) == ("cloudevents:/watch/drift|fraud-scorer/psi", BEGAN)


def test_of_a_batch_every_event_is_read_and_a_bad_one_set_aside() -> None:
    bad = {**EVENT, "id": "e-2", "specversion": "2.0"}
    found = SENDER.parse([EVENT, bad, 7, {**EVENT, "id": "e-3", "subject": "fraud-scorer/ks"}], headers=BATCH)
    assert [one.raw.pointer for one in found.alerts if one.raw] == ["/0", "/3"]
    assert [one.where for one in found.rejected] == ["/1/specversion", "/2"]
    assert found.result == "partial"


@pytest.mark.parametrize(
    ("change", "where"),
    [({"id": ""}, "/id"), ({"data": "text"}, "/data"), ({"data": {"status": "odd"}}, "/data/status")],
)
def test_what_cannot_be_read_is_set_aside_and_says_where(change: dict[str, Any], where: str) -> None:
    assert [one.where for one in SENDER.parse({**EVENT, **change}).rejected] == [where]


def test_plain_json_and_a_batch_that_is_none_are_refused() -> None:
    with pytest.raises(NotACloudEvent) as refused:
        SENDER.parse(EVENT, headers={"Content-Type": "application/json"})
    assert refused.value.status == 415
    with pytest.raises(NotJson):
        SENDER.parse(EVENT, headers=BATCH)


def test_source_and_id_name_a_delivery_in_every_mode() -> None:
    source = SENDER.source()
    assert source.delivery_id({"ce-id": "e-1", "ce-source": "/watch/drift"}, b"{}") == "/watch/drift e-1"
    assert source.delivery_id({}, SENDER.body()) == "/watch/drift e-1"
    assert source.delivery_id({}, SENDER.body([EVENT])) == source.delivery_id({}, SENDER.body([EVENT]))
    assert source.delivery_id({}, b"{") is None
    assert len(source.delivery_id({}, SENDER.body({**EVENT, "source": "x" * 999})) or "") == 64


def test_the_handshake_allows_who_asks_and_puts_nothing_else_into_the_answer() -> None:
    source = SENDER.source()
    allowed = source.handshake({"WebHook-Request-Origin": "eventgrid.example.com"})
    assert (allowed["WebHook-Allowed-Origin"], allowed["WebHook-Allowed-Rate"]) == ("eventgrid.example.com", "*")
    assert source.handshake({}) == source.handshake({"WebHook-Request-Origin": "a\r\nSet-Cookie: b"}) == {}
