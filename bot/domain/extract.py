"""Reading foreign fields: labels, severities, numbers and times, the same for every sender."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from bot.domain.alert import DEPLOYER, Link, Severity
from bot.errors import NotJson

MODEL = ("model", "model_name", "model_id", "registered_model", "inference_service", "EndpointName")
VERSION = ("version", "model_version", "revision", "VariantName")
ENVIRONMENT = ("env", "environment", "stage", "deployment_environment")
SLI = ("sli", "slo", "metric", "MetricName")
SEVERITY = ("severity", "priority", "level")
MAX_ALERTS = 1000
MAX_DEPTH = 32
MAX_TEXT = 4096
MAX_LABELS = 128
MAX_NAME = 200
READ = frozenset((
    *MODEL, *VERSION, *ENVIRONMENT, *SLI, *SEVERITY, *DEPLOYER, "alertname", "summary", "description", "value", "threshold",
    "incident_hint",
))  # fmt: skip
MAX_LINK = 2000
NO_TIME = "0001-01-01"  # how Go writes a time that was never set
FUTURE = timedelta(seconds=120)
_SEVERITIES = {
    Severity.CRITICAL: "critical page p1 fatal emergency alert",
    Severity.ERROR: "error high p2",
    Severity.WARNING: "warning warn p3 medium",
    Severity.INFO: "notice info informational low p4 p5 none debug",
}
_BY_WORD = {word: severity for severity, words in _SEVERITIES.items() for word in words.split()}
_MILLISECONDS = 1e11  # as seconds this would be the year 5138
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*%?\Z")
_TIME = re.compile(r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d+)?\s*(Z|z|[+-]\d\d:?\d\d)?$")


def json_value(body: bytes) -> Any:
    """Read JSON at most 32 levels deep; of two equal keys the last wins. Raises NotJson with a short reason."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJson from error
    if _deep(found):
        message = f"The body is nested deeper than {MAX_DEPTH} levels."
        raise NotJson(message)
    return found


def _deep(found: Any) -> bool:
    level = [found]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: Any) -> Iterable[Any]:
    values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [one for one in values if isinstance(one, (dict, list))]


def text(value: Any, limit: int = MAX_TEXT) -> str:
    """Give a value as text, at most `limit` characters.

    A control character becomes U+FFFD: leaving it out could turn a stranger's name into one that is registered.
    """
    if value is None:
        return ""
    raw = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    short = raw if len(raw) <= limit else raw[:limit]
    return short if short.isprintable() else _CONTROL.sub("\N{REPLACEMENT CHARACTER}", short)


def texts(found: Any) -> dict[str, str]:
    """Give a mapping of labels as text; a value that is no scalar becomes its JSON."""
    return {text(k, MAX_NAME): text(v) for k, v in found.items()} if isinstance(found, dict) else {}


def kept_texts(found: Any) -> dict[str, str]:
    """Give at most 128 of the labels as text, in their order, never leaving out one that Lastgood reads."""
    if not isinstance(found, dict) or len(found) <= MAX_LABELS:
        return texts(found)
    read = [name for name in found if name in READ]
    chosen = {*read, *[name for name in found if name not in READ][: MAX_LABELS - len(read)]}
    return texts({name: value for name, value in found.items() if name in chosen})


def links(pairs: Iterable[tuple[str, Any]]) -> tuple[Link, ...]:
    """Keep the addresses that are http or https and can be shown."""
    return tuple(Link(rel=rel, url=url) for rel, url in pairs if _web(url))


def _web(url: Any) -> bool:
    plain = isinstance(url, str) and len(url) <= MAX_LINK and "\N{REPLACEMENT CHARACTER}" not in text(url, MAX_LINK)
    return plain and url.startswith(("http://", "https://"))


def first(labels: Mapping[str, str], names: Iterable[str]) -> str | None:
    """Give the first of these labels that is not empty."""
    return next((labels[name] for name in names if labels.get(name)), None)


