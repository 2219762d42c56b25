"""Every shipped metric source keeps the laws of the contract suite."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from adapters.metrics.cloudwatch import Cloudwatch, CloudwatchConfig, CloudwatchQuery
from adapters.metrics.datadog import Datadog, DatadogConfig, DatadogQuery
from adapters.metrics.http_json import HttpJson, HttpJsonConfig, HttpJsonQuery
from adapters.metrics.prometheus import Prometheus, PrometheusConfig, PrometheusQuery
from adapters.metrics.scrape import Scrape, ScrapeConfig, ScrapeQuery
from adapters.testing import MetricContract, MetricRig, Wire
from tests.adapters.moto import Moto

SECRET = "hunter2"

Serve = Callable[..., Awaitable[Any]]


def _lines(name: str, requests: int, failed: int) -> str:
    return f'# TYPE {name} counter\n{name}{{code="200"}} {requests - failed}\n{name}{{code="500"}} {failed}\n'


def _rig(make: Any, query: Any, wire: Wire, serve: Any) -> MetricRig:
    async def hang() -> None:
        await wire.lose(lambda _: True, silent=True)

    return MetricRig(make, query, serve, wire.cut, hang, wire.say, wire.mend, SECRET, deadline=3)


class TestScrape(MetricContract):
    """One endpoint behind a line that can be broken."""

    @pytest.fixture
    async def rig(self, serve: Serve) -> AsyncIterator[MetricRig]:
        endpoint = await serve(_lines("p_total", 0, 0))
        wire = Wire(endpoint.port)
        await wire.open()
        config = ScrapeConfig(urls=(f"http://ops:{SECRET}@127.0.0.1:{wire.port}/metrics?token={SECRET}",), timeout=0.5)

        async def served(requests: int, failed: int) -> None:
            endpoint.body = _lines("p_total", requests, failed)

        query = ScrapeQuery(errors='p_total{code="500"}', total="p_total")
        yield _rig(lambda c: Scrape(config, c), query, wire, served)
        await wire.mend()
        await wire.cut()


class TestPrometheus(MetricContract):
    """A real Prometheus behind a line that can be broken."""

    @pytest.fixture
    async def rig(self, prometheus: Any, request: pytest.FixtureRequest) -> AsyncIterator[MetricRig]:
        name = f"p{abs(hash(request.node.name))}_total"
        wire = Wire(prometheus.port)
        await wire.open()
        await prometheus.show(name, _lines(name, 0, 0), name)
        config = PrometheusConfig(url=f"http://ops:{SECRET}@127.0.0.1:{wire.port}", timeout=0.5)

        async def served(requests: int, failed: int) -> None:
            await prometheus.show(name, _lines(name, requests, failed), f"sum({name}) == {requests}")

        query = PrometheusQuery(query=f'sum({name}{{code="500"}}) / sum({name})', requests=f"sum({name})")
        yield _rig(lambda c: Prometheus(config, c), query, wire, served)
        del prometheus.lines[name]
        await wire.mend()
        await wire.cut()


class TestHttpJson(MetricContract):
    """A service that answers JSON, behind a line that can be broken."""

    @pytest.fixture
    async def rig(self, serve: Serve) -> AsyncIterator[MetricRig]:
        endpoint = await serve('{"quality": [{"ratio": null, "n": 0}]}')
        wire = Wire(endpoint.port)
        await wire.open()
        url = f"http://ops:{SECRET}@127.0.0.1:{wire.port}"

        async def served(requests: int, failed: int) -> None:
            endpoint.body = json.dumps({"quality": [{"ratio": failed / requests, "n": requests}]})

        query = HttpJsonQuery(path=f"/v1?key={SECRET}", value="quality.0.ratio", requests="quality.0.n")
        yield _rig(lambda c: HttpJson(HttpJsonConfig(url=url, timeout=0.5), c), query, wire, served)
        await wire.mend()
        await wire.cut()


class TestDatadog(MetricContract):
    """A fake of Datadog's query endpoint that answers two queries, behind a line that can be broken."""

    @pytest.fixture
    async def rig(self, serve: Serve, tmp_path: Path) -> AsyncIterator[MetricRig]:
        endpoint = await serve()
        numbers: dict[str, float | None] = {"ratio": None, "n": 0.0}

        async def answer(request: web.Request) -> web.Response:
            assert request.headers["DD-API-KEY"] == request.headers["DD-APPLICATION-KEY"] == SECRET
            at = (int(request.query["to"]) // 60 - 1) * 60_000
            point = [at, numbers[request.query["query"]]]
            return web.json_response({"status": "ok", "series": [{"interval": 60, "pointlist": [point]}]})

        endpoint.handler = answer
        wire = Wire(endpoint.port)
        await wire.open()
        (tmp_path / "key").write_text(SECRET)
        key = {"file": str(tmp_path / "key")}
        config = DatadogConfig.model_validate(
            {"url": f"http://127.0.0.1:{wire.port}", "api_key": key, "application_key": key, "timeout": 0.5}
        )

        async def served(requests: int, failed: int) -> None:
            numbers.update(ratio=failed / requests, n=float(requests))

        query = DatadogQuery(query="ratio", requests="n")
        yield _rig(lambda c: Datadog(config, c), query, wire, served)
        await wire.mend()
        await wire.cut()


class TestCloudwatch(MetricContract):
    """moto's CloudWatch, a local server that keeps metrics, behind a line that can be broken."""

    @pytest.fixture
    async def rig(self, moto: Moto, request: pytest.FixtureRequest) -> AsyncIterator[MetricRig]:
        space = f"space{abs(hash(request.node.name))}"
        wire = Wire(moto.port)
        await wire.open()
        config = CloudwatchConfig(region="eu-west-1", url=f"http://127.0.0.1:{wire.port}", timeout=1.5)

        async def served(requests: int, failed: int) -> None:
            await asyncio.to_thread(moto.put, space, {"ratio": failed / requests, "n": float(requests)})

        metric = {"namespace": space, "stat": "Average"}
        query = CloudwatchQuery.model_validate(
            {
                "metrics": {"ratio": {**metric, "name": "ratio"}, "n": {**metric, "name": "n"}},
                "value": "ratio",
                "requests": "n",
            }
        )
        yield _rig(lambda c: Cloudwatch(config, c), query, wire, served)
        await wire.mend()
        await wire.cut()
