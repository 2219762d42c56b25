"""The two clocks that ship: the machine's, and one that moves only when it is told to."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 23, 2, 12, tzinfo=UTC)  # a Monday, 03:12 in Berlin: when these things happen


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Give the time in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the one place where time enters

    def monotonic(self) -> float:
        """Give seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock for tests and rehearsals: it stands still until it is advanced, and sleepers wake in the order of their time."""

    def __init__(self, start: datetime = START) -> None:
        """Begin at `start`, an aware time; the monotonic reading begins at 0."""
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        """Give the time in UTC."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Give the seconds this clock was advanced by."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was advanced by `seconds`; 0 or less lets others run once."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + seconds, woken))
        await woken

    @property
    def next_wake(self) -> float | None:
        """Give the seconds until the earliest sleeper wakes, None when nobody sleeps."""
        self._forget_cancelled()
        return min((at for at, _ in self._sleepers), default=self._elapsed) - self._elapsed if self._sleepers else None

    def advance(self, seconds: float) -> None:
        """Move time on by `seconds` and wake whoever is due; they run when the caller next awaits."""
        if seconds < 0:
            message = f"a clock goes forward, not by {seconds} s"
            raise ValueError(message)
        self._elapsed += seconds
        self._forget_cancelled()
        due = sorted((one for one in self._sleepers if one[0] <= self._elapsed), key=lambda one: one[0])
        self._sleepers = [one for one in self._sleepers if one[0] > self._elapsed]
        for _, woken in due:
            woken.set_result(None)

    async def run(self, seconds: float, *, settle: int = 20) -> None:
        """Move time on sleeper by sleeper, so that each sees its own time and may sleep again.

        `settle` is how many turns of the loop the woken tasks get before time goes on.
        """
        end = self._elapsed + seconds
        await _turns(settle)
        while (wait := self.next_wake) is not None and self._elapsed + wait <= end:
            self.advance(wait)
            await _turns(settle)
        self.advance(max(0.0, end - self._elapsed))
        await _turns(settle)

    def _forget_cancelled(self) -> None:
        self._sleepers = [one for one in self._sleepers if not one[1].done()]


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
