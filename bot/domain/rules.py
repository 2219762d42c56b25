"""The shapes of policy: rules, everything that goes with them, what people ordered beside them, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cached_property

from pydantic import Field, field_validator, model_validator

from bot.domain import guard
from bot.domain.duration import Duration, Positive
from bot.domain.entries import Check, Mode, Rung, Tell
from bot.domain.roles import Autopilot, BreakGlass, Limits, Place, Trust
from bot.domain.runbook import Reviewed
from bot.domain.value import Value

STRICTNESS: tuple[Mode, ...] = ("auto", "approve", "hold", "notify")


class Rule(Value):
    """One rule. Empty lists match everything; names may hold `*`. `for` and `min_samples` bound an `auto` rule.

    `reason` asks approvers what they checked, `step_up` for a company sign-in, `ladder` puts an `auto` rule on the trust
    ladder. People are reminded, the role `escalate_to` is told and a page is due after a third, half and two thirds of
    `plan_ttl` unless said otherwise. `tell` is page, ticket or slack; without it the burn rates and the severity decide.
    """

    model_config = {**Value.model_config, "populate_by_name": True}

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    models: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    when: str | None = None
    for_: Duration = Field(default=timedelta(0), alias="for")
    min_samples: int = Field(default=0, ge=0)
    mode: Mode = "approve"
    plan_ttl: Positive = timedelta(minutes=15)
    require: tuple[Place, ...] = ()
    confirm: bool = False
    reason: bool = False
    step_up: bool = False
    ladder: bool = False
    tell: Tell | None = None
    remind_after: Positive | None = None
    escalate_after: Positive | None = None
    page_after: Positive | None = None
    escalate_to: str | None = None

    @field_validator("when")
    @classmethod
    def _compiles(cls, source: str | None) -> str | None:
        if source is not None:
            guard.check(source)
        return source

    @model_validator(mode="after")
    def _asks_somebody(self) -> Rule:
        if self.mode == "approve" and not self.require:
            raise ValueError("mode approve needs `require`: name at least one role")
        if len({place.role for place in self.require}) < len(self.require):
            raise ValueError("`require` names a role twice; give it a `count`")
        return self

    @cached_property
    def waits(self) -> tuple[timedelta, timedelta, timedelta, timedelta]:
        """Give after how long a plan ends, people are reminded, the next are told, and somebody is paged."""
        whole = self.plan_ttl
        return (
            whole,
            self.remind_after or whole / 3,
            self.escalate_after or whole / 2,
            self.page_after or whole * 2 / 3,
        )


class Policy(Value):
    """Every rule in order, the roles' limits, and who may break the glass."""

    rules: tuple[Rule, ...] = ()
    limits: Limits = Limits()
    break_glass: BreakGlass | None = None
    autopilot: Autopilot | None = None
    trust: Trust | None = None
    reviewed: Reviewed | None = None

    @cached_property
    def guards(self) -> tuple[str, ...]:
        """Give every guard of the rules, in their order."""
        return tuple(rule.when for rule in self.rules if rule.when is not None)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What people ordered, beside the facts: each bounds what a rule alone would do. Empty texts bound nothing."""

    autopilot_off: str = ""  # the sentence that says who switched it off
    observing: bool = False
    snoozed: str = ""  # the sentence that says who, until when
    rungs: Mapping[str, Rung] = field(default_factory=dict)  # by rule, where it stands on the trust ladder


class Decision(Value):
    """What policy says now, and until when an `auto` rule that missed by time or samples may still come true."""

    mode: Mode
    rule: str
    reason: str
    trace: tuple[Check, ...]
    require: tuple[Place, ...] = ()
    plan_ttl: Duration = timedelta(minutes=15)
    confirm: bool = False
    due_in: Duration | None = None
    tell: Tell = "slack"
    doubt: str = ""
    step_up: bool = False
    ask_reason: bool = False
    ladder: str = ""
    remind_in: Duration | None = None
    escalate_in: Duration | None = None
    page_in: Duration | None = None
    escalate_to: str = ""


def matches(pattern: tuple[str, ...], name: str) -> bool:
    """Say whether a name fits a list of patterns; an empty list fits everything."""
    return not pattern or any(fnmatchcase(name, one) for one in pattern)
