"""What bounds a rule: each function weighs one thing, with its own sentence and its own line in the trace.

A fact of Lastgood's own (alerts, ledger, clock) that is unknown bounds an `auto` rule like one that speaks against it:
nobody acts alone on what nobody knows. Facts that need a system a site may not have are told apart below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from bot.domain import calendar, words
from bot.domain.entries import Check, Mode, Rung
from bot.domain.guard import known
from bot.domain.roles import Limits
from bot.domain.rules import Bounds, Policy, Rule


@dataclass(frozen=True, slots=True)
class Case:
    """What is weighed: the rule that matched, the facts, the limits of the policy, and what people ordered."""

    policy: Policy
    rule: Rule
    facts: Mapping[str, Any]
    orders: Bounds

    @property
    def limits(self) -> Limits:
        """Give the policy's limits."""
        return self.policy.limits

    @property
    def by_person(self) -> bool:
        """Say whether a person asked; what only stops Lastgood never stops them."""
        return self.facts.get("by_person") is True

    @property
    def quiet(self) -> bool:
        """Say whether people put it off, here or where the alerts come from: then nobody is woken."""
        return bool(self.orders.snoozed) or (self.facts.get("silenced") is True and not self.by_person)

    @property
    def rung(self) -> Rung | None:
        """Give where the rule stands on the trust ladder, None when it is not on it."""
        if not self.rule.ladder:
            return None
        return self.orders.rungs.get(self.rule.id, self.policy.trust.start if self.policy.trust else "notify")


class Bound(NamedTuple):
    """One thing weighed. `mode` is what it makes of a laxer one; `because` stands between "but" and "turns auto into"."""

    check: Check
    mode: Mode | None = None
    because: str = ""
    more: str = ""  # a sentence of its own


@lru_cache(maxsize=4096)
def line(ok: bool | None, name: str, detail: str) -> Check:  # noqa: FBT001  the first column of a trace
    """Give one line of a trace; the same line is made once."""
    return Check(ok=ok, name=name, detail=detail)


@lru_cache(maxsize=256)
def _span(length: timedelta) -> str:
    """Write a length that a policy names."""
    return words.span(length)


@lru_cache(maxsize=256)
def _allowed(increase: float) -> str:
    return f"{words.percent(increase)} more is allowed"


def weigh(case: Case) -> list[Bound]:
    """Weigh everything that bounds a rule of its mode. Nothing bounds one that only tells; a doubt is said all the same."""
    return [bound for one in WEIGHED[case.rule.mode] if (bound := one(case)) is not None]


def doubts(facts: Mapping[str, Any]) -> str:
    """Say why it is probably not the model, empty where nothing speaks for that."""
    found = [text for name, text in _DOUBTS.items() if facts.get(name) is True]
    return f"Probably not the model: {words.listed(found)}." if found else ""


# ── what makes people be asked ────────────────────────────────────────────────────────────────────────────────────


def _autopilot(case: Case) -> Bound:
    if case.orders.autopilot_off:
        return _asks("autopilot", case.orders.autopilot_off, "the switched-off autopilot", case.orders.autopilot_off)
    return _fine("autopilot", "on")


def _ladder(case: Case) -> Bound | None:
    if case.rung is None:
        return None
    detail = f"the rule stands on {case.rung}"
    if case.rung == "auto":
        return _fine("trust ladder", detail)
    return Bound(line(False, "trust ladder", detail), case.rung, f"its rung {case.rung} on the trust ladder")


def _proven(case: Case) -> Bound:
    match case.facts.get("observed_serving"):
        case True:
            return _fine("good version", "observed serving")
        case False:
            return _asks("good version", "not observed serving", "a good version never observed serving")
    return _unknown("good version", "observed_serving")


def _blackout(case: Case) -> Bound | None:
    if not case.limits.blackouts:
        return None
    if not known(now := case.facts.get("now")):
        return _unknown("blackout", "now")
    stretch = calendar.active(case.limits.blackouts, now)
    if stretch is None:
        return _fine("blackout", "none now")
    until, name = f"until {stretch.until}", stretch.blackout.name
    if not name:
        return _asks("blackout", until, f"a blackout {until}")
    return _asks("blackout", f'"{name}" {until}', f'blackout "{name}" {until}')


