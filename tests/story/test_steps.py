"""A rollback of many steps, in one process: warmed over HTTP, climbed in stages, told to another system, and the gate shut behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bot.domain import entries as e
from bot.domain.incident import Phase
from tests.story.site import Site, site

STEPS = """\
runbook: fraud
title: Fraud
owner: team
rollback: {steps: [{warm: warm-up}, {target: route, stages: [20, 100]}, {tell: purge}, {tell: S0FRAUD}]}
verify:
  traffic: {max_bad_share: 0.01, within: 10s}
  recovery: {samples: 2, every: 1s, within: 10s, min_requests: 10, watch: 3s}
"""
API = {"Authorization": "Bearer gate-token"}


class Other:
    """The other systems of a site: a model server to warm, a cache to purge."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append(f"{request.method} {request.path}")
        return web.json_response({})


@asynccontextmanager
async def others() -> AsyncIterator[Other]:
    made, app = Other(), web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


async def gate(here: Site, version: str) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{here.app.port}/api/v1/gate/fraud-scorer/{version}"
    async with aiohttp.ClientSession() as http, http.get(url, headers=API) as answer:
        return answer.status, (await answer.json())["reason"]


@pytest.mark.story
async def test_a_rollback_of_many_steps_is_proven_graded_and_shuts_the_gate(tmp_path: Path) -> None:
    async with others() as other:

        def config(text: str, folder: Path) -> str:
            (folder / "runbooks" / "fraud.yaml").write_text(STEPS)
            actions = f"""\
        actions:
          warm-up: {{adapter: http, url: "{other.url}/{{version}}/predict", method: GET, requests: 5}}
          purge: {{adapter: http, url: "{other.url}/purge/{{model}}"}}
"""
            return text.replace("        slis:", f"{actions}        slis:")

        async with site(tmp_path, config=config, environ={"LASTGOOD_API_TOKEN": "gate-token"}) as here:
            assert (await gate(here, "42"))[0] == 200
            await here.alert()
            waiting = await here.until(Phase.WAITING)
            card = await here.card_shows("Waiting")
            assert "warm up warm-up" in str(card["blocks"])
            for user in ("U0ANA", "U0PRIYA"):
                await here.slack.click(user, "approve")
            await here.until(Phase.RECOVERED, Phase.STUCK)
            await here.alert("resolved")
            closed = await here.until(Phase.CLOSED, Phase.STUCK)
            assert (closed.phase, closed.stuck_reason) == (Phase.CLOSED, "")
            assert closed.verdicts == {"accepted": "yes", "traffic_moved": "yes", "recovered": "yes"}
            assert [line.partition(" ")[2] for line in here.effects()] == [
                "42 80\u00a0%, 41 20\u00a0%", "42 0\u00a0%, 41 100\u00a0%",
            ]  # fmt: skip
            assert other.seen == ["GET /41/predict"] * 5 + ["POST /purge/fraud-scorer"]
            entries = [row.entry for row in await here.app.store.read(waiting.stream)]
            assert [one.grade for one in entries if isinstance(one, e.RollbackGraded)] != []
            status, reason = await gate(here, "42")
            assert (status, "quarantined in prod: rolled back in incident" in reason) == (403, True)
            assert (await gate(here, "41"))[0] == 200
            async with asyncio.timeout(60):
                while "Mitigated: the fix is not recorded yet." not in str(here.slack.cards()[0]["blocks"]):
                    await asyncio.sleep(0.05)
                thread = here.slack.cards()[0]["ts"]
                called = "<!subteam^S0FRAUD> fraud-scorer in prod goes back"
                while not any(called in one["text"] for one in here.slack.thread(thread)):
                    await asyncio.sleep(0.05)
