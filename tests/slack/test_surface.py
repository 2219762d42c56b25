"""What is posted, changed and found again, and what each of Slack's answers means to the publisher."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp
import jinja2
import pytest
from aiohttp import web
from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import START, ManualClock
from bot.demo.slack import CHANNEL, SlackLookalike
from bot.domain import entries as e
from bot.domain.incident import Incident
from bot.domain.model import Model
from bot.domain.orders import SWITCH, Orders, Switched
from bot.domain.roles import Role
from bot.errors import Gone, Indeterminate, RateLimited, Unavailable, Unpublishable
from bot.ports import Document, Message, Posted
from bot.slack.directory import SlackDirectory
from bot.slack.surface import SlackMessage, SlackSurface, looks
from bot.slack.wire import PlaceRefused
from tests.slack.notes import Notes
from tests.slack.stories import (
    AGAIN,
    ANA,
    CLEARED,
    GLASS,
    MOVED,
    PLAN,
    PRIYA,
    RECOVERED,
    STORIES,
    ULID,
    VOIDED,
    WAITING,
    WHY,
    incident,
    recorded,
)  # fmt: skip

ROLES = {"on-call SRE": Role(usergroups=("S0ONCALL",)), "model owner": Role(members=("U0PRIYA", "U0GIL"))}
KEY = f"{ULID}.1.card"


class Renderer:
    async def postmortem(self, incident: Incident, entries: Sequence[e.Recorded], template: str) -> Document:
        return Document("Q4RD0", f"# {incident.model}", "<h1>")


OWNED = Model.model_validate(
    {"owner": {"usergroup": "S0FRAUD"}, "environments": {"prod": {"targets": {"route": {"adapter": "envoy"}}}}}
)


async def typed(refs: Sequence[str]) -> dict[str, str]:
    return {ref: WHY[ref] for ref in refs if ref in WHY}


def surface_of(
    client: AsyncWebClient, clock: ManualClock, *, renderer: Any = None, pages: bool = True, log: Any = None, channel: str = CHANNEL,
    **more: Any,
) -> SlackSurface:  # fmt: skip
    directory = SlackDirectory(client, clock, "")
    return SlackSurface(
        client, channel, "https://lastgood.example", directory, ROLES, renderer or Renderer(), directory.name, pages=pages,
        models={"fraud-scorer": OWNED}, said=typed, clock=clock, log=log, **more,
    )  # fmt: skip


@pytest.fixture
def surface(client: AsyncWebClient, clock: ManualClock) -> SlackSurface:
    return surface_of(client, clock)


async def messages(surface: SlackSurface, entries: Sequence[e.Entry]) -> dict[str, Message]:
    shown = await surface.messages(incident(entries), recorded(entries), late_since=None)
    return {one.kind: one for one in shown}


async def test_the_first_post_calls_who_can_fill_each_place_and_an_update_does_not(
    surface: SlackSurface, slack: SlackLookalike
) -> None:
    card = (await messages(surface, WAITING))["card"]
    posted = await surface.post(card, KEY, None)
    need = str(slack.cards()[0]["blocks"])
    assert "☐ on-call SRE: <@U0ANA> or <@U0TOM> can" in need
    assert "☐ model owner: <@U0PRIYA> can" in need, "Gil is a guest and cannot"
    await surface.update(card, KEY, posted)
    assert "<@" not in str(slack.cards()[0]["blocks"])
    assert "☐ on-call SRE: Ana Ruiz or Tom Becker can" in str(slack.cards()[0]["blocks"])


async def test_a_role_for_another_model_names_nobody(client: AsyncWebClient, clock: ManualClock) -> None:
    directory = SlackDirectory(client, clock, "")
    roles = {name: role.but(models=("ranker-*",)) for name, role in ROLES.items()}
    surface = SlackSurface(client, CHANNEL, "https://x.example", directory, roles, Renderer(), directory.name)
    assert "nobody could be named" in str((await messages(surface, WAITING))["card"].payload)


async def test_the_owner_is_on_the_card(surface: SlackSurface) -> None:
    assert "*Owner*\nPriya Shah or Mika Lind" in [
        one["text"] for one in (await messages(surface, WAITING))["card"].payload["blocks"][2]["fields"]
    ]


async def test_a_reason_somebody_typed_is_quoted(surface: SlackSurface) -> None:
    assert 'Priya Shah says: "42 is fine, the feed is late."' in str(
        (await messages(surface, STORIES["stuck-rejected"]))["card"].payload
    )


async def test_names_are_waited_for_until_the_card_is_late(surface: SlackSurface, slack: SlackLookalike) -> None:
    slack.fail("users.info", "error", times=100)
    with pytest.raises(Unavailable):
        await surface.messages(incident(WAITING), recorded(WAITING), late_since=None)
    shown = await surface.messages(incident(WAITING), recorded(WAITING), late_since=START)
    assert "nobody could be named" in str(shown[0].payload)


async def test_an_older_answer_is_better_than_no_name(
    surface: SlackSurface, slack: SlackLookalike, clock: ManualClock
) -> None:
    before = (await messages(surface, WAITING))["card"]
    clock.advance(300)
    slack.fail("users.info", "error", times=100)
    slack.fail("usergroups.users.list", "limited", times=100)
    assert (await messages(surface, WAITING))["card"].looks == before.looks


async def test_a_restart_does_not_turn_names_into_ids(surface: SlackSurface) -> None:
    assert "on-call SRE: Ana Ruiz approved" in str((await messages(surface, STORIES["waiting-1"]))["card"].payload)


async def test_three_replies_in_a_whole_life(surface: SlackSurface) -> None:
    assert list(await messages(surface, CLEARED)) == ["card"]
    assert list(await messages(surface, MOVED)) == ["card", "thread.started"]
    assert list(await messages(surface, RECOVERED)) == ["card", "thread.started", "thread.verified"]
    closed = await messages(surface, STORIES["closed-recovered"])
    assert list(closed) == ["card", "thread.started", "thread.verified", "thread.closed"]
    assert closed["thread.closed"].attachment is not None
    assert "postmortem" in closed["thread.closed"].payload["text"]
    assert "Ana Ruiz (on-call SRE) and Priya Shah (model owner) approved." in closed["thread.started"].payload["text"]


async def test_broken_glass_calls_the_owner_once_in_thread_and_channel(
    surface: SlackSurface, slack: SlackLookalike
) -> None:
    shown = await messages(surface, STORIES["glass"])
    card = await surface.post(shown["card"], KEY, None)
    assert "<!subteam" not in str(shown["card"].payload), "the card itself wakes nobody"
    kind = next(kind for kind in shown if kind.startswith("thread.glass"))
    await surface.post(shown[kind], f"{ULID}.1.{kind}", card)
    (said,) = slack.thread(card.ts)
    assert said["text"].startswith("<!subteam^S0FRAUD> Ana Ruiz broke the glass as commander <!date^")
    assert '42 → 41. Ana Ruiz says: "42 is fine, the feed is late."' in said["text"]
    assert "Somebody else reviews it by <!date^1795486320^{date_short_pretty} {time}|24 Nov 02:12 UTC>." in said["text"]
    assert [one["text"] for one in slack.channel_view(CHANNEL, "U0TOM")[1:]] == [said["text"]], (
        "the channel sees it too"
    )


@pytest.mark.parametrize(
    ("owner", "called"),
    [
        ("member U0PRIYA", "<@U0PRIYA> Ana"), ("U0PRIYA", "<@U0PRIYA> Ana"), ("usergroup S0FRAUD", "<!subteam^S0FRAUD> Ana"),
        ("escalation_policy PUS0KTE", "Ana Ruiz"), ("", "Ana Ruiz"), ("usergroup S0> <!channel", "Ana Ruiz"),
    ],
)  # fmt: skip
async def test_only_a_member_or_a_group_is_called(surface: SlackSurface, owner: str, called: str) -> None:
    shown = await messages(surface, (*WAITING, GLASS.but(owner=owner)))
    text = next(one.payload["text"] for kind, one in shown.items() if kind.startswith("thread.glass"))
    assert text.startswith(called)
    assert "<!channel" not in text


async def test_a_rollback_behind_broken_glass_and_its_review_are_said_beside_the_usual_three(
    surface: SlackSurface,
) -> None:
    kinds = list(await messages(surface, STORIES["glass-reviewed"]))
    assert [kind.rstrip("0123456789.") for kind in kinds] == [
        "card", "thread.glass", "thread.started", "thread.verified", "thread.reviewed", "thread.closed",
    ]  # fmt: skip
    shown = await messages(surface, STORIES["glass-reviewed"])
    assert "Ana Ruiz acts alone, glass broken." in shown["thread.started"].payload["text"]
    assert "Priya Shah reviewed the break-glass rollback." in str([one.payload for one in shown.values()])


async def test_a_loud_reply_stays_loud_when_replies_become_one(surface: SlackSurface) -> None:
    shown = await messages(surface, STORIES["glass-rolling"])
    replies = [one for kind, one in shown.items() if kind.startswith("thread.")]
    assert surface.merged(replies).payload["reply_broadcast"] is True


async def test_an_escalation_is_said_and_the_next_people_are_told_in_person(surface: SlackSurface) -> None:
    shown = await messages(surface, STORIES["waiting-page-due"])
    texts = [one.payload["text"] for kind, one in shown.items() if kind.startswith("thread.escalated")]
    assert len(texts) == 2
    assert "Nobody completed the quorum in time, so Ines Duarte (commander) is told." in texts[0]
    told = shown[f"remind.{PLAN.short}.U0INES"].payload["text"]
    assert "fraud-scorer waits for approval: 42 → 41. You are told next." in told


async def test_a_switched_off_autopilot_reaches_the_card(client: AsyncWebClient, clock: ManualClock) -> None:
    async def orders(stream: str) -> Orders:
        return Orders(stream, switched={"fraud-scorer": Switched(False, "U0INES", START)} if stream == SWITCH else {})

    surface = surface_of(client, clock, orders=orders)
    assert "Autopilot is off for fraud-scorer: " in str((await messages(surface, WAITING))["card"].payload)


async def test_who_borrowed_a_role_is_named_as_long_as_it_lasts(client: AsyncWebClient, clock: ManualClock) -> None:
    lent = e.RoleDelegated(
        role="model owner",
        person="U0PRIYA",
        to="U0MIKA",
        until=clock.now() + timedelta(hours=1),
        text_ref="t",
        via="slack",
    )

    async def orders(stream: str) -> Orders:
        return Orders(stream, lent=(lent, lent.but(to="U0GIL", person="U0NOBODY")))

    surface = surface_of(client, clock, orders=orders)
    assert "☐ model owner: Priya Shah or Mika Lind can" in need_of(await messages(surface, WAITING))
    clock.advance(3601)
    assert "☐ model owner: Priya Shah can" in need_of(await messages(surface, WAITING))


def need_of(shown: dict[str, Message]) -> str:
    blocks = shown["card"].payload["blocks"]
    return str(next(one["text"]["text"] for one in blocks if one["block_id"].endswith(".need")))


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("PagerDuty did not answer.", "PagerDuty did not answer, so not everybody can be confirmed as on-call SRE."),
        ("Slack is away, so nobody answers.", "Slack is away, so nobody answers. Not everybody can be confirmed as on-call SRE."),
    ],
)  # fmt: skip
async def test_a_source_that_did_not_answer_is_on_the_card(
    client: AsyncWebClient, clock: ManualClock, trouble: str, said: str
) -> None:
    surface = surface_of(client, clock, trouble=lambda source: trouble if source == "usergroup S0ONCALL" else "")
    assert said in need_of(await messages(surface, WAITING))


async def test_what_is_only_observed_says_so(client: AsyncWebClient, clock: ManualClock) -> None:
    surface = surface_of(client, clock, observes=lambda model: model == "fraud-scorer")
    assert "Observing fraud-scorer: " in str((await messages(surface, WAITING))["card"].payload)


async def test_several_overdue_replies_become_one(surface: SlackSurface) -> None:
    closed = await messages(surface, STORIES["closed-recovered"])
    one = surface.merged([closed["thread.started"], closed["thread.verified"], closed["thread.closed"]])
    assert one.kind == "thread.closed"
    assert one.attachment is not None
    assert len(one.payload["text"].splitlines()) == 3


async def test_a_card_is_posted_marked_and_found_again(surface: SlackSurface, slack: SlackLookalike) -> None:
    posted = await surface.post((await messages(surface, WAITING))["card"], KEY, None)
    assert slack.cards()[0]["metadata"] == {
        "event_type": "lastgood_card", "event_payload": {"key": KEY, "incident": ULID},
    }  # fmt: skip
    assert await surface.find(KEY, START, None) == [posted]
    assert await surface.find("another", START, None) == []
    assert slack.warnings == []


async def test_a_reply_is_found_in_its_thread(surface: SlackSurface) -> None:
    shown = await messages(surface, MOVED)
    card = await surface.post(shown["card"], KEY, None)
    reply = await surface.post(shown["thread.started"], f"{ULID}.1.thread.started", card)
    assert await surface.find(f"{ULID}.1.thread.started", START, card) == [reply]


async def test_a_card_changes_in_place(surface: SlackSurface, slack: SlackLookalike) -> None:
    posted = await surface.post((await messages(surface, WAITING))["card"], KEY, None)
    await surface.update((await messages(surface, MOVED))["card"], KEY, posted)
    assert len(slack.cards()) == 1
    assert "Verifying" in slack.cards()[0]["text"]


async def test_a_duplicate_is_taken_away(surface: SlackSurface, slack: SlackLookalike) -> None:
    card = (await messages(surface, WAITING))["card"]
    first, second = await surface.post(card, KEY, None), await surface.post(card, KEY, None)
    assert await surface.find(KEY, START, None) == [first, second]
    await surface.delete(second)
    assert len(slack.cards()) == 1


CLOSED_KEY = f"{ULID}.1.thread.closed"


async def closed_thread(surface: SlackSurface) -> tuple[Message, Posted]:
    shown = await messages(surface, STORIES["closed-recovered"])
    return shown["thread.closed"], await surface.post(shown["card"], KEY, None)


async def test_the_postmortem_and_the_last_words_are_one_post(surface: SlackSurface, slack: SlackLookalike) -> None:
    message, card = await closed_thread(surface)
    await surface.post(message, CLOSED_KEY, card)
    assert slack.files[0]["content"] == b"# fraud-scorer"
    (said,) = slack.thread(card.ts)
    assert said["files"][0]["name"] == "postmortem-Q4RD0.md"
    assert "/postmortem|The postmortem draft>" in said["text"]
    assert [one.ts for one in await surface.find(CLOSED_KEY, START, card)] == [said["ts"]]


async def test_without_pages_the_last_words_carry_no_link(client: AsyncWebClient, clock: ManualClock) -> None:
    text = (await messages(surface_of(client, clock, pages=False), STORIES["closed-recovered"]))[
        "thread.closed"
    ].payload["text"]
    assert "http" not in text
    assert "`lastgood postmortem Q4RD0`" in text


async def test_a_workspace_without_files_still_gets_the_words(
    client: AsyncWebClient, clock: ManualClock, slack: SlackLookalike
) -> None:
    notes = Notes()
    surface = surface_of(client, clock, log=notes)
    message, card = await closed_thread(surface)
    slack.scopes -= {"files:write"}
    await surface.post(message, CLOSED_KEY, card)
    assert "`lastgood postmortem Q4RD0`" in slack.thread(card.ts)[0]["text"]
    assert "files:write" in str(notes.lines)


@pytest.mark.parametrize(
    ("method", "kind", "error"),
    [
        ("files.getUploadURLExternal", "error", Indeterminate), ("files.getUploadURLExternal", "limited", RateLimited),
        ("files.completeUploadExternal", "dropped", Indeterminate), ("files.completeUploadExternal", "limited", RateLimited),
    ],
)  # fmt: skip
async def test_a_file_in_trouble_is_tried_again(
    surface: SlackSurface, slack: SlackLookalike, method: str, kind: Any, error: type[Exception]
) -> None:
    message, card = await closed_thread(surface)
    slack.fail(method, kind)
    with pytest.raises(error):
        await surface.post(message, CLOSED_KEY, card)
    assert len(await surface.find(CLOSED_KEY, START, card)) == (kind == "dropped")


class Broken:
    async def postmortem(self, incident: Incident, entries: Sequence[e.Recorded], template: str) -> Document:
        raise jinja2.UndefinedError("'blame' is undefined")


async def test_a_broken_template_is_said_and_stops_nothing(client: AsyncWebClient, clock: ManualClock) -> None:
    notes = Notes()
    shown = await messages(surface_of(client, clock, renderer=Broken(), log=notes), STORIES["closed-recovered"])
    text = shown["thread.closed"].payload["text"]
    assert "the template `postmortem.md.j2` cannot be rendered" in text
    assert "'blame' is undefined" in text
    assert shown["thread.closed"].attachment is None
    assert [event for event, _ in notes.lines] == ["postmortem.broken"]


# ── reminders ─────────────────────────────────────────────────────────────────────────────────────────────────────

REMINDED = STORIES["waiting-reminded"]
REMIND_KEY = f"{ULID}.1.remind.{PLAN.short}.U0PRIYA"


async def test_a_reminder_is_a_direct_message_without_a_vote_that_leads_to_the_card(
    surface: SlackSurface, slack: SlackLookalike
) -> None:
    shown = await messages(surface, REMINDED)
    card = await surface.post(shown["card"], KEY, None)
    posted = await surface.post(shown[f"remind.{PLAN.short}.U0PRIYA"], REMIND_KEY, card)
    (told,) = slack.cards(posted.channel)
    assert posted.channel == "D0PRIYA"
    assert "waits for *your* approval as model owner: 42 → 41." in told["text"]
    assert "Ana Ruiz approved." in told["text"]
    assert [one["action_id"] for one in told["blocks"][1]["elements"]] == ["open_card"]
    assert card.ts.replace(".", "") in told["blocks"][1]["elements"][0]["url"]
    assert await surface.find(REMIND_KEY, START, card) == [posted]
    assert slack.warnings == []


async def test_whoever_has_voted_is_not_reminded(surface: SlackSurface) -> None:
    entries = (*WAITING, e.Reminded(plan=PLAN.id, people=("U0ANA", "U0PRIYA")), ANA)
    assert [kind for kind in await messages(surface, entries) if kind.startswith("remind.")] == [
        f"remind.{PLAN.short}.U0PRIYA"
    ]


async def test_nobody_is_reminded_of_a_plan_that_is_over(surface: SlackSurface) -> None:
    for entries in ((*REMINDED, VOIDED, *AGAIN), (*REMINDED, PRIYA), STORIES["stuck-rejected"]):
        assert [kind for kind in await messages(surface, entries) if kind.startswith("remind.")] == []


# ── many at once ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_more_than_twenty_cards_in_a_minute_are_announced_once(
    surface: SlackSurface, slack: SlackLookalike, clock: ManualClock
) -> None:
    card = (await messages(surface, WAITING))["card"]
    for n in range(30):
        await surface.post(card, f"{ULID[:-2]}{n:02}.1.card", None)
    said = [one["text"] for one in slack.cards() if "More than 20 incidents" in one["text"]]
    assert len(said) == 1
    assert len(slack.cards()) == 31, "each still gets its card"
    assert slack.cards()[20]["text"] == said[0], "before the card that made it a crowd"
    clock.advance(61)
    await surface.post(card, KEY, None)
    assert len(slack.cards()) == 32


async def test_after_a_429_new_messages_take_turns_and_nothing_is_sent_before(
    surface: SlackSurface, slack: SlackLookalike, clock: ManualClock
) -> None:
    card = (await messages(surface, WAITING))["card"]
    slack.fail("chat.postMessage", "limited", after=7)
    with pytest.raises(RateLimited):
        await surface.post(card, "A.1.card", None)
    with pytest.raises(RateLimited) as waits:
        await surface.post(card, "B.1.card", None)
    assert waits.value.retry_after >= 7
    assert slack.calls["chat.postMessage"] == 1
    clock.advance(7)
    await surface.post(card, "B.1.card", None)
    with pytest.raises(RateLimited):
        await surface.post(card, "A.1.card", None)
    clock.advance(1)
    await surface.post(card, "A.1.card", None)


# ── what Slack answers ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_lost_answer_is_indeterminate_and_nothing_is_sent_twice(
    surface: SlackSurface, slack: SlackLookalike
) -> None:
    slack.fail("chat.postMessage", "dropped")
    with pytest.raises(Indeterminate):
        await surface.post((await messages(surface, WAITING))["card"], KEY, None)
    assert slack.calls["chat.postMessage"] == 1
    assert len(await surface.find(KEY, START, None)) == 1


async def test_an_error_of_theirs_is_indeterminate(surface: SlackSurface, slack: SlackLookalike) -> None:
    slack.fail("chat.postMessage", "error")
    with pytest.raises(Indeterminate):
        await surface.post((await messages(surface, WAITING))["card"], KEY, None)


async def test_a_rate_limit_says_how_long(surface: SlackSurface, slack: SlackLookalike) -> None:
    slack.fail("chat.postMessage", "limited", after=7)
    with pytest.raises(RateLimited) as refused:
        await surface.post((await messages(surface, WAITING))["card"], KEY, None)
    assert refused.value.retry_after == 7


async def test_nothing_was_sent_when_nobody_listens(clock: ManualClock) -> None:
    async with aiohttp.ClientSession() as session:
        client = AsyncWebClient(token="x", base_url="http://127.0.0.1:9/api/", session=session, retry_handlers=[])
        with pytest.raises(Unavailable):
            await surface_of(client, clock).delete(Posted(CHANNEL, "1.0"))


async def test_a_deleted_card_is_gone(surface: SlackSurface) -> None:
    with pytest.raises(Gone):
        await surface.update((await messages(surface, WAITING))["card"], KEY, Posted(CHANNEL, "1.0"))


async def test_a_channel_that_is_not_there_is_unpublishable(client: AsyncWebClient, clock: ManualClock) -> None:
    directory = SlackDirectory(client, clock, "")
    elsewhere = SlackSurface(client, "C0NONE", "https://x.example", directory, ROLES, Renderer(), directory.name)
    with pytest.raises(PlaceRefused, match=r"channel_not_found\. Channel C0NONE is unknown to the bot\. Mend: "):
        await elsewhere.post((await messages(elsewhere, WAITING))["card"], KEY, None)


def broken(card: Message) -> Message:
    assert isinstance(card, SlackMessage)
    blocks = [{**card.payload["blocks"][0], "surprise": 1}]
    return replace(card, payload={**card.payload, "blocks": blocks}, first=lambda: blocks)


async def test_refused_blocks_are_posted_as_words(surface: SlackSurface, slack: SlackLookalike) -> None:
    posted = await surface.post(broken((await messages(surface, WAITING))["card"]), KEY, None)
    text = slack.cards()[0]["text"]
    assert text.startswith("Waiting, 0 of 2 approved: fraud-scorer 42")
    assert "/rollback status Q4RD0" in text
    assert await surface.find(KEY, START, None) == [posted]


async def test_refused_blocks_of_a_change_leave_no_old_buttons(surface: SlackSurface, slack: SlackLookalike) -> None:
    posted = await surface.post((await messages(surface, WAITING))["card"], KEY, None)
    await surface.update(broken((await messages(surface, MOVED))["card"]), KEY, posted)
    assert slack.cards()[0].get("blocks", []) == []
    assert slack.cards()[0]["text"].startswith("Verifying")


Answer = tuple[int, dict[str, str], str]


class Scripted:
    """A server that gives the answers it was told, in order."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[dict[str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        status, headers, body = self.answers.pop(0)
        return web.Response(status=status, headers={"Content-Type": "application/json", **headers}, text=body)


