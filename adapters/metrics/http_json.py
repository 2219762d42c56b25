"""SLIs, business and cost figures that any service gives as JSON. A missing, stale or unreadable number is never a value."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator

from adapters.address import Address
from adapters.metrics._http import Asks, Client, secret
from bot.domain import words
from bot.domain.credential import Credential
from bot.domain.sli import Measurement
from bot.errors import Unavailable
from bot.ports import Context

WHO = "The service"
AHEAD = 5.0  # seconds a sample's time may lie in our future; clocks differ a little
PLACE = re.compile(r"[^.\s]+(\.[^.\s]+)*")
MILLISECONDS = 1e11  # a number of seconds this large would lie in the year 5138


class HttpJsonConfig(BaseModel):
    """The service's address; `token` goes into `header`, with `Bearer ` before it unless another header is named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Address = Field(repr=False)  # it may carry credentials
    token: Credential | None = None
    header: str = Field(default="Authorization", pattern=r"^[A-Za-z][A-Za-z0-9-]*$")
    timeout: float = Field(default=5.0, gt=0, le=20)


class HttpJsonQuery(BaseModel):
    """Where the number is: `path` is asked for with GET, `value` names it as `data.0.ratio`.

    `requests` names how many requests it rests on, `at` when it was taken (ISO 8601, or seconds or milliseconds since
    1970); older than `max_age` seconds is stale. Without `at` the answer is taken to be of now.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(default="/", pattern=r"^/")
    value: str
    requests: str | None = None
    at: str | None = None
    max_age: float = Field(default=60.0, gt=0)

    @field_validator("value", "requests", "at")
    @classmethod
    def _names(cls, place: str | None) -> str | None:
        if place is not None and not PLACE.fullmatch(place):
            raise ValueError("names a member as `data.0.ratio`: names and positions with dots between")
        return place


class HttpJson(Asks):
    """Asks once a look."""

    kind: ClassVar[str] = "http_json"
    Config: ClassVar[type[BaseModel]] = HttpJsonConfig
    Query: ClassVar[type[BaseModel]] = HttpJsonQuery

    def __init__(self, config: HttpJsonConfig, context: Context) -> None:
        """Ask the service of `config`."""
        self._config, self._context = config, context
        self._client = Client(config.timeout)

    async def measure(self, query: HttpJsonQuery, since: Measurement | None) -> Measurement:
        """Ask for the value, the size of its sample and its time, all in one answer."""
        del since  # the service remembers for itself
        now = self._context.clock.now()
        try:
            body = await self._asked(query)
            when = _time(body, query.at, now, query.max_age)
            requests = _counted(body, query.requests) if query.requests else None
            value = _number(body, query.value)
        except Unavailable as error:
            return Measurement(at=now, reason=str(error))
        unsized = "" if query.requests else "no `requests` says how many"
        return Measurement(at=when, value=value, requests=requests, reason=unsized)

    async def _asked(self, query: HttpJsonQuery) -> Any:
        url = f"{self._config.url.rstrip('/')}{query.path}"
        status, body = await self._client.exchange("GET", url, WHO, headers=self._headers())
        if status != 200:
            raise Unavailable(f"{WHO} answered {status}")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Unavailable(f"{WHO} answered without JSON") from error

    def _headers(self) -> dict[str, str]:
        """Read the token at each look, so a rotated one is used. Raises Unavailable without one."""
        if self._config.token is None:
            return {"Accept": "application/json"}
        token = secret(self._config.token, self._context.secret, "token for the service")
        before = "Bearer " if self._config.header.lower() == "authorization" else ""
        return {"Accept": "application/json", self._config.header: f"{before}{token}"}


def _member(body: Any, place: str) -> Any:
    """Follow names and positions. Raises Unavailable, and says where the way ended."""
    at = body
    for step in place.split("."):
        if isinstance(at, dict) and step in at:
            at = at[step]
        elif isinstance(at, list) and step.isdecimal() and int(step) < len(at):
            at = at[int(step)]
        else:
            raise Unavailable(f"the answer has no {words.plain(place, 60)}")
    return at


def _number(body: Any, place: str) -> float:
    found = _member(body, place)
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        raise Unavailable(f"{words.plain(place, 60)} is no number")
    try:
        number = float(found)
    except ValueError as error:
        raise Unavailable(f"{words.plain(place, 60)} is no number but {words.plain(str(found), 40)}") from error
    if not math.isfinite(number):
        raise Unavailable(f"{words.plain(place, 60)} is {words.plain(str(found), 40)}")
    return number


def _counted(body: Any, place: str) -> float:
    """Give how many requests a value rests on; a value that rests on none says nothing."""
    requests = _number(body, place)
    if requests <= 0:
        raise Unavailable(
            f"{requests:g} requests" if requests == 0 else f"{place} is {requests:g}, no number of requests"
        )
    return requests


def _time(body: Any, place: str | None, now: datetime, max_age: float) -> datetime:
    if place is None:
        return now
    when = _read_time(_member(body, place), place)
    age = (now - when).total_seconds()
    if age > max_age:
        raise Unavailable(f"the sample is {words.span(timedelta(seconds=min(age, 1e9)))} old")
    if age < -AHEAD:
        raise Unavailable(f"the sample is {words.span(timedelta(seconds=min(-age, 1e9)))} ahead of our clock")
    return min(when, now)


def _read_time(found: Any, place: str) -> datetime:
    try:
        if isinstance(found, str) and not found.replace(".", "", 1).isdecimal():
            when = datetime.fromisoformat(found)
            return when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = float(found)
        return datetime.fromtimestamp(seconds / 1000 if seconds > MILLISECONDS else seconds, UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise Unavailable(f"{words.plain(place, 60)} is no time but {words.plain(str(found), 40)}") from error


SOURCE = HttpJson
