"""The page's words: four answers, three verdicts, the plan and the marks, for every phase of a story."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from bot.clock import START
from bot.demo import picture
from bot.demo.slack import CAST
from bot.domain import entries as e
from bot.domain import words
from bot.domain.traffic import Outcome
from tests.demo.stage import ABLE
from tests.slack.stories import APPLIED, HELD, MADE, PLAN, ROLLING, STARTED, STORIES, incident, opened, recorded

BANNED = re.compile(
    r"successfully|please|sorry|oops|unfortunately|\bjust\b|\bsimply\b|seamless|\bissue|!|an error occurred|has been|\bold\b",
    re.IGNORECASE,
)


def name(user: str) -> str:
    return CAST.get(user, user)


def four(story: str) -> list[dict[str, Any]]:
    return picture.four(incident(STORIES[story]), ABLE, name)


def text(answer: dict[str, Any]) -> str:
    return "".join(piece for piece, _ in answer["answer"])


def now(answers: list[dict[str, Any]]) -> tuple[int, str]:
    return next((n, one["tone"]) for n, one in enumerate(answers) if one["now"])


@pytest.mark.parametrize("story", STORIES)
def test_exactly_one_question_matters_now_and_every_answer_says_something(story: str) -> None:
    answers = four(story)
    assert [one["now"] for one in answers].count(True) == 1
    assert all(text(one) for one in answers)


@pytest.mark.parametrize("story", STORIES)
def test_every_word_is_in_our_voice_and_units_stand_after_a_space_that_does_not_break(story: str) -> None:
    found = incident(STORIES[story])
    rows = [text(one) + " " + one["small"] for one in four(story)]
    plan = picture.plan(found) or {"note": "", "steps": []}
    rows += [picture.word(found), plan["note"], *(step["what"] for step in plan["steps"])]
    for said in rows:
        assert not BANNED.search(said), said
        assert not re.search(r"\d(?:%| %| s\b| ms\b)", said), said


def test_before_there_is_an_incident_no_alert_is_all_that_is_claimed() -> None:
    answers = picture.four(None, {}, name, going_out=True)
    assert text(answers[0]) == "No alert. Error ratio {ratio}"
    assert text(answers[3]) == "Version 42 is going out"
    assert picture.word(None) == "Quiet"
    assert picture.marks(None, (), name) == {"lines": [], "dots": []}
    assert picture.plan(None) is None


def test_while_it_waits_the_people_who_can_are_named() -> None:
    answers = four("waiting-0")
    assert now(answers) == (2, "")
    assert text(answers[0]) == "fraud-scorer 42: {ratio} errors"
    assert text(answers[1]) == "42 → 41"
    assert text(answers[2]) == "Ana or Tom, and Priya"
    assert picture.word(incident(STORIES["waiting-0"])) == "Waiting 0/2"


def test_after_the_first_vote_the_other_place_is_asked_for_in_full() -> None:
    found = incident(STORIES["waiting-1"])
    answers = picture.four(found, {"model owner": ("U0PRIYA",)}, name)
    assert text(answers[2]) == "Priya Shah"
    assert text(answers[3]) == "Ana approved, one to go"
    assert picture.word(found) == "Waiting 1/2"


def test_recovered_is_never_written_before_the_third_verdict() -> None:
    for story in ("waiting-1", "cleared", "rolling", "applied", "moved"):
        assert "Recovered" not in "".join(text(one) for one in four(story))
    assert text(four("moved")[0]) == "Error ratio {ratio}, not proven yet"
    found = incident(STORIES["closed-recovered"])
    assert found.judged_at is not None
    assert text(four("closed-recovered")[3]) == f"Recovered in {words.span(found.judged_at - found.opened_at)}"
    assert now(four("closed-recovered")) == (3, "good")


def test_cannot_tell_is_violet_and_never_reads_like_yes() -> None:
    answers = four("stuck-cannot-tell")
    assert now(answers) == (3, "odd")
    assert ("Not known.", "odd") in answers[0]["answer"]
    assert picture.tiles(incident(STORIES["stuck-cannot-tell"]))[2]["answer"] == "cannot_tell"
    assert picture.word(incident(STORIES["stuck-cannot-tell"])) == "Cannot tell"


def test_not_recovered_blames_the_model_and_no_longer_the_version() -> None:
    answers = four("stuck-not-recovered")
    assert now(answers) == (3, "bad")
    assert text(answers[0]) == "fraud-scorer: {ratio} errors"


@pytest.mark.parametrize(
    ("story", "word"),
    [
        ("stuck-rejected", "Rejected"), ("stuck-blocked", "Blocked"), ("stuck-step", "Stuck"), ("noted", "For your information"),
        ("closed-gave-up", "Closed"), ("closed-by-itself", "Recovered"), ("stuck-not-recovered", "Not recovered"),
    ],
)  # fmt: skip
def test_the_title_of_the_tab_begins_with_the_state(story: str, word: str) -> None:
    assert picture.word(incident(STORIES[story])) == word


def test_a_verdict_under_way_turns_and_a_verdict_to_come_asks_its_question() -> None:
    rows = picture.tiles(incident(ROLLING))
    assert [row["answer"] for row in rows] == ["checking", "not_yet", "not_yet"]
    assert rows[1]["evidence"] == "Does 42 really get none?"
    rows = picture.tiles(incident(APPLIED))
    assert [row["answer"] for row in rows] == ["yes", "checking", "not_yet"]
    assert rows[0]["evidence"] == "Envoy took it."


def test_the_plan_says_what_is_undone_before_anybody_clicks() -> None:
    drawn = picture.plan(incident(STORIES["waiting-0"]))
    assert drawn is not None
    assert drawn["steps"] == [
        {"name": "1. route", "what": "Envoy, 42 100\u00a0% → 0\u00a0%", "icon": "not_yet", "said": "planned"}
    ]
    assert "nothing is undone towards 42; a person is asked" in drawn["note"]


@pytest.mark.parametrize(("on_failure", "part"), [("stop", "nothing is undone"), ("compensate", "in reverse")])
def test_another_way_to_fail_is_another_sentence(on_failure: str, part: str) -> None:
    plan = PLAN.but(on_failure=on_failure)
    drawn = picture.plan(incident((opened(), MADE.but(plan=plan))))
    assert drawn is not None
    assert part in drawn["note"]


@pytest.mark.parametrize(
    ("entry", "icon"),
    [
        (e.StepUnknown(step="route", attempt=1, detail="no answer"), "cannot_tell"),
        (e.StepFailed(step="route", attempt=1, outcome=Outcome.REJECTED, detail="refused"), "no"),
        (STARTED, "checking"),
    ],
)
def test_a_step_shows_what_became_of_it(entry: e.Entry, icon: str) -> None:
    drawn = picture.plan(incident((*ROLLING, entry)))
    assert drawn is not None
    assert drawn["steps"][0]["icon"] == icon


def marks(story: str) -> dict[str, Any]:
    return picture.marks(incident(STORIES[story]), recorded(STORIES[story]), name)


def test_the_plot_is_marked_where_the_timeline_says() -> None:
    found = marks("closed-recovered")
    assert [label for _, label in found["lines"]] == ["alert", "41 back", "recovered"]
    assert found["lines"][0][0] == START.timestamp()
    assert found["dots"][0] == [(START + timedelta(seconds=30)).timestamp(), "Ana Ruiz approved"]
    assert marks("stuck-cannot-tell")["lines"][2][1] == "verdict"


# ── broken glass, and what is put off ─────────────────────────────────────────────────────────────────────────────


def test_broken_glass_is_loud_in_the_title_and_names_who_acted_alone_until_somebody_reviewed_it() -> None:
    assert picture.word(incident(STORIES["glass"])) == "Starting, glass broken"
    assert picture.word(incident(STORIES["glass-closed"])) == "Recovered, glass broken"
    assert picture.word(incident(STORIES["glass-reviewed"])) == "Recovered"
    assert text(four("glass")[2]) == "Ana Ruiz, alone"
    assert text(four("glass")[3]) == "Glass broken, checking again"
    due = picture.day(next(one.review_due for one in STORIES["glass"] if isinstance(one, e.GlassBroken)))
    assert four("glass-closed")[2]["small"] == f"glass broken · review due {due}"
    assert four("glass-reviewed")[2]["small"] == "glass broken · reviewed"


def test_who_broke_the_glass_is_marked_on_the_plot_where_it_happened() -> None:
    (broken,) = [one for one in recorded(STORIES["glass-closed"]) if isinstance(one.entry, e.GlassBroken)]
    assert marks("glass-closed")["dots"] == [[broken.at.timestamp(), "Ana Ruiz broke the glass"]]


def test_what_is_put_off_says_by_whom_and_until_when_and_asks_nobody() -> None:
    answers, found = four("snoozed"), incident(STORIES["snoozed"])
    assert found.snoozed_until is not None
    assert (picture.word(found), now(answers)) == ("Waiting", (3, ""))
    assert text(answers[2]) == "Nobody now"
    assert text(answers[3]) == f"Put off until {picture.clock(found.snoozed_until)}"
    assert answers[3]["small"] == "by Ana Ruiz"


def test_what_a_rule_holds_names_the_rule() -> None:
    found = incident((*STORIES["waiting-0"][:2], HELD))
    answers = picture.four(found, ABLE, name)
    assert picture.word(found) == "Waiting"
    assert (text(answers[3]), answers[3]["small"]) == ("Held by policy", "rule prod-tier1")


def test_a_time_of_another_day_says_the_day() -> None:
    when = picture.near(START)
    assert when(START) == picture.clock(START)
    assert when(START + timedelta(hours=24)) == picture.day(START + timedelta(hours=24))
