"""What four replicas on one PostgreSQL carry beside one: incidents decided a second, and what each costs in processor time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import perf_counter

import aiohttp
from figures import Figure
from place import BEARER, Child, Place
from probes import cpu_seconds

from bot.clock import SystemClock
from bot.store.timeline import Store
from tests.postgres import Server

MANY = 4
AGAINST = "one replica"


class Replicas:
    """A storm of distinct incidents over one and over four replicas, each time on a database of its own."""

    def __init__(self, place: Place, count: int) -> None:
        self._place, self._count = place, count
        self.rate = Figure(
            "incidents decided, 4 replicas", "1/s", AGAINST, 0.9, 1.2, more_is_better=True, samples=count
        )
        self.cost = Figure("CPU per incident, 4 replicas", "ms", AGAINST, 1.2, samples=count)
        self.figures = [self.rate, self.cost]
        self._server: Server | None = None

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        self._server = await asyncio.to_thread(Server.started)
        try:
            yield
        finally:
            await asyncio.to_thread(self._server.remove)

    async def round(self, at: int) -> None:
        found = {}
        for replicas in (1, MANY) if at % 2 == 0 else (MANY, 1):
            found[replicas] = await self._storm(replicas, at)
        self.rate.add(found[MANY][0], found[1][0])
        self.cost.add(found[MANY][1], found[1][1])

    async def _storm(self, replicas: int, at: int) -> tuple[float, float]:
        """Give incidents decided a second, and milliseconds of processor time for each."""
        assert self._server is not None
        url, models = self._server.database(), [f"bench-replica-{n}" for n in range(self._count)]
        folder = self._place.site(f"replicas-{replicas}-{at}", models)
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(Store(url, SystemClock()))
            own = {"LASTGOOD_DATABASE_URL": url, "LASTGOOD_SIGNING_KEY": "11" * 32}
            children = [await self._child(stack, folder, own) for _ in range(replicas)]
            for child in children:
                await child.quiet()
            before, began = sum(cpu_seconds(child.pid) for child in children), perf_counter()
            await asyncio.gather(*(_fire(child, models[n::replicas]) for n, child in enumerate(children)))
            await self._decided(store)
            took = perf_counter() - began
            used = sum(cpu_seconds(child.pid) for child in children) - before
        return self._count / took, 1000 * used / self._count

    async def _child(self, stack: AsyncExitStack, folder: Path, own: dict[str, str]) -> Child:
        return await stack.enter_async_context(self._place.child("app", folder=folder, own=own))

    async def _decided(self, store: Store) -> None:
        async with asyncio.timeout(120):
            while True:
                ((count,),) = await store.query(
                    "SELECT count(DISTINCT stream) FROM timeline WHERE type='policy.decided' AND stream LIKE 'incident/%'"
                )
                if count >= self._count:
                    return
                await asyncio.sleep(0.05)


async def _fire(child: Child, models: Sequence[str]) -> None:
    """Send ten incidents a message, one message after the other."""
    async with aiohttp.ClientSession() as http:
        for at in range(0, len(models), 10):
            alerts = [
                {
                    "status": "firing",
                    "labels": {
                        "alertname": "Burn",
                        "model": model,
                        "env": "prod",
                        "version": "42",
                        "sli": "error_ratio",
                    },
                    "annotations": {"summary": "too many errors"},
                    "startsAt": "2026-11-23T02:00:00Z",
                    "endsAt": "0001-01-01T00:00:00Z",
                    "fingerprint": model,
                }
                for model in models[at : at + 10]
            ]
            body = {"version": "4", "groupKey": "g", "status": "firing", "truncatedAlerts": 0, "alerts": alerts}
            async with http.post(child.hook, json=body, headers=BEARER) as answer:
                assert answer.status == 202
