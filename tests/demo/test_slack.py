"""The look-alike over the wire, by the real client: it refuses what Slack refuses, and says so as Slack does."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import aiohttp
import pytest
from aiohttp import web
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import ManualClock
from bot.demo.slack import BOT, CHANNEL, TEAM, SlackLookalike
from bot.demo.slack_methods import METHODS, SCOPES
from bot.slack.signature import genuine

BUTTON = {"type": "button", "action_id": "approve", "text": {"type": "plain_text", "text": "Approve"}, "value": "v"}
CARD: list[dict[str, Any]] = [{"type": "actions", "block_id": "acts", "elements": [BUTTON]}]
SECTION: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": "Rolling back"}}]
VIEW: dict[str, Any] = {
    "type": "modal", "title": {"type": "plain_text", "text": "Why?"}, "submit": {"type": "plain_text", "text": "Reject plan"},
    "blocks": [
        {
            "type": "input", "block_id": "why", "label": {"type": "plain_text", "text": "Why?"},
            "element": {"type": "plain_text_input", "action_id": "text"},
        }
    ],
}  # fmt: skip


@pytest.fixture
async def slack(clock: ManualClock) -> AsyncIterator[SlackLookalike]:
    workspace = SlackLookalike(clock)
    await workspace.start()
    yield workspace
    await workspace.stop()


@pytest.fixture
async def client(slack: SlackLookalike) -> AsyncIterator[AsyncWebClient]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session:
        yield AsyncWebClient(token=slack.bot_token, base_url=slack.api_url, session=session, retry_handlers=[])


async def refusal(call: Awaitable[Any]) -> str:
    with pytest.raises(SlackApiError) as refused:
        await call
    return str(refused.value.response["error"])


async def post(client: AsyncWebClient, **given: Any) -> str:
    return str((await client.chat_postMessage(**{"channel": CHANNEL, "text": "x", **given}))["ts"])


# ── who may call ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("token", "error"), [("xoxb-other", "invalid_auth"), ("xapp-demo", "not_allowed_token_type"), ("", "not_authed")]
)
async def test_a_wrong_token_is_refused(slack: SlackLookalike, client: AsyncWebClient, token: str, error: str) -> None:
    client.token = token
    assert await refusal(client.chat_postMessage(channel=CHANNEL, text="x")) == error
    assert slack.messages == []


async def test_a_revoked_token_is_refused(slack: SlackLookalike, client: AsyncWebClient) -> None:
    slack.revoked = True
    assert await refusal(client.auth_test()) == "token_revoked"


async def test_a_missing_scope_is_named(slack: SlackLookalike, client: AsyncWebClient) -> None:
    slack.scopes = SCOPES - {"chat:write"}
    with pytest.raises(SlackApiError) as refused:
        await post(client)
    assert refused.value.response["needed"] == "chat:write"


@pytest.mark.parametrize(
    ("channel", "scope"), [("C0P", "groups:history"), ("D0ANA", "im:history"), (CHANNEL, "channels:history")]
)
async def test_what_was_said_in_private_is_read_with_a_scope_of_its_own(
    slack: SlackLookalike, client: AsyncWebClient, channel: str, scope: str
) -> None:
    slack.add_channel("C0P", "private", is_private=True)
    slack.direct("U0ANA")
    slack.scopes = SCOPES - {scope}
    assert await refusal(client.conversations_history(channel=channel)) == "missing_scope"
    slack.scopes = SCOPES
    assert (await client.conversations_history(channel=channel))["messages"] == []


async def test_a_method_that_is_not_modelled_is_unknown_rather_than_fine(client: AsyncWebClient) -> None:
    assert await refusal(client.api_call("chat.unfurl")) == "unknown_method"
    assert "chat.unfurl" not in METHODS


# ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_message_has_a_timestamp_no_other_has(slack: SlackLookalike, client: AsyncWebClient) -> None:
    stamps = [await post(client) for _ in range(5)]
    assert len(set(stamps)) == 5
    assert all(re.fullmatch(r"\d{10}\.\d{6}", one) for one in stamps)
    assert stamps == sorted(stamps)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"channel": "C0NONE"}, "channel_not_found"),  ({"blocks": [{"type": "card"}]}, "invalid_blocks"),
        ({"metadata": {"event_type": "x"}}, "invalid_metadata_format"),
    ],
)  # fmt: skip
async def test_what_cannot_be_posted_is_refused(
    slack: SlackLookalike, client: AsyncWebClient, given: dict[str, Any], error: str
) -> None:
    assert await refusal(post(client, **given)) == error
    assert slack.messages == []


async def test_a_message_says_something(client: AsyncWebClient) -> None:
    assert await refusal(client.api_call("chat.postMessage", json={"channel": CHANNEL})) == "no_text"


async def test_a_channel_can_be_closed_to_the_app(slack: SlackLookalike, client: AsyncWebClient) -> None:
    ts = await post(client)
    slack.archive()
    assert await refusal(post(client)) == "is_archived"
    assert await refusal(client.chat_update(channel=CHANNEL, ts=ts, text="y")) == "is_archived"
    slack.archive(archived=False)
    slack.remove_bot()
    assert await refusal(post(client)) == "not_in_channel"


async def test_an_update_replaces_blocks_and_words_alone_take_them_away(
    slack: SlackLookalike, client: AsyncWebClient
) -> None:
    metadata = {"event_type": "card", "event_payload": {"key": "k"}}
    ts = await post(client, blocks=CARD, metadata=metadata)
    await client.chat_update(channel=CHANNEL, ts=ts, text="y", blocks=SECTION)
    assert slack.messages[0]["blocks"][0]["type"] == "section"
    await client.chat_update(channel=CHANNEL, ts=ts, text="z")
    assert "blocks" not in slack.messages[0]
    assert slack.messages[0]["metadata"] == metadata, "metadata stays unless it is named"
    assert len(slack.messages) == 1


async def test_only_its_own_messages_can_be_changed(slack: SlackLookalike, client: AsyncWebClient) -> None:
    theirs = slack.say("U0ANA", "hello")["ts"]
    assert await refusal(client.chat_update(channel=CHANNEL, ts=theirs, text="y")) == "cant_update_message"
    assert await refusal(client.chat_delete(channel=CHANNEL, ts=theirs)) == "cant_delete_message"
    assert await refusal(client.chat_update(channel=CHANNEL, ts="1.000000", text="y")) == "message_not_found"
    ts = await post(client)
    assert await refusal(client.chat_update(channel=CHANNEL, ts=ts, text="y" * 4001)) == "msg_too_long"


async def test_whispers_reach_one_person_and_no_history(slack: SlackLookalike, client: AsyncWebClient) -> None:
    await client.chat_postEphemeral(channel=CHANNEL, user="U0GIL", text="Guests cannot approve.")
    assert [one["text"] for one in slack.ephemerals("U0GIL")] == ["Guests cannot approve."]
    assert slack.ephemerals("U0ANA") == []
    assert (await client.conversations_history(channel=CHANNEL))["messages"] == []
    assert await refusal(client.chat_postEphemeral(channel=CHANNEL, user="U0NONE", text="x")) == "user_not_in_channel"


async def test_history_is_newest_first_paged_without_replies_and_metadata_only_when_asked(
    client: AsyncWebClient,
) -> None:
    metadata = {"event_type": "card", "event_payload": {"key": "k"}}
    first = await post(client, metadata=metadata)
    second, reply = await post(client), await post(client, thread_ts=first)
    page = await client.conversations_history(channel=CHANNEL, limit=1)
    assert [one["ts"] for one in page["messages"]] == [second]
    rest = await client.conversations_history(channel=CHANNEL, limit=1, cursor=page["response_metadata"]["next_cursor"])
    assert [one["ts"] for one in rest["messages"]] == [first]
    assert "metadata" not in rest["messages"][0]
    under = await client.conversations_replies(channel=CHANNEL, ts=first, include_all_metadata=True)
    assert [one["ts"] for one in under["messages"]] == [first, reply]
    assert under["messages"][0]["metadata"] == metadata
    after = await client.conversations_history(channel=CHANNEL, oldest=first)
    assert [one["ts"] for one in after["messages"]] == [second], "the boundary itself is left out"


async def test_a_direct_message_goes_to_one_person(slack: SlackLookalike, client: AsyncWebClient) -> None:
    channel = (await client.conversations_open(users="U0ANA"))["channel"]["id"]
    await post(client, channel=channel, text="for you")
    assert [one["text"] for one in slack.cards("D0ANA")] == ["for you"]
    assert slack.messages == []
    assert await refusal(client.conversations_open(users="U0NONE")) == "user_not_found"


async def test_a_file_is_shared_only_when_its_upload_is_completed(
    slack: SlackLookalike, client: AsyncWebClient
) -> None:
    ts = await post(client)
    place = await client.files_getUploadURLExternal(filename="postmortem.md", length=5)
    assert slack.thread(ts) == []
    async with aiohttp.ClientSession() as http, http.post(place["upload_url"], data=b"# Hi!") as answer:
        assert answer.status == 200
    await client.files_completeUploadExternal(
        files=[{"id": place["file_id"]}], channel_id=CHANNEL, thread_ts=ts, initial_comment="Closed."
    )
    (said,) = slack.thread(ts)
    assert (said["text"], said["files"][0]["name"], slack.files[0]["content"]) == ("Closed.", "postmortem.md", b"# Hi!")
    assert (
        await refusal(client.files_completeUploadExternal(files=[{"id": "F9"}], channel_id=CHANNEL)) == "file_not_found"
    )


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("<!channel>", "a broadcast: <!channel>"), ("<script>", "an unescaped <: '<script>'"), ("https://x.example", "links without unfurl_links=false"),
        ("x" * 4001, "text over 4,000 characters"),
    ],
)  # fmt: skip
async def test_what_a_reader_would_suffer_from_is_noted(
    slack: SlackLookalike, client: AsyncWebClient, text: str, warning: str
) -> None:
    await post(client, text=text)
    assert slack.warnings == [warning]


async def test_our_own_tokens_are_no_strays(slack: SlackLookalike, client: AsyncWebClient) -> None:
    text = "<@U0ANA> <#C0INCIDENTS> <!date^1795403611^{time}|03:13 UTC> <https://x.example|7Q4RD> &lt;!channel&gt;"
    await post(client, text=text, unfurl_links=False)
    assert slack.warnings == []


# ── what can go wrong ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "effect"),
    [("limited", 0), ("error", 0), ("refused", 0), ("dropped", 1), ("fatal", 1), ("says", 0)],
)  # fmt: skip
async def test_each_fault_has_the_effect_it_says_and_ends(
    slack: SlackLookalike, client: AsyncWebClient, kind: Any, effect: int
) -> None:
    slack.fail("chat.postMessage", kind, after=7, says="restricted_action")
    with pytest.raises((SlackApiError, aiohttp.ClientError)) as failed:
        await post(client)
    assert len(slack.messages) == effect
    answer: Any = getattr(failed.value, "response", None)
    if kind == "limited":
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    elif kind == "error":
        assert answer.status_code == 500
    elif kind in ("fatal", "says"):
        assert answer["error"] == {"fatal": "fatal_error", "says": "restricted_action"}[kind]
    await post(client)
    assert len(slack.messages) == effect + 1


@pytest.mark.parametrize(("kind", "effect"), [("silence", 0), ("slow", 1)])
async def test_slack_can_keep_silent(
    slack: SlackLookalike, client: AsyncWebClient, clock: ManualClock, kind: Any, effect: int
) -> None:
    slack.fail("chat.postMessage", kind, after=30)
    call = asyncio.create_task(post(client))
    async with asyncio.timeout(60):
        while clock.next_wake is None:
            await asyncio.sleep(0.01)
    assert not call.done()
    clock.advance(30)
    answers = await asyncio.gather(call, return_exceptions=True)
    assert isinstance(answers[0], str) == bool(effect)
    assert len(slack.messages) == effect


async def test_a_fault_can_last_and_be_for_every_method(
    slack: SlackLookalike, client: AsyncWebClient, clock: ManualClock
) -> None:
    slack.fail("*", "error", lasting=60)
    for _ in range(3):
        with pytest.raises(SlackApiError):
            await client.auth_test()
    clock.advance(60)
    assert (await client.auth_test())["team_id"] == TEAM


def test_a_fault_that_does_not_exist_is_no_fault(clock: ManualClock) -> None:
    kind: Any = "sulking"
    with pytest.raises(ValueError, match="sulking is none of limited"):
        SlackLookalike(clock).fail("*", kind)


async def test_a_paced_channel_takes_one_message_a_second(
    slack: SlackLookalike, client: AsyncWebClient, clock: ManualClock
) -> None:
    slack.paced = True
    await post(client)
    assert await refusal(post(client)) == "ratelimited"
    clock.advance(1)
    await post(client)
    assert len(slack.messages) == 2


# ── what people do ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class App:
    """An app that keeps what it was sent and answers as told."""

    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    body: str = ""
    silent: bool = False

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        if self.silent:
            await asyncio.sleep(30)
        return web.Response(text=self.body)

    def payload(self) -> Any:
        return json.loads(parse_qs(self.got[-1][1].decode())["payload"][0])


@pytest.fixture
async def app(slack: SlackLookalike) -> AsyncIterator[App]:
    made, server = App(), web.Application()
    server.router.add_post("/slack/events", made.take)
    runner = web.AppRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    slack.request_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    yield made
    await runner.cleanup()


async def test_a_click_is_signed_says_what_was_shown_and_who_pressed(
    slack: SlackLookalike, client: AsyncWebClient, app: App, clock: ManualClock
) -> None:
    ts = await post(client, blocks=CARD)
    assert (await slack.click("U0ANA", "approve")).error == ""
    headers, body = app.got[0]
    assert genuine(slack.signing_secret, headers, body, clock.now())
    found = app.payload()
    assert (found["user"]["id"], found["user"]["team_id"], found["team"]["id"]) == ("U0ANA", TEAM, TEAM)
    assert found["container"] == {"type": "message", "message_ts": ts, "channel_id": CHANNEL, "is_ephemeral": False}
    assert [(one["action_id"], one["value"], one["block_id"]) for one in found["actions"]] == [("approve", "v", "acts")]


@pytest.mark.parametrize("forged", [{"secret": "another"}, {"age": 301}])
async def test_a_forged_or_old_click_does_not_prove_itself(
    slack: SlackLookalike, client: AsyncWebClient, app: App, clock: ManualClock, forged: dict[str, Any]
) -> None:
    await post(client, blocks=CARD)
    await slack.click("U0ANA", "approve", **forged)
    headers, body = app.got[0]
    assert not genuine(slack.signing_secret, headers, body, clock.now())


async def test_an_old_screen_can_still_be_pressed_and_a_replay_is_the_same_bytes(
    slack: SlackLookalike, client: AsyncWebClient, app: App
) -> None:
    ts = await post(client, blocks=CARD)
    await client.chat_update(channel=CHANNEL, ts=ts, text="over", blocks=SECTION)
    await slack.click("U0ANA", "approve")
    assert app.payload()["actions"][0]["value"] == "v"
    await slack.replay()
    assert app.got[0][1] == app.got[1][1]
    assert app.got[0][0]["X-Slack-Signature"] == app.got[1][0]["X-Slack-Signature"]


async def test_past_three_seconds_a_person_sees_a_fault(
    slack: SlackLookalike, client: AsyncWebClient, app: App, clock: ManualClock
) -> None:
    await post(client, blocks=CARD)
    app.silent = True
    click = asyncio.create_task(slack.click("U0ANA", "approve"))
    async with asyncio.timeout(60):
        while not app.got:
            await asyncio.sleep(0.01)
    clock.advance(3)
    assert (await click).error == "operation_timeout"


async def test_an_answer_to_a_command_is_seen_by_who_typed_it(slack: SlackLookalike, app: App) -> None:
    app.body = "Nothing is open."
    await slack.slash("U0ANA", "list")
    assert parse_qs(app.got[0][1].decode())["text"] == ["list"]
    assert [one["text"] for one in slack.ephemerals("U0ANA")] == ["Nothing is open."]
    assert slack.messages == []


async def test_an_option_of_a_menu_says_which_was_picked(
    slack: SlackLookalike, client: AsyncWebClient, app: App
) -> None:
    options = [{"text": {"type": "plain_text", "text": word}, "value": f"{word}.v"} for word in ("edit", "snooze")]
    await post(
        client,
        blocks=[{"type": "actions", "elements": [{"type": "overflow", "action_id": "more", "options": options}]}],
    )
    await slack.pick("U0ANA", "snooze")
    (action,) = app.payload()["actions"]
    assert (action["type"], action["action_id"], action["selected_option"]["value"]) == ("overflow", "more", "snooze.v")
    with pytest.raises(LookupError):
        await slack.pick("U0ANA", "drop_table")


async def test_each_kind_of_field_comes_back_as_slack_gives_it(
    slack: SlackLookalike, client: AsyncWebClient, app: App
) -> None:
    option: dict[str, Any] = {"text": {"type": "plain_text", "text": "40"}, "value": "40"}
    kinds: dict[str, dict[str, Any]] = {
        "typed": {"type": "plain_text_input", "initial_value": "known"}, "to": {"type": "users_select"}, "at": {"type": "timepicker"},
        "version": {"type": "radio_buttons", "options": [option]}, "menu": {"type": "static_select", "options": [option], "initial_option": option},
    }  # fmt: skip
    blocks = [
        {**VIEW["blocks"][0], "block_id": name, "element": {**one, "action_id": "field"}} for name, one in kinds.items()
    ]
    await client.views_open(trigger_id=slack.triggers.make("U0ANA"), view={**VIEW, "blocks": blocks})
    (view,) = slack.views.values()
    await slack.submit_view("U0ANA", view["id"], {"to": "U0PRIYA", "at": "08:00", "version": "40"})
    values = app.payload()["view"]["state"]["values"]
    assert {name: {k: v for k, v in one["field"].items() if k != "type"} for name, one in values.items()} == {
        "typed": {"value": "known"}, "to": {"selected_user": "U0PRIYA"}, "at": {"selected_time": "08:00"},
        "version": {"selected_option": {**option, "text": {**option["text"], "emoji": True}}},
        "menu": {"selected_option": {**option, "text": {**option["text"], "emoji": True}}},
    }  # fmt: skip


async def test_a_bot_says_which_app_it_is_of(client: AsyncWebClient) -> None:
    bot = (await client.auth_test())["bot_id"]
    assert (await client.bots_info(bot=bot))["bot"]["app_id"] == "A0LASTGOOD"
    assert await refusal(client.bots_info(bot="B0OTHER")) == "bot_not_found"


async def test_a_dialog_opens_once_within_three_seconds_of_a_press(
    slack: SlackLookalike, client: AsyncWebClient, clock: ManualClock
) -> None:
    assert await refusal(client.views_open(trigger_id="9.U0ANA", view=VIEW)) == "invalid_trigger_id"
    trigger = slack.triggers.make("U0ANA")
    await client.views_open(trigger_id=trigger, view=VIEW)
    assert await refusal(client.views_open(trigger_id=trigger, view=VIEW)) == "exchanged_trigger_id"
    late = slack.triggers.make("U0ANA")
    clock.advance(3.1)
    assert await refusal(client.views_open(trigger_id=late, view=VIEW)) == "expired_trigger_id"


async def test_a_dialog_closes_unless_the_app_finds_a_fault_in_its_inputs(
    slack: SlackLookalike, client: AsyncWebClient, app: App
) -> None:
    await client.views_open(trigger_id=slack.triggers.make("U0ANA"), view=VIEW)
    app.body = json.dumps({"response_action": "errors", "errors": {"why": "Say more."}})
    assert (await slack.submit("U0ANA", "no")).error == ""
    assert len(slack.views) == 1
    app.body = json.dumps({"response_action": "errors", "errors": {"elsewhere": "x"}})
    assert (await slack.submit("U0ANA", "no")).error == "errors names a block that is no input"
    app.body = '{"hello": 1}'
    assert (await slack.submit("U0ANA", "no")).error == "We had some trouble connecting"
    app.body = ""
    assert (await slack.submit("U0ANA", "the feed is late")).error == ""
    assert app.payload()["view"]["state"]["values"]["why"]["text"]["value"] == "the feed is late"
    assert slack.views == {}


async def test_a_response_address_is_good_for_five_answers_in_half_an_hour(
    slack: SlackLookalike, clock: ManualClock
) -> None:
    async def answers(url: str) -> int:
        async with aiohttp.ClientSession() as http, http.post(url, json={"text": "x"}) as answer:
            return answer.status

    url = slack.response_urls.make(slack, "U0ANA", CHANNEL)
    assert [await answers(url) for _ in range(6)] == [200] * 5 + [404]
    late = slack.response_urls.make(slack, "U0ANA", CHANNEL)
    clock.advance(1801)
    assert await answers(late) == 404


# ── over a socket ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_socket_needs_a_ticket_and_every_envelope_an_answer(
    slack: SlackLookalike, client: AsyncWebClient
) -> None:
    client.token = slack.app_token
    url = str((await client.apps_connections_open(app_token=slack.app_token))["url"])
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
        assert (await socket.receive_json())["type"] == "hello"
        call = asyncio.create_task(slack.slash("U0ANA", "help"))
        envelope = await socket.receive_json(timeout=5)
        assert (envelope["type"], envelope["payload"]["text"]) == ("slash_commands", "help")
        await socket.send_json({"envelope_id": envelope["envelope_id"], "payload": {"text": "Hi."}})
        assert (await call).body == '{"text": "Hi."}'
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(url)


async def test_a_frozen_socket_takes_nothing_and_says_nothing(
    slack: SlackLookalike, client: AsyncWebClient, clock: ManualClock
) -> None:
    client.token = slack.app_token
    url = str((await client.apps_connections_open(app_token=slack.app_token))["url"])
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
        await socket.receive_json()
        slack.socket.freeze()
        call = asyncio.create_task(slack.slash("U0ANA", "help"))
        async with asyncio.timeout(60):
            while clock.next_wake is None:
                await asyncio.sleep(0.01)
        clock.advance(3)
        assert (await call).error == "operation_timeout"


def test_the_cast_is_whom_the_story_needs(clock: ManualClock) -> None:
    slack = SlackLookalike(clock)
    assert slack.users["U0GIL"]["is_restricted"]
    assert not slack.users["U0ANA"]["is_restricted"]
    assert BOT in slack.channels[CHANNEL].members
    slack.add_stranger("U0EVE", "Eve Gray", "T0OTHER")
    assert (slack.users["U0EVE"]["team_id"], slack.users["U0EVE"]["is_stranger"]) == ("T0OTHER", True)
