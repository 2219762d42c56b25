"""Has the service recovered? Three answers, and 'cannot tell' is never 'fine'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from bot.domain import words
from bot.domain.betting import ILL, against, below
from bot.domain.entries import SliSampled, Verdict
from bot.domain.model import FigureName, Sli
from bot.domain.runbook import RecoveryCheck
from bot.domain.sli import Measurement, SliSample
from bot.domain.sli_query import asks, filled

Round = Literal["good", "breached", "unknown"]
MISSED = 3  # so many looks missed in a row, and at least UNSEEN without one, are a stretch in which nobody looked
UNSEEN = timedelta(minutes=1)
DOOMED = timedelta(seconds=30)  # a service gets this long to settle before breaches in a row count against it
NEVER = datetime.min.replace(tzinfo=UTC)
BURN: FigureName = "burn_rate_short"
_RATIOS = ("ratio", "rate", "share")


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


def burn(measured: Measurement) -> SliSample:
    """Judge the short-window burn rate: good below 1.

    Its window may reach back before traffic moved, so a higher one is not yet a breach: it cannot be told.
    """
    well = measured.value is not None and measured.value < 1
    if measured.value is None:
        text = f"{called(BURN)} unknown ({measured.reason})."
    else:
        text = f"{called(BURN)} {words.quantity(measured.value)}, less than 1 needed."
    verdict: Round = "good" if well else "unknown"
    return SliSample(sli=BURN, verdict=verdict, measurement=measured, objective=1, good="below", sentence=text)


def is_ratio(name: str) -> bool:
    """Say whether an SLI is a share of requests, as its name tells; the part it is about counts for nothing."""
    return name.partition("[")[0].endswith(_RATIOS)


def called(name: str) -> str:
    """Write an SLI's name for people: `error_ratio[eu]` is the error ratio of eu."""
    plain, _, part = name.partition("[")
    return f"{plain.replace('_', ' ')}{f' of {part[:-1]}' if part else ''}"


def shown(name: str, value: float) -> str:
    """Write a value of an SLI: ratios as percent, latencies in ms, the rest as a number."""
    name = name.partition("[")[0].partition(" of ")[0]
    if is_ratio(name):
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

    Recovered: `samples` rounds in a row in which every SLI was good, and requests enough that this is not luck (`luck`).
    Not recovered: `samples` rounds in a row with a breach, or time is up after a breach, or all samples together prove that
    a ratio is above its objective (`contradiction`). Cannot tell: time is up and nothing was proven, or there is no SLI to
    ask. A stretch in which nobody looked breaks a row the way an unknown round does.
    """
    taken = [one for one in rounds if _since(one) >= moved_at]
    verdicts = _verdicts(taken, max(MISSED * check.every, UNSEEN))
    good, bad = _streak(verdicts, "good"), _streak(verdicts, "breached")
    last = taken[-1].sentence() if taken else ""
    settled, within = moved_at + min(check.within, DOOMED), words.span(check.within)
    late = now - moved_at >= check.within
    contrary, lucky = contradiction(check, taken, settled), luck(check, taken)
    if good >= check.samples and not contrary and not lucky:
        return Judgement("yes", f"Recovered: {last} {good} good samples in a row.{_burns(taken[-1])}", good)
    if bad >= check.samples and now >= settled:
        return Judgement("no", f"Not recovered: {bad} samples in a row outside the objective. {last}", 0)
    if late and ("breached" in verdicts[-check.samples :] or contrary):
        return Judgement("no", " ".join(filter(None, (f"Not recovered within {within}.", contrary, last))), good)
    if late:
        told = " ".join(filter(None, (lucky, last))) or "no SLI could be read."
        return Judgement("cannot_tell", f"Cannot tell after {within}: {told}", good)
    row = f"{good} of {check.samples} good samples in a row."
    return Judgement("not_yet", " ".join(filter(None, (row, contrary, lucky if good else "", last))), good)


def _burns(one: SliSampled) -> str:
    """Say how fast the error budget burns: the worst share of failures as a multiple of the objective's."""
    ratios = [_parts(look) for look in one.samples if is_ratio(look.sli)]
    rates = [failed / allowed for failed, allowed in ratios if allowed > 0]
    return f" Burn rate {words.quantity(max(rates))}." if rates else ""


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


