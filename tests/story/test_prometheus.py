"""Real Prometheus with the rules that are generated, and two real Alertmanagers that know each other: one card, whatever happens on the way."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from bot.config import Settings, load
from bot.demo.envoy import free_port
from bot.domain.incident import Phase
from bot.report.slo import alertmanager, generate
from tests.story.site import TOKEN, Site, site
from tests.story.test_alertmanager import BINARY

PROMETHEUS, AMTOOL = shutil.which("prometheus"), shutil.which("amtool")
pytestmark = [
    pytest.mark.story,
    pytest.mark.timeout(600),
    pytest.mark.skipif(BINARY is None, reason="Alertmanager is not installed (Debian: prometheus-alertmanager)"),
    pytest.mark.skipif(PROMETHEUS is None, reason="Prometheus is not installed (Debian: prometheus)"),
]


class Between:
    """Stands between the peers and the bot: it answers as it is told, then hands on, and counts what came."""

    def __init__(self, goal: str) -> None:
        self._goal, self.plan = goal, list[str]()
        self.came: list[str] = []
        self.alerts: list[int] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.came.append(self.plan.pop(0) if self.plan else "well")
        if self.came[-1] == "500":
            return web.Response(status=500)
        if self.came[-1] == "slow":
            await asyncio.sleep(4)
        headers = {"Authorization": request.headers.get("Authorization", ""), "Content-Type": "application/json"}
        async with aiohttp.ClientSession() as http, http.post(self._goal, data=body, headers=headers) as answer:
            said = await answer.json()
            self.alerts.append(said.get("accepted", 0))
            return web.json_response(said, status=answer.status)


@asynccontextmanager
async def running(folder: Path, *words: str, ready: str) -> AsyncIterator[None]:
    with (folder / f"{Path(words[0]).name}-{free_port()}.log").open("wb") as out:
        process = await asyncio.create_subprocess_exec(*words, stdout=out, stderr=out)
    try:
        async with aiohttp.ClientSession() as http, asyncio.timeout(60):
            while True:
                try:
                    async with http.get(ready) as answer:
                        if answer.status == 200:
                            break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)
        yield
    finally:
        process.terminate()
        await process.wait()


def configured(folder: Path, hook: str) -> Path:
    """The generated route, made quick, to the proxy."""
    (folder / "token").write_text(TOKEN)
    made = yaml.safe_load(alertmanager("http://unused.example"))
    made["receivers"][1]["webhook_configs"][0]["http_config"]["authorization"]["credentials_file"] = str(
        folder / "token"
    )
    made["receivers"][1]["webhook_configs"][0]["url"] = hook
    made["receivers"][1]["webhook_configs"][0]["max_alerts"] = 0
    for one in made["route"]["routes"]:
        one |= {"group_wait": "1s", "group_interval": "1s", "repeat_interval": "3s"}
    (folder / "am.yml").write_text(yaml.safe_dump(made))
    return folder / "am.yml"


@asynccontextmanager
async def peers(folder: Path, hook: str) -> AsyncIterator[list[str]]:
    """Two Alertmanagers that gossip; the second waits two seconds for the first."""
    config, ports = configured(folder, hook), [(free_port(), free_port()) for _ in range(2)]
    async with AsyncExitStack() as stack:
        for n, (port, gossip) in enumerate(ports):
            others = [f"--cluster.peer=127.0.0.1:{ports[0][1]}"] if n else []
            await stack.enter_async_context(running(
                folder, str(BINARY), f"--config.file={config}", f"--storage.path={folder}/am{n}", "--cluster.peer-timeout=2s",
                f"--cluster.listen-address=127.0.0.1:{gossip}", f"--web.listen-address=127.0.0.1:{port}", *others,
                ready=f"http://127.0.0.1:{port}/-/ready",
            ))  # fmt: skip
        yield [f"http://127.0.0.1:{port}" for port, _ in ports]


@asynccontextmanager
async def between(here: Site) -> AsyncIterator[tuple[Between, str]]:
    made, app = Between(f"http://127.0.0.1:{here.app.port}/hooks/alertmanager"), web.Application(client_max_size=2**24)
    app.router.add_post("/", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield made, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def told(urls: Sequence[str], *alerts: dict[str, Any]) -> None:
    """Post alerts to both peers, as Prometheus does."""
    async with aiohttp.ClientSession() as http:
        for url in urls:
            async with http.post(f"{url}/api/v2/alerts", json=list(alerts)) as answer:
                assert answer.status == 200


def alert(name: str, started: datetime, ended: datetime | None = None, **labels: str) -> dict[str, Any]:
    own = {
        "alertname": name,
        "model": "fraud-scorer",
        "env": "prod",
        "version": "42",
        "sli": "error_ratio",
        "severity": "page",
        **labels,
    }
    when = {"startsAt": started.isoformat(), **({"endsAt": ended.isoformat()} if ended else {})}
    return {"labels": own, "annotations": {"summary": f"{name} fails", "value": "12%"}, **when}


async def test_generated_rules_fire_in_prometheus_and_make_one_card_through_two_alertmanagers(tmp_path: Path) -> None:
    async with site(tmp_path) as here, between(here) as (proxy, hook), peers(tmp_path, hook) as urls:
        here.sli.failing = 0.5
        models = load(Settings({**here.app.settings.environ})).file.models
        files = generate(models, "http://unused.example").files
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        metrics = here.app.config.file.metrics["scrape"]["urls"][0].removeprefix("http://").removesuffix("/metrics")
        content = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(tmp_path / name) for name in files if name.endswith(".rules.yml")],
            "scrape_configs": [{"job_name": "model", "static_configs": [{"targets": [metrics]}]}],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [url.removeprefix("http://") for url in urls]}]}]},
        }  # fmt: skip
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(content))
        port = free_port()
        async with running(
            tmp_path, str(PROMETHEUS), f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
            f"--web.listen-address=127.0.0.1:{port}", ready=f"http://127.0.0.1:{port}/-/ready",
        ):  # fmt: skip
            waiting = await here.until(Phase.WAITING, seconds=120)
            async with asyncio.timeout(60):
                while len(waiting.firing) < 3:
                    await asyncio.sleep(0.2)
                    waiting = await here.app.world.incident(waiting.stream)
        names = sorted(one.labels["alertname"] for one in waiting.firing)
        assert names == ["ModelBurnsBudget", "ModelBurnsBudgetFast", "ModelBurnsBudgetSlowly"]
        assert all(
            0.3 < (one.value or 0) < 1 for one in waiting.firing
        )  # of few scrapes Prometheus tells more or less than half
        await here.card_shows("Waiting")
        assert len(here.slack.cards()) == 1
        assert proxy.came


async def test_errors_slowness_a_twin_a_flap_and_a_partial_resolve_make_one_card_and_one_end(tmp_path: Path) -> None:
    async with site(tmp_path) as here, between(here) as (proxy, hook), peers(tmp_path, hook) as urls:
        began = here.app.world.clock.now()
        proxy.plan = ["500", "500", "slow", "slow"]  # the slow answer makes the other peer send its own copy
        await told(urls, alert("A", began), alert("B", began))
        await here.until(Phase.WAITING, seconds=120)
        await here.card_shows("Waiting")
        async with asyncio.timeout(60):
            while proxy.came.count("slow") < 2 or proxy.came.count("well") < 2:
                await asyncio.sleep(0.1)
        await told(urls, alert("A", began, here.app.world.clock.now()))  # one of two ends
        incident = await here.until(Phase.WAITING)
        async with asyncio.timeout(60):
            while len(incident.firing) > 1:
                await asyncio.sleep(0.1)
                incident = await here.app.world.incident(incident.stream)
        again = here.app.world.clock.now() + timedelta(seconds=1)
        await asyncio.sleep(1)
        await told(urls, alert("A", again))  # and comes back
        async with asyncio.timeout(60):
            while len(incident.firing) < 2:
                await asyncio.sleep(0.1)
                incident = await here.app.world.incident(incident.stream)
        assert incident.phase is Phase.WAITING
        now = here.app.world.clock.now()
        await told(urls, alert("A", again, now), alert("B", began, now))
        closed = await here.until(Phase.CLOSED, seconds=120)
        assert closed.closed is not None
        assert closed.closed.outcome == "recovered_by_itself"
        assert len(here.slack.cards()) == 1
        assert len(await here.app.store.incidents()) == 1


async def test_a_group_of_2500_alerts_is_one_message_one_card_and_closes_nothing_by_what_it_leaves_out(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as here, between(here) as (proxy, hook), peers(tmp_path, hook) as urls:
        began = here.app.world.clock.now()
        await told(urls, *(alert("Many", began, feature=f"f{n:04}") for n in range(2500)))
        waiting = await here.until(Phase.WAITING, seconds=120)
        await here.card_shows("Waiting")
        async with asyncio.timeout(60):
            while 1000 not in proxy.alerts:
                await asyncio.sleep(0.2)
        assert len(here.slack.cards()) == 1
        assert len(waiting.firing) <= 1000
        now = here.app.world.clock.now()
        ended = [alert("Many", began, now, feature=f"f{n:04}") for n in range(2500)]
        await told(urls, *ended)
        seen = len(proxy.alerts)
        async with asyncio.timeout(60):
            while len(proxy.alerts) < seen + 2:
                await asyncio.sleep(0.2)
        after = await here.app.world.incident(waiting.stream)
        assert after.phase is Phase.WAITING
        assert after.firing


def test_the_tools_of_alertmanager_take_the_route(tmp_path: Path) -> None:
    config = configured(tmp_path, "http://127.0.0.1:1/")
    subprocess.run([str(AMTOOL), "check-config", str(config)], check=True, capture_output=True, timeout=60)
