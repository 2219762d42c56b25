"""SLIs from `/metrics` endpoints: what grew between two looks, over every endpoint, and nothing that was guessed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from pydantic import ValidationError

from adapters.metrics._exposition import parse
from adapters.metrics._http import LIMIT
from adapters.metrics.scrape import Scrape, ScrapeConfig, ScrapeQuery, _counters, _since
from adapters.testing import NotedLog, unknown
from bot.clock import ManualClock
from bot.domain.selector import Selector
from bot.domain.sli import Measurement
from bot.ports import Context

SECRET = "hunter2"
NOW = ManualClock().now()
QUERY = ScrapeQuery(errors='p_total{code="500"}', total="p_total")
Serve = Callable[..., Awaitable[Any]]


def page(ok: float = 0, failed: float | None = 0, started: float | None = None, name: str = "p_total") -> str:
    rows = [f"# TYPE {name} counter", f'{name}{{code="200"}} {ok}']
    rows += [] if failed is None else [f'{name}{{code="500"}} {failed}']
    rows += [] if started is None else [f"process_start_time_seconds {started}"]
    return "\n".join(rows) + "\n"


class Site:
    """A source over some endpoints, looked at again and again."""

    def __init__(self, endpoints: list[Any], query: ScrapeQuery = QUERY, timeout: float = 2) -> None:
        self.endpoints, self.query = endpoints, query
        config = ScrapeConfig(urls=tuple(f"{one.url}/metrics" for one in endpoints), timeout=timeout)
        self.source = Scrape(config, Context(clock=ManualClock(), name="scrape", log=NotedLog(), secret=lambda _: None))

    async def look(self, *bodies: str, since: Measurement | None = None) -> Measurement:
        for endpoint, body in zip(self.endpoints, bodies, strict=True):
            endpoint.body = body
        async with self.source:
            return await self.source.measure(self.query, since)

    async def looks(self, *rounds: tuple[str, ...]) -> list[Measurement]:
        found: list[Measurement] = []
        for bodies in rounds:
            found.append(await self.look(*bodies, since=found[-1] if found else None))
        return found


async def one(serve: Serve, *bodies: str, query: ScrapeQuery = QUERY) -> Measurement:
    return (await Site([await serve()], query).looks(*((body,) for body in bodies)))[-1]


# ── two looks, differenced ────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_first_look_only_takes_the_counters(serve: Serve) -> None:
    found = await one(serve, page(900, 100))
    unknown(found)
    assert (found.requests, found.since, sorted(found.counters.values())) == (None, None, [100, 1000])
    assert found.reason == "first look, a second one is needed"


async def test_the_second_look_gives_what_grew_and_from_when(serve: Serve) -> None:
    found = await one(serve, page(900, 100), page(1290, 110))
    assert (found.value, found.requests, found.reason, found.since) == (0.025, 400, "", NOW)


async def test_each_look_is_differenced_against_the_one_before(serve: Serve) -> None:
    site = Site([await serve()])
    found = await site.looks((page(0, 0),), (page(50, 50),), (page(150, 50),))
    assert [one.value for one in found] == [None, 0.5, 0.0]


async def test_no_request_since_the_last_look_is_no_value(serve: Serve) -> None:
    found = await one(serve, page(900, 100), page(900, 100))
    unknown(found)
    assert (found.requests, found.reason) == (0, "no request arrived")


async def test_every_endpoint_is_added_up(serve: Serve) -> None:
    site = Site([await serve(), await serve(), await serve()])
    found = await site.looks((page(0), page(100), page(7, 3)), (page(90, 10), page(400), page(7, 3)))
    assert (found[-1].value, found[-1].requests) == (10 / 400, 400)


async def test_fractions_that_differ_by_rounding_are_a_whole_ratio(serve: Serve) -> None:
    found = await one(serve, page(0.1, 0.2), page(0.1, 0.9))
    assert found.value == 1.0


# ── restarts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((page(900, 100),), (page(5, 0),)),
        ((page(900, 100),), (page(1400, 0),)),
        ((page(900, 100, started=10),), (page(5000, 500, started=20),)),
    ],
)
async def test_a_restart_is_unknown_and_no_huge_number(
    serve: Serve, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    site = Site([await serve()])
    found = (await site.looks(before, after))[-1]
    unknown(found)
    assert found.reason == f"the counters of 127.0.0.1:{site.endpoints[0].port}/metrics restarted"


async def test_a_restart_of_one_endpoint_does_not_hide_in_the_growth_of_another(serve: Serve) -> None:
    site = Site([await serve(), await serve()])
    found = await site.looks((page(1000, 500), page(0, 0)), (page(100, 0), page(5000, 550)))
    unknown(found[-1])
    assert found[-1].reason == f"the counters of 127.0.0.1:{site.endpoints[0].port}/metrics restarted"


async def test_the_look_after_a_restart_can_tell_again(serve: Serve) -> None:
    site = Site([await serve()])
    found = await site.looks((page(900, 100, 1),), (page(10, 0, 2),), (page(100, 10, 2),))
    assert [one.value for one in found] == [None, None, 0.1]


# ── what is not there ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_endpoint_that_does_not_answer_makes_the_sum_unknown_and_is_named(serve: Serve) -> None:
    there, away = await serve(), await serve(status=503)
    found = (await Site([there, away]).looks((page(1), ""), (page(500), "")))[-1]
    unknown(found)
    assert (found.reason, found.counters) == (f"127.0.0.1:{away.port}/metrics answered 503", {})


async def test_every_endpoint_that_is_missing_is_named(serve: Serve) -> None:
    gone = [await serve(status=500), await serve(status=404)]
    found = await Site(gone).look("", "")
    assert found.reason == " and ".join(f"127.0.0.1:{one.port}/metrics answered {one.status}" for one in gone)


async def test_an_endpoint_without_the_counter_makes_the_sum_unknown(serve: Serve) -> None:
    site = Site([await serve(), await serve()])
    found = (await site.looks(*[(page(n), "other_total 5\n") for n in (1, 900)]))[-1]
    unknown(found)
    assert found.reason == f"127.0.0.1:{site.endpoints[1].port}/metrics has no counter p_total"


async def test_an_endpoint_that_has_seen_no_request_yet_counts_none(serve: Serve) -> None:
    site = Site([await serve(), await serve()])
    new = "# HELP p_total Predictions.\n# TYPE p_total counter\n"
    found = await site.looks((page(0), new), (page(300), new))
    assert (found[-1].value, found[-1].requests) == (0.0, 300)


async def test_a_code_that_never_occurred_counts_none(serve: Serve) -> None:
    found = await one(serve, page(0, None), page(400, None))
    assert (found.value, found.requests) == (0.0, 400)


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ("q_total", "no endpoint has a counter q_total"),
        ('p_total{cod="500"}', "no series of p_total has a label cod"),
        ('p_total{code="500",zone="a",model="x"}', "no series of p_total has a label model and zone"),
    ],
)
async def test_a_misspelt_selector_is_never_read_as_no_errors(serve: Serve, errors: str, reason: str) -> None:
    query = ScrapeQuery(errors=errors, total="p_total")
    found = await one(serve, page(1, 1), page(500, 500), query=query)
    unknown(found)
    assert found.reason == reason


async def test_errors_that_outgrow_the_total_are_of_other_requests(serve: Serve) -> None:
    query = ScrapeQuery(errors="q_total", total="p_total")
    pages = [f"p_total {p}\nq_total {q}\n" for p, q in ((0, 0), (300, 301))]
    found = await one(serve, *pages, query=query)
    unknown(found)
    assert found.reason == "q_total grew by 301 and p_total by 300, so they do not count the same requests"


async def test_counters_of_another_configuration_are_a_first_look(serve: Serve) -> None:
    old = Measurement(at=NOW - timedelta(days=1), counters={"errors": 0, "total": 0})
    found = await Site([await serve()]).look(page(900), since=old)
    unknown(found)
    assert found.reason.startswith("first look")


# ── what is not a count ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('p_total{code="500"} NaN\n', "p_total is nan, which is no count"),
        ("p_total +Inf\n", "p_total is inf, which is no count"),
        ("p_total -3\n", "p_total is -3, which is no count"),
        ("# TYPE p_total gauge\np_total 3\n", "p_total is a gauge, a counter is needed"),
        ("p_total 3 1000\n", "p_total is stale: its own time is more than 5 min ago"),
    ],
)
async def test_what_is_no_count_is_unknown(serve: Serve, body: str, reason: str) -> None:
    query = ScrapeQuery(errors="p_total", total="p_total")
    site = Site([await serve()], query)
    found = (await site.looks(("p_total 0\n",), (body,)))[-1]
    unknown(found)
    assert found.reason.replace("\u00a0", " ") == f"127.0.0.1:{site.endpoints[0].port}/metrics: {reason}"


async def test_a_sample_with_a_recent_time_of_its_own_counts(serve: Serve) -> None:
    at = int((NOW.timestamp() - 60) * 1000)
    query = ScrapeQuery(errors='p{code="500"}', total="p")
    pages = [f'p{{code="200"}} {n} {at}\n' for n in (1, 301)]
    assert (await one(serve, *pages, query=query)).value == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "is empty"),
        (page(812)[:-1], "is empty or cut off: its last line does not end"),
        ("<html>Sign in</html>\n", "is not in the text format: invalid metric name:<html>Sign"),
        ('p_total{code="200} 3\n', "is not in the text format: "),
        ("p_total many\n", "is not in the text format: could not convert string to float: 'many'"),
        ("p_total\n", "is not in the text format: "),
    ],
)
async def test_a_page_in_another_format_is_unknown(serve: Serve, body: str, reason: str) -> None:
    site = Site([await serve()])
    found = (await site.looks((page(1),), (body,)))[-1]
    unknown(found)
    assert found.reason.startswith(f"127.0.0.1:{site.endpoints[0].port}/metrics {reason}")


@given(st.text(alphabet='p_total{}code="50 #TYPE\n1.e+-,\\NaInf\x00é', max_size=60))
def test_no_page_of_any_text_breaks_the_reader(text: str) -> None:
    with suppress(ValueError):  # the one error it may raise
        parse(f"{text}\n".encode()).counted(Selector.parse("p_total"), NOW.timestamp())


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader(body: bytes) -> None:
    with suppress(ValueError):  # the one error it may raise
        parse(body)


# ── the law ───────────────────────────────────────────────────────────────────────────────────────────────────────────

totals = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))


@given(st.lists(st.tuples(totals, totals), min_size=1, max_size=4))
def test_a_value_is_the_ratio_of_what_grew_and_never_a_guess(endpoints: list[tuple[tuple[int, int], ...]]) -> None:
    errors, total = Selector.parse(QUERY.errors), Selector.parse(QUERY.total)

    def look(side: int) -> Measurement:
        pages = {f"e{n}": parse(page(*each[side]).encode()) for n, each in enumerate(endpoints)}
        return Measurement(at=NOW, counters=_counters(errors, total, pages, NOW.timestamp()))

    found = _since(look(0), look(1), errors, total, [f"e{n}" for n in range(len(endpoints))])
    failed = [after[1] - before[1] for before, after in endpoints]
    asked = [sum(after) - sum(before) for before, after in endpoints]
    if any(more < 0 for more in (*failed, *asked)) or sum(failed) > sum(asked) or not sum(asked):
        unknown(found)
    else:
        assert found.value == pytest.approx(sum(failed) / sum(asked))
        assert found.requests == sum(asked)


# ── names and labels ──────────────────────────────────────────────────────────────────────────────────────────────────

LABELLED = """\
# TYPE p_total counter
p_total{code="200",model="a"} %d
p_total{code="500",model="a"} %d
p_total{code="500",model="b,{c}"} %d
p_total{model="a"} %d
p_total_ms 9999
"""


@pytest.mark.parametrize(
    ("selector", "grown"),
    [
        ("p_total", 1111),
        ('p_total{code="500"}', 110),
        ('p_total{ code = "500" , model = "a" , }', 10),
        ('p_total{model="b,{c}"}', 100),
        ('p_total{code!="200"}', 1110),
        ('p_total{code!=""}', 111),
        ('p_total{code=""}', 1000),
    ],
)
async def test_labels_choose_series_the_way_prometheus_does(serve: Serve, selector: str, grown: int) -> None:
    query = ScrapeQuery(errors=selector, total="p_total")
    found = await one(serve, LABELLED % (0, 0, 0, 0), LABELLED % (1, 10, 100, 1000), query=query)
    assert found.value == grown / 1111


@pytest.mark.parametrize(
    "text", ["", "{}", "p{", 'p{a="1" b="2"}', 'p{a=~"1"}', "p{a=1}", 'p{a="1"}{b="2"}', "rate(p[1m])"]
)
def test_a_selector_that_cannot_be_read_is_refused_with_its_form(text: str) -> None:
    with pytest.raises(ValidationError, match="is not a selector; write name"):
        ScrapeQuery(errors=text, total="p")


async def test_a_counter_without_the_usual_ending_is_found_by_the_name_it_shows(serve: Serve) -> None:
    query = ScrapeQuery(errors='p{code="500"}', total="p")
    found = await one(serve, page(name="p"), page(90, 10, name="p"), query=query)
    assert (found.value, found.requests) == (0.1, 100)


async def test_a_counter_is_not_mixed_with_another_that_has_the_usual_ending(serve: Serve) -> None:
    both = "# TYPE q untyped\nq %d\n# TYPE q_total counter\nq_total %d\n"
    found = await one(serve, both % (0, 0), both % (300, 9000), query=ScrapeQuery(errors="q", total="q"))
    assert found.requests == 300


async def test_a_bucket_of_a_histogram_counts_the_quick_requests(serve: Serve) -> None:
    registry = CollectorRegistry()
    seconds = Histogram("p_seconds", "Time.", buckets=(0.25, 1.0), registry=registry)
    before = generate_latest(registry).decode()
    for duration in (0.1, 0.2, 0.2, 0.9):
        seconds.observe(duration)
    query = ScrapeQuery(errors='p_seconds_bucket{le="0.25"}', total="p_seconds_count")
    found = await one(serve, before, generate_latest(registry).decode(), query=query)
    assert (found.value, found.requests) == (0.75, 4)


async def test_what_the_python_client_exposes_is_read(serve: Serve) -> None:
    registry = CollectorRegistry()
    predictions = Counter("p_total", "Predictions.", ("code",), registry=registry)
    pages = [generate_latest(registry).decode()]
    for code, times in (("200", 300), ("500", 100)):
        predictions.labels(code).inc(times)
    pages.append(generate_latest(registry).decode())
    assert (await one(serve, *pages)).value == 0.25


# ── the way there ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_redirect_is_not_followed(serve: Serve) -> None:
    other = await serve(page(5))

    async def away(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": other.url})

    server = await serve(handler=away)
    found = await Site([server]).look("")
    assert (
        found.reason
        == f"127.0.0.1:{server.port}/metrics answered 302 and points elsewhere; configure the final address"
    )
    assert other.asked == []


async def test_endpoints_that_hang_cost_one_timeout(serve: Serve) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        raise web.HTTPServiceUnavailable

    site = Site([await serve(handler=hang), await serve(handler=hang), await serve()], timeout=0.3)
    async with asyncio.timeout(0.6):
        found = await site.look("", "", page(1))
    unknown(found)
    assert found.reason.count("does not answer") == 2


async def test_an_endless_page_is_dropped_at_its_limit(serve: Serve) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(4 * LIMIT // 262_144):
            await response.write(b"#" * 262_144)
        return response

    server = await serve(handler=flood)
    found = await Site([server], timeout=10).look("")
    assert found.reason == f"127.0.0.1:{server.port}/metrics answers more than 16 MiB"


async def test_no_reason_counter_or_configuration_shows_a_credential(serve: Serve) -> None:
    server = await serve(page(1))
    config = ScrapeConfig(
        urls=tuple(f"http://ops:{SECRET}@127.0.0.1:{server.port}/m?token={SECRET}{n}" for n in (1, 2))
    )
    source = Scrape(config, Context(clock=ManualClock(), name="scrape", log=NotedLog(), secret=lambda _: None))
    async with source:
        looks = [await source.measure(QUERY, None)]
        for status, body in (
            (500, ""),
            (302, ""),
            (401, ""),
            (200, ""),
            (200, "x"),
            (200, "p_total NaN\n"),
            (200, "q 1\n"),
        ):
            server.status, server.body = status, body
            looks.append(await source.measure(QUERY, looks[0]))
    assert all(look.reason for look in looks)
    assert SECRET not in f"{looks!r}{config!r}"
    assert len(looks[0].counters) == 4  # two addresses that look alike are still two


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        (["model:8000/metrics"], "must be an address such as"),
        ([], "at least 1"),
        (["http://m/metrics", "http://m/metrics"], "would count twice"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_at_the_start(urls: list[str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ScrapeConfig.model_validate({"urls": urls})
