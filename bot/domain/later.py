"""Keys that are read and checked today and acted on in a later version."""

from __future__ import annotations

from typing import Any

MARK = "x-not-supported-yet"


def not_yet() -> dict[str, Any]:
    """Mark a field as known, validated and refused with 'not supported yet' when it is set."""
    return {MARK: True}


def asks(value: object) -> bool:
    """Say whether a value asks for anything: a key that is empty or off needs nothing we cannot do yet."""
    return not (value is None or value is False or value == [])
