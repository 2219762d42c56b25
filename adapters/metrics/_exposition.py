"""The text exposition format, as far as two counters need it; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from bot.domain import words
from bot.domain.selector import Selector

STALE = 300.0  # seconds: a sample with an older time of its own is history, as it is to Prometheus
STARTED = "process_start_time_seconds"


@dataclass(frozen=True, slots=True)
class Counted:
    """What one endpoint shows of one selector: the sum of its series, which labels the counter has, and whether it is there."""

    there: bool
    total: float = 0.0
    labels: frozenset[str] = frozenset()
    series: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """One endpoint's exposition: every family, and when its process started if it says so."""

    families: tuple[Metric, ...]
    started: float | None

    def counted(self, selector: Selector, now: float) -> Counted:
        """Sum the series of a counter. Raises ValueError when they are no counts or are stale at `now`, Unix seconds."""
        samples, family = self._of(selector.name)
        if family is None:
            return Counted(there=False)
        if family.type == "gauge":
            message = f"{selector.name} is a gauge, a counter is needed"
            raise ValueError(message)
        meant = [sample for sample in samples if selector.fits(sample.labels)]
        for sample in meant:
            _check(sample, now)
        labels = frozenset(label for sample in samples for label in sample.labels)
        return Counted(True, sum(sample.value for sample in meant), labels, len(samples))

    def _of(self, name: str) -> tuple[Sequence[Sample], Metric | None]:
        """The parser ends a counter's name with `_total`, also where the endpoint does not."""
        for spelt in (name, f"{name}_total"):
            for family in self.families:
                samples = [sample for sample in family.samples if sample.name == spelt]
                if (samples or spelt == _declared(family)) and (spelt == name or family.type == "counter"):
                    return samples, family
        return (), None


def _declared(family: Metric) -> str:
    """A counter without any series yet is known by its TYPE line alone."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def _check(sample: Sample, now: float) -> None:
    if not math.isfinite(sample.value) or sample.value < 0:
        message = f"{sample.name} is {sample.value:g}, which is no count"
        raise ValueError(message)
    if sample.timestamp is not None and now - float(sample.timestamp) > STALE:
        message = f"{sample.name} is stale: its own time is more than 5{words.NBSP}min ago"
        raise ValueError(message)


def parse(body: bytes) -> Page:
    """Read an exposition. Raises ValueError that says in a few words what is wrong with it."""
    if not body.endswith(b"\n"):
        raise ValueError("is empty or cut off: its last line does not end" if body else "is empty")
    try:
        families = tuple(text_string_to_metric_families(body.decode()))
    except (ValueError, LookupError, TypeError) as error:
        message = f"is not in the text format: {words.plain(str(error), 80)}"
        raise ValueError(message) from error
    return Page(families, _started(families))


def _started(families: Iterable[Metric]) -> float | None:
    for family in families:
        for sample in family.samples:
            if sample.name == STARTED and math.isfinite(sample.value):
                return float(sample.value)
    return None
