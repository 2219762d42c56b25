"""What is kept of an incident beside its timeline: sampled requests without personal data, and what they are like."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from bot.domain.duration import Duration
from bot.domain.value import Value

MASK = "•••"
BINS = 10
DEEP = 64  # levels of a sample; what lies deeper is masked whole
LONG = 9  # digits that may be somebody's: phone, card, account
# One pass each, and no alternative can begin where another failed, so masking takes linear time whatever the text is.
_WORD = re.compile(r"[^\s<>,;|\"'()\[\]{}]+")
_AT = re.compile(r"[^@]@|%(?:25)*40|&#0*(?:64|x40)\b|&commat\b|\\u0040", re.IGNORECASE)
_TIME = re.compile(
    r"(?<!\d)(?:19|20)\d\d-[01]\d-[0-3]\d(?:[T ][0-2]\d:[0-5]\d(?::[0-6]\d(?:\.\d{1,9})?)?(?:Z|[+-][01]\d:?[0-5]\d)?)?(?![\d-])"
)
_DIGITS = re.compile(r"\+?\(?\d(?:(?:[^\w,;:@]|_){0,3}\d){8,}")
Row = Mapping[str, Any]
Place = Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$")]


class SamplesUse(Value):
    """Where sampled requests of this model are, and what is masked before anything is kept.

    `mask` names members as `request.email`. `at`, `version`, `cohort` and `request` name where a sample says when it was,
    which version answered, for whom, and which request it was; like the members of `plain` they are kept as they are,
    unless `mask` names them. `keep` is how long evidence is kept, 30 to 90 days; `most` is how many samples. `raised_by` names an
    action of the environment that has more requests sampled while an incident is open.
    """

    model_config = {**Value.model_config, "extra": "allow"}

    source: str
    at: Place = "at"
    version: Place = "version"
    cohort: Place | None = None
    request: Place = "request_id"
    mask: tuple[Place, ...] = ()
    plain: tuple[Place, ...] = ()
    raised_by: str | None = None
    keep: Annotated[Duration, Field(ge=timedelta(days=30), le=timedelta(days=90))] = timedelta(days=30)
    most: int = Field(default=200, ge=1, le=2000)

    @property
    def left(self) -> tuple[str, ...]:
        """Give the members the net leaves as they are."""
        named = (self.at, self.version, self.request, *self.plain, *([self.cohort] if self.cohort else []))
        return tuple(one for one in named if one not in self.mask)

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
    """The samples that were found; `reason` says why nobody could look, `notes` what was not looked at."""

    rows: tuple[dict[str, Any], ...] = ()
    reason: str = ""
    notes: tuple[str, ...] = ()


def member(row: Any, place: str) -> Any:
    """Give what stands at a place such as `request.email`; None when nothing does."""
    for name in place.split("."):
        row = row.get(name) if isinstance(row, dict) else None
    return row


def masked(value: Any, places: Iterable[str], left: Iterable[str] = ()) -> Any:
    """Give a value without personal data: what stands at a named place, and whatever reads like an address or a long number.

    What stands at a place of `left` is kept as it is.
    """
    return _masked(value, frozenset(places), frozenset(left), "", 0)


def _masked(value: Any, places: frozenset[str], left: frozenset[str], at: str, deep: int) -> Any:
    if at in places or deep > DEEP:
        return MASK
    match value:
        case dict():
            inner = ((str(name), one) for name, one in value.items())
            return _unlike(
                (_plain(name), _masked(one, places, left, f"{at}.{name}" if at else name, deep + 1))
                for name, one in inner
            )
        case list() | tuple():
            return [_masked(one, places, left, at, deep + 1) for one in value]
    if at in left:
        return value
    match value:
        case str():
            return _plain(value)
        case bool():
            return value
        case int() if abs(value) >= 10 ** (LONG - 1):
            return MASK
        case float() if value.is_integer() and abs(value) >= 10 ** (LONG - 1):
            return MASK
    return value


def _unlike(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Keep every member, also when masking made two names alike."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        free, n = name, 1
        while free in found:
            n += 1
            free = f"{name} {n}"
        found[free] = value
    return found


def _plain(text: str) -> str:
    """Mask what reads like an address or a long number, in whatever letters and digits it is written."""
    normal = unicodedata.normalize("NFKC", text)
    usual = _WORD.sub(lambda word: MASK if _AT.search(word[0]) else word[0], normal)
    parts, end = list[str](), 0
    for time in _TIME.finditer(usual):  # a time of day is nobody's, and would read like a long number
        parts += [_DIGITS.sub(MASK, usual[end : time.start()]), time[0]]
        end = time.end()
    found = "".join([*parts, _DIGITS.sub(MASK, usual[end:])])
    return text if found == normal else found


def coverage(rows: Sequence[Row], place: str | None, cohorts: Sequence[str]) -> tuple[str, ...]:
    """Say how many samples there are, of each cohort too; a cohort without any is named."""
    return (f"{len(rows)} samples.", *(f"{name}: {n or 'none'}." for name, n in counts(rows, place, cohorts).items()))


def counts(rows: Sequence[Row], place: str | None, cohorts: Sequence[str]) -> dict[str, int]:
    """Count the samples of each cohort, nothing where no member names it; one without any has 0."""
    if place is None:
        return {}
    found = Counter(str(member(row, place)) for row in rows)
    return {name: found[name] for name in [*cohorts, *sorted(set(found) - {*cohorts, "None"})]}


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
