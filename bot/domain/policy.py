"""Policy: ordered rules, first match wins, and every decision carries its reason and the trace of every rule and bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import Any

from bot.domain import asking, words
from bot.domain.bounds import Bound, Case, doubts, line, weigh
from bot.domain.entries import Check, Mode
from bot.domain.guard import Guards, known
from bot.domain.rules import STRICTNESS, Bounds, Decision, Policy, Rule, matches

__all__ = ["STRICTNESS", "Bounds", "Decision", "Policy", "Rule", "decide", "matches"]
_RANK = {mode: rank for rank, mode in enumerate(STRICTNESS)}
SAMPLES_AGAIN = timedelta(seconds=30)  # how soon samples that were too few are counted anew


def decide(policy: Policy, facts: Mapping[str, Any], bounds: Bounds = Bounds()) -> Decision:  # noqa: B008  frozen, and free of bounds
    """Choose the first rule that matches, then weigh what bounds it; every rule and every bound is a line of the trace.

    `auto` and `notify` say what alerts alone lead to: when a person asked, they miss, and a rule that asks people decides.
    An `auto` rule whose guard is unknown or errs misses. Any other rule whose guard errs stays in force: it does not
    stop the search, and its mode and places are added to whatever matches later, the strictest mode winning.

    A bound only ever makes a mode stricter: auto, approve, hold, notify. An `auto` rule that is bounded asks the people
    its own `require` names, else those of the later rules that ask people; where nobody is named, people are told.
    """
    look = _Look(facts, Guards(policy.guards, facts), facts.get("by_person") is True)
    rest = iter(policy.rules)
    if found := look.down(rest):
        return _settled(Case(policy, found[0], facts, bounds), found, rest, look)
    return Decision(
        mode="notify", rule="none", trace=tuple(look.trace), due_in=look.due, tell=asking.tell((), facts, policy.limits),
        doubt=doubts(facts), reason="No rule matches, so nobody is asked and nothing is moved.",
    )  # fmt: skip


@dataclass(slots=True)
class _Look:
    """A look down the rules, and what it has seen on its way."""

    facts: Mapping[str, Any]
    guards: Guards
    person: bool  # a person asked
    trace: list[Check] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    due: timedelta | None = None

    def down(self, rules: Iterator[Rule]) -> list[Rule]:
        """Go to the first rule that matches; give it and, after it, every rule passed that stays in force."""
        kept: list[Rule] = []
        for rule in rules:
            check = self._at(rule)
            self.trace.append(check)
            if check.ok:
                return [rule, *kept]
            if check.ok is None:
                kept.append(rule)
                self.untold.append(rule.id)
        return kept

    def _at(self, rule: Rule) -> Check:
        if rule.models and (apart := _outside(rule.id, rule.models, self.facts["model"])):
            return apart
        if rule.environments and (apart := _outside(rule.id, rule.environments, self.facts["environment"])):
            return apart
        if self.person and rule.mode in ("auto", "notify"):
            return _line(rule, f"{rule.mode} is about alerts alone, and a person asked", ok=False)
        if rule.when is not None:
            answer = self.guards.ask(rule.when)
            if answer.holds is None:
                return _untold(rule, f"{rule.when}: {answer.reason}")
            if not answer.holds:
                return _not(rule.id, rule.when)
        return self._ripe(rule)

    def _ripe(self, rule: Rule) -> Check:
        if rule.for_:
            firing, wanted = self.facts.get("firing_for"), rule.for_.total_seconds()
            if not known(firing):
                return _untold(rule, f"firing_for unknown, {words.span(rule.for_)} needed")
            if firing < wanted:
                self._again(timedelta(seconds=wanted - firing))
                lasted = words.span(timedelta(seconds=int(firing)))
                return _line(rule, f"firing for {lasted} of {words.span(rule.for_)}", ok=False)
        if rule.min_samples:
            samples, needed = self.facts.get("samples"), words.count(rule.min_samples)
            if not known(samples):
                self._again(SAMPLES_AGAIN)
                return _untold(rule, f"samples unknown, {needed} requests needed")
            if samples < rule.min_samples:
                self._again(SAMPLES_AGAIN)
                return _line(rule, f"{words.count(samples)} of {needed} requests seen", ok=False)
        return _line(rule, rule.when or "matches", ok=True)

    def _again(self, wait: timedelta) -> None:
        self.due = wait if self.due is None else min(self.due, wait)


def _line(rule: Rule, detail: str, *, ok: bool | None) -> Check:
    return line(ok, f"rule {rule.id}", detail)


def _untold(rule: Rule, detail: str) -> Check:
    """Give the line of a rule that cannot be told: one that acts alone misses, any other stays in force."""
    return _line(rule, detail, ok=False if rule.mode == "auto" else None)


@lru_cache(maxsize=4096)
def _not(rule: str, when: str) -> Check:
    return line(False, f"rule {rule}", f"not {when}")


@lru_cache(maxsize=4096)
def _outside(rule: str, pattern: tuple[str, ...], name: str) -> Check | None:
    """Give the line of a rule whose scope a name is outside of, None where it is inside."""
    fits = matches(pattern, name)
    return None if fits else line(False, f"rule {rule}", f"{name} does not match {words.listed(pattern, 'or')}")


# ── from the rule to the decision ─────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Ruling:
    """What a rule came to: its mode before anything bounded it and after, what changed it, and the people it asks."""

    case: Case
    base: Mode
    mode: Mode
    causes: list[Bound]
    people: str  # empty for nobody


def _settled(case: Case, found: list[Rule], rest: Iterator[Rule], look: _Look) -> Decision:
    """Weigh what bounds the rule, find whom it asks, and say why."""
    weighed = weigh(case)
    look.trace += [one.check for one in weighed]
    bounding = [one for one in weighed if one.mode]
    base = max([one.mode for one in found], key=_RANK.__getitem__)
    mode = max([base, *[one.mode or base for one in bounding]], key=_RANK.__getitem__)
    causes = [one for one in bounding if one.mode == mode] if mode != base else []
    asked = _asked(found, rest, look, bounding) if "approve" in (base, mode) else []
    terms = asking.terms(asked) if asked else {"require": ()}
    final, reason = _said(_Ruling(case, base, mode, causes, asking.needs(terms["require"])))
    if look.untold:
        reason = f"{reason} {_in_doubt(look.untold)}"
    if case.orders.observing:
        look.trace.append(line(False, "observe", "Lastgood decides and shows, and moves nothing"))
    return Decision(
        mode=final, rule=case.rule.id, reason=reason, trace=tuple(look.trace), due_in=look.due,
        tell="slack" if case.quiet else asking.tell((*found, *asked), case.facts, case.policy.limits),
        doubt=doubts(case.facts), ladder=case.rule.id if case.rung == mode else "",
        **(terms if final == "approve" else {"plan_ttl": case.rule.plan_ttl}),
    )  # fmt: skip


def _asked(found: list[Rule], rest: Iterator[Rule], look: _Look, bounding: list[Bound]) -> list[Rule]:
    """Give the rules whose people are asked. A bounded rule that names nobody takes those of the later rules that ask."""
    rule, *kept = found
    if rule.require:
        return found
    bounded = rule.mode == "auto" and any(one.mode == "approve" for one in bounding)
    return [*(look.down(one for one in rest if one.mode == "approve") if bounded else ()), *kept]


def _said(ruling: _Ruling) -> tuple[Mode, str]:
    """Give the mode as people find it, and the reason."""
    case, mode, people = ruling.case, ruling.mode, ruling.people
    if mode == "approve" and not people:
        return "notify", f"{_turned(ruling)} No role is named that could approve, so nothing is moved."
    if case.orders.observing and mode != "notify":
        done = {"auto": "acted alone", "approve": f"asked {people}", "hold": "held"}[mode]
        return "notify", f"{_lead(case)}. Observing: would have {done}, nothing is moved."
    if ruling.causes:
        end = {"approve": f"It needs {people}.", "hold": "It is decided again each minute."}.get(
            mode, "Nothing is moved."
        )
        return mode, f"{_turned(ruling)} {end}"
    match mode:
        case "auto":
            return mode, f"{_lead(case)}, so Lastgood acts alone. {_counted(case)}"
        case "approve":
            return mode, f"{_scope(case)} needs {people}."
        case "hold":
            return mode, f"{_lead(case)}, so it waits and is decided again each minute."
    return mode, f"{_lead(case)}, so people are told and nothing is moved."


def _in_doubt(rules: list[str]) -> str:
    """Name the rules that stay in force because nobody can tell whether they match."""
    named, stay = ("Rules", "stay") if len(rules) > 1 else ("Rule", "stays")
    return f"{named} {words.listed(rules)} could not be told and {stay} in force."


def _scope(case: Case) -> str:
    return f"Rule {case.rule.id}: tier {case.facts['tier']} in {case.facts['environment']}"


def _lead(case: Case) -> str:
    return f"{_scope(case)}, {case.rule.when}" if case.rule.when else _scope(case)


def _turned(ruling: _Ruling) -> str:
    """Say what the rule would do, and what turns it into something else."""
    would = {"auto": "act alone", "approve": f"ask {ruling.people}"}.get(ruling.base, ruling.base)
    causes = ruling.causes
    because, turn = words.listed(one.because for one in causes), "turn" if len(causes) > 1 else "turns"
    more = dict.fromkeys(one.more for one in causes if one.more)
    said = f"{_lead(ruling.case)}. Would {would}, but {because} {turn} {ruling.base} into {ruling.mode}."
    return " ".join((said, *more))


def _counted(case: Case) -> str:
    return f"Auto {case.facts['auto_rollbacks_today'] + 1} of {case.policy.limits.max_auto_per_day} today."
