"""Once a rollback is over: mitigated until the fix is recorded, what is left behind with its owner, what changed."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from bot.domain import entries as e
from bot.report.impact import impact
from bot.report.postmortem import facts
from bot.report.standing import after, mitigated, standing
from tests.report.tales import TALES, ended, name, told

GRADED = e.RollbackGraded(incident="incident/1", grade="helped", low=-0.14, high=-0.11, reason="It did.")
LEFT = e.LeftoverOpened(
    incident="incident/1", name="route", what="a runtime override of fraud.*.", by_hand="curl", owner="S0FRAUD"
)
CLEARED = e.LeftoverCleared(incident="incident/1", name="route", reason="route was looked at.")
FIXED = e.FixRecorded(person="U0ANA", text_ref="r", version="43")
BEFORE, AFTER = (
    e.DeltaMeasured(name="conversion", when="before", value=2.9, text="conversion 2.9 % before the rollback."),
    e.DeltaMeasured(name="conversion", when="after", value=3.1, text="conversion 3.1 % after, 2.9 % before."),
)
COST = e.DeltaMeasured(
    name="cost", when="after", reason="nothing answers", text="cost after: unknown (nothing answers)."
)


def lines(*more: e.Entry, tale: str = "recovered") -> list[str]:
    return standing(ended(told((*TALES[tale], *more))))


@pytest.mark.parametrize("tale", TALES)
def test_what_did_not_recover_by_a_rollback_is_not_called_mitigated(tale: str) -> None:
    incident = ended(told(TALES[tale]))
    if incident.closed is None or incident.closed.outcome not in ("recovered", "marked_recovered"):
        assert (mitigated(incident), after(incident)["mitigated"]) == ("", False)


def test_it_is_mitigated_until_the_fix_is_recorded() -> None:
    assert lines() == ["Mitigated: the fix is not recorded yet."]
    assert lines(FIXED) == ["<@U0ANA> recorded the fix in 43."]


def test_what_is_left_behind_is_named_with_its_owner_until_it_is_cleared() -> None:
    assert lines(FIXED, LEFT)[-1] == "Left behind at route: a runtime override of fraud.*. Owner: S0FRAUD."
    assert lines(FIXED, LEFT.but(owner=""))[-1].endswith("Owner: nobody.")
    assert lines(FIXED, LEFT, CLEARED) == lines(FIXED)


def test_the_grade_stands_in_the_postmortem_with_its_reason() -> None:
    entries = (*TALES["recovered"], GRADED, LEFT)
    rows = told(entries)
    said = facts(ended(rows), rows, name, {})["summary"]
    assert said[-3:] == [
        "Mitigated: the fix is not recorded yet.", "Graded helped: It did.",
        "Left behind at route: a runtime override of fraud.*. Owner: S0FRAUD.",
    ]  # fmt: skip


def test_what_is_left_behind_is_plain_text_whoever_wrote_it() -> None:
    assert "<@" not in lines(FIXED, LEFT.but(what="<@U0ANA> did it", owner="<!here>"))[-1]


def effects(*more: e.Entry) -> dict[str, str]:
    rows = told((*TALES["recovered"], *more))
    return {one.name: one.value for one in impact(ended(rows), rows)}


def test_figures_are_shown_before_and_after_and_the_last_word_counts() -> None:
    found = effects(BEFORE, AFTER, COST)
    assert (found["Conversion"], found["Cost"]) == (AFTER.text, COST.text)
    assert "Business effect" not in found
    assert effects(BEFORE)["Conversion"] == BEFORE.text
    assert effects(COST)["Business effect"].startswith("unknown (")


@pytest.mark.parametrize("more", [(), (GRADED, LEFT, FIXED, BEFORE, AFTER, COST)])
def test_the_same_as_plain_data(more: Sequence[e.Entry]) -> None:
    found = after(ended(told((*TALES["recovered"], *more))))
    assert json.loads(json.dumps(found)) == found
    if more:
        assert found["leftovers"] == [{"name": "route", "what": LEFT.what, "by_hand": "curl", "owner": "S0FRAUD"}]
        assert (found["mitigated"], found["fix"]) == (False, {"person": "U0ANA", "version": "43"})
        assert found["grade"]["grade"] == "helped"
        assert [(one["name"], one["when"]) for one in found["deltas"]] == [
            ("conversion", "before"), ("conversion", "after"), ("cost", "after"),
        ]  # fmt: skip
    else:
        assert found == {"mitigated": True, "fix": None, "grade": None, "leftovers": [], "deltas": []}
