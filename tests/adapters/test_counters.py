"""Did traffic move? The bound is honest at every count, and no look claims more than its requests can carry."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.counters import judge
from bot.domain.counting import at_most
from bot.domain.traffic import Reading, Revision, TargetPlan, TargetState, TrafficSplit, Verification

AT = datetime(2026, 11, 23, 2, 12, tzinfo=UTC)


def split(**shares: float) -> TrafficSplit:
    return TrafficSplit(weights={name.removeprefix("v"): Decimal(str(share)) for name, share in shares.items()})


def plan(before: float = 100, goal: float = 0) -> TargetPlan:
    now = split(v42=before, v41=round(100 - before, 6))
    revisions = tuple(Revision(id=name) for name in ("42", "41", "40"))
    state = TargetState(target="route", desired=now, revisions=revisions, observed_at=AT)
    to = split(v42=goal, v41=100 - goal)
    return TargetPlan(
        target="route", adapter="x", before=state, to_split=to, bad="42", good="41", concurrency="none", undo=now
    )


def reading(requests: dict[str, int], epoch: str = "a") -> Reading:
    return Reading(at=AT, requests=requests, epoch=epoch)


def looked(then: dict[str, int], now: dict[str, int], *, before: float = 100, goal: float = 0) -> Verification:
    return judge(plan(before, goal), "converged", reading(then), reading(now))


def tail(seen: int, of: int, share: float) -> float:
    """The exact chance to see so few."""
    return sum(comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(seen + 1))


# ── the bound ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_above_its_bound_shows_so_few_in_at_most_one_of_twenty_cases(drawn: tuple[int, int]) -> None:
    seen, of = drawn
    bound = at_most(seen, of)
    assert seen / of <= bound <= 1
    assert bound == 1 or tail(seen, of, bound) <= 0.05 + 1e-9


@given(st.integers(4, 10**9), st.data())  # below four the rule of three says 1, which is loose and never wrong
def test_more_bad_requests_never_lower_the_bound_and_more_requests_never_raise_it(of: int, data: st.DataObject) -> None:
    seen = data.draw(st.integers(0, of - 1))
    rounded = 1 + 1e-6  # near 10^9 requests the logarithms differ by less than a float can hold
    assert at_most(seen, of) <= at_most(seen + 1, of) * rounded
    assert at_most(seen, of + 1) <= at_most(seen, of) * rounded


@pytest.mark.parametrize(
    ("seen", "of", "bound"),
    [(0, 300, 0.01), (0, 3000, 0.001), (0, 2, 1.0), (0, 0, 1.0), (7, 7, 1.0), (1, 10_000, 0.0005)],
)
def test_the_bound_is_three_over_n_when_none_was_seen_and_close_to_the_share_when_many_were(
    seen: int, of: int, bound: float
) -> None:
    assert at_most(seen, of) == pytest.approx(bound, rel=0.15)


# ── the verdict ───────────────────────────────────────────────────────────────────────────────────────────────────────

counts = st.dictionaries(st.sampled_from(["42", "41", "40", "arm"]), st.integers(0, 5000))


@given(counts, counts, st.integers(1, 100), st.sampled_from("ab"))
def test_a_look_never_claims_moved_without_enough_requests(
    then: dict[str, int], more: dict[str, int], before: int, epoch: str
) -> None:
    now = {name: then.get(name, 0) + count for name, count in more.items()}
    look = judge(plan(before), "converged", reading(then), reading(now, epoch))
    if look.data_plane == "moved":
        assert epoch == "a"
        assert {"42"} <= then.keys() & more.keys()
        assert more["42"] == 0
        counted = sum(count for name, count in more.items() if name in then)
        assert counted * before / 100 > 3
        assert look.upper_bound_bad is not None
        assert look.upper_bound_bad < before / 100
    if look.data_plane == "inconclusive":
        assert look.detail


def test_none_of_300_requests_is_proof() -> None:
    look = looked({"42": 812, "41": 5}, {"42": 812, "41": 305})
    assert (look.data_plane, look.upper_bound_bad) == ("moved", 0.01)
    assert look.detail == "Version 42 gets 0 of 300 requests; its counter stopped at 812."


def test_ten_requests_cannot_tell_a_canary_that_left_from_one_that_was_not_drawn() -> None:
    look = looked({"42": 0, "41": 0}, {"42": 0, "41": 10}, before=5)
    assert look.data_plane == "inconclusive"
    assert (
        look.detail.replace("\u00a0", " ") == "Version 42 gets 0 of 10 requests, too few to tell from the 5 % it had."
    )


def test_a_version_that_still_gets_requests_is_not_gone_however_few_they_are() -> None:
    look = looked({"42": 0, "41": 0}, {"42": 1, "41": 9999})
    assert look.data_plane == "moving"
    assert look.upper_bound_bad is not None
    assert look.upper_bound_bad > 0.0001


def test_a_version_nobody_counts_is_never_called_gone() -> None:
    now = reading({"41": 900})
    look = judge(plan(), "converged", reading({"42": 3, "41": 0}), now)
    assert (look.data_plane, look.detail) == ("inconclusive", "Nothing counts the requests of version 42.")
    assert judge(plan(), "converged", reading({"41": 0}), reading({"41": 900, "42": 0})).data_plane == "inconclusive"


def test_requests_from_before_the_baseline_are_no_sample() -> None:
    look = looked({"42": 10}, {"42": 10, "41": 90_000})
    assert (look.data_plane, look.detail) == ("inconclusive", "No requests arrived, so nobody can tell what serves.")


@pytest.mark.parametrize("now", [{"42": 9, "41": 900}, {"42": 10, "41": 4}])
def test_a_counter_that_fell_is_a_restart(now: dict[str, int]) -> None:
    assert "restarted" in looked({"42": 10, "41": 5}, now).detail


def test_a_restart_is_seen_when_the_counters_are_higher_than_before() -> None:
    look = judge(plan(), "converged", reading({"42": 0, "41": 5}), reading({"42": 0, "41": 900}, "b"))
    assert (look.data_plane, look.samples) == ("inconclusive", {})


def test_answers_of_no_known_version_may_have_been_the_bad_one() -> None:
    then = {"42": 0, "41": 0, "no version": 0}
    few = looked(then, {"42": 0, "41": 1495, "no version": 5})
    all_of_them = looked(then, {"42": 0, "41": 0, "no version": 30})
    assert few.data_plane == "moved"
    assert few.upper_bound_bad == at_most(5, 1500)
    assert few.detail.endswith("5 of them name no version, which may be it.")
    assert (all_of_them.data_plane, all_of_them.upper_bound_bad) == ("inconclusive", 1.0)


@pytest.mark.parametrize(("bad", "verdict"), [(510, "moved"), (850, "not_moved"), (715, "moving")])
def test_a_version_that_keeps_a_share_is_judged_by_what_it_is_nearer_to(bad: int, verdict: str) -> None:
    assert looked({"42": 0, "41": 0}, {"42": bad, "41": 1000 - bad}, before=90, goal=50).data_plane == verdict


def test_two_requests_do_not_tell_half_from_nine_tenths() -> None:
    assert looked({"42": 0, "41": 0}, {"42": 1, "41": 1}, before=90, goal=50).data_plane == "inconclusive"
