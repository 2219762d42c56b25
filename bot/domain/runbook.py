"""The shape of `runbooks/*.yaml`: for which incidents it is, what it does, and how success is judged."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bot.domain.alert import Kind, Severity
from bot.domain.duration import Duration, Positive, write_duration
from bot.domain.later import not_yet
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

    tags: dict[str, str] = Field(json_schema_extra=not_yet())


class ToFallback(Value):
    """Go to a static fallback."""

    fallback: str = Field(json_schema_extra=not_yet())


class TargetStep(Value):
    """Move one target. `after` names the steps whose *moved* verdict it waits for."""

    target: str
    after: tuple[str, ...] = ()
    stages: tuple[Annotated[int, Field(ge=1, le=100)], ...] = Field(default=(), json_schema_extra=not_yet())

    @property
    def name(self) -> str:
        """A target step is named like its target."""
        return self.target


class WarmStep(Value):
    """Warm the good version before traffic."""

    warm: str = Field(json_schema_extra=not_yet())
    after: tuple[str, ...] = ()


class CheckStep(Value):
    """Ask a question that must be answered yes."""

    check: str = Field(json_schema_extra=not_yet())
    after: tuple[str, ...] = ()


class TellStep(Value):
    """Tell somebody."""

    tell: str = Field(json_schema_extra=not_yet())
    after: tuple[str, ...] = ()


OnFailure = Literal["before_traffic", "stop", "compensate"]


class RollbackSpec(Value):
    """Where to go and in which steps. Steps without `after` keep the order written."""

    to: Literal["last_good"] | ToVersion | ToTags | ToFallback = "last_good"
    on_failure: OnFailure = "before_traffic"
    steps: tuple[TargetStep | WarmStep | CheckStep | TellStep, ...] = Field(min_length=1)


class TrafficCheck(Value):
    """Traffic has moved when the bad version's share is at most this, seen within this time."""

    max_bad_share: float = Field(default=0.01, gt=0, le=1)
    within: Positive = timedelta(minutes=2)


class RecoveryCheck(Value):
    """The service is well after this many good samples in a row, each over a traffic floor.

    An empty `slis` means every SLI of the environment. `watch` is how long it is watched before the incident closes.
    """

    slis: tuple[str, ...] = ()
    samples: int = Field(default=3, ge=1, le=20)
    every: Positive = timedelta(seconds=10)
    within: Positive = timedelta(minutes=10)
    min_requests: int = Field(default=300, ge=0)
    watch: Duration = timedelta(minutes=1)

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
    """One runbook file."""

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
    postmortem: str = "postmortem.md.j2"
