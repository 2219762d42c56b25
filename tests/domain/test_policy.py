"""First match wins, a rule that acts alone needs certainty, and no unknown ever leads to a laxer rule."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain import access
from bot.domain.entries import Mode
from bot.domain.policy import STRICTNESS, decide, matches
from bot.domain.roles import Role
from tests.domain.policies import FACTS, IC, ML, facts, plain, policy, rule

UNKNOWN = "burn_rate > 14.0"


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ((), "any", True),
        (("fraud*",), "fraud-eu", True),
        (("ads", "fraud"), "fraud", True),
        (("Fraud",), "fraud", False),
        (("fraud",), "fraud-eu", False),
    ],
)
def test_names_match_patterns_with_their_case_and_an_empty_list_matches_everything(
    pattern: tuple[str, ...],
    name: str,
    fits: bool,  # noqa: FBT001  a table's column
) -> None:
    assert matches(pattern, name) is fits


def test_a_role_counts_only_in_its_scope() -> None:
    role = Role(members=("U0ANA",), models=("fraud*",), environments=("production",))
    assert access.in_scope(role, "fraud-eu", "production")
    assert not access.in_scope(role, "fraud-eu", "staging")
    assert not access.in_scope(role, "ads", "production")


def test_the_first_match_wins_and_the_trace_holds_every_rule_looked_at() -> None:
    decision = decide(
        policy(
            rule("ads", models=("ads", "search")),
            rule("staging", environments=("staging",)),
            rule("tier-2", when="tier == 2"),
            rule("first", when="tier == 1"),
            rule("second"),
        ),
        FACTS,
    )
    assert (decision.rule, decision.mode, decision.require) == ("first", "approve", (IC,))
    assert [str(check) for check in decision.trace if check.name.startswith("rule ")] == [
        "✗ rule ads (fraud does not match ads or search)",
        "✗ rule staging (production does not match staging)",
        "✗ rule tier-2 (not tier == 2)",
        "✓ rule first (tier == 1)",
    ]


def test_where_no_rule_matches_people_are_told_and_nothing_moves() -> None:
    decision = decide(policy(rule("ads", models=("ads",))), FACTS)
    assert (decision.mode, decision.rule, len(decision.trace)) == ("notify", "none", 1)
    assert decision.reason == "No rule matches, so nobody is asked and nothing is moved."


@pytest.mark.parametrize("when", [UNKNOWN, "1 / (tier - 1) == 1"])
def test_an_auto_rule_whose_guard_cannot_be_told_misses(when: str) -> None:
    decision = decide(policy(rule("alone", "auto", when), rule("ask")), facts(burn_rate=None))
    assert (decision.rule, decision.mode) == ("ask", "approve")
    assert [check.ok for check in decision.trace[:2]] == [False, True]


@pytest.mark.parametrize("mode", ["approve", "hold", "notify"])
def test_any_other_rule_whose_guard_cannot_be_told_stays_in_force(mode: Mode) -> None:
    decision = decide(policy(rule("strict", mode, UNKNOWN), rule("alone", "auto")), facts(burn_rate=None))
    assert decision.mode == mode
    assert [check.ok for check in decision.trace[:2]] == [None, True]


def test_the_places_of_a_rule_in_doubt_are_added() -> None:
    doubtful = rule("doubtful", when=UNKNOWN, require=(ML,), plan_ttl="5m")
    decision = decide(policy(doubtful, rule("ask")), facts(burn_rate=None))
    assert decision.require == (IC, ML)
    assert decision.plan_ttl == timedelta(minutes=5)
    assert decision.reason == (
        "Rule ask: tier 1 in production needs ic and 2 × ml. Rule doubtful could not be told and stays in force."
    )


@pytest.mark.parametrize("turned", [False, True])
def test_a_role_two_rules_require_is_required_as_often_as_the_one_that_needs_more(turned: bool) -> None:  # noqa: FBT001  a table's column
    counts = (1, 2) if turned else (2, 1)
    first, second = (({"role": "ml", "count": count},) for count in counts)
    decision = decide(
        policy(rule("doubtful", when=UNKNOWN, require=first), rule("ask", require=second)), facts(burn_rate=None)
    )
    assert decision.require == (ML,)


def test_a_rule_in_doubt_holds_where_nothing_else_matches() -> None:
    decision = decide(policy(rule("doubtful", when=UNKNOWN), rule("ads", models=("ads",))), facts(burn_rate=None))
    assert (decision.rule, decision.mode) == ("doubtful", "approve")
    assert decision.reason == (
        "Rule doubtful: tier 1 in production needs ic. Rule doubtful could not be told and stays in force."
    )


def test_the_reason_names_every_rule_in_doubt_that_made_it_stricter() -> None:
    rules = policy(rule("freeze", "hold", UNKNOWN), rule("two", when=UNKNOWN), rule("alone", "auto"))
    assert decide(rules, facts(burn_rate=None)).reason == (
        "Rule alone: tier 1 in production, so it waits and is decided again each minute."
        " Rules freeze and two could not be told and stay in force."
    )


MODES = st.sampled_from(STRICTNESS)


@given(st.lists(MODES.filter(lambda mode: mode != "auto"), max_size=3), MODES)
def test_the_strictest_mode_in_doubt_wins(doubtful: list[Mode], last: Mode) -> None:
    rules = [rule(f"doubtful-{n}", mode, UNKNOWN) for n, mode in enumerate(doubtful)]
    decision = decide(policy(*rules, rule("last", last)), facts(burn_rate=None))
    assert STRICTNESS.index(decision.mode) == max(STRICTNESS.index(mode) for mode in (*doubtful, last))


def test_an_auto_rule_acts_alone_and_says_why() -> None:
    decision = decide(policy(rule("alone", "auto", UNKNOWN)), FACTS)
    assert (decision.mode, decision.due_in) == ("auto", None)
    assert (
        decision.reason
        == "Rule alone: tier 1 in production, burn_rate > 14.0, so Lastgood acts alone. Auto 1 of 2 today."
    )


@pytest.mark.parametrize(
    ("known", "due", "detail"),
    [
        ({"firing_for": 60.0}, timedelta(minutes=4), "firing for 1 min of 5 min"),
        ({"firing_for": None}, None, "firing_for unknown, 5 min needed"),
        ({"samples": 899.0}, timedelta(seconds=30), "899 of 900 requests seen"),
        ({"samples": None}, timedelta(seconds=30), "samples unknown, 900 requests needed"),
    ],
)
def test_a_rule_that_is_not_ripe_misses_and_says_when_to_look_again(
    known: dict[str, float | None], due: timedelta | None, detail: str
) -> None:
    alone = rule("alone", "auto", min_samples=900, **{"for": "5m"})
    assert decide(policy(alone), FACTS).mode == "auto"
    decision = decide(policy(alone, rule("ask")), facts(**known))
    assert (decision.rule, decision.due_in) == ("ask", due)
    assert plain(decision.trace[0].detail) == detail


def test_the_earliest_rule_to_ripen_says_when_to_look_again() -> None:
    rules = (rule(f"after-{span}", "auto", **{"for": span}) for span in ("20m", "10m", "30m"))
    assert decide(policy(*rules, rule("ask")), FACTS).due_in == timedelta(minutes=5)


def test_a_rule_that_asks_must_name_whom() -> None:
    with pytest.raises(ValueError, match="name at least one role"):
        rule("ask", require=())


def test_a_rule_whose_guard_does_not_compile_is_refused() -> None:
    with pytest.raises(ValueError, match="true or false"):
        rule("ask", when="tier")


def test_rules_about_alerts_alone_do_not_decide_what_a_person_asked_for() -> None:
    rules = policy(rule("alone", mode="auto"), rule("tell", mode="notify"), rule("ask"))
    decision = decide(rules, facts(by_person=True))
    assert (decision.rule, decision.mode) == ("ask", "approve")
    assert [check.detail for check in decision.trace[:2]] == [
        "auto is about alerts alone, and a person asked",
        "notify is about alerts alone, and a person asked",
    ]
    assert decide(rules, FACTS).rule == "alone"


@pytest.mark.parametrize("unripe", [{"for": "5m"}, {"min_samples": 900}])
def test_a_rule_that_asks_stays_in_force_where_nobody_knows_whether_it_is_ripe(unripe: dict[str, Any]) -> None:
    two = rule("two", require=(IC, ML), **unripe)
    decision = decide(policy(two, rule("one")), facts(firing_for=None, samples=None))
    assert (decision.rule, decision.require) == ("one", (IC, ML))
    assert decision.trace[0].ok is None


def test_a_rule_about_several_slis_matches_when_each_fires_long_enough() -> None:
    both = rule("both", "auto", '"error_ratio" in breached && breached["latency_p99"] > 120.0')
    for breached, decides in (
        ({"error_ratio": 10.0, "latency_p99": 121.0}, "both"),
        ({"error_ratio": 10.0, "latency_p99": 120.0}, "ask"),
        ({"error_ratio": 10.0}, "ask"),
    ):
        assert decide(policy(both, rule("ask")), facts(breached=breached)).rule == decides


def test_several_rules_in_force_ask_on_the_stricter_terms_of_each() -> None:
    doubtful = rule("doubtful", when=UNKNOWN, plan_ttl="30m", confirm=True, remind_after="2m", escalate_to="heads")
    asks = rule("ask", reason=True, step_up=True, plan_ttl="15m", page_after="12m", escalate_to="leads")
    decision = decide(policy(doubtful, asks), facts(burn_rate=None))
    assert (decision.confirm, decision.ask_reason, decision.step_up) == (True, True, True)
    assert decision.plan_ttl == timedelta(minutes=15)
    assert decision.remind_in == timedelta(minutes=2)
    assert decision.escalate_in == timedelta(minutes=7, seconds=30)
    assert decision.page_in == timedelta(minutes=12)
    assert decision.escalate_to == "leads"


def test_people_are_reminded_after_a_third_escalated_after_half_and_paged_after_two_thirds() -> None:
    decision = decide(policy(rule("ask", plan_ttl="30m")), FACTS)
    assert (decision.remind_in, decision.escalate_in, decision.page_in) == (
        timedelta(minutes=10), timedelta(minutes=15), timedelta(minutes=20)
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["auto", "hold", "notify"])
def test_nobody_is_reminded_where_nobody_is_asked(mode: Mode) -> None:
    decision = decide(policy(rule("alone", mode, escalate_to="heads")), FACTS)
    assert (decision.remind_in, decision.escalate_in, decision.page_in, decision.escalate_to) == (None, None, None, "")
    assert decision.require == ()


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"severity": "critical"}, "page"),
        ({"severity": "error"}, "ticket"),
        ({"severity": "warning"}, "ticket"),
        ({"severity": "info"}, "slack"),
        ({"severity": "unknown"}, "slack"),
        ({"severity": None}, "slack"),
        ({"burn_rate_short": 14.4, "burn_rate_long": 14.4, "severity": "info"}, "page"),
        ({"burn_rate_short": 99.0, "burn_rate_long": 14.3}, "ticket"),
        ({"burn_rate_short": 14.3, "burn_rate_long": 99.0}, "ticket"),
        ({"burn_rate_short": 1.0, "burn_rate_long": 1.0}, "ticket"),
        ({"burn_rate_short": 0.9, "burn_rate_long": 99.0}, "slack"),
        ({"burn_rate_short": 99.0, "burn_rate_long": None}, "page"),
        ({"burn_rate_short": float("nan"), "burn_rate_long": 0.1, "severity": "warning"}, "ticket"),
    ],
)
def test_a_page_needs_both_windows_over_its_rate_and_the_severity_tells_where_a_rate_is_unknown(
    known: dict[str, Any], told: str
) -> None:
    assert decide(policy(rule("ask")), facts(**known)).tell == told
    assert decide(policy(), facts(**known)).tell == told


def test_the_burn_rates_that_page_are_limits_of_the_policy() -> None:
    burning = facts(burn_rate_short=4.0, burn_rate_long=3.0)
    assert decide(policy(rule("ask"), page_burn_rate=3.0), burning).tell == "page"
    assert decide(policy(rule("ask"), ticket_burn_rate=3.1), burning).tell == "slack"


def test_a_rule_says_how_loudly_it_is_told_and_the_loudest_of_several_wins() -> None:
    assert decide(policy(rule("ask", tell="slack")), FACTS).tell == "slack"
    quiet = rule("doubtful", when=UNKNOWN, tell="ticket")
    assert decide(policy(quiet, rule("ask", tell="slack")), facts(burn_rate=None)).tell == "ticket"
    assert (
        decide(policy(rule("alone", "auto", tell="slack"), rule("ask", tell="page")), facts(flapping=True)).tell
        == "page"
    )
