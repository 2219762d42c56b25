"""A closed rollback is graded, measured and looked at again until nothing is left behind; twice is once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from adapters.traffic.memory import Fault, Memory
from bot.domain import entries as e
from bot.domain.incident import Incident, Phase
from bot.domain.traffic import Outcome, TargetPlan
from bot.errors import Unavailable
from bot.flow.aftermath import LOOK_AGAIN, UNDO_AGAIN, aftermath
from tests.flow.corridor import ALONE, STREAM, Corridor
from tests.flow.test_preflight import FIGURES
from tests.flow.test_steps import rolled

OVERRIDE = "a runtime override of routing.split.fraud.*."


class Leaver(Memory):
    """A target that can say whether what it left behind is still there."""

    still: str | Exception
    asked: list[TargetPlan]

    async def left(self, plan: TargetPlan) -> str:
        self.asked.append(plan)
        if isinstance(self.still, Exception):
            raise self.still
        return self.still


async def given_up(**keys: Any) -> tuple[Corridor, Incident]:
    """A rollback that did not help, given up by a person."""
    here = Corridor(ALONE, **keys)
    here.meter.value = 0.2
    here.targets["route"].leaves = OVERRIDE
    incident = await rolled(here)
    assert incident.phase is Phase.STUCK
    assert (await here.press("U0ANA", "give_up", incident.stream)).ok
    return here, await here.incident(incident.stream)


async def closed(kind: type[Memory] = Leaver) -> tuple[Corridor, str]:
    here = Corridor(ALONE)
    here.targets["route"].__class__, here.targets["route"].leaves = kind, OVERRIDE
    here.targets["route"].asked, here.targets["route"].still = [], OVERRIDE  # type: ignore[attr-defined]  # the fake's own
    incident = await rolled(here)
    assert incident.phase is Phase.CLOSED
    return here, incident.stream


def count(here: Corridor, stream: str) -> int:
    return len(here.entries(stream)) + len(here.entries(STREAM))


async def test_what_was_given_up_is_graded_and_measured_for_its_incident_and_its_model() -> None:
    here, incident = await given_up(place=FIGURES)
    assert incident.grade is None
    await aftermath(incident.stream, here.world)
    after = await here.incident(incident.stream)
    assert after.grade is not None
    assert after.grade.grade == "neutral"
    assert after.grade.reason.startswith("error ratio: 20\u00a0% of 500 requests failed before and 20\u00a0%")
    ledger = await here.world.ledger(STREAM)
    assert (ledger.grades[incident.stream], ledger.leftovers[incident.stream, "route"].what) == (after.grade, OVERRIDE)
    assert {(one.name, one.when) for one in after.deltas} >= {("conversion", "after"), ("cost", "after")}
    assert here.meter.asked[-1] == "cost 41"


async def test_a_rollback_that_makes_it_worse_is_graded_harmful() -> None:
    here = Corridor(ALONE)
    here.meter.value = 0.05
    stream = await here.fire()
    await here.run(stream, 30, until=Phase.MOVED)
    here.meter.value = 0.5
    await here.run(stream, 60, until=Phase.STUCK)
    assert (await here.press("U0ANA", "give_up", stream)).ok
    await aftermath(stream, here.world)
    assert (await here.world.ledger(STREAM)).grades[stream].grade == "harmful"


async def test_twice_is_once_in_any_process_and_it_ends_when_nothing_is_left() -> None:
    here, incident = await given_up()
    assert await aftermath(incident.stream, here.world) == here.clock.now() + LOOK_AGAIN
    before = count(here, incident.stream)
    here.restart()
    await aftermath(incident.stream, here.world)
    assert count(here, incident.stream) == before
    assert (await here.press("U0ANA", "clear", incident.stream, asked={"leftover": "route"})).ok
    assert await aftermath(incident.stream, here.world) is None


async def test_what_was_written_when_it_closed_is_not_written_again() -> None:
    here, stream = await closed()
    before = count(here, stream)
    assert await aftermath(stream, here.world) == here.clock.now() + LOOK_AGAIN
    assert count(here, stream) == before


async def test_an_incident_that_is_open_or_moved_nothing_needs_no_aftermath() -> None:
    here = Corridor()
    stream = await here.fire()
    assert await aftermath(stream, here.world) is None
    await here.turn(stream)
    await here.resolve()
    await here.turn(stream)
    assert (await here.incident(stream)).phase is Phase.CLOSED
    before = count(here, stream)
    assert await aftermath(stream, here.world) is None
    assert count(here, stream) == before


async def test_what_the_target_says_is_gone_is_cleared_on_both_streams() -> None:
    here, stream = await closed()
    here.clock.advance(3600)
    here.targets["route"].still = ""  # type: ignore[attr-defined]  # the fake's own
    assert await aftermath(stream, here.world) is None
    assert here.last(stream, e.LeftoverCleared).sentence() == "Leftover route: It is gone. route was looked at."
    assert ((await here.incident(stream)).leftovers, (await here.world.ledger(STREAM)).leftovers) == ({}, {})
    assert here.targets["route"].asked[-1].target == "route"  # type: ignore[attr-defined]  # the fake's own


async def test_what_is_gone_already_when_it_closes_is_not_opened() -> None:
    here = Corridor(ALONE)
    here.targets["route"].__class__, here.targets["route"].leaves = Leaver, OVERRIDE
    here.targets["route"].asked, here.targets["route"].still = [], ""  # type: ignore[attr-defined]  # the fake's own
    incident = await rolled(here)
    assert incident.phase is Phase.CLOSED
    assert "leftover.opened" not in here.types(incident.stream)


async def test_what_nobody_can_tell_stays_until_a_person_clears_it() -> None:
    for kind, still in ((Leaver, Unavailable("route does not answer.")), (Memory, "")):
        here, stream = await closed(kind)
        here.targets["route"].still = still  # type: ignore[attr-defined]  # the fake's own
        assert await aftermath(stream, here.world) == here.clock.now() + LOOK_AGAIN
        assert set((await here.world.ledger(STREAM)).leftovers) == {(stream, "route")}


async def test_a_target_the_configuration_no_longer_has_stays_listed() -> None:
    here, stream = await closed()
    here.world.targets.clear()  # type: ignore[attr-defined]  # a plain dict in tests
    assert await aftermath(stream, here.world) == here.clock.now() + LOOK_AGAIN


async def test_a_write_that_fails_leaves_everything_to_the_next_turn() -> None:
    here, incident = await given_up()
    here.memory.before_append = _fails
    with pytest.raises(Unavailable):
        await aftermath(incident.stream, here.world)
    here.memory.before_append = None
    assert (await here.incident(incident.stream)).grade is None
    await aftermath(incident.stream, here.world)
    assert (await here.incident(incident.stream)).grade is not None


def _fails() -> None:
    raise Unavailable("the process ended here")


async def test_a_step_that_was_refused_leaves_nothing_behind_and_an_unanswered_one_may_have() -> None:
    for fault, left in ((Fault.REFUSE, 0), (Fault.LIE, 1)):
        here = Corridor(ALONE)
        here.targets["route"].leaves = OVERRIDE
        here.targets["route"].faults.extend([fault] * 9)
        incident = await rolled(here)
        assert incident.phase is Phase.STUCK
        assert (await here.press("U0ANA", "give_up", incident.stream)).ok
        await aftermath(incident.stream, here.world)
        after = await here.incident(incident.stream)
        assert (after.grade.grade if after.grade else "", len(after.leftovers)) == ("unknown", left)


# ── what steps leave behind ───────────────────────────────────────────────────────────────────────────────────────

SCALED: dict[str, Any] = {"actions": {"scale": {"adapter": "doer", "undo": "x"}}}
BRIEFLY = [{"warm": "scale", "until": "closed"}, {"target": "route"}]


async def scaled(*, steps: Sequence[dict[str, Any]] = BRIEFLY, leaves: str = "") -> tuple[Corridor, Incident]:
    """A rollback that helped, with a step that scaled the good version first."""
    here = Corridor(ALONE, place=SCALED, steps=steps)
    here.doers["scale"].leaves = leaves
    incident = await rolled(here)
    assert incident.phase is Phase.CLOSED
    return here, incident


async def test_what_was_scaled_for_the_switch_is_taken_back_once_the_incident_has_closed_well() -> None:
    here, incident = await scaled()
    (key,) = here.doers["scale"].did
    assert (
        incident.leftovers["scale"].sentence()
        == "Left behind: what step scale did (do 41), until the incident is closed."
    )
    assert incident.leftovers["scale"].by_hand == "undo 41"
    assert await aftermath(incident.stream, here.world) is None
    assert here.doers["scale"].did == [key, f"-{key}"]
    assert here.last(incident.stream, e.LeftoverCleared).sentence() == "Leftover scale: It is gone. It was taken back."
    assert (await here.world.ledger(STREAM)).leftovers == {}
    assert await aftermath(incident.stream, here.world) is None
    assert here.doers["scale"].did == [key, f"-{key}"]


async def test_what_cannot_be_taken_back_is_told_once_and_tried_until_it_is() -> None:
    here, incident = await scaled()
    away = Unavailable("scale cannot be reached.")
    here.doers["scale"].undoing = [away, away, Outcome.INDETERMINATE, Outcome.NOOP]
    for _ in range(3):
        assert await aftermath(incident.stream, here.world) == here.clock.now() + UNDO_AGAIN
        here.clock.advance(UNDO_AGAIN.total_seconds())
    assert [one.reason for one in here.entries(incident.stream) if isinstance(one, e.LeftoverKept)] == [
        "scale cannot be reached.",
        "doer: indeterminate.",
    ]
    assert here.last(incident.stream, e.LeftoverKept).sentence() == (
        "Leftover scale could not be taken back: doer: indeterminate. It is tried again."
    )
    assert "leftover.kept" not in here.types(STREAM)
    assert await aftermath(incident.stream, here.world) is None
    assert (await here.incident(incident.stream)).leftovers == {}


async def test_after_an_hour_it_is_tried_once_an_hour() -> None:
    here, incident = await scaled()
    here.doers["scale"].undoing = [Outcome.REJECTED] * 2
    here.clock.advance(LOOK_AGAIN.total_seconds())
    assert await aftermath(incident.stream, here.world) == here.clock.now() + LOOK_AGAIN


async def test_what_did_not_help_is_left_to_its_owner() -> None:
    here, incident = await given_up(place=SCALED, steps=BRIEFLY)
    await aftermath(incident.stream, here.world)
    assert await aftermath(incident.stream, here.world) == here.clock.now() + LOOK_AGAIN
    assert set((await here.incident(incident.stream)).leftovers) == {"route", "scale"}
    assert [one for one in here.doers["scale"].did if one.startswith("-")] == []
    assert (await here.press("U0ANA", "clear", incident.stream, asked={"leftover": "scale"})).ok


async def test_nothing_is_taken_back_while_a_relapse_is_open() -> None:
    here, incident = await scaled()
    assert await here.fire() == incident.stream
    assert await aftermath(incident.stream, here.world) is None
    assert [one for one in here.doers["scale"].did if one.startswith("-")] == []


async def test_a_step_without_an_end_leaves_what_its_action_says_and_nothing_else() -> None:
    here, incident = await scaled(
        steps=[{"warm": "scale"}, {"target": "route"}], leaves="the sync of fraud-scorer is paused."
    )
    assert incident.leftovers["scale"].sentence() == "Left behind: the sync of fraud-scorer is paused."
    assert await aftermath(incident.stream, here.world) == here.clock.now() + LOOK_AGAIN
    assert len(here.doers["scale"].did) == 1
    _, plain = await scaled(steps=[{"warm": "scale"}, {"target": "route"}])
    assert plain.leftovers == {}


async def test_what_was_put_back_leaves_nothing() -> None:
    here = Corridor(ALONE, place=SCALED, steps=BRIEFLY)
    here.targets["route"].faults.extend([Fault.REFUSE] * 5)
    incident = await rolled(here)
    assert incident.phase is Phase.STUCK
    assert incident.state_of("scale") == "back"
    assert (await here.press("U0ANA", "give_up", incident.stream)).ok
    await aftermath(incident.stream, here.world)
    assert "scale" not in (await here.incident(incident.stream)).leftovers
