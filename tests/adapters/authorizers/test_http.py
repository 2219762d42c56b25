"""A second opinion over HTTP: only three answers are a yes, everything else objects and says why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.authorizers.http import LIMIT, HttpAuthorizer, HttpConfig, _verdict
from adapters.loading import load
from adapters.testing import MATTER, AuthorizerContract, AuthorizerRig, NotedLog, Wire
from bot.clock import SystemClock
from bot.domain.credential import Credential
from bot.domain.words import NBSP
from bot.ports import Authorizer, Context

SECRET = "hunter2"


class Opinion:
    """An Open Policy Agent in so far as we use one: `{"input"}` in, `{"result"}` out."""

    def __init__(self) -> None:
        self.answer: web.Response | dict[str, Any] = {"result": True}
        self.asked: list[tuple[dict[str, str], Any]] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/data/lastgood/allow"

    async def reply(self, request: web.Request) -> web.Response:
        self.asked.append((dict(request.headers), await request.json()))
        if isinstance(self.answer, web.Response):
            return self.answer
        return web.json_response(self.answer)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Opinion]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.reply)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        yield self
        await runner.cleanup()


@pytest.fixture
async def opinion() -> AsyncIterator[Opinion]:
    async with Opinion().serving() as one:
        yield one


async def told(opinion: Opinion, answer: Any = None, secret: str | None = SECRET, **keys: Any) -> str:
    if answer is not None:
        opinion.answer = answer
    context = Context(SystemClock(), "http", NotedLog(), lambda _: secret)
    async with HttpAuthorizer(HttpConfig(url=opinion.url, **keys), context) as one:
        return await one.objection(MATTER)


class TestHttp(AuthorizerContract):
    """The shipped authorizer behind a line that can be broken."""

    @pytest.fixture
    async def rig(self, opinion: Opinion) -> AsyncIterator[AuthorizerRig]:
        wire = Wire(opinion.port)
        await wire.open()
        config = HttpConfig(
            url=f"http://127.0.0.1:{wire.port}/allow?key={SECRET}",
            token=Credential(env="OPINION"),
            within=timedelta(milliseconds=300),
        )

        def make(context: Context) -> Authorizer:
            return HttpAuthorizer(config, Context(context.clock, context.name, context.log, lambda _: f"t-{SECRET}"))

        async def deny(reason: str) -> None:
            opinion.answer = {"result": {"allow": False, "reason": reason}}

        async def hang() -> None:
            await wire.lose(lambda _: True, silent=True)

        yield AuthorizerRig(make, deny, wire.cut, hang, wire.say, wire.mend, SECRET, deadline=2)
        await wire.mend()
        await wire.cut()


@pytest.mark.parametrize("answer", [{"allow": True}, {"result": True}, {"result": {"allow": True}}])
async def test_three_answers_are_a_yes(opinion: Opinion, answer: dict[str, Any]) -> None:
    assert await told(opinion, answer) == ""


Refusing = dict[str, tuple[Any, str]]
NO: Refusing = {
    "a plain no": ({"allow": False}, "says no, without a reason."),
    "a no with its reason": ({"allow": False, "reason": "Freeze."}, 'says no: "Freeze."'),
    "an OPA that says no": ({"result": False}, "says no, without a reason."),
    "an OPA that says no and why": ({"result": {"allow": False, "reason": "Freeze."}}, 'says no: "Freeze."'),
    "an OPA without the rule": ({}, "says neither yes nor no."),
    "a yes and a no": ({"allow": True, "result": False}, "says neither yes nor no."),
    "a yes as text": ({"allow": "true"}, "says neither yes nor no."),
    "a yes as number": ({"result": 1}, "says neither yes nor no."),
    "a yes as list": ({"result": [True]}, "says neither yes nor no."),
    "a yes inside a yes": ({"allow": {"allow": "yes"}}, "says neither yes nor no."),
    "a status": (web.Response(status=503, text='{"allow": true}'), "answered with status 503."),
    "a created yes": (web.Response(status=201, text='{"allow": true}'), "answered with status 201."),
    "a redirect": (web.Response(status=307, headers={"Location": "/yes"}), "answered with status 307."),
    "a page": (web.Response(text="<html>Sign in</html>"), "answered something else than JSON."),
    "a key twice": (web.Response(text='{"allow": false, "allow": true}'), "answered something else than JSON."),
    "deep nesting": (web.Response(text="[" * 60000), "answered something else than JSON."),
    "too much": (web.Response(text=" " * (LIMIT + 1)), f"answered more than 64{NBSP}KiB."),
}


@pytest.mark.parametrize("case", NO)
async def test_everything_else_objects_and_names_who_and_why(opinion: Opinion, case: str) -> None:
    answer, sentence = NO[case]
    said = await told(opinion, answer)
    assert said.startswith(f"The second opinion at 127.0.0.1:{opinion.port}/v1/data/lastgood/allow {sentence}")
    assert len(opinion.asked) == 1


async def test_it_is_asked_about_the_whole_matter_as_opa_wants_it(opinion: Opinion) -> None:
    await told(opinion, token=Credential(env="OPINION"))
    headers, body = opinion.asked[0]
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert body == {
        "input": {
            "act": "approve", "people": ["U0ANA"], "model": "fraud-scorer", "environment": "prod", "tier": 1,
            "from_version": "42", "to_version": "41", "plan": "7f3a9c2e", "rule": "prod-tier1",
            "incident": "01KAQ3H2S0M4V8B6T9C17Q4RD0",
        }
    }  # fmt: skip


async def test_without_its_token_nobody_is_asked(opinion: Opinion) -> None:
    said = await told(opinion, secret=None, token=Credential(env="OPINION"))
    assert said.endswith("cannot be asked: its token is not set. That counts as no.")
    assert opinion.asked == []


async def test_a_token_no_header_can_hold_objects_without_showing_it(opinion: Opinion) -> None:
    said = await told(opinion, secret="hunter2\nX-Evil: 1", token=Credential(env="OPINION"))
    assert said.endswith("cannot be asked. That counts as no.")
    assert "hunter2" not in said
    assert opinion.asked == []


async def test_a_reason_from_outside_is_one_short_line_without_tokens(opinion: Opinion) -> None:
    said = await told(opinion, {"allow": False, "reason": "<@U0EVIL>\n\u202e" + "x" * 400})
    assert "<@" not in said
    assert "\u202e" not in said
    assert said.endswith('more)"')


async def test_rt23_an_opinion_that_dribbles_is_cut_off_in_time() -> None:
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(b"1\r\n \r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(dribble, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    config = HttpConfig(url=url, within=timedelta(milliseconds=200))
    async with asyncio.timeout(2), HttpAuthorizer(config, Context(SystemClock(), "http", NotedLog(), str)) as one:
        said = await one.objection(MATTER)
    assert f"did not answer within 200{NBSP}ms. That counts as no." in said
    server.close()
    await server.wait_closed()


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["allow", "result", "reason", "x"]), inner, max_size=3),
))  # fmt: skip
def test_no_other_json_is_ever_a_yes(said: Any) -> None:
    yes = isinstance(said, dict) and (
        ("allow" in said and "result" not in said and said["allow"] is True)
        or (
            "result" in said
            and "allow" not in said
            and (said["result"] is True or (isinstance(said["result"], dict) and said["result"].get("allow") is True))
        )
    )
    assert (_verdict(said)[0] is True) == yes


@pytest.mark.parametrize(
    "url",
    [
        "http://opa.example.com",
        "ftp://127.0.0.1/",
        "https://",
        "http://127.0.0.1.evil.example",
        "https://ops:pw@opa.example.com",
    ],
)
def test_an_address_others_could_listen_in_on_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValidationError):
        HttpConfig(url=url)


@pytest.mark.parametrize(
    "url", ["https://opa.example.com/allow", "http://localhost:8181/", "http://[::1]:8181/", "http://127.0.0.9/"]
)
def test_https_and_this_machine_are_taken(url: str) -> None:
    assert HttpConfig(url=url).url == url


def test_an_opinion_may_not_be_waited_for_longer_than_10_s() -> None:
    with pytest.raises(ValidationError):
        HttpConfig(url="https://opa.example.com", within=timedelta(seconds=11))


def test_no_secret_is_in_what_the_configuration_shows() -> None:
    assert SECRET not in repr(HttpConfig(url=f"https://opa.example.com/?key={SECRET}"))


def test_it_is_found_by_its_name_and_speaks_the_port() -> None:
    kind = load("authorizers", "http")
    one = kind(kind.Config.model_validate(json.loads('{"url": "https://opa.example.com", "within": "1s"}')), None)
    assert isinstance(one, Authorizer)
