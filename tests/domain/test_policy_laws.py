"""Laws of every decision, whatever the policy, the facts and the orders are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.policy import STRICTNESS, Bounds, Decision, Policy, Rule, decide, matches
from bot.domain.roles import Blackout, Limits, Place, Trust
from tests.domain.policies import FACTS, NOW, OFF, SNOOZED

UNTIMED = settings(deadline=None)  # a law is about what comes out, not about how long a busy machine takes
ERRS = "1 / (tier - 1) == 1"
GUARDS = (None, "tier == 1", "tier == 2", "burn_rate > 14.0", "blast_radius <= 0.2", ERRS, 'breached["none"] > 1.0')
PLACES = st.lists(
    st.builds(Place, role=st.sampled_from(["ic", "ml", "sre"]), count=st.integers(1, 2)), unique_by=lambda one: one.role
)
NIGHT = Blackout.model_validate({"name": "night", "from": "00:00", "to": "00:00", "zone": "Europe/Berlin"})
# What a fact says when nothing is wrong, and when it bounds something. No guard above asks about any of them.
BOUNDING: dict[str, tuple[Any, Any]] = {
    "observed_serving": (True, False),
    "since_last_rollback": (9e9, 0.0),
    "auto_rollbacks_today": (0, 2),
    "deployed_at": (NOW, NOW - timedelta(days=30)),
    "would_loop": (False, True),
    "flapping": (False, True),
    "drift_only": (False, True),
    "cost_delta": (0.0, 0.5),
    "target_signature_fits": (True, False),
    "capacity_enough": (True, False),
    "good_also_breached": (False, True),
    "neighbours_breached": (False, True),
    "upstream_change": (False, True),
    "target_quarantined": (False, True),
    "target_scan": ("clean", "findings"),
    "silenced": (False, True),
    "upstream_rolling": (False, True),
    "silent": (False, True),
}
TELLS_BY_ABSENCE = {"since_last_rollback"}  # unknown means that there was no rollback


@st.composite
def rules(draw: st.DrawFn, modes: tuple[str, ...]) -> list[Rule]:
    made = []
    for n in range(draw(st.integers(0, 5))):
        mode = draw(st.sampled_from(modes))
        require = draw(PLACES.filter(bool)) if mode == "approve" else draw(PLACES) if mode == "auto" else []
        made.append(
            Rule.model_validate(
                {
                    "id": f"r{n}", "mode": mode, "when": draw(st.sampled_from(GUARDS)), "require": tuple(require),
                    "for": draw(st.sampled_from(["0s", "0s", "5m"])), "min_samples": draw(st.sampled_from([0, 0, 900])),
                    "models": draw(st.sampled_from([(), (), ("fraud*",), ("ads",)])), "ladder": draw(st.booleans()),
                }
            )
        )  # fmt: skip
    return made


@st.composite
def policies(draw: st.DrawFn, modes: tuple[str, ...] = STRICTNESS, *, asks: bool = True) -> Policy:
    """Draw a policy; with `asks` its last rule asks somebody whatever happens."""
    last = [Rule(id="last", require=(Place(role="duty"),))] if asks else []
    limits = Limits(
        max_cost_increase=draw(st.sampled_from([None, 0.2])), blackouts=draw(st.sampled_from([(), (NIGHT,)]))
    )
    return Policy(
        rules=(*draw(rules(modes)), *last),
        limits=limits,
        trust=draw(st.sampled_from([None, Trust(role="leads", start="auto")])),
    )


FINE = {**FACTS, **{name: fine for name, (fine, _) in BOUNDING.items()}}
SAYS = st.sampled_from(sorted(BOUNDING)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from([BOUNDING[name][1], None]))
)
KNOWN = st.builds(
    lambda said, known: {**FINE, **dict(said), **known},
    st.lists(SAYS, max_size=4),
    st.fixed_dictionaries(
        {
            "burn_rate": st.sampled_from([20.0, 1.0, None, float("nan")]),
            "blast_radius": st.sampled_from([0.1, 0.9, None]),
            "firing_for": st.sampled_from([300.0, 60.0, None]),
            "samples": st.sampled_from([900.0, 10.0, None]),
            "tier": st.sampled_from([1, 2]),
            "by_person": st.sampled_from([False, False, True]),
        }
    ),
)
RUNGS = st.dictionaries(st.sampled_from([f"r{n}" for n in range(5)]), st.sampled_from(["notify", "approve", "auto"]))
ORDERS = st.just(Bounds()) | st.builds(
    Bounds,
    autopilot_off=st.sampled_from(["", OFF]),
    observing=st.booleans(),
    snoozed=st.sampled_from(["", SNOOZED]),
    rungs=RUNGS,
)


def rank(decision: Decision) -> int:
    return STRICTNESS.index(decision.mode)


def moves(decision: Decision) -> int:
    """0 acts alone, 1 asks people, 2 moves nothing."""
    return min(rank(decision), 2)


@UNTIMED
@given(policies(), KNOWN, ORDERS, st.sampled_from(sorted(BOUNDING)))
def test_a_fact_that_bounds_never_makes_a_decision_laxer(
    policy: Policy, facts: dict[str, Any], orders: Bounds, fact: str
) -> None:
    fine, bad = BOUNDING[fact]
    calm = decide(policy, {**facts, fact: fine}, orders)
    assert rank(decide(policy, {**facts, fact: bad}, orders)) >= rank(calm)
    if fact not in TELLS_BY_ABSENCE:
        assert rank(decide(policy, {**facts, fact: None}, orders)) >= rank(calm)


@UNTIMED
@given(policies(), KNOWN, ORDERS)
def test_an_order_of_people_never_makes_a_decision_laxer(policy: Policy, facts: dict[str, Any], orders: Bounds) -> None:
    after = decide(policy, facts, orders)
    for calmer in (
        replace(orders, autopilot_off=""), replace(orders, observing=False), replace(orders, snoozed=""),
        replace(orders, rungs=dict.fromkeys(orders.rungs, "auto")),
    ):  # fmt: skip
        assert rank(after) >= rank(decide(policy, facts, calmer))


@UNTIMED
@given(policies(asks=False), KNOWN, ORDERS, st.sampled_from(sorted(BOUNDING)))
def test_where_nobody_may_be_named_a_bound_still_never_lets_more_move(
    policy: Policy, facts: dict[str, Any], orders: Bounds, fact: str
) -> None:
    fine, bad = BOUNDING[fact]
    assert moves(decide(policy, {**facts, fact: bad}, orders)) >= moves(decide(policy, {**facts, fact: fine}, orders))


@UNTIMED
@given(policies(), KNOWN, ORDERS)
def test_a_blackout_asks_people_and_never_blocks_a_rollback(
    policy: Policy, facts: dict[str, Any], orders: Bounds
) -> None:
    open_, dark = (policy.but(limits=policy.limits.but(blackouts=found)) for found in ((), (NIGHT,)))
    before, after = decide(open_, facts, orders), decide(dark, facts, orders)
    assert after.mode == ("approve" if before.mode == "auto" else before.mode)
    assert before.mode != "auto" or 'blackout "night" until 00:00 Europe/Berlin' in after.reason


@UNTIMED
@given(policies(("auto", "approve", "notify")), KNOWN, ORDERS)
def test_a_person_is_held_by_the_security_gate_and_a_snooze_alone(
    policy: Policy, facts: dict[str, Any], orders: Bounds
) -> None:
    decision = decide(policy, {**facts, "by_person": True}, replace(orders, observing=False))
    gate = facts["target_quarantined"] is True or facts["target_scan"] == "findings"
    assert decision.mode == ("hold" if gate or orders.snoozed else "approve")


@UNTIMED
@given(policies(asks=False), KNOWN, ORDERS)
def test_the_security_gate_lets_nobody_through(policy: Policy, facts: dict[str, Any], orders: Bounds) -> None:
    assert decide(policy, {**facts, "target_scan": "findings"}, orders).mode in ("hold", "notify")
    assert decide(policy, {**facts, "target_quarantined": True}, orders).mode in ("hold", "notify")


@UNTIMED
@given(policies(asks=False), KNOWN, ORDERS, st.booleans())
def test_it_acts_alone_exactly_where_nothing_and_nobody_speaks_against_it(
    policy: Policy,
    facts: dict[str, Any],
    orders: Bounds,
    ladder: bool,  # noqa: FBT001  a drawn value
) -> None:
    """An oracle of its own, over the facts one by one, for a rule without a guard."""
    first = Rule(id="r0", mode="auto", ladder=ladder)
    policy = policy.but(rules=(first, *(one for one in policy.rules if one.id != "r0")))
    may_be_unknown = {"target_signature_fits", "target_scan", "since_last_rollback", "silent"}
    if policy.limits.max_cost_increase is None:
        facts["cost_delta"] = 0.0
    clear = all(
        facts[name] == fine or (facts[name] is None and name in may_be_unknown) for name, (fine, _) in BOUNDING.items()
    )
    start = policy.trust.start if policy.trust else "notify"
    climbed = not ladder or orders.rungs.get("r0", start) == "auto"
    against = (orders.autopilot_off, orders.observing, orders.snoozed, facts["by_person"], policy.limits.blackouts)
    assert (decide(policy, facts, orders).mode == "auto") == (clear and climbed and not any(against))


@UNTIMED
@given(policies(), KNOWN, ORDERS)
def test_the_same_input_gives_the_same_output(policy: Policy, facts: dict[str, Any], orders: Bounds) -> None:
    again = Policy.model_validate(policy.model_dump(by_alias=True))
    assert decide(policy, facts, orders) == decide(again, dict(facts), orders)


@UNTIMED
@given(policies(), KNOWN, ORDERS, st.randoms(use_true_random=False))
def test_the_order_of_the_facts_is_irrelevant(
    policy: Policy, facts: dict[str, Any], orders: Bounds, random: Random
) -> None:
    items = list(facts.items())
    random.shuffle(items)
    assert decide(policy, dict(items), orders) == decide(policy, facts, orders)


@UNTIMED
@given(
    policies(),
    KNOWN,
    st.sampled_from(STRICTNESS),
    st.sampled_from([ERRS, 'breached["none"] > 1.0', "burn_rate > 14.0"]),
)
def test_a_guard_that_errs_is_never_true(policy: Policy, facts: dict[str, Any], mode: str, guard: str) -> None:
    """It never decides alone before a rule that matches: one that acts alone is as good as absent, any other only adds."""
    known = {**facts, "tier": 1, "burn_rate": None, "by_person": False}
    require = (Place(role="broken", count=2),) if mode == "approve" else ()
    broken = Rule.model_validate({"id": "broken", "mode": mode, "when": guard, "require": require})
    with_it = decide(policy.but(rules=(broken, *policy.rules)), known)
    without = decide(policy, known)
    assert with_it.trace[0].ok is (False if mode == "auto" else None)
    if mode == "auto":
        assert with_it.model_copy(update={"trace": with_it.trace[1:]}) == without
    elif any(check.ok for check in without.trace if check.name.startswith("rule ")):
        assert rank(with_it) >= rank(without)
        assert with_it.rule == without.rule
        assert with_it.mode != "approve" or set(with_it.require) >= {*without.require, *require}


@UNTIMED
@given(policies(asks=False), KNOWN, ORDERS)
def test_the_trace_holds_every_rule_up_to_the_one_that_decides_and_the_reason_is_a_sentence(
    policy: Policy, facts: dict[str, Any], orders: Bounds
) -> None:
    decision = decide(policy, facts, orders)
    looked = [check for check in decision.trace if check.name.startswith("rule ")]
    met = next((n for n, check in enumerate(looked) if check.ok), len(policy.rules) - 1)
    assert [check.name for check in looked[: met + 1]] == [f"rule {one.id}" for one in policy.rules[: met + 1]]
    assert decision.reason.endswith(".")
    assert not any(word in decision.reason for word in ("None", "nan", "  ", "!"))
    for check, rule in zip(looked, policy.rules, strict=False):
        assert check.ok is not True or matches(rule.models, "fraud")


@UNTIMED
@given(policies(asks=False), KNOWN, ORDERS)
def test_people_are_named_exactly_where_they_are_asked(policy: Policy, facts: dict[str, Any], orders: Bounds) -> None:
    decision = decide(policy, facts, orders)
    asked = (decision.require, decision.remind_in, decision.escalate_in, decision.page_in)
    assert all(asked) if decision.mode == "approve" else not any(asked)
