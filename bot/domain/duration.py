"""Durations as people write them: `15m`, `1h30m`, `10s`, `7d` or ISO 8601 `PT15M`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

_N = "([0-9]{1,9})"
_HUMAN = re.compile(f"(?:{_N}d)?(?:{_N}h)?(?:{_N}m)?(?:{_N}s)?")
_ISO = re.compile(f"P(?:{_N}D)?(?:T(?:{_N}H)?(?:{_N}M)?(?:{_N}S)?)?")
LONGEST = timedelta(days=3650)


def parse_duration(text: Any) -> timedelta:
    """Read a duration of at most ten years; raise ValueError with the two accepted forms otherwise."""
    if isinstance(text, timedelta):
        return text
    match = _HUMAN.fullmatch(text) or _ISO.fullmatch(text) if isinstance(text, str) else None
    if not match or not any(match.groups()):
        message = f"`{text}` is not a duration; write 15m or PT15M"
        raise ValueError(message)
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    try:
        span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        span = timedelta.max
    if span > LONGEST:
        message = f"`{text}` is longer than ten years"
        raise ValueError(message)
    return span


def _some(span: timedelta) -> timedelta:
    if span <= timedelta(0):
        raise ValueError("must be longer than 0s")
    return span


def write_duration(span: timedelta) -> str:
    """Write a duration in the short form, `90s` as `1m30s`."""
    left = int(span.total_seconds())
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(write_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "examples": ["15m", "PT15M"],
            "pattern": r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?$|^P(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?$",
        }
    ),
]
Positive = Annotated[Duration, AfterValidator(_some)]
