"""What is doubtful about a policy that `check` takes: rules nobody reaches, quorums that hang on one person, no review.

Every finding stands at a path of `lastgood.yaml`. A problem means the policy does not do what it says; a warning is for
a person to judge.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import product

from bot.domain import access, calendar, guard, quorum, words
from bot.domain.catalogue import Catalogue
from bot.domain.model import Environment
from bot.domain.policy import Rule, matches
from bot.domain.roles import Blackout, Role

Path = tuple[str | int, ...]
REVIEW_EVERY = timedelta(days=30)
_BY_ALERTS = ("auto", "notify")
_MONDAY = datetime(2026, 1, 12, tzinfo=UTC)  # a week in which few zones change their clocks
# What these name is the service itself; an SLI that names none of them is taken to be about the business it serves.
_TECHNICAL = frozenset(
    [
        "availability", "cpu", "drift", "error", "errors", "failure", "failures", "latency", "memory", "null", "nulls", "psi",
        "queue", "requests", "saturation", "success", "throughput", "timeout", "timeouts", "uptime",
    ]
)  # fmt: skip
_PERCENTILE = re.compile(r"p\d{2,3}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One doubt: where, what, and how to mend it. `level` is problem or warning."""

    path: Path
    message: str
    mend: str
    level: str = "problem"


@dataclass(frozen=True, slots=True)
class Past:
    """What the timeline says that a review must be newer than; None where nothing of the kind is known."""

    last_rollback: datetime | None = None
    review_due: datetime | None = None
    why_due: str = ""


@dataclass(frozen=True, slots=True)
class _Place:
    """One model in one environment."""

    model: str
    environment: str
    tier: int
    described: Environment


def lint(catalogue: Catalogue, today: date, past: Past | None = None) -> list[Finding]:
    """Give every finding, in the order of the file's sections: rules, orders, limits, review, models."""
    places = [
        _Place(name, environment, model.tier, described)
        for name, model in catalogue.models.items()
        for environment, described in model.environments.items()
    ]
    return [
        *_reached(catalogue.policy.rules),
        *_people(catalogue, places),
        *_alone(catalogue.policy.rules, places),
        *_next_people(catalogue, places),
        *_glass(catalogue),
        *_blackouts(catalogue.policy.limits.blackouts),
        *_review(catalogue, today, past or Past()),
        *_business(places),
    ]


# ── rules nobody reaches ──────────────────────────────────────────────────────────────────────────────────────────


def _reached(rules: Sequence[Rule]) -> Iterator[Finding]:
    for n, rule in enumerate(rules):
        before = _takers(rule, rules[:n])
        if not before:
            continue
        names, path = words.listed([one.id for one in before]), ("policy", "rules", n, "id")
        twin = next((one for one in before if _same_question(one, rule) and one.mode != rule.mode), None)
        if twin is not None:
            message = f"{rule.id} says {rule.mode} where {twin.id}, before it, says {twin.mode} for the same incidents"
            yield Finding(path, message, "Keep one of the two, or narrow the first.")
        else:
            message = (
                f"{rule.id} is never reached: {names}, before it, take{'s' * (len(before) == 1)} all it could match"
            )
            yield Finding(path, message, f"Move it before {before[0].id}, narrow that, or take it out.")


def _takers(rule: Rule, before: Sequence[Rule]) -> list[Rule]:
    """Give the rules before that together take everything this one could match, none when something is left."""
    found: list[Rule] = []
    for model, environment in product(rule.models or ("*",), rule.environments or ("*",)):
        taker = next((one for one in before if _takes(one, rule, model, environment)), None)
        if taker is None:
            return []
        if taker not in found:
            found.append(taker)
    return found


def _takes(first: Rule, rule: Rule, model: str, environment: str) -> bool:
    """Say whether `first` matches whenever `rule` does there. A rule about alerts alone leaves people's requests over."""
    asks = first.mode not in _BY_ALERTS or rule.mode in _BY_ALERTS
    guarded = first.when is None or _words(first.when) == _words(rule.when)
    ripe = first.for_ <= rule.for_ and first.min_samples <= rule.min_samples
    return asks and guarded and ripe and _covers(first.models, model) and _covers(first.environments, environment)