def _cooldown(case: Case) -> Bound | None:
    """Unknown means that there was no rollback; exactly at its length a cooldown is over."""
    length, since = case.limits.cooldown, case.facts.get("since_last_rollback")
    if not length:
        return None
    if not known(since):
        return _fine("cooldown", "no rollback before")
    ago, whole = words.span(timedelta(seconds=int(since))), _span(length)
    if since >= length.total_seconds():
        return _fine("cooldown", f"last rollback {ago} ago, {whole} needed")
    return _asks(
        "cooldown", f"last rollback {ago} ago, {whole} needed", f"the cooldown of {whole} (last rollback {ago} ago)"
    )


def _daily(case: Case) -> Bound:
    most, done = case.limits.max_auto_per_day, case.facts.get("auto_rollbacks_today")
    if not known(done):
        return _unknown("automatic rollbacks", "auto_rollbacks_today")
    day = f"24{words.NBSP}h"
    detail = f"{done} of {most} in {day}"
    if done < most:
        return _fine("automatic rollbacks", detail)
    return _asks(
        "automatic rollbacks",
        detail,
        f"the limit of {most} automatic rollback{'s' * (most != 1)} in {day} ({done} done)",
    )


def _window(case: Case) -> Bound:
    now, deployed = case.facts.get("now"), case.facts.get("deployed_at")
    if not known(now) or not known(deployed):
        return _unknown("rollback window", "deployed_at" if known(now) else "now")
    age, longest = now - deployed, case.limits.rollback_window
    detail = f"deployed {words.span(age)} ago, {_span(longest)} allowed"
    if age <= longest:
        return _fine("rollback window", detail)
    return _asks("rollback window", detail, f"the rollback window of {_span(longest)} (deployed {words.span(age)} ago)")


def _loop(case: Case) -> Bound:
    back = f"rolled back from within {_span(case.limits.rollback_window)}"
    return _flag(
        case,
        "would_loop",
        "loop",
        f"the good version was {back}",
        f"the good version was not {back}",
        f"a loop (the good version was {back})",
    )


def _flapping(case: Case) -> Bound:
    return _flag(
        case, "flapping", "flapping", "an alert ended and began anew three times", "no alert flaps", "a flapping alert"
    )


def _drift(case: Case) -> Bound:
    return _flag(
        case,
        "drift_only",
        "drift",
        "every firing alert is about data",
        "not about data alone",
        "a breach of data alone",
    )


def _cost(case: Case) -> Bound | None:
    most, delta = case.limits.max_cost_increase, case.facts.get("cost_delta")
    if most is None:
        return None
    allowed = _allowed(most)
    if not known(delta):
        text = f"what the good version costs is unknown, {allowed}"
        return Bound(line(None, "cost", text), "approve", f"the cost guard ({text})")
    costs = f"the good version costs {words.percent(abs(delta))} {'less' if delta < 0 else 'more'}, {allowed}"
    return _fine("cost", costs) if delta <= most else _asks("cost", costs, f"the cost guard ({costs})")


def _signature(case: Case) -> Bound:
    """Unknown bounds nothing: where no registry tells signatures, plans are checked by their targets alone."""
    match case.facts.get("target_signature_fits"):
        case True:
            return _fine("signature", "the good version takes the requests of today")
        case False:
            text = "the good version does not take the requests of today"
            return _asks("signature", text, f"a signature that does not fit ({text})")
    return Bound(line(None, "signature", "target_signature_fits unknown"))


def _capacity(case: Case) -> Bound | None:
    """Left out means that no capacity is configured; None means that one is and nobody could tell it."""
    if "capacity_enough" not in case.facts:
        return None
    match case.facts["capacity_enough"]:
        case True:
            return _fine("capacity", "the good version carries the full load")
        case False:
            text = "the good version does not carry the full load"
            return _asks("capacity", text, f"too little capacity ({text})")
    return _unknown("capacity", "capacity_enough")


# ── what bounds a rule that asks people, too ──────────────────────────────────────────────────────────────────────


def _doubt(case: Case) -> Bound:
    if text := doubts(case.facts):
        return _asks("doubt", text.partition(": ")[2].removesuffix("."), "a doubt about the cause", text)
    if missing := [name for name in _DOUBTS if not known(case.facts.get(name))]:
        return _unknown("doubt", *missing)
    return _fine("doubt", "none")


