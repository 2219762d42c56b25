"""Slack is down: people who signed in beforehand approve from their terminals, and `serve` moves the traffic."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bot import signed_in
from bot.clock import SystemClock
from bot.config import Settings
from bot.demo.slack import SlackLookalike
from bot.domain import entries as e
from bot.domain.incident import Incident, Phase, fold
from bot.domain.orders import LOGINS
from bot.ports import Append, Write
from bot.store.timeline import Store
from bot.store.verify import verify
from tests.story.site import TOKEN, Sli, alert_body, settings, write_config
from tests.terminals import Ended, Terminal, code_of

pytestmark = pytest.mark.story
ROOT = Path(__file__).parents[2]
BY_NAME = "sre: {members: [U0ANA, U0TOM]}"  # a group of Slack's fails closed while Slack is down; members do not
SWITCHED_OFF = 15.0  # seconds a call to Slack hangs before the connection is cut


@dataclass
class House:
    """`serve` as a process of its own, Slack, and what both are asked about."""

    folder: Path
    slack: SlackLookalike
    port: int
    environ: dict[str, str]

    @property
    def store(self) -> Store:
        return Store(f"sqlite:///{self.folder}/t.db", SystemClock())

    def terminal(self, name: str) -> Terminal:
        return Terminal(self.folder, self.folder / name, self.environ)

    async def signed_in(self, user: str) -> Terminal:
        """Log a person in: the code is on the terminal, and they type it in Slack."""
        there = self.terminal(user)
        with there.started("login") as process:
            code = await asyncio.to_thread(code_of, process)
            await self.slack.slash(user, f"login {code}")
            stdout, stderr = await asyncio.to_thread(process.communicate, timeout=90)
            assert (process.returncode, stdout[:15]) == (0, "✓ signed in as "), stderr
        return there

    async def holding(self, name: str, *, person: str = "", lasts: timedelta = timedelta(0)) -> Terminal:
        """A terminal with a key, let act for a person for a time that may be over; for nobody without one."""
        there = self.terminal(name)
        mine_at = Settings({**there._environ({}), "LASTGOOD_DATABASE_URL": f"sqlite:///{self.folder}/t.db"})
        mine = signed_in.fresh(mine_at)
        with signed_in.drafted(mine_at, mine) as keep:
            keep()
        if person:
            entry = e.LoginGranted(
                key=mine.public, person=person, until=SystemClock().now() + lasts, via="slack", host=mine.host
            )
            async with self.store as store:
                last = (await store.read(LOGINS))[-1:]
                await store.append(Append(writes=(Write(LOGINS, (entry,), last[0].epoch if last else 0),)))
        return there

    async def alert(self, status: str = "firing") -> int:
        url, head = f"http://127.0.0.1:{self.port}/hooks/alertmanager", {"Authorization": f"Bearer {TOKEN}"}
        body = alert_body(status, "f1", "2026-11-23T02:00:00Z")
        async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=head) as answer:
            return answer.status

    async def until(self, *phases: Phase, seconds: float = 60) -> Incident:
        async with asyncio.timeout(seconds), self.store as store:
            while True:
                streams = await store.incidents(limit=1)
                found = fold(await store.read(streams[0])) if streams else None
                if found is not None and found.phase in phases:
                    return found
                await asyncio.sleep(0.1)

    def effects(self) -> list[str]:
        path = self.folder / "split.json.effects"
        return path.read_text().splitlines() if path.exists() else []


@asynccontextmanager
async def sli_endpoint() -> AsyncIterator[str]:
    page = web.Application()
    page.router.add_get("/metrics", Sli().answer)
    runner = web.AppRunner(page, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    await runner.cleanup()


@asynccontextmanager
async def served(folder: Path, environ: dict[str, str]) -> AsyncIterator[int]:
    """Run `lastgood serve`; give its port."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LASTGOOD", "SLACK"))}
    with (folder / "serve.out").open("wb") as out, (folder / "serve.err").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", "serve", cwd=folder, stdout=out, stderr=err,
            env={**clean, **environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        try:
            async with asyncio.timeout(60):
                while not (found := re.search(r"listens on port (\d+)", (folder / "serve.err").read_text())):
                    assert process.returncode is None, (folder / "serve.err").read_text()
                    await asyncio.sleep(0.05)
            yield int(found[1])
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            await process.wait()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    slack = SlackLookalike(SystemClock())
    await slack.start()
    async with sli_endpoint() as metrics:
        write_config(tmp_path, metrics)
        file = tmp_path / "lastgood.yaml"
        file.write_text(file.read_text().replace("sre: {usergroups: [S0ONCALL]}", BY_NAME))
        environ = dict(settings(tmp_path, slack).environ)
        async with served(tmp_path, environ) as port:
            slack.request_url = f"http://127.0.0.1:{port}/slack/events"
            yield House(tmp_path, slack, port, environ)
    await slack.stop()


async def approving(there: Terminal, incident: Incident) -> Ended:
    assert incident.plan is not None
    words = ("incident", "approve", incident.short, "--plan", incident.plan.short)
    return await asyncio.to_thread(there.run, *words)


@pytest.mark.timeout(600)
async def test_rt26_rf2_with_slack_down_two_people_approve_from_terminals_and_traffic_moves(house: House) -> None:
    ana, priya = await house.signed_in("U0ANA"), await house.signed_in("U0PRIYA")
    late = await house.holding("late", person="U0TOM", lasts=-timedelta(minutes=1))
    nobody = await house.holding("nobody")
    copy = house.folder / "copy.json"
    copy.write_bytes(ana.credential.read_bytes())
    copy.chmod(0o644)
    thief = Terminal(house.folder, house.folder / "thief", {**house.environ, "LASTGOOD_CREDENTIAL": str(copy)})

    house.slack.fail("*", "silence", after=SWITCHED_OFF, lasting=600)
    assert await house.alert() == 202
    waiting = await house.until(Phase.WAITING)

    refused = await asyncio.gather(*(approving(one, waiting) for one in (late, nobody, thief)))
    assert [one.code for one in refused] == [1, 1, 1]
    for ended, sentence in zip(
        refused, ("ended at", "Nobody is signed in on this terminal.", "may be read by others (mode 0644)"), strict=True
    ):
        assert sentence in ended.text
        assert ended.text.endswith("Nothing was changed.")
    assert (await house.until(Phase.WAITING)).votes == ()

    given = await asyncio.gather(approving(ana, waiting), approving(priya, waiting))
    assert [one.code for one in given] == [0, 0], [one.text for one in given]
    recovered = await house.until(Phase.RECOVERED, seconds=120)
    assert {vote.person for vote in recovered.votes} == {"U0ANA", "U0PRIYA"}
    assert [line.partition(" ")[2] for line in house.effects()] == ["42 0\u00a0%, 41 100\u00a0%"]
    assert await house.alert("resolved") == 202
    closed = await house.until(Phase.CLOSED)
    assert closed.verdicts == {"accepted": "yes", "traffic_moved": "yes", "recovered": "yes"}
    assert house.slack.cards() == []

    shown = (await asyncio.to_thread(ana.run, "incident", "show", closed.short)).text
    assert shown.count("signature holds") == 2
    assert verify(house.folder / "t.db").ok
