"""What people may do beside a vote: each act's own conditions, and the sentence when one is not met."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import get_args

from bot.domain import access, words
from bot.domain.access import Asked, Question, Ruling, Standing
from bot.domain.duration import parse_duration
from bot.domain.incident import Incident
from bot.domain.roles import BreakGlass
from bot.domain.runbook import OnFailure
from bot.errors import Denied, RoleMissing

MIN_REASON = 10  # characters, spaces around them left out
_ID = re.compile("[UW][A-Z0-9]+")
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(hours=24)  # of a snooze and of a loan


def why(reason: str, least: int = MIN_REASON) -> str:
    """Ask for a reason; an empty text when there is one. What is only spaces says nothing."""
    return "" if len(reason.strip()) >= least else f"Say why in at least {least} characters."


def span(text: str, what: str) -> timedelta | str:
    """Read how long something is to last, 1 min to 24 h; a text says what is wrong."""
    try:
        length = parse_duration(text.strip())
    except ValueError as error:
        return f"{words.plain(str(error), 80)}."
    if SHORTEST <= length <= LONGEST:
        return length
    return f"{what} lasts {words.span(SHORTEST)} to {words.span(LONGEST)}; {words.span(length)} is not within that."


# ── break-glass ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Alone:
    """What a person gives to act alone: the reason, and the model's name typed by hand."""

    reason: str
    typed: str


def may_break(incident: Incident, question: Question, rule: BreakGlass | None, alone: Alone) -> Ruling:
    """Decide whether one person may act alone, running every check.

    The requester, the editor and the deployer may, on purpose: the glass is for the hour in which nobody else answers,
    and what makes it safe is that it is loud, that it needs a role of its own, and that somebody else must review it.
    """
    role = rule.role if rule else ""
    standing = access.without(question.standing, access.barred(incident.plan))
    asked = [
        *access.account(standing, question.via, question.now, "break the glass"),
        *access.current(incident, question.plan, question.now, "decide"),
        Asked(rule is not None, "a role may break the glass", RoleMissing, "Nobody may break the glass here: policy.break_glass is not set."),
    ]  # fmt: skip
    if rule is not None:
        least = rule.min_reason_chars
        asked += [
            Asked(standing.holds(role), f"holds {role}", RoleMissing, _no_glass(standing, role)),
            Asked(not why(alone.reason, least), f"a reason of at least {least} characters", Denied, why(alone.reason, least)),
            Asked(alone.typed.strip() == incident.model, "the model's name is typed", Denied, f"Type {incident.model} to act alone."),
        ]  # fmt: skip
    return access.ruled(asked, question.who_could, role or None)


def _no_glass(standing: Standing, role: str) -> str:
    if standing.unsure(role):
        return access.unconfirmed(standing, role)
    return f"Breaking the glass needs {role}; you do not hold it."


# ── another version, another plan ─────────────────────────────────────────────────────────────────────────────────


def against(version: str, bad: str | None, offered: Sequence[str], quarantined: Mapping[str, str]) -> str:
    """Say why a version cannot be chosen, and which can; an empty text when it can.

    `offered` are the versions every target can serve, `quarantined` says why nothing goes back to one.
    """
    free = [one for one in offered if one not in quarantined and one != bad]
    if version in free:
        return ""
    could = f"Choose {words.listed(free, 'or')}." if free else "No other version can be chosen."
    return f"{_objection(version, bad, quarantined)} {could}"


def _objection(version: str, bad: str | None, quarantined: Mapping[str, str]) -> str:
    name = words.plain(version, 64)
    if not version:
        return "Say which version."
    if version == bad:
        return f"{name} is the version that is rolled back from."
    if version in quarantined:
        return f"{name} is quarantined: {words.plain(quarantined[version]).rstrip('.')}."
    return f"No target offers {name}."


def edited(incident: Incident, on_failure: str) -> str:
    """Say why a plan cannot be changed so; an empty text when it can."""
    ways = get_args(OnFailure)
    if on_failure not in ways:
        return f"Say what follows a failed step: {words.listed(ways, 'or')}."
    if incident.plan is not None and incident.plan.on_failure == on_failure:
        return f"Plan {incident.plan.short} says {on_failure} already."
    return ""


# ── whose turn it is ──────────────────────────────────────────────────────────────────────────────────────────────


def receiver(incident: Incident, user: str, standing: Standing, roles: Sequence[str], now: datetime) -> str:
    """Say why a person cannot be handed the incident; an empty text when they can."""
    if user == incident.taken_by:
        return f"{words.person(user)} has incident {incident.short} already."
    if why := _stranger(user, standing, now):
        return why
    if access.may_act(standing, roles, now=now).error is None:
        return ""
    needs = (
        f"does not hold {roles[0]}" if len(roles) == 1 else f"holds none of {words.listed(roles, 'or') or 'the roles'}"
    )
    return f"{words.person(user)} {needs}, so they cannot take it."


def borrower(user: str, to: str, standing: Standing, now: datetime) -> str:
    """Say why a role cannot be lent to somebody; an empty text when it can."""
    return "You hold it already; lend it to somebody else." if user == to else _stranger(to, standing, now)


def _stranger(user: str, standing: Standing, now: datetime) -> str:
    """Say why somebody is nobody to give anything to; an empty text for an active person of ours."""
    if not _ID.fullmatch(user):
        return f"`{words.plain(user, 40)}` is no person here." if user else "Say to whom."
    if standing.unreached:
        return f"{standing.unreached} So nobody can confirm {words.person(user)}."
    if standing.person is not None and standing.person.vouched_until is not None:
        return f"Slack is away, so nobody can confirm {words.person(user)}."
    good = access.ruled(access.account(standing, "", now)).error is None
    return "" if good else f"{words.person(user)} is not an active member here."
