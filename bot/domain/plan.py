"""The plan: concrete, content-hashed, signed as a whole by whoever approves it."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import AwareDatetime

from bot.domain.runbook import OnFailure, VerifySpec
from bot.domain.traffic import Finding, TargetPlan
from bot.domain.value import Value, digest


class Candidate(Value):
    """A version that was considered, and why it was or was not chosen."""

    version: str
    chosen: bool
    reason: str


class PlanStep(Value):
    """One step in the order of the plan. It starts when the traffic of every step in `after` is proven to have moved."""

    name: str
    target: str
    after: tuple[str, ...] = ()


class Plan(Value):
    """Everything an approval is for. Its id is the hash of its content; times, counters and expiry are outside it."""

    ordinal: int
    incident: str
    model: str
    environment: str
    scope: Literal["all"] = "all"
    from_version: str
    to_version: str
    observed_serving: bool  # False: the good version was configured, never seen to serve
    good_since: AwareDatetime | None = None
    good_until: AwareDatetime | None = None
    steps: tuple[PlanStep, ...]
    targets: tuple[TargetPlan, ...]
    resources: tuple[str, ...]
    on_failure: OnFailure
    verify: VerifySpec
    confirm: bool
    findings: tuple[Finding, ...] = ()
    requester: str | None = None
    editor: str | None = None  # who changed the plan before this one
    deployer: str | None = None  # who put the bad version into service, when known
    runbook: str
    runbook_digest: str
    policy_digest: str
    model_digest: str
    postmortem: str

    @property
    def content(self) -> dict[str, Any]:
        """Give what is hashed."""
        rest = self.model_dump(mode="json", exclude={"targets", "good_since", "good_until"})
        return {**rest, "targets": [target.content for target in self.targets]}

    @cached_property
    def id(self) -> str:
        """Give the full content hash."""
        return digest(self.content)

    @property
    def short(self) -> str:
        """Give the eight characters people read."""
        return self.id[:8]

    def target(self, name: str) -> TargetPlan:
        """Give the plan of one target."""
        return next(one for one in self.targets if one.target == name)

    def step(self, name: str) -> PlanStep:
        """Give one step."""
        return next(one for one in self.steps if one.name == name)
