"""A real Alertmanager sends: fire, 5xx answers, repeat, resolve. One card."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bot.demo.envoy import free_port
from bot.domain.incident import Phase
from tests.story.site import TOKEN, site

BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = [
    pytest.mark.story,
    pytest.mark.skipif(BINARY is None, reason="Alertmanager is not installed (Debian: prometheus-alertmanager)"),
]
CONFIG = """\
route: {{receiver: lastgood, group_by: [model, env], group_wait: 1s, group_interval: 1s, repeat_interval: 2s}}
receivers:
  - name: lastgood
    webhook_configs:
      - {{url: "{url}", send_resolved: true, http_config: {{authorization: {{credentials: {token}}}}}}}
"""


class Unreliable:
    """Stands before the bot and answers 500 to the first requests, as a proxy in trouble would."""

    def __init__(self, goal: str, failures: int) -> None:
        self._goal, self._left = goal, failures
        self.answers: list[int] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self._left > 0:
            self._left -= 1
            self.answers.append(500)
            return web.Response(status=500)
        headers = {"Authorization": request.headers.get("Authorization", ""), "Content-Type": "application/json"}
        async with aiohttp.ClientSession() as http, http.post(self._goal, data=body, headers=headers) as answer:
            self.answers.append(answer.status)
            return web.Response(status=answer.status, body=await answer.read())


@asynccontextmanager
async def listening(unreliable: Unreliable) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/", unreliable.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def alertmanager(folder: Path, hook: str) -> AsyncIterator[str]:
    folder.mkdir()
    (folder / "am.yml").write_text(CONFIG.format(url=hook, token=TOKEN))
    port = free_port()
    with (folder / "am.log").open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            str(BINARY), f"--config.file={folder}/am.yml", f"--storage.path={folder}/data", "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{port}", stdout=out, stderr=out,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as http, asyncio.timeout(60):
            while True:
                try:
                    async with http.get(f"{url}/-/ready") as answer:
                        if answer.status == 200:
                            break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def send(url: str, **more: Any) -> None:
    labels = {
        "alertname": "Burn",
        "model": "fraud-scorer",
        "env": "prod",
        "version": "42",
        "sli": "error_ratio",
        "severity": "error",
    }
    alert = {"labels": labels, "annotations": {"summary": "12 % of requests fail", "value": "0.12"}, **more}
    async with aiohttp.ClientSession() as http, http.post(f"{url}/api/v2/alerts", json=[alert]) as answer:
        assert answer.status == 200


@pytest.mark.timeout(600)
async def test_fire_failures_repeat_and_resolve_make_exactly_one_card(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    async with site(tmp_path / "site") as here:
        unreliable = Unreliable(f"http://127.0.0.1:{here.app.port}/hooks/alertmanager", failures=3)
        async with listening(unreliable) as hook, alertmanager(tmp_path / "am", hook) as url:
            began = here.app.world.clock.now()
            await send(url, startsAt=began.isoformat())
            await here.until(Phase.WAITING, seconds=120)
            await here.card_shows("Waiting")
            async with asyncio.timeout(60):
                while unreliable.answers.count(202) < 3:
                    await asyncio.sleep(0.1)
            await send(url, startsAt=began.isoformat(), endsAt=here.app.world.clock.now().isoformat())
            closed = await here.until(Phase.CLOSED, seconds=120)
        assert unreliable.answers[:3] == [500, 500, 500]
        assert closed.closed is not None
        assert closed.closed.outcome == "recovered_by_itself"
        await here.card_shows("Recovered by itself")
        assert len(here.slack.cards()) == 1
        assert len(await here.app.store.incidents()) == 1