def looks_to_take(
    slis: Mapping[str, Sli], cohorts: Sequence[str], version: str
) -> dict[str, tuple[Sli, dict[str, Any]]]:
    """Give each look by its name, with the settings it is taken with: one a cohort where an SLI names `{cohort}`.

    An SLI that names `{version}` is asked about that version. One that names `{cohort}` where no cohort is configured
    can be asked about nobody and is left out.
    """
    found: dict[str, tuple[Sli, dict[str, Any]]] = {}
    for name, sli in slis.items():
        settings = filled(sli.settings, version=version)
        if not asks(settings, "cohort"):
            found[name] = (sli, settings)
            continue
        for cohort in cohorts:
            found[f"{name}[{cohort}]"] = (sli, filled(settings, cohort=cohort))
    return found


def contradiction(check: RecoveryCheck, rounds: Sequence[SliSampled], since: datetime) -> str:
    """Say which ratio the samples since then prove to be above its objective; an empty text when none is."""
    found: dict[str, _Tally] = {}
    for look in _counted(rounds):
        if look.measurement.since is not None and look.measurement.since >= since:
            found.setdefault(look.sli, _Tally()).add(look)
    for name, tally in found.items():
        if against(tally.failures, tally.requests, tally.allowed) >= 1 / check.doubt:
            return f"All samples together are outside the objective: {tally.told(name)}."
    return ""


def luck(check: RecoveryCheck, rounds: Sequence[SliSampled]) -> str:
    """Say of which ratio too few requests were counted to rule out that it is `ILL` times its objective.

    An empty text when there is none: also where no source says which requests it counted, and without a traffic floor. What
    is counted begins anew after every look that was a breach; the n-th beginning must give n (n + 1) times the evidence, so
    that all of them together err no more often than `doubt`.
    """
    found: dict[str, _Tally] = {}
    for look in _counted(rounds) if check.min_requests else ():
        tally = found.setdefault(look.sli, _Tally())
        if look.verdict == "breached":
            tally.again()
        else:
            tally.add(look)
    for name, tally in found.items():
        needed = tally.tries * (tally.tries + 1) / check.doubt
        if below(tally.failures, tally.requests, tally.allowed) < needed:
            many = f"{ILL:g} times its objective"
            return f"Too few requests to tell it from {many}: {tally.told(name)}."
    return ""


@dataclass(slots=True)
class _Tally:
    """What was counted of one ratio; `tries` is how often counting began."""

    failures: float = 0.0
    requests: float = 0.0
    allowed: float = 0.0
    tries: int = 1
    above: bool = False

    def add(self, look: SliSample) -> None:
        failed, self.allowed = _parts(look)
        self.above = look.good == "above"
        self.requests += look.measurement.requests or 0.0
        self.failures += failed * (look.measurement.requests or 0.0)

    def again(self) -> None:
        self.failures, self.requests, self.tries = 0.0, 0.0, self.tries + 1

    def told(self, name: str) -> str:
        share = self.failures / self.requests if self.requests else 0.0
        value = shown(name, 1 - share if self.above else share)
        return f"{called(name)} {value} of {words.count(self.requests)} requests"


def _counted(rounds: Sequence[SliSampled]) -> Iterator[SliSample]:
    """Give the looks at ratios whose requests were counted once: each begins no earlier than the one before it ended."""
    last: dict[str, datetime] = {}
    for one in rounds:
        for look in one.samples:
            seen = look.measurement
            if not is_ratio(look.sli) or seen.value is None or not 0 <= seen.value <= 1 or not seen.requests:
                continue
            if seen.since is not None and seen.since >= last.get(look.sli, seen.since):
                last[look.sli] = seen.at
                yield look


def _parts(look: SliSample) -> tuple[float, float]:
    """Give the share that failed and the share that may, whichever side of the objective is good."""
    value = look.measurement.value or 0.0
    return (value, look.objective) if look.good == "below" else (1 - value, 1 - look.objective)
