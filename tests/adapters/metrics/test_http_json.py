"""A number in JSON is a value only when it is there, finite, of now, and rests on requests."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.metrics.http_json import HttpJson, HttpJsonConfig, HttpJsonQuery
from adapters.testing import NotedLog
from bot.clock import ManualClock
from bot.domain.sli import Measurement
from bot.ports import Context

NOW = ManualClock().now()
TODAY = NOW.isoformat()
QUERY = {"path": "/q", "value": "a.0.ratio", "requests": "a.0.n", "at": "at", "max_age": 60}


async def look(serve: Callable[..., Awaitable[Any]], body: Any, status: int = 200, **query: Any) -> Measurement:
    endpoint = await serve(body if isinstance(body, str) else json.dumps(body), status=status)
    context = Context(clock=ManualClock(), name="m", log=NotedLog(), secret={"KEY": "s3cret"}.get)
    async with HttpJson(HttpJsonConfig(url=endpoint.url, timeout=1), context) as source:
        return await source.measure(HttpJsonQuery.model_validate({**QUERY, **query}), None)


def answer(ratio: Any = 0.01, n: Any = 500, at: Any = TODAY) -> dict[str, Any]:
    return {"a": [{"ratio": ratio, "n": n}], "at": at}


@pytest.mark.parametrize("at", [NOW.isoformat(), NOW.timestamp(), 1000 * NOW.timestamp(), str(NOW.timestamp())])
async def test_a_number_of_now_is_a_value(serve: Any, at: Any) -> None:
    seen = await look(serve, answer(at=at))
    assert (seen.value, seen.requests, seen.at, seen.reason) == (0.01, 500, NOW, "")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "the answer has no at"),
        ({"at": NOW.isoformat()}, "the answer has no a.0.n"),
        (answer(ratio=None), "a.0.ratio is no number"),
        (answer(ratio=True), "a.0.ratio is no number"),
        (answer(ratio="high"), "a.0.ratio is no number but high"),
        (answer(ratio="NaN"), "a.0.ratio is NaN"),
        (answer(n=0), "0 requests"),
        (answer(n=-3), "a.0.n is -3, no number of requests"),
        (answer(at=(NOW - timedelta(minutes=5)).isoformat()), "the sample is 5\u00a0min old"),
        (answer(at=(NOW + timedelta(minutes=5)).isoformat()), "the sample is 5\u00a0min ahead of our clock"),
        (answer(at="yesterday"), "at is no time but yesterday"),
        ("<html>", "The service answered without JSON"),
    ],
)
async def test_what_is_no_value_says_why(serve: Any, body: Any, reason: str) -> None:
    seen = await look(serve, body)
    assert (seen.value, seen.reason) == (None, reason)


async def test_a_status_that_is_no_answer_is_named(serve: Any) -> None:
    assert (await look(serve, answer(), status=500)).reason == "The service answered 500"


async def test_a_sample_whose_size_nobody_names_says_so(serve: Any) -> None:
    seen = await look(serve, answer(), requests=None, at=None)
    assert (seen.value, seen.requests, seen.reason) == (0.01, None, "no `requests` says how many")


async def test_a_token_goes_into_the_header_that_is_named(serve: Any) -> None:
    endpoint = await serve(json.dumps(answer()))
    context = Context(clock=ManualClock(), name="m", log=NotedLog(), secret={"KEY": "s3cret"}.get)
    for header, sent in (("Authorization", "Bearer s3cret"), ("X-Key", "s3cret")):
        config = HttpJsonConfig.model_validate({"url": endpoint.url, "token": {"env": "KEY"}, "header": header})
        async with HttpJson(config, context) as source:
            await source.measure(HttpJsonQuery.model_validate(QUERY), None)
        assert endpoint.asked[-1][1][header] == sent


async def test_a_token_that_is_not_there_is_named(serve: Any) -> None:
    context = Context(clock=ManualClock(), name="m", log=NotedLog(), secret=lambda _: None)
    config = HttpJsonConfig.model_validate({"url": "http://127.0.0.1:1", "token": {"env": "KEY"}})
    async with HttpJson(config, context) as source:
        seen = await source.measure(HttpJsonQuery.model_validate(QUERY), None)
    assert seen.reason == "the token for the service is not in KEY"


@pytest.mark.parametrize("place", ["", "a..b", ".a", "a b"])
def test_a_place_that_is_none_is_refused(place: str) -> None:
    with pytest.raises(ValidationError, match="names a member as"):
        HttpJsonQuery(value=place)
