"""What an incident did: measured from its timeline, or the word unknown with its reason, never a nought."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from bot.clock import START
from bot.domain import entries as e
from bot.domain import words
from bot.domain.traffic import TargetState
from bot.report.impact import first_value, impact
from tests.report.tales import OPEN, STARTED, TALES, VOTED, asked, ended, look, reading, sample, told
from tests.slack import stories as s


def effects(entries: Sequence[e.Entry]) -> dict[str, str]:
    rows = told(entries)
    return {one.name: one.value.replace(words.NBSP, " ") for one in impact(ended(rows), rows)}


def test_a_recovered_incident_says_what_the_bad_version_did() -> None:
    found = effects(TALES["recovered"])
    assert found["When it began"] == "error ratio 12.4 %, objective ≤ 1 %"
    assert found["Share of traffic on 42"] == "route 100 %"
    assert found["Time on 42"] == "3 min 50 s"
    assert found["Requests on 42"].startswith("211 from ")
    assert found["Failures on 42"] == (
        "unknown (no sample was taken while it served; at the alert's 12.4 % it would be about 26 of the 211 counted)"
    )
    assert found["Service after the move"] == "error ratio 0.003 of 2120 requests."


@pytest.mark.parametrize("tale", TALES)
def test_what_nobody_measured_is_unknown_with_a_reason(tale: str) -> None:
    for value in effects(TALES[tale]).values():
        assert value
        assert value not in ("0", "0 %", "None", "-")
    found = effects(TALES[tale])
    assert found["Users affected"] == "unknown (requests carry no user)"
    assert found["Cost"].startswith("unknown (")


@pytest.mark.parametrize(
    ("tale", "name", "value"),
    [
        ("asked for", "When it began", "unknown (a person asked, no alert carried a number)"),
        ("blocked", "Share of traffic on 42", "unknown (no plan was made, so no target was read)"),
        ("blocked", "Requests on 42", "unknown (its counter was not read twice)"),
        ("opened", "Failures on 42", "unknown (no sample was taken while it served)"),
        ("recovered by itself", "Time on 42", "2 min 30 s, until the alerts ended"),
        ("rejected", "Time on 42", "at least 2 min 40 s: traffic was not proven to move"),
        ("gave up", "Service after the move", "unknown (traffic was not proven to move)"),
    ],
)
def test_every_ending_says_what_it_can(tale: str, name: str, value: str) -> None:
    assert effects(TALES[tale])[name] == value


def test_failures_are_counted_in_samples_taken_while_the_bad_version_served() -> None:
    before = (sample(0.1, 1000, "breached"), sample(0.2, 500, "breached"), sample(None))
    assert effects((*OPEN, *before))["Failures on 42"] == "200 of 1,500 requests"
    after = effects((*VOTED, s.CLAIM, *before, STARTED, *TALES["recovered"][10:]))
    assert after["Failures on 42"] == "200 of 1,500 requests"


def test_the_look_before_anything_moved_counts_failures_where_no_other_was_taken() -> None:
    before = sample(0.114, 500, "breached").but(before=True)
    assert effects((*OPEN, before, *TALES["recovered"][3:]))["Failures on 42"] == "57 of 500 requests"
    assert effects((*OPEN, before, sample(0.1, 1000, "breached")))["Failures on 42"] == "100 of 1,000 requests"


def test_a_counter_that_began_anew_tells_nothing() -> None:
    moved = TALES["recovered"][11]
    assert isinstance(moved, e.TrafficVerified)
    anew = moved.but(verification=look(80, 93_211, 9, {"41": 9}).but(reading=reading(80, 93_211, 9, "2")))
    fewer = moved.but(verification=look(80, 5, 9, {"41": 9}))
    for one in (anew, fewer):
        found = effects((*TALES["recovered"][:11], one))
        assert found["Requests on 42"] == "unknown (its counter was not read twice)"


def test_a_look_policy_took_for_another_plan_counts_for_nothing() -> None:
    other = asked().but(plan="f" * 64)
    found = effects((s.opened(), s.MADE, other, *TALES["recovered"][3:]))
    assert found["Requests on 42"] == "unknown (its counter was not read twice)"


def test_the_share_is_what_each_target_observed() -> None:
    state = TargetState(target="route", desired=s.split(100), observed=s.split(40), revisions=(), observed_at=START)
    found = effects((*VOTED, s.CLAIM.but(before={"route": state}), STARTED))
    assert found["Share of traffic on 42"] == "route 40 %"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"value": None}, "unknown (the alert carries no number)"),
        ({"threshold": None}, "error ratio 12.4 %, no limit in the alert"),
        ({"sli": "availability", "value": 0.9, "threshold": 0.99}, "availability 0.9, objective ≥ 0.99"),
        ({"sli": None}, "SLOFastBurn 0.124, objective ≤ 0.01"),
    ],
)
def test_the_number_of_the_alert_stands_beside_its_limit(changes: dict[str, object], text: str) -> None:
    assert first_value(s.alert(**changes)).replace(words.NBSP, " ") == text


def test_an_episode_begins_with_its_own_alert() -> None:
    again = e.IncidentReopened(
        alerts=(s.alert(fingerprint="f9", value=0.5, starts_at=START + timedelta(minutes=3)),), episode=2
    )
    found = effects((*TALES["recovered"], again))
    assert found["When it began"] == "error ratio 50 %, objective ≤ 1 %"


def test_a_clock_ahead_of_ours_gives_no_negative_time() -> None:
    ahead = s.alert(starts_at=START + timedelta(hours=1))
    found = effects((s.opened(ahead),))
    assert found["Time on 42"].startswith("unknown (the clocks disagree")
