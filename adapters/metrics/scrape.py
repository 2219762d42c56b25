"""SLIs read straight from `/metrics` endpoints, for people without Prometheus: two looks, differenced."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from adapters.address import Address, shown
from adapters.metrics._exposition import STARTED, Counted, Page, parse
from adapters.metrics._http import Asks, Client
from bot.domain import words
from bot.domain.selector import Selector
from bot.domain.sli import Measurement
from bot.errors import Unavailable
from bot.ports import Context

ACCEPT = {"Accept": "text/plain;version=0.0.4"}
ROUNDED = 1 + 1e-9  # sums of fractions differ by this without meaning anything


class ScrapeConfig(BaseModel):
    """Every endpoint to add up; `timeout` in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    urls: tuple[Address, ...] = Field(min_length=1, repr=False)  # they may carry credentials
    timeout: float = Field(default=5.0, gt=0, le=20)

    @field_validator("urls")
    @classmethod
    def _differ(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(urls)) < len(urls):
            raise ValueError("one address stands here twice, so it would count twice")
        return urls


class ScrapeQuery(BaseModel):
    """Two counters: failed requests and all requests, each `name{label="value"}` with = and !=.

    With `good: above` the first counts the requests that went well, for example a bucket of a histogram.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    errors: str
    total: str

    @field_validator("errors", "total")
    @classmethod
    def _parses(cls, text: str) -> str:
        return Selector.parse(text).text


class Scrape(Asks):
    """Reads the endpoints and differences the counters since the last look."""

    kind: ClassVar[str] = "scrape"
    Config: ClassVar[type[BaseModel]] = ScrapeConfig
    Query: ClassVar[type[BaseModel]] = ScrapeQuery

    def __init__(self, config: ScrapeConfig, context: Context) -> None:
        """Read the endpoints of `config`."""
        self._config, self._context = config, context
        self._client = Client(config.timeout)
        self._places = _places(config.urls)

    async def measure(self, query: ScrapeQuery, since: Measurement | None) -> Measurement:
        """Give errors over total since the last look; the first look only takes the counters."""
        now = self._context.clock.now()
        errors, total = Selector.parse(query.errors), Selector.parse(query.total)
        seen = await asyncio.gather(
            *(self._page(url, where) for where, url in self._places.items()), return_exceptions=True
        )
        try:
            pages = dict(zip(self._places, _whole(seen), strict=True))
            counters = _counters(errors, total, pages, now.timestamp())
        except (Unavailable, ValueError) as error:
            return Measurement(at=now, reason=str(error))
        look = Measurement(at=now, counters=counters, reason="first look, a second one is needed")
        if since is None or since.counters.keys() != counters.keys():
            return look
        return _since(since, look.but(since=since.at), errors, total, self._places)

    async def _page(self, url: str, where: str) -> Page:
        status, body = await self._client.exchange("GET", url, where, headers=ACCEPT)
        if status != 200:
            message = f"{where} answered {status}"
            raise Unavailable(message)
        try:
            return await asyncio.to_thread(parse, body)
        except ValueError as error:
            message = f"{where} {error}"
            raise Unavailable(message) from error


def _places(urls: tuple[str, ...]) -> dict[str, str]:
    """Name each address by what may be shown; those that look alike then are numbered."""
    alike = Counter(shown(url) for url in urls)
    names = [shown(url) if alike[shown(url)] == 1 else f"{shown(url)} #{n}" for n, url in enumerate(urls, 1)]
    return dict(zip(names, urls, strict=True))


def _whole(seen: list[Page | BaseException]) -> list[Page]:
    """A sum that lacks an endpoint is no sum. Raises Unavailable that names every one that is missing."""
    failed = [one for one in seen if isinstance(one, BaseException)]
    if strange := [one for one in failed if not isinstance(one, Unavailable)]:
        raise strange[0]
    if failed:
        raise Unavailable(words.listed(str(one) for one in failed))
    return [one for one in seen if isinstance(one, Page)]


def _counters(errors: Selector, total: Selector, pages: Mapping[str, Page], now: float) -> dict[str, float]:
    """Give what the next look is differenced against: each endpoint's sums, and when its process started.

    Raises ValueError where a counter is missing or cannot be what is meant: a misspelt one would read as no errors.
    """
    found: dict[str, float] = {}
    counted: dict[Selector, list[Counted]] = {errors: [], total: []}
    for where, page in pages.items():
        for selector, sums in counted.items():
            sums.append(_counted(where, page, selector, now))
            found[_key(where, selector.text)] = sums[-1].total
        if page.started is not None:
            found[_key(where, STARTED)] = page.started
    if missing := [where for where, sums in zip(pages, counted[total], strict=True) if not sums.there]:
        message = f"{words.listed(missing)} has no counter {total.name}"
        raise ValueError(message)
    for selector, sums in counted.items():
        _check(selector, sums)
    return found


def _counted(where: str, page: Page, selector: Selector, now: float) -> Counted:
    try:
        return page.counted(selector, now)
    except ValueError as error:
        message = f"{where}: {error}"
        raise ValueError(message) from error


def _check(selector: Selector, sums: list[Counted]) -> None:
    if not any(one.there for one in sums):
        message = f"no endpoint has a counter {selector.name}"
        raise ValueError(message)
    labels = frozenset[str]().union(*(one.labels for one in sums))
    if any(one.series for one in sums) and (strange := sorted(selector.wanted - labels)):
        message = f"no series of {selector.name} has a label {words.listed(strange)}"
        raise ValueError(message)


def _since(
    then: Measurement, look: Measurement, errors: Selector, total: Selector, places: Iterable[str]
) -> Measurement:
    """Difference two looks at the same counters."""
    grown = {name: count - then.counters[name] for name, count in look.counters.items()}
    failed, asked = ({where: grown[_key(where, one.text)] for where in places} for one in (errors, total))
    # Another start tells a restart also where the new process has counted further than the old one.
    restarted = [w for w in places if failed[w] < 0 or asked[w] < 0 or grown.get(_key(w, STARTED))]
    if restarted:
        return look.but(reason=f"the counters of {words.listed(restarted)} restarted")
    return _ratio(look, errors, total, sum(failed.values()), sum(asked.values()))


def _ratio(look: Measurement, errors: Selector, total: Selector, failed: float, asked: float) -> Measurement:
    if asked == 0:
        return look.but(requests=0, reason="no request arrived")
    if failed > asked * ROUNDED:
        text = f"{errors.text} grew by {failed:g} and {total.text} by {asked:g}, so they do not count the same requests"
        return look.but(requests=asked, reason=text)
    return look.but(value=min(1.0, failed / asked), requests=asked, reason="")


def _key(where: str, what: str) -> str:
    return f"{where} {what}"


SOURCE = Scrape
