"""The zero-account world: the bot itself, a Slack look-alike, two model servers, a real Envoy, load and a detector."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from bot.clock import SystemClock
from bot.config import Settings
from bot.demo import people, terminal
from bot.demo.envoy import Envoy, free_port
from bot.demo.page import serve_page
from bot.demo.slack import CAST, CHANNEL, SlackLookalike
from bot.demo.traffic import RATE, WINDOW, Detector, Load, ModelServer
from bot.domain import entries as e
from bot.domain.incident import Incident, Phase, fold
from bot.errors import LastgoodError
from bot.log import JsonLog
from bot.ports import Clock

GOOD, BAD = "41", "42"
STEPS = (10, 50, 100)  # percent of traffic on the new version
STEP_SECONDS = 2.0
QUIET_SECONDS = 6.0  # before the new version goes out, so that the plot shows how it was
LOOK_SECONDS = 0.5
KEPT = 1200  # points: ten minutes
OURS = frozenset({"lastgood.yaml", "lastgood.log", "timeline.db"})
CONFIG = """\
version: 1
slack: {{channel: {channel}}}
web: {{host: 127.0.0.1, port: {port}, public_url: "{page}"}}
sources:
  alertmanager: {{tokens: [{{env: DEMO_ALERT_TOKEN}}]}}
metrics:
  scrape: {{urls: ["http://127.0.0.1:{good}/metrics", "http://127.0.0.1:{bad}/metrics"]}}
roles:
  on-call SRE: {{usergroups: [S0ONCALL], members: [U0ANA]}}
  model owner: {{members: [U0PRIYA]}}
  commander: {{members: [U0INES]}}
policy:
  break_glass: {{role: commander}}
  autopilot: {{role: commander}}
  rules:
    - {{id: prod-tier1, environments: [prod], when: "tier == 1", mode: approve, plan_ttl: 15m, require: [{{role: on-call SRE}}, {{role: model owner}}]}}
models:
  fraud-scorer:
    tier: 1
    owner: {{usergroup: S0FRAUD, escalation_policy: DEMO}}
    environments:
      prod:
        soak: 3s
        targets:
          route: {{adapter: envoy, mode: runtime, admin: ["{admin}"], runtime_key_prefix: routing.split.fraud, versions: {{"41": fraud-v41, "42": fraud-v42}}}}
        slis:
          error_ratio: {{source: scrape, errors: 'model_predictions_total{{code="500"}}', total: model_predictions_total, objective: 0.01, good: below}}
runbooks: runbooks/
"""
RUNBOOK = """\
runbook: fraud-scorer-regression
title: Fraud scorer regression
owner: payments-ml
applies_to: {models: [fraud-scorer], environments: [prod]}
rollback:
  to: last_good
  steps: [{target: route}]
verify:
  traffic: {max_bad_share: 0.01, within: 60s}
  recovery: {slis: [error_ratio], samples: 3, every: 2s, within: 60s, min_requests: 300, watch: 4s}
