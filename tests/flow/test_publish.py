"""Surfaces follow the timeline: whatever the way there does, afterwards there is one card that shows what is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, cast

import aiohttp
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import START, ManualClock
from bot.demo.slack import CHANNEL, SlackLookalike
from bot.domain import entries as e
from bot.domain.incident import Incident
from bot.domain.roles import Role
from bot.errors import Gone, Indeterminate, RateLimited, Unavailable, Unpublishable
from bot.flow.publish import LATE, LOOK_AGAIN, PACE, card_number, publish
from bot.flow.world import FIRST, Folds, World
from bot.ids import CountingIds
from bot.ports import Document, Message, Posted, Shown
from bot.slack.directory import SlackDirectory
from bot.slack.surface import SlackSurface
from tests.flow.fakes import Memory
from tests.slack.notes import Notes
from tests.slack.stories import (
    AGAIN,
    ANA,
    CLAIM,
    CLEARED,
    MADE,
    PLAN,
    STORIES,
    STREAM,
    VOIDED,
    WAITING,
    WELL,
    alert,
    decided,
    opened,
    recorded,
    sampled,
)  # fmt: skip


class Crash(Exception):
    """The process ends here."""


@dataclass
class Table:
    """The records of what was posted; `crash` makes the process end before or after a save."""

    rows: dict[tuple[str, str, int], Shown] = field(default_factory=dict)
    saves: int = 0
    crash: tuple[int, bool] | None = None  # at which save, and whether it was written

    async def shown(self, stream: str) -> list[Shown]:
        return [row for row in self.rows.values() if row.stream == stream]

    async def save(self, shown: Shown) -> None:
        self.saves += 1
        dies = self.crash is not None and self.saves == self.crash[0]
        if not dies or (self.crash is not None and self.crash[1]):
            self.rows[shown.stream, shown.kind, shown.episode] = shown
        if dies:
            raise Crash

    async def posted_at(self, channel: str, ts: str) -> Shown | None:
        return next((row for row in self.rows.values() if (row.channel, row.ts) == (channel, ts)), None)

    def row(self, kind: str = "card") -> Shown:
        return next(row for row in self.rows.values() if row.kind == kind)


@dataclass
class Wall:
    """A surface in memory; `answers` are raised before or after the effect, in order."""

    kind: ClassVar[str] = "wall"
    said: dict[str, list[str]] = field(default_factory=dict)  # key -> texts, newest last
    answers: list[tuple[Exception, bool]] = field(default_factory=list)  # and whether the effect happened
    calls: list[str] = field(default_factory=list)
    want: list[Message] = field(default_factory=list)
    late: list[datetime | None] = field(default_factory=list)
    hidden: bool = False  # what was said cannot be found yet

    def lane_of(self, stream: str) -> str:
        return "wall"

    async def messages(
        self, incident: Incident, entries: Sequence[e.Recorded], *, late_since: datetime | None
    ) -> list[Message]:
        self.late.append(late_since)
        return self.want or [Message("card", {"text": f"{incident.phase} {len(entries)}"}, editable=True)]

    def merged(self, messages: Sequence[Message]) -> Message:
        return replace(messages[-1], payload={"text": "+".join(one.payload["text"] for one in messages)})

    def _answer(self, call: str, key: str, text: str) -> None:
        self.calls.append(f"{call} {key.partition('.')[2]}")
        error, happens = self.answers.pop(0) if self.answers else (None, True)
        if happens:
            self.said.setdefault(key, []).append(text)
        if error is not None:
            raise error

    async def post(self, message: Message, key: str, thread: Posted | None) -> Posted:
        self._answer("post", key, message.payload["text"])
        return Posted("W", key)

    async def update(self, message: Message, key: str, where: Posted) -> None:
        self._answer("update", key, message.payload["text"])

    async def find(self, key: str, since: datetime, thread: Posted | None) -> list[Posted]:
        self.calls.append(f"find {key.partition('.')[2]}")
        return [Posted("W", key)] if key in self.said and not self.hidden else []

    async def delete(self, where: Posted) -> None:
        self.calls.append("delete")


class Renderer:
    async def postmortem(self, incident: Incident, entries: Sequence[e.Recorded], template: str) -> Document:
        return Document("postmortem", "# what happened", "<h1>")


class Place:
    """One incident, its timeline, one surface, and a clock that stands still."""

    def __init__(self, surface: Any, clock: ManualClock | None = None, table: Table | None = None) -> None:
        self.clock, self.notes, self.surface = clock or ManualClock(), Notes(), surface
        self.memory, self.table = Memory(self.clock), table or Table()
        absent = cast("Any", None)
        self.world = World(
            timeline=self.memory, inbox=self.memory, work=absent, shown=self.table, clock=self.clock, ids=CountingIds(), log=self.notes,
            catalogue=absent, sources={}, targets={}, metrics={}, directory=absent, surfaces=(surface,), renderer=Renderer(),
            folds=Folds(self.memory), executor="test",
        )  # fmt: skip

    def put(self, *entries: e.Entry) -> None:
        for entry in entries:
            self.memory.put(STREAM, entry)

    async def look(self) -> float | None:
        """Publish once; give the seconds until it wants to be called again."""
        again = await publish(STREAM, self.surface, self.world)
        return (again - self.clock.now()).total_seconds() if again is not None else None

    async def settle(self, most: int = 60) -> None:
        for _ in range(most):
            wait = await self.look()
            if wait is None:
                return
            self.clock.advance(max(wait, 0))
        pytest.fail("it never comes to rest")


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def place(wall: Wall) -> Place:
    return Place(wall)


def texts(wall: Wall) -> list[str]:
    return [found[-1] for found in wall.said.values()]


# ── one card ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_opening_the_plan_and_the_decision_are_one_first_post(place: Place, wall: Wall) -> None:
    place.put(opened())
    assert await place.look() == FIRST.total_seconds()
    place.put(MADE)
    assert await place.look() == FIRST.total_seconds()
    place.put(decided())
    assert await place.look() is None
    assert wall.calls == ["post 1.card"]


async def test_a_plan_that_takes_longer_than_a_second_is_seen_being_made(place: Place, wall: Wall) -> None:
    place.put(opened())
    place.clock.advance(1)
    assert await place.look() is None
    assert texts(wall) == ["opened 1"]


async def test_what_shows_what_is_is_left_alone(place: Place, wall: Wall) -> None:
    place.put(*WAITING)
    await place.settle()
    wall.want = [Message("card", {"text": "waiting 3"}, editable=True)]
    place.put(e.NoteAdded(person="U0ANA", text_ref="t"))
    await place.settle()
    assert wall.calls == ["post 1.card"]
    assert place.table.row().cursor == 4, "and it is known to be up to date"


async def test_changes_within_a_second_become_one_update_with_the_latest(place: Place, wall: Wall) -> None:
    place.put(*WAITING)
    await place.settle()
    for n in range(5):
        place.put(e.NoteAdded(person="U0ANA", text_ref=str(n)))
        assert await place.look() == PACE.total_seconds()
    place.clock.advance(1)
    assert await place.look() is None
    assert wall.calls == ["post 1.card", "update 1.card"]
    assert texts(wall) == ["waiting 8"]


async def test_a_lost_post_is_looked_for_three_times_before_it_is_sent_again(place: Place, wall: Wall) -> None:
    place.put(*WAITING)
    wall.answers = [(Indeterminate(), False)]
    await place.settle()
    assert wall.calls == ["post 1.card", "find 1.card", "find 1.card", "find 1.card", "post 1.card"]
    assert place.clock.now() - START >= LOOK_AGAIN[-1]


async def test_a_post_that_arrived_after_all_is_adopted(place: Place, wall: Wall) -> None:
    place.put(*WAITING)
    wall.answers = [(Indeterminate(), True)]
    await place.settle()
    assert wall.calls == ["post 1.card", "find 1.card", "update 1.card"]
    assert len(wall.said) == 1


async def test_an_update_whose_answer_was_lost_is_sent_again(place: Place, wall: Wall) -> None:
    place.put(*WAITING)
    await place.settle()
    place.put(ANA)
    place.clock.advance(1)
    wall.answers = [(Indeterminate(), False)]
    await place.settle()
    assert wall.calls == ["post 1.card", "update 1.card", "update 1.card"]
    assert texts(wall) == ["waiting 4"]


async def test_a_deleted_card_is_posted_anew(place: Place, wall: Wall) -> None:
    place.put(*WAITING)
    await place.settle()
    place.put(ANA)
    place.clock.advance(1)
    wall.answers = [(Gone(), False)]
    await place.settle()
    assert wall.calls == ["post 1.card", "update 1.card", "post 1.card"]


@pytest.mark.parametrize(("error", "wait"), [(RateLimited(retry_after=7), 7), (Unavailable(), 2)])
async def test_what_was_not_sent_is_sent_later(place: Place, wall: Wall, error: Exception, wait: float) -> None:
    place.put(*WAITING)
    wall.answers = [(error, False)]
    assert await place.look() == wait
    await place.settle()
    assert wall.calls == ["post 1.card", "post 1.card"]


# ── what a person can mend ────────────────────────────────────────────────────────────────────────────────────────


class NotIn(Unpublishable):
    """not_in_channel. Mend: /invite @Lastgood there."""

    retryable = True


async def test_a_place_that_refuses_is_logged_once_and_tried_until_it_is_mended(place: Place, wall: Wall) -> None:
    place.put(*WAITING)
    wall.answers = [(NotIn(), False)] * 5
    for _ in range(5):
        assert await place.look() == 60
        place.clock.advance(60)
    assert [one["error"] for one in place.notes.events("surface.refused")] == [
        "not_in_channel. Mend: /invite @Lastgood there."
    ]
    assert await place.look() is None
    assert texts(wall) == ["waiting 3"]
    assert wall.late[-1] == START, "and the card says that it is late"


async def test_after_a_day_a_place_that_refuses_is_left(place: Place, wall: Wall) -> None:
    place.put(*WAITING)
    wall.answers = [(NotIn(), False)] * 1000
    waits = set()
    while (wait := await place.look()) is not None:
        waits.add(wait)
        place.clock.advance(wait)
    assert waits == {60, 600}
    assert place.clock.now() - START == timedelta(days=1)
    assert len(place.notes.events("surface.refused")) == 1


async def test_a_form_that_is_refused_is_tried_again_only_when_it_changes(place: Place, wall: Wall) -> None:
    place.put(*WAITING)
    wall.answers = [(Unpublishable("msg_too_long"), False)]
    assert await place.look() is None
    assert await place.look() is None
    assert wall.calls == ["post 1.card"]
    place.put(ANA)
    place.clock.advance(1)
    await place.settle()
    assert texts(wall) == ["waiting 4"]


# ── late ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_card_is_late_when_it_has_not_followed_for_long(place: Place, wall: Wall) -> None:
    place.put(*WAITING)
    wall.answers = [(Unavailable(), False)] * 40
    while await place.look() is not None:
        place.clock.advance(2)
    assert wall.late[0] is None
    assert wall.late[-1] == START
    assert place.clock.now() - START > LATE


async def test_a_quiet_incident_is_not_late(place: Place, wall: Wall) -> None:
    place.put(*WAITING)
    await place.settle()
    place.clock.advance(3600)
    await place.settle()
    place.put(ANA)
    await place.settle()
    assert wall.late == [None] * len(wall.late)


# ── replies ───────────────────────────────────────────────────────────────────────────────────────────────────────


def thread(*kinds: str) -> list[Message]:
    card = Message("card", {"text": "card"}, editable=True)
    return [card, *(Message(f"thread.{kind}", {"text": kind}, reply_to="card") for kind in kinds)]


async def test_overdue_replies_become_one_and_are_never_said_again(place: Place, wall: Wall) -> None:
    place.put(*WAITING)
    wall.want = thread("started", "verified", "closed")
    await place.settle()
    await place.settle()
    assert sorted(texts(wall)) == ["card", "started+verified+closed"]


@pytest.mark.parametrize("happened", [True, False])
async def test_a_lost_answer_to_the_one_that_says_them_all_repeats_nothing(
    place: Place, wall: Wall, *, happened: bool
) -> None:
    place.put(*WAITING)
    wall.want = thread("started", "verified")
    wall.answers = [(Indeterminate(), happened)]
    wall.want, rest = wall.want[:1], wall.want
    wall.answers, answers = [], wall.answers
    await place.settle()
    wall.want, wall.answers = rest, answers
    await place.look()
    wall.want = thread("started", "verified", "closed")
    await place.settle()
    said = [text for found in wall.said.values() for text in found]
    assert sorted("+".join(said).split("+")) == ["card", "closed", "started", "verified"]


async def test_a_reply_that_is_refused_does_not_hold_up_the_card(place: Place, wall: Wall) -> None:
    place.put(*WAITING)
    wall.want = thread("started")
    wall.answers = [(cast("Exception", None), True), (Unpublishable("no_text"), False)]
    await place.settle()
    assert place.table.row("thread.started").state == "skipped"
    assert place.table.row().state == "shown"


async def test_without_a_card_there_is_no_thread_and_no_endless_turn(place: Place, wall: Wall) -> None:
    place.put(*WAITING)
    wall.want = thread("started")
    wall.answers = [(Unpublishable("msg_too_long"), False)]
    assert await place.look() is None
    assert wall.calls == ["post 1.card"]


# ── relapses ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_relapse_gets_a_new_card_only_after_a_rollback() -> None:
    back = e.IncidentReopened(alerts=(alert(),), episode=2)
    itself = (*WAITING, e.IncidentClosed(outcome="recovered_by_itself", reason="Every alert ended."), back)
    assert card_number(recorded(itself)) == 1
    rolled = (*STORIES["closed-recovered"], back)
    assert card_number(recorded(rolled)) == 2
    assert card_number(recorded((*rolled, *AGAIN, VOIDED, back))) == 2


async def test_the_thread_of_a_relapse_begins_anew() -> None:
    async with real() as here:
        here.put(*STORIES["closed-recovered"])
        await here.settle()
        here.put(e.IncidentReopened(alerts=(alert(),), episode=2), *AGAIN)
        await here.settle()
        first, second = here.slack.cards()
        assert first["text"].startswith("Recovered: ")
        assert second["text"].startswith("Waiting, 0 of 2 approved: ")
        assert here.slack.thread(second["ts"]) == []


# ── over the real wire ────────────────────────────────────────────────────────────────────────────────────────────

ROLES = {"on-call SRE": Role(usergroups=("S0ONCALL",)), "model owner": Role(members=("U0PRIYA",))}


class Real(Place):
    """The same over slack-sdk and the look-alike. `restart` forgets everything that is only in memory."""

    def __init__(self, slack: SlackLookalike, clock: ManualClock, session: aiohttp.ClientSession) -> None:
        self.slack, self._session = slack, session
        super().__init__(None, clock)
        self.restart()

    def restart(self) -> None:
        client = AsyncWebClient(
            token=self.slack.bot_token, base_url=self.slack.api_url, session=self._session, retry_handlers=[]
        )
        directory = SlackDirectory(client, self.clock, "")
        self.surface = SlackSurface(
            client, CHANNEL, "", directory, ROLES, Renderer(), directory.name, clock=self.clock, log=self.notes
        )

    async def look(self) -> float | None:
        """Publish once while the clock goes on for whoever sleeps on the other side."""
        turn = asyncio.create_task(super().look())
        while not turn.done():
            await asyncio.wait({turn}, timeout=0.005)
            if not turn.done() and (wake := self.clock.next_wake) is not None:
                self.clock.advance(wake)
        return await turn


class real:  # noqa: N801  it is used like a function
    async def __aenter__(self) -> Real:
        clock = ManualClock()
        self._slack = SlackLookalike(clock)
        await self._slack.start()
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        return Real(self._slack, clock, self._session)

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._slack.stop()


async def test_a_quiet_life_takes_at_most_eight_calls() -> None:
    async with real() as here:
        quiet = [one for one in LIFE if not isinstance(one, e.Reminded)]
        for until, pause in ((3, 0), (4, 90), (9, 240), (10, 10), (11, 1), (12, 10), (13, 10), (14, 1), (15, 60)):
            here.clock.advance(pause)
            here.put(*quiet[len(here.memory.streams.get(STREAM, [])) : until])
            await here.settle()
        spent = {name: n for name, n in here.slack.calls.items() if name.startswith("chat.")}
        assert len(here.memory.streams[STREAM]) == len(quiet)
        assert sum(spent.values()) <= 8, spent
        assert_right(here)


async def test_an_archived_channel_costs_one_line_and_the_card_comes_when_it_is_back() -> None:
    async with real() as here:
        here.slack.archive()
        here.put(*LIFE)
        for _ in range(3):
            assert await here.look() == 60
            here.clock.advance(60)
        (line,) = here.notes.events("surface.refused")
        assert "Mend: unarchive it, or name another as slack.channel." in str(line["error"])
        here.slack.archive(archived=False)
        await here.settle()
        assert_right(here)
        assert here.slack.cards()[0]["blocks"][0]["elements"][0]["text"].startswith("Posted late: ")


async def test_a_revoked_token_costs_one_line_and_the_card_comes_with_a_new_one() -> None:
    async with real() as here:
        here.slack.revoked = True
        here.put(*LIFE)
        for _ in range(3):
            assert await here.look() == 60
            here.clock.advance(60)
        (line,) = here.notes.events("surface.refused")
        assert "Mend: install the app again and set SLACK_BOT_TOKEN." in str(line["error"])
        here.slack.revoked = False
        await here.settle()
        assert_right(here)


LIFE = (
    *WAITING, ANA, e.Reminded(plan=PLAN.id, people=("U0PRIYA",)), *CLEARED[4:], CLAIM, *STORIES["moved"][7:], *sampled(0.003, 0.003, 0.003), WELL,
    STORIES["closed-recovered"][-1],
)  # fmt: skip
METHODS = (
    "chat.postMessage", "chat.update", "chat.delete", "chat.getPermalink", "conversations.history", "conversations.replies",
    "conversations.open", "users.info", "usergroups.users.list", "auth.test", "files.getUploadURLExternal",
    "files.completeUploadExternal", "*",
)  # fmt: skip
FAULT = st.tuples(
    st.sampled_from(METHODS),
    st.sampled_from(["limited", "error", "refused", "dropped", "fatal", "silence", "slow"]),
    st.integers(1, 3),
)
MOMENT = st.tuples(
    st.integers(1, 6), st.lists(FAULT, max_size=3), st.integers(0, 3), st.sampled_from([0, 1, 5, 40]), st.booleans()
)


def assert_right(here: Real) -> None:
    """One card that shows what is, each moment said once, one file, one reminder a person at most."""
    (card,) = here.slack.cards()
    assert card["text"].startswith("Recovered: fraud-scorer is on 41, SEV2.")
    assert "Ana Ruiz, Priya Shah" in str(card["blocks"])
    said = here.slack.thread(card["ts"])
    assert len(said) <= 3
    words = "\n".join(one["text"] for one in said)
    assert [words.count(one) for one in ("Started ", "Traffic moved ", "Closed ")] == [1, 1, 1], words
    assert sum(len(one.get("files", [])) for one in said) == 1
    told = [one for channel in here.slack.channels.values() if channel.is_im for one in channel.messages]
    assert len(told) <= 1
    assert here.slack.warnings == []


async def survive(moments: Sequence[Any], crash: tuple[int, bool] | None) -> None:
    async with real() as here:
        here.table.crash, left = crash, list(LIFE)
        for entries, faults, looks, pause, restarts in moments:
            here.put(*left[:entries])
            del left[:entries]
            for method, kind, times in faults:
                here.slack.fail(method, kind, times, after=2)
            for _ in range(looks):
                try:
                    await here.look()
                except Crash:
                    here.restart()
            here.clock.advance(pause)
            if restarts:
                here.restart()
        here.put(*left)
        try:
            await here.settle(most=200)  # with every failure there is to come, and the waits between them
        except Crash:
            here.restart()
        here.slack.faults.clear()
        here.table.crash = None  # a death that was to come later than the story lasts does not come
        here.clock.advance(1)
        await here.settle()
        assert_right(here)


@example([(1, [], 0, 0, False)], (7, False))  # dies between saying three things at once and noting it
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(MOMENT, min_size=1, max_size=5), st.none() | st.tuples(st.integers(1, 25), st.booleans()))
def test_whatever_slack_does_and_wherever_we_die_there_is_one_correct_card(
    moments: list[Any], crash: tuple[int, bool] | None
) -> None:
    asyncio.run(survive(moments, crash))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["limited", "error", "refused", "dropped", "fatal", "silence"])
async def test_a_method_that_fails_for_a_while_in_every_phase_leaves_one_correct_card(method: str, kind: Any) -> None:
    moment = (2, [(method, kind, 2)], 2, 1, False)
    await survive([moment] * (len(LIFE) // 2), None)
