"""Which rule would decide and why, who could approve it, and why one person could not. A question; nothing is authority."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from bot.domain import access, words
from bot.domain.entries import Check, PolicyDecided
from bot.domain.incident import Incident, Phase
from bot.domain.person import Membership, Person
from bot.domain.policy import Decision, Policy
from bot.domain.roles import Role

NOT_ASKED = "not asked; --ask asks"
_RULE = "rule "  # what a rule's line in a trace begins with
Answer = Literal["yes", "no", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Line:
    """One rule, or one thing that bounds what it does: yes, no, ? (cannot tell) or not reached, and the reason."""

    name: str
    came: str
    detail: str
    bound: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """One role that is asked: the people the answer names, and the sources nobody asked."""

    role: str
    people: tuple[str, ...]
    unasked: tuple[str, ...] = ()
    why: str = NOT_ASKED


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one person could approve now, with every check and the role they would fill."""

    person: str
    answer: Answer
    role: str
    checks: tuple[Check, ...]
    why: str = ""

    @property
    def sentence(self) -> str:
        """Say the answer in one sentence, with its reason."""
        if self.answer == "yes":
            return f"yes, as {self.role}."
        doubt = next((one for one in self.checks if one.ok is (None if self.answer == "cannot tell" else False)), None)
        why = self.why or (f"{doubt.name}{f' ({doubt.detail})' if doubt.detail else ''}" if doubt else "")
        if self.answer == "no":
            return f"no. Not so: {why}." if doubt else f"no. {why}"
        held = f" {self.role} is held, but" if self.role else ""
        return f"cannot tell.{held} nobody knows: {why}."


def lines(policy: Policy, trace: Sequence[Check]) -> list[Line]:
    """Give every rule of the policy and every bound in the order they were looked at; the rest was not reached."""
    came = {True: "yes", False: "no", None: "?"}
    looked = [
        Line(one.name.removeprefix(_RULE), came[one.ok], one.detail, not one.name.startswith(_RULE)) for one in trace
    ]
    seen = {one.name for one in looked if not one.bound}
    return [*looked, *(Line(rule.id, "not reached", "") for rule in policy.rules if rule.id not in seen)]


def asked_for(incident: Incident, decision: Decision, now: datetime) -> Incident:
    """Give an incident that waits for this decision: what people would be asked if policy decided so now."""
    kept = {name: getattr(decision, name) for name in ("mode", "rule", "reason", "trace", "require", "confirm")}
    plan = incident.plan.id if incident.plan else ""
    expires = now + decision.plan_ttl
    decided = PolicyDecided(plan=plan, policy_digest="", expires_at=expires, **kept)
    return replace(incident, decision=decided, phase=Phase.WAITING)


def by_files(role: Role, user: str, now: datetime, lent: Sequence[str] = ()) -> list[Membership]:
    """Give what the files alone say of one person and one role: members yes or no, everything else unknown.

    `lent` are the people who lent them the role; it counts while the lender holds it.
    """
    sources = [*role.sources, *(f"lent by {one}" for one in lent)]
    return [_member(one, role, user, now) for one in sources]


def _member(source: str, role: Role, user: str, now: datetime) -> Membership:
    kind, _, name = source.rpartition(" ")
    held: bool | None = None
    if kind == "member":
        held = name == user
    elif kind == "lent by" and name in role.members:
        held = True
    return Membership(source=source, held=held, detail="" if held is not None else NOT_ASKED, fetched_at=now)


def candidates(incident: Incident, roles: Mapping[str, Role]) -> list[Candidate]:
    """Give who could fill each open place by the files alone, those left out who asked, edited, deployed or voted."""
    decision = incident.decision
    out = excluded(incident)
    found = []
    for name in dict.fromkeys(access.open_places(decision.require, incident.votes) if decision else ()):
        role = roles.get(name)
        if role is None or not access.in_scope(role, incident.model, incident.environment):
            found.append(Candidate(name, ()))
            continue
        unasked = tuple(one for one in role.sources if not one.startswith("member "))
        found.append(Candidate(name, tuple(one for one in role.members if one not in out), unasked))
    return found