"""


class Bot(Protocol):
    """The application as the demo sees it; `bot.app.create` gives one."""

    store: Any
    world: Any
    settings: Settings
    port: int

    async def start(self) -> None:
        """Begin."""

    async def stop(self) -> None:
        """End."""


Create = Callable[..., Any]
Files = Callable[[Path, str, str], tuple[str, str]]  # folder, lastgood.yaml, runbook


def _as_they_are(folder: Path, config: str, book: str) -> tuple[str, str]:
    """Change nothing."""
    del folder
    return config, book


class Point(NamedTuple):
    """One look: seconds since the epoch, share of the bad version, error ratio, requests a second."""

    at: float
    share: float
    ratio: float
    rate: int


@dataclass
class World:
    """Everything that runs in the demo, and the picture of it the page draws."""

    folder: Path
    clock: Clock
    slack: SlackLookalike
    servers: dict[str, ModelServer]
    envoy: Envoy
    load: Load
    app: Bot
    say: Callable[[str], None]
    run: str = field(default_factory=lambda: secrets.token_hex(4))
    series: deque[Point] = field(default_factory=lambda: deque(maxlen=KEPT))
    _told: dict[str, int] = field(default_factory=dict)
    _telling: asyncio.Lock = field(default_factory=asyncio.Lock)
    _going_out: asyncio.Task[None] | None = None

    async def watch(self) -> None:
        """Look twice a second at what the load met."""
        while True:
            total, bad = self.load.window(WINDOW)
            share, rate = self.load.share(BAD), self.load.window(1.0)[0]
            ratio = bad / total if total else 0.0
            self.series.append(Point(round(self.clock.now().timestamp(), 2), round(share, 4), round(ratio, 4), rate))
            await asyncio.sleep(LOOK_SECONDS)

    async def deploy(self) -> None:
        """Let version 42 take all traffic in three steps, and fall ill; asked for twice, it happens once."""
        if self._going_out is None:
            self._going_out = asyncio.create_task(self._go_out())
        await asyncio.shield(self._going_out)

    async def _go_out(self) -> None:
        await asyncio.sleep(QUIET_SECONDS)
        self.slack.say("U0MIKA", f"fraud-scorer {BAD} is going out. Offline score +0.4.")
        for weight in STEPS:
            await self.envoy.set_weights({f"fraud-v{GOOD}": 100 - weight, f"fraud-v{BAD}": weight})
            await asyncio.sleep(STEP_SECONDS)
        self.servers[BAD].ill_since = self.clock.monotonic()

    # ── what the page and the terminal ask ────────────────────────────────────────────────────────────────────────

    def name(self, user: str) -> str:
        """Give a person's name."""
        return CAST.get(user, user)

    async def incident(self) -> Incident | None:
        """Give the newest incident, None before there is one."""
        streams = await self.app.store.incidents(limit=1)
        return await self.app.world.incident(streams[0]) if streams else None

    async def entries(self, stream: str) -> Sequence[e.Recorded]:
        """Give everything in an incident's stream."""
        found: Sequence[e.Recorded] = await self.app.store.read(stream)
        return found

    async def title(self, user: str) -> str:
        """Give the roles a person holds."""
        return await people.title(user, self.app.world)

    async def may(self, user: str, incident: Incident | None) -> str:
        """Say what a person may do now, or why not."""
        return await people.may(user, incident, self.app.world, self.name)

    async def could(self, incident: Incident | None) -> dict[str, tuple[str, ...]]:
        """Give the open places and who could fill them."""
        return await people.could(incident, self.app.world)

    async def postmortem(self, suffix: str) -> Any:
        """Give the postmortem of an incident by any unique ending of its id, None when there is no such incident."""
        streams = await self.app.store.ending(suffix)
        return await self._document(await self.app.world.incident(streams[0])) if len(streams) == 1 else None

    async def _document(self, found: Incident) -> Any:
        template = found.plan.postmortem if found.plan else "postmortem.md.j2"
        return await self.app.world.renderer.postmortem(found, await self.entries(found.stream), template)

    async def written(self, found: Incident) -> Path:
        """Write the postmortem beside the timeline and give its path."""
        path = self.folder / f"{found.short}.md"
        await asyncio.to_thread(path.write_text, (await self._document(found)).markdown)
        return path

    # ── the terminal ──────────────────────────────────────────────────────────────────────────────────────────────

    async def narrate(self) -> None:
        """Print each moment as it is appended, whoever caused it."""
        while True:
            await self.news()
            await asyncio.sleep(0.2)

    async def news(self) -> None:
        """Print what was appended since the last time."""
        async with self._telling:
            for stream in await self.app.store.incidents(limit=1):
                entries = await self.entries(stream)
                for one in entries[self._told.get(stream, 0) :]:
                    await self._tell(fold(entries[: one.version]), one)
                self._told[stream] = len(entries)

    async def _tell(self, then: Incident, one: e.Recorded) -> None:
        if isinstance(one.entry, e.PostmortemDrafted):
            self.say(terminal.told(one.at, "postmortem", str(await self.written(then))))
            return
        asked = isinstance(one.entry, e.PolicyDecided)
        if line := terminal.line(then, one, self.name, await self.could(then) if asked else {}):
            self.say(line)


