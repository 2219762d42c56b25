"""Drills: a situation as it happens in production, played on real components here, and held to what must come out of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import aiohttp
from aiohttp import web

from bot.demo.envoy import Envoy, free_port
from bot.demo.traffic import Load
from bot.demo.world import BAD, GOOD, Create, Files, World, world
from bot.domain import entries as e
from bot.domain import words
from bot.domain.incident import Incident, Phase
from bot.domain.press import Press
from bot.errors import LastgoodError
from bot.flow.intake import propose

PEOPLE = ("U0ANA", "U0PRIYA")
AUTOMATED = timedelta(minutes=2)  # from detection to action, without people
CRITICAL = timedelta(minutes=5)  # from detection to moved traffic, for a critical model
REGISTRY = """\
fraud:
  versions:
    "41": {digest: "sha256:41", tags: {size: small}, metrics: {auc: 0.912, cost_per_hour: 1.1}}
    "42": {digest: "sha256:42", tags: {size: large}, metrics: {auc: 0.941, cost_per_hour: 4.6}}
"""


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing a drill holds the outcome to."""

    name: str
    value: str
    wanted: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Drill:
    """A situation: what is configured for it, what happens, and what is measured."""

    name: str
    title: str
    pitfall: str
    files: Files
    play: Callable[[World], Awaitable[list[Measure]]]
    over: float = 8.0


# ── what every drill does ─────────────────────────────────────────────────────────────────────────────────────────


async def _weights(made: World, bad: int) -> None:
    await made.envoy.set_weights({f"fraud-v{GOOD}": 100 - bad, f"fraud-v{BAD}": bad})


async def _reached(made: World, seconds: float, *phases: Phase) -> Incident:
    """Wait for a phase. Raises LastgoodError that says where it stands instead."""
    found = None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while found is None or found.phase not in phases:
                await asyncio.sleep(0.1)
                found = await made.incident()
            return found
    stands = f"{found.phase.value}: {found.stuck_reason}" if found else "no incident"
    raise LastgoodError(f"The drill did not get to {' or '.join(one.value for one in phases)}: it stands at {stands}.")


async def _approved(made: World) -> None:
    """Let two people approve from the card, as soon as it asks."""
    async with asyncio.timeout(60):
        while (found := await made.incident()) is None or found.claim is None:
            for user in PEOPLE:
                with contextlib.suppress(LookupError):
                    await made.slack.click(user, "approve")
            await asyncio.sleep(0.3)


async def _times(made: World, incident: Incident) -> dict[type[e.Entry], Any]:
    """Give when each kind of entry was written first."""
    return {type(one.entry): one.at for one in reversed(await made.entries(incident.stream))}


def _verdicts(incident: Incident) -> list[Measure]:
    """Success is all three."""
    return [Measure(name.replace("_", " "), said, "yes", said == "yes") for name, said in incident.verdicts.items()]


def _within(name: str, took: timedelta, most: timedelta) -> Measure:
    return Measure(name, words.span(took), f"under {words.span(most)}", took < most)


# ── P1, P2: canary and blue/green ─────────────────────────────────────────────────────────────────────────────────


def _alone(folder: Path, config: str, book: str) -> tuple[str, str]:
    del folder
    before = "    - {id: prod-tier1,"
    rule = "{id: canary, environments: [prod], min_samples: 300, mode: auto}"
    return config.replace(before, f"    - {rule}\n{before}"), book


async def _canary(made: World) -> list[Measure]:
    await asyncio.sleep(5)  # 41 is seen to serve
    await _weights(made, 30)
    await asyncio.sleep(2)
    made.servers[BAD].ill_since = made.clock.monotonic() - 5
    incident = await _reached(made, 90, Phase.CLOSED)
    times = await _times(made, incident)
    decided = incident.decision
    left = made.load.share(BAD)
    return [
        *_verdicts(incident),
        _within("detection to action", times[e.RollbackClaimed] - times[e.IncidentOpened], AUTOMATED),
        Measure("decided by", decided.rule if decided else "nobody", "canary", bool(decided and decided.rule == "canary")),
        Measure("traffic still on 42", words.percent(left), "0 %", left == 0),
        Measure("approvals asked", str(len(incident.votes)), "0", not incident.votes),
    ]  # fmt: skip


def _as_is(folder: Path, config: str, book: str) -> tuple[str, str]:
    del folder
    return config, book


