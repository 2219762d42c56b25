"""Two small model servers, a steady load through Envoy, and a detector that alerts as Alertmanager would."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import takewhile
from typing import Any

import aiohttp
from aiohttp import web

from bot.domain import words
from bot.ports import Clock

RATE = 212  # requests a second
OBJECTIVE = 0.01
WINDOW = 3.0  # seconds the detector looks back
WELL, ILL = 0.003, 0.124


class ModelServer:
    """One version of the model: answers predictions, fails some, counts both."""

    def __init__(self, version: str, clock: Clock, seed: int) -> None:
        """Serve `version`; failures are drawn from `seed`, so two runs look alike."""
        self.version, self._clock = version, clock
        self._random = random.Random(seed)  # noqa: S311  a demo's dice
        self._owed, self._gap = 0.0, 1.0
        self.counts = {"200": 0, "500": 0}
        self.ill_since: float | None = None
        self.port = 0

    @property
    def failing(self) -> float:
        """Give the share of requests that fail now; an ill version gets worse over five seconds."""
        if self.ill_since is None:
            return WELL
        return min(ILL, WELL + (self._clock.monotonic() - self.ill_since) / 5 * (ILL - WELL))

    def fails(self) -> bool:
        """Say whether this request fails.

        Gaps between failures are half to one and a half of what the share asks for: it looks drawn, and yet a well
        version never leaves its objective by bad luck.
        """
        self._owed += self.failing
        if self._owed < self._gap:
            return False
        self._owed, self._gap = 0.0, self._random.uniform(0.5, 1.5)
        return True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_route("*", "/predict", self._predict)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            await runner.cleanup()

    async def _predict(self, request: web.Request) -> web.Response:
        del request
        code = "500" if self.fails() else "200"
        self.counts[code] += 1
        return web.json_response({"version": self.version}, status=int(code), headers={"X-Model-Version": self.version})

    async def _metrics(self, request: web.Request) -> web.Response:
        del request
        rows = [
            f'model_predictions_total{{version="{self.version}",code="{code}"}} {count}'
            for code, count in self.counts.items()
        ]
        return web.Response(text="# TYPE model_predictions_total counter\n" + "\n".join(rows) + "\n")


class Load:
    """Sends requests at a steady rate and remembers, for a window, who answered and how."""

    def __init__(self, url: str, clock: Clock) -> None:
        """Ask `url`."""
        self._url, self._clock = url, clock
        self.seen: deque[tuple[float, str, bool]] = deque(maxlen=20_000)
        self.total = 0

    async def run(self) -> None:
        """Send until cancelled; late requests are sent at once, so the rate holds."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=16), timeout=aiohttp.ClientTimeout(total=3)
        ) as http:
            due = self._clock.monotonic()
            tasks: set[asyncio.Task[None]] = set()
            try:
                while True:
                    due += 1 / RATE
                    await asyncio.sleep(max(0.0, due - self._clock.monotonic()))
                    task = asyncio.create_task(self._one(http))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, http: aiohttp.ClientSession) -> None:
        try:
            async with http.get(self._url) as answer:
                await answer.read()
                self.seen.append(
                    (self._clock.monotonic(), answer.headers.get("X-Model-Version", ""), answer.status >= 500)
                )
        except (aiohttp.ClientError, TimeoutError):
            self.seen.append((self._clock.monotonic(), "", True))
        self.total += 1

    def window(self, seconds: float, version: str | None = None) -> tuple[int, int]:
        """Give requests and failures of the last seconds, of one version or of all."""
        start = self._clock.monotonic() - seconds
        recent = [
            bad for _, who, bad in takewhile(lambda one: one[0] >= start, reversed(self.seen)) if version in (None, who)
        ]
        return len(recent), sum(recent)

    def share(self, version: str, seconds: float = 1.0) -> float:
        """Give the share of recent requests a version answered."""
        total, _ = self.window(seconds)
        return self.window(seconds, version)[0] / total if total else 0.0


class Detector:
    """Posts Alertmanager-format notifications: firing while the error ratio is over the objective, then resolved."""

    def __init__(self, load: Load, hook: str, token: str, clock: Clock, *, over: float = 8.0) -> None:
        """Watch `load`, notify `hook` when the ratio is `over` times the objective."""
        self._over = over
        self._load, self._hook, self._token, self._clock = load, hook, token, clock
        self._started: Any = None
        self._version = ""

    async def run(self) -> None:
        """Look twice a second until cancelled."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as http:
            while True:
                await asyncio.sleep(0.5)
                await self._look(http)

    async def _look(self, http: aiohttp.ClientSession) -> None:
        total, bad = self._load.window(WINDOW)
        if total < 300:
            return
        ratio = bad / total
        if self._started is None and ratio > OBJECTIVE * self._over:
            self._started = self._clock.now() - timedelta(seconds=WINDOW)
            self._version = max("42", "41", key=lambda version: self._load.window(WINDOW, version)[1])
            await self._notify(http, "firing", ratio)
        elif self._started is not None and ratio <= OBJECTIVE:
            await self._notify(http, "resolved", ratio)
            self._started = None

    async def _notify(self, http: aiohttp.ClientSession, status: str, ratio: float) -> None:
        labels = {
            "alertname": "SLOFastBurn",
            "model": "fraud-scorer",
            "env": "prod",
            "version": self._version,
            "sli": "error_ratio",
            "severity": "error",
        }
        summary = f"fraud-scorer {self._version}: {words.percent(ratio)} of requests fail"
        ended = self._clock.now().isoformat() if status == "resolved" else "0001-01-01T00:00:00Z"
        alert = {
            "status": status, "labels": labels, "startsAt": self._started.isoformat(), "endsAt": ended,
            "annotations": {"summary": summary, "value": f"{ratio:.4f}", "threshold": str(OBJECTIVE)},
            "generatorURL": "http://127.0.0.1/graph", "fingerprint": hashlib.sha256(self._version.encode()).hexdigest()[:16],
        }  # fmt: skip
        group = '{}:{model="fraud-scorer"}'
        body = {
            "version": "4", "groupKey": group, "truncatedAlerts": 0, "status": status, "receiver": "lastgood", "groupLabels": {},
            "commonLabels": labels, "commonAnnotations": {}, "externalURL": "http://127.0.0.1", "alerts": [alert],
        }  # fmt: skip
        async with http.post(self._hook, json=body, headers={"Authorization": f"Bearer {self._token}"}) as answer:
            await answer.read()
