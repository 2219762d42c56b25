"""Requests a step sends: warming, telling, asking; what is lost is looked up before it is sent again."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.actions.http import HttpAction, HttpConfig
from adapters.testing import NotedLog
from bot.clock import SystemClock
from bot.domain.traffic import Outcome
from bot.errors import Unauthorized, Unavailable
from bot.ports import Act, Context

ACT = Act("01X/1/purge", "fraud-scorer", "prod", "42", "41", "01X", "incident 7Q4RD")
SECRET = "s3cret-token"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers as a test tells it, and notes what came."""

    def __init__(self) -> None:
        self.status, self.seconds, self.seen, self.bodies = 200, 0.0, list[web.Request](), list[Any]()
        self.statuses: list[int] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        if request.can_read_body:
            self.bodies.append(await request.json())
        await asyncio.sleep(self.seconds)
        return web.Response(status=self.statuses.pop(0) if self.statuses else self.status)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made, app = Server(), web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@asynccontextmanager
async def opened(secret: str | None = SECRET, **keys: Any) -> AsyncIterator[HttpAction]:
    context = Context(SystemClock(), "purge", NotedLog(), lambda _: secret)
    async with HttpAction(HttpConfig.model_validate(keys), context) as action:
        yield action


async def test_a_request_carries_its_key_its_token_and_what_the_plan_says(server: Server) -> None:
    keys: dict[str, Any] = {
        "url": f"{server.url}/{{model}}/{{version}}",
        "token": {"env": "T"},
        "body": {"to": ["{version}"], "n": 1},
    }
    async with opened(**keys) as action:
        ended = await action.perform(ACT)
    assert (ended.outcome, ended.detail) == (Outcome.APPLIED, "purge: answered 200.")
    (request,) = server.seen
    assert (request.method, request.path) == ("POST", "/fraud-scorer/41")
    assert request.headers["Idempotency-Key"] == "01X/1/purge"
    assert request.headers["Authorization"] == f"Bearer {SECRET}"
    assert server.bodies == [{"to": ["41"], "n": 1}]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.APPLIED), (204, Outcome.APPLIED), (301, Outcome.REJECTED), (400, Outcome.REJECTED),
        (403, Outcome.REJECTED), (409, Outcome.CONFLICT), (412, Outcome.CONFLICT), (429, Outcome.INDETERMINATE),
        (500, Outcome.INDETERMINATE), (503, Outcome.INDETERMINATE),
    ],
)  # fmt: skip
async def test_each_answer_means_what_it_can_mean(server: Server, status: int, outcome: Outcome) -> None:
    server.status = status
    async with opened(url=server.url) as action:
        assert (await action.perform(ACT)).outcome is outcome


async def test_an_answer_that_is_lost_is_not_an_answer(server: Server) -> None:
    server.seconds = 30
    async with opened(url=server.url, within="1s") as action:
        assert (await action.perform(ACT)).outcome is Outcome.INDETERMINATE


async def test_nothing_is_sent_where_nobody_listens(server: Server) -> None:
    del server
    async with opened(url="http://127.0.0.1:9/x") as action:
        with pytest.raises(Unavailable):
            await action.perform(ACT)


async def test_nothing_is_sent_without_the_token_and_the_preflight_says_so(server: Server) -> None:
    async with opened(secret=None, url=server.url, token={"env": "T"}) as action:
        assert [one.level for one in await action.preflight(ACT)] == ["blocker"]
        with pytest.raises(Unauthorized):
            await action.perform(ACT)
    assert server.seen == []


@pytest.mark.parametrize(("status", "outcome"), [(200, Outcome.APPLIED), (404, Outcome.REJECTED), (500, None)])
async def test_what_became_of_it_is_asked_where_that_is_known(
    server: Server, status: int, outcome: Outcome | None
) -> None:
    server.status = status
    async with opened(url=server.url, state=f"{server.url}/runs/{{key}}") as action:
        known = await action.done(ACT)
    assert (known.outcome if known else None) is outcome
    assert server.seen[0].raw_path == "/runs/01X%2F1%2Fpurge"


