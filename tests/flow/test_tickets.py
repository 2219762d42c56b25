"""Where a rule wants only a ticket there is one, once, whatever becomes of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.errors import Unavailable
from bot.flow.tickets import AGAIN, TICKET_LANE, open_one
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


async def test_a_tracker_that_is_away_is_asked_again_and_told_of_once() -> None:
    here, stream = await noted()
    here.doers["tracker"].answers = [Unavailable("the tracker cannot be reached.")] * 2
    for _ in range(2):
        assert await open_one(stream, here.world) == here.clock.now() + AGAIN
    assert here.types(stream).count("ticket.opened") == 1
    assert here.last(stream, e.TicketOpened).sentence() == "Ticket: no, the tracker cannot be reached."
    assert await open_one(stream, here.world) is None
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