@asynccontextmanager
async def world(
    folder: Path, create: Create, *, port: int = 0, quiet: bool = True, files: Files = _as_they_are, over: float = 8.0
) -> AsyncIterator[World]:
    """Start everything in `folder`; the bot runs its production code and is told only by its configuration.

    `files` may change the configuration and the runbook; the detector fires `over` times the objective.
    """
    clock = SystemClock()
    await asyncio.to_thread(_emptied, folder)
    async with AsyncExitStack() as stack:
        servers = {GOOD: ModelServer(GOOD, clock, 41), BAD: ModelServer(BAD, clock, 42)}
        for server in servers.values():
            await stack.enter_async_context(server.running())
        slack = SlackLookalike(clock)
        await slack.start()
        stack.push_async_callback(slack.stop)
        ports = {f"fraud-v{version}": server.port for version, server in servers.items()}
        envoy = Envoy(ports, {"fraud-v41": 100, "fraud-v42": 0}, folder / "envoy")
        await envoy.start()
        stack.push_async_callback(envoy.stop)
        load = Load(f"http://127.0.0.1:{envoy.port}/predict", clock)
        stack.push_async_callback(_ended, _task(load.run()))
        app = await _bot(stack, create, folder, slack, servers, envoy, port or free_port(), clock, files)
        detector = Detector(
            load, f"http://127.0.0.1:{app.port}/hooks/alertmanager", app.settings.environ["DEMO_ALERT_TOKEN"], clock, over=over,
        )  # fmt: skip
        stack.push_async_callback(_ended, _task(detector.run()))
        made = World(folder, clock, slack, servers, envoy, load, app, (lambda _: None) if quiet else _print)
        for work in (made.watch(), made.narrate()):
            stack.push_async_callback(_ended, _task(work))
        yield made


def _emptied(folder: Path) -> None:
    """Begin anew in a folder of ours or in an empty one. Raises LastgoodError rather than delete what somebody else keeps."""
    found = {one.name for one in folder.iterdir()} if folder.is_dir() else set()
    if (folder.exists() and not folder.is_dir()) or (found and OURS - found):
        message = (
            f"{folder} holds something that is no demo's. Nothing was deleted. Choose another folder with --folder."
        )
        raise LastgoodError(message)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _task(work: Any) -> asyncio.Task[None]:
    return asyncio.create_task(work)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _bot(
    stack: AsyncExitStack,
    create: Create,
    folder: Path,
    slack: SlackLookalike,
    servers: dict[str, ModelServer],
    envoy: Envoy,
    page: int,
    clock: Clock,
    files: Files,
) -> Bot:
    (folder / "runbooks").mkdir()
    port = free_port()
    config = CONFIG.format(
        channel=CHANNEL,
        port=port,
        page=f"http://127.0.0.1:{page}",
        good=servers[GOOD].port,
        bad=servers[BAD].port,
        admin=envoy.admin,
    )
    config, book = files(folder, config, RUNBOOK)
    (folder / "lastgood.yaml").write_text(config)
    (folder / "runbooks" / "fraud.yaml").write_text(book)
    settings = Settings(
        {
            "LASTGOOD_CONFIG": str(folder / "lastgood.yaml"), "LASTGOOD_DATABASE_URL": f"sqlite:///{folder}/timeline.db",
            "SLACK_BOT_TOKEN": slack.bot_token, "SLACK_SIGNING_SECRET": slack.signing_secret, "SLACK_API_URL": slack.api_url,
            "DEMO_ALERT_TOKEN": secrets.token_urlsafe(16),
        }
    )  # fmt: skip
    log = JsonLog(clock, (folder / "lastgood.log").open("a"))
    checkpoints = (folder / "checkpoints.jsonl").open("a")
    stack.callback(checkpoints.close)
    app: Bot = create(
        settings, clock=clock, log=log, pages=True, print_checkpoint=lambda line: print(line, file=checkpoints, flush=True)
    )  # fmt: skip
    stack.callback(app.store.close)
    await app.start()
    stack.push_async_callback(app.stop)
    slack.request_url = f"http://127.0.0.1:{app.port}/slack/events"
    return app


