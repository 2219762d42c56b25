"""A sender that falls silent is noticed once, and what it would say now is taken as if it had been sent."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

from bot.domain import entries as e
from bot.errors import Unavailable
from bot.flow.intake import take
from bot.flow.senders import EVERY, POLLED_EVERY, STREAM, look, looked_after
from tests.flow.corridor import Quiet
from tests.flow.fakes import Intake
from tests.flow.test_intake import one
from tests.flow.test_pager import Notes


class Says:
    """A sender that can be asked."""

    def __init__(self, *messages: tuple[str, bytes]) -> None:
        self.messages, self.away, self.asked = list(messages), False, 0

    async def missed(self) -> list[tuple[str, bytes]]:
        self.asked += 1
        if self.away:
            raise Unavailable("Alertmanager does not answer")
        return self.messages


class Place(Intake):
    def __init__(self, polls: dict[str, Any] | None = None, **configs: Any) -> None:
        super().__init__(**configs)
        self.log = Quiet()
        self.world = replace(self.world, work=cast("Any", Notes()), log=self.log, polls=polls or {})

    async def later(self, minutes: float) -> str:
        self.clock.advance(minutes * 60)
        again, said = await look("generic", self.world)
        assert again > self.clock.now()
        return said


async def test_a_sender_that_falls_silent_is_told_once_and_once_more_when_it_is_heard() -> None:
    place = Place(generic={"heartbeat": "5m"})
    assert looked_after(place.world) == ("generic",)
    await place.receive("generic", one())
    assert await place.later(1) == ""
    assert await place.later(3) == ""
    said = await place.later(3)
    assert said.startswith("Nothing came from generic for 5\u00a0min")
    assert await place.later(10) == ""
    await place.receive("generic", one())
    assert await place.later(1) == "generic is heard again."
    assert await place.later(1) == ""
    assert [type(row.entry) for row in place.memory.streams[STREAM]] == [e.SourceQuiet, e.SourceHeard]


async def test_a_sender_that_was_never_heard_has_its_time_from_the_first_look_on() -> None:
    place = Place(generic={"heartbeat": "5m"})
    assert [await place.later(2) for _ in range(3)] == ["", "", ""]
    assert (await place.later(2)).startswith("Nothing came from generic")


async def test_a_sender_without_a_heartbeat_and_without_anybody_to_ask_is_let_be() -> None:
    place = Place()
    assert looked_after(place.world) == ()
    assert (await look("generic", place.world))[1] == ""
    assert STREAM not in place.memory.streams


async def test_what_was_missed_is_taken_once_however_often_it_is_said() -> None:
    says = Says(("polled 1", one()))
    place = Place({"generic": says})
    for _ in range(3):
        assert await place.later(POLLED_EVERY.total_seconds() / 60) == ""
    assert says.asked == 3
    (stored,) = place.memory.raw
    await take(stored, place.world)
    assert len(place.incidents) == 1


async def test_it_is_asked_every_five_minutes_though_it_is_listened_to_every_minute() -> None:
    says = Says()
    place = Place({"generic": says}, generic={"heartbeat": "5m"})
    for _ in range(11):
        await place.later(EVERY.total_seconds() / 60)
    assert says.asked == 3


async def test_one_that_does_not_answer_is_asked_again_later() -> None:
    says = Says(("polled 1", one()))
    says.away = True
    place = Place({"generic": says})
    await place.later(1)
    assert place.memory.raw == {}
    assert place.log.lines == [("sender.unasked", {"source": "generic", "error": "Alertmanager does not answer"})]
    says.away = False
    await place.later((POLLED_EVERY + timedelta(seconds=1)).total_seconds() / 60)
    assert len(place.memory.raw) == 1


async def test_a_sender_that_is_no_longer_configured_is_let_be() -> None:
    place = Place()
    assert (await look("gone", place.world))[1] == ""
