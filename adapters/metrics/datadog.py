"""SLIs and figures asked of Datadog's timeseries query. Its newest bucket is still filling, so the last whole one counts.

Protocol: `GET /api/v1/query?from&to&query` with `DD-API-KEY` and `DD-APPLICATION-KEY`; points are [milliseconds, value],
`interval` is the length of a bucket in seconds; a limit is answered 429 with `X-RateLimit-Reset` in seconds.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlencode

import orjson
from pydantic import BaseModel, ConfigDict, Field

from adapters.address import Address
from adapters.metrics._http import Asks, Client, secret
from bot.domain import words
from bot.domain.credential import Credential
from bot.domain.sli import Measurement
from bot.errors import Unavailable
from bot.ports import Context

WHO = "Datadog"


class DatadogConfig(BaseModel):
    """Datadog's address for your site (`https://api.datadoghq.eu`), an API key and an application key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Address = Field(default="https://api.datadoghq.com", repr=False)
    api_key: Credential
    application_key: Credential
    timeout: float = Field(default=5.0, gt=0, le=20)


class DatadogQuery(BaseModel):
    """The SLI's query and one that counts the requests it rests on; `window` seconds are asked for, older than `max_age` is stale."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: str = Field(min_length=1)
    requests: str | None = Field(default=None, min_length=1)
    window: float = Field(default=600.0, ge=60)
    max_age: float = Field(default=300.0, gt=0)


class Datadog(Asks):
    """Asks for a window that ends now."""

    kind: ClassVar[str] = "datadog"
    Config: ClassVar[type[BaseModel]] = DatadogConfig
    Query: ClassVar[type[BaseModel]] = DatadogQuery

    def __init__(self, config: DatadogConfig, context: Context) -> None:
        """Ask the account of `config`."""
        self._config, self._context = config, context
        self._client = Client(config.timeout)

    async def measure(self, query: DatadogQuery, since: Measurement | None) -> Measurement:
        """Ask for the value, and for the number of requests of the same bucket."""
        del since  # Datadog remembers for itself
        now = self._context.clock.now()
        try:
            when, value = await self._last(query.query, query, now)
            if query.requests is None:
                return Measurement(at=when, value=value, reason="no `requests` query says how many")
            counted, requests = await self._last(query.requests, query, now)
        except Unavailable as error:
            return Measurement(at=now, reason=str(error))
        if counted != when:
            return Measurement(at=now, reason="the value and its number of requests are of different times")
        if requests <= 0:
            return Measurement(at=now, reason=f"{requests:g} requests")
        return Measurement(at=when, value=value, requests=requests)

    async def _last(self, text: str, query: DatadogQuery, now: datetime) -> tuple[datetime, float]:
        """Give the end of the last whole bucket and its number. Raises Unavailable."""
        asked = urlencode({"from": int(now.timestamp() - query.window), "to": int(now.timestamp()), "query": text})
        url = f"{self._config.url.rstrip('/')}/api/v1/query?{asked}"
        status, body = await self._client.exchange("GET", url, WHO, headers=self._headers())
        series = _series(status, body)
        step = timedelta(seconds=float(series.get("interval") or 0))
        for point in reversed(series["pointlist"]):
            begun, number = _point(point)
            if begun + step > now or number is None:
                continue  # still filling, or a gap
            end = begun + step
            if (now - end).total_seconds() > query.max_age:
                raise Unavailable(f"the newest whole value is {words.span(now - end)} old")
            return end, number
        raise Unavailable("the query gave no whole value")

    def _headers(self) -> dict[str, str]:
        """Read both keys at each look, so rotated ones are used. Raises Unavailable without them."""
        api, application = self._config.api_key, self._config.application_key
        return {
            "DD-API-KEY": secret(api, self._context.secret, f"API key for {WHO}"),
            "DD-APPLICATION-KEY": secret(application, self._context.secret, f"application key for {WHO}"),
        }


def _series(status: int, body: bytes) -> dict[str, Any]:
    """Give the one series of an answer. Raises Unavailable."""
    if status == 403:
        raise Unavailable(f"{WHO} refuses our keys")
    if status == 429:
        raise Unavailable(f"{WHO} asks us to wait: its limit of queries is reached")
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Unavailable(f"{WHO} answered {status} without JSON") from error
    match said:
        case {"error": str(why)} if why:
            raise Unavailable(f"{WHO} answered {status}: {words.plain(why, 160)}")
        case {"errors": [why, *_]}:
            raise Unavailable(f"{WHO} answered {status}: {words.plain(str(why), 160)}")
        case _ if status != 200:
            raise Unavailable(f"{WHO} answered {status}")
        case {"series": []}:
            raise Unavailable("the query gave no series")
        case {"series": [{"pointlist": [*_]} as only]}:
            return dict(only)
        case {"series": [_, *more]} if more:
            raise Unavailable(f"the query gave {len(more) + 1} series, one is needed")
    raise Unavailable(f"{WHO} answered nothing readable")


def _point(point: Any) -> tuple[datetime, float | None]:
    try:
        at, number = point
        when = datetime.fromtimestamp(float(at) / 1000, UTC)
        value = None if number is None else float(number)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise Unavailable(f"{WHO} answered nothing readable") from error
    if value is not None and not math.isfinite(value):
        raise Unavailable(f"the query gave {value}")
    return when, value


SOURCE = Datadog
