"""Every answer of the HTTP edge, asked of a real server on a free port."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.alert import RawRequest
from bot.errors import LastgoodError, ReadOnly, TimelineError
from bot.flow.gate import Ruling
from bot.web.openapi import ACT, GATE, Forbidden, Refusal
from bot.web.server import MAX_BODY, Host, Standing, create_app, listen
from tests.flow.fakes import Intake, sources

AM = {"Authorization": "Bearer am-token"}
GEN = {"Authorization": "Bearer gen-token"}
API = {"Authorization": "Bearer api-tökén"}
ALERT = b'{"model":"fraud-scorer"}'


class Lines:
    """A log that keeps what it was given."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, **facts: object) -> None:
        self.lines.append(f"{event} {facts}")

    def warning(self, event: str, **facts: object) -> None:
        self.lines.append(f"{event} {facts}")


class Broken:
    """An inbox whose storage fails in one way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def receive(self, raw: RawRequest) -> tuple[str, bool]:
        raise self.error

    async def request(self, inbound_id: str) -> RawRequest | None:
        return None


class Edge:
    """A server over a world in memory; `rings` counts how often the engine was told."""

    def __init__(self) -> None:
        self.intake, self.log, self.rings = Intake(), Lines(), 0
        self.ready = {"engine": True, "not_draining": True}
        self.host = Host(
            sources=sources(), known=frozenset({"alertmanager", "generic", "grafana"}), inbox=self.intake.memory,
            clock=self.intake.clock, ids=self.intake.ids, log=self.log, health=lambda: {"engine": True},
            ready=self._ready, draining=lambda: False, standing=self._standing, who_could=self._could, gate=self._gate, ring=self._ring, tokens=lambda: ["", "other", "api-tökén"], incidents=self._incidents,
            incident=self._one, inbound=self._one, unrouted=self._unrouted,
        )  # fmt: skip
        self.url = ""
        self.asked: list[tuple[str, str, str, str]] = []
        self.ruling = Ruling(allowed=True, reason="Version 42 of fraud-scorer is not quarantined.")

    def _ring(self) -> None:
        self.rings += 1

    async def _ready(self) -> dict[str, bool]:
        return self.ready

    async def _standing(self) -> Standing:
        return Standing(3, {"waiting": 2}, 2, {"role_missing": 5, "expired": 1})

    async def _could(self, incident: str) -> list[str]:
        del incident
        return []

    async def _gate(self, question: str, model: str, version: str, environment: str) -> Ruling:
        self.asked.append((question, model, version, environment))
        return self.ruling

    async def _incidents(self, before: str | None) -> list[dict[str, Any]]:
        return [{"id": "01X", "before": before}]

    async def _one(self, found: str) -> dict[str, Any] | None:
        return {"id": found} if found == "01X" else None

    async def _unrouted(self, before: str | None) -> list[dict[str, Any]]:
        return [{"id": "01X", "before": before}]

    @asynccontextmanager
    async def serving(self, **changes: Any) -> AsyncIterator[Edge]:
        runner = await listen(create_app(replace(self.host, **changes)), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def ask(self, method: str, path: str, **keys: Any) -> tuple[int, Any, dict[str, str]]:
        if isinstance(keys.get("data"), bytes):
            keys["data"] = io.BytesIO(keys["data"])
        async with aiohttp.ClientSession() as session, session.request(method, self.url + path, **keys) as answer:
            raw = await answer.read()
            content = orjson.loads(raw) if answer.content_type == "application/json" else raw.decode()
            return answer.status, content, {key.lower(): value for key, value in answer.headers.items()}

    async def raw(self, request: bytes) -> int:
        """Send bytes as they are and give the status."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.url.rpartition(":")[2]))
        writer.write(request)
        status = int((await reader.readline()).split()[1])
        writer.close()
        return status


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with Edge().serving() as serving:
        yield serving


# ── hooks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_message_is_stored_before_it_is_answered_202(edge: Edge) -> None:
    status, content, _ = await edge.ask("POST", "/hooks/generic", data=ALERT, headers=GEN)
    assert (status, content["outcome"], content["accepted"], content["quarantined"]) == (202, "accepted", 1, 0)
    stored = edge.intake.memory.raw[content["id"]]
    assert (stored.source, stored.body, edge.rings) == ("generic", ALERT, 1)


