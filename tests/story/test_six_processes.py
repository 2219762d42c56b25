"""Six processes press at once on three hundred plans while they execute: one vote a person, one execution a plan."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
import pytest

from bot.domain import entries as e
from bot.domain.incident import Incident, Phase
from tests.story.site import TOKEN, Site, alert_body, site

SCRIPT = Path(__file__).with_name("clicker.py")
ROUNDS, BATCH, PROCESSES = 300, 60, 6
PEOPLE = ("U0ANA", "U0PRIYA")
MODEL = """\
  m{n}:
    tier: 1
    owner: {{member: U0PRIYA, escalate_to: owner}}
    environments:
      prod:
        soak: 0s
        last_good: "41"
        targets: {{route: {{adapter: memory, versions: ["41", "42"], path: "{folder}/m{n}.json"}}}}
"""


def many(text: str, folder: Path) -> str:
    """The site's configuration with three hundred models in place of one, each with a target of its own."""
    head, _, _ = text.partition("models:\n")
    return f"{head}models:\n" + "".join(MODEL.format(n=n, folder=folder) for n in range(ROUNDS))


def press(here: Site, incident: Incident, user: str) -> tuple[str, dict[str, str]]:
    """One signed press, as Slack would send it for the card of this plan."""
    assert incident.plan is not None
    value = f"{incident.id}.{incident.plan.short}.{incident.version}"
    element = {
        "type": "button",
        "action_id": "approve",
        "value": value,
        "text": {"type": "plain_text", "text": "Approve"},
    }
    payload = here.slack.click_payload(user, "approve", {"ts": "1.000100"}, element, block_id="acts")
    body = urlencode({"payload": json.dumps(payload)})
    return body, here.slack.signed(body.encode())


async def waiting(here: Site) -> list[Incident]:
    """Open an incident for every model at once, and wait until each plan waits for people."""
    alerts = []
    for n in range(ROUNDS):
        alerts += alert_body("firing", f"f{n}", "2026-11-23T02:00:00Z", model=f"m{n}")["alerts"]
    body = {"version": "4", "groupKey": "g", "status": "firing", "truncatedAlerts": 0, "alerts": alerts}
    url, headers = f"http://127.0.0.1:{here.app.port}/hooks/alertmanager", {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=headers) as answer:
        assert answer.status == 202
    return await every(here, Phase.WAITING, seconds=300)


async def every(here: Site, *phases: Phase, seconds: float) -> list[Incident]:
    async with asyncio.timeout(seconds):
        while True:
            streams: list[str] = []
            while page := await here.app.store.incidents(streams[-1] if streams else None):
                streams += page
            found = [await here.app.world.incident(one) for one in streams]
            if len(found) == ROUNDS and all(one.phase in phases for one in found):
                return found
            await asyncio.sleep(0.2)


async def claimed(here: Site, batch: list[Incident]) -> None:
    """Wait until each of these was claimed."""
    async with asyncio.timeout(400):
        for one in batch:
            while (await here.app.world.incident(one.stream)).claimed_at is None:
                await asyncio.sleep(0.05)


async def crowd(folder: Path, name: str) -> asyncio.subprocess.Process:
    words = (sys.executable, str(SCRIPT), str(folder / name), str(folder / "begin"), str(ROUNDS // BATCH))
    return await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)


@pytest.mark.story
@pytest.mark.timeout(900)
async def test_RT10_six_processes_and_three_hundred_rounds_give_three_hundred_executions(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    async with site(tmp_path, config=many) as here:
        incidents = await waiting(here)
        crowds = [await crowd(tmp_path, f"p{n}") for n in range(PROCESSES)]
        for n in range(
            ROUNDS // BATCH
        ):  # a claim has a minute, which three hundred at once would need on a slow machine
            batch = incidents[n * BATCH : (n + 1) * BATCH]
            for name in (f"p{n}" for n in range(PROCESSES)):
                requests = [press(here, incident, user) for incident in batch for user in PEOPLE]
                asked = {"url": here.slack.request_url, "at_once": 40, "requests": requests}
                (tmp_path / f"{name}.{n}").write_text(json.dumps(asked))
            (tmp_path / f"begin.{n}").touch()
            await claimed(here, batch)
        answers = [json.loads((await one.communicate())[0]) for one in crowds]
        done = (Phase.MOVED, Phase.RECOVERED, Phase.CLOSED, Phase.STUCK)
        found = await every(here, *done, seconds=400)
        told = {one.stream: [row.entry for row in await here.app.store.read(one.stream)] for one in found}
    assert [Counter(codes) for codes in answers] == [Counter({200: ROUNDS * len(PEOPLE)})] * PROCESSES
    for stream, entries in told.items():
        votes = [one.person for one in entries if isinstance(one, e.ApprovalGiven)]
        assert sorted(votes) == sorted(PEOPLE), stream
        assert [type(one) for one in entries].count(e.RollbackClaimed) == 1, stream
        assert [type(one) for one in entries].count(e.StepApplied) == 1, stream
    effects = [(tmp_path / f"m{n}.json.effects").read_text().splitlines() for n in range(ROUNDS)]
    assert [len(lines) for lines in effects] == [1] * ROUNDS
    tell(f"{len(told)} executions, {ROUNDS * PROCESSES * len(PEOPLE)} presses")
