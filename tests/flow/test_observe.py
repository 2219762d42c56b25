"""What serves is written down when it changed; a breach nobody alerted about is told, and ends by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from adapters.traffic.memory import Fault, Memory, MemoryConfig, MemoryWorld
from bot.clock import ManualClock
from bot.domain import entries as e
from bot.domain.alert import Kind, Severity
from bot.domain.catalogue import Catalogue
from bot.domain.incident import Incident, Phase
from bot.domain.model import Sli
from bot.domain.traffic import TargetState
from bot.flow.observe import EVERY, UNSEEN, Looks, observe
from bot.flow.world import World
from bot.ports import Context
from tests.flow.corridor import ALONE, MODEL, PLACE, STREAM, Corridor
from tests.flow.fakes import Intake

PROD = "model/prod/fraud-scorer"


class Told:
    """A log that keeps its warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def info(self, event: str, **facts: object) -> None:
        del event, facts

    def warning(self, event: str, **facts: object) -> None:
        self.warnings.append(f"{event} {facts.get('target')}")


class Watched:
    """A model with two targets, looked at through the flow's own world."""

    def __init__(self) -> None:
        self.intake, self.log = Intake(), Told()
        self.targets = {name: self._target(name) for name in ("route", "cache")}
        targets: Any = {("prod", "fraud-scorer", name): target for name, target in self.targets.items()}
        other: Any = {("staging", "ranker", "route"): self._target("elsewhere")}
        self.world: World = replace(self.intake.world, targets={**targets, **other}, log=self.log)

    def _target(self, name: str) -> Memory:
        def secret(_: str) -> None:
            return None

        context = Context(clock=self.intake.clock, name=name, log=self.log, secret=secret)
        return Memory(MemoryConfig(versions=("41", "42")), context, MemoryWorld(["41", "42"]))

    @property
    def served(self) -> list[tuple[str, str]]:
        entries = [row.entry for row in self.intake.memory.streams.get(PROD, [])]
        return [(entry.target, str(entry.split)) for entry in entries if isinstance(entry, e.VersionServed)]


async def test_the_first_look_writes_down_every_target_of_the_model_and_no_other() -> None:
    watched = Watched()
    again = await observe(PROD, watched.world)
    assert sorted(name for name, _ in watched.served) == ["cache", "route"]
    assert again - watched.intake.clock.now() == EVERY
    assert list(watched.intake.memory.streams) == [PROD]


async def test_only_what_changed_is_written_again() -> None:
    watched = Watched()
    await observe(PROD, watched.world)
    await observe(PROD, watched.world)
    watched.targets["route"].move({"41": 30, "42": 70})
    await observe(PROD, watched.world)
    assert len(watched.served) == 3
    name, split = watched.served[-1]
    assert name == "route"
    assert "30" in split


async def test_a_target_that_does_not_answer_is_said_and_the_others_are_still_seen() -> None:
    watched = Watched()
    watched.targets["cache"].faults.append(Fault.DOWN)
    await observe(PROD, watched.world)
    assert [name for name, _ in watched.served] == ["route"]
    assert watched.log.warnings == ["observe.unreadable cache"]


async def test_a_model_claimed_by_a_rollback_is_left_to_it() -> None:
    watched = Watched()
    watched.intake.memory.put(PROD, e.LockTaken(incident="incident/A", plan="p"))
    await observe(PROD, watched.world)
    assert watched.served == []


async def test_a_look_that_lost_a_race_is_taken_again_soon() -> None:
    watched = Watched()
    linked = e.IncidentLinked(incident="incident/A", version="42")
    watched.intake.memory.before_append = lambda: watched.intake.memory.put(PROD, linked)
    again = await observe(PROD, watched.world)
    assert watched.served == []
    assert (again - watched.intake.clock.now()).total_seconds() == pytest.approx(1)
    await observe(PROD, watched.world)
    assert len(watched.served) == 2


async def test_a_target_that_hangs_delays_neither_the_others_nor_the_next_look_for_ever() -> None:
    watched = Watched()
    watched.targets["cache"].__class__ = Hanging
    await passing(watched.intake.clock, observe(PROD, watched.world))
    assert [name for name, _ in watched.served] == ["route"]
    assert watched.log.warnings == ["observe.unreadable cache"]


class Hanging(Memory):
    """A target that never answers."""

    async def read(self) -> TargetState:
        await asyncio.Event().wait()
        raise AssertionError


async def passing(clock: ManualClock, work: Coroutine[Any, Any, datetime]) -> float:
    """Let time pass until something is done; give how many seconds that took."""
    began, done = clock.monotonic(), asyncio.ensure_future(work)
    while not done.done():
        await clock.run(0.5)
    await done
    return clock.monotonic() - began


# ── breaches nobody alerted about ─────────────────────────────────────────────────────────────────────────────────

