"""How long it took and whose time it was: every number has a definition, a missing moment a reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.clock import START
from bot.domain import entries as e
from bot.domain import words
from bot.report.measures import Moment, between, episodes, measures, spent, stretches
from tests.report.tales import OPEN, TALES, TEN, ended, told
from tests.slack import stories as s


def values(rows: Sequence[e.Recorded]) -> dict[str, str]:
    return {one.name: one.value.replace(words.NBSP, " ") for one in measures(ended(rows), rows)}


def test_a_recovered_incident_has_every_number() -> None:
    found = values(told(TALES["recovered"]))
    assert found == {
        "Time to detect": "2 min",
        "Time to decide": "1 min 10 s",
        "People's time": "50 s",
        "Lastgood's time": "1 min 40 s",
        "Rollback": "30 s",
        "Alert to traffic moved": "1 min 50 s",
        "Alert to recovered": "2 min 30 s",
        "Traffic rolled back": "100 % of 1,696 requests",
        "Service afterwards": "error ratio 0.003 of 2120 requests.",
        "Grade": "unknown (it was not graded)",
        "Entries that follow": "18 of 18",
    }


def test_people_and_lastgood_share_the_whole_time_between_them() -> None:
    rows = told(TALES["recovered"])
    parts = stretches(rows)
    whole = spent(parts, ["people", "machine", "proof"], None)
    assert whole == rows[-2].at - rows[0].at
    assert spent(parts, ["people"], None) + spent(parts, ["machine", "proof"], None) == whole


@pytest.mark.parametrize("tale", TALES)
def test_every_number_of_every_ending_is_measured_or_says_why_not(tale: str) -> None:
    for one in measures(ended(rows := told(TALES[tale])), rows):
        assert one.meaning
        assert one.value
        assert not one.value.startswith("unknown") or one.value.endswith(")")
        assert "-" not in one.value.replace("on-call", "")
        assert "None" not in one.value


@pytest.mark.parametrize(
    ("tale", "name", "value"),
    [
        ("opened", "Time to decide", "unknown (nobody decided)"),
        ("opened", "Rollback", "unknown (no rollback began)"),
        ("asked for", "Time to detect", "unknown (a person asked, so no alert says when it began)"),
        ("recovered alone", "Time to decide", "20 s"),
        ("recovered alone", "People's time", "0 s"),
        ("rejected", "Time to decide", "40 s"),
        ("rejected", "Alert to traffic moved", "unknown (no rollback began)"),
        ("expired", "Time to decide", "unknown (the plan expired)"),
        ("blocked", "Time to decide", "unknown (there was no plan to decide about)"),
        ("noted", "Time to decide", "unknown (policy asked nobody)"),
        ("voided and planned again", "Time to decide", "1 min 20 s"),
        ("stuck", "Alert to traffic moved", "unknown (traffic was not proven to move)"),
        ("stuck", "Traffic rolled back", "unknown (traffic was not measured)"),
        ("cannot tell whether it moved", "Rollback", "unknown (nobody can tell whether traffic moved)"),
        ("cannot tell", "Alert to recovered", "unknown (nobody could tell)"),
        ("cannot tell", "Service afterwards", "unknown (no sample was taken)"),
        ("not recovered", "Alert to recovered", "unknown (it did not recover)"),
        ("did not stay recovered", "Alert to recovered", "unknown (it recovered and did not stay so)"),
        ("marked recovered", "Alert to recovered", "unknown (a person marked it recovered, it was not proven)"),
        ("back again", "Time to detect", "unknown (the clocks disagree: the end lies 1 min before the start)"),
    ],
)
def test_a_missing_moment_gives_its_reason(tale: str, name: str, value: str) -> None:
    assert values(told(TALES[tale]))[name] == value


def test_an_end_before_its_start_is_a_clock_not_a_number() -> None:
    late, early = Moment(START), Moment(START - timedelta(seconds=4))
    assert between(late, early).replace(words.NBSP, " ") == (
        "unknown (the clocks disagree: the end lies 4 s before the start)"
    )
    assert between(Moment(None, "no start"), Moment(None, "no end")) == "unknown (no start)"
    assert between(early, Moment(None, "no end")) == "unknown (no end)"


def test_a_clock_that_was_set_back_never_makes_time_negative() -> None:
    rows = [replace(one, at=START - one.version * TEN) for one in told(TALES["recovered"])]
    assert stretches(rows) == []
    assert values(rows)["People's time"] == "0 s"


def test_only_the_last_episode_is_measured() -> None:
    rows = told(TALES["back again"])
    assert [len(one) for one in episodes(rows)] == [18, 4]
    assert [part.phase.value for part in stretches(rows)] == ["opened", "planned", "waiting"]


def test_the_time_an_incident_is_still_open_counts_up_to_its_last_entry() -> None:
    rows = told((*OPEN, e.Reminded(plan=s.PLAN.id, people=()), e.Reminded(plan=s.PLAN.id, people=())))
    assert stretches(rows)[-1].length == 2 * TEN


def test_a_hole_or_a_wrong_link_shows_in_the_count_of_entries() -> None:
    rows = told(TALES["recovered"])
    assert values([*rows[:4], *rows[5:]])["Entries that follow"] == "16 of 17"
    forged = [*rows[:4], replace(rows[4], digest="0" * 64), *rows[5:]]
    assert values(forged)["Entries that follow"] == "17 of 18"


def test_a_share_names_its_sample_and_nothing_counted_is_unknown() -> None:
    rows = told(TALES["recovered"])
    incident = ended(rows)
    assert incident.moved is not None
    assert incident.moved.verification is not None
    nothing = incident.moved.but(verification=incident.moved.verification.but(samples={}))
    some = incident.moved.but(verification=incident.moved.verification.but(samples={"42": 1, "41": 9999}))
    found = [
        next(one.value for one in measures(replace(incident, moved=moved), rows) if one.name == "Traffic rolled back")
        for moved in (nothing, some)
    ]
    assert found == ["unknown (no request was counted)", f"99.99{words.NBSP}% of 10,000 requests"]


def test_a_rollback_is_graded_once_it_is_over() -> None:
    graded = e.RollbackGraded(incident="incident/1", grade="helped", low=-0.2, high=-0.1, reason="It did.")
    for tale, entries, grade in (
        ("recovered", (graded,), "helped"), ("opened", (), "unknown (no rollback began)"),
        ("not recovered", (), "unknown (the rollback is not over)"),
    ):  # fmt: skip
        assert values(told((*TALES[tale], *entries)))["Grade"] == grade
