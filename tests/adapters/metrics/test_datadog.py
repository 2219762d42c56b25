"""Datadog's answers: the last whole bucket of the only series counts, and everything else says why it does not."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web

from adapters.metrics.datadog import Datadog, DatadogConfig, DatadogQuery
from adapters.testing import NotedLog
from bot.clock import ManualClock
from bot.domain.sli import Measurement
from bot.ports import Context

NOW = ManualClock().now()
KEYS = {"API": "a-key", "APP": "an-app-key"}


def at(seconds_ago: float) -> float:
    return 1000 * (NOW.timestamp() - seconds_ago)


def series(*points: tuple[float, float | None], interval: float = 60) -> dict[str, Any]:
    return {"interval": interval, "pointlist": [[at(ago), value] for ago, value in points]}


async def look(serve: Any, *answers: tuple[int, Any], requests: str | None = None, secrets: Any = KEYS) -> Measurement:
    endpoint, left = await serve(), list(answers)

    async def handler(request: web.Request) -> web.Response:
        assert (request.headers["DD-API-KEY"], request.headers["DD-APPLICATION-KEY"]) == ("a-key", "an-app-key")
        assert int(request.query["to"]) - int(request.query["from"]) == 600
        status, body = left.pop(0)
        return web.Response(text=body if isinstance(body, str) else json.dumps(body), status=status)

    endpoint.handler = handler
    config = {"url": endpoint.url, "api_key": {"env": "API"}, "application_key": {"env": "APP"}, "timeout": 1}
    context = Context(clock=ManualClock(), name="m", log=NotedLog(), secret=secrets.get)
    async with Datadog(DatadogConfig.model_validate(config), context) as source:
        return await source.measure(DatadogQuery(query="avg:x{*}", requests=requests), None)


async def test_the_last_whole_bucket_counts_and_the_one_that_fills_does_not(serve: Any) -> None:
    one = {"status": "ok", "series": [series((150, 0.04), (90, 0.02), (30, 0.9))]}
    seen = await look(serve, (200, one), (200, {"series": [series((90, 400.0), (30, 7.0))]}), requests="sum:n{*}")
    assert (seen.value, seen.requests, seen.at) == (0.02, 400, NOW - timedelta(seconds=30))


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, {"series": []}, "the query gave no series"),
        (200, {"series": [series((90, 1)), series((90, 2))]}, "the query gave 2 series, one is needed"),
        (200, {"series": [series((90, None))]}, "the query gave no whole value"),
        (200, {"series": [series((30, 0.5))]}, "the query gave no whole value"),
        (200, {"series": [series((500, 0.5))]}, "the newest whole value is 7\u00a0min 20\u00a0s old"),
        (200, {"error": "unknown metric"}, "Datadog answered 200: unknown metric"),
        (400, {"errors": ["Invalid query"]}, "Datadog answered 400: Invalid query"),
        (403, {"errors": ["Forbidden"]}, "Datadog refuses our keys"),
        (429, "", "Datadog asks us to wait: its limit of queries is reached"),
        (500, {}, "Datadog answered 500"),
        (200, {"series": [{"pointlist": [["x", 1]]}]}, "Datadog answered nothing readable"),
        (200, [], "Datadog answered nothing readable"),
    ],
)
async def test_what_is_no_value_says_why(serve: Any, status: int, body: Any, reason: str) -> None:
    seen = await look(serve, (status, body))
    assert (seen.value, seen.reason) == (None, reason)


async def test_a_value_and_a_size_of_different_times_are_none(serve: Any) -> None:
    first, second = {"series": [series((90, 0.02))]}, {"series": [series((150, 400.0))]}
    seen = await look(serve, (200, first), (200, second), requests="sum:n{*}")
    assert seen.reason == "the value and its number of requests are of different times"


async def test_a_key_that_is_not_there_is_named(serve: Any) -> None:
    assert (await look(serve, secrets={"API": "x"})).reason == "the application key for Datadog is not in APP"