@pytest.mark.parametrize(
    ("keys", "again"),
    [({}, False), ({"repeatable": True}, True), ({"method": "PUT"}, True), ({"requests": 3}, True), ({"method": "GET"}, True)],
)  # fmt: skip
async def test_only_what_may_be_asked_twice_is_asked_again(keys: dict[str, Any], *, again: bool) -> None:
    async with opened(url="http://127.0.0.1:9", **keys) as action:
        known = await action.done(ACT)
    assert (known is not None and known.outcome is Outcome.REJECTED) is again


# ── warming ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_version_is_warm_when_every_request_was_answered(server: Server) -> None:
    async with opened(url=f"{server.url}/{{version}}", method="GET", requests=20, slowest="5s") as action:
        ended = await action.perform(ACT)
    assert ended.outcome is Outcome.APPLIED
    assert ended.detail.startswith("purge: warm: 20 requests were answered, the last one took ")
    assert [one.path for one in server.seen] == ["/41"] * 20


async def test_a_version_is_not_warm_when_any_request_failed(server: Server) -> None:
    server.statuses = [200, 503, 200, 503, 503]
    async with opened(url=server.url, requests=10) as action:
        ended = await action.perform(ACT)
    assert ended.outcome is Outcome.REJECTED
    assert ended.detail == "purge: 3 of 10 requests failed, the first ones were answered 503."


async def test_a_version_that_answers_slowly_is_still_cold(server: Server) -> None:
    server.seconds = 1.1
    async with opened(url=server.url, requests=2, slowest="1s") as action:
        ended = await action.perform(ACT)
    assert ended.outcome is Outcome.REJECTED
    assert "still cold" in ended.detail


# ── taking back, and what is shown ────────────────────────────────────────────────────────────────────────────────


async def test_it_is_taken_back_where_there_is_a_way(server: Server) -> None:
    async with opened(url=server.url, undo=f"{server.url}/undo") as action:
        assert action.reversible
        assert (await action.undo(ACT)).outcome is Outcome.APPLIED
    async with opened(url=server.url) as action:
        assert not action.reversible
        assert (await action.undo(ACT)).outcome is Outcome.REJECTED
    assert [one.path for one in server.seen] == ["/undo"]


async def test_the_call_by_hand_is_one_command_without_the_token() -> None:
    hostile = Act("k", "it's", "prod", "42", "41'; rm -rf x #", "01X", "")
    async with opened(url="http://h/{version}?token=t0p", token={"env": "T"}, body={"m": "{model}"}) as action:
        call = action.call(hostile)
    assert call.text == "POST h/41%27%3B%20rm%20-rf%20x%20%23"
    said = shlex.split(call.by_hand)
    assert said[:4] == ["curl", "-fsS", "-X", "POST"]
    assert said[-2:] == ['{"m": "it\'s"}', "http://h/41%27%3B%20rm%20-rf%20x%20%23?…"]
    assert SECRET not in call.by_hand


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_value_leaves_its_place_in_the_address(version: str, model: str) -> None:
    from urllib.parse import unquote

    from adapters.actions.http import _filled

    try:
        version.encode(), model.encode()
    except UnicodeEncodeError:
        return
    filled = _filled("http://h/a/{model}/b/{version}", Act("k", model, "prod", "42", version, "01X", ""))
    scheme, _, host, a, one, b, two = filled.split("/")
    assert (scheme, host, a, unquote(one), b, unquote(two)) == ("http:", "h", "a", model, "b", version)


@pytest.mark.parametrize(
    "keys",
    [{"url": "ftp://x"}, {"url": "http://u:p@h"}, {"url": "http://h", "method": "GET", "body": {}}, {"url": "http://h", "within": "1m"}],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_at_the_start(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpConfig.model_validate(keys)
