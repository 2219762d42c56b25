"""What tests of policy share: the facts of a calm model, rules in one line, and a decision as a text to read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bot.domain.entries import Mode
from bot.domain.policy import Decision, Policy, Rule
from bot.domain.roles import Limits, Place, Trust

NOW = datetime(2026, 11, 23, 3, 12, tzinfo=UTC)  # a Monday, 04:12 in Berlin
FACTS: dict[str, Any] = {
    "model": "fraud",
    "environment": "production",
    "tier": 1,
    "now": NOW,
    "weekday": "mon",
    "hour": 3,
    "blackout": "",
    "severity": "critical",
    "sli": "error_ratio",
    "value": 0.2,
    "burn_rate": 20.0,
    "breached": {"error_ratio": 300.0},
    "firing_for": 300.0,
    "flapping": False,
    "drift_only": False,
    "security_finding": False,
    "silenced": False,
    "silent": False,
    "by_person": False,
    "drill": False,
    "samples": 900.0,
    "blast_radius": 0.1,
    "deployed_at": NOW - timedelta(minutes=21),
    "deployer": None,
    "observed_serving": True,
    "target_quarantined": False,
    "target_scan": None,
    "target_signature_fits": None,
    "good_also_breached": False,
    "neighbours_breached": False,
    "upstream_change": False,
    "upstream_rolling": False,
    "recent_rollbacks": 0,
    "auto_rollbacks_today": 0,
    "since_last_rollback": None,
    "would_loop": False,
    "last_grade": None,
    "burn_rate_short": None,
    "burn_rate_long": None,
    "error_budget_left": None,
    "error_budget_spent": None,
    "cost_delta": None,
}
IC, ML = Place(role="ic"), Place(role="ml", count=2)
OFF = "Autopilot is off for fraud: <@U0INES> switched it off at 02:58 UTC."
SNOOZED = "<@U0ANA> snoozed the incident until 05:00 UTC."


def rule(name: str, mode: Mode = "approve", when: str | None = None, **more: Any) -> Rule:
    require = (IC,) if mode == "approve" else ()
    return Rule.model_validate({"id": name, "mode": mode, "when": when, "require": require, **more})


def policy(*rules: Rule, trust: Trust | None = None, **limits: Any) -> Policy:
    return Policy(rules=rules, limits=Limits.model_validate(limits), trust=trust)


def facts(**changes: Any) -> dict[str, Any]:
    return {**FACTS, **changes}


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def read(decision: Decision) -> str:
    """Write a decision as people would read it, every field that says something, then the trace."""
    rows = [f"{decision.mode} · rule {decision.rule} · tell {decision.tell}", decision.reason]
    rows += [decision.doubt] if decision.doubt else []
    if decision.mode == "approve":
        asks = [one for one in ("confirm", "ask_reason", "step_up") if getattr(decision, one)]
        who = decision.escalate_to or "the owner"
        waits = f"reminds in {decision.remind_in}, escalates in {decision.escalate_in} to {who}, pages in {decision.page_in}"
        rows += [", ".join((f"ends in {decision.plan_ttl}", waits, *asks))]
    rows += [f"decided again in {decision.due_in}"] if decision.due_in else []
    rows += [f"on the ladder: {decision.ladder}"] if decision.ladder else []
    return plain("\n".join([*rows, "", *(str(check) for check in decision.trace)])) + "\n"