async def test_no_credential_is_stored(edge: Edge) -> None:
    _, content, _ = await edge.ask("POST", "/hooks/generic", data=ALERT, headers={**GEN, "X-Token": "s", "Cookie": "c"})
    stored = edge.intake.memory.raw[content["id"]].model_dump_json()
    assert "gen-token" not in stored
    assert "Cookie" not in stored


Answer = tuple[str, str, dict[str, str], bytes, int, str]
# Each is wrong in all that is checked later as well, so it is the first check that answers.
FORM = "application/x-www-form-urlencoded"
LARGE = b"x" * (MAX_BODY + 1)
ORDER: dict[str, Answer] = {
    "unknown source": ("GET", "/hooks/stranger", {"Content-Encoding": "gzip"}, b"{", 404, "unknown_source"),
    "a source that ships later": ("POST", "/hooks/pagerduty", {"Content-Encoding": "gzip"}, b"{", 404, "unknown_source"),
    "unknown method": ("PUT", "/hooks/generic", {"Content-Encoding": "gzip"}, b"{", 405, "method"),
    "asked what is allowed": ("OPTIONS", "/hooks/generic", {"Content-Encoding": "gzip"}, b"{", 405, "method"),
    "method of a source that is not set up": ("PUT", "/hooks/grafana", {}, b"{", 405, "method"),
    "compressed, and not set up": ("POST", "/hooks/grafana", {"Content-Encoding": "gzip"}, b"{", 415, "content_encoding"),
    "compressed": ("POST", "/hooks/generic", {"Content-Encoding": "br"}, b"{", 415, "content_encoding"),
    "compressed by nothing": ("POST", "/hooks/generic", {"Content-Encoding": "identity"}, b"{", 415, "content_encoding"),
    "not set up": ("POST", "/hooks/grafana", {}, LARGE, 503, "secret_not_configured"),
    "no token": ("POST", "/hooks/generic", {"Content-Type": FORM}, b"{", 401, "unauthorized"),
    "another source's token": ("POST", "/hooks/generic", AM, b"{", 401, "unauthorized"),
    "no token and too large": ("POST", "/hooks/generic", {}, LARGE, 401, "unauthorized"),
    "a form and too large": ("POST", "/hooks/generic", {**GEN, "Content-Type": FORM}, LARGE, 413, "too_large"),
    "a form": ("POST", "/hooks/generic", {**GEN, "Content-Type": "multipart/form-data; boundary=x"}, b"{", 415, "content_type"),
    "a form that is JSON": ("POST", "/hooks/generic", {**GEN, "Content-Type": FORM}, ALERT, 415, "content_type"),
    "no JSON": ("POST", "/hooks/generic", GEN, b"{", 400, "bad_json"),
    "nothing at all": ("POST", "/hooks/alertmanager", AM, b"", 400, "bad_json"),
    "no object": ("POST", "/hooks/generic", GEN, b"[]", 400, "not_an_object"),
    "another sender's format": ("POST", "/hooks/alertmanager", AM, ALERT, 400, "not_an_alertmanager_message"),
    "plain text that is JSON": ("POST", "/hooks/generic", {**GEN, "Content-Type": "text/plain"}, ALERT, 202, "accepted"),
    "a type nobody knows": ("POST", "/hooks/generic", {**GEN, "Content-Type": ";;;/"}, ALERT, 202, "accepted"),
    "an odd charset": ("POST", "/hooks/generic", {**GEN, "Content-Type": "application/json; charset=klingon"}, ALERT, 202, "accepted"),
    "a status nobody knows": ("POST", "/hooks/generic", GEN, b'{"status":"maybe"}', 202, "quarantined"),
    "half of it": ("POST", "/hooks/alertmanager", AM, b'{"alerts":[{"status":"firing","labels":{}},1]}', 202, "partial"),
    "nothing in it": ("POST", "/hooks/alertmanager", AM, b'{"alerts":[]}', 202, "accepted"),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDER)
async def test_the_first_check_that_fails_answers(edge: Edge, name: str) -> None:
    method, path, headers, body, status, outcome = ORDER[name]
    got, content, told = await edge.ask(method, path, data=body, headers=headers)
    assert (got, content["outcome"]) == (status, outcome)
    assert bool(edge.intake.memory.raw) is (status == 202)
    assert ("retry-after" in told, "www-authenticate" in told, "allow" in told) == (
        status == 503, status == 401, status == 405,
    )  # fmt: skip


