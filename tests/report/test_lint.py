"""A policy that `check` takes may still not do what it says: each doubt has its place, its words and its mend."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.catalogue import Catalogue
from bot.domain.model import Model
from bot.domain.policy import Policy, matches
from bot.domain.roles import Role
from bot.report import lint
from bot.report.lint import Finding, Past

TODAY = date(2026, 11, 26)
ROLES = {"sre": {"members": ["U0ANA", "U0TOM"]}, "owner": {"members": ["U0PRIYA", "U0MIKA"]}}
ASKS = {"mode": "approve", "require": [{"role": "sre"}]}
TWO = {"mode": "approve", "require": [{"role": "sre"}, {"role": "owner"}]}
REVIEWED = {"at": TODAY, "by": "U0ANA"}
GUARD = "burn_rate > 14.0"


def model(tier: int = 1, sli: str = "approval_rate", environment: str = "prod") -> Model:
    source = {"source": "prometheus", "objective": 0.9}
    place = {"targets": {"route": {"adapter": "memory"}}, "slis": {sli: source} if sli else {}}
    return Model.model_validate({"tier": tier, "environments": {environment: place}})


def found(
    rules: list[dict[str, Any]] | None = None,
    *,
    models: dict[str, Model] | None = None,
    roles: dict[str, Any] | None = None,
    past: Past | None = None,
    **policy: Any,
) -> list[Finding]:
    rules = [{"id": f"r{n}", **one} for n, one in enumerate(rules or [{**ASKS}])]
    whole = Policy.model_validate({"rules": rules, "reviewed": REVIEWED, **policy})
    known = {name: Role.model_validate(one) for name, one in (roles or ROLES).items()}
    return lint.lint(Catalogue({"fraud": model()} if models is None else models, whole, known, ()), TODAY, past)


def messages(findings: list[Finding], level: str = "problem") -> list[str]:
    return [one.message for one in findings if one.level == level]


def test_a_sound_policy_has_no_finding() -> None:
    auto = {"mode": "auto", "when": GUARD, "for": "2m"}
    assert found([auto, {**TWO, "environments": ["prod"]}, ASKS]) == []


# ── rules nobody reaches ──────────────────────────────────────────────────────────────────────────────────────────

MISSED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (ASKS, TWO),
    (ASKS, {"mode": "auto", "for": "2m"}),
    ({**ASKS, "environments": ["pr*"]}, {**TWO, "environments": ["prod"]}),
    ({**ASKS, "models": ["fraud", "rank-*"]}, {**TWO, "models": ["rank-a*", "fraud"]}),
    ({**ASKS, "when": GUARD}, {**TWO, "when": "burn_rate  >  14.0", "models": ["fraud"]}),
    ({"mode": "auto", "for": "2m"}, {"mode": "auto", "for": "5m", "min_samples": 10}),
    ({"mode": "notify"}, {"mode": "notify", "when": GUARD}),
]
REACHED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({**ASKS, "when": GUARD}, TWO),
    ({**ASKS, "environments": ["prod"]}, {**TWO, "environments": ["pr*"]}),
    ({**ASKS, "models": ["fr?ud"]}, {**TWO, "models": ["fr*ud"]}),
    ({"mode": "auto", "for": "5m"}, {"mode": "auto", "for": "2m"}),
    ({"mode": "auto", "for": "2m", "when": GUARD}, {**ASKS, "when": GUARD}),  # people's requests, and what is bounded
    ({"mode": "notify"}, ASKS),  # people's requests
]


@pytest.mark.parametrize(("first", "second"), MISSED)
def test_a_rule_that_is_never_reached_is_named_with_the_one_that_takes_all(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    (one,) = found([first, second])
    assert (one.path, one.level) == (("policy", "rules", 1, "id"), "problem")
    assert "r1" in one.message
    assert "r0" in one.message


@pytest.mark.parametrize(("first", "second"), REACHED)
def test_a_rule_that_something_is_left_for_is_no_finding(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert messages(found([first, second])) == []


def test_two_rules_before_may_take_all_together() -> None:
    rules = [{**ASKS, "models": ["fraud"]}, {**ASKS, "models": ["ranker"]}, {**TWO, "models": ["fraud", "ranker"]}]
    assert messages(found(rules)) == ["r2 is never reached: r0 and r1, before it, take all it could match"]


def test_the_same_question_with_two_answers_is_a_contradiction() -> None:
    (one,) = found([{**ASKS, "when": GUARD}, {"mode": "auto", "when": GUARD, "for": "2m"}])
    assert one.message == "r1 says auto where r0, before it, says approve for the same incidents"


PATTERNS = st.sampled_from(["*", "a*", "*a", "ab", "a?", "?b", "a*b", "[ab]b", "b*"])


@given(st.lists(PATTERNS, min_size=1, max_size=3), PATTERNS, st.text("ab", min_size=1, max_size=3))
def test_a_pattern_that_is_covered_matches_nothing_the_others_do_not(
    patterns: list[str], pattern: str, name: str
) -> None:
    if lint._covers(patterns, pattern) and matches((pattern,), name):
        assert matches(tuple(patterns), name)


# ── people ────────────────────────────────────────────────────────────────────────────────────────────────────────

PEOPLE: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("problem", {"sre": {"members": ["U0ANA"]}, "owner": {"members": ["U0ANA"]}}, TWO,
     "r0 asks for 2 different people for fraud in prod, and its roles have people for 1 of 2 places"),
    ("problem", {"sre": {"members": ["U0ANA"], "models": ["ranker"]}}, ASKS,
     "r0 asks for a person for fraud in prod, and its roles have people for 0 of 1 places"),
    ("warning", {"sre": {"members": ["U0ANA", "U0TOM"]}}, {"require": [{"role": "sre", "count": 2}]},
     "nobody could meet r0 for fraud in prod when U0ANA or U0TOM asks, edits the plan or deployed the bad version"),
    ("warning", {"sre": {"members": ["U0ANA"]}}, ASKS,
     "nobody could meet r0 for fraud in prod when U0ANA asks, edits the plan or deployed the bad version"),
]  # fmt: skip


@pytest.mark.parametrize(("level", "roles", "rule", "said"), PEOPLE)
def test_a_quorum_that_hangs_on_too_few_people_is_said(
    level: str, roles: dict[str, Any], rule: dict[str, Any], said: str
) -> None:
    (one,) = found([rule], roles=roles)
    assert (one.level, one.path, one.message) == (level, ("policy", "rules", 0, "require"), said)


def test_a_source_that_only_the_outside_knows_may_have_people() -> None:
    roles = {"sre": {"pagerduty_schedules": ["PSRE"]}, "owner": {"usergroups": ["S0FRAUD"]}}
    assert found([TWO], roles=roles) == []


def test_a_role_to_escalate_to_must_have_somebody_new() -> None:
    roles = {**ROLES, "lead": {"members": ["U0ANA"]}, "boss": {"members": ["U0INES"]}}
    assert found([{**ASKS, "escalate_to": "boss"}], roles=roles) == []
    assert messages(found([{**ASKS, "escalate_to": "lead"}], roles=roles), "warning") == [
        "lead has nobody for fraud in prod whom r0 did not ask already"
    ]
    assert messages(found([{**ASKS, "escalate_to": "bos"}], roles=roles)) == ["there is no role bos"]


def test_a_glass_that_only_one_person_can_break_is_a_warning() -> None:
    one, two = {"ic": {"members": ["U0IC"]}}, {"ic": {"members": ["U0IC", "U0INES"]}}
    assert messages(found(roles={**ROLES, **one}, break_glass={"role": "ic"}), "warning") == [
        "only U0IC could break the glass, so nobody can while that person is away"
    ]
    assert found(roles={**ROLES, **two}, break_glass={"role": "ic"}) == []
    assert messages(found(break_glass={"role": "nobody"})) == ["there is no role nobody"]


# ── acting alone ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rule", "tier", "said"),
    [
        ({"when": GUARD}, 1, True),
        ({}, 1, True),
        ({"when": GUARD}, 2, False),
        ({"when": "tier > 1 && burn_rate > 14.0"}, 1, False),
        ({"when": "drill"}, 1, False),
        ({"for": "1m"}, 1, False),
        ({"min_samples": 1}, 1, False),
        ({"environments": ["staging"]}, 1, False),
    ],
)
def test_acting_alone_on_tier_1_at_the_first_alert_is_a_warning(
    rule: dict[str, Any],
    tier: int,
    said: bool,  # noqa: FBT001  a table's column
) -> None:
    told = messages(found([{"mode": "auto", **rule}, ASKS], models={"fraud": model(tier)}), "warning")
    assert told == ["r0 acts alone on fraud (tier 1) in prod at the first alert"] * said


def night(begin: str, end: str, zone: str = "UTC", **more: Any) -> dict[str, Any]:
    return {"from": begin, "to": end, "zone": zone, **more}


@pytest.mark.parametrize(
    ("blackouts", "said"),
    [
        ([night("00:00", "00:00")], True),
        ([night("08:00", "20:00"), night("20:00", "08:00")], True),
        ([night("08:00", "20:00"), night("19:00", "07:59")], False),
        ([night("00:00", "00:00", days=["mon", "tue", "wed", "thu", "fri", "sat"])], False),
        ([night("00:00", "00:00", first="2026-12-18", last="2027-01-02")], False),
        ([], False),
    ],
)
def test_blackouts_over_the_whole_week_are_a_problem(
    blackouts: list[dict[str, Any]],
    said: bool,  # noqa: FBT001  a table's column
) -> None:
    told = messages(found(limits={"blackouts": blackouts}))
    assert told == ["the blackouts leave no minute of the week, so no rule ever acts alone"] * said


# ── review and business ───────────────────────────────────────────────────────────────────────────────────────────


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("reviewed", "past", "said"),
    [
        (None, Past(), "nobody is written down as having read the policy"),
        ("2026-10-26", Past(), "U0ANA last read it 31 d ago, and it is to be read every 30 d"),
        ("2026-10-27", Past(), None),
        ("2026-11-20", Past(last_rollback=at("2026-11-20T23:00")), None),
        ("2026-11-20", Past(last_rollback=at("2026-11-21T03:17")), "the last rollback, 2026-11-21 03:17:00 UTC, is newer than its review on 2026-11-20"),
        ("2026-11-20", Past(at("2026-11-21T03:17"), at("2026-11-21T03:30"), "It did not help."), "since U0ANA read it on 2026-11-20 this came: It did not help."),
    ],
)  # fmt: skip
def test_a_review_that_is_due_is_a_warning(reviewed: str | None, past: Past, said: str | None) -> None:
    told = found(past=past, reviewed={"at": reviewed, "by": "U0ANA"} if reviewed else None)
    assert [one.message.replace("\u00a0", " ") for one in told] == ([said] if said else [])
    assert {one.level for one in told} <= {"warning"}


def test_how_often_a_policy_is_read_can_be_said() -> None:
    assert found(reviewed={"at": "2026-09-01", "by": "U0ANA", "every": "90d"}) == []


@pytest.mark.parametrize(
    ("sli", "environment", "said"),
    [
        ("error_ratio", "prod", True),
        ("latency-p99", "prod-eu", True),
        ("", "prod", True),
        ("approval_rate", "prod", False),
        ("error_ratio", "staging", False),
    ],
)
def test_a_production_model_whose_use_nothing_measures_is_a_warning(
    sli: str,
    environment: str,
    said: bool,  # noqa: FBT001  a table's column
) -> None:
    told = found(models={"fraud": model(sli=sli, environment=environment)})
    assert [one.path for one in told] == [("models", "fraud", "environments", environment)] * said
