"""The two ways to make identifiers that ship: real ULIDs, and counted ones that tests can predict."""

from __future__ import annotations

import secrets
from itertools import count

from ulid import ULID

from bot.ports import Clock

_RANDOM_BITS = 80


class UlidIds:
    """ULIDs from the clock and the machine's randomness; each is greater than the one before, also when the clock is not."""

    def __init__(self, clock: Clock) -> None:
        """Take the time from `clock`."""
        self._clock = clock
        self._last = 0

    def ulid(self) -> str:
        """Give a new ULID, 26 characters, sortable by time."""
        millisecond = int(self._clock.now().timestamp() * 1000)
        fresh = (millisecond << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
        self._last = fresh if fresh >> _RANDOM_BITS > self._last >> _RANDOM_BITS else self._last + 1
        return str(ULID.from_int(self._last))


class CountingIds:
    """ULIDs whose last characters count from 1: `…00001`, `…00002`; the same in every run."""

    def __init__(self, millisecond: int = 0) -> None:
        """Carry `millisecond` since 1970 in the time part."""
        self._time = millisecond << _RANDOM_BITS
        self._numbers = count(1)

    def ulid(self) -> str:
        """Give the next one."""
        return str(ULID.from_int(self._time | next(self._numbers)))
