"""The ancestor of every value: frozen, closed, and with one canonical JSON form."""

from __future__ import annotations

import hashlib
from typing import Any, Self

import orjson
from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """An immutable value that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", defer_build=True)

    def but(self, **changes: Any) -> Self:
        """Give a copy with these fields changed, validated like the first."""
        return type(self).model_validate({**{name: getattr(self, name) for name in type(self).model_fields}, **changes})


def canonical(content: object) -> bytes:
    """Give the one JSON form that is hashed and stored: keys sorted, UTF-8, no spaces."""
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)


def digest(content: object) -> str:
    """Give the SHA-256 of the canonical form, as 64 hexadecimal characters."""
    return hashlib.sha256(canonical(content)).hexdigest()
