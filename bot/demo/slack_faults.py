"""What can go wrong between the app and Slack, on demand: limits, errors, lost answers, silence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from bot.ports import Clock

Kind = Literal[
    "limited",  # 429 with Retry-After
    "error",  # HTTP 500
    "refused",  # the connection is cut before the effect
    "dropped",  # the connection is cut after the effect: stored, yet the caller cannot know
    "fatal",  # the effect is stored and the answer says fatal_error, as Slack warns
    "silence",  # nothing for a while, then the connection is cut; no effect
    "slow",  # late, and otherwise right
    "says",  # any other of Slack's words, without an effect
]


@dataclass
class Fault:
    """What calls of a method meet: `times` calls, or every call until `until` (monotonic seconds)."""

    kind: Kind
    times: int = 1
    after: float = 1.0  # seconds, for Retry-After, silence and slow
    says: str = "internal_error"
    until: float | None = None


@dataclass
class Faults:
    """Faults waiting for calls, by method; `*` is for every method."""

    clock: Clock
    waiting: dict[str, list[Fault]] = field(default_factory=dict)

    def add(self, method: str, fault: Fault) -> None:
        """Let one more fault wait. Raises ValueError for a kind that does not exist."""
        if fault.kind not in get_args(Kind):
            message = f"{fault.kind} is none of {', '.join(get_args(Kind))}"
            raise ValueError(message)
        self.waiting.setdefault(method, []).append(fault)

    def take(self, method: str) -> Fault | None:
        """Give the fault this call meets."""
        for name in (method, "*"):
            self.waiting[name] = [one for one in self.waiting.get(name, []) if self._lasts(one)]
            if self.waiting[name]:
                fault = self.waiting[name][0]
                fault.times -= fault.until is None
                return fault
        return None

    def _lasts(self, fault: Fault) -> bool:
        return fault.times > 0 if fault.until is None else self.clock.monotonic() < fault.until

    def clear(self) -> None:
        """End every fault."""
        self.waiting.clear()
