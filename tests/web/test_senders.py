"""Every sender's message over HTTP, on a clock of ours: the answer, and that nothing but a 202 leaves a trace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters import loading
from tests.adapters.alerts.senders import EVENT, SENDERS, Sender, alarm, notice, sns
from tests.web.test_server import Edge

NAMES = loading.names("alerts")


@pytest.fixture
def senders(tmp_path: Path) -> dict[str, Sender]:
    return {**SENDERS, "sns": sns(tmp_path)}


@pytest.fixture
async def edge(senders: dict[str, Sender]) -> AsyncIterator[Edge]:
    sources = {name: one.source() for name, one in senders.items()}
    made = Edge()
    async with made.serving(sources=sources, known=frozenset(NAMES)) as serving:
        yield serving


@pytest.mark.parametrize("name", NAMES)
async def test_its_message_is_stored_and_answered_202(edge: Edge, senders: dict[str, Sender], name: str) -> None:
    body = senders[name].body()
    status, said, _ = await edge.ask("POST", f"/hooks/{name}", data=body, headers=senders[name].headers(body))
    assert (status, said["outcome"], said["accepted"]) == (202, "accepted", 1)
    stored = edge.intake.memory.raw[said["id"]]
    assert stored.body == body
    assert not any(name.lower() in ("authorization", "x-pagerduty-signature") for name in stored.headers)
    assert senders[name].source().parse(stored).alerts  # what was stored is enough to read it again


@pytest.mark.parametrize("name", NAMES)
async def test_without_its_proof_nothing_is_stored(edge: Edge, senders: dict[str, Sender], name: str) -> None:
    body = senders[name].body(notice(alarm(), Signature="AAAA") if name == "sns" else None)
    if name == "sns":
        body = body.replace(b'"m-1"', b'"m-2"')
    status, said, _ = await edge.ask("POST", f"/hooks/{name}", data=body)
    assert (status, said) == (401, {"outcome": "unauthorized", "error": "unauthorized"})
    assert edge.intake.memory.raw == {}
    assert edge.rings == 0


async def test_a_certificate_from_elsewhere_is_forbidden(edge: Edge, senders: dict[str, Sender]) -> None:
    body = senders["sns"].body(notice(alarm(), SigningCertURL="https://s3.amazonaws.com/b/x.pem"))
    status, said, _ = await edge.ask("POST", "/hooks/sns", data=body)
    assert (status, said["outcome"]) == (403, "bad_cert_url")
    assert edge.intake.memory.raw == {}


async def test_a_certificate_that_cannot_be_had_asks_to_send_again(edge: Edge, tmp_path: Path) -> None:
    body = sns(tmp_path).body()
    (tmp_path / "amazon.pem").unlink()
    status, said, headers = await edge.ask("POST", "/hooks/sns", data=body)
    assert (status, said["outcome"], headers["retry-after"]) == (503, "unavailable", "5")


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("alertmanager", "grafana", "datadog", "opsgenie", "argo", "cef")]
)
async def test_a_message_sent_again_is_a_duplicate(edge: Edge, senders: dict[str, Sender], name: str) -> None:
    body = senders[name].body()
    headers = {**senders[name].headers(body), "Idempotency-Key": "once"}
    first, second = [(await edge.ask("POST", f"/hooks/{name}", data=body, headers=headers))[1] for _ in range(2)]
    assert (second["outcome"], second["id"]) == ("duplicate", first["id"])


async def test_grafana_may_put_and_nobody_else(edge: Edge, senders: dict[str, Sender]) -> None:
    body = senders["grafana"].body()
    assert (await edge.ask("PUT", "/hooks/grafana", data=body, headers=senders["grafana"].headers(body)))[0] == 202
    assert (await edge.ask("PUT", "/hooks/datadog", data=b"{}"))[0] == 405


async def test_cloudevents_are_asked_for_before_they_are_sent(edge: Edge) -> None:
    origin = {"WebHook-Request-Origin": "eventgrid.example.com"}
    status, _, headers = await edge.ask("OPTIONS", "/hooks/cloudevents", headers=origin)
    assert (status, headers["webhook-allowed-origin"]) == (200, "eventgrid.example.com")
    assert (await edge.ask("OPTIONS", "/hooks/generic", headers=origin))[0] == 405


async def test_what_is_no_cloudevent_is_an_unsupported_type(edge: Edge, senders: dict[str, Sender]) -> None:
    headers = {**senders["cloudevents"].headers(b""), "Content-Type": "application/json"}
    status, said, _ = await edge.ask(
        "POST", "/hooks/cloudevents", data=senders["cloudevents"].body(EVENT), headers=headers
    )
    assert (status, said["outcome"]) == (415, "not_a_cloudevent")
