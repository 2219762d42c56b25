"""What policy may know: every fact a guard can ask about, with its type, its unit, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

FactKind = Literal["string", "int", "double", "bool", "timestamp", "map"]


@dataclass(frozen=True, slots=True)
class FactType:
    """One fact a guard may ask about. A `map` goes from text to a decimal number."""

    kind: FactKind
    unit: str
    meaning: str
    source: str


FACTS: dict[str, FactType] = {
    "model": FactType("string", "", "the model's name", "the incident"),
    "environment": FactType("string", "", "the environment", "the incident"),
    "tier": FactType("int", "", "the model's tier, 1 is the most critical", "the configuration"),
    "now": FactType("timestamp", "", "the time of the decision", "the clock"),
    "weekday": FactType("string", "", "the day in UTC: mon, tue, wed, thu, fri, sat, sun", "the clock"),
    "hour": FactType("int", "h", "the hour in UTC, 0 to 23", "the clock"),
    "blackout": FactType("string", "", "the blackout it is in now, empty when in none", "policy.limits.blackouts"),
    "severity": FactType(
        "string", "", "worst severity among firing alerts: critical, error, warning, info, unknown", "the alerts"
    ),
    "sli": FactType("string", "", "the SLI the first firing alert names, empty when none does", "the alerts"),
    "value": FactType("double", "", "the value the first firing alert carries", "the alerts"),
    "burn_rate": FactType("double", "× budget", "the alert's value over the objective of its SLI", "the alerts"),
    "breached": FactType(
        "map", "s", "every SLI with a firing alert, and for how long it has been firing", "the alerts"
    ),
    "firing_for": FactType("double", "s", "how long the oldest firing alert has been firing", "the alerts"),
    "flapping": FactType("bool", "", "an alert ended and began anew three times in this incident", "the alerts"),
    "drift_only": FactType("bool", "", "every firing alert is about data, none about the service", "the alerts"),
    "security_finding": FactType("bool", "", "a firing alert is a security finding", "the alerts"),
    "silenced": FactType("bool", "", "every firing alert is silenced where it comes from", "the senders of alerts"),
    "silent": FactType("bool", "", "Lastgood saw the breach itself; no alert came", "the incident"),
    "by_person": FactType("bool", "", "a person asked for this rollback", "the incident"),
    "drill": FactType("bool", "", "this is a rehearsal", "the incident"),
    "samples": FactType(
        "double", "requests", "requests the bad version has served since the target's counters began", "the targets"
    ),
    "blast_radius": FactType("double", "ratio", "share of traffic the bad version serves, 0 to 1", "the targets"),
    "deployed_at": FactType(
        "timestamp", "", "when the bad version began to serve; `now - deployed_at` is its age", "the ledger"
    ),
    "deployer": FactType("string", "", "who put the bad version into service", "deployment events"),
    "observed_serving": FactType("bool", "", "the good version was seen to serve", "the ledger"),
    "target_quarantined": FactType("bool", "", "the good version is quarantined", "the ledger"),
    "target_scan": FactType("string", "", "the security scan of the good version: clean or findings", "the registry"),
    "target_signature_fits": FactType("bool", "", "the good version takes the requests of today", "the registry"),
    "capacity_enough": FactType(
        "bool", "", "the good version carries the full load, or a step scales it first", "environments.E.capacity"
    ),
    "good_also_breached": FactType("bool", "", "an alert about the good version fires too", "the alerts"),
    "neighbours_breached": FactType(
        "bool", "", "another model with a consumer in common has an open incident", "the ledger"
    ),
    "upstream_change": FactType(
        "bool", "", "a model this one consumes changed its version in the last hour, or a change joined", "the ledger"
    ),
    "upstream_rolling": FactType("bool", "", "a model this one consumes is being rolled back now", "the ledger"),
    "recent_rollbacks": FactType("int", "", "rollbacks of this model within the rollback window", "the ledger"),
    "auto_rollbacks_today": FactType(
        "int", "", "rollbacks of this model in the last 24 h that nobody approved", "the ledger"
    ),
    "since_last_rollback": FactType(
        "double", "s", "how long ago the last rollback of this model began; unknown when there was none", "the ledger"
    ),
    "would_loop": FactType(
        "bool", "", "this goes back to a version that was rolled back from within the rollback window", "the ledger"
    ),
    "last_grade": FactType("string", "", "the grade of the model's last rollback: helped, neutral, harmful", "grades"),
    "burn_rate_short": FactType("double", "× budget", "burn rate over the short window", "environments.E.figures"),
    "burn_rate_long": FactType("double", "× budget", "burn rate over the long window", "environments.E.figures"),
    "error_budget_left": FactType(
        "double", "ratio", "share of the error budget that is left, 0 to 1", "environments.E.figures"
    ),
    "error_budget_spent": FactType(
        "double", "ratio", "share of the error budget this release spent", "environments.E.figures"
    ),
    "cost_delta": FactType(
        "double",
        "ratio",
        "what the good version costs more than the bad one; 0.2 is 20 % more",
        "environments.E.figures",
    ),
}


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Give facts as an entry keeps them: times as ISO 8601."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in facts.items()}


def live(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Give facts that an entry kept as a guard needs them."""
    return {
        name: datetime.fromisoformat(value)
        if name in FACTS and FACTS[name].kind == "timestamp" and isinstance(value, str)
        else value
        for name, value in kept.items()
    }