def _covers(patterns: Sequence[str], pattern: str) -> bool:
    """Say whether every name that fits `pattern` fits one of `patterns`; where that is not plain, it does not."""
    if not patterns or pattern in patterns:
        return True
    plain = [one for one in patterns if not set(one) & set("?[")]
    wild = bool(set(pattern) & set("?*["))
    return any(fnmatchcase(pattern, one) for one in (plain if wild else patterns))


def _same_question(one: Rule, other: Rule) -> bool:
    same_scope = (set(one.models), set(one.environments)) == (set(other.models), set(other.environments))
    return same_scope and _words(one.when) == _words(other.when)


def _words(guard_text: str | None) -> tuple[str, ...]:
    return tuple((guard_text or "").split())


# ── people ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _people(catalogue: Catalogue, places: Sequence[_Place]) -> Iterator[Finding]:
    for n, rule in enumerate(catalogue.policy.rules):
        for place in _under(rule, places):
            if found := _quorum(catalogue.roles, rule, place):
                yield Finding(("policy", "rules", n, "require"), *found)
                break


def _quorum(roles: Mapping[str, Role], rule: Rule, place: _Place) -> tuple[str, str, str] | None:
    """Give message, mend and level for a quorum that cannot be met at a place, or not when one of its people is left out."""
    held = {one.role: _members(roles.get(one.role), place) for one in rule.require}
    need, where = sum(one.count for one in rule.require), f"{place.model} in {place.environment}"
    filled = _filled(rule, held)
    if filled < need:
        asks = f"{need} different people" if need > 1 else "a person"
        message = f"{rule.id} asks for {asks} for {where}, and its roles have people for {filled} of {need} places"
        return message, "Add people to a role, widen its scope, or ask for fewer.", "problem"
    people = sorted({one for members in held.values() for one in members or ()})
    lone = words.listed([one for one in people if _filled(rule, held, one) < need], "or")
    if not lone:
        return None
    message = f"nobody could meet {rule.id} for {where} when {lone} asks, edits the plan or deployed the bad version"
    return message, f"Add another person who could stand in for {lone}.", "warning"


def _members(role: Role | None, place: _Place) -> tuple[str, ...] | None:
    """Give who holds a role at a place by the files, None when somebody outside must be asked."""
    if role is None or not access.in_scope(role, place.model, place.environment):
        return ()
    outside = role.usergroups or role.pagerduty_schedules or role.pagerduty_escalation_policies
    return None if outside else role.members


def _filled(rule: Rule, held: Mapping[str, tuple[str, ...] | None], without: str = "") -> int:
    """Count the places different people could fill; one whose people only the outside knows always can be."""
    inside = [one for one in rule.require if held[one.role] is not None]
    people = {one for members in held.values() for one in members or ()} - {without}
    holds = {who: {who: {role for role, members in held.items() if who in (members or ())}} for who in sorted(people)}
    outside = sum(one.count for one in rule.require if held[one.role] is None)
    return outside + len(quorum.matched(inside, holds))


def _under(rule: Rule, places: Iterable[_Place]) -> Iterator[_Place]:
    for one in places:
        if matches(rule.models, one.model) and matches(rule.environments, one.environment):
            yield one


def _next_people(catalogue: Catalogue, places: Sequence[_Place]) -> Iterator[Finding]:
    """Hold `escalate_to` to its purpose: somebody who was not asked already."""
    for n, rule in enumerate(catalogue.policy.rules):
        path: Path = ("policy", "rules", n, "escalate_to")
        if rule.escalate_to is None:
            continue
        if rule.escalate_to not in catalogue.roles:
            yield Finding(path, f"there is no role {rule.escalate_to}", "Name one of `roles`.")
            continue
        for place in _under(rule, places):
            following = _members(catalogue.roles[rule.escalate_to], place)
            asked = [_members(catalogue.roles.get(one.role), place) for one in rule.require]
            if following is None or None in asked:
                continue
            if not set(following) - {person for people in asked for person in people or ()}:
                message = f"{rule.escalate_to} has nobody for {place.model} in {place.environment} whom {rule.id} did not ask already"
                yield Finding(path, message, "Name a role with other people.", "warning")
                break