@pytest.fixture
async def scripted(clock: ManualClock) -> AsyncIterator[tuple[Scripted, SlackSurface]]:
    script, app = Scripted(), web.Application()
    app.router.add_route("*", "/api/{method}", script.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/"
        yield script, surface_of(AsyncWebClient(token="x", base_url=url, session=session, retry_handlers=[]), clock)
    await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, '{"ok":false,"error":"fatal_error"}', Indeterminate),
        (200, '{"ok":false,"error":"internal_error"}', Indeterminate),
        (503, '{"ok":false,"error":"service_unavailable"}', Indeterminate),
        (502, "<html>", Indeterminate),
        (200, "{not json", Indeterminate),
        (200, '{"ok":false,"error":"ratelimited"}', RateLimited),
        (429, "", RateLimited),
        (200, '{"ok":false,"error":"message_not_found"}', Gone),
        (200, '{"ok":false,"error":"is_archived"}', Unpublishable),
        (200, '{"ok":false,"error":"cant_update_message"}', Unpublishable),
        (200, '{"ok":false,"error":"invalid_blocks","response_metadata":null}', Unpublishable),
    ],
)  # fmt: skip
async def test_each_answer_has_one_meaning(
    scripted: tuple[Scripted, SlackSurface], status: int, body: str, error: type[Exception]
) -> None:
    script, surface = scripted
    script.answers = [(status, {}, body)]
    with pytest.raises(error):
        await surface.delete(Posted(CHANNEL, "1.0"))