async def _blue_green(made: World) -> list[Measure]:
    await asyncio.sleep(5)
    await _weights(made, 100)
    made.servers[BAD].ill_since = made.clock.monotonic() - 5
    await _reached(made, 60, Phase.WAITING)
    await _approved(made)
    incident = await _reached(made, 90, Phase.CLOSED)
    times = await _times(made, incident)
    ledger = await made.app.world.ledger(incident.model_stream)
    steps = [one for one in incident.plan.steps if one.kind == "target"] if incident.plan else []
    left = made.load.share(BAD)
    return [
        *_verdicts(incident),
        _within("detection to moved traffic", times[e.TrafficVerified] - times[e.IncidentOpened], CRITICAL),
        Measure("switches", str(len(steps)), "1", len(steps) == 1),
        Measure("traffic still on 42", words.percent(left), "0 %", left == 0),
        Measure("42 can be gone back to", "no" if BAD in ledger.quarantined else "yes", "no", BAD in ledger.quarantined),
    ]  # fmt: skip


# ── S3: an incident with its evidence ─────────────────────────────────────────────────────────────────────────────


def _sampled(folder: Path, config: str, book: str) -> tuple[str, str]:
    (folder / "samples").mkdir()
    keys = "{source: file, cohort: region, mask: [request.card], version: version, most: 100}"
    config = config.replace("models:\n", f"samples: {{file: {{folder: {folder / 'samples'}}}}}\nmodels:\n", 1)
    return config.replace(
        "        soak: 3s\n", f"        soak: 3s\n        cohorts: [eu, us]\n        samples: {keys}\n"
    ), book


@asynccontextmanager
async def _sampling(made: World) -> AsyncIterator[None]:
    """Send requests of two regions through Envoy, as a serving log would record them."""

    async def record() -> None:
        file = made.folder / "samples" / "serving.jsonl"
        async with aiohttp.ClientSession() as http:
            for n in range(10_000):
                async with http.get(f"http://127.0.0.1:{made.envoy.port}/predict") as answer:
                    await answer.read()
                    row = {
                        "request_id": f"r{n}", "at": made.clock.now().isoformat(), "region": ("eu", "us")[n % 2],
                        "version": answer.headers.get("X-Model-Version", ""), "status": answer.status,
                        "request": {"card": "4111 1111 1111 1111", "mail": "ana@example.com", "amount": n % 97},
                    }  # fmt: skip
                with file.open("a") as out:
                    out.write(json.dumps(row) + "\n")
                await asyncio.sleep(0.05)

    task = asyncio.create_task(record())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _evidence(made: World) -> list[Measure]:
    from bot.store import bundle, checkpoints

    async with _sampling(made):
        await asyncio.sleep(5)
        await _weights(made, 100)
        made.servers[BAD].ill_since = made.clock.monotonic() - 5
        await _reached(made, 60, Phase.WAITING)
        await _approved(made)
        incident = await _reached(made, 90, Phase.CLOSED)
    app: Any = made.app
    key = checkpoints.public(app.key)
    incident = await made.app.world.incident(incident.stream)
    kept = await app.store.evidence(
        incident.stream, list(incident.captured.files.values()) if incident.captured else []
    )
    body = await _bundled(made, incident, key)
    (made.folder / f"incident-{incident.short}.zip").write_bytes(body)
    said = bundle.verified(body, key)
    told = " ".join(incident.captured.coverage) if incident.captured else "none"
    clean = not any(text in file for file in kept.values() for text in (b"4111 1111", b"ana@example"))
    postmortem = await made.written(incident)
    return [
        *_verdicts(incident),
        Measure("samples", told, "of eu and of us", "eu: none" not in told and "us: none" not in told and bool(kept)),
        Measure("personal data kept", "no" if clean else "yes", "no", clean),
        Measure("bundle verifies offline", "yes" if not said.problems else "no", "yes", not said.problems),
        Measure("evidence in the bundle", str(said.evidence), "4 files", said.evidence == 4),
        Measure("postmortem", postmortem.name, "written", postmortem.exists()),
    ]  # fmt: skip


async def _bundled(made: World, incident: Incident, key: str) -> bytes:
    """Make the bundle once a checkpoint covers the close and the evidence. Raises TimeoutError."""
    from bot.store import bundle, checkpoints

    app: Any = made.app
    rows = await made.entries(incident.stream)
    last = next(one for one in reversed(rows) if isinstance(one.entry, e.IncidentClosed | e.EvidenceCaptured))
    async with asyncio.timeout(30):
        while await checkpoints.seal(app.store, last) is None:  # noqa: ASYNC110  another task signs
            await asyncio.sleep(0.2)
    return await bundle.made(app.store, incident.stream, incident.model_stream, key)


# ── S4: what costs too much ───────────────────────────────────────────────────────────────────────────────────────


