"""What served when, and what that says about which version is bad and which one is good."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bot.domain import entries as e
from bot.domain.ledger import Choice, Ledger, Served, Wanted, choose, fold
from bot.domain.traffic import TrafficSplit

START = datetime(2026, 11, 23, 2, 12, tzinfo=UTC)
STREAM = "model/production/fraud"


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def recorded(*story: tuple[float, e.Entry], first: int = 1) -> list[e.Recorded]:
    return [
        e.Recorded(n, STREAM, version=n, epoch=n, at=at(minute), entry=entry, prev="", digest="")
        for n, (minute, entry) in enumerate(story, first)
    ]


def serves(target: str = "eu", **weights: int) -> e.VersionServed:
    shares = {name.removeprefix("v"): Decimal(share) for name, share in weights.items()}
    return e.VersionServed(target=target, split=TrafficSplit(weights=shares))


def linked(version: str | None = None) -> e.IncidentLinked:
    return e.IncidentLinked(incident="incident/I", version=version)


def after(*story: tuple[float, e.Entry]) -> Ledger:
    return fold(STREAM, recorded(*story))


HISTORY = ((0.0, serves(v40=100)), (20.0, serves(v41=100)), (40.0, serves(v42=100)))
QUARANTINE = e.VersionQuarantined(version="41", incident="I", reason="error ratio.")
WANTED = Wanted(
    versions=("42", "41", "40"), serving={"42": Decimal(100)}, alert_version=None, asked=None, last_good=None,
    soak=timedelta(minutes=10), now=at(45),
)  # fmt: skip


def chosen(ledger: Ledger, **changes: Any) -> Choice:
    return choose(ledger, replace(WANTED, **changes))


def reasons(choice: Choice) -> dict[str, str]:
    return {one.version: one.reason.replace("\u00a0", " ") for one in choice.candidates}


# ── what served when ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stretch_lasts_while_the_version_has_any_traffic() -> None:
    ledger = after((0, serves(v41=100)), (5, serves(v41=90, v42=10)), (9, serves(v41=0, v42=100)))
    assert ledger.served == (
        Served("eu", "41", Decimal(90), at(0), at(9)),
        Served("eu", "42", Decimal(100), at(5)),
    )


def test_a_version_that_comes_back_begins_a_new_stretch() -> None:
    ledger = after((0, serves(v41=100)), (5, serves(v42=100)), (9, serves(v41=100)))
    assert [(row.version, row.since, row.until) for row in ledger.served] == [
        ("41", at(0), at(5)),
        ("42", at(5), at(9)),
        ("41", at(9), None),
    ]
    assert ledger.first_seen("41") == at(0)


def test_each_target_has_its_own_stretches() -> None:
    ledger = after((0, serves("eu", v41=100)), (1, serves("us", v41=100)), (5, serves("eu", v42=100)))
    assert [(row.target, row.version) for row in ledger.served if row.until is None] == [("us", "41"), ("eu", "42")]
    assert ledger.serving() == ("42", "41")
    assert set(ledger.splits) == {"eu", "us"}


@pytest.mark.parametrize(("named", "blamed"), [("41", {"41"}), (None, {"42"}), ("39", set())])
def test_an_alert_marks_the_version_it_names_else_the_newest_serving(named: str | None, blamed: set[str]) -> None:
    ledger = after((0, serves(v41=100)), (5, serves(v41=50, v42=50)), (6, linked(named)))
    assert {row.version for row in ledger.served if row.alerted} == blamed


def test_the_stream_knows_its_open_incident_and_its_lock() -> None:
    story: list[tuple[float, e.Entry]] = [(0, linked()), (1, e.LockTaken(incident="I", plan="p"))]
    ledger = after(*story)
    assert (ledger.open_incident, ledger.lock, ledger.last_closed_at) == ("incident/I", "I", None)
    ends = [(2.0, e.LockReleased(incident="I")), (3.0, e.IncidentUnlinked(incident="I", recovered=True))]
    ledger = fold(STREAM, recorded(*ends, first=3), ledger)
    assert (ledger.open_incident, ledger.lock, ledger.last_closed_at) == (None, None, at(3))
    assert (ledger.last_incident, ledger.version) == ("incident/I", 4)


@pytest.mark.parametrize("cut", range(5))
def test_a_fold_continued_is_the_fold_of_all(cut: int) -> None:
    rows = recorded(*HISTORY, (44, linked()))
    assert fold(STREAM, rows[cut:], fold(STREAM, rows[:cut])) == fold(STREAM, rows)


# ── the choice ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_newest_serving_version_is_bad_and_the_newest_that_soaked_is_good() -> None:
    choice = chosen(after(*HISTORY))
    assert (choice.bad, choice.good, choice.observed) == ("42", "41", True)
    assert (choice.since, choice.until) == (at(20), at(40))
    assert [one.version for one in choice.candidates if one.chosen] == ["41"]
    assert reasons(choice)["41"] == "served 20 min without an alert"


def test_the_version_the_alert_names_is_bad_when_it_serves() -> None:
    both = {"42": Decimal(50), "41": Decimal(50)}
    assert chosen(after(*HISTORY), alert_version="41", serving=both).bad == "41"
    assert chosen(after(*HISTORY), alert_version="40", serving=both).bad == "42"


def test_where_nothing_serves_nothing_is_bad() -> None:
    assert chosen(Ledger(STREAM), serving={"42": Decimal(0)}).bad is None


def test_a_version_that_did_not_soak_is_passed_over() -> None:
    story = ((0, serves(v40=100)), (20, serves(v41=100)), (29, serves(v42=100)))
    choice = chosen(after(*story))
    assert choice.good == "40"
    assert reasons(choice)["41"] == "served, but never 10 min without an alert"


def test_a_soak_is_long_enough_from_its_last_second_on() -> None:
    story = ((0, serves(v41=100)), (10, serves(v42=100)))
    assert chosen(after(*story)).good == "41"
    assert chosen(after(*story), soak=timedelta(minutes=10, seconds=1)).good is None


def test_a_version_that_was_alerted_about_is_passed_over() -> None:
    story = (*HISTORY[:2], (30, linked("41")), HISTORY[2])
    choice = chosen(after(*story))
    assert choice.good == "40"
    assert reasons(choice)["41"] == "served, but never 10 min without an alert"


def test_a_quarantined_version_is_passed_over_and_says_why() -> None:
    choice = chosen(after(*HISTORY, (41, QUARANTINE)))
    assert choice.good == "40"
    assert reasons(choice)["41"] == "quarantined: error ratio."


@pytest.mark.parametrize("way", [{"asked": "41"}, {"last_good": "41"}, {"versions": ("42", "41")}])
def test_nothing_leads_to_a_quarantined_version(way: dict[str, Any]) -> None:
    choice = chosen(after((0, serves(v42=100)), (1, QUARANTINE)), **way)
    assert choice.good is None
    assert not any(one.chosen for one in choice.candidates)


def test_the_version_asked_for_goes_before_the_one_that_soaked() -> None:
    choice = chosen(after(*HISTORY), asked="40", last_good="41")
    assert (choice.good, choice.observed) == ("40", True)


@pytest.mark.parametrize("asked", ["39", "42"])
def test_a_version_asked_for_that_cannot_be_gone_back_to_is_not_replaced_by_another(asked: str) -> None:
    assert chosen(after(*HISTORY), asked=asked, alert_version="42").good is None


def test_without_history_the_configured_last_good_is_taken_as_not_observed() -> None:
    choice = chosen(after((40, serves(v42=100))), last_good="40")
    assert (choice.good, choice.observed, choice.since, choice.until) == ("40", False, None, None)
    assert reasons(choice) == {"41": "not observed serving", "40": "configured as last_good, not observed serving"}


def test_what_was_observed_goes_before_what_is_configured() -> None:
    assert chosen(after(*HISTORY), last_good="40").good == "41"


def test_the_only_other_version_is_taken_as_not_observed_serving() -> None:
    choice = chosen(Ledger(STREAM), versions=("42", "41"))
    assert (choice.good, choice.observed, reasons(choice)) == ("41", False, {"41": "not observed serving"})


def test_among_several_versions_never_seen_none_is_guessed() -> None:
    assert chosen(Ledger(STREAM)).good is None
