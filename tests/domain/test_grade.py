"""A rollback is graded by what failed before and after; what nobody measured is graded unknown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.grade import change, grade, wilson
from bot.domain.sli import Measurement, SliSample

NOW = datetime(2026, 11, 23, 2, 12, tzinfo=UTC)


def look(
    value: float | None,
    requests: float | None = 2000,
    sli: str = "error_ratio",
    objective: float = 0.02,
    good: str = "below",
) -> SliSample:
    well = value is not None and (value <= objective if good == "below" else value >= objective)
    verdict = "unknown" if value is None else "good" if well else "breached"
    return SliSample.model_validate({
        "sli": sli, "verdict": verdict, "measurement": Measurement(at=NOW, value=value, requests=requests), "objective": objective,
        "good": good, "sentence": f"{sli} {value}.",
    })  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (look(0.12), look(0.003), "helped"), (look(0.003), look(0.12), "harmful"), (look(0.01), look(0.011), "neutral"),
        (look(0.12, 20), look(0.08, 20), "neutral"), (look(None), look(0.003), "unknown"), (look(0.12), look(None), "unknown"),
        (look(0.8, None, "latency_p99", 0.25), look(0.2, None, "latency_p99", 0.25), "helped"),
        (look(0.2, None, "latency_p99", 0.25), look(0.8, None, "latency_p99", 0.25), "harmful"),
        (look(0.2, None, "latency_p99", 0.25), look(0.2, None, "latency_p99", 0.25), "neutral"),
        (look(0.0005, 10**6), look(0.0009, 10**6), "neutral"), (look(0.03, 10**6), look(0.05, 10**6), "harmful"),
        (look(0.9, 2000, "success_ratio", 0.98, "above"), look(0.99, 2000, "success_ratio", 0.98, "above"), "helped"),
        (look(0.99, 2000, "success_ratio", 0.98, "above"), look(0.9, 2000, "success_ratio", 0.98, "above"), "harmful"),
    ],
)  # fmt: skip
def test_the_interval_decides_and_too_little_is_no_help(before: SliSample, after: SliSample, expected: str) -> None:
    assert grade([before], [after]).grade == expected


def test_the_sentence_holds_both_sides_and_the_interval() -> None:
    found = grade([look(0.124, 2120)], [look(0.003, 2120)])
    assert found.reason.replace("\u00a0", " ") == (
        "error ratio: 12.4 % of 2,120 requests failed before and 0.3 % of 2,120 after: a change between −13.6 % and −10.7 %, 95 % interval."
    )
    assert found.low is not None
    assert found.high is not None
    assert found.low < -0.121 < found.high < 0


def test_an_sli_that_was_well_all_along_says_nothing_against_one_that_got_better() -> None:
    latency = look(0.2, None, "latency_p99", 0.25)
    found = grade(
        [latency, look(0.12), look(0.1, 20, "error_ratio[eu]")],
        [latency, look(0.003), look(0.05, 20, "error_ratio[eu]")],
    )
    assert found.grade == "helped"


def test_a_cohort_that_got_worse_makes_it_harmful_and_is_named() -> None:
    found = grade([look(0.12), look(0.01, 2000, "error_ratio[eu]")], [look(0.003), look(0.3, 2000, "error_ratio[eu]")])
    assert (found.grade, found.reason.partition(":")[0]) == ("harmful", "error ratio of eu")


def test_one_that_got_worse_decides_and_one_seen_on_one_side_only_does_not_count() -> None:
    both = [look(0.12), look(0.1, None, "latency_p99", 0.25), look(0.5, sli="only_before_ratio")]
    after = [look(0.003), look(0.9, None, "latency_p99", 0.25)]
    assert grade(both, after).grade == "harmful"


@pytest.mark.parametrize(("before", "why"), [((), "no SLI was measured before the rollback"), ((look(None),), "no SLI was measured on both sides")])  # fmt: skip
def test_what_nobody_measured_is_unknown_with_the_reason(before: tuple[SliSample, ...], why: str) -> None:
    found = grade(before, [look(0.003)])
    assert (found.grade, found.reason) == ("unknown", f"Unknown: {why}.")


RATIO, SIZE = st.floats(0, 1), st.integers(1, 10**6)


@given(RATIO, SIZE, RATIO, SIZE)
def test_an_interval_holds_the_change_it_is_about(was: float, of: int, now: float, among: int) -> None:
    low, high = change(was, of, now, among)
    assert -1 <= low <= now - was + 1e-9
    assert now - was - 1e-9 <= high <= 1


@given(RATIO, SIZE)
def test_more_requests_never_widen_an_interval(ratio: float, of: int) -> None:
    (low, high), (closer, nearer) = wilson(ratio, of), wilson(ratio, of * 4)
    assert nearer - closer <= high - low + 1e-9


def test_the_intervals_are_the_published_ones() -> None:
    low, high = change(48 / 80, 80, 56 / 70, 70)  # Newcombe 1998, table II (a), method 10
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


@given(st.integers(1, 5000), st.integers(1, 5000), st.data())
def test_swapping_both_sides_swaps_the_grade(of: int, among: int, data: st.DataObject) -> None:
    was, now = data.draw(st.integers(0, of)) / of, data.draw(st.integers(0, among)) / among
    there = grade([look(was, of, objective=0.0)], [look(now, among, objective=0.0)])
    back = grade([look(now, among, objective=0.0)], [look(was, of, objective=0.0)])
    other = {"helped": "harmful", "harmful": "helped", "neutral": "neutral"}
    assert back.grade == other[there.grade]
    assert there.low == pytest.approx(-(back.high or 0))
    assert there.high == pytest.approx(-(back.low or 0))


@given(st.floats(0, 1), st.integers(1, 10**5))
def test_a_service_that_did_not_change_is_neither_helped_nor_harmed(ratio: float, of: int) -> None:
    assert grade([look(ratio, of)], [look(ratio, of)]).grade == "neutral"
