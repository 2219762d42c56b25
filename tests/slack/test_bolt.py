"""The app over HTTP and over a socket: who gets through, what is acknowledged, what a person is told."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import SystemClock
from bot.demo import slack_methods, slack_payloads
from bot.demo.slack import CHANNEL, TEAM, SlackLookalike
from bot.domain.incident import Incident
from bot.domain.press import Answer, Press
from bot.errors import LastgoodError, NotFound, ReadOnly
from bot.slack import bolt
from bot.slack.actions import STRANGE
from bot.slack.bolt import CALL_WITHIN, Desk, SlackApp
from bot.slack.cards import card
from bot.slack.commands import Command
from bot.slack.directory import SlackDirectory
from bot.slack.facts import Facts
from bot.slack.forms import FORMS, Backdrop, View, wanted
from bot.slack.manifest import SCOPES
from bot.slack.signature import genuine
from tests.slack.notes import Notes
from tests.slack.stories import ROLLING, STORIES, ULID, WAITING, incident

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


DONE = Answer(ok=True, text="Done.")


NEXT = "the-secret-that-follows"


@dataclass
class Counter:
    """The desk of a flow: it remembers presses and answers as told."""

    shown: Incident = field(default_factory=lambda: incident(WAITING))
    link: str = ""
    coming: str | None = None
    presses: list[Press] = field(default_factory=list)
    commands: list[tuple[str, Command]] = field(default_factory=list)
    answer: Answer | Exception = DONE
    seconds: float = 0
    ours: str = CHANNEL

    async def press(self, press: Press) -> Answer:
        await asyncio.sleep(self.seconds)
        self.presses.append(press)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def command(self, person: str, asked: Command) -> str:
        await asyncio.sleep(self.seconds)
        self.commands.append((person, asked))
        if isinstance(self.answer, Exception):
            raise self.answer
        return f"Asked for {asked.name} by <@{person}> & <!channel>."

    async def posted(self, channel: str, ts: str) -> bool:
        return channel == self.ours

    async def form(self, press: Press, channel: str) -> View | None:
        if isinstance(self.answer, NotFound):
            raise self.answer
        return FORMS[press.action](self.shown, Backdrop()).view(press, channel) if wanted(press, self.shown) else None

    @property
    def desk(self) -> Desk:
        return Desk(self.press, self.command, self.posted, self.form, lambda _: self.link)


@dataclass
class Here:
    slack: SlackLookalike
    desk: Counter
    app: SlackApp
    notes: Notes
    client: AsyncWebClient
    ts: str = ""

    async def show(self, entries: Any = WAITING) -> None:
        self.desk.shown = incident(entries)
        payload = card(self.desk.shown, Facts(str))
        self.ts = str((await self.client.chat_postMessage(channel=CHANNEL, **payload))["ts"])

    async def whispered(self, user: str) -> str:
        async with asyncio.timeout(5):
            while not self.slack.ephemerals(user):
                await asyncio.sleep(0.01)
        return str(self.slack.ephemerals(user)[-1]["text"])


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    clock, notes, desk = SystemClock(), Notes(), Counter()
    slack = SlackLookalike(clock)
    await slack.start()
    async with aiohttp.ClientSession(timeout=CALL_WITHIN) as session:
        client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url, session=session, retry_handlers=[])
        directory = SlackDirectory(client, clock, "")
        app = SlackApp(client, slack.signing_secret, desk.desk, clock, notes, directory, lambda: desk.coming)
        await app.hello()
        server = web.Application()
        server.router.add_post("/slack/events", app.handle)
        runner = web.AppRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        slack.request_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
        found = Here(slack, desk, app, notes, client)
        await found.show()
        yield found
        await app.close()
        await runner.cleanup()
        await slack.stop()


# ── who gets through ──────────────────────────────────────────────────────────────────────────────────────────────


def body_of(here: Here) -> bytes:
    payload = here.slack.click_payload("U0ANA", "approve", here.slack.cards()[0], {"value": f"{ULID}.7f3a9c2e.3"})
    return urlencode({"payload": json.dumps(payload)}).encode()


async def test_a_click_reaches_the_desk_once(here: Here) -> None:
    reply = await here.slack.click("U0ANA", "approve")
    assert (reply.status, reply.body) == (200, "")
    assert [(one.person, one.action, one.card_version) for one in here.desk.presses] == [("U0ANA", "approve", 3)]


@pytest.mark.parametrize(
    "forged",
    [
        {"X-Slack-Signature": None, "X-Slack-Request-Timestamp": None},
        {"X-Slack-Signature": None},
        {"X-Slack-Request-Timestamp": None},
        {"X-Slack-Signature": "v0=00"},
        {"X-Slack-Request-Timestamp": "abc"},
        {"X-Slack-Request-Timestamp": "-1"},
        {"X-Slack-Request-Timestamp": "9" * 400},
        {"X-Slack-Signature": "v0=é"},
        {"X-Slack-Signature": ""},
    ],
)  # fmt: skip
async def test_rt1_what_does_not_prove_itself_is_401_and_reaches_nobody(
    here: Here, forged: dict[str, str | None]
) -> None:
    body = body_of(here)
    sent = {**FORM, **here.slack.signed(body), **forged}
    reply = await here.slack.post(body, {name: value for name, value in sent.items() if value is not None})
    assert (reply.status, reply.body) == (401, "unauthorized")
    assert not here.desk.presses
    assert not here.desk.commands


@pytest.mark.parametrize(("secret", "age"), [("another", 0), (None, 301), (None, -302)])
async def test_rt1_a_wrong_key_or_an_old_or_early_signature_is_401(here: Here, secret: str | None, age: float) -> None:
    for reply in (
        await here.slack.click("U0ANA", "approve", secret=secret, age=age),
        await here.slack.slash("U0ANA", "list", secret=secret, age=age),
    ):
        assert (reply.status, reply.body) == (401, "unauthorized")
    assert not here.desk.presses
    assert not here.desk.commands


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"ssl_check=1&token=x", "application/x-www-form-urlencoded"),
        (b'{"ssl_check":1}', "application/json"),
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b'{"type":"url_verification","challenge":"x"}', "application/json"),
    ],
)  # fmt: skip
async def test_rt1_no_body_opens_the_door_without_a_signature(here: Here, body: bytes, content_type: str) -> None:
    assert (await here.slack.post(body, {"Content-Type": content_type})).status == 401
    assert not here.desk.presses
    assert not here.desk.commands


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"payload=%7B", b"payload=[]", b"payload=null", b"{", b"payload=" + b"[" * 200_000, b"&".join([b"a=1"] * 200)],
)  # fmt: skip
async def test_a_signed_body_that_cannot_be_read_is_no_fault_of_ours(here: Here, body: bytes) -> None:
    reply = await here.slack.post(body, {**here.slack.signed(body), **FORM})
    assert reply.status < 500
    assert here.desk.presses == []


async def test_a_body_that_is_too_large_is_not_read(here: Here) -> None:
    body = b"payload=" + b"x" * (bolt.MAX_BODY + 1)
    headers = {**here.slack.signed(body), **FORM}
    async with (
        aiohttp.ClientSession() as http,
        http.post(here.slack.request_url, data=io.BytesIO(body), headers=headers) as answer,
    ):
        assert answer.status == 413


@pytest.mark.parametrize(("seconds", "well"), [(0, True), (299, True), (301, False), (-299, True), (-301, False)])
def test_rt1_five_minutes_either_way(seconds: int, well: bool) -> None:  # noqa: FBT001  a table's column
    clock = SystemClock()
    slack, now = SlackLookalike(clock), clock.now()
    headers = slack.signed(b"x")
    at = now.replace(microsecond=0) + timedelta(seconds=seconds)
    assert genuine(slack.signing_secret, headers, b"x", at) is well
    assert not genuine("another", headers, b"x", at)
    assert not genuine(slack.signing_secret, headers, b"y", at)


async def test_the_body_of_a_forged_request_is_in_no_log(here: Here, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="slack_bolt.AsyncApp.handed_out")
    await here.slack.post(b"payload=hunter2", FORM)
    assert "hunter2" not in caplog.text
    assert logging.getLogger("slack_bolt.AsyncRequestVerification").getEffectiveLevel() >= logging.WARNING


# ── while the secret is changed ───────────────────────────────────────────────────────────────────────────────────


async def test_rt4_while_the_secret_is_changed_no_valid_request_is_refused(here: Here) -> None:
    """Slack signs with one secret and then with the other, while people press all the time."""
    before, replies = here.slack.signing_secret, []

    async def press_all_the_time() -> None:
        replies.extend([await here.slack.click("U0ANA", "approve") for _ in range(30)])

    async def rotate() -> None:
        await asyncio.sleep(0.02)
        here.desk.coming = NEXT  # set first, beside the one in use
        await asyncio.sleep(0.02)
        here.slack.signing_secret = NEXT  # then regenerated at Slack

    await asyncio.gather(*(press_all_the_time() for _ in range(4)), rotate())
    assert {one.status for one in replies} == {200}
    assert len(here.desk.presses) == len(replies) == 120
    assert here.slack.signing_secret == NEXT != before
    here.desk.coming = None
    assert (await here.slack.click("U0ANA", "approve")).status == 401, "what is not configured signs nothing"


async def test_rt4_the_secret_that_follows_opens_nothing_by_itself(here: Here) -> None:
    here.desk.coming = NEXT
    for secret in ("another", "", NEXT[:-1]):
        assert (await here.slack.click("U0ANA", "approve", secret=secret)).status == 401
    here.desk.coming = ""
    assert (await here.slack.click("U0ANA", "approve", secret="")).status == 401
    assert here.desk.presses == []


# ── what the token may do ─────────────────────────────────────────────────────────────────────────────────────────


async def hello_with(here: Here, scopes: frozenset[str] | None) -> SlackApp:
    """Start anew with a token that was granted these scopes, or with a Slack that does not list them."""
    here.slack.scopes = scopes or frozenset()
    directory = SlackDirectory(here.client, SystemClock(), "")
    app = SlackApp(here.client, here.slack.signing_secret, here.desk.desk, SystemClock(), here.notes, directory)
    await app.hello()
    return app


def test_the_look_alike_grants_what_the_manifest_asks_for() -> None:
    assert frozenset(SCOPES) == slack_methods.SCOPES


async def test_rt12_a_token_with_the_manifests_scopes_is_no_warning(here: Here) -> None:
    assert here.app.scopes == (0, 0)
    assert here.notes.events("slack.scopes") == []


@pytest.mark.parametrize("scope", sorted(SCOPES))
async def test_rt12_a_missing_scope_is_named_with_what_will_not_work(here: Here, scope: str) -> None:
    app = await hello_with(here, slack_methods.SCOPES - {scope})
    assert here.notes.events("slack.scopes") == [{"missing": scope, "so": SCOPES[scope], "mend": bolt.INSTALL_AGAIN}]
    assert app.scopes == (1, 0)


async def test_rt12_a_scope_nobody_asked_for_is_a_warning_and_is_counted(here: Here) -> None:
    app = await hello_with(here, slack_methods.SCOPES | {"channels:manage", "chat:write.customize"})
    [said] = here.notes.events("slack.scopes")
    assert said["extra"] == ["channels:manage", "chat:write.customize"]
    assert "steals the token" in str(said["so"])
    assert app.scopes == (0, 2)


async def test_rt12_each_difference_is_said_once_and_again_when_it_is_another(here: Here) -> None:
    app = await hello_with(here, slack_methods.SCOPES | {"pins:write"})
    await app.hello()
    assert len(here.notes.events("slack.scopes")) == 1
    here.slack.scopes = slack_methods.SCOPES
    await app.hello()
    assert app.scopes == (0, 0)
    here.slack.scopes = slack_methods.SCOPES | {"pins:write"}
    await app.hello()
    assert len(here.notes.events("slack.scopes")) == 2


async def test_rt12_while_slack_does_not_list_the_scopes_nothing_is_called_fine(here: Here) -> None:
    app = await hello_with(here, None)
    assert app.scopes is None
    assert "does not say" in str(here.notes.events("slack.scopes")[0]["error"])


async def test_rt12_a_token_slack_cannot_be_asked_about_is_looked_at_with_the_first_press(here: Here) -> None:
    here.slack.fail("auth.test", "error", times=1)
    app = await hello_with(here, slack_methods.SCOPES - {"im:write"})
    assert app.scopes is None
    await app._our_app()  # what every press asks first
    assert app.scopes == (1, 0)


# ── what a click may do ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_refusal_is_told_to_the_person_alone(here: Here) -> None:
    here.desk.answer = Answer(ok=False, text="You approved this plan. Nothing was changed.")
    assert (await here.slack.click("U0ANA", "approve")).status == 200
    assert await here.whispered("U0ANA") == "You approved this plan. Nothing was changed."
    assert here.slack.ephemerals("U0TOM") == []


async def test_a_timeline_that_cannot_be_written_is_told(here: Here) -> None:
    here.desk.answer = ReadOnly()
    assert (await here.slack.click("U0ANA", "approve")).status == 200
    assert "No record, no rollback." in await here.whispered("U0ANA")


@pytest.mark.parametrize("changes", [{"channel": "C0ELSEWHERE"}, {"value": f"{ULID}.zzzzzzzz.3"}])
async def test_rt6_a_card_from_elsewhere_has_no_effect(here: Here, changes: dict[str, Any]) -> None:
    assert (await here.slack.click("U0ANA", "approve", **changes)).status == 200
    assert here.desk.presses == []


@pytest.mark.parametrize("act", ["choose", "break_glass", "why"])
async def test_rt6_a_menu_from_elsewhere_has_no_effect(here: Here, act: str) -> None:
    here.desk.ours = "C0ANOTHER"
    assert (await here.slack.pick("U0ANA", act)).status == 200
    assert "This button does not match" in await here.whispered("U0ANA")
    assert not here.desk.presses
    assert not here.desk.commands
    assert here.slack.calls["views.open"] == 0


@pytest.mark.parametrize("app", ["A0WORKFLOW", None])
async def test_rt6_what_another_app_or_a_workflow_posted_is_refused_and_noted(here: Here, app: str | None) -> None:
    payload = here.slack.click_payload("U0ANA", "approve", here.slack.cards()[0], {"value": f"{ULID}.7f3a9c2e.3"})
    body = urlencode({"payload": json.dumps({**payload, "api_app_id": app})}).encode()
    assert (await here.slack.post(body, {**here.slack.signed(body), **FORM})).status == 200
    assert here.desk.presses == []
    assert await here.whispered("U0ANA") == STRANGE
    assert here.notes.events("slack.refused")[-1]["reason"] == STRANGE


async def test_rt4_a_command_told_to_another_app_is_refused(here: Here) -> None:
    form = slack_payloads.command(
        here.slack, "U0ANA", "/rollback", "list", CHANNEL, team=None, response_url="", trigger="1.2"
    )
    body = urlencode({**form, "api_app_id": "A0ANOTHER"}).encode()
    reply = await here.slack.post(body, {**here.slack.signed(body), **FORM})
    assert (reply.status, reply.body) == (200, STRANGE)
    assert here.desk.commands == []


async def test_while_slack_does_not_say_who_we_are_nothing_counts(here: Here) -> None:
    here.app._app = ""  # as after a start at which Slack was away
    here.slack.fail("bots.info", "error")
    assert (await here.slack.click("U0ANA", "approve")).status == 200
    assert here.desk.presses == []
    await here.slack.click("U0ANA", "approve")
    assert len(here.desk.presses) == 1, "it is asked again"


async def test_rt24_a_press_keeps_the_digest_of_its_signature(here: Here) -> None:
    await here.slack.click("U0ANA", "approve")
    signature = here.slack.sent[-1].headers["X-Slack-Signature"]
    assert here.desk.presses[0].request["signature"] == hashlib.sha256(signature.encode()).hexdigest()
    await here.slack.slash("U0ANA", "status Q4RD0")
    assert set(here.desk.commands[0][1].request) == {"team", "trigger", "channel", "signature"}


async def test_rt7_somebody_from_another_organisation_has_no_effect(here: Here) -> None:
    here.slack.add_user("U0EVE", "Eve Gray", team_id="T0OTHER")
    assert (await here.slack.click("U0EVE", "approve")).status == 200
    assert "People from other organisations" in await here.whispered("U0EVE")
    assert here.desk.presses == []


async def test_a_slow_flow_is_acknowledged_in_time_and_still_answers(here: Here) -> None:
    here.desk.seconds, here.desk.answer = (
        bolt.ANSWER_WITHIN + 0.5,
        Answer(ok=False, text="Too late. Nothing was changed."),
    )
    reply = await here.slack.click("U0ANA", "approve")
    assert reply.status == 200
    assert reply.seconds < 3
    assert await here.whispered("U0ANA") == "Too late. Nothing was changed."


async def test_fifty_clicks_at_once_are_all_acknowledged(here: Here) -> None:
    here.desk.seconds = 0.2
    replies = await asyncio.gather(*(here.slack.click("U0ANA", "approve") for _ in range(50)))
    assert {one.status for one in replies} == {200}
    assert max(one.seconds for one in replies) < 3
    assert len(here.desk.presses) == 50


async def test_a_reason_is_asked_for_and_comes_with_the_press(here: Here) -> None:
    await here.slack.click("U0ANA", "reject")
    assert here.desk.presses == []
    assert (await here.slack.submit("U0ANA", "42 is fine, the feed is late")).status == 200
    assert [(one.action, one.incident, one.reason) for one in here.desk.presses] == [
        ("reject", ULID, "42 is fine, the feed is late")
    ]


async def test_no_reason_is_asked_for_on_a_card_from_elsewhere(here: Here) -> None:
    here.desk.ours = "C0ANOTHER"
    assert (await here.slack.click("U0ANA", "reject")).status == 200
    assert "This button does not match" in await here.whispered("U0ANA")
    assert here.slack.calls["views.open"] == 0


async def test_a_dialog_that_cannot_be_opened_is_noted_and_told(here: Here) -> None:
    here.slack.fail("views.open", "error")
    assert (await here.slack.click("U0ANA", "reject")).status == 200
    assert "slack.modal" in [event for event, _ in here.notes.lines]
    assert await here.whispered("U0ANA") == bolt.NO_DIALOG


async def test_a_dialog_nobody_can_draw_lets_the_press_say_why(here: Here) -> None:
    here.desk.answer = NotFound("There is no incident 7Q4RD.")
    assert (await here.slack.click("U0ANA", "reject")).status == 200
    assert await here.whispered("U0ANA") == "There is no incident 7Q4RD. Nothing was changed."


async def test_an_option_of_the_menu_opens_its_dialog_at_once_and_what_is_filled_in_comes_with_the_press(
    here: Here,
) -> None:
    await here.slack.pick("U0ANA", "break_glass")
    (view,) = here.slack.views.values()
    assert view["title"]["text"] == "Break glass"
    filled = {"why": "nobody else answers and money is lost", "typed": "fraud-scorer"}
    assert (await here.slack.submit_view("U0ANA", view["id"], filled)).status == 200
    (press,) = here.desk.presses
    assert (press.action, press.incident, press.reason, press.asked) == (
        "break_glass", ULID, filled["why"], {"typed": "fraud-scorer"},
    )  # fmt: skip
    assert here.slack.views == {}, "it closes"


async def test_a_person_who_was_picked_comes_with_the_press(here: Here) -> None:
    await here.show(STORIES["stuck-step"])
    await here.slack.pick("U0ANA", "hand_over", here.ts)
    (view,) = here.slack.views.values()
    await here.slack.submit_view("U0ANA", view["id"], {"to": "U0PRIYA"})
    assert here.desk.presses[0].asked == {"to": "U0PRIYA"}
    assert here.desk.presses[0].reason.startswith("fraud-scorer in prod"), "what was filled in beforehand"


async def test_a_refusal_stands_under_the_field_with_names_and_the_dialog_stays(here: Here) -> None:
    await here.slack.click("U0ANA", "reject")
    here.desk.answer = Answer(ok=False, text="<@U0PRIYA> rejected it at <!date^1795399800^{time}|02:10 UTC>.")
    reply = await here.slack.submit("U0ANA", "42 is fine, the feed is late")
    assert json.loads(reply.body) == {
        "response_action": "errors",
        "errors": {"why": "U0PRIYA rejected it at 02:10 UTC."},
    }
    assert len(here.slack.views) == 1
    assert here.slack.ephemerals("U0ANA") == []


async def test_a_slow_flow_closes_the_dialog_in_time_and_still_answers(here: Here) -> None:
    await here.slack.click("U0ANA", "reject")
    here.desk.seconds, here.desk.answer = (
        bolt.ANSWER_WITHIN + 0.5,
        Answer(ok=False, text="Too late. Nothing was changed."),
    )
    reply = await here.slack.submit("U0ANA", "42 is fine, the feed is late")
    assert (reply.status, reply.body) == (200, "")
    assert reply.seconds < 3
    assert await here.whispered("U0ANA") == "Too late. Nothing was changed."


async def test_an_approval_with_a_reason_is_asked_for_first(here: Here) -> None:
    await here.show(STORIES["waiting-why"])
    await here.slack.click("U0ANA", "approve", here.ts)
    assert here.desk.presses == []
    await here.slack.submit("U0ANA", "I compared both versions")
    assert [(one.action, one.reason) for one in here.desk.presses] == [("approve", "I compared both versions")]


async def test_a_vote_to_be_confirmed_shows_a_button_that_leads_there_to_the_person_alone(here: Here) -> None:
    here.desk.link = "https://lastgood.example/confirm/x1"
    here.desk.answer = Answer(ok=False, text="This approval counts behind the sign-in.", link_for="approve")
    await here.slack.click("U0ANA", "approve")
    await here.whispered("U0ANA")
    (whisper,) = here.slack.whispers
    button = whisper["blocks"][-1]["elements"][0]
    assert (button["url"], button["text"]["text"]) == (here.desk.link, "Confirm behind the company sign-in")
    await here.slack.click("U0ANA", button["action_id"], whisper["ts"])
    assert len(here.desk.presses) == 1, "the press on it opens the address and nothing else"


async def test_a_vote_to_be_confirmed_closes_its_dialog_and_then_leads_there(here: Here) -> None:
    await here.show(STORIES["waiting-why"])
    here.desk.link = "https://lastgood.example/confirm/x1"
    here.desk.answer = Answer(ok=False, text="This approval counts behind the sign-in.", link_for="approve")
    await here.slack.click("U0ANA", "approve", here.ts)
    reply = await here.slack.submit("U0ANA", "I compared both versions")
    assert reply.body == ""
    assert await here.whispered("U0ANA") == "This approval counts behind the sign-in."
    assert here.slack.views == {}


async def test_why_these_people_is_answered_to_the_person_alone(here: Here) -> None:
    await here.slack.pick("U0ANA", "why")
    assert (await here.whispered("U0ANA")).startswith(f"Asked for {ULID} by <@U0ANA>")
    assert here.desk.commands == [("U0ANA", Command("who", ULID))]
    assert here.desk.presses == []


@pytest.mark.parametrize("changes", [{"team": "T0OTHER"}, {"secret": "another"}])
async def test_rt5_a_forged_submission_reaches_nobody(here: Here, changes: dict[str, Any]) -> None:
    await here.slack.click("U0ANA", "reject")
    (view,) = here.slack.views.values()
    reply = await here.slack.submit_view("U0ANA", view["id"], {"why": "42 is fine, the feed is late"}, **changes)
    assert here.desk.presses == []
    assert reply.status == 401 or "People from other organisations" in reply.body


JUNK: list[Any] = [None, 7, "", [], {}, {"values": None}, {"values": {"why": None}}, {"values": {"why": {"field": 7}}}]


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("name", ["view", "user", "team", "actions", "container", "trigger_id", "state"])
async def test_rt5_no_signed_payload_is_a_fault_of_ours(here: Here, name: str, junk: Any) -> None:
    for kind in ("block_actions", "view_submission"):
        payload = here.slack.click_payload("U0ANA", "approve", here.slack.cards()[0], {"value": f"{ULID}.7f3a9c2e.3"})
        view = {
            "callback_id": "press",
            "private_metadata": f"reject|{ULID}|7f3a9c2e|3|C",
            "state": junk,
            "blocks": junk,
        }
        body = urlencode({"payload": json.dumps({**payload, "view": view, "type": kind, name: junk})}).encode()
        reply = await here.slack.post(body, {**here.slack.signed(body), **FORM})
        assert 200 <= reply.status < 500, reply.body
    assert all((one.incident, one.plan) == (ULID, "7f3a9c2e") for one in here.desk.presses)


# ── what breaks in us ─────────────────────────────────────────────────────────────────────────────────────────────


BROKE = [{"error": "KeyError", "incident": ULID}]


@pytest.fixture
def broken(here: Here) -> Here:
    here.desk.answer = KeyError("xoxb-secret")
    return here


async def test_a_press_that_breaks_is_noted_without_what_it_says_and_the_person_is_sent_to_the_card(
    broken: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (await broken.slack.click("U0ANA", "approve")).status == 200
    assert await broken.whispered("U0ANA") == bolt.LOST
    assert broken.notes.events("slack.broke") == BROKE
    assert "xoxb-secret" not in str(broken.notes.lines) + capsys.readouterr().err


async def test_a_press_that_breaks_after_slack_was_told_is_noted_and_told_too(broken: Here) -> None:
    broken.desk.seconds = bolt.ANSWER_WITHIN + 0.3
    assert (await broken.slack.click("U0ANA", "approve")).status == 200
    assert broken.slack.ephemerals("U0ANA") == []
    assert await broken.whispered("U0ANA") == bolt.LOST
    assert broken.notes.events("slack.broke") == BROKE


async def test_a_dialog_whose_press_breaks_says_so_under_its_field(broken: Here) -> None:
    await broken.slack.click("U0ANA", "reject")
    reply = await broken.slack.submit("U0ANA", "42 is fine, the feed is late")
    assert json.loads(reply.body) == {"response_action": "errors", "errors": {"why": bolt.LOST}}
    assert broken.notes.events("slack.broke") == BROKE


async def test_a_dialog_whose_press_breaks_late_is_told_once(broken: Here) -> None:
    await broken.slack.click("U0ANA", "reject")
    broken.desk.seconds = bolt.ANSWER_WITHIN + 0.3
    assert (await broken.slack.submit("U0ANA", "42 is fine, the feed is late")).body == ""
    assert await broken.whispered("U0ANA") == bolt.LOST
    assert broken.notes.events("slack.broke") == BROKE
    assert len(broken.slack.ephemerals("U0ANA")) == 1


@pytest.mark.parametrize(("text", "incident"), [("why 7Q4RD", "7Q4RD"), ("login ABCD-EFGH", "")])
async def test_a_command_that_breaks_is_answered_and_a_code_is_in_no_log(
    broken: Here, text: str, incident: str
) -> None:
    assert bolt.LOST in (await broken.slack.slash("U0ANA", text)).body
    assert broken.notes.events("slack.broke") == [{"error": "KeyError", "incident": incident}]
    assert "ABCD" not in str(broken.notes.lines)


async def test_a_command_that_breaks_late_is_told_where_it_was_typed(broken: Here) -> None:
    broken.desk.seconds = bolt.ANSWER_WITHIN + 0.3
    assert (await broken.slack.slash("U0ANA", "why 7Q4RD")).body == bolt.WORKING
    async with asyncio.timeout(5):
        while len(broken.slack.ephemerals("U0ANA")) < 2:
            await asyncio.sleep(0.01)
    assert broken.slack.ephemerals("U0ANA")[-1]["text"] == bolt.LOST
    assert len(broken.notes.events("slack.broke")) == 1


async def test_why_these_people_that_breaks_is_told(broken: Here) -> None:
    await broken.slack.pick("U0ANA", "why")
    assert await broken.whispered("U0ANA") == bolt.LOST
    assert broken.notes.events("slack.broke") == BROKE


# ── the command ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_command_is_answered_to_the_person(here: Here) -> None:
    reply = await here.slack.slash("U0ANA", "status Q4RD0")
    assert [(who, one.verb, one.name) for who, one in here.desk.commands] == [("U0ANA", "status", "Q4RD0")]
    assert "<@U0ANA>" in reply.body
    assert "<!channel>" not in reply.body


@pytest.mark.parametrize(("text", "said"), [("help", "/rollback list"), ("a b c d", "Nothing was changed.")])
async def test_what_needs_no_desk_is_answered_at_once(here: Here, text: str, said: str) -> None:
    assert said in (await here.slack.slash("U0ANA", text)).body
    assert here.desk.commands == []


async def test_a_slow_answer_follows_and_the_person_is_told_so_in_time(here: Here) -> None:
    here.desk.seconds = bolt.ANSWER_WITHIN + 0.5
    reply = await here.slack.slash("U0ANA", "status Q4RD0")
    assert reply.seconds < 3
    assert reply.body == bolt.WORKING
    async with asyncio.timeout(5):
        while len(here.slack.ephemerals("U0ANA")) < 2:
            await asyncio.sleep(0.01)
    assert here.slack.ephemerals("U0ANA")[-1]["text"].startswith("Asked for Q4RD0 by ")


async def test_a_command_that_cannot_be_done_says_why(here: Here) -> None:
    here.desk.answer = ReadOnly()
    assert "No record, no rollback." in (await here.slack.slash("U0ANA", "status")).body


async def test_somebody_of_another_workspace_is_told_nothing(here: Here) -> None:
    reply = await here.slack.slash("U0ANA", "list", team="T0OTHER")
    assert "People from other organisations" in reply.body
    assert here.desk.commands == []


async def test_a_button_that_only_leads_somewhere_is_acknowledged_and_has_no_effect(here: Here) -> None:
    for action in ("open_postmortem", "open_card"):
        assert (await here.slack.click("U0EVE", action, ts=here.ts)).status == 200
    assert here.desk.presses == []
    assert here.slack.whispers == []


# ── the start, and the socket ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_wrong_token_stops_the_start(here: Here) -> None:
    client = AsyncWebClient(
        token="xoxb-wrong", base_url=here.slack.api_url, session=here.client.session, retry_handlers=[]
    )
    directory = SlackDirectory(client, SystemClock(), "")
    app = SlackApp(client, "secret", here.desk.desk, SystemClock(), here.notes, directory)
    with pytest.raises(LastgoodError, match="Slack refuses the bot token: invalid_auth"):
        await app.hello()


@pytest.mark.parametrize("kind", ["error", "limited", "refused"])
async def test_slack_in_trouble_does_not_stop_the_start(here: Here, kind: Any) -> None:
    here.slack.fail("auth.test", kind)
    await here.app.hello()
    assert here.app.team == TEAM


async def test_a_click_over_the_socket_reaches_the_desk(here: Here) -> None:
    await here.app.open_socket(here.slack.app_token)
    await reached(here)
    await here.slack.click("U0ANA", "approve")
    assert len(here.desk.presses) == 1


async def reached(here: Here) -> None:
    async with asyncio.timeout(10):
        while not here.slack.calls["apps.connections.open"] or not here.app.connected:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)


async def test_a_socket_that_was_cut_is_opened_anew(here: Here) -> None:
    await here.app.open_socket(here.slack.app_token)
    await reached(here)
    here.slack.socket.cut()
    async with asyncio.timeout(20):
        while here.slack.socket.opened < 2 or not here.slack.socket.connections:
            await asyncio.sleep(0.05)
    await here.slack.click("U0ANA", "approve")
    assert len(here.desk.presses) == 1


async def test_a_wrong_app_token_is_named_with_its_mend_and_not_tried_all_the_time(here: Here) -> None:
    await here.app.open_socket("xapp-wrong")
    async with asyncio.timeout(10):
        while not here.notes.events("slack.socket"):
            await asyncio.sleep(0.02)
    assert "Slack refuses SLACK_APP_TOKEN: invalid_auth. Mend: " in str(here.notes.events("slack.socket")[0]["error"])
    assert here.notes.events("slack.socket")[0]["again_in"] == bolt.AGAIN[0]
    assert not here.app.connected
    await asyncio.sleep(0.5)
    assert here.slack.calls["apps.connections.open"] == 1


async def test_the_start_says_nothing_about_a_token_that_is_set_on_purpose() -> None:
    """A process of its own: slack-bolt reads the environment, and its logger keeps what it was given."""
    code = (
        "import asyncio, sys\n"
        "from slack_sdk.web.async_client import AsyncWebClient\n"
        "from bot.clock import SystemClock\n"
        "from bot.log import JsonLog\n"
        "from bot.slack.bolt import Desk, SlackApp\n"
        "from bot.slack.directory import SlackDirectory\n"
        "async def main():\n"
        "    clock, client = SystemClock(), AsyncWebClient(token='xoxb-1')\n"
        "    SlackApp(client, 's', Desk(*[None] * 5), clock, JsonLog(clock), SlackDirectory(client, clock, ''))\n"
        "asyncio.run(main())\n"
    )
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE, env={**os.environ, "SLACK_BOT_TOKEN": "xoxb-1"}
    )
    _, said = await started.communicate()
    assert (started.returncode, said) == (0, b"")


async def test_closing_ends_the_socket_in_time(here: Here) -> None:
    await here.app.open_socket(here.slack.app_token)
    await reached(here)
    async with asyncio.timeout(8):
        await here.app.close()


async def test_a_running_rollback_asks_why_it_is_cancelled(here: Here) -> None:
    await here.show(ROLLING)
    await here.slack.click("U0ANA", "cancel", ts=here.ts)
    assert (await here.slack.submit("U0ANA", "wrong model, stop")).status == 200
    assert [one.action for one in here.desk.presses] == ["cancel"]
