"""Requests a second that are stored before they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter

import orjson
from figures import Figure
from place import TOKEN, Child, Place, body
from probes import cpu_seconds

CONNECTIONS = 64
BARE = "bare aiohttp that reads the body and answers 202"


class _Connection(asyncio.Protocol):
    """Sends one request after the answer to the one before, and counts."""

    def __init__(self, request: bytes) -> None:
        self._request, self._transport = request, asyncio.Transport()
        self.answers = self.refused = 0
        self.running = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 "):
            return  # the rest of an answer that came in two parts
        self.answers += 1
        self.refused += not data.startswith(b"HTTP/1.1 202")
        if self.running:
            self._transport.write(self._request)

    def close(self) -> None:
        self._transport.close()


def _request(alerts: int) -> bytes:
    content = orjson.dumps(body(["bench-ingest-0"] * alerts))
    head = (
        "POST /hooks/alertmanager HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def _rate(child: Child, alerts: int, seconds: float) -> tuple[float, float]:
    """Give answers a second, and the server's CPU in µs for each, what it does after the answer included."""
    loop, request = asyncio.get_running_loop(), _request(alerts)
    used = cpu_seconds(child.pid)
    began = perf_counter()
    made = [
        (await loop.create_connection(lambda: _Connection(request), "127.0.0.1", child.port))[1]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.sleep(seconds)
    took, answers = perf_counter() - began, sum(one.answers for one in made)
    for one in made:
        one.running = False
    await child.quiet(within=5)
    for one in made:
        one.close()
    assert not any(one.refused for one in made), "a request was refused"
    return answers / took, 1e6 * (cpu_seconds(child.pid) - used) / max(answers, 1)


class Ingest:
    """The whole application under repeated alerts, beside a handler that keeps nothing."""

    def __init__(self, place: Place, seconds: float) -> None:
        self._place, self._seconds = place, seconds
        self._figures = {
            1: Figure("durable ingest, 1 alert a body", "req/s", BARE, 0.4, 0.6, more_is_better=True),
            10: Figure("durable ingest, 10 alerts a body", "req/s", BARE, 0.25, 0.4, more_is_better=True),
        }
        self._cpu = {n: Figure(f"ingest CPU a request, {n} a body", "µs", BARE, None) for n in self._figures}
        self.figures = [*self._figures.values(), *self._cpu.values()]
        self._children: list[Child] = []

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            folder = self._place.site("ingest", ["bench-ingest-0"])
            app = await stack.enter_async_context(self._place.child("app", folder=folder))
            self._children = [app, await stack.enter_async_context(self._place.child("bare"))]
            yield

    async def round(self, at: int) -> None:
        for alerts, figure in self._figures.items():
            found = {}
            for child in self._children if at % 2 == 0 else self._children[::-1]:
                found[child.pid] = await _rate(child, alerts, self._seconds)
            (rate, cpu), (bare, bare_cpu) = (found[child.pid] for child in self._children)
            figure.add(rate, bare)
            self._cpu[alerts].add(cpu, bare_cpu)