def named(labels: Mapping[str, str]) -> dict[str, str | None]:
    """Give what the labels say about where this is: `model`, `version`, `environment` and `sli`."""
    return {
        "model": first(labels, MODEL),
        "version": first(labels, VERSION),
        "environment": first(labels, ENVIRONMENT),
        "sli": first(labels, SLI),
    }


def inside(found: Any, *path: str | int) -> Any:
    """Follow names and places into a foreign value; None where there is nothing of the kind."""
    for step in path:
        if isinstance(step, int):
            found = found[step] if isinstance(found, list) and step < len(found) else None
        else:
            found = found.get(step) if isinstance(found, dict) else None
    return found


def rows(value: Any) -> list[Any]:
    """Give a list as it is; anything else is an empty one."""
    return value if isinstance(value, list) else []


def table(value: Any) -> dict[str, Any]:
    """Give an object as it is; anything else is an empty one."""
    return value if isinstance(value, dict) else {}


def word(value: Any, limit: int = MAX_TEXT) -> str:
    """Give a value that should be one word or a sentence as text; what is an object or a list is none."""
    return "" if isinstance(value, (dict, list)) else text(value, limit)


def severity(word: str | None) -> Severity:
    """Map a sender's word; anything unknown is unknown."""
    return _BY_WORD.get((word or "").strip().lower(), Severity.UNKNOWN)


def number(value: Any) -> float | None:
    """Read a finite number, `8%` as 0.08; anything else is None."""
    if isinstance(value, bool) or value is None:
        return None
    raw = str(value).strip()
    if not _NUMBER.match(raw):
        return None
    found = float(raw.removesuffix("%"))
    if not math.isfinite(found):
        return None
    return round(found / 100, 12) if raw.endswith("%") else found


def moment(value: Any) -> tuple[datetime | None, bool]:
    """Read an ISO 8601 time, or seconds or milliseconds since 1970; the second value says that no zone was given (UTC then)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _since_1970(value), False
    match = _TIME.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None, False
    zone = (match[3] or "Z").upper().replace("Z", "+00:00")
    fraction = (match[2] or ".0")[:7]
    try:
        found = datetime.fromisoformat(f"{match[1].replace(' ', 'T')}{fraction}{zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None, False
    return (found if found.year > 1 else None), match[3] is None


def _since_1970(value: float) -> datetime | None:
    seconds = value / 1000 if value > _MILLISECONDS else value
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
    except (ValueError, OverflowError, OSError):
        return None


def times(starts: Any, ends: Any, received: datetime) -> tuple[datetime, datetime | None, set[str]]:
    """Give start, end and the flags of what had to be put right.

    A start in the future is clamped to the receipt, and so is an end before the start; a time never set is no fault.
    """
    flags: set[str] = set()
    start, naive = moment(starts)
    if naive:
        flags.add("naive_starts_at")
    if start is None:
        flags |= set() if _unset(starts) else {"bad_starts_at"}
        start = received
    elif start > received + FUTURE:
        flags.add("future_starts_at")
        start = received
    end, _ = moment(ends)
    if end is None and not _unset(ends):
        flags.add("bad_ends_at")
    if end is not None and end < start:
        flags |= set() if "future_starts_at" in flags else {"ends_before_starts"}
        end = received
    return start, end, flags


def _unset(value: Any) -> bool:
    return value in (None, "") or (isinstance(value, str) and value.startswith(NO_TIME))


def fingerprint(source: str, native: str) -> str:
    """Give a readable identity; one longer than 160 characters becomes a digest."""
    whole = f"{source}:{native}"
    return whole if len(whole) <= 160 else f"{source}:{hashlib.sha256(native.encode()).hexdigest()}"


def labels_fingerprint(labels: Mapping[str, str]) -> str:
    """Compute what Prometheus computes for a set of labels: FNV-1a over the sorted names and values, 16 hexadecimal digits."""
    digest = 0xCBF29CE484222325
    for byte in b"".join(b"%b\xff%b\xff" % (name.encode(), value.encode()) for name, value in sorted(labels.items())):
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def derived(parts: Mapping[str, Any]) -> str:
    """Give a stable identity for an alert that carries none."""
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
