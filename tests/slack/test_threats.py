"""Forged, replayed and borrowed presses, from the wire to the timeline: signed requests into the app, a whole corridor behind it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import START
from bot.demo.slack import CHANNEL, SlackLookalike
from bot.domain import entries as e
from bot.domain.incident import Incident, Phase
from bot.domain.press import Answer, Order, Press
from bot.domain.roles import Role
from bot.flow.approve import press
from bot.flow.orders import order
from bot.slack.bolt import CALL_WITHIN, Desk, SlackApp
from bot.slack.cards import card
from bot.slack.desk import Clerk
from bot.slack.directory import SlackDirectory
from bot.slack.facts import Facts
from bot.slack.signature import WINDOW, Replays
from tests.flow.corridor import Corridor
from tests.slack.notes import Notes
from tests.slack.test_desk import Finder

ROLES = {
    "sre": Role(usergroups=("S0ONCALL",)), "owner": Role(members=("U0PRIYA", "U0MIKA")), "boss": Role(members=("U0INES",)),
}  # fmt: skip
FLAGS: dict[str, Any] = {
    "deleted": True, "is_restricted": True, "is_ultra_restricted": True, "is_bot": True, "is_stranger": True, "team_id": "T0OTHER",
}  # fmt: skip
SAID = {
    "deleted": "This account is deactivated.", "is_restricted": "Guests cannot approve.", "is_ultra_restricted": "Guests cannot approve.",
    "is_bot": "Apps cannot approve.", "is_stranger": "People from other organisations cannot approve here.",
    "team_id": "People from other organisations cannot approve here.",
}  # fmt: skip


@dataclass
class Town:
    """A workspace, the app, and a corridor that judges."""

    slack: SlackLookalike
    corridor: Corridor
    app: SlackApp
    notes: Notes
    client: AsyncWebClient
    stream: str = ""
    ts: str = ""

    async def show(self) -> None:
        self.ts = str(
            (await self.client.chat_postMessage(channel=CHANNEL, **card(await self.incident(), Facts(str))))["ts"]
        )

    async def incident(self) -> Incident:
        return await self.corridor.incident(self.stream)

    def votes(self) -> list[e.ApprovalGiven]:
        return [one for one in self.corridor.entries(self.stream) if isinstance(one, e.ApprovalGiven)]

    async def whispered(self, user: str) -> str:
        async with asyncio.timeout(5):
            while not self.slack.ephemerals(user):
                await asyncio.sleep(0.01)
        return str(self.slack.ephemerals(user)[-1]["text"])

    async def sent(self, payload: dict[str, Any]) -> int:
        body = urlencode({"payload": json.dumps(payload)}).encode()
        return (await self.slack.post(body, self.slack.signed(body))).status

    def payload(self, user: str = "U0ANA", action: str = "approve") -> dict[str, Any]:
        block, element = self.slack.button(CHANNEL, self.ts, action)
        return self.slack.click_payload(user, action, {"ts": self.ts}, element, block_id=block)


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    corridor = Corridor(roles=ROLES, break_glass={"role": "boss"})
    slack = SlackLookalike(corridor.clock)
    await slack.start()
    async with aiohttp.ClientSession(timeout=CALL_WITHIN) as session:
        client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url, session=session, retry_handlers=[])
        directory, notes = SlackDirectory(client, corridor.clock, ""), Notes()
        corridor.world = replace(corridor.world, directory=directory)

        async def judged(act: Press) -> Answer:
            return await press(act, corridor.world)

        async def ordered(asked: Order) -> Answer:
            return await order(asked, corridor.world)

        async def posted(channel: str, ts: str) -> bool:
            return channel == CHANNEL and any(one["ts"] == ts for one in slack.cards())

        clerk = Clerk(lambda: corridor.world, Finder(corridor), judged, ordered, directory.name, lambda _: "")
        desk = Desk(judged, clerk.answer, posted, clerk.form, lambda _: "")
        app = SlackApp(client, slack.signing_secret, desk, corridor.clock, notes, directory)
        await app.hello()
        server = web.Application()
        server.router.add_post("/slack/events", app.handle)
        runner = web.AppRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        slack.request_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
        found = Town(slack, corridor, app, notes, client, await corridor.fire())
        await corridor.run(found.stream, until=Phase.WAITING)
        await found.show()
        yield found
        await app.close()
        await runner.cleanup()
        await slack.stop()


# ── replays ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_rt3_a_click_replayed_a_hundred_times_is_one_vote_and_is_counted(town: Town) -> None:
    assert (await town.slack.click("U0ANA", "approve")).status == 200
    replies = await asyncio.gather(*(town.slack.replay(0) for _ in range(100)))
    assert {(one.status, one.body) for one in replies} == {(200, "")}
    assert [(one.person, one.role) for one in town.votes()] == [("U0ANA", "sre")]
    assert "approval.refused" not in town.corridor.types(town.stream), "a replay is nobody's second click"
    assert len(town.notes.events("slack.replayed")) == 100


async def test_rt3_a_click_replayed_into_another_process_is_one_vote_too(town: Town) -> None:
    await town.slack.click("U0ANA", "approve")
    town.app._replays = Replays()  # as after a restart
    for _ in range(100):
        town.app._replays = Replays()
        assert (await town.slack.replay(0)).status == 200
    assert [one.person for one in town.votes()] == ["U0ANA"]
    assert town.corridor.types(town.stream).count("approval.refused") == 1, "the same is told once a minute"


async def test_rt3_a_dialog_replayed_is_one_rejection(town: Town) -> None:
    await town.slack.click("U0PRIYA", "reject")
    (view,) = town.slack.views.values()
    await town.slack.submit_view("U0PRIYA", view["id"], {"why": "the feed is late"})
    for _ in range(20):
        await town.slack.replay(-1)
    assert town.corridor.types(town.stream).count("plan.rejected") == 1


def test_rt3_a_signature_is_forgotten_when_it_could_be_used_no_more() -> None:
    replays, now = Replays(), START
    assert replays.first("v0=a", now)
    assert not replays.first("v0=a", now + timedelta(seconds=2 * WINDOW))
    assert replays.first("v0=b", now + timedelta(seconds=2 * WINDOW + 1))
    assert list(replays._until) == ["v0=b"], "nothing is kept for ever"


async def test_rt3_a_replay_after_five_minutes_is_401(town: Town) -> None:
    await town.slack.click("U0ANA", "approve")
    town.corridor.clock.advance(301)
    assert (await town.slack.replay(0)).status == 401
    assert len(town.votes()) == 1


# ── tampered ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_rt5_a_value_about_another_plan_or_incident_never_becomes_a_vote(town: Town) -> None:
    found = await town.incident()
    assert found.plan is not None
    other = f"{found.id[:-1]}{'0' if found.id[-1] != '0' else '1'}"
    for value in (
        f"{found.id}.00000000.{found.version}", f"{found.id}.none.{found.version}", f"{other}.{found.plan.short}.{found.version}",
        f"{found.id}.{found.plan.id}.3", "", "x" * 2000,
    ):  # fmt: skip
        assert (await town.slack.click("U0ANA", "approve", town.ts, value=value)).status == 200
        assert (await town.slack.click("U0ANA", "more", town.ts, value=f"approve.{value}")).status == 200
    assert town.votes() == []


async def test_rt5_mutated_payloads_never_fault_and_never_vote_on_another_plan(town: Town) -> None:
    rng = random.Random(5)  # noqa: S311  a test's dice
    found = await town.incident()
    assert found.plan is not None
    view = {
        "type": "modal", "id": "V1", "callback_id": "press", "private_metadata": f"approve|{found.id}|{found.plan.short}|3|{CHANNEL}",
        "state": {"values": {"why": {"field": {"value": "I looked at it"}}}}, "blocks": [],
    }  # fmt: skip
    junk: list[Any] = [
        None,
        0,
        "",
        "approve",
        [],
        {},
        [{}],
        "U0PRIYA",
        "00000000",
        found.plan.short,
        1e9,
        True,
        "<!channel>",
    ]
    for n in range(200):
        payload = town.payload("U0ANA", rng.choice(["approve", "more", "reject"]))
        if n % 2:
            payload = {**payload, "type": "view_submission", "view": view}
        payload = json.loads(json.dumps(payload))
        _mutate(payload, rng, junk)
        status = await town.sent(payload)
        assert status in (200, 400, 404), (n, payload)
    assert {one.plan for one in town.votes()} <= {found.plan.id}
    assert {one.person for one in town.votes()} <= {"U0ANA", "U0PRIYA"}


def _mutate(thing: Any, rng: random.Random, junk: list[Any]) -> None:
    """Put something else, or nothing, somewhere in a payload."""
    while isinstance(thing, dict | list) and thing:
        keys = list(thing) if isinstance(thing, dict) else list(range(len(thing)))
        key = rng.choice(keys)
        if not isinstance(thing[key], dict | list) or not thing[key] or rng.random() < 0.3:
            if rng.random() < 0.3 and isinstance(thing, dict):
                del thing[key]
            else:
                thing[key] = rng.choice(junk)
            return
        thing = thing[key]


async def test_rt5_a_card_that_shows_an_older_plan_is_refused_with_both(town: Town) -> None:
    before = (await town.incident()).plan
    await town.slack.pick("U0PRIYA", "edit")
    (view,) = town.slack.views.values()
    await town.slack.submit_view("U0PRIYA", view["id"], {"on_failure": "stop"})
    now = (await town.corridor.run(town.stream, until=Phase.WAITING)).plan
    assert before is not None
    assert now is not None
    assert now.editor == "U0PRIYA"
    await town.slack.click("U0ANA", "approve", town.ts)
    assert await town.whispered("U0ANA") == (
        f"The card you pressed showed plan {before.short}. The card now shows {now.short}. Read it, then approve. "
        "<@U0TOM> or <@U0MIKA> can. Nothing was changed."
    )
    assert town.votes() == []


# ── borrowed surfaces and borrowed accounts ───────────────────────────────────────────────────────────────────────


async def test_rt6_a_copy_of_the_card_in_another_channel_is_refused(town: Town) -> None:
    town.slack.add_channel("C0RANDOM", "random")
    copied = await town.client.chat_postMessage(channel="C0RANDOM", **card(await town.incident(), Facts(str)))
    assert (await town.slack.click("U0ANA", "approve", str(copied["ts"]), channel="C0RANDOM")).status == 200
    assert (await town.whispered("U0ANA")).startswith("This button does not match a plan I made.")
    assert town.votes() == []


async def test_rt6_a_workflow_that_posts_our_button_is_refused(town: Town) -> None:
    assert await town.sent({**town.payload(), "api_app_id": "A0WORKFLOW"}) == 200
    assert town.votes() == []
    assert town.notes.events("slack.refused")[-1]["app"] == "A0WORKFLOW"


@pytest.mark.parametrize("flag", FLAGS)
async def test_rt7_each_flag_is_refused_at_the_click_and_told(town: Town, flag: str) -> None:
    town.slack.users["U0ANA"][flag] = FLAGS[flag]
    payload = town.payload()
    payload["user"]["team_id"] = town.slack.team_id  # whatever the payload claims, the account is asked about
    assert await town.sent(payload) == 200
    assert (await town.whispered("U0ANA")).startswith(SAID[flag])
    assert town.votes() == []


@pytest.mark.parametrize("flag", FLAGS)
async def test_rt7_each_flag_is_refused_in_a_dialog_and_a_command_too(town: Town, flag: str) -> None:
    await town.slack.click("U0ANA", "reject")
    (view,) = town.slack.views.values()
    town.slack.users["U0ANA"][flag] = FLAGS[flag]
    town.corridor.clock.advance(61)
    reply = await town.slack.submit_view("U0ANA", view["id"], {"why": "the feed is late"}, team=town.slack.team_id)
    assert SAID[flag].replace("approve", "do this") in json.loads(reply.body)["errors"]["why"]
    plan = (await town.incident()).plan
    assert plan is not None
    text = f"approve {town.stream[-5:]} {plan.short}"
    typed = await town.slack.slash("U0ANA", text, team=town.slack.team_id)
    assert typed.body.startswith(SAID[flag])
    assert (await town.incident()).phase is Phase.WAITING
    assert town.votes() == []


@pytest.mark.parametrize("flag", FLAGS)
async def test_rt7_each_flag_is_refused_at_the_claim_of_a_vote_given_before(town: Town, flag: str) -> None:
    await town.slack.click("U0ANA", "approve")
    await town.slack.click("U0PRIYA", "approve", town.ts)
    town.slack.users["U0ANA"][flag] = FLAGS[flag]
    town.corridor.clock.advance(3)
    found = await town.corridor.run(town.stream, 5)
    assert "rollback.claimed" not in town.corridor.types(town.stream)
    assert found.phase is Phase.WAITING
    assert [vote.person for vote in found.votes] == ["U0PRIYA"]
    assert town.corridor.shifts == 0


async def test_rt7_a_renamed_person_is_still_who_they_are(town: Town) -> None:
    town.slack.users["U0GIL"]["profile"]["real_name"] = town.slack.users["U0GIL"]["real_name"] = "Ana Ruiz"
    await town.slack.click("U0GIL", "approve")
    assert (await town.whispered("U0GIL")).startswith("Guests cannot approve.")
    town.slack.users["U0ANA"]["profile"]["real_name"] = "Gil Weber"
    await town.slack.click("U0ANA", "approve", town.ts)
    assert [one.person for one in town.votes()] == ["U0ANA"]


# ── the straight way ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_glass_is_broken_in_its_dialog_by_who_may_and_by_nobody_else(town: Town) -> None:
    filled = {"why": "nobody else answers and money is lost", "typed": "fraud-scorer"}
    for user in ("U0ANA", "U0INES"):
        await town.slack.pick(user, "break_glass", town.ts)
        view = next(one for one in town.slack.views.values() if one["opened_by"] == user)
        wrong = await town.slack.submit_view(user, view["id"], {**filled, "typed": "ranker"})
        assert "errors" in wrong.body
        await town.slack.submit_view(user, view["id"], filled)
    assert [one.person for one in town.corridor.entries(town.stream) if isinstance(one, e.GlassBroken)] == ["U0INES"]
    found = await town.corridor.run(town.stream, until=Phase.MOVED)
    assert found.review is not None
