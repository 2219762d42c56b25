"""Did a rollback help? What failed before and after, with an interval where requests were counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from bot.domain import words
from bot.domain.entries import Grade
from bot.domain.recovery import called, is_ratio
from bot.domain.sli import SliSample

Z = 1.959964  # two-sided 95 %


@dataclass(frozen=True, slots=True)
class Graded:
    """A grade, the interval of the change of the failure ratio (after minus before), and the sentence."""

    grade: Grade
    reason: str
    low: float | None = None
    high: float | None = None


def grade(before: Sequence[SliSample], after: Sequence[SliSample]) -> Graded:
    """Grade by the SLIs that were looked at on both sides: harmful when one of them got worse, else helped when one got better.

    A ratio with counted requests is graded by the interval of its change, but within its objective on both sides it is
    neutral; any other SLI is graded by whether it was in breach. One that stayed as it was says nothing against another that
    got better.
    """
    now = {one.sli: one for one in after}
    pairs = [(one, now[one.sli]) for one in before if one.sli in now]
    found = [graded for old, new in pairs if (graded := _one(old, new)) is not None]
    if not found:
        why = "no SLI was measured before the rollback" if not before else "no SLI was measured on both sides"
        return Graded("unknown", f"Unknown: {why}.")
    order = ("harmful", "helped", "neutral")
    return min(found, key=lambda one: order.index(one.grade))


def _one(old: SliSample, new: SliSample) -> Graded | None:
    if old.measurement.value is None or new.measurement.value is None:
        return None
    if _counted(old) and _counted(new) and old.good == new.good:
        return _by_interval(old, new)
    told = f"{old.sentence.rstrip('.')} before; {new.sentence.rstrip('.')} after. Without an interval."
    verdicts = (old.verdict, new.verdict)
    if verdicts == ("breached", "good"):
        return Graded("helped", told)
    if verdicts == ("good", "breached"):
        return Graded("harmful", told)
    return Graded("neutral", told) if "unknown" not in verdicts else None


def _counted(sample: SliSample) -> bool:
    value, requests = sample.measurement.value, sample.measurement.requests
    return is_ratio(sample.sli) and value is not None and 0 <= value <= 1 and bool(requests)


def _by_interval(old: SliSample, new: SliSample) -> Graded:
    was, of, now, among = *_failed(old), *_failed(new)
    low, high = change(was, of, now, among)
    told = (
        f"{called(old.sli)}: {words.percent(was)} of {words.count(of)} requests failed before and {words.percent(now)} of "
        f"{words.count(among)} after"
    )
    span = f"a change between {_points(low)} and {_points(high)}, 95{words.NBSP}% interval"
    if old.verdict == new.verdict == "good":
        return Graded("neutral", f"{told}: {span}, within its objective all along.", low, high)
    verdict: Grade = "helped" if high < 0 else "harmful" if low > 0 else "neutral"
    return Graded(verdict, f"{told}: {span}.", low, high)


def _failed(sample: SliSample) -> tuple[float, float]:
    value = sample.measurement.value or 0.0
    return value if sample.good == "below" else 1 - value, sample.measurement.requests or 0.0


def _points(change_: float) -> str:
    sign = "−" if change_ < 0 else "+"
    return f"{sign}{words.percent(abs(change_))}"


def change(was: float, of: float, now: float, among: float) -> tuple[float, float]:
    """Give the 95 % interval of `now - was`, two independent ratios of so many requests each.

    Newcombe's hybrid score interval (Statistics in Medicine 17 (1998) 873, method 10), from Wilson's intervals.
    """
    (low_a, high_a), (low_b, high_b) = wilson(now, among), wilson(was, of)
    middle = now - was
    below = middle - sqrt((now - low_a) ** 2 + (high_b - was) ** 2)
    above = middle + sqrt((high_a - now) ** 2 + (was - low_b) ** 2)
    return max(-1.0, below), min(1.0, above)


def wilson(ratio: float, of: float) -> tuple[float, float]:
    """Give Wilson's 95 % score interval of a ratio of so many requests (JASA 22 (1927) 209)."""
    square = Z * Z
    centre = (ratio + square / (2 * of)) / (1 + square / of)
    half = Z * sqrt(ratio * (1 - ratio) / of + square / (4 * of * of)) / (1 + square / of)
    return max(0.0, centre - half), min(1.0, centre + half)
