"""Why it was decided so: every plan, decision, approval and refusal, and what became of the plan."""

from __future__ import annotations

import pytest

from bot.report.trace import attempts
from tests.report.tales import ANA, MIKA, PRIYA, REFUSED, TALES, TEN, told
from tests.slack import stories as s


def test_a_plan_carries_everything_that_was_decided_about_it() -> None:
    (one,) = attempts(told(TALES["recovered"]))
    assert one.plan == s.PLAN
    assert [str(check) for row in one.decisions for check in getattr(row.entry, "trace", ())] == [
        "✗ rule fast-burn (fraud-scorer does not match ranker-*)",
        "? rule unsure (burn_rate is unknown)",
        "✓ rule prod-tier1 (tier == 1)",
    ]
    assert [act.person for act in one.approvals] == [ANA, PRIYA]
    assert one.approvals[0].text == "as on-call SRE, on card version 3, through slack"
    assert [check.name for check in one.claim] == ["<@U0ANA> still counts as on-call SRE"]


def test_the_same_refusal_again_is_counted_not_repeated() -> None:
    (one,) = attempts(told(TALES["recovered"]))
    (told_to,) = one.refusals.values()
    assert (told_to.person, told_to.times, told_to.at) == (MIKA, 2, told(TALES["recovered"])[3].at)


@pytest.mark.parametrize(
    ("tale", "fates"),
    [
        ("opened", []),
        ("noted", ["It is still open."]),
        ("rejected", [f"<@U0PRIYA> rejected plan {s.PLAN.short}. Nothing was changed."]),
        ("blocked", ["No version served before 42. Nothing was changed. Set last_good in the config."]),
        ("recovered by itself", ["The incident closed before it was carried out."]),
        ("expired", ["Plan ended with 0 of 2 approvals; missing: model owner. Nothing was changed."] * 3),
        (
            "voided and planned again",
            [f"43 was deployed. Plan {s.PLAN.short} is void, its approvals count for nothing.", "It is still open."],
        ),
    ],
)
def test_every_plan_says_what_became_of_it(tale: str, fates: list[str]) -> None:
    assert [one.fate for one in attempts(told(TALES[tale]))] == fates


def test_a_carried_out_plan_says_since_when() -> None:
    rows = told(TALES["recovered"])
    (one,) = attempts(rows)
    assert one.fate.startswith(f"The rollback began at <!date^{int((rows[0].at + 8 * TEN).timestamp())}")


def test_a_press_before_there_is_a_plan_is_kept() -> None:
    first, second = attempts(told((s.opened(), REFUSED, s.MADE)))
    assert first.plan is None
    assert list(first.refusals)
    assert second.plan == s.PLAN
