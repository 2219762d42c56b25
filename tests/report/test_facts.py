"""An incident as plain data: what the commands, the pages and the lists promise."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from bot.clock import START
from bot.domain import entries as e
from bot.domain import words
from bot.domain.incident import Phase
from bot.report.facts import explained, kind, listed, moments, next_sentence, projected, shown
from tests.report.tales import APPLIED, CANNOT, MOVED, OPEN, REFUSED, ROLLED, TALES, WELL, ended, name, told
from tests.slack import stories as s


def test_a_list_item_names_both_versions_and_the_phase_in_small_letters() -> None:
    assert listed(ended(told(OPEN))) == {
        "id": s.ULID, "model": "fraud-scorer", "environment": "prod", "phase": "waiting", "from": "42", "to": "41",
        "opened_at": START.isoformat(),
    }  # fmt: skip
    assert (listed(ended(told((s.opened(),))))["from"], listed(ended(told((s.opened(),))))["to"]) == (None, None)


@pytest.mark.parametrize("tale", TALES)
def test_every_ending_is_shown_as_json(tale: str) -> None:
    found = orjson.loads(orjson.dumps(shown(ended(told(TALES[tale])))))
    assert set(found) >= {"id", "phase", "plan", "approvals", "verdicts", "next"}
    assert set(found["verdicts"]) == {"accepted", "traffic_moved", "recovered"}
    assert set(found["verdicts"].values()) <= {"yes", "not_yet", "no", "cannot_tell"}
    assert found["next"]


def test_what_is_shown_carries_plan_approvals_and_steps() -> None:
    found = shown(ended(told(ROLLED)))
    assert [one["person"] for one in found["approvals"]] == ["U0ANA", "U0PRIYA"]
    assert found["plan"]["id"] == s.PLAN.id
    assert found["plan"]["steps"] == [
        {"name": "route", "target": "route", "after": [], "kind": "target", "share": 100, "state": "moved"}
    ]
    planned = shown(ended(told(OPEN)))
    assert planned["plan"]["steps"][0]["state"] == "planned"
    assert planned["plan"]["expires_at"] is not None


def test_what_is_explained_is_the_whole_trace_or_why_there_is_none() -> None:
    found = explained(ended(told(OPEN)))
    assert (found["mode"], found["rule"], [one["ok"] for one in found["trace"]]) == (
        "approve", "prod-tier1", [False, None, True],
    )  # fmt: skip
    assert explained(ended(told((s.opened(),))))["reason"] == "Policy was not asked yet."
    blocked = explained(ended(told(TALES["blocked"])))
    assert blocked["reason"] == "No version served before 42. Nothing was changed. Set last_good in the config."
    assert blocked["trace"] == []


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("tale", ["opened", "recovered", "rejected"])
def test_every_phase_says_what_comes_next(phase: Phase, tale: str) -> None:
    said = next_sentence(replace(ended(told(TALES[tale])), phase=phase))
    assert said.endswith(".")
    assert "  " not in said
    assert "None" not in said


@pytest.mark.parametrize(
    ("story", "said"),
    [
        ("waiting-0", f"Waits for approval until {words.moment(START.replace(minute=START.minute + 15))}."),
        ("applied", f"Traffic is being counted; a verdict comes within 2{words.NBSP}min."),
        ("moved", "The service is being judged: 3 good samples in a row are needed."),
        ("recovered", f"Watched for 1{words.NBSP}min, then closed."),
        ("closed-recovered", "Nothing; it is closed."),
        ("stuck-taken", f"<@U0PRIYA> decides. {s.STUCK.reason}"),
    ],
)
def test_what_comes_next_has_its_number_and_its_time(story: str, said: str) -> None:
    assert next_sentence(s.incident(s.STORIES[story])) == said


def test_a_list_row_follows_opening_closing_and_opening_again() -> None:
    rows = told(TALES["back again"])
    first = projected(rows[:1], None)
    assert first == {
        "id": s.STREAM, "model": "fraud-scorer", "environment": "prod", "opened_at": START.isoformat(), "open": 1,
    }  # fmt: skip
    closed = projected(rows[1:18], first)
    assert closed is not None
    assert closed["open"] == 0
    again = projected(rows[18:], closed)
    assert again is not None
    assert again["open"] == 1
    assert projected(rows, None) == again
    assert projected(rows[1:2], first) == first
    assert projected(rows[1:2], None) is None


def test_moments_are_rows_for_people() -> None:
    rows = moments(told(TALES["rejected"]), name)
    assert rows[-1] == {
        "version": 5, "at": told(TALES["rejected"])[-1].at.isoformat(), "type": "plan.rejected",
        "digest": told(TALES["rejected"])[-1].digest[:8],
        "sentence": f"Priya Shah rejected plan {s.PLAN.short}. Nothing was changed.", "kind": "person",
    }  # fmt: skip
    late = moments(
        told((s.opened(), REFUSED.but(text=f"Ended at {words.moment(START)}."))), name, lambda at: f"{at:%S}"
    )
    assert late[-1]["sentence"] == f"Mika Lind was refused: Ended at {START:%S}."


@pytest.mark.parametrize(
    ("entry", "sort"),
    [
        (s.opened(), "bad"),
        (e.IncidentReopened(alerts=(s.alert(),), episode=2), "bad"),
        (s.FAILED, "bad"),
        (s.ILL, "bad"),
        (MOVED, "good"),
        (APPLIED, "good"),
        (s.WELL, "good"),
        (CANNOT, "odd"),
        (s.UNSURE, "odd"),
        (e.StepUnknown(step="route", attempt=1, detail=""), "odd"),
        (MOVED.but(verdict="not_yet"), "note"),
        (REFUSED, "person"),
        (e.NoteAdded(person="U0ANA", text_ref="t"), "person"),
        (e.RollbackCancelled(person="U0ANA", text_ref="t"), "person"),
        (e.StepRetried(step="route", person="U0ANA"), "person"),
        (WELL[-2], "note"),
        (s.MADE, "note"),
    ],
)
def test_an_entry_is_coloured_by_what_it_means(entry: e.Entry, sort: str) -> None:
    assert kind(entry) == sort