def _security(case: Case) -> Bound:
    """Never to a version known to be bad, whoever asks.

    A scan nobody could tell is said and bounds nothing: with no scanner there would be no `auto` at all, and a rule that
    wants one asks for it: `target_scan == "clean"`. Whether a version is quarantined is Lastgood's own to know.
    """
    quarantined, scan = case.facts.get("target_quarantined"), case.facts.get("target_scan")
    if quarantined is True or scan == "findings":
        bad = [_QUARANTINED] * (quarantined is True) + [_FINDINGS] * (scan == "findings")
        return _holds("security gate", words.listed(bad), f"the security gate ({words.listed(bad)})")
    if quarantined is not False:
        return _unknown("security gate", "target_quarantined")
    if scan == "clean":
        return _fine("security gate", "not quarantined, scan clean")
    return Bound(line(None, "security gate", "not quarantined, scan unknown"))


def _silence(case: Case) -> Bound | None:
    """Left out means that no sender of alerts could be asked; None means that one was and could not say."""
    if "silenced" not in case.facts:
        return None
    silenced, text = case.facts["silenced"], "every firing alert is silenced where it comes from"
    if silenced is None:
        return Bound(
            line(None, "silence", "nobody could say whether the alerts are silenced"),
            "approve",
            "a silence nobody could rule out",
        )
    if not silenced:
        return _fine("silence", "none")
    return _yields(case, "silence", text) or _holds("silence", text, f"a silence ({text})")


def _cascade(case: Case) -> Bound:
    rolling, text = case.facts.get("upstream_rolling"), "a model this one consumes is being rolled back"
    if not known(rolling):
        return _unknown("upstream", "upstream_rolling")
    if not rolling:
        return _fine("upstream", "no model this one consumes is being rolled back")
    return _yields(case, "upstream", text) or _holds("upstream", text, "the rollback of a model this one consumes")


def _snooze(case: Case) -> Bound | None:
    return _holds("snooze", case.orders.snoozed, "a snooze", case.orders.snoozed) if case.orders.snoozed else None


def _silent(case: Case) -> Bound | None:
    if case.facts.get("silent") is not True:
        return None
    text = "Lastgood saw the breach itself, no alert came"
    return _yields(case, "alert", text) or Bound(
        line(False, "alert", text), "notify", "a breach that no alert reported"
    )


ANYWAY = (_doubt, _security, _silence, _cascade, _snooze, _silent)
WEIGHED: Mapping[Mode, tuple[Callable[[Case], Bound | None], ...]] = {
    "auto": (
        _autopilot, _ladder, _proven, _blackout, _cooldown, _daily, _window, _loop, _flapping, _drift, _cost, _signature,
        _capacity, *ANYWAY,
    ),
    "approve": ANYWAY,
    "hold": ANYWAY,
    "notify": (_doubt,),
}  # fmt: skip
_QUARANTINED = "the good version is quarantined"
_FINDINGS = "the scan of the good version has findings"
_DOUBTS = {
    "good_also_breached": "an alert about the good version fires too",
    "neighbours_breached": "another model with a consumer in common has an open incident",
    "upstream_change": "a change upstream came within the last hour",
}


@lru_cache(maxsize=4096)
def _fine(name: str, detail: str) -> Bound:
    return Bound(line(True, name, detail))


def _asks(name: str, detail: str, because: str, more: str = "") -> Bound:
    return Bound(line(False, name, detail), "approve", because, more)


def _holds(name: str, detail: str, because: str, more: str = "") -> Bound:
    return Bound(line(False, name, detail), "hold", because, more)


def _unknown(name: str, *facts: str) -> Bound:
    named = words.listed(facts)
    return Bound(line(None, name, f"{named} unknown"), "approve", f"the unknown fact{'s' * (len(facts) > 1)} {named}")


def _yields(case: Case, name: str, detail: str) -> Bound | None:
    return _fine(name, f"{detail}, and a person asked") if case.by_person else None


def _flag(case: Case, fact: str, name: str, bad: str, good: str, because: str) -> Bound:
    value = case.facts.get(fact)
    if not known(value):
        return _unknown(name, fact)
    return _asks(name, bad, because) if value else _fine(name, good)
