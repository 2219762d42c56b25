"""A real Envoy between two model servers, for the tests of this folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

pytest.register_assert_rewrite("adapters.testing")

from bot.demo.envoy import Envoy as EnvoyProcess  # noqa: E402 - the suite's asserts are rewritten before it is imported
from bot.demo.envoy import binary  # noqa: E402 - same
from bot.errors import LastgoodError  # noqa: E402 - same

Start = Callable[..., Awaitable[EnvoyProcess]]


@pytest.fixture
async def models() -> AsyncIterator[dict[str, int]]:
    """The port of a small server for each cluster."""
    async with AsyncExitStack() as stack:
        ports = {}
        for name in ("fraud-v41", "fraud-v42", "fraud-arm"):
            app = web.Application()
            app.router.add_get("/", _ok)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            ports[name] = runner.addresses[0][1]
        yield ports


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text="ok")


@pytest.fixture
async def start(models: dict[str, int], tmp_path: Path) -> AsyncIterator[Start]:
    """Start an Envoy with these weights; all are stopped after the test."""
    try:
        binary()
    except LastgoodError as error:
        pytest.skip(str(error))
    running: list[EnvoyProcess] = []

    async def begin(
        weights: dict[str, int], *, rds: bool = False, kind: type[EnvoyProcess] = EnvoyProcess
    ) -> EnvoyProcess:
        envoy = kind({name: models[name] for name in weights}, weights, tmp_path / f"envoy{len(running)}", rds=rds)
        running.append(envoy)
        await envoy.start()
        return envoy

    yield begin
    for envoy in running:
        await envoy.stop()


@pytest.fixture
def send() -> Callable[[int, int], Awaitable[int]]:
    """Send requests to a port, eight at a time; give how many were answered 200."""
    return _send


async def _send(port: int, requests: int) -> int:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=8)) as http:

        async def one() -> int:
            async with http.get(f"http://127.0.0.1:{port}/") as answer:
                await answer.read()
                return int(answer.status == 200)

        return sum(await asyncio.gather(*(one() for _ in range(requests))))


@pytest.fixture
def asked() -> Callable[[str], Awaitable[Any]]:
    """Give the JSON behind a URL."""
    return _asked


async def _asked(url: str) -> Any:
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return json.loads(await answer.read())


@pytest.fixture
def rewrite() -> Callable[[EnvoyProcess, dict[str, int]], Awaitable[None]]:
    """Replace the route file as another manager would, and wait until Envoy has it."""
    return _rewrite


async def _rewrite(envoy: EnvoyProcess, weights: dict[str, int]) -> None:
    content = json.loads(envoy.rds_path.read_text())
    route = content["resources"][0]["virtual_hosts"][0]["routes"][0]["route"]["weighted_clusters"]
    route["clusters"] = [{"name": name, "weight": weight} for name, weight in weights.items()]
    content["version_info"] = "meddled"
    fresh = envoy.rds_path.with_name("fresh")
    fresh.write_text(json.dumps(content))
    fresh.replace(envoy.rds_path)
    while "meddled" not in json.dumps(await _asked(f"{envoy.admin}/config_dump?resource=dynamic_route_configs")):
        await asyncio.sleep(0.01)
