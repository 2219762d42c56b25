"""A whole site for tests: the application in-process, the Slack look-alike, a memory target, an SLI endpoint of our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from adapters.traffic.memory import Memory
from bot.app import Application, create
from bot.clock import SystemClock
from bot.config import Settings
from bot.demo.slack import CHANNEL, SlackLookalike
from bot.domain.incident import Incident, Phase
from bot.flow.observe import observe
from bot.log import JsonLog

TOKEN = "test-alert-token"
CONFIG = """\
version: 1
slack: {{channel: {channel}}}
web: {{host: 127.0.0.1, port: 0, public_url: "https://lastgood.example"}}
sources:
  alertmanager: {{tokens: [{{env: AM_TOKEN}}]}}
  generic: {{tokens: [{{env: AM_TOKEN}}], environment: prod}}
metrics:
  scrape: {{urls: ["{metrics}"]}}
roles:
  sre: {{usergroups: [S0ONCALL]}}
  owner: {{members: [U0PRIYA, U0MIKA]}}
policy:
  rules:
    - {{id: tier1, when: "tier == 1", mode: {mode}, require: [{{role: sre}}, {{role: owner}}]}}
models:
  fraud-scorer:
    tier: 1
    owner: {{usergroup: S0FRAUD, escalation_policy: X}}
    environments:
      prod:
        soak: 0s
        last_good: "41"
        targets: {{route: {{adapter: memory, versions: ["41", "42"], path: "{folder}/split.json"}}}}
        slis: {{error_ratio: {{source: scrape, errors: 'p{{code="500"}}', total: p, objective: 0.02}}}}
"""
RUNBOOK = """\
runbook: fraud
title: Fraud
owner: team
rollback: {steps: [{target: route}]}
verify:
  traffic: {max_bad_share: 0.01, within: 10s}
  recovery: {samples: 2, every: 1s, within: 10s, min_requests: 10, watch: 3s}
"""


class Sli:
    """An endpoint whose counters move on each look: `failing` is the share of new requests that fail."""

    def __init__(self) -> None:
        self.good, self.bad, self.failing, self.silent = 0.0, 0.0, 0.0, False

    async def answer(self, request: web.Request) -> web.Response:
        if self.silent:
            raise web.HTTPServiceUnavailable
        self.good += 500 * (1 - self.failing)
        self.bad += 500 * self.failing
        return web.Response(text=f'# TYPE p counter\np{{code="200"}} {self.good}\np{{code="500"}} {self.bad}\n')


@dataclass
class Site:
    app: Application
    slack: SlackLookalike
    sli: Sli
    folder: Path

    async def alert(
        self, status: str = "firing", *, fingerprint: str = "f1", starts: str = "2026-11-23T02:00:00Z", **labels: str
    ) -> int:
        body = alert_body(status, fingerprint, starts, **labels)
        async with (
            aiohttp.ClientSession() as http,
            http.post(
                f"http://127.0.0.1:{self.app.port}/hooks/alertmanager",
                json=body,
                headers={"Authorization": f"Bearer {TOKEN}"},
            ) as answer,
        ):
            return answer.status

    async def released(self) -> None:
        """Let 41 be seen to serve, then 42 take over, as after a release."""
        target = self.app.world.targets["prod", "fraud-scorer", "route"]
        assert isinstance(target, Memory)
        for split in ({"41": 100}, {"42": 100}):
            target.move(split)
            await observe("model/prod/fraud-scorer", self.app.world)

    async def incident(self) -> Incident | None:
        streams = await self.app.store.incidents(limit=1)
        return await self.app.world.incident(streams[0]) if streams else None

    async def until(self, *phases: Phase, seconds: float = 60) -> Incident:
        found: Incident | None = None
        try:
            async with asyncio.timeout(seconds):
                while found is None or found.phase not in phases:
                    await asyncio.sleep(0.02)
                    found = await self.incident()
        except TimeoutError:
            told = [row.entry.sentence() for row in await self.app.store.read(found.stream)] if found else []
            raise AssertionError(f"stands at {found and found.phase}: {told[-6:]}") from None
        return found

    async def card_shows(self, text: str, seconds: float = 60) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while True:
                for card in self.slack.cards():
                    if text in card["text"]:
                        return card
                await asyncio.sleep(0.02)

    def effects(self) -> list[str]:
        path = self.folder / "split.json.effects"
        return path.read_text().splitlines() if path.exists() else []


def alert_body(status: str, fingerprint: str, starts: str, **labels: str) -> dict[str, Any]:
    all_labels = {
        "alertname": "Burn",
        "model": "fraud-scorer",
        "env": "prod",
        "version": "42",
        "sli": "error_ratio",
        "severity": "error",
        **labels,
    }
    alert = {
        "status": status, "labels": all_labels, "annotations": {"summary": "too many errors", "value": "0.12", "threshold": "0.02"},
        "startsAt": starts, "endsAt": "2026-11-23T02:30:00Z" if status == "resolved" else "0001-01-01T00:00:00Z", "fingerprint": fingerprint,
    }  # fmt: skip
    return {"version": "4", "groupKey": "g", "status": status, "truncatedAlerts": 0, "alerts": [alert]}


def settings(folder: Path, slack: SlackLookalike, environ: Mapping[str, str] | None = None) -> Settings:
    return Settings(
        {
            "LASTGOOD_CONFIG": str(folder / "lastgood.yaml"), "LASTGOOD_DATABASE_URL": f"sqlite:///{folder}/t.db", "AM_TOKEN": TOKEN,
            "SLACK_BOT_TOKEN": slack.bot_token, "SLACK_SIGNING_SECRET": slack.signing_secret, "SLACK_API_URL": slack.api_url,
            **(environ or {}),
        }
    )  # fmt: skip


def as_it_is(text: str, folder: Path) -> str:
    """Change nothing about the configuration."""
    del folder
    return text


def write_config(
    folder: Path, metrics: str, mode: str = "approve", config: Callable[[str, Path], str] = as_it_is
) -> None:
    (folder / "runbooks").mkdir(exist_ok=True)
    (folder / "runbooks" / "fraud.yaml").write_text(RUNBOOK)
    text = CONFIG.format(channel=CHANNEL, metrics=metrics, folder=folder, mode=mode)
    (folder / "lastgood.yaml").write_text(config(text, folder))


@asynccontextmanager
async def site(
    folder: Path,
    *,
    mode: str = "approve",
    config: Callable[[str, Path], str] = as_it_is,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Site]:
    """Run a site; `config` may change the text of its configuration, `environ` adds to its environment."""
    clock, sli = SystemClock(), Sli()
    async with AsyncExitStack() as stack:
        metrics = web.Application()
        metrics.router.add_get("/metrics", sli.answer)
        runner = web.AppRunner(metrics, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stack.push_async_callback(runner.cleanup)
        slack = SlackLookalike(clock)
        await slack.start()
        stack.push_async_callback(slack.stop)
        write_config(folder, f"http://127.0.0.1:{runner.addresses[0][1]}/metrics", mode, config)
        log = (folder / "log").open("a")
        stack.callback(log.close)
        app = create(settings(folder, slack, environ), log=JsonLog(clock, log), print_checkpoint=lambda _: None)
        stack.callback(app.store.close)
        stack.push_async_callback(app.stop)
        await app.start()
        slack.request_url = f"http://127.0.0.1:{app.port}/slack/events"
        yield Site(app, slack, sli, folder)
