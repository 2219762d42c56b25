"""What a whole decision costs, reason and trace included, over the bare guards of the same policy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from time import perf_counter_ns
from typing import Any

from cel_expr_python import cel
from figures import Figure
from probes import percentile

from bot.domain.facts import FACTS
from bot.domain.policy import Bounds, Policy, decide

GUARDS = (
    "burn_rate >= {n}0.5 && blast_radius <= 0.05",
    'severity == "critical" && error_budget_left < 0.{n}',
    'now - deployed_at < duration("{n}m") && samples > 5000.0',
    '"latency_p99" in breached && breached["latency_p99"] > 12{n}.0',
    "tier == 3 && recent_rollbacks > {n}",
)
AMOUNT = 30
TARGET = 100.0  # µs, p50 of one decision
NOW = datetime(2026, 11, 23, 3, 12, tzinfo=UTC)
KNOWN: dict[str, Any] = {
    "string": "", "int": 0, "double": 0.1, "bool": False, "timestamp": NOW - timedelta(minutes=21), "map": {"error_ratio": 300.0}
}  # fmt: skip


def rules(*, longest: bool) -> Policy:
    """Rules of several teams: half of them are for other models, the rest are guarded and miss; of the last two one acts alone.

    On the longest way every rule is for this model, there is a cost guard, and the one that would act alone is in a
    blackout, so that it asks the people of the last.
    """
    made: list[dict[str, Any]] = []
    for n in range(AMOUNT - 2):
        scope = {"environments": ["prod"]} if longest or n % 2 else {"models": ["ads-*", "search-*"]}
        mode = ("auto", "notify", "approve")[n % 3]
        require = [{"role": "oncall"}] if mode == "approve" else []
        when = GUARDS[n % len(GUARDS)].format(n=2 + n // len(GUARDS))
        made.append({"id": f"rule-{n}", "when": when, "mode": mode, "require": require, **scope})
    made += [
        {"id": "fast-burn", "mode": "auto", "when": "burn_rate >= 14.4", "for": "2m", "min_samples": 300},
        {"id": "tier-1", "when": "tier == 1", "require": [{"role": "oncall"}, {"role": "owner"}]},
    ]
    night = {
        "name": "night",
        "days": ["mon" if longest else "fri"],
        "from": "00:00",
        "to": "08:00",
        "zone": "Europe/Berlin",
    }
    limits = {"blackouts": [night], "max_cost_increase": 0.2 if longest else None}
    return Policy.model_validate({"rules": made, "limits": limits})


def facts() -> dict[str, Any]:
    """Every fact there is, known."""
    return {
        **{name: KNOWN[fact.kind] for name, fact in FACTS.items()},
        "model": "fraud", "environment": "prod", "tier": 1, "severity": "critical", "now": NOW, "burn_rate": 20.0,
        "firing_for": 300.0, "samples": 900.0, "observed_serving": True, "error_budget_left": 0.9,
        "since_last_rollback": 1e6, "target_signature_fits": True,
    }  # fmt: skip


def _bare(policy: Policy, known: dict[str, Any]) -> Callable[[], object]:
    """Give what the same guards cost in CEL alone: compiled before, the facts handed over once, no reason, no trace."""
    types = {
        "string": cel.Type.STRING, "int": cel.Type.INT, "double": cel.Type.DOUBLE, "bool": cel.Type.BOOL,
        "timestamp": cel.Type.TIMESTAMP, "map": cel.Type.Map(cel.Type.STRING, cel.Type.DOUBLE),
    }  # fmt: skip
    environment = cel.NewEnv(variables={name: types[fact.kind] for name, fact in FACTS.items()})
    guards = [environment.compile(one.when) for one in policy.rules if one.when and not one.models]  # what `facts` asks

    def ask() -> list[object]:
        activation = environment.Activation(known)
        return [guard.eval(activation).value() for guard in guards]

    return ask


def _p50(work: Callable[[], object], samples: int) -> float:
    """Give the median of one call, in µs."""
    took = []
    for _ in range(samples):
        began = perf_counter_ns()
        work()
        took.append((perf_counter_ns() - began) / 1000)
    return percentile(took, 0.5)


def measure(samples: int = 2000, *, longest: bool = False) -> tuple[float, float]:
    """Give the p50 in µs of one decision over 30 rules, and that of the guards it asks in CEL alone."""
    policy, known, orders = rules(longest=longest), facts(), Bounds()
    bare = _bare(policy, known)
    decision = decide(policy, known, orders)
    assert (decision.mode, decision.rule) == ("approve" if longest else "auto", "fast-burn"), decision
    assert len(decision.trace) == (AMOUNT + 15 if longest else AMOUNT + 13), decision
    _p50(bare, 50)
    return _p50(lambda: decide(policy, known, orders), samples), _p50(bare, samples)


class Decisions:
    """A whole decision, beside its bare guards and beside the target."""

    def __init__(self, samples: int) -> None:
        self._samples = samples
        bare, target = "its guards in bare CEL", f"the target of {TARGET:.0f} µs"
        self.usual = Figure("decision with trace, 30 rules", "µs", bare, 3.5, 2.5, samples=samples)
        self.longest = Figure("decision with trace, 30 rules, longest way", "µs", bare, 3.0, 2.5, samples=samples)
        self.target = Figure("decision with trace, 30 rules, p50", "µs", target, 1.0, samples=samples)
        self.figures = [self.usual, self.longest, self.target]

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        measure(100)
        yield

    async def round(self, at: int) -> None:  # noqa: ARG002  every round is the same
        took, bare = measure(self._samples)
        self.usual.add(took, bare)
        self.target.add(took, TARGET)
        self.longest.add(*measure(self._samples, longest=True))
