"""Several `serve` processes on one PostgreSQL, one Slack look-alike for all, and a fake target a model that they share."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from adapters.traffic.memory import Memory
from bot.app import create
from bot.clock import SystemClock
from bot.config import Settings
from bot.demo.slack import SlackLookalike
from bot.domain import entries as e
from bot.domain.incident import Incident, Phase, fold, model_stream
from bot.flow.observe import observe
from bot.log import JsonLog
from bot.report.facts import projected
from bot.store.timeline import Store
from tests.story.site import TOKEN, alert_body, settings, write_config

ROOT = Path(__file__).parents[2]
SIGNING = "11" * 32
MODEL = (  # short: a configuration of a thousand models has a limit of 256 KiB
    "  m{n}: {{tier: 1, owner: {{member: U0PRIYA, escalate_to: owner}}, environments: {{prod: {{soak: 0s, last_good: '41', "
    "targets: {{route: {{adapter: memory, versions: ['41', '42'], path: {folder}/m{n}}}}}}}}}}}\n"
)


@dataclass
class Replicas:
    """The processes by name, where each listens, and a reader of the timeline they share."""

    url: str
    folder: Path
    state: Path
    slack: SlackLookalike
    store: Store
    models: int
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return settings(self.folder, self.slack, {"LASTGOOD_DATABASE_URL": self.url, "LASTGOOD_SIGNING_KEY": SIGNING})

    async def released(self) -> None:
        """Let every model's 41 be seen to serve, then its 42, before any replica runs."""
        app = create(self.settings, log=JsonLog(SystemClock(), io.StringIO()), print_checkpoint=lambda _: None)
        for split in ({"41": 100}, {"42": 100}):
            for (environment, model, _), target in app.world.targets.items():
                assert isinstance(target, Memory)
                target.move(split)
                await observe(model_stream(environment, model), app.world)
        app.store.close()

    async def start(self, *names: str) -> None:
        """Start replicas side by side and wait until each listens."""
        given = {**os.environ, **self.settings.environ, "PYTHONPATH": str(ROOT)}
        for name in names:
            with (self.folder / f"{name}.log").open("wb") as log:
                self.processes[name] = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "bot", "serve", env=given, stdout=log, stderr=log
                )
        async with asyncio.timeout(60):
            for name in names:
                self.ports[name] = await self._port(name)

    async def _port(self, name: str) -> int:
        while not (found := re.search(r"listens on port (\d+)", self.log(name))):
            assert self.processes[name].returncode is None, self.log(name)
            await asyncio.sleep(0.05)
        return int(found[1])

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def send(self, name: str, what: signal.Signals) -> None:
        self.processes[name].send_signal(what)

    def events(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}/slack/events"

    async def fire(self, name: str, models: Sequence[int]) -> None:
        """Send one message about these models to one replica, again until it is taken, as Alertmanager does."""
        alerts = [
            one
            for n in models
            for one in alert_body("firing", f"f{n}", "2026-11-23T02:00:00Z", model=f"m{n}")["alerts"]
        ]
        body = {"version": "4", "groupKey": "g", "status": "firing", "truncatedAlerts": 0, "alerts": alerts}
        url, headers = f"http://127.0.0.1:{self.ports[name]}/hooks/alertmanager", {"Authorization": f"Bearer {TOKEN}"}
        async with asyncio.timeout(60), aiohttp.ClientSession() as http:
            while True:
                async with http.post(url, json=body, headers=headers) as answer:
                    if answer.status == 202:
                        return
                await asyncio.sleep(0.5)

    async def incidents(self) -> list[Incident]:
        streams: list[str] = []
        while page := await self.store.incidents(streams[-1] if streams else None):
            streams += page
        return [fold(await self.store.read(one)) for one in streams]

    async def every(self, *phases: Phase, seconds: float) -> list[Incident]:
        """Wait until there is an incident for every model and each is in one of these phases."""
        found: list[Incident] = []
        try:
            async with asyncio.timeout(seconds):
                while len(found) != self.models or not all(one.phase in phases for one in found):
                    await asyncio.sleep(0.5)
                    found = await self.incidents()
        except TimeoutError:
            stands = {phase.value: sum(one.phase is phase for one in found) for phase in Phase}
            logs = "\n".join(self.log(name)[-1500:] for name in self.processes)
            raise AssertionError(f"{len(found)} incidents: {stands}\n{logs}") from None
        return found

    def effects(self, n: int) -> list[str]:
        path = self.state / f"m{n}.effects"
        return path.read_text().splitlines() if path.exists() else []

    async def held_to(self, found: Sequence[Incident]) -> None:
        """Each was rolled back exactly once: one claim, one intent that was carried out, one effect."""
        for one in found:
            entries = [row.entry for row in await self.store.read(one.stream)]
            kinds = [type(entry) for entry in entries]
            assert kinds.count(e.RollbackClaimed) == 1, one.stream
            assert kinds.count(e.StepApplied) == 1, one.stream
        assert {n: len(self.effects(n)) for n in range(self.models)} == dict.fromkeys(range(self.models), 1)


@asynccontextmanager
async def replicas(folder: Path, url: str, *, models: int, mode: str) -> AsyncIterator[Replicas]:
    """Lay out a site of so many models over a migrated database; no replica runs yet."""

    async with AsyncExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="m", dir="/tmp")))

        def many(text: str, folder: Path) -> str:
            del folder
            head, _, _ = text.partition("models:\n")
            return f"{head}models:\n" + "".join(MODEL.format(n=n, folder=state) for n in range(models))

        slack = SlackLookalike(SystemClock())
        await slack.start()
        stack.push_async_callback(slack.stop)
        write_config(folder, "http://127.0.0.1:9/metrics", mode, many)
        store = Store(url, SystemClock(), project=projected)
        stack.callback(store.close)
        made = Replicas(url, folder, state, slack, store, models)
        try:
            await made.released()
            yield made
        finally:
            for process in made.processes.values():
                if process.returncode is None:
                    process.kill()
                await process.wait()


def press(made: Replicas, incident: Incident, user: str) -> tuple[str, dict[str, str]]:
    """One signed press, as Slack would send it for the card of this plan."""
    from urllib.parse import urlencode

    assert incident.plan is not None
    value = f"{incident.id}.{incident.plan.short}.{incident.version}"
    words = {"type": "plain_text", "text": "Approve"}
    element = {"type": "button", "action_id": "approve", "value": value, "text": words}
    payload = made.slack.click_payload(user, "approve", {"ts": "1.000100"}, element, block_id="acts")
    body = urlencode({"payload": json.dumps(payload)})
    return body, made.slack.signed(body.encode())
