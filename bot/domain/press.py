"""A press: what a person asked for, on which incident, seen where. Nothing in it is authority but the verified person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Press:
    """One act of one person. `incident` is a ULID, `plan` the eight characters the card showed."""

    person: str
    action: str  # one of `access.legal`
    incident: str
    plan: str = ""
    card_version: int = 0
    via: str = "slack"
    reason: str = ""
    asked: Mapping[str, str] = field(
        default_factory=dict
    )  # version | to | until | typed | on_failure: what a form held
    request: dict[str, str] = field(
        default_factory=dict
    )  # team, trigger, action time, message: what proves the press later


@dataclass(frozen=True, slots=True)
class Order:
    """One order of one person for the whole house.

    `action` is autopilot_off or autopilot_on (asked: model, none for all), trust (model, environment, rule, rung), release (model, environment, version),
    lend or return (role, to, and until: how long, like `8h`), login (code).
    """

    person: str
    action: str
    asked: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    via: str = "slack"
    request: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it, in one sentence for the person.

    `link_for` names an act that counts only behind the company's sign-in: a surface that can make a one-time link for
    this person and this press offers one.
    """

    ok: bool
    text: str
    link_for: str = ""
