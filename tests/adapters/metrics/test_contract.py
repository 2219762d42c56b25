"""Every shipped metric source keeps the laws of the contract suite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from adapters.metrics.prometheus import Prometheus, PrometheusConfig, PrometheusQuery
from adapters.metrics.scrape import Scrape, ScrapeConfig, ScrapeQuery
from adapters.testing import MetricContract, MetricRig, Wire

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
