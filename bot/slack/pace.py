"""How fast a channel is written to: freely until Slack says 429, then one message a second, approvals first."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from bot.ports import Clock

SLOW_FOR = 60.0  # seconds after a 429 in which new messages take turns
EVERY = 1.0  # seconds between new messages then; Slack's own limit for one channel
LEASE = 5.0  # seconds after which somebody who did not ask again has lost the place
CROWD = 20  # new cards
MINUTE = 60.0


@dataclass
class Pace:
    """The pace of one channel. Times are seconds of the clock's monotonic reading."""

    clock: Clock
    _closed: dict[str, float] = field(default_factory=dict)  # method -> when it may be called again
    _slow_until: float = float("-inf")
    _next: float = float("-inf")
    _waiting: dict[str, tuple[bool, float, float]] = field(
        default_factory=dict
    )  # who -> (not urgent, since, lease ends)
    _cards: deque[float] = field(default_factory=deque)
    _told: float = float("-inf")

    def limited(self, method: str, seconds: float) -> None:
        """Take note of a 429: this method rests for so long, and new messages take turns from now on."""
        now = self.clock.monotonic()
        self._closed[method] = now + seconds
        self._slow_until, self._next = now + seconds + SLOW_FOR, now + seconds

    def closed(self, method: str) -> float:
        """Give the seconds until a method may be called, 0 when it may now."""
        return max(0.0, self._closed.get(method, 0.0) - self.clock.monotonic())

    def turn(self, who: str, *, urgent: bool) -> float:
        """Ask for a new message's turn: 0 when it is now, else the seconds after which to ask again."""
        now = self.clock.monotonic()
        if now >= self._slow_until:
            self._waiting.clear()
            return 0.0
        self._waiting = {name: row for name, row in self._waiting.items() if row[2] > now}
        since = self._waiting.get(who, (True, now, 0.0))[1]
        self._waiting[who] = (not urgent, since, float("inf"))
        place = sorted(self._waiting, key=lambda name: self._waiting[name][:2]).index(who)
        if place == 0 and now >= self._next:
            del self._waiting[who]
            self._next = now + EVERY
            return 0.0
        wait = max(self._next - now, 0.0) + place * EVERY
        self._waiting[who] = (not urgent, since, now + wait + LEASE)
        return wait

    def crowded(self) -> bool:
        """Count one more new card; say whether it is the first of a minute with more than twenty."""
        now = self.clock.monotonic()
        self._cards.append(now)
        while self._cards[0] <= now - MINUTE:
            self._cards.popleft()
        if len(self._cards) <= CROWD or self._told > now - MINUTE:
            return False
        self._told = now
        return True