async def test_a_retry_after_that_is_no_number_is_one_second(scripted: tuple[Scripted, SlackSurface]) -> None:
    script, surface = scripted
    script.answers = [(429, {"Retry-After": "soon"}, '{"ok":false,"error":"ratelimited"}')]
    with pytest.raises(RateLimited) as refused:
        await surface.delete(Posted(CHANNEL, "1.0"))
    assert refused.value.retry_after == 1


async def test_a_busy_channel_is_looked_through_page_by_page(scripted: tuple[Scripted, SlackSurface]) -> None:
    script, surface = scripted

    def row(ts: str, kind: str) -> dict[str, Any]:
        return {"ts": ts, "metadata": {"event_type": kind, "event_payload": {"key": "k"}}}

    newer = {"messages": [{"ts": "3.0"}, row("2.0", "lastgood_card")], "response_metadata": {"next_cursor": "p2"}}
    older = {"messages": [row("1.0", "lastgood_card"), row("1.5", "of_another_app")]}
    script.answers = [(200, {}, json.dumps({"ok": True, **page})) for page in (newer, older)]
    assert [one.ts for one in await surface.find("k", START, None)] == ["1.0", "2.0"]
    assert script.asked[1]["cursor"] == "p2"


async def test_a_card_that_differs_only_in_its_ids_looks_the_same(surface: SlackSurface) -> None:
    a, b = (await messages(surface, STORIES["waiting-1"]))["card"], (await messages(surface, MOVED))["card"]
    renamed = {**a.payload, "blocks": [{**block, "block_id": "x"} for block in a.payload["blocks"]]}
    assert looks(renamed) == a.looks
    assert a.looks != b.looks
