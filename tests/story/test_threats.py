"""Threats against a whole running site: what is forged, replayed or leaked changes nothing and shows nowhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bot.domain import entries as e
from bot.domain.incident import Phase
from tests.story.site import TOKEN, Site, alert_body, site

pytestmark = pytest.mark.story
NEXT = "next-alert-token"
CANARY = "c4n4ry"
GENERIC = {
    "model": "fraud-scorer",
    "environment": "prod",
    "version": "42",
    "sli": "error_ratio",
    "summary": "too many errors",
}


def rotated(text: str, folder: Path) -> str:
    """Both sources accept the token of today and the next one."""
    del folder
    return text.replace("tokens: [{env: AM_TOKEN}]", "tokens: [{env: AM_TOKEN}, {env: AM_NEXT}]")


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, config=rotated, environ={"AM_NEXT": NEXT}) as made:
        yield made


async def sent(here: Site, source: str, body: object, authorization: str | None) -> int:
    headers = {"Authorization": authorization} if authorization is not None else {}
    url = f"http://127.0.0.1:{here.app.port}/hooks/{source}"
    async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize("source", ["alertmanager", "generic"])
@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401), ("", 401), ("Bearer", 401), ("Bearer wrong", 401), (f"Bearer {TOKEN}x", 401), (f"bearer\u00a0{TOKEN}", 401),
        (f"Bearer {TOKEN}", 202), (f"Bearer {NEXT}", 202),
    ],
)  # fmt: skip
async def test_RT2_only_a_source_that_proves_itself_opens_an_incident(
    here: Site, source: str, authorization: str | None, status: int
) -> None:
    body: object = GENERIC if source == "generic" else alert_body("firing", "f1", "2026-11-23T02:00:00Z")
    assert await sent(here, source, body, authorization) == status
    if status == 202:
        await here.until(Phase.WAITING)
    else:
        assert await here.app.store.incidents() == []
        assert await here.app.store.query("SELECT count(*) FROM inbound") == [(0,)]


@pytest.mark.parametrize("source", ["alertmanager", "generic"])
async def test_RT2_an_alert_that_speaks_of_approval_opens_an_incident_and_approves_nothing(
    here: Site, source: str
) -> None:
    claims = {"approved": "true", "approved_by": "U0ANA", "action": "approve", "person": "U0PRIYA", "role": "sre"}
    if source == "generic":
        body: object = {**GENERIC, "labels": claims, "annotations": claims}
    else:
        body = alert_body("firing", "f1", "2026-11-23T02:00:00Z", **claims)
    assert await sent(here, source, body, f"Bearer {TOKEN}") == 202
    found = await here.until(Phase.WAITING)
    await asyncio.sleep(0.3)
    entries = [row.entry for row in await here.app.store.read(found.stream)]
    assert not [one for one in entries if isinstance(one, e.ApprovalGiven | e.PlanCleared)]
    assert here.effects() == []


async def test_RT3_a_hundred_replays_of_one_click_are_one_vote(here: Site) -> None:
    await here.alert()
    await here.card_shows("Waiting")
    assert (await here.slack.click("U0ANA", "approve")).status == 200
    click = len(here.slack.sent) - 1
    replies = await asyncio.gather(*(here.slack.replay(click) for _ in range(100)))
    assert {one.status for one in replies} == {200}
    found = await here.incident()
    assert found is not None
    assert [vote.person for vote in found.votes] == ["U0ANA"]
    entries = [row.entry for row in await here.app.store.read(found.stream)]
    assert len([one for one in entries if isinstance(one, e.ApprovalGiven)]) == 1


async def test_RT24_a_vote_keeps_what_proves_who_pressed_where_and_when(here: Site) -> None:
    await here.alert()
    card = await here.card_shows("Waiting")
    await here.slack.click("U0ANA", "approve")
    await here.card_shows("1 of 2")
    found = await here.incident()
    assert found is not None
    rows = [row for row in await here.app.store.read(found.stream) if isinstance(row.entry, e.ApprovalGiven)]
    (row,) = rows
    assert isinstance(row.entry, e.ApprovalGiven)
    kept = row.entry.request
    assert row.entry.person == "U0ANA"
    assert set(kept) >= {"team", "trigger", "action_at", "message", "signature"}
    assert all(kept.values())
    assert kept["message"] == f"C0INCIDENTS/{card['ts']}"
    assert row.entry.card_version > 0


async def test_RT12_no_secret_is_in_a_log_the_database_a_card_or_an_answer(tmp_path: Path) -> None:
    secrets = {
        name: f"{CANARY}-{name.lower().replace('_', '-')}"
        for name in ("AM_TOKEN", "AM_NEXT", "LASTGOOD_API_TOKEN", "PAGERDUTY_TOKEN", "SLACK_APP_TOKEN_UNUSED")
    }
    async with site(tmp_path, config=rotated, environ=secrets) as here:
        marked = [*secrets.values(), here.slack.bot_token, here.slack.signing_secret]
        here.slack.fail("chat.update", "error", times=2)
        body = alert_body("firing", "f1", "2026-11-23T02:00:00Z")
        assert await sent(here, "alertmanager", body, "Bearer nearly") == 401
        assert await sent(here, "alertmanager", body, f"Bearer {secrets['AM_NEXT']}") == 202
        await here.until(Phase.WAITING)
        await here.card_shows("Waiting")
        await here.slack.click("U0GIL", "approve")
        await here.slack.click("U0ANA", "approve")
        await here.slack.click("U0PRIYA", "approve", secret="another secret")
        await here.slack.click("U0PRIYA", "approve")
        await here.until(Phase.RECOVERED)
        shown = json.dumps([channel.messages for channel in here.slack.channels.values()])
        async with aiohttp.ClientSession() as http:
            for path in ("/metrics", "/healthz", "/readyz", "/api/v1/incidents"):
                headers = {"Authorization": f"Bearer {secrets['LASTGOOD_API_TOKEN']}"}
                async with http.get(f"http://127.0.0.1:{here.app.port}{path}", headers=headers) as answer:
                    shown += await answer.text()
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert any(path.name.startswith("t.db") for path in files)
    for secret in marked:
        assert secret not in shown
        assert [path.name for path, content in files.items() if secret.encode() in content] == []
