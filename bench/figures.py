"""Figures: a subject beside its reference, round by round, and whether the median ratio meets its floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass
class Figure:
    """`subject` and `reference` hold one value a round; `floor` is the worst ratio that is not a defect."""

    name: str
    unit: str
    against: str
    floor: float | None
    goal: float | None = None
    more_is_better: bool = False
    note: str = ""
    samples: int = 0  # measurements in one round, 0 when a round is one measurement
    difference: bool = False  # judged by subject minus reference, in the figure's unit
    subject: list[float] = field(default_factory=list)
    reference: list[float] = field(default_factory=list)

    def add(self, subject: float, reference: float) -> None:
        self.subject.append(subject)
        self.reference.append(reference)

    @property
    def ratios(self) -> list[float]:
        pairs = zip(self.subject, self.reference, strict=True)
        if self.difference:
            return [subject - reference for subject, reference in pairs]
        return [subject / reference for subject, reference in pairs if reference]

    @property
    def ratio(self) -> float | None:
        return median(self.ratios) if self.ratios else None

    @property
    def verdict(self) -> str:
        if self.ratio is None:
            return "not measured"
        if self.floor is None:
            return "no floor"
        if self._fits(self.goal):
            return "goal met"
        return "met" if self._fits(self.floor) else "short of"

    def _fits(self, bound: float | None) -> bool:
        if bound is None or self.ratio is None:
            return False
        return self.ratio >= bound if self.more_is_better else self.ratio <= bound

    def _bound(self, bound: float | None) -> str:
        if bound is None:
            return "–"
        unit = f" {self.unit}" if self.difference else ""
        return f"{'≥' if self.more_is_better else '≤'} {bound:g}{unit}"

    def row(self) -> list[str]:
        if self.ratio is None:
            return [
                self.name,
                "–",
                "–",
                self.against,
                "–",
                "–",
                self._bound(self.floor),
                self._bound(self.goal),
                self.note,
            ]
        spread = f"{min(self.ratios):.2f}–{max(self.ratios):.2f}"
        ratio = f"{self.ratio:+.2f} {self.unit}" if self.difference else f"{self.ratio:.2f}×"
        n = f" n={self.samples}×{len(self.ratios)}" if self.samples else ""
        return [
            self.name + n, _number(median(self.subject), self.unit), _number(median(self.reference), self.unit), self.against,
            ratio, spread, self._bound(self.floor), self._bound(self.goal), self.verdict,
        ]  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "unit": self.unit, "reference": self.against, "ratio": self.ratio, "floor": self.floor, "goal": self.goal,
            "verdict": self.verdict, "judged_by": "difference" if self.difference else "ratio", "more_is_better": self.more_is_better,
            "samples_per_round": self.samples, "subject_rounds": self.subject, "reference_rounds": self.reference, "note": self.note,
        }  # fmt: skip


def _number(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}"


def table(figures: Sequence[Figure]) -> str:
    head = ["figure", "Lastgood", "reference", "what the reference is", "ratio", "rounds", "floor", "goal", "verdict"]
    rows = [head, *(figure.row() for figure in figures)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [f"  {figure.name}: {figure.note}" for figure in figures if figure.note]
    return "\n".join([lines[0], "─" * len(lines[0]), *lines[1:], *notes])
