"""Bits that flip in the file: noticed, or without effect on any entry."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bot.clock import ManualClock
from bot.domain.entries import PolicyLoaded
from bot.errors import LastgoodError, ReadOnly
from bot.ports import Append, Work, Write
from bot.store import checkpoints
from bot.store.place import place_of
from bot.store.schema import migrate
from bot.store.timeline import Store
from bot.store.verify import verify

pytestmark = pytest.mark.of_files
KEY = checkpoints.load_key("11" * 32, place_of("x.db"))
FLIPS = 300


async def filled(path: Path, entries: int = 120) -> None:
    migrate(f"sqlite:///{path}")
    async with Store(f"sqlite:///{path}", ManualClock()) as store:
        for number in range(entries):
            fact = PolicyLoaded(digest=f"{number:064x}", generation=number)
            stream = f"incident/{number % 7}"
            await store.append(
                Append(
                    writes=(Write(stream, (fact,), number // 7),), work=(Work("advance", stream, ManualClock().now()),)
                )
            )
        await checkpoints.sign(store, KEY)


def rows(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM timeline NOT INDEXED ORDER BY seq").fetchall()


async def outcome(path: Path, before: list[tuple[object, ...]]) -> str:
    """Say how a flip came out: refused, found by the check of the file, found in the chain, or without effect."""
    try:
        report = verify(path, public_key=checkpoints.public(KEY))
        async with Store(f"sqlite:///{path}", ManualClock()) as store:
            damaged = await store.check()
    except LastgoodError:
        return "refused"
    if not report.ok:
        return "chain"
    if damaged:
        return "check"
    return "no effect" if rows(path) == before else "UNNOTICED"


async def test_RF11_a_bit_that_flips_is_noticed_or_changes_no_entry(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    site, copy = tmp_path / "site.db", tmp_path / "copy.db"
    await filled(site)
    whole, before, chance = site.read_bytes(), rows(site), random.Random(11)  # noqa: S311  a choice of bits
    ends: Counter[str] = Counter()
    for _ in range(FLIPS):
        at, bit = chance.randrange(len(whole)), chance.randrange(8)
        copy.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
        ends[await outcome(copy, before)] += 1
        for beside in tmp_path.glob("copy.db-*"):
            beside.unlink()
    tell(f"{FLIPS} flips: {dict(ends)}")
    assert ends["UNNOTICED"] == 0
    assert ends["chain"] + ends["check"] + ends["refused"] > 50


async def test_a_damaged_file_is_read_and_written_no_more(tmp_path: Path) -> None:
    site = tmp_path / "site.db"
    await filled(site)
    whole = site.read_bytes()
    page = whole.rfind(b"incident_open")  # somewhere in the description of the tables; the pages after it hold them
    size = int.from_bytes(whole[16:18], "big")
    with closing(sqlite3.connect(site)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name='work'").fetchone()
    assert page > 0
    start = (root - 1) * size
    site.write_bytes(whole[:start] + b"\xff" * 64 + whole[start + 64 :])
    async with Store(f"sqlite:///{site}", ManualClock()) as store:
        assert "is damaged" in await store.check()
        with pytest.raises(ReadOnly, match="put a backup in its place"):
            await store.append(Append(writes=(Write("incident/9", (PolicyLoaded(digest="a", generation=1),), 0),)))
        assert not await store.writable()
        assert len(await store.read("incident/0")) == 18