async def test_a_refusal_says_nothing_about_the_credential(edge: Edge) -> None:
    _, missing, _ = await edge.ask("POST", "/hooks/generic", data=ALERT)
    _, wrong, _ = await edge.ask("POST", "/hooks/generic", data=ALERT, headers=AM)
    assert missing == wrong == {"outcome": "unauthorized", "error": "unauthorized"}


async def test_a_secret_that_is_not_there_is_our_fault() -> None:
    empty = sources(generic={"tokens": [{"env": "NOT_SET"}]})
    async with Edge().serving(sources=empty) as edge:
        status, content, told = await edge.ask("POST", "/hooks/generic", data=ALERT, headers=GEN)
    assert (status, content["outcome"], told["retry-after"]) == (503, "secret_not_configured", "5")


async def test_a_process_that_is_stopping_takes_nothing_new() -> None:
    async with Edge().serving(draining=lambda: True) as edge:
        status, content, told = await edge.ask("POST", "/hooks/generic", data=ALERT, headers=GEN)
    assert (status, content["outcome"], told["retry-after"]) == (503, "draining", "5")
    assert edge.intake.memory.raw == {}


@pytest.mark.parametrize(
    "error", [ReadOnly("disk of gen-token full"), RuntimeError("gen-token"), UnicodeError("gen-token")]
)
async def test_storage_that_fails_is_503_and_the_log_keeps_the_secret(error: Exception) -> None:
    async with Edge().serving(inbox=Broken(error)) as edge:
        status, content, told = await edge.ask("POST", "/hooks/generic", data=ALERT, headers=GEN)
    assert (status, content["outcome"], told["retry-after"]) == (503, "unavailable", "5")
    assert len(edge.log.lines) == 1
    assert isinstance(error, ReadOnly) or "gen-token" not in edge.log.lines[0]


@pytest.mark.parametrize(
    "header", [b"Authorization: Bearer am-tok\xe9n", b"Authorization: Basic \xff", b"Authorization: \xff"]
)
async def test_a_token_of_any_bytes_is_only_refused(edge: Edge, header: bytes) -> None:
    assert (
        await edge.raw(b"POST /hooks/generic HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n%b\r\n\r\n{}" % header) == 401
    )


async def test_other_headers_of_any_bytes_can_be_stored(edge: Edge) -> None:
    head = (
        b"POST /hooks/generic HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nAuthorization: Bearer gen-token\r\n"
        % len(ALERT)
    )
    assert await edge.raw(head + b"User-Agent: \xff\xfe\r\nIdempotency-Key: \xe9\r\n\r\n" + ALERT) == 202
    (stored,) = edge.intake.memory.raw.values()
    assert stored.delivery_id == "\ufffd"


async def test_the_same_delivery_is_taken_once(edge: Edge) -> None:
    keyed = {**GEN, "Idempotency-Key": "k1"}
    _, first, _ = await edge.ask("POST", "/hooks/generic", data=ALERT, headers=keyed)
    status, again, _ = await edge.ask("POST", "/hooks/generic", data=ALERT, headers=keyed)
    assert (status, again["outcome"], again["id"]) == (202, "duplicate", first["id"])
    assert edge.rings == 1


async def test_a_bomb_is_neither_unpacked_nor_read(edge: Edge) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    headers = {**GEN, "Content-Encoding": "gzip"}
    assert (await edge.ask("POST", "/hooks/generic", data=bomb, headers=headers))[0] == 415


async def test_a_body_without_a_length_is_cut_off_at_4_mib(edge: Edge) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b"x" * 65536

    assert (await edge.ask("POST", "/hooks/generic", data=endless(), headers=GEN))[0] == 413


async def test_a_body_that_never_comes_is_408() -> None:
    async with Edge().serving(body_within=0.05) as edge:
        head = (
            b"POST /hooks/generic HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nAuthorization: Bearer gen-token\r\n\r\n{"
        )
        assert await edge.raw(head) == 408


async def test_a_body_is_asked_for_only_when_its_sender_is_known(edge: Edge) -> None:
    ask = b"POST /hooks/generic HTTP/1.1\r\nHost: x\r\nContent-Length: 24\r\nExpect: 100-continue\r\nAuthorization: Bearer %b\r\n\r\n"
    assert await edge.raw(ask % b"stranger") == 401
    assert await edge.raw(ask % b"gen-token") == 100


