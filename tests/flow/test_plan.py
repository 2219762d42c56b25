"""A plan is made from what is there now, or says what blocks it; nothing waits for a target for ever."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from adapters.traffic.memory import Fault
from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.errors import NotFound
from bot.flow.path import advance
from tests.flow.corridor import STREAM, Corridor


async def test_the_plan_names_both_versions_and_moves_the_bad_share_only() -> None:
    here = Corridor()
    here.targets["route"].move({"41": 20, "42": 80})
    stream = await here.fire()
    await here.turn(stream)
    plan = here.last(stream, e.PlanMade).plan
    assert (plan.from_version, plan.to_version, plan.observed_serving) == ("42", "41", True)
    assert str(plan.targets[0].to_split) == "42 0\u00a0%, 41 100\u00a0%"


async def test_no_runbook_is_a_persons_turn() -> None:
    here = Corridor()
    here.world = replace(here.world, catalogue=replace(here.world.catalogue, runbooks=()))
    stream = await here.fire()
    await here.turn(stream)
    incident = await here.incident(stream)
    assert incident.phase is Phase.STUCK
    assert incident.stuck_reason.startswith("No runbook applies to fraud-scorer in prod. Nothing was changed.")


async def test_a_bad_version_without_traffic_is_only_noted() -> None:
    here = Corridor()
    here.targets["route"].move({"41": 100})
    stream = await here.fire()
    await here.turn(stream)
    incident = await here.incident(stream)
    assert (incident.phase, incident.blocked and incident.blocked.serves_nothing) == (Phase.NOTED, True)


async def test_a_version_in_quarantine_is_never_gone_back_to() -> None:
    here = Corridor()
    here.memory.put(STREAM, e.VersionQuarantined(version="41", incident="incident/X", reason="rolled back."))
    stream = await here.fire()
    await here.turn(stream)
    incident = await here.incident(stream)
    assert incident.phase is Phase.STUCK
    assert "41: quarantined" in incident.stuck_reason


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ("40", "40 cannot take over from 42: quarantined: rolled back. Nothing was changed. Choose 41."),
        ("77", "77 cannot take over from 42: no target offers it. Nothing was changed. Choose 41."),
    ],
)
async def test_a_version_asked_for_that_cannot_serve_is_refused_with_the_reason_and_what_can(
    wanted: str, reason: str
) -> None:
    here = Corridor(versions=("40", "41", "42"))
    here.memory.put(STREAM, e.VersionQuarantined(version="40", incident="incident/X", reason="rolled back."))
    stream = await here.ask("U0ANA", wanted)
    await here.turn(stream)
    incident = await here.incident(stream)
    assert (incident.phase, incident.stuck_reason) == (Phase.STUCK, reason)


async def test_asking_for_the_only_version_there_is_says_so() -> None:
    here = Corridor(versions=("42",))
    stream = await here.ask("U0ANA", "42")
    await here.turn(stream)
    assert (await here.incident(stream)).stuck_reason.endswith("Nothing was changed.")


async def test_an_edited_plan_fails_as_its_editor_said_and_names_the_editor() -> None:
    here = Corridor()
    stream = await here.fire()
    await here.turn(stream)
    before = here.last(stream, e.PlanMade).plan
    assert (before.on_failure, before.editor) == ("before_traffic", None)
    here.memory.put(stream, e.PlanEdited(person="U0ANA", plan=before.id, on_failure="stop", via="slack"))
    await here.turn(stream)
    after = here.last(stream, e.PlanMade).plan
    assert (after.on_failure, after.editor) == ("stop", "U0ANA")
    same = after.but(ordinal=before.ordinal)
    assert same.id not in (before.id, same.but(editor=None).id)  # both are in the hash


async def test_a_target_that_is_down_is_asked_for_a_minute_and_then_a_person_is() -> None:
    here = Corridor()
    here.targets["route"].faults.append(Fault.DOWN)
    stream = await here.fire()
    incident = await here.run(stream, 100, until=Phase.STUCK)
    assert "The target could not be read: route does not answer." in incident.stuck_reason
    assert (incident.since - incident.opened_at).total_seconds() == 60


class Silent:
    """A target that takes every question and answers none."""

    async def read(self) -> None:
        await asyncio.Event().wait()


async def test_a_target_that_never_answers_ends_with_a_person_too() -> None:
    here = Corridor()
    here.world = replace(here.world, targets=dict.fromkeys(here.world.targets, Silent()))  # type: ignore[arg-type]  # only read is asked
    stream = await here.fire()
    for _ in range(6):
        await here.hung(stream)
        here.clock.advance(2)
    incident = await here.incident(stream)
    assert incident.phase is Phase.STUCK
    assert "route did not answer within 20 s." in incident.stuck_reason


async def test_an_adapter_that_cannot_plan_blocks_instead_of_being_asked_for_ever() -> None:
    here = Corridor()
    target = here.targets["route"]

    class Refusing(type(target)):  # type: ignore[misc]  # the shipped fake with one verb refused
        async def plan(self, *_: object) -> object:
            message = "route knows no version 41"
            raise NotFound(message)

    target.__class__ = Refusing
    stream = await here.fire()
    await here.turn(stream)
    incident = await here.incident(stream)
    assert incident.phase is Phase.STUCK
    assert "route knows no version 41" in incident.stuck_reason


async def test_each_void_waits_longer_before_the_next_plan_and_the_third_is_a_persons_turn() -> None:
    here = Corridor()
    stream = await here.fire()
    waited = []
    for share in (10, 20, 30):
        await here.run(stream, until=Phase.WAITING)
        here.targets["route"].move({"41": share, "42": 100 - share})
        here.clock.advance(10)
        await advance(stream, here.world)
        voided = await here.incident(stream)
        again = await advance(stream, here.world)
        waited.append((again - voided.since).total_seconds() if again and voided.phase is Phase.OPENED else None)
    incident = await here.incident(stream)
    assert waited == [1, 5, None]
    assert (incident.phase, incident.voids, incident.votes) == (Phase.STUCK, 3, ())


async def test_a_step_that_names_no_predecessor_follows_the_one_before_it() -> None:
    here = Corridor(
        targets=("eu", "us", "ap"), steps=[{"target": "eu"}, {"target": "us"}, {"target": "ap", "after": ["eu"]}]
    )
    stream = await here.fire()
    await here.turn(stream)
    assert [step.after for step in here.last(stream, e.PlanMade).plan.steps] == [(), ("eu",), ("eu",)]


@pytest.mark.parametrize(("placed", "shared"), [(True, True), (False, False)])
async def test_targets_that_write_to_one_place_share_its_lock_and_others_have_their_own(
    placed: bool,  # noqa: FBT001  a case of the table
    shared: bool,  # noqa: FBT001  same
) -> None:
    here = Corridor(shared=True, placed=placed)
    streams = [await here.fire(), await here.fire("f2", model="ranker")]
    for stream in streams:
        await here.turn(stream)
    one, other = (here.last(stream, e.PlanMade).plan.resources for stream in streams)
    assert (one == other) is shared
