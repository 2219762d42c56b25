"""CloudWatch's answers: from moto where it can, else from a server that says what a test wants."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.metrics.cloudwatch import Cloudwatch, CloudwatchConfig, CloudwatchQuery
from adapters.testing import NotedLog
from bot.clock import ManualClock, SystemClock
from bot.domain.sli import Measurement
from bot.ports import Clock, Context
from tests.adapters.moto import Moto

NOW = ManualClock().now()


def query(value: str = "bad", requests: str | None = "all", **keys: Any) -> CloudwatchQuery:
    metrics = {name: {"namespace": "Serving", "name": name, "dimensions": {"Version": "42"}} for name in ("bad", "all")}
    return CloudwatchQuery.model_validate({"metrics": metrics, "value": value, "requests": requests, **keys})


async def look(url: str, asked: CloudwatchQuery, clock: Clock) -> Measurement:
    context = Context(clock=clock, name="m", log=NotedLog(), secret=lambda _: None)
    async with Cloudwatch(CloudwatchConfig(region="eu-west-1", url=url, timeout=3), context) as source:
        return await source.measure(asked, None)


async def test_a_metric_of_one_version_is_read_with_its_dimension(moto: Moto) -> None:
    moto.put("Serving", {"bad": 8, "all": 400}, Version="42")
    moto.put("Serving", {"bad": 999}, Version="41")
    seen = await look(f"http://127.0.0.1:{moto.port}", query(), SystemClock())
    assert (seen.value, seen.requests, seen.reason) == (8, 400, "")


async def test_a_metric_that_is_not_there_is_no_value(moto: Moto) -> None:
    asked = query()
    nothing = {name: one.model_copy(update={"name": "nobody"}) for name, one in asked.metrics.items()}
    seen = await look(f"http://127.0.0.1:{moto.port}", asked.model_copy(update={"metrics": nothing}), SystemClock())
    assert (seen.value, seen.reason) == (None, "the expression gave no whole value")


def answer(*results: dict[str, Any]) -> str:
    import json

    return json.dumps({"MetricDataResults": list(results)})


def result(name: str, *points: tuple[float, float], status: str = "Complete", **keys: Any) -> dict[str, Any]:
    times = [NOW.timestamp() - ago for ago, _ in points]
    return {"Id": name, "StatusCode": status, "Timestamps": times, "Values": [value for _, value in points], **keys}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (answer(), "the expression gave no series"),
        (answer(result("lastgood_value"), result("lastgood_value")), "the expression gave 2 series, one is needed"),
        (answer(result("lastgood_value", status="InternalError")), "CloudWatch answered InternalError"),
        (
            answer(
                result("lastgood_value", (120, 1), status="PartialData", Messages=[{"Code": "x", "Value": "too much"}])
            ),
            "CloudWatch answered PartialData: too much",
        ),
        (answer(result("lastgood_value", (30, 0.5))), "the expression gave no whole value"),
        (answer(result("lastgood_value", (900, 0.5))), "the newest whole value is 14\u00a0min old"),
        (
            answer(result("lastgood_value", (120, 0.5)), result("all", (180, 5))),
            "the value and its number of requests are of different times",
        ),
        (answer(result("lastgood_value", (120, 0.5)), result("all", (120, 0))), "0 requests"),
    ],
)
@pytest.mark.usefixtures("moto")
async def test_what_is_no_value_says_why(serve: Any, body: str, reason: str) -> None:
    endpoint = await serve(body)
    seen = await look(endpoint.url, query("bad / all"), ManualClock())
    assert (seen.value, seen.reason) == (None, reason)


@pytest.mark.usefixtures("moto")
async def test_math_over_metrics_is_asked_for_and_the_last_whole_period_counts(serve: Any) -> None:
    endpoint = await serve(answer(result("lastgood_value", (30, 9.0), (120, 0.02)), result("all", (120, 400))))
    seen = await look(endpoint.url, query("bad / all"), ManualClock())
    assert (seen.value, seen.requests, seen.at) == (0.02, 400, NOW - timedelta(seconds=60))


@pytest.mark.usefixtures("moto")
async def test_what_aws_refuses_is_said_without_a_key(serve: Any) -> None:
    endpoint = await serve('{"__type": "AccessDenied", "message": "not for you"}', status=403)
    assert (await look(endpoint.url, query(), ManualClock())).reason == "CloudWatch refuses: AccessDenied: not for you"


def test_a_name_that_cannot_stand_in_metric_math_is_refused() -> None:
    with pytest.raises(ValidationError, match="metrics"):
        CloudwatchQuery.model_validate({"metrics": {"Bad Name": {"namespace": "x", "name": "y"}}, "value": "Bad Name"})