async def test_requests_in_a_row_are_answered_in_a_row(edge: Edge) -> None:
    head = b"POST /hooks/generic HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: 24\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(edge.url.rpartition(":")[2]))
    writer.write(b"".join(head % token + ALERT for token in (b"gen-token", b"wrong", b"gen-token")))
    statuses: list[bytes] = []
    while len(statuses) < 3:
        line = await asyncio.wait_for(reader.readline(), 5)
        if line.startswith(b"HTTP/1.1 ") or b"}HTTP/1.1 " in line:
            statuses.append(line.rpartition(b"HTTP/1.1 ")[2][:3])
    writer.close()
    assert statuses == [b"202", b"401", b"202"]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"POST /hooks/generic/ HTTP/1.1", 404), (b"POST /hooks/ HTTP/1.1", 404), (b"POST /hooks HTTP/1.1", 404),
        (b"POST /hooks/../metrics HTTP/1.1", 404), (b"GET /hooks/%2e%2e/metrics HTTP/1.1", 404),
        (b"POST /hooks/a%2Fb HTTP/1.1", 404), (b"POST /hooks/%00 HTTP/1.1", 404), (b"POST //hooks/generic HTTP/1.1", 404),
        (b"HEAD /hooks/generic HTTP/1.1", 405), (b"PROPFIND /hooks/generic HTTP/1.1", 405), (b"POST /healthz HTTP/1.1", 405),
        (b"POST /hooks/generic HTTP/7", 400), (b"DELETE /api/v1/incidents HTTP/1.1", 405), (b"GET /api/v2/x HTTP/1.1", 404),
    ],
)  # fmt: skip
async def test_an_odd_address_or_method_is_refused(edge: Edge, line: bytes, status: int) -> None:
    assert (
        await edge.raw(line + b"\r\nHost: x\r\nAuthorization: Bearer gen-token\r\nContent-Length: 0\r\n\r\n") == status
    )
    assert edge.intake.memory.raw == {}


async def test_what_has_no_address_is_refused_in_json(edge: Edge) -> None:
    assert (await edge.ask("GET", "/nowhere"))[:2] == (404, {"error": "not found"})
    status, content, told = await edge.ask("DELETE", "/readyz")
    assert (status, content, told["allow"]) == (405, {"error": "method not allowed"}, "GET,HEAD")


async def test_a_body_in_chunks_is_taken(edge: Edge) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(ALERT), 5):
            yield ALERT[at : at + 5]

    assert (await edge.ask("POST", "/hooks/generic", data=chunks(), headers=GEN))[0] == 202
    (stored,) = edge.intake.memory.raw.values()
    assert stored.body == ALERT


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Transfer-Encoding: chunked", b"zz\r\n"), (b"Transfer-Encoding: gzip", b""), (b"Content-Length: -1", b""),
        (b"Content-Length: 1e3", b""), (b"Content-Length: 24\r\nContent-Length: 2", ALERT),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 24", ALERT),
    ],
)  # fmt: skip
async def test_a_body_without_honest_bounds_is_refused(edge: Edge, framing: bytes, body: bytes) -> None:
    head = b"POST /hooks/generic HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer gen-token\r\n%b\r\n\r\n"
    assert await edge.raw(head % framing + body) == 400
    assert edge.intake.memory.raw == {}


async def test_five_thousand_alerts_are_read_without_holding_others_up(edge: Edge) -> None:
    member = {"status": "firing", "labels": {"model": "fraud-scorer", "text": "x" * 600}}
    body = orjson.dumps({"alerts": [member] * 5000})
    status, content, _ = await edge.ask("POST", "/hooks/alertmanager", data=body, headers=AM)
    assert (status, content["accepted"]) == (202, 1000)


# ── laws ──────────────────────────────────────────────────────────────────────────────────────────────────────────

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=12,
)  # fmt: skip
WHOLE = {
    "version": "4", "status": "firing", "groupKey": "{}", "externalURL": "http://x", "truncatedAlerts": 0,
    "alerts": [{"status": "firing", "labels": {"model": "fraud-scorer", "severity": "page"}, "annotations": {"value": "8%"},
                "startsAt": "2026-11-23T02:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://x", "fingerprint": "f"}],
    "model": "fraud-scorer", "labels": {"env": "prod"}, "annotations": {"a": "b"}, "links": [{"rel": "a", "url": "http://x"}],
    "starts_at": "2026-11-23T02:00:00Z", "ends_at": None, "value": 0.1, "threshold": "8%", "kind": "alert", "fingerprint": "x",
}  # fmt: skip
Path = tuple[str | int, ...]


