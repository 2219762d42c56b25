"""The sentence under a person's chip: what the rules would answer them now, who has no vote, who may act alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.demo import people
from bot.demo.slack import CAST
from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.domain.orders import LENT
from tests.flow.corridor import Corridor
from tests.slack.stories import ROLLING, incident

GLASS: dict[str, Any] = {"break_glass": {"role": "boss"}}
ALL = (*CAST, "U0NOBODY")


async def waiting(**changes: Any) -> tuple[Corridor, str]:
    here = Corridor(**{**GLASS, **changes})
    stream = await here.fire()
    await here.turn(stream)
    return here, stream


async def may(here: Corridor, user: str, stream: str) -> str:
    return await people.may(user, await here.incident(stream), here.world, lambda one: CAST.get(one, one))


async def broken(here: Corridor, stream: str) -> None:
    told = await here.press(
        "U0INES", "break_glass", stream, reason="nobody else answers for an hour", asked={"typed": "fraud-scorer"}
    )
    assert told.ok


async def test_before_there_is_an_incident_nothing_is_asked() -> None:
    here = Corridor()
    assert await people.may("U0ANA", None, here.world, str) == people.NOBODY
    assert await people.could(None, here.world) == {}


@pytest.mark.parametrize(
    ("user", "sentence"),
    [
        ("U0ANA", "You may approve as sre. Ines Duarte may break the glass."),
        ("U0INES", "This plan needs sre and owner; you hold none of its roles. Ana Ruiz, Tom Becker or Priya Shah can. You may break the glass."),
        ("U0GIL", "Guests cannot approve. Ana Ruiz, Tom Becker or Priya Shah can. Ines Duarte may break the glass."),
    ],
)  # fmt: skip
async def test_while_it_waits_each_hears_their_own_ruling_and_who_may_act_alone(user: str, sentence: str) -> None:
    here, stream = await waiting()
    assert await may(here, user, stream) == sentence


async def test_without_a_role_for_it_nobody_is_said_to_break_the_glass() -> None:
    here, stream = await waiting(break_glass=None)
    for user in ALL:
        assert "glass" not in await may(here, user, stream)


async def test_whose_own_change_it_is_hears_that_and_the_others_hear_who_it_is() -> None:
    here, stream = await waiting()
    assert (await here.press("U0TOM", "edit", stream, asked={"on_failure": "stop"})).ok
    await here.run(stream, until=Phase.WAITING)
    assert (await may(here, "U0TOM", stream)).startswith("You edited this plan, so somebody else must approve.")
    assert "Not Tom" not in await may(here, "U0TOM", stream)
    assert await may(here, "U0ANA", stream) == (
        "You may approve as sre. Not Tom Becker: edited this plan. Ines Duarte may break the glass."
    )
    assert await people.could(await here.incident(stream), here.world) == {"sre": ("U0ANA",), "owner": ("U0PRIYA", "U0MIKA")}  # fmt: skip


@pytest.mark.parametrize("edited", ["", "U0TOM"])
async def test_what_is_said_of_a_vote_is_what_the_press_answers(edited: str) -> None:
    for user in ALL:
        here, stream = await waiting()
        if edited:
            await here.press(edited, "edit", stream, asked={"on_failure": "stop"})
            await here.run(stream, until=Phase.WAITING)
        said = await may(here, user, stream)
        assert said.startswith("You may approve") == (await here.press(user, "approve", stream)).ok


async def test_what_is_said_of_the_glass_is_what_the_press_answers() -> None:
    for user in ALL:
        here, stream = await waiting()
        said = await may(here, user, stream)
        told = await here.press(
            user, "break_glass", stream, reason="nobody else answers for an hour", asked={"typed": "fraud-scorer"}
        )
        assert ("You may break the glass." in said) == told.ok == (user == "U0INES")


async def test_what_is_said_of_the_review_is_what_the_press_answers() -> None:
    able = []
    for user in ALL:
        here, stream = await waiting()
        await broken(here, stream)
        said = await may(here, user, stream)
        done = (await here.press(user, "review", stream)).ok
        assert (said == "You may review what was done behind broken glass.") is done
        able += [user] if done and await may(here, user, stream) == people.NOTHING else []
    assert able == ["U0ANA", "U0PRIYA", "U0MIKA", "U0TOM"]


async def test_who_broke_the_glass_is_told_that_somebody_else_reviews() -> None:
    here, stream = await waiting()
    await broken(here, stream)
    assert await may(here, "U0INES", stream) == "You broke the glass, so somebody else must review it."
    assert await may(here, "U0GIL", stream) == "Guests cannot do this."
    assert await may(here, "U0PRIYA", stream) == "You may review what was done behind broken glass."


async def test_another_account_of_who_broke_the_glass_does_not_review_it() -> None:
    here, stream = await waiting()
    for user in ("U0INES", "U0MIKA"):
        here.people.facts[user] = {"email": "ines@lastgood.example"}
    await broken(here, stream)
    assert await may(here, "U0MIKA", stream) == "You broke the glass, so somebody else must review it."
    assert not (await here.press("U0MIKA", "review", stream)).ok


async def test_nobody_reviews_on_a_loan_of_who_broke_the_glass() -> None:
    here, stream = await waiting()
    assert (await here.order("U0INES", "lend", role="boss", to="U0NOBODY", until="1h")).ok
    await broken(here, stream)
    said = await may(here, "U0NOBODY", stream)
    assert said.startswith("This needs sre, owner or boss. Ana Ruiz, Tom Becker or Priya Shah can.")
    assert not (await here.press("U0NOBODY", "review", stream)).ok


async def test_a_rollback_that_was_cancelled_is_not_offered_for_cancelling_again() -> None:
    cancelled = e.RollbackCancelled(person="U0ANA", text_ref="t")
    for told, sentence in (
        (ROLLING, "You may pause or cancel; what is applied stays."),
        ((*ROLLING, cancelled), people.NOTHING),
    ):
        assert await people.may("U0ANA", incident(told), Corridor().world, str) == sentence


async def test_a_rejected_plan_leaves_the_decision_to_whoever_holds_a_role() -> None:
    here, stream = await waiting()
    assert (await here.press("U0ANA", "reject", stream)).ok
    assert await may(here, "U0PRIYA", stream) == "You may decide here: the buttons are on the card."
    assert (await may(here, "U0NOBODY", stream)).startswith(
        "This needs sre, owner or boss. Ana Ruiz, Tom Becker or Priya Shah can."
    )


async def test_a_role_that_was_lent_stands_in_the_title_as_long_as_the_loan() -> None:
    here, _ = await waiting()
    assert await people.title("U0NOBODY", here.world) == "no role in this plan"
    assert await people.title("U0GIL", here.world) == "guest"
    until = {"to": "U0NOBODY", "until": "1h"}
    assert (await here.order("U0INES", "lend", role="boss", **until)).ok
    assert (await here.world.orders(LENT)).lent
    assert await people.title("U0NOBODY", here.world) == "boss"
    here.clock.advance(timedelta(hours=1, seconds=1).total_seconds())
    assert await people.title("U0NOBODY", here.world) == "no role in this plan"


async def test_when_slack_is_away_the_sentence_says_so_and_names_who_could_act_alone() -> None:
    here, stream = await waiting()
    here.people.away = True
    said = await may(here, "U0ANA", stream)
    assert said.startswith("Slack did not answer, so I cannot confirm this account. That counts as no.")
    assert said.endswith("Ines Duarte may break the glass.")
