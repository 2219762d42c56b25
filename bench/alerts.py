"""From an alert to its card at 100 a second: open loop, latency from the due time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Any

import aiohttp
from figures import Figure
from place import BEARER, Place, alert, body
from probes import ALERTMANAGER, percentile

from bot.demo.envoy import free_port

RATE = 100.0  # alerts a second
WARM = 20
PAUSE = 0.25  # seconds between one and the next
WAIT = 10.0  # seconds until a card that has not come counts as missing
FORWARDER = "aiohttp handler that posts with the SDK"


async def _run(place: Place, url: str, bodies: dict[str, Any]) -> tuple[list[float], int]:
    """Give the latencies in ms and how many cards never came."""
    first, due = place.slack.watch(), {}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=BEARER) as http, asyncio.TaskGroup() as group:
        began = perf_counter()
        for at, (model, content) in enumerate(bodies.items()):
            due[model] = began + at / RATE
            await asyncio.sleep(max(0.0, due[model] - perf_counter()))
            group.create_task(_send(http, url, content))
    ends = perf_counter() + WAIT
    while len(first) < len(due) and perf_counter() < ends:  # noqa: ASYNC110  the look-alike offers no event
        await asyncio.sleep(0.01)
    seconds = [first[model] - at for model, at in due.items() if model in first]
    return [1000 * one for one in seconds], len(due) - len(seconds)


async def _send(http: aiohttp.ClientSession, url: str, content: Any) -> None:
    async with http.post(url, json=content) as answer:
        assert answer.status in (200, 202), await answer.text()
        await answer.read()


def _hooked(models: list[str]) -> dict[str, Any]:
    return {model: body([model]) for model in models}


def _native(models: list[str]) -> dict[str, Any]:
    return {model: [{key: alert(model)[key] for key in ("labels", "annotations")}] for model in models}


class Alerts:
    """Lastgood, Alertmanager and a bare forwarder, taken in turn."""

    def __init__(self, place: Place, rounds: int, count: int) -> None:
        self._place, self._rounds, self._count = place, rounds, count
        against = "Alertmanager's own Slack receiver" if ALERTMANAGER.exists() else FORWARDER
        self.p50 = Figure("alert→card p50 at 100/s", "ms", against, 1.6, 1.0, samples=count)
        self.p99 = Figure("alert→card p99 at 100/s", "ms", against, 1.5, 0.8, samples=count)
        self.over = Figure("alert→card p50 over a forwarder", "ms", FORWARDER, 2.5, 1.8, samples=count)
        self.figures = [self.p50, self.p99, self.over]
        self._ways: dict[str, tuple[str, Callable[[list[str]], dict[str, Any]]]] = {}

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            models = [name for at in range(-1, self._rounds) for name in self._models("card", at)]
            app = await stack.enter_async_context(self._place.child("app", folder=self._place.site("alerts", models)))
            bare = await stack.enter_async_context(self._place.child("forwarder"))
            self._ways = {"card": (app.hook, _hooked), "bare": (bare.hook, _hooked)}
            if ALERTMANAGER.exists():
                real = await stack.enter_async_context(self._place.alertmanager(free_port()))
                self._ways["real"] = (f"http://127.0.0.1:{real.port}/api/v2/alerts", _native)
            for kind in self._ways:
                await self._one(kind, -1)
            await app.quiet()
            yield

    def _models(self, kind: str, at: int) -> list[str]:
        return [f"bench-{kind}-{(at + 1) * 10000 + n}" for n in range(WARM if at < 0 else self._count)]

    async def _one(self, kind: str, at: int) -> tuple[list[float], int]:
        url, bodies = self._ways[kind]
        return await _run(self._place, url, bodies(self._models(kind, at)))

    async def round(self, at: int) -> None:
        found = {}
        kinds = list(self._ways)
        for kind in kinds if at % 2 == 0 else kinds[::-1]:
            found[kind], missing = await self._one(kind, at)
            if missing:
                self.p50.note += f"round {at + 1}: {missing} of {self._count} messages of {kind} never came; "
            await asyncio.sleep(PAUSE)
        reference = found.get("real", found["bare"])
        if not all(found.values()):
            return
        self.p50.add(percentile(found["card"], 0.5), percentile(reference, 0.5))
        self.p99.add(percentile(found["card"], 0.99), percentile(reference, 0.99))
        self.over.add(percentile(found["card"], 0.5), percentile(found["bare"], 0.5))
