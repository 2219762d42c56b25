"""A pipeline asks whether a version may serve: 200 or 403, with the reason; Flagger asks in its own way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from bot.errors import TimelineError
from bot.flow.gate import Ruling
from tests.web.test_server import Edge

AUTH = {"Authorization": "Bearer api-tökén"}
NO = Ruling(allowed=False, reason="Version 42 of fraud-scorer is quarantined in prod: rolled back in incident 7Q4RD.")
ROLLOUT = {"name": "fraud", "namespace": "prod", "phase": "Progressing", "metadata": {"version": "42"}}


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with Edge().serving() as serving:
        yield serving


async def test_a_version_that_may_serve_is_200_with_the_reason(edge: Edge) -> None:
    status, body, _ = await edge.ask("GET", "/api/v1/gate/fraud-scorer/42?environment=prod", headers=AUTH)
    assert (status, body) == (200, {"allowed": True, "reason": edge.ruling.reason})
    assert edge.asked == [("serve", "fraud-scorer", "42", "prod")]


async def test_a_quarantined_version_is_403_with_the_reason(edge: Edge) -> None:
    edge.ruling = NO
    status, body, _ = await edge.ask("GET", "/api/v1/gate/fraud-scorer/42", headers=AUTH)
    assert (status, body) == (403, {"allowed": False, "reason": NO.reason})


async def test_what_is_not_registered_is_404(edge: Edge) -> None:
    edge.ruling = Ruling(allowed=False, known=False, reason="No model `x` is registered.")
    assert (await edge.ask("GET", "/api/v1/gate/x/1", headers=AUTH))[0] == 404


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic !!"}, {"Authorization": "Basic YTp3cm9uZw=="}],
)
@pytest.mark.parametrize("path", ["gate/m/1", "flagger/m/prod/confirm", "flagger/m/prod/rollback"])
async def test_nobody_is_answered_without_a_token(edge: Edge, path: str, headers: dict[str, str]) -> None:
    method = "GET" if path.startswith("gate") else "POST"
    assert (await edge.ask(method, f"/api/v1/{path}", headers=headers))[0] == 401
    assert edge.asked == []


async def test_a_gate_that_cannot_tell_lets_nothing_through() -> None:
    async def away(*_: str) -> Ruling:
        message = "The timeline cannot be read."
        raise TimelineError(message)

    async with Edge().serving(gate=away) as edge:
        assert (await edge.ask("GET", "/api/v1/gate/fraud-scorer/42", headers=AUTH))[0] == 503


@pytest.mark.parametrize(("path", "question"), [("confirm", "go_on"), ("rollback", "back")])
@pytest.mark.parametrize("allowed", [True, False])
async def test_flagger_asks_with_the_password_of_its_address(
    edge: Edge, path: str, question: str, *, allowed: bool
) -> None:
    edge.ruling = Ruling(allowed=allowed, reason="Because it is so.")
    basic = {"Authorization": aiohttp.encode_basic_auth("flagger", "api-tökén", "utf-8")}
    status, body, _ = await edge.ask("POST", f"/api/v1/flagger/fraud-scorer/prod/{path}", headers=basic, json=ROLLOUT)
    assert (status, body) == (200 if allowed else 403, {question: allowed, "reason": "Because it is so."})
    assert edge.asked == [(question, "fraud-scorer", "42", "prod")]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"metadata": 4}', b'{"metadata": {"version": [1]}}'])
async def test_a_body_that_says_nothing_names_no_version(edge: Edge, body: bytes) -> None:
    status, _, _ = await edge.ask("POST", "/api/v1/flagger/m/prod/confirm", headers=AUTH, data=body)
    assert (status, edge.asked) == (200, [("go_on", "m", "", "prod")])


async def test_a_body_too_large_for_a_rollout_is_refused(edge: Edge) -> None:
    big: Any = b"x" * 70_000
    assert (await edge.ask("POST", "/api/v1/flagger/m/prod/confirm", headers=AUTH, data=big))[0] == 413
