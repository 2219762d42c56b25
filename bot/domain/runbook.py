"""The shape of `runbooks/*.yaml`: for which incidents it is, what it does, and how success is judged."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from bot.domain.alert import Kind, Severity
from bot.domain.duration import Duration, Positive, write_duration
from bot.domain.value import Value


class Reviewed(Value):
    """When a person last read the runbook, and how often one should."""

    at: date
    by: str
    every: Positive = timedelta(days=90)


class AppliesTo(Value):
    """What an incident must match; an empty list matches everything. Names may end in `*`."""

    models: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    slis: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()


class ToVersion(Value):
    """Go to this version."""

    version: str


class ToTags(Value):
    """Go to the newest version with these tags."""

    tags: dict[str, str] = Field(min_length=1)


class ToFallback(Value):
    """Go to a static fallback: a version of that name that every target offers and that never has to have served."""

    fallback: str


def _rising(stages: tuple[int, ...]) -> tuple[int, ...]:
    if stages and (list(stages) != sorted(set(stages)) or stages[0] < 1 or stages[-1] != 100):
        message = f"must rise from 1 or more and end at 100, not {list(stages)}"
        raise ValueError(message)
    return stages


class TargetStep(Value):
    """Move one target. `after` names the steps it waits for; `stages` are percents of what the bad version had.

    A ramp ends at 100 and is checked between its stages.
    """

    target: str
    after: tuple[str, ...] = ()
    stages: Annotated[tuple[int, ...], AfterValidator(_rising)] = ()

    @property
    def name(self) -> str:
        """A target step is named like its target."""
        return self.target


class WarmStep(Value):
    """Warm the good version before traffic, by an action of the environment.

    `until: closed` takes it back when the incident has closed with a recovery: replicas for the moment of the switch, say.
    """

    warm: str
    after: tuple[str, ...] = ()
    until: Literal["closed"] | None = None

    @property
    def name(self) -> str:
        """A step is named like what it does."""
        return self.warm


class CheckStep(Value):
    """Ask what must be answered yes: an SLI of the environment that must be good, or an action that must succeed."""

    check: str
    after: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A step is named like what it asks."""
        return self.check


class TellStep(Value):
    """Tell somebody: another system by an action of the environment, or a Slack user group or member in the thread."""

    tell: str
    after: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """A step is named like whom it tells."""
        return self.tell


OnFailure = Literal["before_traffic", "stop", "compensate"]


class RollbackSpec(Value):
    """Where to go and in which steps.

    A step without `after` waits for the one written before it; `parallel` lets such steps start at once.
    """

    to: Literal["last_good"] | ToVersion | ToTags | ToFallback = "last_good"
    on_failure: OnFailure = "before_traffic"
    parallel: bool = False
    steps: tuple[TargetStep | WarmStep | CheckStep | TellStep, ...] = Field(min_length=1)

    def order(self) -> dict[str, tuple[str, ...]]:
        """Give each step's predecessors, as written or as the order of the file implies."""
        found: dict[str, tuple[str, ...]] = {}
        for step in self.steps:
            before = tuple(found)[-1:] if not self.parallel else ()
            found[step.name] = step.after or before
        return found


class TrafficCheck(Value):
    """Traffic has moved when the bad version's share is at most this, seen within this time."""

    max_bad_share: float = Field(default=0.01, gt=0, le=1)
    within: Positive = timedelta(minutes=2)


class RecoveryCheck(Value):
    """The service is well after this many good samples in a row, each over a traffic floor.

    An empty `slis` means every SLI of the environment. `watch` is how long it is watched before the incident closes.
    `doubt` is the chance that the always-valid test calls a service well that is not.
    """

    slis: tuple[str, ...] = ()
    samples: int = Field(default=3, ge=1, le=20)
    every: Positive = timedelta(seconds=10)
    within: Positive = timedelta(minutes=10)
    min_requests: int = Field(default=300, ge=0)
    watch: Duration = timedelta(minutes=1)
    doubt: float = Field(default=0.05, gt=0, lt=0.5)

    @model_validator(mode="after")
    def _has_time_for_its_samples(self) -> RecoveryCheck:
        if self.every * self.samples > self.within:
            every, within = write_duration(self.every), write_duration(self.within)
            message = f"{self.samples} samples every {every} do not fit within {within}"
            raise ValueError(message)
        return self


class VerifySpec(Value):
    """How the second and the third verdict are reached."""

    traffic: TrafficCheck = TrafficCheck()
    recovery: RecoveryCheck = RecoveryCheck()


class Runbook(Value):
    """One runbook file. `repair` lists what has to be mended of what the bad version answered: stored, cached, queued, sent."""

    runbook: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    title: str = Field(max_length=120)
    owner: str
    reviewed: Reviewed | None = None
    priority: int = 0
    applies_to: AppliesTo = AppliesTo()
    checklist: tuple[str, ...] = ()
    confirm: bool = False
    rollback: RollbackSpec
    verify: VerifySpec = VerifySpec()
    repair: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()
    postmortem: str = "postmortem.md.j2"
