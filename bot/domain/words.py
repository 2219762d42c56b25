"""How numbers, times, people and versions are written, once, so every surface says the same.

Sentences carry people and times as tokens, `<@U0ANA>` and `<!date^1795403611^{time}|03:13 UTC>`, which each surface
puts into its own words.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

NBSP = "\u00a0"
_TOKEN = re.compile(r"<@([A-Z0-9]+)>|<!date\^(\d{1,11})\^[^|>]*\|([^>]*)>")
# Everything Unicode calls a format character, tags and joiners included, and halves of surrogate pairs.
_INVISIBLE = re.compile(
    "[\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f\ud800-\udfff]"
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_GAP = re.compile(f"[^\\S{NBSP}]+")


def percent(ratio: float) -> str:
    """Write a ratio as percent: one decimal below 100 %, none above; more where 0 % or 100 % would be untrue."""
    value = ratio * 100
    rest = min(value, 100 - value)
    if 0 < rest < 0.1:
        text = f"{value:.{_decimals(rest)}f}".rstrip("0").rstrip(".")
    else:
        text = f"{value:,.0f}" if value >= 99.95 or value == 0 else f"{value:.1f}"
    return f"{text.removesuffix('.0') if value >= 1 else text}{NBSP}%"


def _decimals(number: float) -> int:
    """Give how many decimals show two digits of a number below 1, at most 9."""
    return min(9, 1 - math.floor(math.log10(number)))


def count(number: float) -> str:
    """Write a count with thousands separated."""
    return f"{number:,.0f}"


def quantity(number: float) -> str:
    """Write a measured value: three decimals below 100, two digits of what is smaller still, no exponent."""
    decimals = _decimals(abs(number)) if 0 < abs(number) < 0.01 else 3
    text = f"{number:,.{decimals}f}".rstrip("0").rstrip(".") if abs(number) < 100 else f"{number:,.0f}"
    return "0" if text == "-0" else text


def span(length: timedelta) -> str:
    """Write a duration that is over: `6 min 24 s`, `6 d 4 h`, the two largest units; milliseconds below one second."""
    if timedelta(0) < length < timedelta(seconds=1):
        return f"{max(1, length // timedelta(milliseconds=1))}{NBSP}ms"
    left = max(0, round(length.total_seconds()))
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        amount, left = divmod(left, size)
        if amount:
            parts.append(f"{amount}{NBSP}{unit}")
    return " ".join(parts[:2]) or f"0{NBSP}s"


def change(bad: str, good: str) -> str:
    """Name both versions: `42 → 41`."""
    return f"{bad} → {good}"


def person(user: str) -> str:
    """Give the token of a person."""
    return f"<@{user}>"


def people(users: Iterable[str], join: str = "and") -> str:
    """List people: `a`, `a and b`, `a, b and c`."""
    return listed([person(user) for user in users], join)


def listed(items: Iterable[str], join: str = "and") -> str:
    """List words the way a sentence does."""
    words = list(items)
    return f" {join} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def moment(at: datetime) -> str:
    """Give the token of a time of day; its fallback names the zone."""
    return f"<!date^{int(at.timestamp())}^{{time}}|{at.astimezone(UTC):%H:%M} UTC>"


def stamp(at: datetime) -> str:
    """Write a time that reads the same everywhere: `2026-11-23 03:13:31 UTC`."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def unknown(reason: str) -> str:
    """Say that nobody knows, and why."""
    return f"unknown ({reason})"


def put(text: str, name: Callable[[str], str], when: Callable[[datetime], str] | None = None) -> str:
    """Replace the tokens of a sentence: people by `name(id)`, times by `when(time)` or their UTC fallback.

    A name is outside text: whatever it looks like, it is not read for tokens again.
    """

    def said(match: re.Match[str]) -> str:
        if match[1]:
            return name(match[1])
        return match[3] if when is None else when(datetime.fromtimestamp(int(match[2]), UTC))

    return _TOKEN.sub(said, text)


def visible(text: str) -> str:
    """Take out what shows as nothing: format and direction characters, tags, halves of surrogate pairs."""
    return _INVISIBLE.sub("", text)


def clean(text: str) -> str:
    """Make text one line of visible characters, no-break spaces kept."""
    return _GAP.sub(" ", _CONTROL.sub(" ", visible(text))).strip()


def plain(text: str, limit: int = 300) -> str:
    """Make text from outside safe to show as one piece: no control or direction characters, at most `limit` characters."""
    text = " ".join(_CONTROL.sub(" ", visible(text)).split())
    text = text.replace("<@", "‹@").replace("<!", "‹!")  # only our own sentences carry tokens
    return text if len(text) <= limit else f"{text[:limit]}… (+{len(text) - limit} more)"


def short(ulid: str) -> str:
    """Give the last five characters of an incident's id: what people read aloud."""
    return ulid.rpartition("/")[2][-5:]