def _glass(catalogue: Catalogue) -> Iterator[Finding]:
    glass, path = catalogue.policy.break_glass, ("policy", "break_glass", "role")
    role = catalogue.roles.get(glass.role) if glass else None
    if glass is None:
        return
    if role is None:
        yield Finding(path, f"there is no role {glass.role}", "Name one of `roles`.")
    elif len(role.sources) == 1 and role.members:
        message = f"only {role.members[0]} could break the glass, so nobody can while that person is away"
        yield Finding(path, message, f"Give {glass.role} a second person.", "warning")


# ── acting alone ──────────────────────────────────────────────────────────────────────────────────────────────────


def _alone(rules: Sequence[Rule], places: Sequence[_Place]) -> Iterator[Finding]:
    """Find rules that act alone on tier 1 at the first alert: no time and no sample bounds them."""
    for n, rule in enumerate(rules):
        if rule.mode != "auto" or rule.for_ or rule.min_samples:
            continue
        for place in _under(rule, places):
            if place.tier == 1 and _could_be(rule.when, place):
                message = f"{rule.id} acts alone on {place.model} (tier 1) in {place.environment} at the first alert"
                mend = "Add `for: 2m` or `min_samples: 300`, so that one odd minute moves nothing."
                yield Finding(("policy", "rules", n, "mode"), message, mend, "warning")
                break


def _could_be(when: str | None, place: _Place) -> bool:
    """Say whether a guard could hold for an incident there that is no rehearsal; unknown facts leave that open."""
    facts = {"model": place.model, "environment": place.environment, "tier": place.tier, "drill": False}
    return when is None or guard.ask(when, facts).holds is not False


def _blackouts(blackouts: tuple[Blackout, ...]) -> Iterator[Finding]:
    """Find blackouts that together leave no minute of the week. Those between dates end, so they are left out."""
    lasting = tuple(one for one in blackouts if one.first is None and one.last is None)
    if lasting and _all_week(lasting):
        message = "the blackouts leave no minute of the week, so no rule ever acts alone"
        yield Finding(("policy", "limits", "blackouts"), message, "Shorten one, or take the `auto` rules out.")


def _all_week(blackouts: tuple[Blackout, ...]) -> bool:
    """Go from the end of each stretch to the one that lasts on, until a week is over or a gap is found."""
    at = _MONDAY
    while at < _MONDAY + timedelta(days=7):
        stretch = calendar.active(blackouts, at)
        if stretch is None:
            return False
        at = stretch.ends
    return True


# ── review and business ───────────────────────────────────────────────────────────────────────────────────────────


def _review(catalogue: Catalogue, today: date, past: Past) -> Iterator[Finding]:
    said = catalogue.policy.reviewed
    mend = f"Read the rules, then write `reviewed: {{at: {today}, by: YOUR ID}}`."
    if said is None:
        yield Finding(("policy",), "nobody is written down as having read the policy", mend, "warning")
        return
    path: Path = ("policy", "reviewed", "at")
    every = said.every if "every" in said.model_fields_set else REVIEW_EVERY
    if today - said.at > every:
        age, limit = words.span(today - said.at), words.span(every)
        yield Finding(path, f"{said.by} last read it {age} ago, and it is to be read every {limit}", mend, "warning")
    if past.review_due is not None and past.review_due.date() > said.at:
        why = past.why_due or "a rollback did not help"
        yield Finding(path, f"since {said.by} read it on {said.at} this came: {why}", mend, "warning")
    elif past.last_rollback is not None and past.last_rollback.date() > said.at:
        when = words.stamp(past.last_rollback)
        yield Finding(path, f"the last rollback, {when}, is newer than its review on {said.at}", mend, "warning")


def _business(places: Sequence[_Place]) -> Iterator[Finding]:
    """Find production models of which nothing says whether they are any use to the business."""
    for place in places:
        if place.environment.startswith("prod") and not place.described.business and not _useful(place.described.slis):
            message = f"nothing measures what {place.model} is for: every SLI in {place.environment} is about the service itself"
            mend = "Add an SLI of the business, for example approval_rate with `good: above`."
            yield Finding(("models", place.model, "environments", place.environment), message, mend, "warning")


def _useful(slis: Iterable[str]) -> bool:
    """Say whether any SLI's name speaks of something other than the service itself."""
    return any(not _technical(name) for name in slis)


def _technical(name: str) -> bool:
    parts = re.split(r"[^a-z0-9]+", name.lower())
    return any(part in _TECHNICAL or _PERCENTILE.fullmatch(part) for part in parts)
