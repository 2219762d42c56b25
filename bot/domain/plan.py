"""The plan: concrete, content-hashed, signed as a whole by whoever approves it."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Literal

from pydantic import AwareDatetime

from bot.domain.runbook import OnFailure, VerifySpec
from bot.domain.traffic import Call, Finding, TargetPlan, TrafficSplit
from bot.domain.value import Value, digest


class Candidate(Value):
    """A version that was considered, and why it was or was not chosen."""

    version: str
    chosen: bool
    reason: str


PEOPLE = re.compile(r"[SUW][A-Z0-9]{2,30}")  # whom a step may tell: a Slack user group or member
Kind = Literal["target", "warm", "check", "tell"]


class PlanStep(Value):
    """One step in the order of the plan. It starts when every step in `after` is proven: its traffic moved, or it is done.

    `target` is what it moves, and for another kind the action, the SLI or the people it is about. `share` is the percent
    of what the bad version had that is moved when this step has ended: a ramp is several steps of one target.
    """

    name: str
    target: str
    after: tuple[str, ...] = ()
    kind: Kind = "target"
    share: int = 100
    irreversible: bool = False  # compensation cannot take it back
    until: Literal["closed"] | None = None  # taken back once the incident has closed with a recovery
    leaves: str = ""  # what it leaves behind and somebody must clear
    call: Call | None = None  # what a step that moves nothing will do, redacted, and the same by hand

    @property
    def whole(self) -> bool:
        """Say whether this step ends the move of its target."""
        return self.kind == "target" and self.share == 100


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
    parallel: bool = False  # steps that wait for nothing unproven start together
    verify: VerifySpec
    confirm: bool
    findings: tuple[Finding, ...] = ()
    requester: str | None = None
    editor: str | None = None  # who changed the plan before this one
    artefact: str | None = None  # the digest the registry gives for the good version
    scan: Literal["clean", "findings"] | None = None  # of the good version, None when nobody can tell
    signature_fits: bool | None = None  # the good version takes the requests of today
    capacity_enough: bool | None = (
        None  # the good version carries the full load when traffic comes; None: nobody can tell
    )
    deployer: str | None = None  # who put the bad version into service, when known
    runbook: str
    runbook_digest: str
    policy_digest: str
    model_digest: str
    postmortem: str
    repair: tuple[str, ...] = ()  # what is to be mended of the bad version's answers, as the runbook lists it

    @property
    def content(self) -> dict[str, Any]:
        """Give what is hashed: what says nothing is left out, so that a field added later changes no plan made before."""
        rest = self.model_dump(mode="json", exclude={"targets", "good_since", "good_until"}, exclude_defaults=True)
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

    def goal(self, step: PlanStep) -> TrafficSplit:
        """Give the split a step of a target ends with."""
        plan = self.target(step.target)
        return plan.to_split if step.share == 100 else plan.before.split.moved(plan.bad, plan.good, step.share)

    def split_before(self, step: PlanStep) -> TrafficSplit:
        """Give the split a step of a target begins with: what was there, or what the stage before it left."""
        stages = [one for one in self.steps if one.kind == "target" and one.target == step.target]
        at = stages.index(step)
        return self.goal(stages[at - 1]) if at else self.target(step.target).before.split

    def step(self, name: str) -> PlanStep:
        """Give one step."""
        return next(one for one in self.steps if one.name == name)
