"""Whom rules ask, by when they are reminded, and how loudly a decision is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bot.domain import words
from bot.domain.entries import Tell
from bot.domain.guard import known
from bot.domain.roles import Limits, Place
from bot.domain.rules import Rule

_LOUDNESS: tuple[Tell, ...] = ("slack", "ticket", "page")
_BY_SEVERITY: Mapping[str, Tell] = {"critical": "page", "error": "ticket", "warning": "ticket"}


def places(rules: Sequence[Rule]) -> tuple[Place, ...]:
    """Give every place the rules require together; a role two of them name is required as often as the one that needs more."""
    found: dict[str, Place] = {}
    for rule in rules:
        for place in rule.require:
            if place.role not in found or place.count > found[place.role].count:
                found[place.role] = place
    return tuple(found.values())


def needs(required: Sequence[Place]) -> str:
    """Name the places as a sentence does: `ic and 2 × ml`."""
    return words.listed(f"{place.count} × {place.role}" if place.count > 1 else place.role for place in required)


def terms(rules: Sequence[Rule]) -> dict[str, Any]:
    """Give the terms of a wait for people, as fields of a decision: where several rules apply, the stricter of each."""
    ends, remind, escalate, page = map(min, zip(*[one.waits for one in rules], strict=True))
    return {
        "require": places(rules), "plan_ttl": ends, "remind_in": remind, "escalate_in": escalate, "page_in": page,
        "confirm": any(one.confirm for one in rules), "ask_reason": any(one.reason for one in rules),
        "step_up": any(one.step_up for one in rules),
        "escalate_to": next((one.escalate_to for one in rules if one.escalate_to), ""),
    }  # fmt: skip


def tell(rules: Sequence[Rule], facts: Mapping[str, Any], limits: Limits) -> Tell:
    """Say how loudly people are told: the loudest key of the rules, else the burn rates, else the worst severity.

    Both windows must burn: the long one says that it matters, the short one that it goes on (SRE Workbook, chapter 5).
    """
    if keys := [one.tell for one in rules if one.tell]:
        return max(keys, key=_LOUDNESS.index)
    short, long = facts.get("burn_rate_short"), facts.get("burn_rate_long")
    if not known(short) or not known(long):
        return _BY_SEVERITY.get(str(facts.get("severity")), "slack")
    burn = min(short, long)
    return "page" if burn >= limits.page_burn_rate else "ticket" if burn >= limits.ticket_burn_rate else "slack"