BREACHED, GOOD = 0.12, 0.001


class Listening(Corridor):
    """The corridor's model, looked at every 30 s with what this process remembers."""

    def __init__(self, rules: Sequence[Mapping[str, Any]] = ALONE) -> None:
        super().__init__(rules)
        self.looks = Looks()

    async def look(self, *values: float | None, stream: str = STREAM) -> None:
        """Look once for each value, 30 s apart, and let the engine do what follows."""
        for value in values:
            self.meter.value = value
            again = await observe(stream, self.world, self.looks)
            assert again == self.clock.now() + EVERY
            for opened in self.opened:
                await self.turn(opened)
            self.clock.advance(EVERY.total_seconds())

    @property
    def opened(self) -> list[str]:
        return [name for name in self.memory.streams if name.startswith("incident/")]

    async def only(self) -> Incident:
        (stream,) = self.opened
        return await self.incident(stream)


async def test_three_breached_looks_in_a_row_open_an_incident_that_only_tells() -> None:
    here = Listening()
    began = here.clock.now()
    await here.look(BREACHED, BREACHED)
    assert here.opened == []
    await here.look(BREACHED)
    incident = await here.only()
    (alert,) = incident.firing
    assert (alert.source, alert.fingerprint) == ("lastgood", "lastgood:silent:prod/fraud-scorer/error_ratio")
    assert (alert.kind, alert.severity, alert.sli) == (Kind.ALERT, Severity.WARNING, "error_ratio")
    assert (alert.value, alert.threshold, alert.starts_at) == (BREACHED, 0.02, began)
    assert alert.summary == (
        "No alert came: error ratio 12\N{NO-BREAK SPACE}% of 500 requests, objective ≤ 2\N{NO-BREAK SPACE}%"
    )
    assert incident.decision is not None
    assert (incident.phase, incident.decision.facts["silent"], here.shifts) == (Phase.NOTED, True, 0)
    assert (await here.world.ledger(STREAM)).open_incident == incident.stream


@pytest.mark.parametrize("between", [GOOD, None])
async def test_a_look_that_is_good_or_cannot_tell_breaks_the_row(between: float | None) -> None:
    here = Listening()
    await here.look(BREACHED, BREACHED, between, BREACHED, BREACHED)
    assert here.opened == []
    await here.look(BREACHED)
    assert len(here.opened) == 1


async def test_a_stretch_in_which_nobody_looked_breaks_the_row() -> None:
    here = Listening()
    await here.look(BREACHED, BREACHED)
    here.clock.advance(UNSEEN.total_seconds())
    await here.look(BREACHED)
    assert here.opened == []


@pytest.mark.parametrize("requests", [0, None])
async def test_a_value_over_no_or_unknown_traffic_is_never_a_breach(requests: float | None) -> None:
    here = Listening()
    here.meter.requests = requests  # type: ignore[assignment]  # the source may not know
    await here.look(*[BREACHED] * 5)
    assert here.opened == []


async def test_a_breach_is_told_once_and_ends_after_three_good_looks_in_a_row() -> None:
    here = Listening()
    await here.look(*[BREACHED] * 10)
    stream = (await here.only()).stream
    assert "alerts.joined" not in here.types(stream)
    await here.look(GOOD, GOOD, None, GOOD, GOOD)
    assert (await here.only()).phase is Phase.NOTED
    await here.look(GOOD)
    incident = await here.only()
    assert incident.closed is not None
    assert incident.closed.outcome == "recovered_by_itself"
    assert [one.status for one in incident.alerts.values()] == ["resolved"]


async def test_a_breach_that_a_person_dismissed_is_not_told_again_until_it_was_good() -> None:
    here = Listening()
    await here.look(*[BREACHED] * 3)
    stream = (await here.only()).stream
    assert (await here.press("U0ANA", "dismiss", stream)).ok
    await here.look(*[BREACHED] * 4, None, *[BREACHED] * 4)
    assert (await here.only()).phase is Phase.CLOSED
    await here.look(GOOD, *[BREACHED] * 3)
    incident = await here.only()
    assert (incident.phase, incident.episode) == (Phase.NOTED, 2)


async def test_another_process_ends_what_this_one_told_and_does_not_tell_it_again() -> None:
    here = Listening()
    await here.look(*[BREACHED] * 3)
    here.restart()
    here.looks = Looks()
    await here.look(*[BREACHED] * 4)
    assert here.types((await here.only()).stream).count("alerts.joined") == 0
    await here.look(*[GOOD] * 3)
    assert (await here.only()).phase is Phase.CLOSED


