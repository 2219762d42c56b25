"""What is asked before the click: capacity, who would undo it, what it costs; and what is measured around a rollback."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.domain.traffic import Finding
from bot.errors import Unavailable
from tests.flow.corridor import ALONE, STREAM, Corridor
from tests.flow.test_steps import flowing, rolled

CAPACITY: dict[str, Any] = {
    "capacity": {"source": "meter", "ready": {"of": "ready {version}"}, "needed": {"of": "needed"}}
}
FIGURES: dict[str, Any] = {
    "business": {"conversion": {"source": "meter", "of": "conversion", "unit": "%"}},
    "cost": {"source": "meter", "of": "cost {version}", "unit": "EUR"},
}


async def planned(here: Corridor) -> tuple[str, list[str]]:
    stream = await here.fire()
    await here.turn(stream)
    found = [one for one in here.entries(stream) if isinstance(one, e.PlanMade)]
    return stream, [one.message for made in found for one in made.plan.findings]


async def test_enough_of_the_good_version_is_no_blocker() -> None:
    here = Corridor(place=CAPACITY)
    here.meter.values |= {"ready 41": 3, "needed": 3}
    _, said = await planned(here)
    assert "3 of 41 ready, 3 needed for the full load." in said


async def test_too_little_of_the_good_version_stops_before_the_click_and_says_what_would_clear_it() -> None:
    here = Corridor(place=CAPACITY)
    here.meter.values |= {"ready 41": 1, "needed": 3}
    stream, _ = await planned(here)
    incident = await here.incident(stream)
    assert incident.phase is Phase.STUCK
    assert incident.stuck_reason == (
        "1 of 41 ready, 3 needed for the full load. Nothing was changed. "
        "Scale 41 up, or add a `warm` step that does before the first target."
    )


async def test_a_warm_step_that_scales_clears_it() -> None:
    place = {**CAPACITY, "actions": {"scale": {"adapter": "x", "undo": "x"}}}
    here = Corridor(place=place, steps=[{"warm": "scale"}, {"target": "route"}])
    here.meter.values |= {"ready 41": 1, "needed": 3}
    here.doers["scale"].provides_capacity = True
    _, said = await planned(here)
    assert "1 of 41 ready, 3 needed for the full load. Step scale scales it before traffic." in said


async def test_a_capacity_nobody_can_tell_is_a_warning_and_not_fine() -> None:
    here = Corridor(place=CAPACITY)
    here.meter.values |= {"ready 41": None, "needed": 3}
    _, said = await planned(here)
    assert "Cannot tell whether 41 could carry the full load: nothing answers." in said


@pytest.mark.parametrize(("ready", "mode"), [(3, "auto"), (None, "approve")], ids=["enough", "nobody can tell"])
async def test_nobody_acts_alone_on_a_capacity_nobody_can_tell(ready: float | None, mode: str) -> None:
    here = Corridor(ALONE, place=CAPACITY)
    here.meter.values |= {"ready 41": ready, "needed": 3}
    stream, _ = await planned(here)
    decided = (await here.incident(stream)).decision
    assert decided is not None
    assert decided.mode == mode
    assert ("the unknown fact capacity_enough turns auto into approve" in decided.reason) is (ready is None)


async def test_an_action_that_could_not_be_done_stops_before_the_click() -> None:
    here = Corridor(place={"actions": {"heat": {"adapter": "x"}}}, steps=[{"warm": "heat"}, {"target": "route"}])
    here.doers["heat"].found = (Finding(level="blocker", message="heat: its token is not set.", mend="Set it."),)
    stream, _ = await planned(here)
    assert (await here.incident(stream)).stuck_reason == "heat: its token is not set. Nothing was changed. Set it."
    here = Corridor(place={"actions": {"heat": {"adapter": "x"}}}, steps=[{"warm": "heat"}, {"target": "route"}])
    here.doers["heat"].found = Unavailable("heat cannot be reached.")
    stream, _ = await planned(here)
    assert (await here.incident(stream)).stuck_reason.startswith("Step heat: heat cannot be reached.")


async def test_what_cannot_be_put_back_is_named_before_the_click() -> None:
    here = Corridor(place={"actions": {"heat": {"adapter": "x"}}}, steps=[{"warm": "heat"}, {"target": "route"}])
    _, said = await planned(here)
    assert "Step heat cannot be put back." in said


async def test_the_cost_of_the_change_is_said_or_that_nobody_knows() -> None:
    here = Corridor(place=FIGURES)
    here.meter.values |= {"cost 42": 10, "cost 41": 4}
    _, said = await planned(here)
    assert "Cost: 6\u00a0EUR less (10\u00a0EUR now)." in said
    here = Corridor(place=FIGURES)
    here.meter.values |= {"cost 41": None}
    _, said = await planned(here)
    assert "Cost of the change unknown (nothing answers)." in said


# ── what is measured around a rollback ────────────────────────────────────────────────────────────────────────────


async def test_figures_are_measured_before_and_after_and_unknown_has_its_reason() -> None:
    here = Corridor(ALONE, place=FIGURES)
    here.meter.values |= {"conversion": 2.9, "cost 42": 10, "cost 41": None}
    incident = await rolled(here)
    told = {(one.name, one.when): one.text.replace("\u00a0", " ") for one in incident.deltas}
    assert told == {
        ("conversion", "before"): "conversion 2.9 % before the rollback.", ("cost", "before"): "cost 10 EUR before the rollback.",
        ("conversion", "after"): "conversion 2.9 % after, 2.9 % before.", ("cost", "after"): "cost after: unknown (nothing answers).",
    }  # fmt: skip


async def test_a_rollback_is_graded_when_it_closes_for_its_incident_and_its_model() -> None:
    here = Corridor(ALONE)
    here.meter.value = 0.2
    stream = await here.fire()
    await here.turn(stream)
    here.meter.value = 0.001
    incident = await flowing(here, stream)
    assert incident.phase is Phase.CLOSED
    assert incident.grade is not None
    assert incident.grade.grade == "helped"
    assert (await here.world.ledger(STREAM)).grades[stream] == incident.grade


async def test_a_grade_is_overruled_with_a_reason_and_the_model_knows() -> None:
    here = Corridor(ALONE)
    incident = await rolled(here)
    before = incident.grade.grade if incident.grade else ""
    assert not (await here.press("U0ANA", "grade", incident.stream, asked={"grade": "great"})).ok
    assert not (await here.press("U0ANA", "grade", incident.stream, reason="", asked={"grade": "harmful"})).ok
    assert (await here.press("U0ANA", "grade", incident.stream, asked={"grade": "harmful"})).ok
    overruled = (await here.world.ledger(STREAM)).grades[incident.stream]
    assert (overruled.grade, overruled.person, overruled.reason) == ("harmful", "U0ANA", f"It was {before} before.")


async def test_what_is_left_behind_has_an_owner_until_somebody_clears_it() -> None:
    here = Corridor(ALONE)
    here.targets["route"].leaves = "an override that ends with the process."
    incident = await rolled(here)
    left = (await here.world.ledger(STREAM)).leftovers[incident.stream, "route"]
    assert left.what == "an override that ends with the process."
    assert not (await here.press("U0ANA", "clear", incident.stream, asked={"leftover": "rout"})).ok
    assert (await here.press("U0ANA", "clear", incident.stream, asked={"leftover": "route"})).ok
    assert (await here.world.ledger(STREAM)).leftovers == {}
    assert (await here.incident(incident.stream)).leftovers == {}


async def test_it_is_mitigated_until_somebody_records_the_fix() -> None:
    here = Corridor(ALONE)
    incident = await rolled(here)
    assert (await here.press("U0ANA", "fix", incident.stream, asked={"version": "43"})).ok
    fixed = (await here.incident(incident.stream)).fix
    assert fixed is not None
    assert (fixed.person, fixed.version) == ("U0ANA", "43")
    assert not (await here.press("U0ANA", "fix", incident.stream)).ok


# ── cohorts ───────────────────────────────────────────────────────────────────────────────────────────────────────

COHORTS: dict[str, Any] = {
    "cohorts": ["eu", "us"],
    "slis": {
        "error_ratio": {"source": "meter", "objective": 0.02},
        "by": {"source": "meter", "objective": 0.02, "of": "cohort={cohort}"},
    },
}


async def test_every_cohort_is_judged_and_all_of_them_make_a_recovery() -> None:
    here = Corridor(ALONE, place=COHORTS)
    incident = await rolled(here)
    assert incident.phase is Phase.CLOSED
    rounds = [one for one in here.entries(incident.stream) if isinstance(one, e.SliSampled) and not one.before]
    assert {one.sli for one in rounds[0].samples} == {"error_ratio", "by[eu]", "by[us]"}


@pytest.mark.parametrize(
    ("value", "verdict", "told"), [(0.3, "no", "by of us 0.3"), (None, "cannot_tell", "by of us unknown")]
)
async def test_one_cohort_that_is_not_well_is_no_recovery(value: float | None, verdict: str, told: str) -> None:
    here = Corridor(ALONE, place=COHORTS)
    here.meter.values["cohort=us"] = value
    incident = await rolled(here)
    assert (incident.phase, incident.verdicts["recovered"]) == (Phase.STUCK, verdict)
    assert told in incident.stuck_reason


async def test_a_question_that_hangs_delays_the_plan_by_its_time_and_no_more() -> None:
    here = Corridor(place=CAPACITY)
    here.meter.hangs = True
    stream = await here.fire()
    began = here.clock.now()
    await here.hung(stream)
    assert here.clock.now() - began <= timedelta(seconds=12)
    assert (await here.incident(stream)).plan is not None
