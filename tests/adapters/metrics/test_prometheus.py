"""SLIs from Prometheus: one finite number of now is a value, everything else is a reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.metrics._http import LIMIT
from adapters.metrics.prometheus import Prometheus, PrometheusConfig, PrometheusQuery, _value
from adapters.testing import NotedLog, context, unknown
from bot.clock import ManualClock, SystemClock
from bot.domain.sli import Measurement
from bot.ports import Context

SECRET = "hunter2"
NOW = ManualClock().now().timestamp()
Serve = Callable[..., Awaitable[Any]]


def source(config: PrometheusConfig, secrets: dict[str, str] | None = None) -> Prometheus:
    return Prometheus(
        config, Context(clock=ManualClock(), name="prometheus", log=NotedLog(), secret=(secrets or {}).get)
    )


async def look(config: PrometheusConfig, secrets: dict[str, str] | None = None, **query: str) -> Measurement:
    async with source(config, secrets) as open_source:
        return await open_source.measure(PrometheusQuery(**{"query": "v", **query}), None)


def answer(kind: str, result: Any, **more: Any) -> str:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more})


def vector(*values: Any, at: float = NOW) -> str:
    return answer("vector", [{"metric": {"n": str(n)}, "value": [at, value]} for n, value in enumerate(values)])


# ── a server that says what we want ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (vector("0.25"), 0.25),
        (vector("0"), 0.0),
        (vector("-3"), -3.0),
        (answer("scalar", [NOW, "7"]), 7.0),
        (vector("1", at=NOW + 0.4), 1.0),
    ],
)
async def test_one_finite_number_of_now_is_a_value(serve: Serve, body: str, value: float) -> None:
    server = await serve(body)
    found = await look(PrometheusConfig(url=server.url))
    assert (found.value, found.requests) == (value, None)
    assert found.reason == "no `requests` query says how many"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (vector("NaN"), "the query gave NaN"),
        (vector("+Inf"), "the query gave +Inf"),
        (vector("-Inf"), "the query gave -Inf"),
        (vector(), "the query gave no series"),
        (vector("1", "2"), "the query gave 2 series, one is needed"),
        (vector("many"), "the query gave no number but many"),
        (vector(None), "the query gave no number but None"),
        (answer("scalar", [NOW, "NaN"]), "the query gave NaN"),
        (answer("string", [NOW, "fine"]), "the query gave a string, one number is needed"),
        (answer("matrix", [{"metric": {}, "values": [[NOW, "1"]]}]), "the query gave a matrix, one number is needed"),
        (
            answer("vector", [{"metric": {}, "histogram": [NOW, {}]}]),
            "the query gave a histogram, one number is needed",
        ),
        (vector("0", at=NOW - 600), "Prometheus answered for 10 min ago, not for now"),
        (vector("0", at=NOW + 600), "Prometheus answered for 10 min ahead, not for now"),
        (answer("vector", [{"value": ["NaN", "0"]}]), "Prometheus answered for no time, not for now"),
        (
            json.dumps({**json.loads(vector("0")), "warnings": ["partial response: store-2 is away"]}),
            "Prometheus doubts its answer: partial response: store-2 is away",
        ),
        ('{"status":"success","data":null}', "Prometheus answered nothing readable"),
        ('{"status":"success"}', "Prometheus answered nothing readable"),
        ("[]", "Prometheus answered nothing readable"),
        ("<html>Sign in</html>", "Prometheus answered 200 without JSON"),
        ("", "Prometheus answered 200 without JSON"),
    ],
)
async def test_everything_else_is_unknown_and_says_why(serve: Serve, body: str, reason: str) -> None:
    server = await serve(body)
    found = await look(PrometheusConfig(url=server.url), requests="n")
    unknown(found)
    assert (found.requests, found.reason.replace("\u00a0", " ")) == (None, reason)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, '{"status":"error","errorType":"bad_data","error":"parse error: no brace"}', "Prometheus answered 400: parse error: no brace"),
        (422, '{"status":"error","errorType":"execution","error":"too many\\nsamples"}', "Prometheus answered 422: too many samples"),
        (503, '{"status":"error","errorType":"timeout","error":"query timed out"}', "Prometheus answered 503: query timed out"),
        (401, "who?", "Prometheus refuses our credentials"),
        (502, "<html>Bad gateway</html>", "Prometheus answered 502 without JSON"),
        (500, vector("0"), "Prometheus answered 500"),
        (302, "", "Prometheus answered 302 and points elsewhere; configure the final address"),
    ],
)  # fmt: skip
async def test_a_refusal_is_told_with_its_status(serve: Serve, status: int, body: str, reason: str) -> None:
    server = await serve(body, status=status)
    found = await look(PrometheusConfig(url=server.url))
    unknown(found)
    assert found.reason == reason


async def test_a_redirect_is_not_followed_and_takes_no_token_along(serve: Serve) -> None:
    other = await serve(vector("0"))

    async def away(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"{other.url}/api/v1/query"})

    server = await serve(handler=away)
    config = PrometheusConfig.model_validate({"url": server.url, "token": {"env": "PROM"}})
    unknown(await look(config, {"PROM": SECRET}))
    assert other.asked == []


ERRORS, TOTAL = 'predictions_total{code="500",model="fraud"}', 'predictions_total{model="fraud"}'


async def test_two_counters_are_a_ratio_and_its_size_within_a_window(serve: Serve) -> None:
    server = await serve(vector("4"))
    async with source(PrometheusConfig(url=server.url)) as opened:
        found = await opened.measure(
            PrometheusQuery.model_validate({"errors": ERRORS, "total": TOTAL, "window": "2m"}), None
        )
    assert (found.value, found.requests, found.reason) == (4.0, 4.0, "")
    asked = {form["query"] for _, _, form in server.asked}
    assert asked == {
        (
            f'(sum(rate({ERRORS}[120s])) or 0 * sum(rate(predictions_total{{code!="",model!=""}}[120s])))'
            f" / sum(rate({TOTAL}[120s]))"
        ),
        f"sum(increase({TOTAL}[120s]))",
    }


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({}, "give either query, or errors and total"),
        ({"query": "v", "errors": "a", "total": "b"}, "give either query, or errors and total"),
        ({"errors": "a"}, "give either query, or errors and total"),
        ({"query": "v", "total": "b"}, "give either query, or errors and total"),
        ({"errors": "a", "total": "b", "requests": "n"}, "total counts them here"),
        ({"query": "v", "window": "1m"}, "window belongs to errors and total"),
        ({"errors": "sum(a)", "total": "b"}, "is not a selector"),
        ({"errors": "a", "total": "b", "window": "5s"}, "greater than or equal"),
    ],
)
def test_a_query_is_of_one_kind(keys: dict[str, str], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        PrometheusQuery.model_validate(keys)


async def test_the_value_and_its_sample_are_of_the_same_moment(serve: Serve) -> None:
    server = await serve(vector("4"))
    found = await look(PrometheusConfig(url=server.url), requests="sum(n)")
    assert (found.value, found.requests, found.reason) == (4.0, 4.0, "")
    assert {form["query"] for _, _, form in server.asked} == {"v", "sum(n)"}
    assert {(path, float(form["time"])) for path, _, form in server.asked} == {("/api/v1/query", NOW)}


@pytest.mark.parametrize(
    ("size", "reason"),
    [("NaN", "the query gave NaN"), ("-5", "n gave -5 requests"), ("many", "the query gave no number but many")],
)
async def test_a_sample_of_no_known_size_says_why(serve: Serve, size: str, reason: str) -> None:
    async def either(request: web.Request) -> web.Response:
        form = await request.post()
        return web.Response(text=vector(size if form["query"] == "n" else "0.5"))

    server = await serve(handler=either)
    found = await look(PrometheusConfig(url=server.url), requests="n")
    assert (found.value, found.requests, found.reason) == (0.5, None, reason)


async def test_a_server_that_hangs_costs_one_timeout_for_both_questions(serve: Serve) -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        raise web.HTTPServiceUnavailable

    server = await serve(handler=hang)
    async with asyncio.timeout(0.55):
        found = await look(PrometheusConfig(url=server.url, timeout=0.3), requests="n")
    unknown(found)
    assert found.reason == "Prometheus does not answer"


async def test_a_server_that_drips_does_not_outlast_its_time(serve: Serve) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)

    server = await serve(handler=drip)
    async with asyncio.timeout(2):
        unknown(await look(PrometheusConfig(url=server.url, timeout=0.3)))


async def test_an_endless_body_is_dropped_at_its_limit(serve: Serve) -> None:
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 4 * LIMIT:
            await response.write(b" " * 262_144)
            sent += 262_144
        return response

    server = await serve(handler=flood)
    found = await look(PrometheusConfig(url=server.url, timeout=10))
    assert found.reason == "Prometheus answers more than 16 MiB"
    assert sent < 2 * LIMIT


async def test_an_answer_cut_short_is_unknown(serve: Serve) -> None:
    async def short(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "500"})
        await response.prepare(request)
        await response.write(vector("0").encode())
        if request.transport is not None:
            request.transport.abort()
        return response

    server = await serve(handler=short)
    unknown(await look(PrometheusConfig(url=server.url)))


# ── credentials ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_token_is_sent_and_read_anew_at_each_look(serve: Serve, tmp_path: Path) -> None:
    server, file = await serve(vector("1")), tmp_path / "token"
    config = PrometheusConfig.model_validate({"url": server.url, "token": {"file": str(file)}})
    for token in ("first\n", "second\n"):
        file.write_text(token)
        assert (await look(config)).value == 1
    assert [headers["Authorization"] for _, headers, _ in server.asked] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("token", ["", "two\nlines"])
async def test_a_token_that_is_not_there_is_told_and_nothing_is_asked(serve: Serve, token: str) -> None:
    server = await serve(vector("1"))
    found = await look(PrometheusConfig.model_validate({"url": server.url, "token": {"env": "PROM"}}), {"PROM": token})
    unknown(found)
    assert (found.reason, server.asked) == ("the token for Prometheus is not in PROM", [])


async def test_no_reason_shows_a_credential(serve: Serve) -> None:
    server = await serve("", status=401)
    config = PrometheusConfig.model_validate({"url": f"http://ops:{SECRET}@127.0.0.1:{server.port}"})
    with_token = PrometheusConfig.model_validate({"url": server.url, "token": {"env": "PROM"}})
    found = [await look(config), await look(with_token, {"PROM": SECRET})]
    assert [one.reason for one in found] == ["Prometheus refuses our credentials"] * 2
    assert all("Authorization" in headers for _, headers, _ in server.asked)
    assert SECRET not in f"{found!r}{config!r}{with_token!r}"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"url": "prometheus:9090"}, "must be an address such as http://127.0.0.1:9090"),
        ({"url": "ftp://prometheus"}, "must be an address such as http://127.0.0.1:9090"),
        ({"url": "http://a:b@prometheus", "token": {"env": "PROM"}}, "give either token or credentials in the url"),
        ({"url": "http://prometheus", "token": {}}, "give either env or file"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_at_the_start(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PrometheusConfig.model_validate(keys)


# ── any answer at all ─────────────────────────────────────────────────────────────────────────────────────────────────

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["success", "vector", "scalar", "1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["status", "data", "resultType", "result", "value", "warnings", "error", "metric"]), inner
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_answer_of_any_shape_is_raised_or_taken_for_a_number_it_is_not(body: Any) -> None:
    for shaped in (
        body,
        {"status": "success", "data": body},
        json.loads(vector("1")) | {"data": {"resultType": "vector", "result": body}},
    ):
        value, reason = _value(shaped, 200, NOW)
        assert (value is None) == bool(reason)


# ── the real one ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def shown(prometheus: Any) -> PrometheusConfig:
    lines = '# TYPE real_total counter\nreal_total{code="200"} 95\nreal_total{code="500"} 5\n# TYPE real_gone gauge\nreal_gone 1\n'
    await prometheus.show("real", lines, 'real_total{code="500"} == 5')
    return PrometheusConfig(url=prometheus.url)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ('sum(real_total{code="500"}) / sum(real_total)', 0.05),
        ("scalar(sum(real_total))", 100),
        ("sum(real_total) > 99", 100),
        ("count(real_total)", 2),
    ],
)
async def test_a_real_prometheus_gives_a_value(shown: PrometheusConfig, query: str, value: float) -> None:
    async with Prometheus(shown, context()) as real:
        found = await real.measure(PrometheusQuery(query=query, requests="sum(real_total)"), None)
    assert (found.value, found.requests, found.reason) == (value, 100, "")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("sum(real_total) / 0", "the query gave +Inf"),
        ("0 * sum(real_total) / 0", "the query gave NaN"),
        ("real_total", "the query gave 2 series, one is needed"),
        ("real_misspelt", "the query gave no series"),
        ("sum(real_total) > 100", "the query gave no series"),
        ("real_total[1m]", "the query gave a matrix, one number is needed"),
        ('"fine"', "the query gave a string, one number is needed"),
        ("sum(real_total", "Prometheus answered 400: "),
        ("real_total / on(code) group_left sum(real_total)", "the query gave no series"),
        ("real_total + on() real_total", "Prometheus answered 422: "),
        ("sum(real_total offset 1h)", "the query gave no series"),
    ],
)
async def test_a_real_prometheus_cannot_tell(shown: PrometheusConfig, query: str, reason: str) -> None:
    async with Prometheus(shown, context()) as real:
        found = await real.measure(PrometheusQuery(query=query, requests="sum(real_total)"), None)
    unknown(found)
    assert found.reason.startswith(reason)


async def test_a_series_that_ended_is_unknown_from_the_next_scrape_on(shown: PrometheusConfig, prometheus: Any) -> None:
    async with Prometheus(shown, context()) as real:
        assert (await real.measure(PrometheusQuery(query="real_gone"), None)).value == 1
        prometheus.lines["real"] = "real_other 1\n"
        await prometheus.until("real_gone", lambda series: not series)
        unknown(await real.measure(PrometheusQuery(query="real_gone"), None))


async def test_a_short_timeout_is_one_a_real_prometheus_takes(shown: PrometheusConfig) -> None:
    quick = PrometheusConfig(url=shown.url, timeout=0.4)
    async with Prometheus(quick, context()) as real:
        assert (await real.measure(PrometheusQuery(query="sum(real_total)"), None)).value == 100


# ── two counters, in a real Prometheus ────────────────────────────────────────────────────────────────────────────────


async def risen(prometheus: Any, name: str, errors: str, **codes: int) -> Measurement:
    """Let a counter rise from 0 to these numbers by code, and look within the last ten seconds."""
    series = [f'{name}{{code="{code[1:]}"}}' for code in codes]
    await prometheus.show(name, "".join(f"{one} 0\n" for one in series), f"count({name}) == {len(codes)}")
    await asyncio.sleep(0.5)
    numbers = zip(series, codes.values(), strict=True)
    total = sum(codes.values())
    await prometheus.show(name, "".join(f"{one} {n}\n" for one, n in numbers), f"sum({name}) == {total}")
    await prometheus.until(f"sum(rate({name}[10s])) > 0", bool)
    query = PrometheusQuery.model_validate({"errors": errors, "total": name, "window": "10s"})
    where = Context(clock=SystemClock(), name="prometheus", log=NotedLog(), secret=lambda _: None)
    async with Prometheus(PrometheusConfig(url=prometheus.url), where) as opened:
        return await opened.measure(query, None)


async def test_counters_give_the_share_that_failed_and_how_many_there_were(prometheus: Any) -> None:
    found = await risen(prometheus, "some_failed_total", 'some_failed_total{code="500"}', c200=300, c500=100)
    assert found.value == pytest.approx(0.25)
    assert found.requests is not None
    assert 300 < found.requests < 900  # Prometheus extrapolates to the edges of the window


async def test_a_counter_that_never_counted_a_failure_is_a_zero(prometheus: Any) -> None:
    found = await risen(prometheus, "none_failed_total", 'none_failed_total{code="500"}', c200=400)
    assert (found.value, found.reason) == (0.0, "")


@pytest.mark.parametrize("errors", ['misspelt_total{code="500"}', 'right_total{kode="500"}', "nowhere_total"])
async def test_a_counter_that_is_nowhere_is_never_a_zero(prometheus: Any, errors: str) -> None:
    found = await risen(prometheus, "right_total", errors, c200=400)
    unknown(found)
    assert found.reason == "the query gave no series"
