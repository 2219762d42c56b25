"""A model as the configuration describes it: who owns it, where it runs, what measures it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field

from bot.domain.duration import Duration
from bot.domain.later import not_yet
from bot.domain.roles import MemberId, PagerDutyId, UsergroupId
from bot.domain.value import Value

FigureName = Literal["burn_rate_short", "burn_rate_long", "error_budget_left", "error_budget_spent", "cost_delta"]


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

    @property
    def settings(self) -> dict[str, Any]:
        """Give the keys that belong to the metric source."""
        return dict(self.model_extra or {})


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
    """

    targets: dict[str, Target] = Field(min_length=1)
    slis: dict[str, Sli] = Field(default_factory=dict)
    last_good: str | None = None
    soak: Duration = timedelta(minutes=10)
    figures: dict[FigureName, Figure] = Field(default_factory=dict)
    business: dict[str, Figure] = Field(default_factory=dict, json_schema_extra=not_yet())
    cost: Figure | None = Field(default=None, json_schema_extra=not_yet())


class Model(Value):
    """A registered model. Only these ever reach an adapter."""

    aliases: tuple[str, ...] = ()
    tier: int = Field(default=2, ge=1, le=4)
    owner: Owner = Owner()
    consumers: tuple[str, ...] = ()
    observe: bool | None = None
    environments: dict[str, Environment] = Field(min_length=1)
