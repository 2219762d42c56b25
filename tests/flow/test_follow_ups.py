"""What follows a proven rollback is done once, its intent first, and never in anybody's way."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.domain.traffic import Outcome
from bot.errors import Unavailable
from bot.flow.aftermath import aftermath
from bot.flow.follow_ups import ATTEMPTS, BACKOFF
from tests.flow.corridor import ALONE, STREAM, Corridor
from tests.flow.test_steps import flowing, rolled

PLACE: dict[str, Any] = {
    "actions": {"ask": {"adapter": "x"}},
    "follow_ups": {"retrain": {"action": "ask", "cooldown": "7d"}},
}


async def closed(here: Corridor | None = None) -> tuple[Corridor, str]:
    here = here or Corridor(ALONE, place=PLACE)
    incident = await rolled(here, until=Phase.RECOVERED)
    await here.resolve()
    assert (await flowing(here, incident.stream)).phase is Phase.CLOSED
    return here, incident.stream


def told(here: Corridor, stream: str) -> list[str]:
    kinds = (e.FollowUpStarted, e.FollowUpEnded)
    return [getattr(one, "outcome", "started") for one in here.entries(stream) if isinstance(one, kinds)]


async def live(here: Corridor, stream: str, most: int = 50) -> None:
    """Let the engine come back each time it is asked to, as long as there is anything to do."""
    for _ in range(most):
        again = await aftermath(stream, here.world)
        if again is None:
            return
        here.clock.advance(max(0.0, (again - here.clock.now()).total_seconds()))
    raise AssertionError("it never ends")


async def test_it_is_done_once_after_the_closing_and_its_intent_is_written_before() -> None:
    here, stream = await closed()
    assert here.doers["ask"].did == []
    seen: list[list[str]] = []
    perform = here.doers["ask"].perform

    async def watched(act: Any) -> Any:
        seen.append(told(here, stream))
        return await perform(act)

    here.doers["ask"].perform = watched  # type: ignore[method-assign]  # the fake's own, looked at from outside
    await live(here, stream)
    await live(here, stream)
    assert (seen, told(here, stream)) == ([["started"]], ["started", "done"])
    assert here.doers["ask"].did == [f"{stream.removeprefix('incident/')}/1/after/retrain"]
    assert here.last(stream, e.FollowUpEnded).sentence() == "Follow-up retrain done: doer: applied."


async def test_it_is_not_done_again_within_its_cooldown_and_says_so() -> None:
    here, first = await closed()
    await live(here, first)
    here.clock.advance(3600)
    here.memory.put(STREAM, e.VersionReleased(version="42", person="U0INES", text_ref="r", via="slack"))
    here.targets["route"].world.change(lambda held: held.but(split=held.split.moved("41", "42")))
    here.memory.put(STREAM, e.VersionServed(target="route", split=here.targets["route"].split))
    _, second = await closed(here)
    assert second != first
    await live(here, second)
    assert (told(here, second), len(here.doers["ask"].did)) == (["skipped"], 1)
    assert "not again within 7\u00a0d" in here.last(second, e.FollowUpEnded).detail


async def test_what_was_not_sent_is_tried_again_later_and_later_and_then_failed() -> None:
    here, stream = await closed()
    here.doers["ask"].answers = [Unavailable("ask cannot be reached.")] * 99
    began = here.clock.now()
    await live(here, stream)
    assert len(here.doers["ask"].did) == ATTEMPTS
    assert told(here, stream)[-2:] == ["not_done", "failed"]
    assert here.clock.now() - began >= sum(BACKOFF, timedelta(0))
    assert (await here.world.ledger(STREAM)).followed == {}


@pytest.mark.parametrize(
    ("known", "end", "sent"), [(Outcome.APPLIED, "done", 1), (None, "unknown", 1), (Outcome.REJECTED, "done", 2)]
)
async def test_a_lost_answer_is_asked_about_and_sent_again_only_where_that_is_safe(
    known: Outcome | None, end: str, sent: int
) -> None:
    here, stream = await closed()
    here.doers["ask"].answers, here.doers["ask"].known = [Outcome.INDETERMINATE], known
    await live(here, stream)
    assert (told(here, stream)[-1], len(here.doers["ask"].did)) == (end, sent)


async def test_a_process_that_ended_after_its_intent_asks_first_in_the_next_one() -> None:
    here, stream = await closed()
    here.memory.put(stream, e.FollowUpStarted(incident=stream, name="retrain"))
    here.restart()
    await live(here, stream)
    assert (told(here, stream), here.doers["ask"].did) == (["started", "done"], [])


async def test_an_intent_that_cannot_be_written_sends_nothing() -> None:
    here, stream = await closed()

    def full() -> None:
        raise Unavailable("the disk is full")

    here.memory.before_append = full
    with pytest.raises(Unavailable):
        await aftermath(stream, here.world)
    assert here.doers["ask"].did == []


async def test_one_that_relapses_before_its_intent_is_left_alone() -> None:
    here, stream = await closed()
    here.memory.before_append = lambda: here.memory.put(stream, e.IncidentReopened(alerts=(here.alert(),), episode=2))
    await aftermath(stream, here.world)
    assert await aftermath(stream, here.world) is None
    assert here.doers["ask"].did == []


async def test_a_rollback_that_is_not_proven_to_have_helped_has_no_follow_up() -> None:
    here = Corridor(ALONE, place=PLACE)
    here.meter.value = 0.3
    incident = await rolled(here)
    assert (await here.press("U0ANA", "give_up", incident.stream)).ok
    await live(here, incident.stream)
    assert (told(here, incident.stream), here.doers["ask"].did) == ([], [])


async def test_an_action_that_hangs_holds_nothing_up_and_is_asked_about_later() -> None:
    here, stream = await closed()
    here.doers["ask"].hangs = True
    turn = asyncio.ensure_future(aftermath(stream, here.world))
    while not turn.done():
        await here.clock.run(1)
    assert told(here, stream) == ["started"]
    here.doers["ask"].hangs = False
    await live(here, stream)
    assert told(here, stream)[-1] == "done"
