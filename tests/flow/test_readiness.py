"""Whether a model could go back now is known before anybody needs it, and asking changes nothing."""

from __future__ import annotations

from datetime import timedelta

from adapters.traffic.memory import Fault
from bot.domain import entries as e
from bot.flow.readiness import EVERY, could_go_back, look
from tests.flow.corridor import STREAM, Corridor


async def test_a_model_with_a_good_version_could_go_back() -> None:
    here = Corridor()
    judged = await could_go_back(STREAM, here.world)
    assert (judged.ready, judged.to_version, judged.reason) == (True, "41", "Could go back 42 → 41 now.")
    assert [str(one) for one in judged.checks] == [
        "✓ every target answers (route)", "✓ 41 was seen to serve",
        "? preflight (route is a memory target: no real traffic moves.)", "? runbook reviewed (it does not say when)",
        "✓ people for rule both (4 could, 2 needed)", "? went back before (never proven)",
    ]  # fmt: skip


async def test_a_model_nobody_could_approve_a_rollback_of_is_not_ready() -> None:
    here = Corridor()
    here.people.groups["S0SRE"] = set()
    judged = await could_go_back(STREAM, here.world)
    assert (judged.ready, judged.reason) == (False, "Nobody could approve it: nobody holds sre.")


async def test_a_model_that_went_back_lately_is_known_to_be_able_to() -> None:
    here = Corridor()
    here.memory.put(
        STREAM,
        e.LockTaken(incident="incident/X", plan="p", rule="both", mode="approve", from_version="42", to_version="41"),
    )
    here.memory.put(STREAM, e.RollbackJudged(incident="incident/X", rules=("both",), verdict="yes"))
    here.memory.put(STREAM, e.LockReleased(incident="incident/X"))
    for days, mark in ((3, "✓"), (100, "✗")):
        here.clock.advance(timedelta(days=days).total_seconds())
        judged = await could_go_back(STREAM, here.world)
        assert any(str(one).startswith(f"{mark} went back before") for one in judged.checks), judged.checks


async def test_a_model_whose_good_version_is_quarantined_could_not_and_the_reason_says_so() -> None:
    here = Corridor()
    here.memory.put(STREAM, e.VersionQuarantined(version="41", incident="incident/X", reason="a finding."))
    judged = await could_go_back(STREAM, here.world)
    assert judged.ready is False
    assert judged.reason.startswith("No version can take over from 42 (41: quarantined: a finding")


async def test_nobody_can_tell_while_a_target_is_away() -> None:
    here = Corridor()
    here.targets["route"].faults.append(Fault.DOWN)
    judged = await could_go_back(STREAM, here.world)
    assert (judged.ready, judged.reason) == (None, "Cannot tell: a target did not answer. It is looked at again.")


async def test_asking_moves_nothing_and_opens_nothing() -> None:
    here = Corridor()
    await look(STREAM, here.world)
    assert here.shifts == 0
    assert set(here.memory.streams) == {STREAM}


async def test_the_answer_is_written_when_it_changes_and_not_again() -> None:
    here = Corridor()
    assert await look(STREAM, here.world) == here.clock.now() + EVERY
    await look(STREAM, here.world)
    assert here.types(STREAM).count("readiness.judged") == 1
    here.memory.put(STREAM, e.VersionQuarantined(version="41", incident="incident/X", reason="a finding."))
    here.clock.advance(timedelta(minutes=10).total_seconds())
    await look(STREAM, here.world)
    assert here.types(STREAM).count("readiness.judged") == 2
    known = (await here.world.ledger(STREAM)).readiness
    assert known is not None
    assert known.ready is False
