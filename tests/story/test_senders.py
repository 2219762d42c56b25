"""What senders other than Alertmanager set going, end to end in one process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from bot.domain import entries as e
from bot.domain.incident import Phase
from tests.adapters.alerts.senders import ALIAS, DEPLOYED, SECRET, SENDERS, SHELL, Sender
from tests.story.site import Site, site

SECURITY = """\
  rules:
    - {id: security, when: "security_finding", mode: approve, require: [{role: owner}]}
    - {id: else, mode: notify}
"""
SOURCES = """\
sources:
  falco: {tokens: [{env: NEW}], environment: prod}
  mlflow: {secrets: [{env: NEW}]}
  github: {secrets: [{env: NEW}], people: {ana-ruiz: U0ANA}}
"""


def heard(text: str, folder: Path) -> str:
    """Listen to them, under the policy as it is."""
    del folder
    return text.replace("sources:\n", SOURCES)


def guarded(text: str, folder: Path) -> str:
    """Listen to Falco and MLflow, and let only a security finding ask for a rollback."""
    del folder
    start, end = text.index("  rules:\n"), text.index("models:\n")
    return (text[:start] + SECURITY + text[end:]).replace("sources:\n", SOURCES)


async def send(here: Site, sender: Sender, sample: object) -> tuple[int, dict[str, object]]:
    body = sender.body(sample)
    headers = sender.headers(body, SECRET, here.app.world.clock.now())
    url = f"http://127.0.0.1:{here.app.port}/hooks/{sender.name}"
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as answer:
        return answer.status, await answer.json()


@pytest.mark.story
async def test_a_finding_of_falco_goes_through_the_security_policy_to_a_proven_rollback(tmp_path: Path) -> None:
    async with site(tmp_path, config=guarded, environ={"NEW": SECRET}) as here:
        await here.released()
        assert (await send(here, SENDERS["falco"], SHELL))[0] == 202
        waiting = await here.until(Phase.WAITING)
        assert waiting.decision is not None
        assert (waiting.decision.rule, waiting.decision.mode) == ("security", "approve")
        await here.card_shows("Waiting")
        await here.slack.click("U0ANA", "approve")  # an SRE: not whom the security rule asks
        assert here.effects() == []
        await here.slack.click("U0PRIYA", "approve")
        closed = await here.until(Phase.CLOSED)
        assert closed.verdicts == {"accepted": "yes", "traffic_moved": "yes", "recovered": "yes"}
        assert len(here.effects()) == 1
        assert set((await here.app.world.ledger(closed.model_stream)).quarantined) == {"42"}


@pytest.mark.story
async def test_the_same_alarm_without_the_finding_only_tells(tmp_path: Path) -> None:
    async with site(tmp_path, config=guarded, environ={"NEW": SECRET}) as here:
        await here.released()
        assert await here.alert() == 202
        noted = await here.until(Phase.NOTED)
        assert noted.decision is not None
        assert noted.decision.rule == "else"
        assert here.effects() == []


@pytest.mark.story
async def test_a_change_of_the_registry_is_in_the_history_and_opens_nothing(tmp_path: Path) -> None:
    async with site(tmp_path, config=guarded, environ={"NEW": SECRET}) as here:
        status, said = await send(here, SENDERS["mlflow"], ALIAS)
        assert (status, said["outcome"]) == (202, "accepted")
        ledger = await here.app.world.ledger("model/prod/fraud-scorer")
        while not ledger.changes:
            ledger = await here.app.world.ledger("model/prod/fraud-scorer")
        ((_, change),) = ledger.changes
        assert (change.source, change.version, change.summary) == ("mlflow", "42", "MLflow model_version_alias.created")
        assert await here.app.store.incidents() == []
        entries = [row.entry for row in await here.app.store.read("model/prod/fraud-scorer")]
        assert any(isinstance(one, e.ChangeNoticed) for one in entries)


@pytest.mark.story
async def test_whoever_github_says_deployed_the_bad_version_cannot_approve_its_rollback(tmp_path: Path) -> None:
    async with site(tmp_path, config=heard, environ={"NEW": SECRET}) as here:
        await here.released()
        deployment = {**DEPLOYED["deployment"], "creator": {"login": "ana-ruiz", "type": "User"}}
        assert (await send(here, SENDERS["github"], {**DEPLOYED, "deployment": deployment}))[0] == 202
        while not (await here.app.world.ledger("model/prod/fraud-scorer")).changes:
            await asyncio.sleep(0.02)
        assert await here.alert() == 202
        waiting = await here.until(Phase.WAITING)
        assert waiting.plan is not None
        assert waiting.plan.deployer == "U0ANA"
        await here.card_shows("Waiting")
        await here.slack.click("U0ANA", "approve")
        while not (
            refused := [
                one.entry
                for one in await here.app.store.read(waiting.stream)
                if isinstance(one.entry, e.ApprovalRefused)
            ]
        ):
            await asyncio.sleep(0.02)
        assert refused[0].reason == "own_change"
        assert refused[0].text.startswith("You deployed 42, so somebody else must approve.")
        assert here.effects() == []
