"""How `lastgood policy` writes for people: cases, an explanation, a replay. Times and names are put in before a line is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from bot import terminal
from bot.domain import words
from bot.domain.entries import Check, Mode
from bot.domain.incident import Incident
from bot.domain.policy import Decision
from bot.policy_asking import People
from bot.policy_tests import Result, places
from bot.report import bars, explain
from bot.report.explain import Line
from bot.report.replay import FATES, Replay, Tally
from bot.terminal import local, row, wrapped

Say = Callable[[str], str]
_MARKS: Mapping[bool | None, str] = {True: "✓", False: "✗", None: "?"}
_THEN = {"auto": "acted alone", "approve": "asked people", "notify": "told people", "hold": "held"}
_NOW = {"auto": "acts alone", "approve": "asks people", "notify": "tells people", "hold": "holds"}
_COLUMNS = ("alone", *FATES)
_NAME, _CELL, _LABEL = 30, 9, 16


def by_name(names: Mapping[str, str]) -> Say:
    """Give how a sentence is said here: people by name as far as they are known, times as this machine's clock."""
    return lambda text: words.put(text, lambda user: names.get(user, user), local)


def result(one: Result) -> Iterator[str]:
    """Write one case; a failed one with what was expected, what came, and every rule that was looked at."""
    if one.ok:
        yield wrapped("✓ ", one.name)
        return
    say = by_name({})
    yield wrapped("✗ ", f"{one.name}  {one.file}:{one.line}:{one.column}")
    for miss in one.differences:
        yield wrapped(f"    {miss.what:<12}", f"expected {miss.expected}, came {say(miss.came)}")
    for n, check in enumerate(one.decision.trace):
        yield wrapped(f"    {'' if n else 'trace':<12}", _check(check, say))


def case(one: Result) -> dict[str, Any]:
    """Give one case for scripts."""
    decided = one.decision
    return {
        "file": one.file, "line": one.line, "column": one.column, "name": one.name, "ok": one.ok,
        "differences": [{"what": miss.what, "expected": miss.expected, "came": miss.came} for miss in one.differences],
        "mode": decided.mode, "rule": decided.rule, "reason": decided.reason,
        "trace": [{"ok": check.ok, "name": check.name, "detail": check.detail} for check in decided.trace],
    }  # fmt: skip


def _check(one: Check, say: Say) -> str:
    return f"{_MARKS[one.ok]} {say(one.name)}{f'  {say(one.detail)}' if one.detail else ''}"


# ── an explanation ────────────────────────────────────────────────────────────────────────────────────────────────


def rules(rows: Sequence[Line], say: Say) -> Iterator[str]:
    """Write every rule and everything that bounds the one that decides."""
    for label, bound in (("rule", False), ("bounds", True)):
        part = [one for one in rows if one.bound is bound]
        width = max((len(one.name) for one in part), default=0) + 2
        for n, one in enumerate(part):
            first = f"{'' if n else label:<11}{one.name:<{width}}{one.came:<13}"
            yield wrapped(first, say(one.detail)) if one.detail else first.rstrip()


def decided(decision: Decision, say: Say) -> Iterator[str]:
    """Write what it comes to, and why."""
    asks = f", {places(decision.require)}, within {words.span(decision.plan_ttl)}" if decision.mode == "approve" else ""
    yield row("decision", f"{decision.mode}{asks}")
    yield row("reason", say(decision.reason))


def people(incident: Incident, found: People, verdict: explain.Verdict | None, say: Say) -> Iterator[str]:
    """Write who has no vote, how one person stands, and who could fill what is open."""
    for user, why in explain.excluded(incident).items():
        yield row("no vote", say(f"{words.person(user)} {why}."))
    could = explain.could(found.could) or "Nobody is asked."
    if verdict is None:
        yield row("could", say(could))
        return
    for n, check in enumerate(verdict.checks):
        yield row("" if n else say(words.person(verdict.person))[:10], _check(check, say))
    yield row("answer", say(f"{verdict.sentence} {could}"))


# ── a replay ──────────────────────────────────────────────────────────────────────────────────────────────────────


def replayed(found: Replay) -> Iterator[str]:
    """Write a replay: a table by rule, a plot by week, what changed, and it in short."""
    yield from _table(found)
    yield from _plot(found)
    different = sum(n for _, _, n in found.changed)
    parts = "; ".join(f"{n:,} {_THEN[then]} then, {_NOW[now]} now" for then, now, n in found.changed)
    whole = f"{different:,} of {len(found.done):,}: {parts}." if parts else "nothing: it decides as was decided then."
    yield row("changed", whole)
    yield row("in short", story(found))


def _table(found: Replay) -> Iterator[str]:
    tallies = [*found.rules, found.all]
    width = min(_NAME, max(len(one.name) for one in tallies) + 1)
    yield f"{'rule':<{width}}{''.join(f'{name:>{_CELL}}' for name in _COLUMNS)}   wait spared"
    for one in tallies:
        yield _tally(one, width)
    then: dict[str, Mode] = {"alone": "auto", "asked": "approve", "told": "notify", "held": "hold"}
    cells = (f"{found.then.get(then[name], 0):>{_CELL},}" if name in then else " " * _CELL for name in _COLUMNS)
    yield f"{'then':<{width}}{''.join(cells)}"


def _tally(one: Tally, width: int) -> str:
    name = one.name if len(one.name) < width else f"{one.name[: width - 2]}…"
    counts = (one.alone, *(one.fates.get(fate, 0) for fate in FATES))
    spared = _hours(one.saved) if one.alone else ""
    return f"{name:<{width}}{''.join(f'{n:>{_CELL},}' for n in counts)}   {spared}".rstrip()


def _hours(length: timedelta) -> str:
    """Write a sum of waits in hours, as people count them."""
    minutes = round(length.total_seconds() / 60)
    return f"{minutes // 60:,}{words.NBSP}h {minutes % 60}{words.NBSP}min" if minutes >= 60 else words.span(length)


def _plot(found: Replay) -> Iterator[str]:
    room = terminal.WIDTH - _LABEL
    for label, line in bars.text(found.weeks[-room:]):
        yield f"{label:<{_LABEL}}{line}".rstrip()
    shown = found.weeks[-room:]
    top = max(max(fates.values(), default=0) for _, fates in shown)
    yield f"{'':<{_LABEL}}one column a week from {shown[0][0]:%d %b %Y}; the highest is {top:,} in a week"


def story(found: Replay) -> str:
    """Say in sentences what the table and the plot show."""
    whole, fates = found.all, found.all.fates
    helped, not_, unknown = (f"{fates.get(name, 0):,}" for name in FATES[:3])
    ends = f"{helped} helped, {not_} did not, of {unknown} nobody can tell"
    text = [f"It acts alone in {whole.alone:,} of {len(found.done):,}: {ends}."]
    if whole.alone:
        text.append(f"It spares {_hours(whole.saved)} of waiting for people.")
    if whole.unmeasured:
        text.append(f"For {whole.unmeasured:,} that helped no wait is recorded; they add nothing.")
    if found.undecided:
        text.append(f"{terminal.counted(found.undecided, 'more incident')}, never decided, left out.")
    return " ".join(text)
