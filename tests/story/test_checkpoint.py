"""A checkpoint is signed beside everything else, and only who waits for its seal is woken."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.app import create
from bot.clock import SystemClock
from bot.demo.slack import SlackLookalike
from bot.domain.entries import Entry, IncidentClosed, IncidentOpened
from bot.ports import Append, Work, Write
from bot.store import checkpoints
from tests.story.site import settings, write_config

OPENED = IncidentOpened(model="fraud-scorer", environment="prod", tier=1, requester="U0ANA")
CLOSED = IncidentClosed(outcome="recovered", reason="It recovered.")
STORIES: dict[str, tuple[Entry, ...]] = {"incident/01OPEN": (OPENED,), "incident/01CLOSED": (OPENED, CLOSED)}


@pytest.mark.story
async def test_a_checkpoint_wakes_the_surfaces_of_what_is_over_and_of_nothing_else(tmp_path: Path) -> None:
    slack = SlackLookalike(SystemClock())
    write_config(tmp_path, "http://127.0.0.1:9/metrics")
    app = create(settings(tmp_path, slack), print_checkpoint=lambda _: None)  # never started, so what is due stays due
    try:
        for stream, entries in STORIES.items():
            for epoch, entry in enumerate(entries):
                await app.store.append(Append(writes=(Write(stream, (entry,), epoch),)))
        assert await app._checkpoint(Work("checkpoint", checkpoints.STREAM, SystemClock().now())) is not None
        (signed,) = await app.store.read(checkpoints.STREAM)
        assert signed.entry.heads.keys() >= STORIES.keys()  # type: ignore[attr-defined]  # what it signs
        due = await app.store.query("SELECT DISTINCT stream FROM work WHERE lane LIKE 'surface/%'")
        assert due == [("incident/01CLOSED",)]
    finally:
        app.store.close()
