"""What the timeline's writer costs over raw SQLite with the same batch sizes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

from figures import Figure
from place import Place

from bot.clock import SystemClock
from bot.domain.entries import NoteAdded
from bot.ports import Append, Write
from bot.report.facts import projected
from bot.store.schema import migrate
from bot.store.timeline import Store
from bot.store.writer import Writer

BATCH, CALLERS = 100, 64
TABLE = (
    "CREATE TABLE IF NOT EXISTS t(seq INTEGER PRIMARY KEY, stream TEXT, version INTEGER, epoch INTEGER, at TEXT, type TEXT, number INTEGER,"
    " body TEXT, prev TEXT, digest TEXT)"
)
INSERT = "INSERT INTO t(stream,version,epoch,at,type,number,body,prev,digest) VALUES(?,?,?,?,?,?,?,?,?)"
ROW = (
    "bench/0",
    1,
    1,
    "2026-11-23T02:00:00.000000Z",
    "note.added",
    1,
    '{"person":"U0ANA","text_ref":"0"}',
    "0" * 64,
    "1" * 64,
)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(TABLE)
    return connection


def _raw(path: Path, batch: int, commits: int) -> float:
    connection = _connect(path)
    began = perf_counter()
    for _ in range(commits):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(INSERT, [ROW] * batch)
        connection.execute("COMMIT")
    rate = batch * commits / (perf_counter() - began)
    connection.close()
    return rate


async def _writer(path: Path, commits: int) -> float:
    crashed: list[BaseException] = []
    writer = Writer(lambda: _connect(path), str(path), crashed.append)
    await writer.run(lambda connection: connection.executemany(INSERT, [ROW]))
    began = perf_counter()
    for _ in range(commits):
        await writer.run(lambda connection: connection.executemany(INSERT, [ROW] * BATCH))
    rate = BATCH * commits / (perf_counter() - began)
    await asyncio.to_thread(writer.close)
    assert not crashed, crashed
    return rate


class Rows:
    """The bare writer, and `append` with everything it checks."""

    def __init__(self, place: Place, commits: int) -> None:
        self._place, self._commits = place, commits
        self.writer = Figure(
            f"writer, {BATCH} rows a commit",
            "rows/s",
            "raw sqlite3, same rows and batches",
            0.5,
            0.75,
            more_is_better=True,
        )
        self.append = Figure(
            f"append() at {CALLERS} callers",
            "entries/s",
            f"raw sqlite3, {CALLERS} a commit",
            0.12,
            0.25,
            more_is_better=True,
        )
        self.figures = [self.writer, self.append]
        self._store: Store | None = None

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        url = f"sqlite:///{self._place.folder}/rows.db"
        await asyncio.to_thread(migrate, url)
        async with Store(url, SystemClock(), project=projected) as store:
            self._store = store
            await self._appends(1)
            yield

    async def round(self, at: int) -> None:
        raw, mine = self._place.folder / f"raw{at}.db", self._place.folder / f"writer{at}.db"
        if at % 2 == 0:
            self.writer.add(
                await _writer(mine, self._commits), await asyncio.to_thread(_raw, raw, BATCH, self._commits)
            )
            entries = await self._appends(self._commits)
            self.append.add(entries, await asyncio.to_thread(_raw, raw, CALLERS, self._commits))
        else:
            bare = await asyncio.to_thread(_raw, raw, BATCH, self._commits)
            self.writer.add(await _writer(mine, self._commits), bare)
            bare = await asyncio.to_thread(_raw, raw, CALLERS, self._commits)
            self.append.add(await self._appends(self._commits), bare)

    async def _appends(self, each: int) -> float:
        began = perf_counter()
        await asyncio.gather(*(self._caller(f"bench/{at}", each) for at in range(CALLERS)))
        return CALLERS * each / (perf_counter() - began)

    async def _caller(self, stream: str, each: int) -> None:
        assert self._store is not None
        for at in range(each):
            await self._store.append(Append(writes=(Write(stream, (NoteAdded(person="U0ANA", text_ref=str(at)),)),)))
