"""Roles as the configuration describes them: who may fill a place in a quorum."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from bot.domain.duration import Duration, Positive
from bot.domain.value import Value

MEMBER = re.compile(r"[UW][A-Z0-9]+")  # how Slack writes an account's id
MemberId = Annotated[str, Field(pattern=f"^{MEMBER.pattern}$")]
PagerDutyId = Annotated[str, Field(pattern=r"^[A-Z0-9]{1,32}$")]
UsergroupId = Annotated[str, Field(pattern=r"^S[A-Z0-9]+$")]
TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class Role(Value):
    """Who holds a role: any one of its sources is enough. Empty scopes mean every model and environment."""

    members: tuple[MemberId, ...] = ()
    usergroups: tuple[UsergroupId, ...] = ()
    pagerduty_schedules: tuple[PagerDutyId, ...] = ()
    pagerduty_escalation_policies: tuple[PagerDutyId, ...] = ()
    models: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_a_source(self) -> Role:
        if not (self.members or self.usergroups or self.pagerduty_schedules or self.pagerduty_escalation_policies):
            raise ValueError(
                "names nobody; give members, usergroups, pagerduty_schedules or pagerduty_escalation_policies"
            )
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """Give every source as it is asked: `member U0IC`, `usergroup S0FRAUD`, `schedule PSRE`, `escalation_policy PUS0KTE`."""
        return (
            *(f"member {one}" for one in self.members),
            *(f"usergroup {one}" for one in self.usergroups),
            *(f"schedule {one}" for one in self.pagerduty_schedules),
            *(f"escalation_policy {one}" for one in self.pagerduty_escalation_policies),
        )


class Place(Value):
    """One place in a quorum, filled by one person who holds the role."""

    role: str
    count: int = Field(default=1, ge=1, le=5)


class BreakGlass(Value):
    """Who may act alone, loudly, and by when somebody else must have reviewed it."""

    role: str
    min_reason_chars: int = Field(default=20, ge=1)
    review_within: Positive = timedelta(hours=24)


class Blackout(Value):
    """A stretch in which Lastgood does not act alone: on these days of the week (none: every day), between these dates.

    `to` before `from` ends on the next day; the day and the dates are those of its beginning. `zone` is a name like
    Europe/Berlin.
    """

    model_config = {**Value.model_config, "populate_by_name": True}

    name: str = ""
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()
    first: date | None = None
    last: date | None = None
    from_: TimeOfDay = Field(alias="from")
    to: TimeOfDay
    zone: str

    @field_validator("zone")
    @classmethod
    def _exists(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            message = f"`{zone}` is no time zone; write a name like Europe/Berlin or UTC"
            raise ValueError(message) from error
        return zone


class Limits(Value):
    """Bounds on how often and when Lastgood acts alone. Past one of them a rule that acts alone asks people instead.

    `rollback_window` is how long after its deployment a version may be rolled back from without a person, and how far
    back a loop is looked for. `max_cost_increase` is a ratio: 0.2 allows 20 % more. The burn rates are multiples of the
    error budget, both windows over the first mean a page, both over the second a ticket (SRE Workbook, chapter 5).
    """

    cooldown: Duration = timedelta(minutes=30)
    max_auto_per_day: int = Field(default=2, ge=0)
    rollback_window: Duration = timedelta(days=7)
    blackouts: tuple[Blackout, ...] = ()
    max_cost_increase: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    page_burn_rate: float = Field(default=14.4, gt=0, allow_inf_nan=False)
    ticket_burn_rate: float = Field(default=1.0, gt=0, allow_inf_nan=False)


class Autopilot(Value):
    """Who may switch acting alone off or on; without this anybody who holds a role that counts may."""

    role: str


class Trust(Value):
    """The ladder for rules with `ladder: true`: who moves them up, where they begin, and the evidence each step up needs.

    Evidence is a number of rollbacks of the model that helped since the rule's last step, with none that did not.
    """

    role: str
    start: Literal["notify", "approve", "auto"] = "notify"
    approve_after: int = Field(default=1, ge=0)
    auto_after: int = Field(default=3, ge=0)
