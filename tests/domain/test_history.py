"""What follows from a ledger: no window is off by one, and what goes in a circle is seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st

from bot.domain import history
from bot.domain.facts import FACTS as KNOWN
from bot.domain.ledger import Ledger, PastRollback, Served
from bot.domain.policy import decide
from tests.domain.policies import facts, policy, rule

NOW = datetime(2026, 11, 23, 3, 12, tzinfo=UTC)
MICRO, DAY, WEEK = timedelta(microseconds=1), timedelta(days=1), timedelta(days=7)
ALONE = policy(rule("alone", "auto"), rule("ask"))


def past(ago: timedelta, mode: str = "auto", bad: str = "42", good: str = "41") -> PastRollback:
    return PastRollback(NOW - ago, "I1", "alone", mode, bad, good)


def ledger(*rollbacks: PastRollback, served: tuple[Served, ...] = ()) -> Ledger:
    return Ledger("model/production/fraud", rollbacks=rollbacks, served=served)


def decided(model: Ledger, bad: str = "42", good: str = "41") -> str:
    known = history.facts(model, bad, good, NOW, WEEK)
    return decide(ALONE, facts(**{**known, "deployed_at": NOW - timedelta(hours=1)})).mode


def test_a_model_without_a_past_has_none() -> None:
    assert history.facts(ledger(), "42", "41", NOW, WEEK) == {
        "deployed_at": None, "target_quarantined": False, "recent_rollbacks": 0, "auto_rollbacks_today": 0,
        "since_last_rollback": None, "would_loop": False,
    }  # fmt: skip


def test_every_fact_of_the_ledger_is_a_fact_policy_knows_about() -> None:
    drawn = history.facts(ledger(), "42", "41", NOW, WEEK)
    about = {name for name, fact in KNOWN.items() if fact.source == "the ledger"}
    elsewhere = {
        "observed_serving",
        "neighbours_breached",
        "upstream_change",
        "upstream_rolling",
    }  # the plan's, and other models'
    assert drawn.keys() == about - elsewhere


def test_exactly_at_its_length_a_cooldown_is_over() -> None:
    half = timedelta(minutes=30)
    assert decided(ledger(past(half - MICRO, "approve"))) == "approve"
    assert decided(ledger(past(half, "approve"))) == "auto"


def test_exactly_24_h_ago_is_not_today() -> None:
    assert history.auto_rollbacks_today(ledger(past(DAY), past(DAY - MICRO), past(DAY + MICRO)), NOW) == 1


def test_only_rollbacks_nobody_approved_count_against_the_limit_of_a_day() -> None:
    done = ledger(
        past(timedelta(hours=2)), past(timedelta(hours=3), "approve"), past(timedelta(hours=4), "break_glass")
    )
    assert history.auto_rollbacks_today(done, NOW) == 1
    assert history.recent_rollbacks(done, NOW, timedelta(hours=4)) == 2


def test_RT22_a_version_rolled_back_from_is_never_gone_back_to_alone() -> None:
    """42 → 41, then 41 → 42: the second would end where the first began."""
    first = past(timedelta(hours=5), bad="42", good="41")
    assert history.would_loop(ledger(first), "42", NOW, WEEK)
    assert not history.would_loop(ledger(first), "41", NOW, WEEK)
    assert decided(ledger(first), bad="41", good="42") == "approve"
    assert decided(ledger(first), bad="43", good="41") == "auto"


def test_RT22_a_circle_is_forgotten_exactly_at_the_end_of_the_window() -> None:
    assert history.would_loop(ledger(past(WEEK - MICRO)), "42", NOW, WEEK)
    assert not history.would_loop(ledger(past(WEEK)), "42", NOW, WEEK)


def test_a_version_was_deployed_when_its_newest_open_stretch_began() -> None:
    full = Decimal(100)
    served = (
        Served("route", "42", full, NOW - timedelta(days=9), NOW - timedelta(days=8)),
        Served("route", "42", full, NOW - timedelta(hours=3)),
        Served("batch", "42", full, NOW - timedelta(hours=2)),
        Served("route", "41", full, NOW - timedelta(days=8), NOW - timedelta(hours=1)),
    )
    model = ledger(served=served)
    assert history.deployed_at(model, "42") == NOW - timedelta(hours=2)
    assert history.deployed_at(model, "41") is None


def test_a_quarantined_version_is_a_fact_of_the_ledger() -> None:
    model = Ledger("m", quarantined=MappingProxyType({"41": "it lost money"}))
    assert history.facts(model, "42", "41", NOW, WEEK)["target_quarantined"] is True
    assert history.facts(model, "41", "42", NOW, WEEK)["target_quarantined"] is False


AGES = st.integers(0, 3 * 86_400_000_000).map(lambda micros: timedelta(microseconds=micros))
EDGES = st.sampled_from([timedelta(minutes=30), DAY, WEEK]).flatmap(
    lambda edge: st.sampled_from([edge - MICRO, edge, edge + MICRO])
)
PAST = st.lists(
    st.builds(past, AGES | EDGES, st.sampled_from(["auto", "approve", "break_glass"]), st.sampled_from("ABC"))
)


@given(PAST)
def test_the_limit_of_a_day_counts_exactly_the_last_24_h(rollbacks: list[PastRollback]) -> None:
    seconds = [(NOW - one.at).total_seconds() for one in rollbacks if one.mode == "auto"]
    assert history.auto_rollbacks_today(ledger(*rollbacks), NOW) == len([one for one in seconds if one < 86_400])


@given(PAST, AGES | EDGES)
def test_a_cooldown_is_never_off_by_one(rollbacks: list[PastRollback], age: timedelta) -> None:
    model = ledger(*rollbacks, past(age, "approve"))
    newest = min([age, *(NOW - one.at for one in rollbacks)])
    since = history.since_last_rollback(model, NOW)
    assert since == newest.total_seconds()
    quiet = facts(since_last_rollback=since)
    assert (decide(ALONE, quiet).mode == "auto") == (newest >= timedelta(minutes=30))


@given(PAST, st.sampled_from("ABCD"), AGES)
def test_a_loop_is_a_version_rolled_back_from_within_the_window_and_nothing_else(
    rollbacks: list[PastRollback], to: str, window: timedelta
) -> None:
    left = {one.from_version for one in rollbacks if one.at > NOW - window}
    assert history.would_loop(ledger(*rollbacks), to, NOW, window) == (to in left)


@given(PAST)
def test_the_order_the_past_is_kept_in_is_irrelevant(rollbacks: list[PastRollback]) -> None:
    there = history.facts(ledger(*rollbacks), "42", "41", NOW, WEEK)
    assert there == history.facts(ledger(*reversed(rollbacks)), "42", "41", NOW, WEEK)


def test_a_clock_that_ran_ahead_never_gives_a_negative_age() -> None:
    assert history.since_last_rollback(ledger(past(-DAY)), NOW) == 0.0
    assert decided(ledger(past(-DAY, "approve"))) == "approve"
