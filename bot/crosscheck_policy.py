"""What policy, roles and owners say about each other: every role is there, every quorum can be met, every order has its people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from bot.domain import words
from bot.domain.policy import matches
from bot.errors import Problem
from bot.site import Site, dig, items_of, names_of, unknown, warning
from bot.yaml_file import Path_

OUTSIDE = {  # sources of a role that somebody outside must be asked about, and who that is
    "usergroups": "Slack",
    "pagerduty_schedules": "PagerDuty or Slack",
    "pagerduty_escalation_policies": "PagerDuty or Slack",
}
PAGED = ("pagerduty_schedules", "pagerduty_escalation_policies")  # Slack links their people to accounts


def policy_problems(site: Site) -> Iterator[Problem]:
    """Give every mistake in policy, roles, and between them."""
    for check in (_rules, _roles, _orders):
        yield from check(site)


def _rules(site: Site) -> Iterator[Problem]:
    roles = site.section("roles")
    ids = Counter[str]()
    for n, rule in enumerate(items_of(site.source.content, "policy", "rules")):
        at: Path_ = ("policy", "rules", n)
        ids[str(dig(rule, "id"))] += 1
        if ids[str(dig(rule, "id"))] == 2 and dig(rule, "id"):
            yield site.source.problem(
                (*at, "id"), f"`{dig(rule, 'id')}` is also the id of a rule before", "Rename one."
            )
        yield from _scope(site, at, rule)
        for m, place in enumerate(items_of(rule, "require")):
            if isinstance(role := dig(place, "role"), str) and role not in roles:
                yield unknown(site.source, (*at, "require", m, "role"), "there is no role", role, roles)
        yield from _named(site, (*at, "escalate_to"), dig(rule, "escalate_to"))
        yield from _needs(site, at, rule)
        yield from _quorum(site, at, rule)


def _named(site: Site, path: Path_, role: Any) -> Iterator[Problem]:
    if isinstance(role, str) and role not in site.section("roles"):
        yield unknown(site.source, path, "there is no role", role, site.section("roles"))


def _needs(site: Site, at: Path_, rule: Any) -> Iterator[Problem]:
    """Hold keys of a rule to what they need elsewhere in the file."""
    if dig(rule, "step_up") is True and not site.section("signin"):
        hint = "Add `signin: {issuer: …, client_id: …, client_secret: {env: …}}`."
        yield site.source.problem((*at, "step_up"), "needs a company sign-in, and none is configured", hint, key=True)
    if dig(rule, "ladder") is True and not site.section("policy", "trust"):
        hint = "Add `trust: {role: …}` to the policy."
        yield site.source.problem((*at, "ladder"), "needs `policy.trust`, and there is none", hint, key=True)
    if dig(rule, "ladder") is True and dig(rule, "mode") != "auto":
        hint = "Leave `ladder` out, or write mode: auto."
        yield site.source.problem((*at, "ladder"), "is for rules that act alone", hint, key=True)


def _orders(site: Site) -> Iterator[Problem]:
    for order in ("break_glass", "autopilot", "trust"):
        path: Path_ = ("policy", order, "role")
        yield from _named(site, path, dig(site.source.content, *path))


def _roles(site: Site) -> Iterator[Problem]:
    for name, role in site.section("roles").items():
        yield from _scope(site, ("roles", name), role)


def _scope(site: Site, at: Path_, node: Any) -> Iterator[Problem]:
    """Hold the models and environments a rule or a role is for to those there are; a pattern may match none yet."""
    for what, known in (("model", set(site.section("models"))), ("environment", {e for _, e, _ in site.places()})):
        for n, name in enumerate(items_of(node, f"{what}s")):
            if isinstance(name, str) and "*" not in name and name not in known and known:
                yield unknown(site.source, (*at, f"{what}s", n), f"there is no {what}", name, known)


def _quorum(site: Site, at: Path_, rule: Any) -> Iterator[Problem]:
    """Say where a rule asks for people nobody could be."""
    if dig(rule, "mode") not in (None, "approve"):
        return
    slots = [slot for place in items_of(rule, "require") for slot in [dig(place, "role")] * _count(place)]
    known = site.section("roles")
    if not slots or any(slot not in known for slot in slots):
        return
    where = (*at, "require")
    for model, environment, _ in site.places():
        if not _in_scope(rule, model, environment):
            continue
        for slot in dict.fromkeys(slots):
            role = known[slot]
            if not _in_scope(role, model, environment):
                message = f"{slot} does not cover {model} in {environment}, so this rule could never be met there"
                yield site.source.problem(where, message, f"Widen roles.{slot}, or narrow the rule.", key=True)
                return
    filled = _fillable([_people(known[slot]) for slot in slots])
    if filled < len(slots):
        message = f"needs {len(slots)} different people, and the roles name people for {filled}"
        yield site.source.problem(where, message, "Add people to a role, or a user group.", key=True)


def _count(place: Any) -> int:
    found = dig(place, "count")
    return found if isinstance(found, int) and 1 <= found <= 5 else 1


def _people(role: Any) -> tuple[str, ...] | None:
    """Give who holds a role, None when only the outside can say."""
    return None if any(items_of(role, one) for one in OUTSIDE) else names_of(role, "members")


def _fillable(slots: Sequence[tuple[str, ...] | None]) -> int:
    """Give how many places different people could fill; a place whose people only the outside knows always can be."""
    taken: dict[str, int] = {}

    def place(slot: int, seen: set[str]) -> bool:
        for person in slots[slot] or ():
            if person not in seen:
                seen.add(person)
                if person not in taken or place(taken[person], seen):
                    taken[person] = slot
                    return True
        return False

    return sum(people is None or place(slot, set()) for slot, people in enumerate(slots))


# ── warnings ──────────────────────────────────────────────────────────────────────────────────────────────────────


def policy_warnings(site: Site) -> Iterator[Problem]:
    """Give what stops no start: no rule, quorums that hang on one outside answer, orders nobody could give everywhere.

    Rules nobody reaches are for `lastgood policy lint`, which knows what a guard leaves over.
    """
    rules = items_of(site.source.content, "policy", "rules")
    if not rules:
        message = "has no rule, so nobody is asked and nothing is moved"
        yield warning(site.source, ("policy",), message, "Add a rule.")
    for n, rule in enumerate(rules):
        yield from _without_slack(site, ("policy", "rules", n), rule)
    yield from _one_source(site, rules)
    yield from _switched(site)
    places = [(model, environment) for model, environment, _ in site.places()]
    climbing = [rule for rule in rules if dig(rule, "ladder") is True]
    yield from _ordered(site, "break_glass", "break the glass", places)
    moved = [place for place in places if any(_in_scope(rule, *place) for rule in climbing)]
    yield from _ordered(site, "trust", "move a rule on the ladder", moved)


def _places(rule: Any) -> list[str]:
    return [str(dig(place, "role")) for place in items_of(rule, "require") for _ in range(_count(place))]


def _without_slack(site: Site, at: Path_, rule: Any) -> Iterator[Problem]:
    """Say where a quorum hangs on Slack's answers, so that nobody could approve from a terminal while Slack is away."""
    slots, roles = _places(rule), site.section("roles")
    if not slots or any(slot not in roles for slot in slots):
        return
    filled = _fillable([names_of(roles[slot], "members") for slot in slots])
    needing = _needing_slack([roles[slot] for slot in slots])
    if filled < len(slots) and needing:  # without any such source the quorum cannot be met at all, which is a problem
        message = f"could fill {filled} of {len(slots)} places while Slack is away: only Slack can say {needing}"
        yield warning(site.source, (*at, "require"), message, "Give its roles `members`.")


