"""What follows from a model's ledger: how often and how lately it was rolled back, and whether that goes in a circle.

A window is half open: what happened exactly its length ago is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from bot.domain.ledger import Ledger, PastRollback

DAY = timedelta(hours=24)


def within(rollbacks: Iterable[PastRollback], now: datetime, window: timedelta) -> tuple[PastRollback, ...]:
    """Give the rollbacks that began less than `window` ago."""
    return tuple(one for one in rollbacks if now - one.at < window)


def recent_rollbacks(ledger: Ledger, now: datetime, window: timedelta) -> int:
    """Count every rollback within the window, whoever allowed it."""
    return len(within(ledger.rollbacks, now, window))


def auto_rollbacks_today(ledger: Ledger, now: datetime) -> int:
    """Count the rollbacks of the last 24 h that nobody approved."""
    return sum(one.mode == "auto" for one in within(ledger.rollbacks, now, DAY))


def since_last_rollback(ledger: Ledger, now: datetime) -> float | None:
    """Give how long ago the last rollback began, in seconds; None when there was none."""
    last = max((one.at for one in ledger.rollbacks), default=None)
    return None if last is None else max(0.0, (now - last).total_seconds())


def would_loop(ledger: Ledger, to: str, now: datetime, window: timedelta) -> bool:
    """Say whether a version was itself rolled back from within the window: going back to it goes in a circle."""
    return any(one.from_version == to for one in within(ledger.rollbacks, now, window))


def deployed_at(ledger: Ledger, version: str) -> datetime | None:
    """Give when a version's newest stretch began that still lasts; None when it serves nowhere."""
    return max((one.since for one in ledger.served if one.version == version and one.until is None), default=None)


def facts(ledger: Ledger, bad: str, good: str, now: datetime, window: timedelta) -> dict[str, Any]:
    """Give every fact of `bot/domain/facts.py` that a rollback from `bad` to `good` draws from this model's ledger."""
    return {
        "deployed_at": deployed_at(ledger, bad),
        "target_quarantined": good in ledger.quarantined,
        "recent_rollbacks": recent_rollbacks(ledger, now, window),
        "auto_rollbacks_today": auto_rollbacks_today(ledger, now),
        "since_last_rollback": since_last_rollback(ledger, now),
        "would_loop": would_loop(ledger, good, now, window),
    }