async def story(made: World) -> None:
    """Play the people's parts: the wrong person is refused, two right ones approve."""
    await made.deploy()
    await _until(made, 40, Phase.WAITING, Phase.CLOSED)
    for user in ("U0GIL", "U0ANA", "U0PRIYA"):
        await _press(made, user)
        await asyncio.sleep(1)
    await _until(made, 60, Phase.CLOSED)


async def _press(made: World, user: str) -> None:
    """Approve as a person would, when the newest card has the button and this person has not voted."""
    found = await made.incident()
    if found is None or found.phase is not Phase.WAITING or user in {vote.person for vote in found.votes}:
        return
    for _ in range(100):
        card = next(iter(reversed(made.slack.cards())), None)
        if card and any(
            one.get("action_id") == "approve" for block in card.get("blocks", []) for one in block.get("elements", [])
        ):
            await made.slack.click(user, "approve", card["ts"])
            return
        await asyncio.sleep(0.1)


async def _until(made: World, seconds: float, *phases: Phase) -> None:
    """Wait for one of the phases; a story that does not get there ends with what it saw."""
    ends = made.clock.monotonic() + seconds
    while made.clock.monotonic() < ends:
        found = await made.incident()
        if found is not None and found.phase in phases:
            return
        await asyncio.sleep(0.1)


async def outcome(made: World) -> dict[str, Any]:
    """Give what `--json` promises: true only for the verdict yes."""
    found = await made.incident()
    if found is None:
        return {"accepted": False, "traffic_moved": False, "recovered": False, "incident": None, "postmortem": None}
    return {
        **{name: verdict == "yes" for name, verdict in found.verdicts.items()},
        "incident": found.id,
        "postmortem": str(await made.written(found)),
    }


async def play(create: Create, folder: Path, port: int, *, autoplay: bool, quiet: bool) -> dict[str, Any]:
    """Run the demo: with `autoplay` play the story and end, else serve the page until Ctrl-C."""
    began = SystemClock().monotonic()
    async with world(folder, create, port=port, quiet=quiet) as made:
        page = await serve_page(made, port, story)
        address = f"http://127.0.0.1:{page.addresses[0][1]}"
        for line in _greeting(made, address, made.clock.monotonic() - began, autoplay=autoplay):
            made.say(line)
        try:
            await (story(made) if autoplay else _stay(made))
            await made.news()
            return await outcome(made)
        finally:
            await page.cleanup()


def _greeting(made: World, address: str, took: float, *, autoplay: bool) -> list[str]:
    good, bad = made.servers[GOOD].port, made.servers[BAD].port
    hint = "The story plays by itself." if autoplay else "Pick Ana, press Approve; then Priya. Ctrl-C stops everything."
    return [
        f"✓ model servers {GOOD} and {BAD}   127.0.0.1:{good}, :{bad}        ✓ Envoy, {GOOD} at 100 %     {took:.1f} s",
        f"✓ Lastgood, timeline in {made.folder / 'timeline.db'}     ✓ {RATE} requests a second",
        f"Open  {address}        {hint}",
    ]


async def _stay(made: World) -> None:
    """Let the version go out, then serve until Ctrl-C."""
    with contextlib.suppress(asyncio.CancelledError):
        await made.deploy()
        await asyncio.Event().wait()
