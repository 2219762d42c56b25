"""A rule climbs a rung at a time on evidence since its last step, and comes down without."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain import trust
from bot.domain.entries import Rung, TrustMoved, Verdict
from bot.domain.ledger import PastRollback
from bot.domain.roles import Trust

LADDER = Trust(role="leads", approve_after=1, auto_after=3)
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)


def past(hours: int, verdict: Verdict, *rules: str) -> PastRollback:
    return PastRollback(BEGAN + timedelta(hours=hours), f"I{hours}", rules[-1], "auto", "42", "41", verdict, rules)


def moved(rung: Rung) -> TrustMoved:
    return TrustMoved(rule="fast", rung=rung, reason="It earned it.")


def test_a_rule_stands_where_it_was_moved_else_where_the_policy_begins_else_at_the_bottom() -> None:
    assert trust.rung(LADDER, moved("auto")) == "auto"
    assert trust.rung(Trust(role="leads", start="approve"), None) == "approve"
    assert trust.rung(LADDER, None) == "notify"
    assert trust.rung(None, None) == "notify"


def test_evidence_is_what_helped_and_what_did_not_under_the_rule_since_its_last_step() -> None:
    rollbacks = [
        past(1, "yes", "fast"),
        past(2, "no", "slow", "fast"),
        past(3, "yes", "slow"),
        past(4, "cannot_tell", "fast"),
        past(5, "not_yet", "fast"),
        past(6, "yes", "fast", "slow"),
    ]
    assert trust.evidence(rollbacks, "fast", None) == (2, 1)
    assert trust.evidence(rollbacks, "fast", BEGAN + timedelta(hours=1)) == (1, 1)
    assert trust.evidence(rollbacks, "fast", BEGAN + timedelta(hours=2)) == (1, 0)
    assert trust.evidence(rollbacks, "none", None) == (0, 0)


@pytest.mark.parametrize(
    ("now", "to", "helped", "harmful", "line"),
    [
        ("notify", "approve", 1, 0, "✓ trust ladder (needs 1 rollback that helped since it last moved, has 1)"),
        ("notify", "approve", 0, 0, "✗ trust ladder (needs 1 rollback that helped since it last moved, has 0)"),
        ("approve", "auto", 3, 0, "✓ trust ladder (needs 3 rollbacks that helped since it last moved, has 3)"),
        ("approve", "auto", 1, 0, "✗ trust ladder (needs 3 rollbacks that helped since it last moved, has 1)"),
        ("approve", "auto", 9, 1, "✗ trust ladder (1 rollback since it last moved did not help)"),
        ("notify", "approve", 9, 2, "✗ trust ladder (2 rollbacks since it last moved did not help)"),
        ("notify", "auto", 9, 0, "✗ trust ladder (goes up one rung at a time, and after notify comes approve)"),
        ("auto", "approve", 0, 9, "✓ trust ladder (auto to approve, down needs no evidence)"),
        ("auto", "notify", 0, 0, "✓ trust ladder (auto to notify, down needs no evidence)"),
        ("approve", "approve", 9, 0, "✗ trust ladder (stands on approve already)"),
        ("notify", "notify", 0, 1, "✓ trust ladder (stays, and its evidence begins anew)"),
    ],
)
def test_a_step_is_allowed_or_says_what_is_missing(now: Rung, to: Rung, helped: int, harmful: int, line: str) -> None:
    assert str(trust.may_climb(LADDER, now, to, helped, harmful)) == line


def test_an_organisation_may_ask_for_no_evidence() -> None:
    free = Trust(role="leads", approve_after=0, auto_after=0)
    assert trust.may_climb(free, "notify", "approve", 0, 0).ok
    assert not trust.may_climb(free, "approve", "auto", 0, 1).ok


def test_it_comes_down_a_rung_at_a_time_to_the_bottom() -> None:
    assert [trust.step_down(one) for one in ("auto", "approve", "notify")] == ["approve", "notify", None]


RUNG = st.sampled_from(trust.RUNGS)


@given(RUNG, RUNG, st.integers(0, 9), st.integers(0, 3))
def test_nothing_climbs_after_a_rollback_that_did_not_help_nor_two_rungs_at_once(
    now: Rung, to: Rung, helped: int, harmful: int
) -> None:
    check = trust.may_climb(LADDER, now, to, helped, harmful)
    step = trust.RUNGS.index(to) - trust.RUNGS.index(now)
    if step > 0 and check.ok:
        assert (step, harmful) == (1, 0)
        assert helped >= {"approve": 1, "auto": 3}[to]
    assert check.ok or step >= 0


@given(st.lists(st.sampled_from(("yes", "no", "cannot_tell", "not_yet"))), st.integers(0, 20))
def test_evidence_counts_each_rollback_begun_after_the_step_and_none_before(verdicts: list[Verdict], step: int) -> None:
    rollbacks = [past(n, verdict, "fast") for n, verdict in enumerate(verdicts)]
    after = verdicts[step + 1 :]
    assert trust.evidence(rollbacks, "fast", BEGAN + timedelta(hours=step)) == (after.count("yes"), after.count("no"))