async def test_a_real_alert_that_joins_makes_it_an_ordinary_incident() -> None:
    here = Listening()
    await here.look(*[BREACHED] * 3)
    stream = await here.fire("f1")
    assert stream == (await here.only()).stream
    await here.turn(stream)
    await here.look(GOOD, GOOD)
    assert here.shifts == 1  # the rule that acts alone acted


async def test_lastgoods_own_alert_ends_also_while_a_rollback_holds_the_model() -> None:
    here = Listening()
    await here.look(*[BREACHED] * 3)
    stream = (await here.only()).stream
    here.memory.put(STREAM, e.LockTaken(incident=stream, plan="p"))
    await here.look(*[GOOD] * 3)
    assert (await here.incident(stream)).firing == ()


async def test_a_model_whose_incident_somebody_else_opened_is_not_sampled() -> None:
    here = Listening(({"id": "sre", "require": [{"role": "sre"}]},))
    stream = await here.fire("f1", sli="latency_p99")
    await here.look(*[BREACHED] * 5)
    assert list((await here.incident(stream)).alerts) == ["f1"]
    assert here.looks.rows == {}


async def test_another_sli_joins_only_while_nobody_else_is_the_reason() -> None:
    here = Listening()
    two_slis(here)
    await here.look(*[BREACHED] * 3)
    incident = await here.only()
    assert sorted(one.sli or "" for one in incident.firing) == ["conversion", "error_ratio"]


def two_slis(here: Listening) -> None:
    files, own = here.world.catalogue, here.world.catalogue.models[MODEL]
    place = own.environments[PLACE]
    slis = {**place.slis, "conversion": Sli(source="meter", objective=0.5, good="above")}
    model = own.but(environments={PLACE: place.but(slis=slis)})
    here.world = replace(here.world, catalogue=Catalogue({MODEL: model}, files.policy, files.roles, files.runbooks))


async def test_an_alert_about_an_sli_that_is_no_longer_configured_ends() -> None:
    here = Listening()
    before = here.world
    two_slis(here)
    await here.look(*[BREACHED] * 3)
    here.world = replace(here.world, catalogue=before.catalogue)
    await here.look(BREACHED)
    assert [one.sli for one in (await here.only()).firing] == ["error_ratio"]


async def test_a_metric_nobody_can_read_is_said_once_and_opens_nothing() -> None:
    here = Listening()
    await here.look(*[None] * 6)
    assert here.opened == []
    said = [facts for event, facts in here.log.lines if event == "observe.sli_unknown"]
    assert [(one["sli"], one["reason"]) for one in said] == [("error_ratio", "error ratio unknown (nothing answers).")]


async def test_a_metric_that_hangs_costs_five_seconds_after_the_ledger_was_written() -> None:
    here = Listening()
    here.targets["route"].move({"41": 50, "42": 50})
    here.meter.hangs = True
    began = here.clock.now()
    assert await passing(here.clock, observe(STREAM, here.world, here.looks)) <= 6
    written = [row.at for row in here.memory.streams[STREAM] if "50" in row.entry.sentence()]
    assert written == [began]


async def test_a_model_whose_streams_never_rest_is_told_about_at_the_next_look() -> None:
    here = Listening()

    def restless() -> None:
        here.memory.put(STREAM, e.IncidentUnlinked(incident="incident/X", recovered=False))
        here.memory.before_append = restless

    await here.look(BREACHED, BREACHED)
    here.memory.before_append = restless
    await here.look(BREACHED)
    assert here.opened == []
    here.memory.before_append = None
    await here.look(BREACHED)
    assert len(here.opened) == 1


async def test_without_a_memory_of_looks_only_what_serves_is_looked_at() -> None:
    here = Listening()
    here.meter.value = BREACHED
    for _ in range(4):
        await observe(STREAM, here.world)
        here.clock.advance(30)
    assert here.opened == []


async def test_a_plan_that_waits_is_looked_at_as_soon_as_something_else_serves() -> None:
    here = Corridor()
    stream = await here.fire()
    await here.run(stream, until=Phase.WAITING)
    here.memory.work.clear()
    here.targets["route"].move({"41": 100, "42": 0})
    await observe(STREAM, here.world)
    assert [(one.lane, one.stream) for one in here.memory.work] == [("advance", stream)]


async def test_a_row_of_looks_goes_on_at_the_replica_that_looks_next() -> None:
    here = Corridor()
    here.meter.value = 0.5
    text = ""
    for _ in range(3):
        looks = Looks.heard(STREAM, text)
        await observe(STREAM, here.world, looks)
        text = looks.told(STREAM)
        here.clock.advance(30)
    row = Looks.heard(STREAM, text).row(STREAM, "error_ratio")
    assert (row.verdict, row.length, row.reached("breached")) == ("breached", 3, True)
    assert row.last == looks.row(STREAM, "error_ratio").last
    assert row.breached_since is not None
    assert Looks.heard(STREAM, "").rows == {}
