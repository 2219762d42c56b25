"""Breaking a copy: the entry is named, the real table is untouched, and before an incident nothing is claimed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.clock import ManualClock
from bot.demo.tamper import tampered, verified
from bot.ports import Append, Write
from bot.store.schema import migrate
from bot.store.timeline import Store
from tests.slack.stories import STORIES, STREAM


@pytest.fixture
async def database(tmp_path: Path, clock: ManualClock) -> Path:
    path = tmp_path / "timeline.db"
    migrate(f"sqlite:///{path}")
    store = Store(f"sqlite:///{path}", clock)
    await store.append(Append(writes=(Write(STREAM, tuple(STORIES["waiting-1"]), 0),)))
    store.close()
    return path


def test_an_untouched_chain_holds_and_the_entries_are_counted(database: Path) -> None:
    found = verified(database)
    assert found["ok"] is True
    assert found["sentence"] == "The chain holds. 4 of 4 entries in 1 streams match their digests."


def test_entry_three_is_changed_on_a_copy_and_named(database: Path) -> None:
    before = database.read_bytes()
    found = tampered(database, STREAM)
    assert (found["ok"], found["broken"]) == (False, 3)
    assert (
        "On a copy, entry 3 was dated back by one minute. Verification names it: the chain breaks at entry 3"
        in found["sentence"]
    )
    assert database.read_bytes() == before
    assert verified(database)["ok"] is True


def test_without_an_incident_nothing_is_changed_and_nothing_claimed(database: Path) -> None:
    assert tampered(database, None) == {
        "ok": True, "broken": None, "sentence": "There is no incident to tamper with yet."
    }  # fmt: skip
    assert tampered(database, "incident/unknown")["broken"] is None
