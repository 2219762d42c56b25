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
from typing import Any

import aiohttp

from bot.demo.world import BAD, GOOD, Create, Files, World, world
from bot.domain import entries as e
from bot.domain import words
from bot.domain.incident import Incident, Phase
from bot.errors import LastgoodError

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
    body = await bundle.made(app.store, incident.stream, incident.model_stream, key)
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
        Measure("evidence in the bundle", str(said.evidence), "2 files", said.evidence == 2),
        Measure("postmortem", postmortem.name, "written", postmortem.exists()),
    ]  # fmt: skip


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


DRILLS = {
    one.name: one
    for one in (
        Drill("P1", "A canary falls ill and is taken back by itself", "acting on too few requests", _alone, _canary, over=1.5),
        Drill("P2", "Blue and green are switched in one step", "going back twice brings the bad version back", _as_is, _blue_green),
        Drill("S3", "An incident keeps its evidence", "samples with personal data, or of one cohort only", _sampled, _evidence),
        Drill("S4", "A model costs too much and a smaller one takes over", "a trade-off nobody saw before the click", _priced, _cost),
    )
}  # fmt: skip


async def run(drill: Drill, create: Create, folder: Path, *, quiet: bool) -> list[Measure]:
    """Play one drill in `folder`, which holds its timeline, its postmortem and its evidence afterwards."""
    async with world(folder, create, quiet=quiet, files=drill.files, over=drill.over) as made:
        found = await drill.play(made)
        await made.news()
        return found
