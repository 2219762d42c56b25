"""A message that led nowhere can be read again, or taken off the list, by people of ours; both are kept."""

from __future__ import annotations

import pytest

from bot.domain import entries as e
from bot.errors import Guest, NotFound
from bot.flow.inbox import STREAM, dismiss, replay
from bot.flow.intake import take
from tests.flow.test_intake import Intake, one


async def lost(intake: Intake, *, model: str = "frod") -> str:
    """One message about a model nobody registered; gives its id."""
    stored = await intake.receive("generic", one(model=model))
    await take(stored, intake.world)
    return stored


async def test_a_message_is_read_again_under_a_new_id_and_may_lead_somewhere_by_now() -> None:
    intake = Intake()
    stored = await lost(intake)
    intake.memory.raw[stored] = intake.memory.raw[stored].model_copy(
        update={"body": one()}
    )  # as if the model were known
    said = await replay(stored, "U0ANA", intake.world)
    again = list(intake.memory.raw)[-1]
    assert said.startswith("The message of generic is being read again, as ")
    await take(again, intake.world)
    assert len(intake.incidents) == 1
    assert (intake.memory.done[stored].outcome, intake.memory.done[stored].error) == ("replayed", "")
    (entry,) = [row.entry for row in intake.memory.streams[STREAM]]
    assert isinstance(entry, e.InboxReplayed)
    assert (entry.inbound, entry.again, entry.person) == (stored, again, "U0ANA")


async def test_a_delivery_id_does_not_make_a_message_a_duplicate_of_itself() -> None:
    intake = Intake()
    stored = await lost(intake)
    intake.memory.raw[stored] = intake.memory.raw[stored].model_copy(update={"delivery_id": "d-1"})
    await replay(stored, "U0ANA", intake.world)
    assert len(intake.memory.raw) == 2


async def test_what_is_dismissed_is_off_the_list_with_all_that_say_the_same_and_the_reason_is_kept() -> None:
    intake = Intake()
    first, second, other = [await lost(intake, model=name) for name in ("frod", "frod", "stranger")]
    said = await dismiss(second, "U0ANA", "The old cluster", intake.world)
    assert said == "The message of generic and 1 like it is off the list. It is kept."
    assert [intake.memory.done[name].outcome for name in (first, second, other)] == [
        "dismissed",
        "dismissed",
        "accepted",
    ]
    (entry,) = [row.entry for row in intake.memory.streams[STREAM]]
    assert isinstance(entry, e.InboxDismissed)
    assert await intake.memory.said([entry.text_ref]) == {entry.text_ref: "The old cluster"}


async def test_a_guest_may_do_neither_and_nothing_is_changed() -> None:
    intake = Intake()
    stored = await lost(intake)
    for attempt in (replay(stored, "U0GIL", intake.world), dismiss(stored, "U0GIL", "why", intake.world)):
        with pytest.raises(Guest):
            await attempt
    assert STREAM not in intake.memory.streams
    assert len(intake.memory.raw) == 1


async def test_a_message_that_is_not_stored_is_said_not_to_be() -> None:
    with pytest.raises(NotFound, match="lastgood inbox"):
        await replay("01NOTHING", "U0ANA", Intake().world)
