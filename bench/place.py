"""A place to measure in: the configuration of many models, the Slack look-alike with a stop watch, child processes."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
from aiohttp import web
from probes import ALERTMANAGER, cpu_seconds

from bot.clock import SystemClock
from bot.demo.slack import CHANNEL, SlackLookalike

HERE = Path(__file__).parent
TOKEN = "bench-alert-token"  # noqa: S105  proves nothing to anybody
BEARER = {"Authorization": f"Bearer {TOKEN}"}
WEBHOOK = "bench.webhook"  # where Alertmanager posts, beside the Web API
NAMED = re.compile(r"bench-[a-z]+-\d+")
CONFIG = """\
version: 1
slack: {{channel: {channel}}}
web: {{host: 127.0.0.1, port: 0, public_url: "https://lastgood.example"}}
sources: {{alertmanager: {{tokens: [{{env: BENCH_ALERT_TOKEN}}]}}}}
metrics: {{scrape: {{urls: ["{metrics}"]}}}}
roles:
  sre: {{usergroups: [S0ONCALL]}}
  owner: {{members: [U0PRIYA, U0MIKA]}}
policy:
  rules:
    - {{id: tier1, when: "tier == 1", mode: approve, require: [{{role: sre}}, {{role: owner}}]}}
models:
"""
MODEL = """\
  {name}:
    tier: 1
    owner: {{usergroup: S0FRAUD, escalation_policy: X}}
    environments:
      prod:
        soak: 0s
        last_good: "41"
        targets: {{route: {{adapter: memory, versions: ["41", "42"]}}}}
        slis: {{error_ratio: {{source: scrape, errors: 'p{{code="500"}}', total: p, objective: 0.02}}}}
"""
RUNBOOK = """\
runbook: bench
title: Bench
owner: team
rollback: {steps: [{target: route}]}
verify:
  traffic: {max_bad_share: 0.01, within: 10s}
  recovery: {samples: 2, every: 1s, within: 10s, min_requests: 10, watch: 1s}
"""
ROUTES = """\
route: {{receiver: slack, group_by: ['...'], group_wait: 0s, group_interval: 5m, repeat_interval: 4h}}
receivers:
  - name: slack
    slack_configs:
      - api_url: {url}{webhook}
        channel: {channel}
        http_config: {{authorization: {{credentials: {token}}}}}
        title: '{{{{ .CommonLabels.alertname }}}} {{{{ .CommonLabels.model }}}}'
        text: '{{{{ .CommonAnnotations.summary }}}}'
"""


class TimedSlack(SlackLookalike):
    """Notes when the first message about a model arrives, before the message is judged."""

    def watch(self) -> dict[str, float]:
        self.first: dict[str, float] = {}
        return self.first

    async def _api(self, request: web.Request) -> web.StreamResponse:
        now, method = perf_counter(), request.match_info["method"]
        if method in ("chat.postMessage", WEBHOOK):
            for name in NAMED.findall(await request.text()):
                self.first.setdefault(name, now)
        return web.Response(text="ok") if method == WEBHOOK else await super()._api(request)


class Child:
    """One started process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port, self.pid = process, port, process.pid

    @property
    def hook(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/alertmanager"

    async def quiet(self, within: float = 10.0) -> None:
        """Wait until it uses next to no processor time."""
        ends, before = perf_counter() + within, cpu_seconds(self.pid)
        while perf_counter() < ends:
            await asyncio.sleep(0.2)
            now = cpu_seconds(self.pid)
            if now - before <= 0.02:
                return
            before = now


@dataclass
class Place:
    folder: Path
    slack: TimedSlack
    metrics: str

    def site(self, name: str, models: list[str]) -> Path:
        """Write a configuration; a folder that is there already keeps its database."""
        folder = self.folder / name
        (folder / "runbooks").mkdir(parents=True, exist_ok=True)
        (folder / "runbooks" / "bench.yaml").write_text(RUNBOOK)
        head = CONFIG.format(channel=CHANNEL, metrics=self.metrics)
        (folder / "lastgood.yaml").write_text(head + "".join(MODEL.format(name=one) for one in models))
        return folder

    def environ(self, folder: Path) -> dict[str, str]:
        return {
            "LASTGOOD_CONFIG": str(folder / "lastgood.yaml"), "LASTGOOD_DATABASE_URL": f"sqlite:///{folder}/t.db",
            "BENCH_ALERT_TOKEN": TOKEN, "BENCH_CHANNEL": CHANNEL, "BENCH_LOG": str(folder / "log"),
            "SLACK_BOT_TOKEN": self.slack.bot_token, "SLACK_SIGNING_SECRET": self.slack.signing_secret, "SLACK_API_URL": self.slack.api_url,
        }  # fmt: skip

    @asynccontextmanager
    async def child(
        self, *arguments: str, folder: Path | None = None, own: Mapping[str, str] | None = None
    ) -> AsyncIterator[Child]:
        """Run one of the processes of child.py until left; `own` adds to its environment."""
        path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH", "")]))
        async with started(
            sys.executable, str(HERE / "child.py"), *arguments,
            env={**os.environ, **self.environ(folder or self.folder), "PYTHONPATH": path, **(own or {})},
        ) as process:  # fmt: skip
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode().strip()
            if not line.isdecimal():
                raise RuntimeError(f"{' '.join(arguments)} did not start: {line or 'see above'}")
            yield Child(process, int(line))

    @asynccontextmanager
    async def alertmanager(self, port: int) -> AsyncIterator[Child]:
        """Run a real Alertmanager that posts to the look-alike by itself."""
        config = self.folder / "alertmanager.yml"
        config.write_text(
            ROUTES.format(url=self.slack.api_url, webhook=WEBHOOK, channel=CHANNEL, token=self.slack.bot_token)
        )
        async with started(
            str(ALERTMANAGER), f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
            f"--storage.path={self.folder}/alertmanager", "--log.level=error",
        ) as process:  # fmt: skip
            await answers(f"http://127.0.0.1:{port}/-/ready", 10)
            yield Child(process, port)


@asynccontextmanager
async def started(*command: str, env: dict[str, str] | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(8):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def answers(url: str, within: float) -> None:
    """Wait until a URL answers 200."""
    async with asyncio.timeout(within), aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.002)


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    """Start the look-alike and an endpoint of counters."""
    slack = TimedSlack(SystemClock())
    await slack.start()
    slack.watch()
    app = web.Application()
    app.router.add_get("/metrics", _counters)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Place(folder, slack, f"http://127.0.0.1:{runner.addresses[0][1]}/metrics")
    finally:
        await slack.stop()
        await runner.cleanup()


async def _counters(request: web.Request) -> web.Response:
    good = 1000 * perf_counter()
    del request
    return web.Response(text=f'# TYPE p counter\np{{code="200"}} {good}\np{{code="500"}} {0.0}\n')


def alert(model: str, serial: int = 0) -> dict[str, Any]:
    labels = {
        "alertname": "Burn",
        "model": model,
        "env": "prod",
        "version": "42",
        "sli": "error_ratio",
        "severity": "error",
    }
    return {
        "status": "firing", "labels": {**labels, "n": str(serial)}, "annotations": {"summary": "too many errors", "value": "0.12", "threshold": "0.02"},
        "startsAt": "2026-11-23T02:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": f"{model}-{serial}",
    }  # fmt: skip


def body(models: list[str]) -> dict[str, Any]:
    alerts = [alert(model, at) for at, model in enumerate(models)]
    return {"version": "4", "groupKey": "g", "status": "firing", "truncatedAlerts": 0, "alerts": alerts}
