"""A running site keeps what is over no longer than its configuration says."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from ulid import ULID

from bot import retention
from bot.clock import ManualClock, SystemClock
from bot.domain.alert import RawRequest
from bot.domain.entries import IncidentClosed, IncidentOpened
from bot.ports import Append, InboundDone, Work, Write
from bot.report.facts import projected
from bot.store.timeline import Store
from tests.story.site import site

OLD = "incident/01OLD"


def kept_shortly(text: str, folder: Path) -> str:
    del folder
    return f"{text}\nretention: {{messages: 7d, incidents: 30d}}\n"


@pytest.mark.story
async def test_serve_erases_old_bodies_and_packs_old_incidents_by_itself(tmp_path: Path) -> None:
    long_ago = SystemClock().now() - timedelta(days=40)
    async with site(tmp_path, config=kept_shortly) as here:
        store, name = here.app.store, f"{str(ULID.from_datetime(long_ago))[:10]}{'0' * 16}"
        await store.receive(RawRequest(id=name, source="generic", received_at=long_ago, body=b'{"model": "frod"}'))
        await store.append(Append(inbound=(InboundDone(name, "accepted", "it names no model of ours"),)))
        async with Store(store.place.url, ManualClock(long_ago), project=projected) as then:
            opened = IncidentOpened(model="fraud-scorer", environment="prod", tier=1, requester="U0ANA")
            closed = IncidentClosed(outcome="recovered", reason="It recovered.")
            for epoch, entry in enumerate((opened, closed)):
                await then.append(Append(writes=(Write(OLD, (entry,), epoch),)))
        entries = await store.read(OLD)
        await store.wake([Work(retention.LANE, retention.STREAM, here.app.world.clock.now())])
        async with asyncio.timeout(20):
            while not await store.query("SELECT 1 FROM archive"):
                await asyncio.sleep(0.05)
        assert await store.request(name) is None
        assert await store.read(OLD) == entries
        again = await store.next(retention.LANE, retention.STREAM)
        assert again is not None
