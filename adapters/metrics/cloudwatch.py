"""SLIs and figures asked of Amazon CloudWatch with GetMetricData. Needs the extra `aws`; credentials are AWS's usual ones.

Protocol: one MetricDataQuery a number, newest first; `StatusCode` other than Complete is no answer; a period that has not
ended is still filling, so the last whole one counts.
"""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from adapters.address import Address
from adapters.aws import OwnClient
from bot.domain import words
from bot.domain.sli import Measurement
from bot.errors import Unavailable
from bot.ports import Context

WHO = "CloudWatch"


class CloudwatchConfig(BaseModel):
    """The region; `url` names another endpoint, for example inside a closed network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str = Field(min_length=1)
    url: Address | None = Field(default=None, repr=False)
    timeout: float = Field(default=5.0, gt=0, le=20)


class CloudwatchMetric(BaseModel):
    """One metric of CloudWatch; `stat` is Sum, Average, p99 and so on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str = Field(min_length=1)
    name: str = Field(min_length=1)
    stat: str = Field(default="Sum", min_length=1)
    dimensions: dict[str, str] = Field(default_factory=dict)


Id = Annotated[str, Field(pattern=r"^[a-z][a-zA-Z0-9_]*$")]


class CloudwatchQuery(BaseModel):
    """Metrics by a name of your own, and metric math over them: `value: errors / total`, `requests: total`.

    `period` seconds is the length of one value; older than `max_age` seconds is stale.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metrics: dict[Id, CloudwatchMetric] = Field(min_length=1)
    value: str = Field(min_length=1)
    requests: str | None = Field(default=None, min_length=1)
    period: int = Field(default=60, ge=1)
    max_age: float = Field(default=300.0, gt=0)

    def asked(self) -> dict[str, str]:
        """Give the id under which each number comes back."""
        wanted = {"value": self.value, **({"requests": self.requests} if self.requests else {})}
        return {name: text if text in self.metrics else f"lastgood_{name}" for name, text in wanted.items()}


class Cloudwatch(OwnClient):
    """Asks for the last periods, the value and the number of its requests in one call."""

    kind: ClassVar[str] = "cloudwatch"
    Config: ClassVar[type[BaseModel]] = CloudwatchConfig
    Query: ClassVar[type[BaseModel]] = CloudwatchQuery

    def __init__(self, config: CloudwatchConfig, context: Context) -> None:
        """Ask in the region of `config`."""
        # A look is taken again soon anyway, so nothing is repeated inside it.
        super().__init__("cloudwatch", config.region, config.url, timeout=config.timeout, attempts=1)
        self._config, self._context = config, context

    async def measure(self, query: CloudwatchQuery, since: Measurement | None) -> Measurement:
        """Ask for the value and the number of its requests, of the same period."""
        del since  # CloudWatch remembers for itself
        now = self._context.clock.now()
        try:
            found = await self._asked(query, now)
            when, value = _last(found, "value", query, now)
            if query.requests is None:
                return Measurement(at=when, value=value, reason="no `requests` says how many")
            counted, requests = _last(found, "requests", query, now)
        except Unavailable as error:
            return Measurement(at=now, reason=str(error))
        if counted != when:
            return Measurement(at=now, reason="the value and its number of requests are of different times")
        if requests <= 0:
            return Measurement(at=now, reason=f"{requests:g} requests")
        return Measurement(at=when, value=value, requests=requests)

    async def _asked(self, query: CloudwatchQuery, now: datetime) -> dict[str, Any]:
        """Give the results by what they are: `value`, `requests`. Raises Unavailable."""
        ids = query.asked()
        begin = now - timedelta(seconds=query.max_age + 3 * query.period)
        try:
            async with asyncio.timeout(self._config.timeout):
                answer = await self._client.get_metric_data(
                    MetricDataQueries=_queries(query, ids), StartTime=begin, EndTime=now, ScanBy="TimestampDescending"
                )
        except TimeoutError as error:
            raise Unavailable(f"{WHO} does not answer") from error
        except self._errors as error:
            raise Unavailable(_said(error)) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # its library trips over what is no answer
            raise Unavailable(f"{WHO} answered nothing readable") from error
        results = answer.get("MetricDataResults", [])
        found = {name: [one for one in results if one["Id"] == id_] for name, id_ in ids.items()}
        if many := next((len(some) for some in found.values() if len(some) > 1), 0):
            raise Unavailable(f"the expression gave {many} series, one is needed")
        return {name: some[0] for name, some in found.items() if some}


def _queries(query: CloudwatchQuery, ids: dict[str, str]) -> list[dict[str, Any]]:
    """Write every metric, and the math that stands over them."""
    metrics = [
        {
            "Id": id_, "ReturnData": id_ in ids.values(),
            "MetricStat": {
                "Metric": {
                    "Namespace": one.namespace, "MetricName": one.name,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in one.dimensions.items()],
                },
                "Period": query.period, "Stat": one.stat,
            },
        }
        for id_, one in query.metrics.items()
    ]  # fmt: skip
    texts = {"value": query.value, "requests": query.requests}
    return metrics + [
        {"Id": id_, "Expression": texts[name], "Period": query.period, "ReturnData": True}
        for name, id_ in ids.items()
        if id_ not in query.metrics
    ]


def _last(found: dict[str, Any], name: str, query: CloudwatchQuery, now: datetime) -> tuple[datetime, float]:
    """Give the end of the last whole period and its number. Raises Unavailable."""
    result = found.get(name)
    if result is None:
        raise Unavailable("the expression gave no series")
    if (status := result.get("StatusCode", "Complete")) != "Complete":
        said = "; ".join(str(one.get("Value", "")) for one in result.get("Messages", []))
        raise Unavailable(f"{WHO} answered {status}{': ' + words.plain(said, 120) if said else ''}")
    period = timedelta(seconds=query.period)
    points = sorted(zip(result.get("Timestamps", []), result.get("Values", []), strict=False), reverse=True)
    for begun, number in points:
        end = begun.astimezone(UTC) + period
        if end > now:
            continue  # still filling
        if (now - end).total_seconds() > query.max_age:
            raise Unavailable(f"the newest whole value is {words.span(now - end)} old")
        if not math.isfinite(number):
            raise Unavailable(f"the expression gave {number}")
        return end, float(number)
    raise Unavailable("the expression gave no whole value")


def _said(error: Exception) -> str:
    """Say what AWS answered, without the address or the keys it was asked with."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        told = response.get("Error", {})
        code, message = str(told.get("Code", "an error")), str(told.get("Message", ""))
        return f"{WHO} refuses: {words.plain(code, 60)}{': ' + words.plain(message, 120) if message else ''}"
    return f"{WHO} cannot be asked: {type(error).__name__}"


SOURCE = Cloudwatch
