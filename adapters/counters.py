"""Did traffic move? The one judgement every traffic adapter with request counters makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bot.domain import words
from bot.domain.counting import at_most
from bot.domain.traffic import Reading, TargetPlan, Verification

Control = Literal["converged", "progressing", "diverged"]
SLOWED = 0.8  # below this part of its old share the bad version is on its way out


@dataclass(frozen=True, slots=True)
class _Sample:
    """What was counted since the baseline: requests by version, and which names are no version of the target."""

    seen: Mapping[str, int]
    bad: int
    strange: tuple[str, ...]

    @property
    def total(self) -> int:
        return sum(self.seen.values())

    @property
    def bound(self) -> float:
        """What no known version answered may have been the bad one."""
        return at_most(self.bad + sum(self.seen[name] for name in self.strange), self.total)


def judge(
    plan: TargetPlan, control: Control, baseline: Reading | None, reading: Reading, *, noun: str = "requests"
) -> Verification:
    """Judge one look by the requests each version got since the baseline, a reading taken after the apply.

    Moved: none of them went to the bad version, and they are enough to tell that from the share it had. Too few or no
    requests, no baseline, counters that restarted, or nobody who counts the bad version: inconclusive. A version the
    baseline does not know is left out. `noun` names what was counted.
    """
    if baseline is None:
        return _unclear(control, reading, "First look at the counters; the next one can tell.")
    if plan.bad not in reading.requests or plan.bad not in baseline.requests:
        return _unclear(control, reading, f"Nothing counts the {noun} of version {plan.bad}.")
    seen = {
        name: count - baseline.requests[name] for name, count in reading.requests.items() if name in baseline.requests
    }
    if baseline.epoch != reading.epoch or any(count < 0 for count in seen.values()):
        return _unclear(control, reading, "The counters restarted, so what came before cannot be compared.")
    if not sum(seen.values()):
        return _unclear(control, reading, f"No {noun} arrived, so nobody can tell what serves.", seen)
    strange = tuple(name for name, count in seen.items() if count and name not in _known(plan))
    return _counted(plan, control, _Sample(seen, seen[plan.bad], strange), reading, noun)


def _known(plan: TargetPlan) -> set[str]:
    return {plan.bad, plan.good, *plan.to_split.weights, *(one.id for one in plan.before.revisions)}


def _unclear(control: Control, reading: Reading, detail: str, seen: dict[str, int] | None = None) -> Verification:
    return Verification(
        control_plane=control, data_plane="inconclusive", samples=seen or {}, detail=detail, reading=reading
    )


def _counted(plan: TargetPlan, control: Control, sample: _Sample, reading: Reading, noun: str) -> Verification:
    before, goal = (float(split.share(plan.bad)) / 100 for split in (plan.before.split, plan.to_split))
    verdict = _progress(sample, before, goal)
    detail = f"Version {plan.bad} {_told(plan, sample, reading, verdict, noun)}"
    return Verification(
        control_plane=control, data_plane=verdict, samples=dict(sample.seen), upper_bound_bad=sample.bound, detail=detail,
        reading=reading,
    )  # fmt: skip


def _progress(sample: _Sample, before: float, goal: float) -> Literal["moved", "moving", "not_moved", "inconclusive"]:
    """Say where the bad version is between the share it had and its goal.

    A share that is not 0 is blurred by chance, so a version that keeps some by plan is there when it is nearer to that.
    """
    share = sample.bad / sample.total
    if abs(share - goal) < abs(share - before) if goal else not sample.bad:
        return "moved" if sample.bound < (before or 1) else "inconclusive"
    return "moving" if share < before * SLOWED else "not_moved"


def _told(plan: TargetPlan, sample: _Sample, reading: Reading, verdict: str, noun: str) -> str:
    had = words.percent(float(plan.before.split.share(plan.bad)) / 100)
    counted = f"{words.count(sample.bad)} of {words.count(sample.total)} {noun}"
    doubt = ""
    if sample.strange:
        unsure = words.count(sum(sample.seen[name] for name in sample.strange))
        doubt = f" {unsure} of them name {words.listed(sample.strange)}, which may be it."
    if verdict == "inconclusive":
        return f"gets {counted}, too few to tell from the {had} it had.{doubt}"
    if not sample.bad:
        return f"gets {counted}; its counter stopped at {words.count(reading.requests[plan.bad])}.{doubt}"
    return f"still gets {counted}, {words.percent(sample.bad / sample.total)}; it had {had}.{doubt}"