def _needing_slack(roles: Sequence[Any]) -> str:
    """Say what of these roles only Slack can answer: who is in a group, and which account somebody on call has."""
    groups, paged = (
        sorted({one for role in roles for kind in kinds for one in names_of(role, kind)}) for kinds in (("usergroups",), PAGED)
    )  # fmt: skip
    said = [f"who is in {words.listed(groups)}"] if groups else []
    said += [f"which accounts the people on call in {words.listed(paged)} have"] if paged else []
    return words.listed(said)


def _one_source(site: Site, rules: Sequence[Any]) -> Iterator[Problem]:
    """Say which role of a rule for tier 1 rests on one outside answer: without it nobody holds the role."""
    critical = [name for name, model in site.section("models").items() if dig(model, "tier") == 1]
    asked = {
        slot
        for rule in rules
        if any(matches(names_of(rule, "models"), name) for name in critical)
        for slot in _places(rule)
    }
    for name, role in site.section("roles").items():
        sources = [(kind, one) for kind in OUTSIDE for one in names_of(role, kind)]
        if name in asked and len(sources) == 1 and not items_of(role, "members"):
            kind, one = sources[0]
            message = f"rests on {one} alone: while {OUTSIDE[kind]} does not answer nobody holds it"
            yield warning(site.source, ("roles", name), message, "Add `members` or a second source.")


def _switched(site: Site) -> Iterator[Problem]:
    """Say where nobody could switch autopilot off for all models at once: that takes a role without a scope."""
    roles, path = site.section("roles"), ("policy", "autopilot", "role")
    named = dig(site.source.content, *path)
    may = {named: roles.get(named)} if isinstance(named, str) else roles
    if not may or None in may.values() or not all(_scoped(role) for role in may.values()):
        return
    who = f"{named} is" if isinstance(named, str) else "every role is"
    message = f"{who} for some models or environments only, so nobody could switch autopilot off for all at once"
    at: Path_ = path if isinstance(named, str) else ("policy",)
    yield warning(site.source, at, message, "Name a role without `models` and `environments`.")


def _scoped(role: Any) -> bool:
    return bool(items_of(role, "models") or items_of(role, "environments"))


def _ordered(site: Site, order: str, what: str, places: Sequence[tuple[str, str]]) -> Iterator[Problem]:
    """Say at which of these places nobody could give an order."""
    path: Path_ = ("policy", order, "role")
    name = dig(site.source.content, *path)
    role = site.section("roles").get(name) if isinstance(name, str) else None
    if role is None:
        return
    left = [f"{model} in {environment}" for model, environment in places if not _in_scope(role, model, environment)]
    if left:
        message = f"{name} does not cover {words.listed(left)}, so nobody could {what} there"
        yield warning(site.source, path, message, f"Widen roles.{name}, or name another role.")


def _in_scope(node: Any, model: str, environment: str) -> bool:
    """Say whether a role or a rule is for this model in this environment."""
    return matches(names_of(node, "models"), model) and matches(names_of(node, "environments"), environment)
