"""The generated year is a model: the same seed gives the same year, and it has the shape its documentation says."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.demo import year
from bot.demo.year import HOUSE, KINDS, Place, generate
from bot.domain.facts import FACTS, live, plain

END = datetime(2026, 11, 26, tzinfo=UTC)
ONE = (Place("eta", "prod", 2),)
PASTS = generate(7, END)
TYPES = {"string": str, "int": int, "double": float, "bool": bool, "timestamp": datetime, "map": dict}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_year(seed: int) -> None:
    month = timedelta(days=30)
    assert generate(seed, END, ONE, month) == generate(seed, END, ONE, month)
    assert generate(seed, END, ONE, month) != generate(seed + 1, END, ONE, month)


def test_a_year_of_the_house_has_about_2000_incidents_of_every_kind_in_order() -> None:
    assert 1800 < len(PASTS) < 2300
    assert [one.at for one in PASTS] == sorted(one.at for one in PASTS)
    causes = Counter(one.cause for one in PASTS)
    assert set(causes) == {one.name for one in (*KINDS, year.REGRESSION)}
    others = sum(causes[one.name] for one in KINDS)
    for kind in KINDS:
        assert abs(causes[kind.name] / others - kind.share) < 0.04
    assert all(END - year.YEAR <= one.at < END for one in PASTS)


def test_every_model_and_environment_has_incidents() -> None:
    assert {(one.looks[0].facts["model"], one.looks[0].facts["environment"]) for one in PASTS} == {
        (one.model, one.environment) for one in HOUSE
    }


def test_its_facts_are_those_a_guard_knows_with_their_types() -> None:
    for one in PASTS[:300]:
        facts = one.looks[0].facts
        assert set(facts) <= set(FACTS)
        assert live(plain(facts)) == facts
        for name, value in facts.items():
            assert value is None or isinstance(value, TYPES[FACTS[name].kind]), name


def test_a_measurement_is_unknown_now_and_then() -> None:
    unknown = sum(one.looks[0].facts["samples"] is None for one in PASTS) / len(PASTS)
    assert 0.015 < unknown < 0.05


def test_whether_a_rollback_helps_is_always_known_and_follows_the_kind() -> None:
    assert {one.helps for one in PASTS} == {True, False}
    for kind in (*KINDS, year.REGRESSION):
        helped = [one.helps for one in PASTS if one.cause == kind.name]
        expected = kind.helps * (1 - kind.by_itself)
        assert abs(sum(map(bool, helped)) / len(helped) - expected) < 0.12, kind.name


def test_regressions_follow_a_deployment_closely_and_the_rest_do_not() -> None:
    def ages(regressions: bool) -> list[float]:  # noqa: FBT001  which half
        found = [one for one in PASTS if (one.cause == "regression") is regressions]
        return [(one.at - one.looks[0].facts["deployed_at"]) / timedelta(hours=1) for one in found]

    assert median(ages(regressions=True)) < 1
    assert median(ages(regressions=False)) > 24


def test_people_are_slower_at_night_and_two_are_slower_than_one() -> None:
    def waits(tier: int, hours: range) -> float:
        found = [one for one in PASTS if one.rolled_at and one.at.hour in hours]
        return median(
            (one.rolled_at - one.at).total_seconds() for one in found if one.rolled_at and one.looks[0].facts["tier"] == tier
        )  # fmt: skip

    assert waits(2, range(7, 18)) < waits(2, range(7))
    assert waits(2, range(7, 18)) < waits(1, range(7, 18))


@pytest.mark.parametrize(
    ("at", "share"),
    [("2026-03-04T15:00", 1.0), ("2026-03-04T03:00", 1 / 3), ("2026-03-07T15:00", 0.6), ("2026-03-04T09:00", 2 / 3)],
)
def test_hours_and_weekends_are_as_busy_as_it_says(at: str, share: float) -> None:
    assert year.busy(datetime.fromisoformat(at)) == pytest.approx(share)


def test_the_rate_over_a_year_is_the_one_that_is_written_down() -> None:
    weekly = [year.busy(END + timedelta(hours=n)) for n in range(7 * 24)]
    assert sum(weekly) / len(weekly) == pytest.approx(0.5 * (1 / 3 + 1) * (5 + 2 * 0.6) / 7)
    others = sum(one.cause != "regression" for one in PASTS) / len(HOUSE)
    assert abs(others - year.OTHERS_A_YEAR) < 15


def test_nothing_is_deployed_in_the_freeze_at_night_or_at_weekends() -> None:
    for one in PASTS:
        at = one.looks[0].facts["deployed_at"]
        if at >= END - year.YEAR:
            assert at.weekday() < 5
            assert 8 <= at.hour < 17
            assert (1, 2) < (at.month, at.day) < (12, 18)


def test_nobody_rolls_back_what_ended_before_they_came() -> None:
    assert all(one.rolled_at == one.over_at for one in PASTS if one.rolled_at)
    flaps = [one for one in PASTS if one.cause == "flapping"]
    assert sum(one.rolled_at is not None for one in flaps) / len(flaps) < 0.2