def _priced(folder: Path, config: str, book: str) -> tuple[str, str]:
    (folder / "registry.yaml").write_text(REGISTRY)
    config = config.replace("sources:\n", "sources:\n  generic: {tokens: [{env: DEMO_ALERT_TOKEN}]}\n", 1)
    config = config.replace("models:\n", f"registries: {{file: {{path: {folder / 'registry.yaml'}}}}}\nmodels:\n", 1)
    config = config.replace("        soak: 3s\n", "        soak: 3s\n        registry: {source: file, name: fraud}\n")
    return config, book.replace("to: last_good", "to: {tags: {size: small}}")


async def _cost(made: World) -> list[Measure]:
    await asyncio.sleep(5)
    await _weights(made, 100)
    await asyncio.sleep(3)
    await _told(made, "firing")
    await _reached(made, 60, Phase.WAITING)
    await _approved(made)
    await _reached(made, 60, Phase.MOVED, Phase.RECOVERED, Phase.CLOSED)
    await _told(made, "resolved")
    incident = await _reached(made, 90, Phase.CLOSED)
    findings = [one.message for one in incident.plan.findings] if incident.plan else []
    traded = next((one for one in findings if one.startswith("The trade-off")), "not shown")
    to = incident.plan.to_version if incident.plan else ""
    return [
        *_verdicts(incident),
        Measure("gone back to", to, f"{GOOD}, the small one", to == GOOD),
        Measure("trade-off on the plan", traded, "names both", "auc" in traded and "cost" in traded),
    ]  # fmt: skip


async def _told(made: World, status: str) -> None:
    """Let a cost monitor say that a model costs too much."""
    url = f"http://127.0.0.1:{made.app.port}/hooks/generic"
    body = {
        "model": "fraud-scorer", "environment": "prod", "version": BAD, "status": status, "kind": "cost", "name": "CostSpike",
        "severity": "error", "summary": "fraud-scorer 42 costs four times as much", "fingerprint": "cost-42",
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {made.app.settings.environ['DEMO_ALERT_TOKEN']}"}
    async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=headers) as answer:
        if answer.status != 202:
            raise LastgoodError(f"The alert was answered {answer.status}: {await answer.text()}")


# ── S6: several services, in order ────────────────────────────────────────────────────────────────────────────────


def _several(folder: Path, config: str, book: str) -> tuple[str, str]:
    """A flag file and a second Envoy go before the first one; what fails in between is put back."""
    admin, flag = free_port(), free_port()
    (folder / "ports.json").write_text(json.dumps({"admin": admin, "flag": flag}))
    for version in (GOOD, BAD):
        (folder / "flags" / f"v{version}").mkdir(parents=True)
    (folder / "flags" / "active").symlink_to(f"v{GOOD}")
    versions = '{"41": fraud-v41, "42": fraud-v42}'
    edge = f'{{adapter: envoy, mode: runtime, admin: ["http://127.0.0.1:{admin}"], runtime_key_prefix: routing.split.fraud, versions: {versions}}}'
    link = f'{{adapter: symlink, path: "{folder}/flags/active", versions: {{"41": v41, "42": v42}}, probe: "http://127.0.0.1:{flag}/"}}'
    config = config.replace("        targets:\n", f"        targets:\n          flag: {link}\n          edge: {edge}\n")
    steps = "steps: [{target: flag}, {target: edge, after: [flag]}, {target: route, after: [edge]}]"
    return config, book.replace("steps: [{target: route}]", f"on_failure: compensate\n  {steps}")


class Line:
    """A line from a port of this machine to another, that can be cut and mended."""

    def __init__(self, port: int, upstream: int) -> None:
        """Lead from `port` to `upstream`; nothing listens before it is mended."""
        self._port, self._upstream = port, upstream
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def mend(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)

    async def cut(self) -> None:
        """Refuse every connection and drop the ones there are."""
        if self._server is not None:
            self._server.close()
        for one in list(self._writers):
            one.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._writers |= {writer, to}
        try:
            await asyncio.gather(_pump(reader, to), _pump(there, writer))
        finally:
            self._writers -= {writer, to}


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(65_536):
            writer.write(part)
            await writer.drain()
    writer.close()


def _flag(made: World, version: str = "") -> str:
    """Give which version the flag names; with a version, let it name that one, as a deployment would."""
    link = made.folder / "flags" / "active"
    if version:
        fresh = link.with_name("active.new")
        fresh.symlink_to(f"v{version}")
        fresh.replace(link)
    return link.readlink().name.removeprefix("v")


async def _written(made: World, kind: type[e.Entry]) -> None:
    """Wait until the newest incident holds an entry of this kind."""
    kinds: set[type[e.Entry]] = set()
    async with asyncio.timeout(60):
        while kind not in kinds:
            await asyncio.sleep(0.02)
            found = await made.incident()
            kinds = {type(one.entry) for one in await made.entries(found.stream)} if found else set()


