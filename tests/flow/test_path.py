"""Every phase has a stage, every stage a deadline, and advance is safe to call again at any time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.errors import Conflict
from bot.flow.path import NEXT, advance
from bot.flow.world import Later, Step
from tests.flow.corridor import Corridor

NOTIFY = ({"id": "tell", "mode": "notify"},)
HOLD = ({"id": "hold", "mode": "hold"},)


async def walked(here: Corridor, stream: str, stop: Phase) -> list[tuple[Phase, object]]:
    """Take one stage at a time until the phase has given its first `Later`; people approve where they are asked."""
    seen: list[tuple[Phase, object]] = []
    world = here.world
    for _ in range(200):
        incident = await here.incident(stream)
        if incident.phase is Phase.CLOSED:
            return seen
        world = here.world.owned() if incident.in_flight is None else world
        outcome = await NEXT[incident.phase](incident, world)
        seen.append((incident.phase, outcome))
        if isinstance(outcome, Step):
            await here.world.append(incident, outcome)
            continue
        if incident.phase is stop:
            return seen
        if incident.phase is Phase.WAITING and not incident.votes:
            await here.approved(stream)
        elif isinstance(outcome, Later):
            here.clock.advance(max(0.1, (outcome.at - here.clock.now()).total_seconds()))
    raise AssertionError(f"never came to {stop}")


async def test_every_phase_has_a_stage_that_always_says_when_to_come_back() -> None:
    seen: list[tuple[Phase, object]] = []
    ill = Corridor()
    ill.meter.value = 0.5
    for here, stop in (
        (Corridor(), Phase.STUCK),
        (ill, Phase.STUCK),
        (Corridor(NOTIFY), Phase.NOTED),
        (Corridor(HOLD), Phase.PLANNED),
    ):
        start = here.clock.now()
        seen += await walked(here, await here.fire(), stop)
        late = [one.at for _, one in seen if isinstance(one, Later)]
        assert all(at <= start + timedelta(hours=25) for at in late)
    assert {phase for phase, _ in seen} == set(Phase) - {Phase.CLOSED} == set(NEXT)
    assert not [phase for phase, outcome in seen if outcome is None]


async def test_a_closed_incident_asks_for_nothing_more() -> None:
    here = Corridor(NOTIFY)
    stream = await here.fire()
    await here.turn(stream)
    await here.resolve()
    assert await advance(stream, here.world) is None


async def test_calling_it_again_and_again_changes_nothing() -> None:
    here = Corridor()
    stream = await here.fire()
    await here.turn(stream)
    before = here.types(stream)
    for _ in range(5):
        await advance(stream, here.world)
    assert here.types(stream) == before


async def test_many_calls_at_once_make_one_rollback() -> None:
    here = Corridor(targets=("eu", "us"))
    stream = await here.fire()
    await asyncio.gather(*(advance(stream, here.world) for _ in range(5)))
    assert here.types(stream).count("plan.made") == 1
    await here.approved(stream)
    for _ in range(40):
        await asyncio.gather(*(advance(stream, here.world) for _ in range(5)))
        here.clock.advance(1)
    assert here.shifts == 2
    assert here.types(stream).count("rollback.claimed") == 1


async def test_noise_that_commutes_never_makes_a_stage_start_over() -> None:
    here = Corridor()
    stream = await here.fire()
    for n in range(3):
        await here.fire(f"noise{n}")
        here.memory.before_append = lambda: asyncio.ensure_future(here.press("U0GIL", "approve", stream))
        await advance(stream, here.world)
    assert here.memory.conflicts == 0


async def test_what_lost_a_race_is_not_appended_again_but_judged_anew() -> None:
    here = Corridor()
    stream = await here.fire()
    await here.turn(stream)
    await here.approved(stream)
    old = here.memory.append
    refused: list[str] = []

    async def seen(append: object) -> object:
        try:
            return await old(append)  # type: ignore[arg-type]  # passed on as it came
        except Conflict:
            refused.extend(entry.type for w in append.writes for entry in w.entries)  # type: ignore[attr-defined]
            raise

    here.memory.append = seen  # type: ignore[assignment,method-assign]  # the other writer of the race
    plan = (await here.incident(stream)).plan
    assert plan is not None
    here.memory.before_append = lambda: here.memory.put(stream, e.PlanVoided(plan=plan.id, reason="The world moved."))
    await here.turn(stream)
    assert refused == ["plan.cleared"]
    assert "plan.cleared" not in here.types(stream)


async def test_a_process_whose_files_are_no_longer_in_force_neither_decides_nor_claims() -> None:
    here = Corridor()
    stream = await here.fire()
    here.memory.put("system/policy", e.PolicyLoaded(digest="other", generation=2))
    await here.turn(stream)
    assert (await here.world.incident(stream)).phase is Phase.PLANNED
    here.world = replace(here.world, generation=1)
    await here.turn(stream)
    assert (await here.world.incident(stream)).phase is Phase.WAITING
