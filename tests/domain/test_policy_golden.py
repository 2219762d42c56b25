"""Decisions worth reading, whole: the mode, the reason, and every line of the trace."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.domain.policy import Bounds, Policy, decide
from bot.domain.roles import Trust
from tests.domain.policies import FACTS, NOW, OFF, SNOOZED, facts, policy, read, rule

GOLDEN = Path(__file__).parent / "golden"
QUARTER = {"name": "quarter close", "first": "2026-11-23", "from": "00:00", "to": "08:00", "zone": "Europe/Berlin"}
RANKER = rule(
    "ranker-fast-burn", "auto", "burn_rate >= 14.4 && blast_radius <= 0.2 && now - deployed_at < duration('2h')",
    models=("fraud*", "ranker-*"), environments=("production",), min_samples=300, **{"for": "2m"},
)  # fmt: skip
BOTH = rule("both-slis", "auto", '"error_ratio" in breached && breached["latency_p99"] > 120.0')
TIER1 = rule(
    "prod-tier1", environments=("production",), when="tier == 1", confirm=True, reason=True, step_up=True,
    require=({"role": "oncall-sre"}, {"role": "model-owner", "count": 2}), escalate_to="commander",
)  # fmt: skip
DEFAULT = rule("default", require=({"role": "oncall-sre"},))
PAYMENTS = rule("payments-freeze", "hold", "deployer == 'release-train'")
LADDERED = RANKER.but(ladder=True)


def usual(**limits: Any) -> Policy:
    return policy(BOTH, RANKER, TIER1, DEFAULT, trust=Trust(role="leads"), **limits)


def laddered() -> Policy:
    return policy(LADDERED, DEFAULT, trust=Trust(role="leads"))


CASES: dict[str, tuple[Policy, dict[str, Any], Bounds]] = {
    "acts-alone": (usual(max_cost_increase=0.2, blackouts=[{**QUARTER, "to": "04:00"}]), facts(cost_delta=0.05, target_scan="clean", auto_rollbacks_today=1, since_last_rollback=40_000.0), Bounds()),
    "auto-not-ripe-yet": (usual(), facts(firing_for=65.0), Bounds()),
    "auto-guard-unknown": (usual(), facts(burn_rate=None, severity="warning"), Bounds()),
    "blackout-asks-people": (usual(blackouts=[QUARTER]), FACTS, Bounds()),
    "cooldown-and-loop": (usual(), facts(since_last_rollback=720.0, would_loop=True, auto_rollbacks_today=1), Bounds()),
    "two-a-day-are-enough": (usual(), facts(auto_rollbacks_today=2, since_last_rollback=9000.0, burn_rate_short=30.0, burn_rate_long=15.0), Bounds()),
    "old-version-outside-the-window": (policy(rule("alone", "auto", "burn_rate >= 14.4"), DEFAULT), facts(deployed_at=NOW - timedelta(days=12)), Bounds()),
    "probably-not-the-model": (usual(), facts(good_also_breached=True, upstream_change=True), Bounds()),
    "cost-unknown": (usual(max_cost_increase=0.2), FACTS, Bounds()),
    "autopilot-off": (usual(), FACTS, Bounds(autopilot_off=OFF)),
    "observing": (usual(), FACTS, Bounds(observing=True)),
    "observing-in-a-blackout": (usual(blackouts=[QUARTER]), FACTS, Bounds(observing=True)),
    "snoozed": (usual(), FACTS, Bounds(snoozed=SNOOZED)),
    "silenced": (usual(), facts(silenced=True), Bounds()),
    "silence-unknown": (usual(), facts(silenced=None), Bounds()),
    "cascade-held": (usual(), facts(upstream_rolling=True), Bounds()),
    "security-gate-holds-a-person": (usual(), facts(by_person=True, target_quarantined=True, target_scan="findings", firing_for=None, breached={}, severity="unknown"), Bounds()),
    "a-person-asks-in-a-blackout": (usual(blackouts=[QUARTER]), facts(by_person=True, silenced=True, upstream_rolling=True, since_last_rollback=60.0), Bounds()),
    "silent-breach": (usual(), facts(silent=True, severity="unknown"), Bounds()),
    "two-slis-breached": (usual(), facts(breached={"error_ratio": 300.0, "latency_p99": 121.0}), Bounds()),
    "errored-two-person-rule-stays-in-force": (policy(rule("two", when="error_budget_left < 0.5", require=({"role": "oncall-sre"}, {"role": "model-owner"})), DEFAULT), FACTS, Bounds()),
    "errored-hold-wins": (policy(PAYMENTS, RANKER, DEFAULT), FACTS, Bounds()),
    "ladder-at-the-bottom": (laddered(), FACTS, Bounds()),
    "ladder-half-way": (laddered(), FACTS, Bounds(rungs={"ranker-fast-burn": "approve"})),
    "nobody-to-ask": (policy(RANKER), facts(flapping=True, drift_only=True), Bounds()),
    "no-rule-matches": (policy(rule("ads", models=("ads-*",)), rule("staging", environments=("staging",))), FACTS, Bounds()),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_decision_reads_as_we_wrote_it(case: str) -> None:
    path, now = GOLDEN / f"{case}.txt", read(decide(*CASES[case]))
    if os.environ.get("LASTGOOD_GOLDEN") == "1":
        path.write_text(now)
    assert path.read_text() == now, "the decision changed; read it, then run once with LASTGOOD_GOLDEN=1"


def test_no_golden_decision_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)


BANNED = re.compile(
    r"\b(successfully|please|sorry|oops|unfortunately|just|simply|seamless|issue|has been|have been|an error occurred)\b|!(?!=)",
    re.IGNORECASE,
)


@pytest.mark.parametrize("case", CASES)
def test_every_sentence_has_the_voice_of_the_product(case: str) -> None:
    decision = decide(*CASES[case])
    for text in (decision.reason, decision.doubt, *(str(check) for check in decision.trace)):
        assert not BANNED.search(text), text
        assert not re.search(r"\d (min|h|d|s|%)(\W|$)", text), f"a number and its unit may be torn apart: {text}"
