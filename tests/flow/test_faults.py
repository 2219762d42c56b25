"""A timeline that cannot be written and a clock that jumps, at every point of a rollback: no record, no effect, nothing lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest

from bot.domain import entries as e
from bot.domain.incident import Incident, Phase
from bot.errors import Conflict, LastgoodError, ReadOnly
from bot.flow.path import advance
from bot.flow.world import Folds
from bot.ports import Append
from tests.flow.corridor import Corridor

THREE = ("a", "b", "c")
JUMPS = {"an hour on": 3600, "an hour back": -3600, "a day back": -86_400, "a week on": 7 * 86_400}


class Failing:
    """The timeline of a corridor; from the `first` append on, `many` of them fail: before they are written, or after."""

    def __init__(self, memory: Any, first: int, many: int, error: type[LastgoodError], *, written: bool) -> None:
        self._memory, self._error, self._written = memory, error, written
        self._failing = range(first, first + many)
        self.appends = 0
        self.down = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory, name)

    async def append(self, append: Append) -> list[e.Recorded]:
        self.appends += 1
        self.down = self.appends in self._failing
        if self.down and not self._written:
            raise self._error("The disk is full.")
        done: list[e.Recorded] = await self._memory.append(append)
        if self.down:
            raise self._error("Nobody can say whether it stands.")
        return done


class Jumping:
    """The clock of a machine whose time somebody sets."""

    def __init__(self, here: Corridor) -> None:
        self._clock, self.offset = here.clock, timedelta()
        everywhere: Any = self
        here.memory.clock = here.people.clock = here.meter.clock = everywhere
        here.world = replace(here.world, clock=everywhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)

    def now(self) -> datetime:
        return self._clock.now() + self.offset


def corridor(first: int, many: int, error: type[LastgoodError], *, written: bool) -> tuple[Corridor, Failing]:
    here = Corridor(targets=THREE, steps=[{"target": name} for name in THREE])
    failing = Failing(here.memory, first, many, error, written=written)
    here.world = replace(here.world, timeline=failing, folds=Folds(failing))
    return here, failing


async def play(
    here: Corridor,
    *,
    calm: Callable[[], bool] = lambda: True,
    meanwhile: Callable[[Incident], None] = lambda _: None,
    seconds: float = 1800,
) -> Incident:
    """Play to the end as people and the engine would, trying again whatever cannot be written."""
    stream = await here.fire()
    end = here.clock.monotonic() + seconds
    while here.clock.monotonic() < end:
        shifts, down = here.shifts, not calm()
        try:
            again = await turn(here, stream)
        except LastgoodError:
            again = None
        if down and not calm():
            assert here.shifts == shifts, "an effect while nothing could be recorded"
        incident = await here.incident(stream)
        meanwhile(incident)
        if incident.phase in (Phase.CLOSED, Phase.STUCK):
            return incident
        await people(here, incident)
        wait = (again - here.world.clock.now()).total_seconds() if again else 1.0
        here.clock.advance(min(max(wait, 0.1), 30))
    raise AssertionError(f"stands at {(await here.incident(stream)).phase}")


async def turn(here: Corridor, stream: str) -> datetime | None:
    """Let the engine advance until it has to wait, by the clock the world sees."""
    while (again := await advance(stream, here.world)) is not None:
        if again > here.world.clock.now():
            return again
    return None


async def people(here: Corridor, incident: Incident) -> None:
    try:
        if incident.phase is Phase.WAITING:
            for person in ("U0ANA", "U0PRIYA"):
                await here.press(person, "approve", incident.stream)
        elif incident.phase is Phase.RECOVERED:
            await here.resolve()
    except LastgoodError:
        return  # they press again


def held_to(here: Corridor, incident: Incident) -> None:
    """Every effect had its intent first and one outcome after, and each target was moved once."""
    entries = here.entries(incident.stream)
    intents = [(one.step, one.attempt) for one in entries if isinstance(one, e.StepStarted)]
    ends = [(one.step, one.attempt) for one in entries if isinstance(one, e.StepApplied | e.StepFailed | e.StepUnknown)]
    assert len(set(intents)) == len(intents)
    assert {step for step, _ in ends} <= {step for step, _ in intents}
    assert here.shifts <= len(intents)
    assert {name: target.shifts for name, target in here.targets.items()} == dict.fromkeys(THREE, 1)


async def appends_of_a_rollback() -> int:
    here, failing = corridor(0, 0, ReadOnly, written=False)
    assert (await play(here)).phase is Phase.CLOSED
    return failing.appends


@pytest.mark.parametrize("many", [1, 4])
async def test_RF6_a_disk_that_is_full_at_any_append_costs_time_and_nothing_else(
    many: int, tell: Callable[[str], None]
) -> None:
    appends = await appends_of_a_rollback()
    assert appends > 15
    for first in range(1, appends + 1):
        here, failing = corridor(first, many, ReadOnly, written=False)
        incident = await play(here, calm=lambda failing=failing: not failing.down)  # type: ignore[misc]
        assert incident.phase is Phase.CLOSED, f"append {first}: {incident.stuck_reason}"
        held_to(here, incident)
    tell(f"the disk was full at each of {appends} appends, {many} in a row")


async def test_RF5_an_append_that_stands_though_nobody_heard_so_is_read_and_not_repeated() -> None:
    for first in range(1, await appends_of_a_rollback() + 1):
        here, _ = corridor(first, 1, Conflict, written=True)
        incident = await play(here)
        assert incident.phase is Phase.CLOSED, f"append {first}: {incident.stuck_reason}"
        held_to(here, incident)
        claims = [one for one in here.entries(incident.stream) if isinstance(one, e.RollbackClaimed)]
        assert len(claims) == 1, f"append {first}"


@pytest.mark.parametrize("jump", JUMPS)
async def test_RF7_a_clock_that_jumps_at_any_wait_ends_in_a_state_with_a_reason(jump: str) -> None:
    """The jump comes once, at the n-th look; whatever was waited for, nobody's approval is made up and nothing runs twice."""
    n = 0
    while True:
        here, looks = Corridor(targets=THREE, steps=[{"target": name} for name in THREE]), count()
        clock = Jumping(here)

        def meanwhile(_: Incident, clock: Jumping = clock, looks: Iterator[int] = looks, n: int = n) -> None:
            if next(looks) == n:
                clock.offset = timedelta(seconds=JUMPS[jump])

        incident = await play(here, meanwhile=meanwhile, seconds=14 * 86_400)
        if not clock.offset:
            break
        assert incident.phase in (Phase.CLOSED, Phase.STUCK), f"look {n}"
        assert incident.phase is Phase.CLOSED or incident.stuck_reason, f"look {n}"
        assert all(target.shifts <= 1 for target in here.targets.values()), f"look {n}"
        entries = here.entries(incident.stream)
        claims = [at for at, one in enumerate(entries) if isinstance(one, e.RollbackClaimed)]
        for at in claims:
            voters = {one.person for one in entries[:at] if isinstance(one, e.ApprovalGiven)}
            assert voters == {"U0ANA", "U0PRIYA"}, f"look {n}"
        n += 1
    assert n > 5