def excluded(incident: Incident) -> dict[str, str]:
    """Give who has no vote on this plan, and why."""
    asked = {incident.requester: "asked for this rollback"} if incident.requester else {}
    voted = {vote.person: "approved already" for vote in incident.votes}
    return {**voted, **access.barred(incident.plan), **asked}


def judge(incident: Incident, user: str, standing: access.Standing) -> Verdict:
    """Judge one person on a decision that asks people, with what is known about them.

    Where nobody was asked about the account the checks that rest on it are `?`, and so is the role that rests on an
    outside answer: then the answer is `cannot tell`, unless something else says no.
    """
    decision = incident.decision
    if decision is None or decision.mode != "approve":
        mode = decision.mode if decision else "notify"
        return Verdict(user, "no", "", (), f"The mode is {mode}, so nobody is asked to approve.")
    standing = access.without(standing, access.barred(incident.plan))
    account, own = _account(standing.person, standing.unreached), excluded(incident).get(user)
    others = Check(ok=own is None, name="may vote on it", detail=f"{own}, so somebody else must approve" if own else "")
    role = next((one.role for one in decision.require if standing.holds(one.role)), "")
    checks = (*account, others, *_roles(decision, standing))
    if own or any(one.ok is False for one in account):
        return Verdict(user, "no", "", checks)
    if role:
        sure = all(one.ok for one in account)
        return Verdict(user, "yes" if sure else "cannot tell", role, checks)
    unsure = any(standing.unsure(one.role) for one in decision.require)
    return Verdict(user, "cannot tell" if unsure else "no", "", checks)


def _account(person: Person | None, unreached: str) -> tuple[Check, ...]:
    """Give what is known about the account; `?` where nobody was asked, or nobody answered."""
    if person is None:
        return (Check(ok=None, name="active, of our workspace, neither guest nor app", detail=unreached or NOT_ASKED),)
    told = {
        "account active": (person.active, "This account is deactivated."),
        "not a guest": (not person.guest, "Guests cannot approve."),
        "our workspace": (person.ours, "People from other organisations cannot approve here."),
        "not an app": (not person.bot, "Apps cannot approve."),
    }
    return tuple(Check(ok=ok, name=name, detail="" if ok else text) for name, (ok, text) in told.items())


def _roles(decision: PolicyDecided, standing: access.Standing) -> tuple[Check, ...]:
    """Give one check a role that is asked, with the sources that said yes, or could not say."""
    checks = []
    for place in decision.require:
        answers = standing.roles.get(place.role, ())
        held = standing.holds(place.role)
        ok = True if held else None if standing.unsure(place.role) else False
        telling = [one for one in answers if one.held is (True if held else None)]
        detail = ", ".join(one.source if held else f"{one.source} {one.detail}".strip() for one in telling)
        checks.append(Check(ok=ok, name=f"holds {place.role}", detail=detail))
    return tuple(checks)


def could(found: Sequence[Candidate]) -> str:
    """Say who could fill the open places, in one sentence a place."""
    return " ".join(_could(one) for one in found)


def _could(one: Candidate) -> str:
    names = words.people(one.people, "or")
    beside = words.listed([*one.unasked], "or")
    if not one.people and not one.unasked:
        return f"{one.role}: nobody can."
    if not one.people:
        return f"{one.role}: whoever is in {beside} can ({one.why})."
    return f"{one.role}: {names} can{f', and whoever is in {beside} ({one.why})' if beside else ''}."


def as_json(
    decision: Decision, rows: Sequence[Line], found: Sequence[Candidate], verdict: Verdict | None
) -> dict[str, Any]:
    """Give what `policy explain --json` prints."""
    person = None
    if verdict is not None:
        checks = [{"ok": one.ok, "name": one.name, "detail": one.detail} for one in verdict.checks]
        person = {
            "id": verdict.person,
            "answer": verdict.answer,
            "role": verdict.role,
            "why": verdict.why,
            "checks": checks,
        }
    return {
        "mode": decision.mode, "rule": decision.rule, "reason": decision.reason,
        "require": [{"role": one.role, "count": one.count} for one in decision.require],
        "rules": [{"name": one.name, "came": one.came, "detail": one.detail, "bound": one.bound} for one in rows],
        "could": [{"role": one.role, "people": one.people, "unasked": one.unasked} for one in found],
        "person": person,
    }  # fmt: skip
