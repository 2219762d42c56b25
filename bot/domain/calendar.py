"""Blackouts on the clock: which one it is in now, and until when. Every time of day is one of the blackout's own zone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from bot.domain.roles import Blackout

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = timedelta(days=1)


class Stretch(NamedTuple):
    """One stretch of a blackout, from a moment to another, both in UTC."""

    blackout: Blackout
    begins: datetime
    ends: datetime

    @property
    def until(self) -> str:
        """Say when it ends: `08:00 Europe/Berlin`."""
        local = self.ends.astimezone(ZoneInfo(self.blackout.zone))
        return f"{local.hour:02}:{local.minute:02} {self.blackout.zone}"


def active(blackouts: Sequence[Blackout], now: datetime) -> Stretch | None:
    """Give the stretch it is in now; of several the one that ends last. Its end is no longer part of it."""
    within = [one for blackout in blackouts for one in _stretches(blackout, now)]
    return max(within, key=lambda one: one.ends, default=None)


def facts(blackouts: Sequence[Blackout], now: datetime) -> dict[str, Any]:
    """Give every fact of `bot/domain/facts.py` that the clock and the blackouts say."""
    utc, stretch = now.astimezone(UTC), active(blackouts, now)
    name = "" if stretch is None else stretch.blackout.name or f"until {stretch.until}"
    return {"now": utc, "weekday": WEEKDAYS[utc.weekday()], "hour": utc.hour, "blackout": name}


def _stretches(blackout: Blackout, now: datetime) -> Iterator[Stretch]:
    """Give the stretches this moment is within: of those that begin on the day before, the day, or the next."""
    today = now.astimezone(ZoneInfo(blackout.zone)).date()
    for day in (today - _DAY, today, today + _DAY):
        if _counts(blackout, day):
            begins, ends = _placed(day, blackout.from_, blackout.to, blackout.zone)
            if begins <= now < ends:
                yield Stretch(blackout, begins, ends)


def _counts(blackout: Blackout, day: date) -> bool:
    if blackout.days and WEEKDAYS[day.weekday()] not in blackout.days:
        return False
    return (blackout.first or day) <= day <= (blackout.last or day)


@lru_cache(maxsize=256)
def _placed(day: date, begin: str, end: str, zone: str) -> tuple[datetime, datetime]:
    """Place a stretch on the clock. Where the clock is turned, the earlier begin and the later end: people are asked longer."""
    last = day + _DAY if end <= begin else day
    begins, ends = (_moments(on, at, ZoneInfo(zone)) for on, at in ((day, begin), (last, end)))
    return min(begins), max(ends)


def _moments(day: date, at: str, zone: ZoneInfo) -> list[datetime]:
    """Give both moments a time of day may mean on a day; they differ where the clock is turned."""
    wall = time.fromisoformat(at)
    return [datetime.combine(day, wall.replace(fold=fold), zone).astimezone(UTC) for fold in (0, 1)]