def places(found: Any, here: Path = ()) -> list[Path]:
    rows = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    return [here, *(place for key, child in rows for place in places(child, (*here, key)))]


def put(found: Any, place: Path, value: Any) -> Any:
    """The same JSON with another value in one place."""
    if not place:
        return value
    copy = found.copy()
    copy[place[0]] = put(found[place[0]], place[1:], value)
    return copy


@pytest.fixture(scope="module")
def same_edge() -> Iterator[Callable[[bytes], list[int]]]:
    """One loop for many examples: hypothesis wants a plain function."""

    async def statuses(body: bytes) -> list[int]:
        async with Edge().serving() as edge:
            return [
                (await edge.ask("POST", f"/hooks/{name}", data=body, headers=headers))[0]
                for name, headers in (("generic", GEN), ("alertmanager", AM))
            ]

    with asyncio.Runner() as runner:
        yield lambda body: runner.run(statuses(body))


@settings(max_examples=80, deadline=None)
@given(place=st.sampled_from(places(WHOLE)), value=JSON)
def test_any_value_in_any_place_is_taken_or_refused_and_never_a_fault(
    same_edge: Callable[[bytes], list[int]], place: Path, value: Any
) -> None:
    body = json.dumps(put(WHOLE, place, value)).encode()
    assert set(same_edge(body)) <= {202, 400}


# ── everything else ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_health_and_readiness_are_two_answers(edge: Edge) -> None:
    edge.ready["not_draining"] = False
    assert (await edge.ask("GET", "/healthz"))[:2] == (200, {"ok": True, "checks": {"engine": True}})
    status, content, _ = await edge.ask("GET", "/readyz")
    assert (status, content) == (503, {"ok": False, "checks": {"engine": True, "not_draining": False}})


async def test_what_stands_now_is_counted_at_each_look(edge: Edge) -> None:
    _, text, _ = await edge.ask("GET", "/metrics")
    assert "intake_pending 3.0" in text
    assert 'incidents_open{phase="waiting"} 2.0' in text
    assert "# TYPE break_glass_total counter\nbreak_glass_total 2.0" in text
    assert 'approvals_refused_total{reason="role_missing"} 5.0' in text
    assert 'approvals_refused_total{reason="expired"} 1.0' in text


async def test_metrics_count_answers_by_source_and_never_by_a_strangers_name(edge: Edge) -> None:
    await edge.ask("POST", "/hooks/generic", data=b'{"status":"maybe"}', headers=GEN)
    await edge.ask("POST", "/hooks/generic", data=ALERT)
    await edge.ask("POST", "/hooks/some-stranger", data=ALERT)
    status, text, _ = await edge.ask("GET", "/metrics")
    assert status == 200
    assert 'intake_requests_total{code="202",outcome="quarantined",source="generic"} 1.0' in text
    assert 'intake_auth_failures_total{source="generic"} 1.0' in text
    assert 'intake_quarantined_total{source="generic"} 1.0' in text
    assert "intake_ack_seconds_count 3.0" in text
    assert (
        f'intake_last_heartbeat_timestamp{{source="generic"}} {edge.intake.clock.now().timestamp() / 1e9}e+09' in text
    )
    assert "some-stranger" not in text


PRIVATE = ["/api/v1/incidents", "/api/v1/incidents/01X", "/api/v1/inbound", "/api/v1/inbound/01X"]


