"""Recorded histories: what older code wrote is read by this code, and gives the state it gave then.

A story that is new, or whose recording was taken away, is recorded by `LASTGOOD_GOLDEN=1`; a recording is never changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.traffic.memory import Fault
from bot.domain import entries as e
from bot.domain import incident as incidents
from bot.domain import ledger as ledgers
from bot.domain.incident import Phase
from tests.flow.corridor import ALONE, BOTH, STREAM, Corridor
from tests.flow.test_preflight import COHORTS
from tests.flow.test_steps import BY_VERSION, KINDS, RAMP, flowing, rolled, stuck_at

FOLDER = Path(__file__).parent / "histories"


async def approved_and_recovered() -> tuple[Corridor, str]:
    here = Corridor(BOTH)
    stream = await here.fire()
    await here.turn(stream)
    await here.approved(stream)
    await flowing(here, stream)
    return here, stream


async def ramp_of_every_kind() -> tuple[Corridor, str]:
    here = Corridor(ALONE, steps=[{"warm": "heat"}, *RAMP, {"tell": "purge"}], place={**KINDS["place"], **BY_VERSION})
    return here, (await rolled(here)).stream


async def three_steps_put_back() -> tuple[Corridor, str]:
    here = Corridor(ALONE, targets=("eu", "us", "ap"), on_failure="compensate")
    return here, (await stuck_at(here, "ap")).stream


async def skipped_and_closed_unproven() -> tuple[Corridor, str]:
    here = Corridor(ALONE, targets=("eu", "us", "ap"), on_failure="stop")
    incident = await stuck_at(here, "us")
    await here.press("U0ANA", "skip", incident.stream)
    await flowing(here, incident.stream)
    return here, incident.stream


async def paused_resumed_graded_and_fixed() -> tuple[Corridor, str]:
    here = Corridor(ALONE, targets=("eu", "us"))
    incident = await rolled(here, until=Phase.APPLIED)
    await here.press("U0ANA", "pause", incident.stream)
    await flowing(here, incident.stream, 30)
    await here.press("U0TOM", "resume", incident.stream)
    await flowing(here, incident.stream)
    await here.press("U0ANA", "grade", incident.stream, asked={"grade": "helped"})
    await here.press("U0ANA", "fix", incident.stream, asked={"version": "43"})
    return here, incident.stream


async def lost_answer_and_one_cohort_ill() -> tuple[Corridor, str]:
    here = Corridor(ALONE, place=COHORTS)
    here.targets["route"].faults.append(Fault.LOSE)
    here.meter.values["cohort=us"] = 0.3
    return here, (await rolled(here)).stream


STORIES: dict[str, Callable[[], Awaitable[tuple[Corridor, str]]]] = {
    one.__name__: one
    for one in (
        approved_and_recovered, ramp_of_every_kind, three_steps_put_back, skipped_and_closed_unproven,
        paused_resumed_graded_and_fixed, lost_answer_and_one_cohort_ill,
    )
}  # fmt: skip


OLD = ("skipped_and_closed",)  # recorded by earlier code and told otherwise since; what it gave, it still gives


def state(own: list[e.Recorded], model: list[e.Recorded]) -> dict[str, Any]:
    """What people and stages go by."""
    one, ledger = incidents.fold(own), ledgers.fold(STREAM, model)
    return {
        "phase": one.phase.value, "verdicts": one.verdicts, "steps": {name: step.state for name, step in one.steps.items()},
        "plan": [step.name for step in one.plan.steps] if one.plan else None, "votes": [vote.person for vote in one.votes],
        "stuck": one.stuck_reason, "paused": one.paused_by, "grade": one.grade.grade if one.grade else None,
        "fix": one.fix.version if one.fix else None, "closed": one.closed.outcome if one.closed else None,
        "good_samples": sum(all(s.verdict == "good" for s in taken.samples) for _, taken in one.samples),
        "serving": list(ledger.serving()), "quarantined": sorted(ledger.quarantined), "lock": ledger.lock,
        "open": ledger.open_incident is not None, "rollbacks": len(ledger.rollbacks),
    }  # fmt: skip


def line(row: e.Recorded) -> dict[str, Any]:
    body = row.entry.model_dump(mode="json")
    return {"stream": row.stream, "version": row.version, "epoch": row.epoch, "at": row.at.isoformat(), "type": row.entry.type, "number": row.entry.number, "body": body}  # fmt: skip


def back(row: dict[str, Any]) -> e.Recorded:
    entry = e.decode(row["type"], row["number"], row["body"])
    return e.Recorded(0, row["stream"], row["version"], row["epoch"], datetime.fromisoformat(row["at"]), entry, "", "")


@pytest.mark.parametrize("name", [*STORIES, *OLD])
async def test_a_recorded_history_still_gives_the_state_it_gave(name: str) -> None:
    path = FOLDER / f"{name}.json"
    if os.environ.get("LASTGOOD_GOLDEN") and not path.exists():
        here, stream = await STORIES[name]()
        own, model = await here.memory.read(stream), await here.memory.read(STREAM)
        held = {
            "state": state(own, model),
            "incident": [line(row) for row in own],
            "model": [line(row) for row in model],
        }
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    held = json.loads(path.read_text(encoding="utf-8"))
    assert state([back(row) for row in held["incident"]], [back(row) for row in held["model"]]) == held["state"]


@pytest.mark.parametrize("name", STORIES)
async def test_the_story_of_a_recording_is_still_told_with_the_same_entries(name: str) -> None:
    held = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    here, stream = await STORIES[name]()
    assert here.types(stream) == [row["type"] for row in held["incident"]], "a golden timeline"
    assert state(await here.memory.read(stream), await here.memory.read(STREAM)) == held["state"]


def test_no_recording_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {*STORIES, *OLD}
