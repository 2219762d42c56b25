"""What is kept of an incident beside its timeline: sampled requests without personal data, and what they are like."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from bot.domain.duration import Duration
from bot.domain.value import Value

MASK = "•••"
BINS = 10
# Each alternative is of bounded length and begins with another kind of character, so matching takes linear time.
_ADDRESS = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,253}")
_DIGITS = re.compile(r"\+?\d(?:[ ().-]?\d){8,18}")
Row = Mapping[str, Any]
Place = Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$")]


class SamplesUse(Value):
    """Where sampled requests of this model are, and what is masked before anything is kept.

    `mask` names members as `request.email`. `at`, `version` and `cohort` name where a sample says when it was, which version
    answered, and for whom. `keep` is how long samples are kept, 30 to 90 days; `most` is how many.
    """

    model_config = {**Value.model_config, "extra": "allow"}

    source: str
    at: Place = "at"
    version: Place = "version"
    cohort: Place | None = None
    mask: tuple[Place, ...] = ()
    keep: Annotated[Duration, Field(ge=timedelta(days=30), le=timedelta(days=90))] = timedelta(days=30)
    most: int = Field(default=200, ge=1, le=2000)

    @property
    def settings(self) -> dict[str, Any]:
        """Give the keys that belong to the source."""
        return dict(self.model_extra or {})


class Wanted(Value):
    """Which samples: of one version, in a time, at most so many, newest first. The names say where a sample holds what."""

    version: str
    since: AwareDatetime
    until: AwareDatetime
    most: int
    at: Place = "at"
    named: Place = "version"


class Found(Value):
    """The samples that were found; `reason` says why nobody could look."""

    rows: tuple[dict[str, Any], ...] = ()
    reason: str = ""


def member(row: Any, place: str) -> Any:
    """Give what stands at a place such as `request.email`; None when nothing does."""
    for name in place.split("."):
        row = row.get(name) if isinstance(row, dict) else None
    return row


def masked(value: Any, places: Iterable[str], at: str = "") -> Any:
    """Give a value without personal data: what stands at a named place, and whatever reads like an address or a long number."""
    hidden = set(places)
    if at and at in hidden:
        return MASK
    if isinstance(value, dict):
        return {
            _plain(str(name)): masked(inner, hidden, f"{at}.{name}" if at else str(name))
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(inner, hidden, at) for inner in value]
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, int) and not isinstance(value, bool) and len(str(abs(value))) >= 9:
        return MASK
    return value


def _plain(text: str) -> str:
    return _DIGITS.sub(MASK, _ADDRESS.sub(MASK, text))


def coverage(rows: Sequence[Row], place: str | None, cohorts: Sequence[str]) -> tuple[str, ...]:
    """Say how many samples there are, of each cohort too; a cohort without any is named."""
    if place is None:
        return (f"{len(rows)} samples.",)
    counted = Counter(str(member(row, place)) for row in rows)
    names = [*cohorts, *sorted(name for name in counted if name not in cohorts and name != "None")]
    return (f"{len(rows)} samples.", *(f"{name}: {counted[name] or 'none'}." for name in names))


def histograms(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Give for each number in the samples how it is spread: count, least, most, and ten equal bins between them."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, number in _numbers(row, ""):
            values.setdefault(name, []).append(number)
    return {name: _spread(numbers) for name, numbers in sorted(values.items())}


def _numbers(value: Any, at: str) -> Iterable[tuple[str, float]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, f"{at}.{name}" if at else str(name))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield at, float(value)


def _spread(numbers: list[float]) -> dict[str, Any]:
    low, high = min(numbers), max(numbers)
    bins = [0] * BINS
    for number in numbers:
        bins[min(BINS - 1, int((number - low) / (high - low) * BINS)) if high > low else 0] += 1
    return {"count": len(numbers), "least": low, "most": high, "bins": bins}
