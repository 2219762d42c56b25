"""Where a rule wants only a ticket there is one, once, whatever becomes of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.domain.traffic import Outcome
from bot.errors import Unavailable
from bot.flow.tickets import BACKOFF, TICKET_LANE, open_one
from tests.flow.corridor import Corridor

Rules = Sequence[Mapping[str, Any]]
TICKET: Rules = ({"id": "slow", "mode": "notify", "tell": "ticket"},)
PLACE: dict[str, Any] = {"ticket": "tracker", "actions": {"tracker": {"adapter": "doer"}}}


async def noted(rules: Rules = TICKET, **place: Any) -> tuple[Corridor, str]:
    here = Corridor(rules=rules, place=place or PLACE)
    stream = await here.fire()
    await here.run(stream, until=Phase.NOTED)
    return here, stream


async def test_a_ticket_is_opened_once_and_the_timeline_says_so() -> None:
    here, stream = await noted()
    assert [one.lane for one in here.memory.work if one.lane == TICKET_LANE] == [TICKET_LANE]
    for _ in range(2):
        assert await open_one(stream, here.world) is None
    assert here.doers["tracker"].did == [f"{stream.rpartition('/')[2]}/ticket"]
    assert [one for one in here.types(stream) if one.startswith("ticket")] == ["ticket.asked", "ticket.opened"]
    assert here.last(stream, e.TicketOpened).sentence() == "Ticket opened: doer: applied."


async def test_a_tracker_that_is_away_is_asked_again_and_later_each_time() -> None:
    here, stream = await noted()
    here.doers["tracker"].answers = [Unavailable("the tracker cannot be reached.")] * 2
    for wait in BACKOFF[:2]:
        assert await open_one(stream, here.world) == here.clock.now() + wait
        assert here.last(stream, e.TicketOpened).sentence() == "Ticket: no, the tracker cannot be reached."
    assert await open_one(stream, here.world) is None
    assert here.last(stream, e.TicketOpened).done


async def test_it_is_given_up_after_six_attempts_and_the_last_says_so() -> None:
    here, stream = await noted()
    here.doers["tracker"].answers = [Unavailable("the tracker cannot be reached.")] * 9
    turns = 0
    while await open_one(stream, here.world) is not None:
        turns += 1
    assert turns == len(BACKOFF)
    assert here.last(stream, e.TicketOpened).final
    assert await open_one(stream, here.world) is None
    assert len(here.doers["tracker"].did) == len(BACKOFF) + 1


@pytest.mark.parametrize(
    ("known", "asked", "done", "said"),
    [
        (Outcome.APPLIED, 1, True, "Ticket opened: doer: applied."),
        (Outcome.REJECTED, 2, True, "Ticket opened: doer: applied."),
        (None, 1, False, "Ticket: no, its answer was lost and nobody can tell, so a person looks."),
    ],
    ids=["there is one", "there is none", "nobody can tell"],
)
async def test_a_ticket_whose_answer_was_lost_is_looked_up_before_it_is_asked_for_again(
    known: Outcome | None,
    asked: int,
    done: bool,  # noqa: FBT001  a table
    said: str,
) -> None:
    here, stream = await noted()
    here.doers["tracker"].answers, here.doers["tracker"].known = [Outcome.INDETERMINATE], known
    assert await open_one(stream, here.world) == here.clock.now() + BACKOFF[0]
    assert await open_one(stream, here.world) is None
    assert len(here.doers["tracker"].did) == asked
    last = here.last(stream, e.TicketOpened)
    assert (last.done, last.sentence()) == (done, said)


async def test_a_tracker_that_stays_away_from_the_question_what_became_of_it_is_given_up_too() -> None:
    here, stream = await noted()
    here.doers["tracker"].answers = [Outcome.INDETERMINATE]
    assert await open_one(stream, here.world) is not None
    here.world = replace(here.world, actions={})  # whom nobody can ask any more
    turns = 0
    while await open_one(stream, here.world) is not None:
        turns += 1
    assert turns == len(BACKOFF) - 1
    last = here.last(stream, e.TicketOpened)
    assert (last.done, last.lost, last.final) == (False, True, True)
    assert len(here.doers["tracker"].did) == 1


async def test_whoever_ends_between_the_intent_and_the_answer_leaves_it_to_be_looked_up() -> None:
    here, stream = await noted()
    here.memory.put(stream, e.TicketAsked(action="tracker"))
    assert await open_one(stream, here.world) is None
    assert here.doers["tracker"].did == []
    assert here.last(stream, e.TicketOpened).done


async def test_a_rule_that_wants_none_or_a_place_without_a_tracker_opens_none() -> None:
    for rules, place in (
        (({"id": "x", "mode": "notify", "tell": "slack"},), PLACE),
        (TICKET, {"actions": PLACE["actions"]}),
    ):
        here, stream = await noted(rules, **place)
        assert not [one for one in here.memory.work if one.lane == TICKET_LANE]
        assert await open_one(stream, here.world) is None
        assert "ticket.asked" not in here.types(stream)


async def test_who_only_observes_opens_none() -> None:
    here, stream = await noted()
    here.world = replace(here.world, observe=True)
    assert await open_one(stream, here.world) is None
    assert here.doers["tracker"].did == []
    assert await open_one("incident/GONE", here.world) is None
