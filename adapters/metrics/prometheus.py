"""SLIs asked of Prometheus through its HTTP API. An empty, NaN, stale, partial or failed answer is never a value."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from adapters.address import Address
from adapters.metrics._http import Asks, Client, secret
from bot.domain import words
from bot.domain.credential import Credential
from bot.domain.duration import Duration
from bot.domain.selector import Selector
from bot.domain.sli import Measurement
from bot.errors import Unavailable
from bot.ports import Context

WHO = "Prometheus"
MINUTE = timedelta(minutes=1)
APART = 1.0  # seconds an answer may be from the time it was asked for; more is somebody's cache


class PrometheusConfig(BaseModel):
    """Where Prometheus is; `token` is a bearer token, `{env: NAME}` or `{file: PATH}`; `timeout` in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Address = Field(repr=False)  # it may carry credentials
    token: Credential | None = None
    timeout: float = Field(default=5.0, gt=0, le=20)

    @model_validator(mode="after")
    def _has_one_credential(self) -> PrometheusConfig:
        if self.token is not None and "@" in self.url:
            raise ValueError("give either token or credentials in the url")
        return self


class PrometheusQuery(BaseModel):
    """The SLI's expression, and one that counts the requests it rests on; without it the sample's size is unknown.

    Or, in place of both, two counters, each `name{label="value"}` with = and !=: `errors` over `total` within `window` is
    the SLI, and `total` counts the requests. With `good: above` the first counts the requests that went well.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    query: str | None = Field(default=None, min_length=1)
    requests: str | None = Field(default=None, min_length=1)
    errors: str | None = None
    total: str | None = None
    window: Annotated[Duration, Field(ge=timedelta(seconds=10), le=timedelta(hours=1))] | None = None  # 1 min

    @field_validator("errors", "total")
    @classmethod
    def _parses(cls, text: str | None) -> str | None:
        return None if text is None else Selector.parse(text).text

    @model_validator(mode="after")
    def _is_one_of_both(self) -> PrometheusQuery:
        counted = self.errors is not None and self.total is not None
        if counted == (self.query is not None) or (self.errors is None) != (self.total is None):
            raise ValueError("give either query, or errors and total")
        if counted and self.requests is not None:
            raise ValueError("requests belongs to query; total counts them here")
        if not counted and self.window is not None:
            raise ValueError("window belongs to errors and total; a query names its own")
        return self

    @property
    def value_of(self) -> str:
        """Give the expression of the SLI."""
        if self.errors is None or self.total is None:
            return str(self.query)
        return f"{_failing(Selector.parse(self.errors), self._within)} / sum(rate({self.total}[{self._within}]))"

    @property
    def size_of(self) -> str | None:
        """Give the expression that counts the requests, None when nothing does."""
        return self.requests if self.total is None else f"sum(increase({self.total}[{self._within}]))"

    @property
    def _within(self) -> str:
        return f"{(self.window or MINUTE).total_seconds():.0f}s"


def _failing(errors: Selector, window: str) -> str:
    """Write the rate of a counter that may not have begun to count.

    It is 0 only where the counter is there with its labels and other values: a name that is nowhere is never a zero.
    """
    there = ",".join(f'{label}!=""' for label in sorted(errors.wanted))
    begun = f"{errors.name}{{{there}}}" if there else errors.name
    return f"(sum(rate({errors.text}[{window}])) or 0 * sum(rate({begun}[{window}])))"


class Prometheus(Asks):
    """Asks `/api/v1/query` at the time of the look."""

    kind: ClassVar[str] = "prometheus"
    Config: ClassVar[type[BaseModel]] = PrometheusConfig
    Query: ClassVar[type[BaseModel]] = PrometheusQuery

    def __init__(self, config: PrometheusConfig, context: Context) -> None:
        """Ask the server of `config`."""
        self._config, self._context = config, context
        self._client = Client(config.timeout)

    async def measure(self, query: PrometheusQuery, since: Measurement | None) -> Measurement:
        """Ask for the value and for the size of its sample, both at the same time."""
        del since  # Prometheus remembers for itself
        now = self._context.clock.now()
        (value, reason), (requests, unsized) = await asyncio.gather(
            self._ask(query.value_of, now.timestamp()), self._size(query.size_of, now.timestamp())
        )
        return Measurement(at=now, value=value, requests=requests, reason=reason or unsized)

    async def _size(self, counted: str | None, at: float) -> tuple[float | None, str]:
        if counted is None:
            return None, "no `requests` query says how many"
        size, reason = await self._ask(counted, at)
        if size is not None and size < 0:
            return None, f"{counted} gave {size:g} requests"
        return size, reason

    async def _ask(self, expression: str, at: float) -> tuple[float | None, str]:
        form = {"query": expression, "time": f"{at:.3f}", "timeout": f"{self._config.timeout * 1000:.0f}ms"}
        try:
            url = f"{self._config.url.rstrip('/')}/api/v1/query"
            status, body = await self._client.exchange("POST", url, WHO, headers=self._headers(), form=form)
        except Unavailable as error:
            return None, str(error)
        try:
            return _value(orjson.loads(body), status, at)
        except orjson.JSONDecodeError:
            return None, f"{WHO} answered {status} without JSON"

    def _headers(self) -> dict[str, str]:
        """Read the token at each look, so a rotated one is used. Raises Unavailable without one."""
        if self._config.token is None:
            return {}
        token = secret(self._config.token, self._context.secret, f"token for {WHO}")
        return {"Authorization": f"Bearer {token}"}


def _value(body: Any, status: int, asked: float) -> tuple[float | None, str]:
    """Give the one number of an answer, or why there is none."""
    match body:
        case {"status": "error", "error": str(said)}:
            return None, f"{WHO} answered {status}: {words.plain(said, 160)}"
        case _ if status != 200:
            return None, f"{WHO} answered {status}"
        case {"status": "success", "warnings": [said, *_]}:
            return None, f"{WHO} doubts its answer: {words.plain(str(said), 160)}"
        case {"status": "success", "data": {"resultType": "scalar", "result": [at, text]}}:
            return _number(at, text, asked)
        case {"status": "success", "data": {"resultType": "vector", "result": [*series]}}:
            return _single(series, asked)
        case {"status": "success", "data": {"resultType": str(kind)}}:
            return None, f"the query gave a {words.plain(kind, 20)}, one number is needed"
    return None, f"{WHO} answered nothing readable"


def _single(series: list[Any], asked: float) -> tuple[float | None, str]:
    match series:
        case []:
            return None, "the query gave no series"
        case [{"value": [at, text]}]:
            return _number(at, text, asked)
        case [_]:
            return None, "the query gave a histogram, one number is needed"
    return None, f"the query gave {len(series)} series, one is needed"


def _number(at: Any, text: Any, asked: float) -> tuple[float | None, str]:
    try:
        number, age = float(text), asked - float(at)
    except (TypeError, ValueError):
        return None, f"the query gave no number but {words.plain(str(text), 40)}"
    if not abs(age) <= APART:
        return None, f"{WHO} answered for {_when(age)}, not for now"
    return (number, "") if math.isfinite(number) else (None, f"the query gave {words.plain(str(text), 40)}")


def _when(age: float) -> str:
    if not math.isfinite(age):
        return "no time"
    span = words.span(timedelta(seconds=min(abs(age), 1e9)))
    return f"{span} ago" if age > 0 else f"{span} ahead"


SOURCE = Prometheus
