"""Has the service recovered? Three answers, and 'cannot tell' is never 'fine'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from bot.domain import words
from bot.domain.entries import SliSampled, Verdict
from bot.domain.model import Sli
from bot.domain.runbook import RecoveryCheck
from bot.domain.sli import Measurement, SliSample

Round = Literal["good", "breached", "unknown"]
MISSED = 3  # so many looks missed in a row, and at least UNSEEN without one, are a stretch in which nobody looked
UNSEEN = timedelta(minutes=1)
DOOMED = timedelta(seconds=30)  # a service gets this long to settle before breaches in a row count against it
NEVER = datetime.min.replace(tzinfo=UTC)


def sample(name: str, sli: Sli, measured: Measurement, floor: float) -> SliSample:
    """Judge one measurement: unknown without a value or below the traffic floor, else good or breached.

    A sample whose size nobody knows is below every floor but 0, which asks for none.
    """
    verdict, text = _judged(called(name), sli, measured, floor)
    return SliSample(
        sli=name, verdict=verdict, measurement=measured, objective=sli.objective, good=sli.good, sentence=text
    )


def _judged(name: str, sli: Sli, measured: Measurement, floor: float) -> tuple[Round, str]:
    if measured.value is None:
        return "unknown", f"{name} unknown ({measured.reason})."
    value = shown(name, measured.value)
    if measured.requests is None and floor > 0:
        why = f" ({measured.reason})" if measured.reason else ""
        return "unknown", f"{name} {value}, but of an unknown number of requests{why}; {words.count(floor)} needed."
    if measured.requests is not None and measured.requests < floor:
        return "unknown", f"{name} {value}, but {words.count(measured.requests)} requests; {words.count(floor)} needed."
    well = measured.value <= sli.objective if sli.good == "below" else measured.value >= sli.objective
    size = "" if measured.requests is None else f" of {words.count(measured.requests)} requests"
    limit = f"objective {'≤' if sli.good == 'below' else '≥'} {shown(name, sli.objective)}"
    return "good" if well else "breached", f"{name} {value}{size}, {limit}."


def called(name: str) -> str:
    """Write an SLI's name for people: `error_ratio` is an error ratio."""
    return name.replace("_", " ")


def shown(name: str, value: float) -> str:
    """Write a value of an SLI: ratios as percent, latencies in ms, the rest as a number."""
    if name.endswith(("ratio", "rate", "share")):
        return words.percent(value)
    if "latency" in name or name.endswith("seconds"):
        return f"{words.count(value * 1000)}{words.NBSP}ms"
    return words.quantity(value)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The third verdict so far, with its sentence."""

    verdict: Verdict
    reason: str
    streak: int


def judge(check: RecoveryCheck, rounds: Sequence[SliSampled], moved_at: datetime, now: datetime) -> Judgement:
    """Judge the rounds taken since traffic moved; what was measured before, or reaches back before it, is no evidence.

    Recovered: `samples` rounds in a row in which every SLI was good. Not recovered: `samples` rounds in a row with a
    breach, or time is up after a breach. Cannot tell: time is up and nothing was proven, or there is no SLI to ask.
    A stretch in which nobody looked breaks a row the way an unknown round does.
    """
    taken = [one for one in rounds if _since(one) >= moved_at]
    verdicts = _verdicts(taken, max(MISSED * check.every, UNSEEN))
    good, bad = _streak(verdicts, "good"), _streak(verdicts, "breached")
    last = taken[-1].sentence() if taken else ""
    late = now - moved_at >= check.within
    if good >= check.samples:
        return Judgement("yes", f"Recovered: {last} {good} good samples in a row.", good)
    if bad >= check.samples and now - moved_at >= min(check.within, DOOMED):
        return Judgement("no", f"Not recovered: {bad} samples in a row outside the objective. {last}", 0)
    if late and "breached" in verdicts[-check.samples :]:
        return Judgement("no", f"Not recovered within {words.span(check.within)}. {last}", good)
    if late:
        return Judgement(
            "cannot_tell", f"Cannot tell after {words.span(check.within)}: {last or 'no SLI could be read.'}", good
        )
    return Judgement("not_yet", f"{good} of {check.samples} good samples in a row. {last}".strip(), good)


def _since(one: SliSampled) -> datetime:
    """Give from when on the requests of a round came, as far as its sources say."""
    return min((s.measurement.since or s.measurement.at for s in one.samples), default=NEVER)


def _verdicts(rounds: Sequence[SliSampled], gap: timedelta) -> list[Round]:
    """Give each round's verdict, with an unknown one wherever more than `gap` passed without a look."""
    found: list[Round] = []
    last: datetime | None = None
    for one in rounds:
        at = max(sample.measurement.at for sample in one.samples)
        if last is not None and at - last > gap:
            found.append("unknown")
        found.append(_round(one))
        last = at
    return found


def _round(one: SliSampled) -> Round:
    verdicts = {sample.verdict for sample in one.samples}
    if "breached" in verdicts:
        return "breached"
    return "good" if verdicts == {"good"} else "unknown"


def _streak(verdicts: Sequence[str], wanted: str) -> int:
    n = 0
    for one in reversed(verdicts):
        if one != wanted:
            break
        n += 1
    return n


def slis_to_ask(check: RecoveryCheck, slis: Mapping[str, Sli]) -> dict[str, Sli]:
    """Give the SLIs a runbook judges by: the ones it names, else all."""
    return {name: sli for name, sli in slis.items() if not check.slis or name in check.slis}
