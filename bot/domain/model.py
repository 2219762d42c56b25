"""A model as the configuration describes it: who owns it, where it runs, what measures it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from bot.domain.duration import Duration
from bot.domain.evidence import SamplesUse
from bot.domain.registry import RegistryUse
from bot.domain.roles import MemberId, PagerDutyId, UsergroupId
from bot.domain.value import Value

FigureName = Literal["burn_rate_short", "burn_rate_long", "error_budget_left", "error_budget_spent", "cost_delta"]


Cohort = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]


class Sli(Value):
    """One SLI of one environment: where it is read and what counts as good. Source keys beside these go to the source."""

    model_config = {**Value.model_config, "extra": "allow"}

    source: str
    objective: float = Field(allow_inf_nan=False)
    good: Literal["below", "above"] = "below"

    @property
    def settings(self) -> dict[str, Any]:
        """Give the keys that belong to the metric source, for example `query` or `errors` and `total`."""
        return dict(self.model_extra or {})


class Figure(Value):
    """A figure of the business, or a cost: where it is read. Keys beside these go to the source."""

    model_config = {**Value.model_config, "extra": "allow"}

    source: str
    good: Literal["below", "above"] | None = None
    unit: str = Field(default="", max_length=12)  # written behind the number

    @property
    def settings(self) -> dict[str, Any]:
        """Give the keys that belong to the metric source."""
        return dict(self.model_extra or {})


class Action(Value):
    """Something a runbook's step does beside moving traffic: the adapter's name, and keys its `Config` documents."""

    model_config = {**Value.model_config, "extra": "allow"}

    adapter: str

    @property
    def settings(self) -> dict[str, Any]:
        """Give the keys that belong to the adapter."""
        return dict(self.model_extra or {})


class FollowUp(Value):
    """What is done once a rollback is proven: an action of the environment, not again for this model within `cooldown`."""

    action: str
    cooldown: Duration = timedelta(0)


class Capacity(Value):
    """Whether the good version could carry the full load: how much of it is ready, and how much is needed.

    `ready` and `needed` are settings for the source, with `{version}` for the good version; `needed` may be a number.
    """

    source: str
    ready: dict[str, Any]
    needed: float | dict[str, Any]


class Target(Value):
    """One thing that routes traffic: the adapter's name, and keys its `Config` documents."""

    model_config = {**Value.model_config, "extra": "allow"}

    adapter: str

    @property
    def settings(self) -> dict[str, Any]:
        """Give the keys that belong to the adapter."""
        return dict(self.model_extra or {})


class Owner(Value):
    """Who is told, and who is next when they do not answer: a PagerDuty escalation policy, or a role."""

    usergroup: UsergroupId | None = None
    member: MemberId | None = None
    escalation_policy: PagerDutyId | None = None
    escalate_to: str | None = None


class Environment(Value):
    """A model in one place: its targets in the order written, its SLIs, and what is good without having been observed.

    `figures` says where the facts of that name are read when a decision needs them, for example `burn_rate_short`.
    `cohorts` are judged each by itself, by the SLIs whose settings name `{cohort}`. `business` and `cost` are measured
    before and after a rollback; settings of a cost may name `{version}`. `follow_ups` are done once a rollback is proven and
    closed, such as telling the registry which version is active, or asking for a retraining. `registry` says which registry
    knows the versions, and what one must be to be gone back to.
    """

    targets: dict[str, Target] = Field(min_length=1)
    slis: dict[str, Sli] = Field(default_factory=dict)
    last_good: str | None = None
    soak: Duration = timedelta(minutes=10)
    figures: dict[FigureName, Figure] = Field(default_factory=dict)
    business: dict[str, Figure] = Field(default_factory=dict)
    cost: Figure | None = None
    cohorts: tuple[Cohort, ...] = ()
    actions: dict[str, Action] = Field(default_factory=dict)
    follow_ups: dict[str, FollowUp] = Field(default_factory=dict)
    capacity: Capacity | None = None
    registry: RegistryUse | None = None
    samples: SamplesUse | None = None
    ticket: str | None = None  # the action that opens a ticket where a rule says `tell: ticket`


class Model(Value):
    """A registered model. Only these ever reach an adapter."""

    aliases: tuple[str, ...] = ()
    tier: int = Field(default=2, ge=1, le=4)
    owner: Owner = Owner()
    consumers: tuple[str, ...] = ()
    observe: bool | None = None
    environments: dict[str, Environment] = Field(min_length=1)
