"""What is particular to the fake: it says that it is one, everywhere, and counts honestly across processes that die."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.testing import context
from adapters.traffic.memory import LOOK, Fault, Held, Memory, MemoryConfig, MemoryWorld
from bot.domain.traffic import Intent, Outcome, TargetPlan, TrafficSplit
from bot.errors import Unavailable


def memory(**keys: Any) -> Memory:
    return Memory(MemoryConfig.model_validate({"versions": ("41", "42"), **keys}), context())


async def planned(target: Memory) -> TargetPlan:
    state = await target.read()
    intent = Intent(
        to_split=state.split.moved("42", "41"), bad="42", good="41", reason="test", incident_id="i", idempotency_key="i/1"
    )  # fmt: skip
    return await target.plan(intent, state)


async def test_it_says_that_it_is_a_fake_wherever_a_person_looks() -> None:
    target = memory()
    plan = await planned(target)
    await target.apply(plan)
    look = await target.verify(plan, await target.reading())
    assert Memory.capabilities.level == "fake"
    assert [one.message for one in await target.preflight()] == ["route is a memory target: no real traffic moves."]
    assert look.detail == f"Version 42 gets 0 of {LOOK} made-up requests; its counter stopped at 0."


@pytest.mark.parametrize(
    ("fault", "outcome", "moves"),
    [
        (Fault.CONFLICT, Outcome.CONFLICT, False),
        (Fault.LOSE, Outcome.INDETERMINATE, True),
        (Fault.LIE, Outcome.APPLIED, False),
    ],
)
async def test_each_fault_does_what_its_name_says_once(fault: Fault, outcome: Outcome, *, moves: bool) -> None:
    target = memory()
    plan = await planned(target)
    target.faults.append(fault)
    assert (await target.apply(plan)).outcome is outcome
    assert target.split.same(plan.to_split) is moves
    assert target.faults == []
    assert (await target.apply(plan)).outcome is (Outcome.NOOP if moves else Outcome.APPLIED)


async def test_a_write_that_moved_half_is_seen_half() -> None:
    target = memory()
    plan = await planned(target)
    target.faults.append(Fault.PARTIAL)
    assert (await target.apply(plan)).outcome is Outcome.INDETERMINATE
    assert target.split.share("42") == 50


async def test_counters_that_restart_cannot_tell() -> None:
    target = memory()
    plan = await planned(target)
    await target.apply(plan)
    baseline = await target.reading()
    target.world.restart()
    look = await target.verify(plan, baseline)
    assert (look.data_plane, look.upper_bound_bad) == ("inconclusive", None)


# ── in a file ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_two_processes_see_one_target_and_one_shift(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    first, second = memory(path=str(path)), memory(path=str(path))
    plan = await planned(first)
    outcomes = [(await one.apply(plan)).outcome for one in (first, second)]
    assert outcomes == [Outcome.APPLIED, Outcome.NOOP]
    assert second.shifts == 1
    assert Path(f"{path}.effects").read_text() == "1 42 0\u00a0%, 41 100\u00a0%\n"


def test_a_shift_whose_line_a_kill_kept_from_being_written_is_noted_by_whoever_looks_next(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    world = MemoryWorld(["41", "42"], path=str(path))
    world.change(lambda held: held.moved(TrafficSplit(weights={"41": Decimal(100), "42": Decimal(0)})), effect=True)
    Path(f"{path}.effects").write_text("")  # as if it had died between the two writes
    assert MemoryWorld(["41", "42"], path=str(path)).held.shifts == 1
    assert len(Path(f"{path}.effects").read_text().splitlines()) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"split": 5}'])
async def test_a_file_that_holds_no_target_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(content)
    with pytest.raises(Unavailable, match="holds no memory target; take it away"):
        await memory(path=str(path)).read()
    assert path.read_text() == content


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"cannot be used: No such file or directory\."):
        await memory(path=str(tmp_path / "gone" / "split.json")).read()


# ── the configuration ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("serving", "message"),
    [
        ({"43": 100}, "serving names 43, which is no version of this target"),
        ({"41": 50}, "must be at least 0 and sum to 100"),
        ({"41": 120, "42": -20}, "must be at least 0 and sum to 100"),
    ],
)
def test_a_start_that_is_no_split_is_refused_at_the_start(serving: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MemoryConfig.model_validate({"versions": ["41", "42"], "serving": serving})


@given(st.integers(0, 100), st.integers(0, 10_000))
def test_made_up_requests_follow_the_split(share: int, requests: int) -> None:
    split = TrafficSplit(weights={"41": Decimal(100 - share), "42": Decimal(share)})
    held = Held(split=split, requests={"41": 0, "42": 0}, epoch="a").served(requests)
    assert requests - 1 <= sum(held.requests.values()) <= requests
    assert (held.requests["42"] == 0) is (share * requests < 100)
