"""The values a traffic adapter speaks in: revisions, splits, plans for one target, readings and verifications."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from bot.domain.value import Value, digest


class Revision(Value):
    """One version a target can serve. `id` is the model version's name and is opaque to us."""

    id: str
    label: str | None = None
    artifact: str | None = None
    created_at: AwareDatetime | None = None
    change_cause: str | None = None
    serving: bool = False
    restorable: bool = True


class TrafficSplit(Value):
    """Percent of traffic by revision id; the shares sum to 100."""

    weights: dict[str, Decimal]

    @model_validator(mode="after")
    def _sums_to_100(self) -> TrafficSplit:
        if any(share < 0 for share in self.weights.values()) or sum(self.weights.values()) != 100:
            message = f"shares must be at least 0 and sum to 100, not {dict(self.weights)}"
            raise ValueError(message)
        return self

    def share(self, revision: str) -> Decimal:
        """Give the percent a revision receives, 0 when it is not named."""
        return self.weights.get(revision, Decimal(0))

    def moved(self, bad: str, good: str, percent: int = 100) -> TrafficSplit:
        """Give the split in which `percent` of the bad revision's share has moved to the good one; experiment arms keep theirs."""
        rest = {name: share for name, share in self.weights.items() if name not in (bad, good)}
        moving = self.share(bad) * percent / 100
        return TrafficSplit(weights={**rest, bad: self.share(bad) - moving, good: self.share(good) + moving})

    def same(self, other: TrafficSplit) -> bool:
        """Say whether both give every revision the same share, named or not."""
        return all(self.share(name) == other.share(name) for name in {*self.weights, *other.weights})

    def __str__(self) -> str:
        """Read like `42 100 %, 41 0 %`, with no-break spaces before the units."""
        return ", ".join(
            f"{name} {share.normalize():f}\u00a0%" for name, share in sorted(self.weights.items(), reverse=True)
        )


class TargetState(Value):
    """What a target is told to do and what it does. Revisions are newest first; `token` is the opaque precondition for a write."""

    target: str
    desired: TrafficSplit
    observed: TrafficSplit | None = None
    revisions: tuple[Revision, ...]
    token: str | None = None
    progressing: bool = False
    managers: tuple[str, ...] = ()
    observed_at: AwareDatetime

    @property
    def split(self) -> TrafficSplit:
        """Give what is observed where the target reports it, else what is desired."""
        return self.observed or self.desired


class Finding(Value):
    """Something a preflight or a plan found, and what would clear it."""

    level: Literal["ok", "warning", "blocker"]
    message: str
    mend: str = ""


class Intent(Value):
    """What is asked of a target: concrete, chosen by the domain; never 'previous'."""

    to_split: TrafficSplit
    bad: str
    good: str
    reason: str
    incident_id: str
    idempotency_key: str
    deadline: AwareDatetime | None = None


class Call(Value):
    """One redacted, human-readable call that `apply` will make, and the same by hand."""

    text: str
    by_hand: str = ""
    undo_by_hand: str = ""  # takes it back


class TargetPlan(Value):
    """What `apply` will do to one target. `before` is what was read; the precondition is its token."""

    target: str
    adapter: str
    before: TargetState
    to_split: TrafficSplit
    bad: str
    good: str
    calls: tuple[Call, ...] = ()
    findings: tuple[Finding, ...] = ()
    noop: bool = False
    concurrency: Literal["strict", "best_effort", "none"]
    undo: TrafficSplit | None = None  # compensation restores this; None is one-way
    leaves: str = ""  # what is left behind and somebody must clear, such as a runtime override
    leaves_by_hand: str = ""  # the command that clears it

    @property
    def content(self) -> dict[str, Any]:
        """Give what the approval signs: no observation times, no counters."""
        return self.model_dump(mode="json", exclude={"before": {"observed_at"}}, exclude_defaults=True)

    @property
    def restoring(self) -> bool:
        """Say whether this puts back what was there before: its token cannot hold, since our own write moved it."""
        return not self.noop and self.undo is not None and self.to_split.same(self.undo)

    @property
    def id(self) -> str:
        """Give the hash of the content."""
        return digest(self.content)


class Outcome(StrEnum):
    """How an `apply` ended. Indeterminate means: read before anything else."""

    APPLIED = "applied"
    NOOP = "noop"
    CONFLICT = "conflict"
    REJECTED = "rejected"
    INDETERMINATE = "indeterminate"


class ApplyResult(Value):
    """The answer of an `apply`. `receipt` holds plain facts for the timeline, never a secret."""

    outcome: Outcome
    detail: str = ""
    token: str | None = None
    receipt: dict[str, str] = Field(default_factory=dict)
    started_at: AwareDatetime
    finished_at: AwareDatetime


class Reading(Value):
    """One look at the data plane: requests served by each revision since its process started.

    A revision whose requests nothing counts is missing; a name that is no revision holds what none of them claimed.
    """

    at: AwareDatetime
    requests: dict[str, int] = Field(default_factory=dict)
    epoch: str = ""  # changes when counters restart


class Verification(Value):
    """One look at whether traffic moved, with the reading it rests on. `samples` are requests by revision since the baseline."""

    control_plane: Literal["converged", "progressing", "diverged"]
    data_plane: Literal["moved", "moving", "not_moved", "inconclusive"]
    samples: dict[str, int] = Field(default_factory=dict)
    upper_bound_bad: float | None = None  # 95 % bound on the bad revision's share: `bot.domain.counting.at_most`
    detail: str
    reading: Reading


class Capabilities(Value):
    """What an adapter can promise; shown by `lastgood adapters` and in the plan."""

    level: Literal["fake", "control_plane", "data_plane"]
    concurrency: Literal["strict", "best_effort", "none"]
    dry_run: Literal["server", "client", "none"] = "client"
    extra: str | None = None  # the pip extra it needs
