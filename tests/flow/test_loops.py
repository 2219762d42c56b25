"""RT22, RF15: whatever repeats, goes in a circle or has its cause elsewhere becomes a person's turn, and says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bot.domain import entries as e
from bot.domain.catalogue import Catalogue
from bot.domain.incident import Incident, Phase, model_stream
from bot.domain.model import Model
from bot.domain.policy import Policy
from bot.domain.traffic import TrafficSplit
from tests.flow.corridor import ALONE, MODEL, PLACE, STREAM, Corridor

NB = "\N{NO-BREAK SPACE}"
VERSIONS = tuple(str(n) for n in range(38, 50))
OTHER = "ranker"


def house(rules: Sequence[Mapping[str, Any]] = ALONE, versions: Sequence[str] = VERSIONS, **policy: Any) -> Corridor:
    """A model that rolls back alone, with versions still to come. 41 served well, 42 serves now."""
    here = Corridor(rules, versions=versions, **policy)
    here.targets["route"].move({"42": 100})
    return here


def release(here: Corridor, version: str, after: float = 0) -> None:
    """Let somebody deploy a version to everybody, and Lastgood see it serve for so many seconds."""
    here.targets["route"].move({version: 100})
    split = TrafficSplit(weights={one: Decimal(100 if one == version else 0) for one in here.versions})
    here.memory.put(STREAM, e.VersionServed(target="route", split=split))
    here.clock.advance(after)


def automatic(here: Corridor) -> list[tuple[datetime, e.LockTaken]]:
    """Give every rollback that nobody approved, and when."""
    rows = here.memory.streams[STREAM]
    return [(row.at, row.entry) for row in rows if isinstance(row.entry, e.LockTaken) and row.entry.mode == "auto"]


async def helped(here: Corridor, version: str = "42") -> str:
    """Let an alert lead to a rollback that helps, and its incident close."""
    here.meter.value = 0.001
    stream = await here.fire(version=version, starts_at=here.clock.now())
    assert (await here.run(stream, 120, until=Phase.RECOVERED)).phase is Phase.RECOVERED
    await here.resolve()
    assert (await here.run(stream, 120, until=Phase.CLOSED)).phase is Phase.CLOSED
    return stream


async def decided(here: Corridor, model: str = MODEL, **facts: Any) -> Incident:
    """Open an incident, let the policy decide, and give it as it is then."""
    stream = await here.fire(model=model, **facts)
    await here.turn(stream)
    return await here.incident(stream)


def reason(incident: Incident) -> str:
    assert incident.decision is not None
    return incident.decision.reason


# ── again and again ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_rf15_an_sli_that_flaps_for_a_day_leads_to_two_automatic_rollbacks_and_then_to_people() -> None:
    here = house()
    begun, latest, asked = here.clock.now(), 42, list[str]()
    while here.clock.now() - begun < timedelta(hours=24):
        serving = next(name for name in VERSIONS if here.targets["route"].split.share(name) > 0)
        if serving != str(latest):
            latest += 1
            release(here, str(latest))
        stream = await here.fire(version=str(latest))
        incident = await here.run(stream, 600, until=Phase.RECOVERED)
        if incident.phase is Phase.WAITING:
            asked.append(reason(incident))
        await here.resolve()
        await here.run(stream, 600, until=Phase.CLOSED)
        here.clock.advance(600)
    rolled = automatic(here)
    assert [one.from_version for _, one in rolled] == ["42", "43"]
    assert rolled[1][0] - rolled[0][0] >= timedelta(minutes=30)
    assert here.shifts == 2
    assert len(asked) > 40, "every other time people were asked"
    assert any(f"the limit of 2 automatic rollbacks in 24{NB}h (2 done)" in one for one in asked)
    assert all(" auto into approve. It needs sre." in one for one in asked)


async def test_rf15_an_alert_that_ends_and_begins_anew_three_times_is_left_to_people() -> None:
    here = house(({"id": "alone", "mode": "auto", "for": "5m"}, {"id": "else", "require": [{"role": "sre"}]}))
    for _ in range(4):
        stream = await here.fire()
        await here.turn(stream)
        here.clock.advance(60)
    incident = await here.run(stream, 600)
    assert (incident.phase, here.shifts) == (Phase.WAITING, 0)
    assert "a flapping alert" in reason(incident)


async def test_rt22_the_limit_of_a_day_is_the_policys_own() -> None:
    here = house(limits={"max_auto_per_day": 1, "cooldown": "0s"})
    await helped(here)
    release(here, "43", 3600)
    incident = await decided(here, version="43")
    assert (incident.phase, len(automatic(here))) == (Phase.WAITING, 1)
    assert f"the limit of 1 automatic rollback in 24{NB}h (1 done)" in reason(incident)


async def test_rt22_a_day_after_the_first_of_two_it_acts_alone_again() -> None:
    for seconds, rollbacks in ((-1, 1), (0, 2)):
        here = house(limits={"max_auto_per_day": 1})
        await helped(here)
        release(here, "43")
        over = automatic(here)[0][0] + timedelta(hours=24, seconds=seconds)
        here.clock.advance((over - here.clock.now()).total_seconds())
        await decided(here, version="43")
        assert len(automatic(here)) == rollbacks


@pytest.mark.parametrize(("second", "alone"), [(1799, False), (1800, True)])
async def test_rt22_the_cooldown_ends_to_the_second(second: int, *, alone: bool) -> None:
    here = house()
    await helped(here)
    release(here, "43")
    at = automatic(here)[0][0] + timedelta(seconds=second)
    here.clock.advance((at - here.clock.now()).total_seconds())
    incident = await decided(here, version="43")
    assert len(automatic(here)) == (2 if alone else 1)
    if not alone:
        assert incident.phase is Phase.WAITING
        assert f"the cooldown of 30{NB}min (last rollback 29{NB}min 59{NB}s ago)" in reason(incident)


async def test_rt22_a_rollback_people_approved_cools_down_too() -> None:
    here = house(({"id": "soon", "when": 'severity == "critical"', "mode": "auto"}, ALONE[1]))
    stream = await here.fire()
    await here.run(stream, until=Phase.WAITING)
    assert (await here.press("U0ANA", "approve", stream)).ok
    await here.run(stream, 120, until=Phase.RECOVERED)
    await here.resolve()
    await here.run(stream, 120, until=Phase.CLOSED)
    release(here, "43", 600)
    incident = await decided(here, version="43", severity="critical")
    assert (incident.phase, automatic(here)) == (Phase.WAITING, [])
    assert f"the cooldown of 30{NB}min" in reason(incident)


# ── in a circle ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_rt22_from_a_to_b_and_back_to_a_is_never_done_alone() -> None:
    here = house(versions=("41", "42"))
    for version in ("42", "41", "42"):  # 42 served well before, so nothing else speaks against going back to it
        release(here, version, 1200)
    here.meter.value = 0.5
    stream = await here.fire(version="42")
    assert (await here.run(stream, 120, until=Phase.STUCK)).phase is Phase.STUCK
    assert (await here.press("U0ANA", "give_up", stream)).ok
    here.clock.advance(7200)
    incident = await decided(here, version="41")
    assert incident.plan is not None
    assert (incident.plan.from_version, incident.plan.to_version) == ("41", "42")
    assert (incident.phase, len(automatic(here)), here.shifts) == (Phase.WAITING, 1, 1)
    assert reason(incident) == (
        f"Rule alone: tier 1 in prod. Would act alone, but a loop (the good version was rolled back from within 7{NB}d) "
        "turns auto into approve. It needs sre."
    )


async def test_rt22_a_version_that_was_rolled_back_from_is_never_gone_back_to_whoever_asks() -> None:
    here = house(versions=("41", "42"))
    old = await helped(here)
    why = f"42 is quarantined: rolled back in incident {old[-5:]}."
    here.clock.advance(7200)
    incident = await decided(here, version="41")
    assert incident.phase is Phase.STUCK, "nothing is left to go back to"
    told = await here.press("U0ANA", "choose", incident.stream, asked={"version": "42"})
    assert (told.ok, told.text) == (False, f"{why} No other version can be chosen. Nothing was changed.")
    await here.ask("U0ANA", "42")
    incident = await here.run(incident.stream, 5)
    assert (incident.phase, here.shifts) == (Phase.STUCK, 1)
    assert incident.blocked is not None
    assert [(one.version, one.chosen) for one in incident.candidates] == [("42", False)]


async def test_rt22_a_rollback_goes_to_the_newest_version_nobody_rolled_back_from() -> None:
    here = house(limits={"cooldown": "0s", "max_auto_per_day": 9})
    for version in ("42", "43", "44"):
        release(here, version, 1200)
        await helped(here, version)
        here.clock.advance(7200)
    gone = [(one.from_version, one.to_version) for _, one in automatic(here)]
    assert gone == [("42", "41"), ("43", "41"), ("44", "41")]


# ── it did not help ───────────────────────────────────────────────────────────────────────────────────────────────

CLIMBING = ({"id": "alone", "mode": "auto", "ladder": True}, ALONE[1])


async def test_rt22_each_rollback_that_does_not_help_takes_the_rule_a_rung_down_until_it_only_tells() -> None:
    here = house(CLIMBING, trust={"role": "boss", "start": "auto"}, limits={"cooldown": "0s"})
    here.meter.value = 0.5
    phases, streams = [], []
    for version in ("42", "43", "44"):
        release(here, version, 1200)
        incident = await decided(here, version=version)
        phases.append(incident.phase)
        if incident.phase is Phase.WAITING:
            assert "its rung approve on the trust ladder turns auto into approve" in reason(incident)
            assert (await here.press("U0ANA", "approve", incident.stream)).ok
        if incident.phase is not Phase.NOTED:
            assert (await here.run(incident.stream, 120, until=Phase.STUCK)).phase is Phase.STUCK
            assert (await here.press("U0ANA", "give_up", incident.stream)).ok
            streams.append(incident.stream)
        here.clock.advance(7200)
    assert phases[1:] == [Phase.WAITING, Phase.NOTED]
    moved = [(one.rule, one.rung) for one in here.entries(STREAM) if isinstance(one, e.TrustMoved)]
    assert moved == [("alone", "approve"), ("alone", "notify")]
    due = [one for one in here.entries("system/policy") if isinstance(one, e.PolicyReviewDue)]
    assert [one.incident for one in due] == streams
    assert due[0].reason == (
        f"The rollback of fraud-scorer 42 → 41 in prod did not help, incident {streams[0][-5:]}. Read rule alone again."
    )
    assert (len(automatic(here)), here.shifts) == (1, 2)


async def test_rt22_a_rollback_that_did_not_help_is_not_followed_by_another_one_alone() -> None:
    here = house()
    here.meter.value = 0.5
    stream = await here.fire()
    assert (await here.run(stream, 120, until=Phase.STUCK)).phase is Phase.STUCK
    for minute in range(24 * 6):
        await here.fire(f"more-{minute}")
        await here.run(stream, 600)
    assert ((await here.incident(stream)).phase, here.shifts) == (Phase.STUCK, 1)


# ── it is probably not the model ──────────────────────────────────────────────────────────────────────────────────


class Two(Corridor):
    """Two models, each behind a target of its own: one beside the other, or one before it."""

    def __init__(self, *, own: Sequence[str] = (), others: Sequence[str] = ()) -> None:
        """`own` and `others` are the consumers of each."""
        alone = {"id": "alone", "mode": "auto", "models": [MODEL]}
        super().__init__((alone, ALONE[1]), shared=True)
        files = self.world.catalogue
        models = {MODEL: self._described("route", own), OTHER: self._described("other", others)}
        self.world = replace(
            self.world,
            catalogue=Catalogue(models, Policy.model_validate(files.policy.model_dump()), files.roles, files.runbooks),
            targets={**self.world.targets, (PLACE, OTHER, "route"): self._target("route")},
        )
        self.clock.advance(7200)  # whatever changed did so long ago

    def _described(self, path: str, consumers: Sequence[str]) -> Model:
        target = {"adapter": "memory", "versions": list(self.versions), "path": path}
        place = {
            "targets": {"route": target},
            "slis": {"error_ratio": {"source": "meter", "objective": 0.02}},
        }
        return Model.model_validate({"tier": 1, "consumers": list(consumers), "environments": {PLACE: place}})


async def test_with_nothing_that_speaks_against_it_the_rule_acts_alone() -> None:
    here = Two(own=("checkout",), others=("checkout",))
    await decided(here)
    assert len(automatic(here)) == 1, "or nothing below shows anything"


async def test_an_alert_about_the_good_version_too_is_a_doubt_and_people_decide() -> None:
    here = Two()
    stream = await here.fire("f2", version="41", severity="warning")
    await here.fire("f1", version="42", starts_at=here.clock.now() + timedelta(seconds=1))
    await here.turn(stream)
    incident = await here.incident(stream)
    assert incident.decision is not None
    assert (incident.phase, here.shifts) == (Phase.WAITING, 0)
    assert incident.decision.doubt == "Probably not the model: an alert about the good version fires too."
    assert "a doubt about the cause turns auto into approve" in reason(incident)
    assert (await here.press("U0ANA", "approve", stream)).ok, "people may do it all the same"
    assert (await here.run(stream, 60, until=Phase.MOVED)).phase is Phase.MOVED


async def test_a_neighbour_in_trouble_is_a_doubt_until_it_is_well_again() -> None:
    here = Two(own=("checkout",), others=("checkout",))
    assert (await decided(here, OTHER)).phase is Phase.WAITING
    incident = await decided(here)
    assert incident.decision is not None
    assert (incident.phase, here.shifts) == (Phase.WAITING, 0)
    assert incident.decision.doubt == (
        "Probably not the model: another model with a consumer in common has an open incident."
    )
    for model in (OTHER, MODEL):
        await here.resolve(model)
        open_now = (await here.world.ledger(model_stream(PLACE, model))).open_incident
        assert open_now is not None
        await here.run(open_now, 60, until=Phase.CLOSED)
    here.clock.advance(3600)
    await decided(here)
    assert (len(automatic(here)), here.shifts) == (1, 1)


async def test_a_change_upstream_within_the_hour_is_a_doubt_and_later_it_is_none() -> None:
    for seconds, moved in ((3599, 0), (3600, 1)):
        here = Two(others=(MODEL,))
        split = TrafficSplit(weights={"41": Decimal(100), "42": Decimal(0)})
        here.memory.put(model_stream(PLACE, OTHER), e.VersionServed(target="route", split=split))
        here.clock.advance(seconds)
        incident = await decided(here)
        assert incident.decision is not None
        said = "Probably not the model: a change upstream came within the last hour."
        assert (len(automatic(here)), incident.decision.doubt) == (moved, "" if moved else said)


async def test_while_a_model_upstream_is_rolled_back_it_holds_and_then_people_decide_knowing_it() -> None:
    here = Two(others=(MODEL,))
    upstream = (await decided(here, OTHER)).stream
    assert (await here.press("U0ANA", "approve", upstream)).ok
    assert (await here.run(upstream, 60, until=Phase.MOVED)).phase is Phase.MOVED
    held = await decided(here)
    assert held.decision is not None
    assert (held.phase, held.decision.mode) == (Phase.PLANNED, "hold")
    assert "a model this one consumes is being rolled back" in {check.detail for check in held.decision.trace}
    assert "the rollback of a model this one consumes turns auto into hold" in reason(held)
    told = await here.press("U0ANA", "approve", held.stream)
    assert told.text == "No plan waits for approval now. Nothing was changed."
    await here.run(upstream, 60, until=Phase.RECOVERED)
    await here.resolve(OTHER)
    await here.run(upstream, 60, until=Phase.CLOSED)
    incident = await here.run(held.stream, 120, until=Phase.WAITING)
    assert incident.decision is not None
    assert (incident.phase, here.shifts) == (Phase.WAITING, 0)
    assert incident.decision.doubt == "Probably not the model: a change upstream came within the last hour."
    assert here.last(held.stream, e.PlanRequested).reason == "The hold ended and the plan may be old."


async def test_a_service_that_is_well_again_upstream_leaves_nothing_to_hold() -> None:
    here = Two(others=(MODEL,))
    upstream = (await decided(here, OTHER)).stream
    assert (await here.press("U0ANA", "approve", upstream)).ok
    await here.run(upstream, 60, until=Phase.MOVED)
    held = await decided(here)
    await here.resolve()
    closed = await here.run(held.stream, 120, until=Phase.CLOSED)
    assert closed.closed is not None
    assert (closed.closed.outcome, here.shifts) == ("recovered_by_itself", 0)
