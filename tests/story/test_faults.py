"""A whole site whose disk refuses, whose file is held by another process, or whose backup is put back in the middle."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.store.verify import verify
from bot.store.writer import Writer
from tests.story.site import Site, site

pytestmark = pytest.mark.story


def refusing(here: Site, *, on: bool) -> None:
    """Let SQLite refuse every write of the site, as on a disk mounted read-only, or take them again."""
    writer = here.app.store._writer
    assert isinstance(writer, Writer)
    assert writer._connection is not None
    writer._connection.execute(f"PRAGMA query_only={int(on)}")


async def ready(here: Site) -> tuple[int, bool]:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{here.app.port}/readyz") as answer:
        return answer.status, (await answer.json())["checks"]["timeline"]


async def approved(here: Site) -> None:
    for user in ("U0ANA", "U0PRIYA"):
        await here.slack.click(user, "approve")


async def moved(here: Site) -> None:
    """Let people press, as soon as there is a card, until traffic is moved."""
    async with asyncio.timeout(60):
        while not here.effects():
            await approved(here)
            await asyncio.sleep(0.5)


async def once(here: Site) -> None:
    """The rollback went its whole way, once."""
    incident = await here.until(Phase.MOVED, Phase.RECOVERED, Phase.CLOSED)
    assert len(here.effects()) == 1
    entries = [row.entry for row in await here.app.store.read(incident.stream)]
    assert [type(one) for one in entries].count(e.RollbackClaimed) == 1
    assert await asyncio.to_thread(verify, here.app.store.path)


async def test_RF6_a_disk_that_refuses_stops_new_effects_turns_ready_red_and_loses_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.alert()
        await here.until(Phase.WAITING)
        await here.card_shows("fraud-scorer")
        refusing(here, on=True)
        assert await ready(here) == (503, False)
        assert await here.alert(fingerprint="f2") == 503  # its sender will send it again
        await approved(here)
        await asyncio.sleep(1.5)
        assert here.effects() == []
        refusing(here, on=False)
        assert await ready(here) == (200, True)
        assert await here.alert(fingerprint="f2") == 202
        await moved(here)
        await once(here)


async def test_RF6_a_file_another_process_holds_costs_time_and_nothing_else(tmp_path: Path) -> None:
    async with site(tmp_path, mode="auto") as here:
        await here.released()
        with closing(sqlite3.connect(tmp_path / "t.db", isolation_level=None, timeout=5)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await ready(here) == (503, False)
            assert await here.alert() == 503
            other.execute("ROLLBACK")
        async with asyncio.timeout(30):
            while await here.alert() != 202:
                await asyncio.sleep(0.2)
        await once(here)


async def test_RF11_after_an_old_backup_is_put_back_what_was_done_is_looked_up_and_not_done_again(
    tmp_path: Path,
) -> None:
    """The backup is from before the claim: the rollback it knows nothing of has moved the traffic since."""
    async with site(tmp_path) as here:
        await here.alert()
        await here.until(Phase.WAITING)
        with (
            closing(sqlite3.connect(tmp_path / "t.db")) as source,
            closing(sqlite3.connect(tmp_path / "old.db")) as copy,
        ):
            source.backup(copy)
        await moved(here)
        await here.until(Phase.MOVED, Phase.RECOVERED, Phase.CLOSED)
        assert len(here.effects()) == 1
    for beside in tmp_path.glob("t.db-*"):
        beside.unlink()
    shutil.copy(tmp_path / "old.db", tmp_path / "t.db")
    async with site(tmp_path) as here:
        await here.until(Phase.STUCK, Phase.NOTED, Phase.CLOSED)
        await asyncio.sleep(2)
        assert len(here.effects()) == 1
    assert verify(tmp_path / "t.db").ok