@pytest.mark.parametrize("path", PRIVATE)
@pytest.mark.parametrize(
    "given_", ["", "Bearer ", "Bearer", "Bearer wrong", "api-tökén", "Basic api-tökén", "Bearer \udce9"]
)
async def test_the_api_answers_a_bearer_only(edge: Edge, path: str, given_: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {given_}\r\n\r\n"
    assert await edge.raw(head.encode(errors="surrogateescape")) == 401
    assert (await edge.ask("GET", path))[0] == 401


async def test_the_api_lists_and_shows(edge: Edge) -> None:
    async def get(path: str) -> tuple[int, Any]:
        status, content, _ = await edge.ask("GET", f"/api/v1/{path}", headers=API)
        return status, content

    assert await get("incidents?before=01W") == (200, {"incidents": [{"id": "01X", "before": "01W"}]})
    assert await get("incidents/01X") == (200, {"id": "01X"})
    assert await get("inbound?before=01W") == (200, {"inbound": [{"id": "01X", "before": "01W"}]})
    assert (await get("incidents/none"))[0] == (await get("inbound/none"))[0] == 404


async def test_the_description_names_every_path_of_the_api(edge: Edge) -> None:
    status, content, _ = await edge.ask("GET", "/api/v1/openapi.json")
    assert status == 200
    paths = {path.replace("{id}", "01X") for path in content["paths"]}
    assert paths == {*PRIVATE, "/api/v1/incidents/01X/{act}", GATE}
    assert set(content["paths"][ACT]["post"]["responses"]) == {"401", "403", "404", "503"}


@pytest.mark.parametrize("act", ["approve", "reject", "break_glass", "anything"])
async def test_a_token_cannot_vote_and_is_told_who_could_and_how(act: str) -> None:
    async def could(incident: str) -> list[str]:
        return ["Priya Shah", "Tom Becker"] if incident == "01X" else []

    async with Edge().serving(who_could=could) as edge:
        status, content, _ = await edge.ask(
            "POST", f"/api/v1/incidents/01X/{act}", headers=API, json={"person": "U0ANA"}
        )
    assert status == 403
    assert Forbidden.model_validate(content).outcome == "forbidden"
    assert content["error"] == (
        f"API tokens cannot vote: no person stands behind a request to {act.replace('_', ' ')}. Priya Shah or Tom Becker can, "
        "on the card in Slack or in a terminal after `lastgood login`. Nothing was changed."
    )


async def test_an_act_without_a_token_is_401_and_on_no_incident_404(edge: Edge) -> None:
    path = "/api/v1/incidents/01X/approve"
    assert (await edge.ask("POST", path))[0] == (await edge.ask("POST", path, headers=GEN))[0] == 401
    assert (await edge.ask("POST", "/api/v1/incidents/none/approve", headers=API))[0] == 404
    status, content, _ = await edge.ask("POST", path, headers=API)
    assert (status, "A person who holds the role can" in content["error"]) == (403, True)
    assert (await edge.ask("GET", path, headers=API))[0] == 405


async def test_the_sign_in_pages_are_there_only_where_a_sign_in_is_configured(edge: Edge) -> None:
    for path in ("/confirm/x", "/login", "/signin/callback", "/pages/page.css"):
        assert (await edge.ask("GET", path))[0] == 404


async def test_every_refusal_of_the_api_has_the_described_shape(edge: Edge) -> None:
    refused = [await edge.ask("GET", path) for path in PRIVATE]
    refused.append(await edge.ask("GET", "/api/v1/inbound/none", headers=API))
    assert [status for status, _, _ in refused] == [401] * 4 + [404]
    assert all(Refusal.model_validate(content).error for _, content, _ in refused)


async def test_a_timeline_that_cannot_be_read_is_503_and_says_nothing_of_where_it_is() -> None:
    async def unreadable(before: str | None) -> Any:
        raise TimelineError("The timeline /secret/place cannot be read.")

    async with Edge().serving(incidents=unreadable) as edge:
        status, content, told = await edge.ask("GET", "/api/v1/incidents", headers=API)
    assert (status, content, told["retry-after"]) == (503, {"error": "unavailable, ask again"}, "5")
    assert len(edge.log.lines) == 1


async def test_slack_is_handed_on_when_there_is_somebody_to_hand_it_to(edge: Edge) -> None:
    async def slack(request: web.Request) -> web.Response:
        return web.Response(text=(await request.read()).decode())

    assert (await edge.ask("POST", "/slack/events", data=b"x"))[0] == 404
    async with Edge().serving(slack=slack) as other:
        assert (await other.ask("POST", "/slack/events", data=b"payload"))[:2] == (200, "payload")


async def test_a_port_that_is_taken_is_named(edge: Edge) -> None:
    port = int(edge.url.rpartition(":")[2])
    with pytest.raises(LastgoodError, match=f"Port {port} on 127.0.0.1"):
        await listen(create_app(edge.host), "127.0.0.1", port)
