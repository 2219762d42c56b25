"""What a verification reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not hold, and where; the stream `timeline` stands for the whole table.

    `kind` is changed, link, inserted, gap, moved, missing, index or checkpoint.
    """

    stream: str
    version: int
    kind: str
    detail: str