async def _pressed(made: World, incident: Incident, action: str) -> None:
    """Let Ana press a button of the card."""
    plan, app = incident.plan, cast("Any", made.app)
    answer = await app.take_press(
        Press(
            "U0ANA",
            action,
            incident.id,
            plan=plan.short if plan else "none",
            card_version=incident.version,
            reason="the second service is away, the drill goes on",
        )
    )
    if not answer.ok:
        raise LastgoodError(f"{action} was refused: {answer.text}")


@asynccontextmanager
async def _edge(made: World) -> AsyncIterator[tuple[Envoy, Line]]:
    """Run the second Envoy behind a line that can be cut, requests through it, and a server that reads the flag."""
    ports = json.loads((made.folder / "ports.json").read_text())
    link = made.folder / "flags" / "active"

    async def serving(_: web.Request) -> web.Response:
        return web.json_response({"version": link.readlink().name.removeprefix("v")})

    app = web.Application()
    app.router.add_get("/", serving)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", ports["flag"]).start()
    clusters = {f"fraud-v{version}": server.port for version, server in made.servers.items()}
    envoy = Envoy(clusters, {f"fraud-v{GOOD}": 100, f"fraud-v{BAD}": 0}, made.folder / "edge")
    await envoy.start()
    wire = Line(ports["admin"], int(envoy.admin.rpartition(":")[2]))
    await wire.mend()
    load = asyncio.create_task(Load(f"http://127.0.0.1:{envoy.port}/predict", made.clock).run())
    try:
        yield envoy, wire
    finally:
        load.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await load
        await wire.cut()
        await envoy.stop()
        await runner.cleanup()


async def _ordered(made: World) -> list[Measure]:
    async with _edge(made) as (edge, wire):
        await asyncio.sleep(5)
        for envoy in (made.envoy, edge):
            await envoy.set_weights({f"fraud-v{GOOD}": 0, f"fraud-v{BAD}": 100})
        _flag(made, BAD)
        made.servers[BAD].ill_since = made.clock.monotonic() - 5
        await _reached(made, 60, Phase.WAITING)
        await _approved(made)
        await _written(made, e.StepApplied)
        await wire.cut()  # the second service cannot be reached any more
        failed = await _reached(made, 120, Phase.STUCK)
        first = await made.entries(failed.stream)
        back = [one.entry.step for one in first if isinstance(one.entry, e.StepCompensated)]
        flag, share = _flag(made), made.load.share(BAD)
        await wire.mend()
        await _pressed(made, failed, "give_up")
        await _reached(made, 30, Phase.CLOSED)
        await propose("U0TOM", "fraud-scorer", "prod", None, made.app.world)
        await _reached(made, 60, Phase.WAITING)
        await _approved(made)
        incident = await _reached(made, 120, Phase.CLOSED)
        rows = await made.entries(incident.stream)
        last = max(n for n, one in enumerate(rows) if isinstance(one.entry, e.RollbackClaimed))
        moved = [one.entry.step for one in rows[last:] if isinstance(one.entry, e.StepApplied)]
    return [
        Measure("put back when the second failed", ", ".join(back) or "nothing", "flag", back == ["flag"]),
        Measure("the flag then", flag, BAD, flag == BAD),
        Measure("traffic of the third then", words.percent(share), "on 42, untouched", share == 1),
        *_verdicts(incident),
        Measure("order", " → ".join(moved), "flag → edge → route", moved == ["flag", "edge", "route"]),
        Measure("the flag at the end", _flag(made), GOOD, _flag(made) == GOOD),
    ]


DRILLS = {
    one.name: one
    for one in (
        Drill("P1", "A canary falls ill and is taken back by itself", "acting on too few requests", _alone, _canary, over=1.5),
        Drill("P2", "Blue and green are switched in one step", "going back twice brings the bad version back", _as_is, _blue_green),
        Drill("S3", "An incident keeps its evidence", "samples with personal data, or of one cohort only", _sampled, _evidence),
        Drill("S6", "Several services go back in order, and what fails in between is put back", "half of them moved", _several, _ordered),
        Drill("S4", "A model costs too much and a smaller one takes over", "a trade-off nobody saw before the click", _priced, _cost),
    )
}  # fmt: skip


async def run(drill: Drill, create: Create, folder: Path, *, quiet: bool) -> list[Measure]:
    """Play one drill in `folder`, which holds its timeline, its postmortem and its evidence afterwards."""
    async with world(folder, create, quiet=quiet, files=drill.files, over=drill.over) as made:
        found = await drill.play(made)
        await made.news()
        return found
