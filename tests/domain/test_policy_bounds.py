"""Every bound has its sentence and its line, and bounds nothing on the other side of its edge."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bot.domain.entries import Check
from bot.domain.policy import Bounds, Decision, Policy, Rule, decide
from bot.domain.roles import Trust
from tests.domain.policies import FACTS, IC, ML, NOW, OFF, SNOOZED, facts, plain, policy, rule

QUARTER = {"name": "quarter close", "from": "00:00", "to": "08:00", "zone": "Europe/Berlin"}
TRUST = Trust(role="leads")
ALONE = rule("alone", "auto")
ASK = rule("ask")
WOULD = "Rule alone: tier 1 in production. Would act alone, but"


def bounded(known: dict[str, Any], orders: Bounds = Bounds(), first: Rule = ALONE, **limits: Any) -> Decision:  # noqa: B008  frozen
    return decide(policy(first, ASK, **limits), facts(**known), orders)


def lines(decision: Decision) -> list[str]:
    return [plain(str(check)) for check in decision.trace]


@pytest.mark.parametrize(
    ("known", "limits", "because", "line"),
    [
        ({"observed_serving": False}, {}, "a good version never observed serving turns", "✗ good version (not observed serving)"),
        ({"observed_serving": None}, {}, "the unknown fact observed_serving turns", "? good version (observed_serving unknown)"),
        ({}, {"blackouts": [QUARTER]}, 'blackout "quarter close" until 08:00 Europe/Berlin turns', '✗ blackout ("quarter close" until 08:00 Europe/Berlin)'),
        ({}, {"blackouts": [{**QUARTER, "name": ""}]}, "a blackout until 08:00 Europe/Berlin turns", "✗ blackout (until 08:00 Europe/Berlin)"),
        ({"now": None, "deployed_at": None}, {"blackouts": [QUARTER]}, "the unknown fact now turns", "? blackout (now unknown)"),
        ({"since_last_rollback": 1799.9}, {}, "the cooldown of 30 min (last rollback 29 min 59 s ago) turns", "✗ cooldown (last rollback 29 min 59 s ago, 30 min needed)"),
        ({"auto_rollbacks_today": 2}, {}, "the limit of 2 automatic rollbacks in 24 h (2 done) turns", "✗ automatic rollbacks (2 of 2 in 24 h)"),
        ({"auto_rollbacks_today": 0}, {"max_auto_per_day": 0}, "the limit of 0 automatic rollbacks in 24 h (0 done) turns", "✗ automatic rollbacks (0 of 0 in 24 h)"),
        ({"auto_rollbacks_today": 1}, {"max_auto_per_day": 1}, "the limit of 1 automatic rollback in 24 h (1 done) turns", "✗ automatic rollbacks (1 of 1 in 24 h)"),
        ({"auto_rollbacks_today": None}, {}, "the unknown fact auto_rollbacks_today turns", "? automatic rollbacks (auto_rollbacks_today unknown)"),
        ({"deployed_at": NOW - timedelta(days=7, seconds=1)}, {}, "the rollback window of 7 d (deployed 7 d 1 s ago) turns", "✗ rollback window (deployed 7 d 1 s ago, 7 d allowed)"),
        ({"deployed_at": None}, {}, "the unknown fact deployed_at turns", "? rollback window (deployed_at unknown)"),
        ({"now": None}, {}, "the unknown fact now turns", "? rollback window (now unknown)"),
        ({"would_loop": True}, {}, "a loop (the good version was rolled back from within 7 d) turns", "✗ loop (the good version was rolled back from within 7 d)"),
        ({"would_loop": None}, {}, "the unknown fact would_loop turns", "? loop (would_loop unknown)"),
        ({"flapping": True}, {}, "a flapping alert turns", "✗ flapping (an alert ended and began anew three times)"),
        ({"drift_only": True}, {}, "a breach of data alone turns", "✗ drift (every firing alert is about data)"),
        ({"cost_delta": 0.35}, {"max_cost_increase": 0.2}, "the cost guard (the good version costs 35 % more, 20 % more is allowed) turns", "✗ cost (the good version costs 35 % more, 20 % more is allowed)"),
        ({"cost_delta": None}, {"max_cost_increase": 0.2}, "the cost guard (what the good version costs is unknown, 20 % more is allowed) turns", "? cost (what the good version costs is unknown, 20 % more is allowed)"),
        ({"cost_delta": float("nan")}, {"max_cost_increase": 0.2}, "the cost guard (what the good version costs is unknown, 20 % more is allowed) turns", "? cost (what the good version costs is unknown, 20 % more is allowed)"),
        ({"target_signature_fits": False}, {}, "a signature that does not fit (the good version does not take the requests of today) turns", "✗ signature (the good version does not take the requests of today)"),
        ({"capacity_enough": None}, {}, "the unknown fact capacity_enough turns", "? capacity (capacity_enough unknown)"),
        ({"capacity_enough": False}, {}, "too little capacity (the good version does not carry the full load) turns", "✗ capacity (the good version does not carry the full load)"),
        ({"silenced": None}, {}, "a silence nobody could rule out turns", "? silence (nobody could say whether the alerts are silenced)"),
        ({"upstream_rolling": None}, {}, "the unknown fact upstream_rolling turns", "? upstream (upstream_rolling unknown)"),
        ({"target_quarantined": None}, {}, "the unknown fact target_quarantined turns", "? security gate (target_quarantined unknown)"),
        ({"good_also_breached": None, "upstream_change": None}, {}, "the unknown facts good_also_breached and upstream_change turns", "? doubt (good_also_breached and upstream_change unknown)"),
    ],
)  # fmt: skip
def test_a_rule_that_acts_alone_asks_people_past_its_bound(
    known: dict[str, Any], limits: dict[str, Any], because: str, line: str
) -> None:
    decision = bounded(known, **limits)
    assert (decision.mode, decision.rule, decision.require) == ("approve", "alone", (IC,))
    assert line in lines(decision)
    if known.get("now", NOW) is not None:
        assert plain(decision.reason) == f"{WOULD} {because} auto into approve. It needs ic."


@pytest.mark.parametrize(
    ("known", "limits", "line"),
    [
        ({}, {"blackouts": [{**QUARTER, "to": "04:12"}]}, "✓ blackout (none now)"),
        ({"since_last_rollback": 1800.0}, {}, "✓ cooldown (last rollback 30 min ago, 30 min needed)"),
        ({"since_last_rollback": None}, {}, "✓ cooldown (no rollback before)"),
        ({"auto_rollbacks_today": 1}, {}, "✓ automatic rollbacks (1 of 2 in 24 h)"),
        ({"deployed_at": NOW - timedelta(days=7)}, {}, "✓ rollback window (deployed 7 d ago, 7 d allowed)"),
        ({"would_loop": False}, {}, "✓ loop (the good version was not rolled back from within 7 d)"),
        ({"flapping": False}, {}, "✓ flapping (no alert flaps)"),
        ({"drift_only": False}, {}, "✓ drift (not about data alone)"),
        ({"cost_delta": 0.2}, {"max_cost_increase": 0.2}, "✓ cost (the good version costs 20 % more, 20 % more is allowed)"),
        ({"cost_delta": -0.1}, {"max_cost_increase": 0.0}, "✓ cost (the good version costs 10 % less, 0 % more is allowed)"),
        ({"target_signature_fits": True}, {}, "✓ signature (the good version takes the requests of today)"),
        ({"target_signature_fits": None}, {}, "? signature (target_signature_fits unknown)"),
        ({"silenced": False}, {}, "✓ silence (none)"),
        ({"capacity_enough": True}, {}, "✓ capacity (the good version carries the full load)"),
        ({"upstream_rolling": False}, {}, "✓ upstream (no model this one consumes is being rolled back)"),
        ({"target_scan": "clean"}, {}, "✓ security gate (not quarantined, scan clean)"),
        ({"target_scan": None}, {}, "? security gate (not quarantined, scan unknown)"),
        ({"target_scan": "queued"}, {}, "? security gate (not quarantined, scan unknown)"),
        ({}, {}, "✓ doubt (none)"),
        ({}, {}, "✓ autopilot (on)"),
        ({}, {}, "✓ good version (observed serving)"),
    ],
)  # fmt: skip
def test_on_the_other_side_of_a_bound_it_acts_alone(known: dict[str, Any], limits: dict[str, Any], line: str) -> None:
    decision = bounded(known, **limits)
    assert decision.mode == "auto"
    assert line in lines(decision)
    done = known.get("auto_rollbacks_today", 0)
    assert decision.reason == f"Rule alone: tier 1 in production, so Lastgood acts alone. Auto {done + 1} of 2 today."


@pytest.mark.parametrize(
    ("limits", "name"),
    [({"cooldown": "0s"}, "cooldown"), ({}, "blackout"), ({}, "cost"), ({}, "capacity"), ({}, "trust ladder")],
)
def test_what_nobody_configured_has_no_line(limits: dict[str, Any], name: str) -> None:
    decision = bounded({"since_last_rollback": 0.0} if limits else {}, **limits)
    assert decision.mode == "auto"
    assert name not in {check.name for check in decision.trace}


def test_where_no_sender_of_alerts_keeps_silences_nothing_is_said_about_them() -> None:
    known = {name: value for name, value in FACTS.items() if name != "silenced"}
    decision = decide(policy(ALONE), known)
    assert decision.mode == "auto"
    assert "silence" not in {check.name for check in decision.trace}


DOUBTS = [
    ("good_also_breached", "an alert about the good version fires too"),
    ("neighbours_breached", "another model with a consumer in common has an open incident"),
    ("upstream_change", "a change upstream came within the last hour"),
]


@pytest.mark.parametrize(("fact", "text"), DOUBTS)
def test_a_breach_that_is_probably_not_the_model_is_never_answered_alone(fact: str, text: str) -> None:
    decision = bounded({fact: True})
    assert decision.doubt == f"Probably not the model: {text}."
    assert decision.reason == f"{WOULD} a doubt about the cause turns auto into approve. {decision.doubt} It needs ic."
    assert f"✗ doubt ({text})" in lines(decision)


@pytest.mark.parametrize("mode", ["approve", "hold", "notify"])
def test_a_doubt_is_said_whatever_the_mode(mode: Any) -> None:
    known = facts(good_also_breached=True, upstream_change=True)
    text = "an alert about the good version fires too and a change upstream came within the last hour"
    for decision in (decide(policy(rule("one", mode)), known), decide(policy(), known)):
        assert decision.doubt == f"Probably not the model: {text}."
    assert decide(policy(rule("one", mode)), known).mode == mode
    assert f"✗ doubt ({text})" in lines(decide(policy(rule("one", mode)), known))


HOLDS = [
    ({"target_quarantined": True}, "the security gate (the good version is quarantined)", "✗ security gate (the good version is quarantined)"),
    ({"target_scan": "findings"}, "the security gate (the scan of the good version has findings)", "✗ security gate (the scan of the good version has findings)"),
    ({"target_quarantined": True, "target_scan": "findings"}, "the security gate (the good version is quarantined and the scan of the good version has findings)", "✗ security gate (the good version is quarantined and the scan of the good version has findings)"),
    ({"target_quarantined": None, "target_scan": "findings"}, "the security gate (the scan of the good version has findings)", "✗ security gate (the scan of the good version has findings)"),
    ({"silenced": True}, "a silence (every firing alert is silenced where it comes from)", "✗ silence (every firing alert is silenced where it comes from)"),
    ({"upstream_rolling": True}, "the rollback of a model this one consumes", "✗ upstream (a model this one consumes is being rolled back)"),
]  # fmt: skip


@pytest.mark.parametrize(("known", "because", "line"), HOLDS)
def test_what_holds_a_rule_holds_one_that_asks_people_too(known: dict[str, Any], because: str, line: str) -> None:
    for decision, would, mode in (
        (bounded(known), "Rule alone: tier 1 in production. Would act alone", "auto"),
        (bounded(known, first=ASK), "Rule ask: tier 1 in production. Would ask ic", "approve"),
    ):
        assert (decision.mode, decision.require) == ("hold", ())
        assert decision.reason == f"{would}, but {because} turns {mode} into hold. It is decided again each minute."
        assert line in lines(decision)


@pytest.mark.parametrize(("known", "because", "line"), HOLDS)
def test_a_person_is_held_by_the_security_gate_alone(known: dict[str, Any], because: str, line: str) -> None:
    decision = bounded({**known, "by_person": True, "firing_for": None})
    gate = "security gate" in because
    assert (decision.mode, decision.rule) == ("hold" if gate else "approve", "ask")
    said = line if gate else f"✓{line[1:-1]}, and a person asked)"
    assert said in lines(decision)


def test_a_snooze_holds_everybody_and_says_whose_it_is() -> None:
    for known in ({}, {"by_person": True}):
        decision = bounded(known, Bounds(snoozed=SNOOZED), first=ASK)
        assert decision.mode == "hold"
        assert decision.reason == (
            f"Rule ask: tier 1 in production. Would ask ic, but a snooze turns approve into hold. {SNOOZED}"
            " It is decided again each minute."
        )
        assert f"✗ snooze ({SNOOZED})" in lines(decision)


def test_nobody_is_woken_about_what_people_put_off() -> None:
    loud = rule("alone", "auto", tell="page")
    assert bounded({}, first=loud).tell == "page"
    assert bounded({}, Bounds(snoozed=SNOOZED), first=loud).tell == "slack"
    assert bounded({"silenced": True}, first=loud).tell == "slack"
    assert bounded({"silenced": True, "by_person": True}).tell == "page"


def test_autopilot_off_asks_people_and_says_who_switched_it_off() -> None:
    decision = bounded({}, Bounds(autopilot_off=OFF))
    assert decision.mode == "approve"
    assert decision.reason == f"{WOULD} the switched-off autopilot turns auto into approve. {OFF} It needs ic."
    assert f"✗ autopilot ({OFF})" in lines(decision)


@pytest.mark.parametrize(
    ("first", "known", "would"),
    [
        (ALONE, {}, "acted alone"),
        (ALONE, {"flapping": True}, "asked ic"),
        (rule("alone", require=(IC, ML)), {}, "asked ic and 2 × ml"),
        (rule("alone", "hold"), {}, "held"),
        (ALONE, {"upstream_rolling": True}, "held"),
    ],
)
def test_observing_says_what_would_be_and_moves_nothing(first: Rule, known: dict[str, Any], would: str) -> None:
    decision = bounded(known, Bounds(observing=True), first=first)
    assert (decision.mode, decision.require) == ("notify", ())
    assert decision.reason == f"Rule alone: tier 1 in production. Observing: would have {would}, nothing is moved."
    assert lines(decision)[-1] == "✗ observe (Lastgood decides and shows, and moves nothing)"


def test_observing_holds_for_people_too_and_changes_nothing_about_a_rule_that_only_tells() -> None:
    assert bounded({"by_person": True}, Bounds(observing=True)).mode == "notify"
    tells = rule("tells", "notify")
    said = "Rule tells: tier 1 in production, so people are told and nothing is moved."
    assert bounded({}, Bounds(observing=True), first=tells).reason == bounded({}, first=tells).reason == said


def test_a_breach_no_alert_reported_is_told_at_most_unless_a_person_asks() -> None:
    decision = bounded({"silent": True})
    assert decision.mode == "notify"
    assert decision.reason == f"{WOULD} a breach that no alert reported turns auto into notify. Nothing is moved."
    assert "✗ alert (Lastgood saw the breach itself, no alert came)" in lines(decision)
    asked = bounded({"silent": True, "by_person": True})
    assert (asked.mode, asked.rule) == ("approve", "ask")
    assert "✓ alert (Lastgood saw the breach itself, no alert came, and a person asked)" in lines(asked)


CLIMBS = rule("alone", "auto", ladder=True)


@pytest.mark.parametrize(
    ("rung", "mode", "reason"),
    [
        ("notify", "notify", f"{WOULD} its rung notify on the trust ladder turns auto into notify. Nothing is moved."),
        ("approve", "approve", f"{WOULD} its rung approve on the trust ladder turns auto into approve. It needs ic."),
        ("auto", "auto", "Rule alone: tier 1 in production, so Lastgood acts alone. Auto 1 of 2 today."),
    ],
)
def test_a_rule_on_the_ladder_does_what_its_rung_allows(rung: Any, mode: str, reason: str) -> None:
    decision = decide(policy(CLIMBS, ASK, trust=TRUST), FACTS, Bounds(rungs={"alone": rung}))
    assert (decision.mode, decision.ladder, decision.reason) == (mode, "alone", reason)
    assert f"{'✓' if rung == 'auto' else '✗'} trust ladder (the rule stands on {rung})" in lines(decision)


def test_a_rule_that_never_moved_stands_where_the_policy_lets_it_begin() -> None:
    start = Trust(role="leads", start="approve")
    assert decide(policy(CLIMBS, ASK, trust=start), FACTS).mode == "approve"
    assert decide(policy(CLIMBS, ASK, trust=TRUST), FACTS).mode == "notify"
    assert decide(policy(CLIMBS, ASK), FACTS).mode == "notify"


def test_a_rung_means_nothing_for_a_rule_that_is_not_on_the_ladder() -> None:
    decision = bounded({}, Bounds(rungs={"alone": "notify"}))
    assert (decision.mode, decision.ladder) == ("auto", "")


def test_the_ladder_is_not_what_decided_where_something_stricter_did() -> None:
    climbed = Bounds(rungs={"alone": "auto"})
    assert decide(policy(CLIMBS, ASK, trust=TRUST), facts(flapping=True), climbed).ladder == ""


# ── whom a bounded rule asks ──────────────────────────────────────────────────────────────────────────────────────


def test_a_bounded_rule_asks_its_own_people_on_its_own_terms_where_it_names_some() -> None:
    own = rule("alone", "auto", require=(ML,), plan_ttl="6m", escalate_to="leads")
    decision = bounded({"flapping": True}, first=own)
    assert (decision.rule, decision.require, decision.plan_ttl) == ("alone", (ML,), timedelta(minutes=6))
    assert (decision.remind_in, decision.escalate_to) == (timedelta(minutes=2), "leads")
    assert "rule ask" not in {check.name for check in decision.trace}


def test_a_bounded_rule_asks_the_people_of_the_first_later_rule_that_matches_and_asks() -> None:
    terms: dict[str, Any] = {"plan_ttl": "9m", "confirm": True, "reason": True, "step_up": True, "escalate_to": "heads"}
    later = (
        rule("staging", environments=("staging",), require=(ML,)),
        rule("held", "hold"),
        rule("told", "notify"),
        rule("tier-2", when="tier == 2"),
        rule("tier-1", when="tier == 1", require=(IC, ML), **terms),
        rule("last"),
    )
    decision = decide(policy(ALONE, *later), facts(flapping=True))
    assert (decision.mode, decision.rule, decision.require) == ("approve", "alone", (IC, ML))
    assert decision.plan_ttl == timedelta(minutes=9)
    assert (decision.confirm, decision.ask_reason, decision.step_up) == (True, True, True)
    assert (decision.page_in, decision.escalate_to) == (timedelta(minutes=6), "heads")
    assert [check.name for check in decision.trace if check.name.startswith("rule ")] == [
        "rule alone", "rule staging", "rule tier-2", "rule tier-1"
    ]  # fmt: skip


def test_the_places_of_every_later_rule_in_doubt_are_added_to_those_a_bounded_rule_asks() -> None:
    doubtful = rule("doubtful", when="burn_rate > 1.0", require=(ML,))
    decision = decide(policy(ALONE, doubtful, ASK), facts(flapping=True, burn_rate=None))
    assert decision.require == (IC, ML)
    assert decide(policy(ALONE, doubtful), facts(flapping=True, burn_rate=None)).require == (ML,)


def test_a_rule_in_doubt_before_a_bounded_rule_adds_its_places_too() -> None:
    doubtful = rule("doubtful", when="burn_rate > 1.0", require=(ML,))
    unknown = facts(burn_rate=None)
    assert decide(policy(doubtful, ALONE, ASK), unknown).require == (ML,)
    assert decide(policy(doubtful, ALONE, ASK), {**unknown, "flapping": True}).require == (IC, ML)


def test_where_nobody_is_named_a_bounded_rule_tells_people() -> None:
    decision = decide(policy(ALONE), facts(flapping=True))
    assert decision.mode == "notify"
    assert decision.reason == (
        f"{WOULD} a flapping alert turns auto into approve. No role is named that could approve, so nothing is moved."
    )


def test_the_reason_names_every_bound_that_changed_the_mode_and_the_trace_every_bound() -> None:
    known = {"flapping": True, "would_loop": True, "since_last_rollback": 60.0}
    decision = bounded(known)
    assert plain(decision.reason) == (
        f"{WOULD} the cooldown of 30 min (last rollback 1 min ago), a loop (the good version was rolled back from within"
        " 7 d) and a flapping alert turn auto into approve. It needs ic."
    )
    held = bounded({**known, "silenced": True})
    assert held.reason == (
        f"{WOULD} a silence (every firing alert is silenced where it comes from) turns auto into hold."
        " It is decided again each minute."
    )
    for found in (decision, held):
        assert {check.name for check in found.trace if not check.ok} >= {"cooldown", "loop", "flapping"}


def test_what_bounds_acting_alone_is_not_weighed_where_people_are_asked_anyway() -> None:
    decision = bounded({"flapping": True, "would_loop": True}, Bounds(autopilot_off=OFF), first=ASK)
    assert decision.reason == "Rule ask: tier 1 in production needs ic."
    assert [check.name for check in decision.trace] == ["rule ask", "doubt", "security gate", "silence", "upstream"]


@pytest.mark.parametrize("fact", ["would_loop", "auto_rollbacks_today", "since_last_rollback"])
def test_RT22_a_rollback_that_would_go_in_a_circle_or_come_too_often_is_never_done_alone(fact: str) -> None:
    worst = {"would_loop": True, "auto_rollbacks_today": 2, "since_last_rollback": 0.0}
    assert bounded({}).mode == "auto"
    assert bounded({fact: worst[fact]}).mode == "approve"


def test_RT22_a_quarantined_version_is_gone_back_to_by_nobody() -> None:
    for known in ({}, {"by_person": True}):
        assert bounded({**known, "target_quarantined": True}).mode == "hold"


def test_RT25_the_rules_alone_decide_so_another_policy_decides_otherwise() -> None:
    """A plan is bound to the digest of its policy because the same facts come out differently under another."""
    lax, strict = policy(ALONE, ASK), policy(rule("alone", require=(IC, ML)), ASK)
    assert (decide(lax, FACTS).mode, decide(strict, FACTS).mode) == ("auto", "approve")
    assert decide(Policy.model_validate(lax.model_dump(by_alias=True)), FACTS) == decide(lax, FACTS)


def test_a_line_of_the_trace_is_a_check_like_any_other() -> None:
    assert all(Check.model_validate(one.model_dump()) == one for one in bounded({"flapping": True}).trace)
