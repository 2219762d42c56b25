"""The straight path: from phase to stage. Read this first.

`advance` folds a stream, runs the stage of its phase, appends what the stage gives, and repeats until a person or a
clock is needed. It is level-triggered: calling it again, at any time, from any process, is safe.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from bot.domain.incident import Incident, Phase
from bot.errors import Conflict
from bot.flow.approve import wait
from bot.flow.close import close, note, stuck
from bot.flow.decide import decide
from bot.flow.plan import plan
from bot.flow.recover import recover
from bot.flow.rollback import claim, roll_back
from bot.flow.verify import verify
from bot.flow.world import Later, Outcome, World
from bot.ports import Clock

Stage = Callable[[Incident, World], Awaitable[Outcome]]

NEXT: dict[Phase, Stage] = {
    Phase.OPENED: plan,  # read targets, choose a concrete last-good version, preflight, content-hash the plan
    Phase.PLANNED: decide,  # policy: auto / approve / notify / hold, always with a reason
    Phase.WAITING: wait,  # people act (flow/approve.py); the clock reminds, expires; a moved world voids
    Phase.CLEARED: claim,  # re-check everything fresh; lock model and resources; intent with what was there before
    Phase.ROLLING: roll_back,  # next step in dependency order (or compensate)
    Phase.APPLIED: verify,  # accepted; is traffic proven to have moved?
    Phase.MOVED: recover,  # have the SLIs recovered?
    Phase.RECOVERED: close,  # watch, draft the postmortem, close
    Phase.NOTED: note,  # people; closes by itself after a day
    Phase.STUCK: stuck,  # people; escalates and re-arms, never closes a rollback by itself
}  # CLOSED is the end


JUDGED = (Phase.PLANNED, Phase.CLEARED)  # where policy speaks: only a process with the files in force goes on from here
STALE = timedelta(seconds=5)


async def advance(stream: str, world: World) -> datetime | None:
    """Take an incident as far as it goes now; give when to look again, None when only a new entry can matter."""
    world = replace(world.owned(), clock=_Steady(world.clock))
    incident = await world.incident(stream)
    while True:
        if incident.phase in JUDGED and not await world.current():
            return world.clock.now() + STALE
        stage = NEXT.get(incident.phase)
        outcome = await stage(incident, world) if stage else None
        if outcome is None:
            return None
        if isinstance(outcome, Later):
            return outcome.at
        try:
            recorded = await world.append(incident, outcome)
        except Conflict:
            if outcome.yields:
                world = replace(world, owner="")  # the effect was sent: it is read from here on, never sent again
            incident = await world.incident(stream)  # the world moved on: fold the tail and look again
            continue
        if outcome.yields:
            return world.clock.now()
        # Once it holds its locks every look is fresh, so that a Cancel is seen before the next effect.
        known = world.folds.after(incident, recorded) if incident.claim is None else None
        incident = known or await world.incident(stream)


class _Steady:
    """The time within one advance call: it never goes back, so a clock that is set back never makes an effect late."""

    def __init__(self, clock: Clock) -> None:
        """Begin now."""
        self._clock, self._began, self._mark = clock, clock.now(), clock.monotonic()

    def now(self) -> datetime:
        """Give the later of what the clock says and what has passed since the beginning."""
        return max(self._clock.now(), self._began + timedelta(seconds=self.monotonic() - self._mark))

    def monotonic(self) -> float:
        """Give seconds that never go back."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._clock.sleep(seconds)
