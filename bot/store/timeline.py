"""The store: the append-only timeline, and everything that is written in the same transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.domain.entries import Entry, Recorded
from bot.errors import Conflict
from bot.ports import Append, Clock, Write
from bot.store import chain
from bot.store.archive import SqlArchive, whole
from bot.store.database import Backend, Connection, Head, end_process, text
from bot.store.evidence import SqlEvidence
from bot.store.inbox import InboundRows, SqlInbox, check_pending, end_inbound, inbound_rows
from bot.store.people import SqlPeople
from bot.store.place import path_of
from bot.store.projections import Project, SqlIncidents, project_rows
from bot.store.sqlite import connect
from bot.store.surfaces import SqlSurfaces
from bot.store.work import SqlWork, raise_work, work_rows

IN_THREAD = 50  # alerts in one append; writing more of them as text would hold up the event loop
__all__ = ["Store", "connect", "path_of"]

_SAID = "INSERT INTO said(ref,salt,text) VALUES(?,?,?) ON CONFLICT DO NOTHING"
_DIGEST = "SELECT digest FROM timeline WHERE stream=? AND version=?"
_READ = f"SELECT {chain.COLUMNS} FROM timeline WHERE stream=? AND version>? ORDER BY version"  # noqa: S608  constants


_Body = tuple[Entry, str]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An append whose texts are made, so that nothing in it can fail for its content once it is queued."""

    writes: tuple[tuple[Write, tuple[_Body, ...]], ...]
    given: Mapping[str, int]
    work: list[tuple[str, str, str]]
    inbound: InboundRows
    said: list[tuple[str, str, str]]


class Store(SqlInbox, SqlWork, SqlSurfaces, SqlPeople, SqlIncidents, SqlEvidence, SqlArchive):
    """Timeline, Inbox, WorkTable and SurfaceTable over one migrated database.

    `project` gives the row of the incident list after new entries of one stream, None for no row; without it the list
    is not kept. `on_crash` is told when the writer dies; by default the process ends.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        project: Project | None = None,
        on_crash: Callable[[BaseException], None] = end_process,
    ) -> None:
        """Open the database of `url`; the schema must be there (see `bot.store.schema.migrate`)."""
        super().__init__(url, clock, on_crash=on_crash)
        self._project = project

    async def append(self, append: Append) -> list[Recorded]:
        """Write all of it or nothing; every expectation is held to what the streams said before this append.

        Raises Conflict when a stream moved on or an inbound id is not pending, ReadOnly when nothing can be written,
        ValueError when an entry that does not commute names no epoch. Outlives its cancelled caller.
        """
        large = sum(len(getattr(entry, "alerts", ())) for write in append.writes for entry in write.entries) > IN_THREAD
        prepared = await asyncio.to_thread(_prepared, append) if large else _prepared(append)
        written = await self._writing(lambda connection: self._append(connection, append, prepared), _stands)
        if prepared.work:
            self.ring()
        return written

    async def read(self, stream: str, after: int = 0) -> list[Recorded]:
        """Give the entries of a stream with a version above `after`, in order. Raises TimelineError."""
        return await self._reading(
            lambda connection: [chain.recorded(row) for row in whole(connection, _rows(connection, stream, after))]
        )

    async def rows(self, stream: str) -> list[chain.Row]:
        """Give the rows of a stream as they were written."""
        return await self._reading(lambda connection: whole(connection, _rows(connection, stream, 0)))

    async def changed(self) -> tuple[list[tuple[str, int, str]], int]:
        """Give the heads (stream, version, digest) no checkpoint covers, and how many entries are covered with them."""
        return await self._reading(self._backend.changed)

    def _append(self, connection: Connection, append: Append, prepared: _Prepared) -> list[Recorded]:
        at = self._clock.now()
        if append.until is not None and at >= append.until:
            message = "Its time is over."
            raise Conflict(message)
        heads, now = self._checked(connection, append), chain.stamp(at)
        written = _write(self._backend, connection, prepared, heads, now)
        end_inbound(connection, prepared.inbound, now)
        raise_work(self._backend, connection, prepared.work)
        if prepared.said:
            connection.executemany(_SAID, prepared.said)
        if self._project is not None:
            project_rows(connection, written, self._project)
        return written

    def _checked(self, connection: Connection, append: Append) -> dict[str, Head]:
        """Read every head inside the transaction and hold the append to what it depends on."""
        written = [write.stream for write in append.writes]
        heads = dict(self._backend.heads(connection, list(append.given), written))
        expected = [*append.given.items(), *((write.stream, write.expect) for write in append.writes)]
        for stream, epoch in expected:
            if epoch is not None and heads[stream].epoch != epoch:
                message = f"{stream} is at epoch {heads[stream].epoch}, not {epoch}."
                raise Conflict(message)
        check_pending(self._backend, connection, append.inbound)
        return heads


def _rows(connection: Connection, stream: str, after: int) -> list[tuple[Any, ...]]:
    return connection.execute(_READ, (stream, after)).fetchall()


def _prepared(append: Append) -> _Prepared:
    for write in append.writes:
        text(write.stream)
        if write.expect is None and not all(entry.commutes for entry in write.entries):
            message = f"{write.stream}: an entry that does not commute needs the epoch it was decided on."
            raise ValueError(message)
    for said in append.said:
        text(said.text)
    return _Prepared(
        writes=tuple((w, tuple((entry, chain.body_of(entry)) for entry in w.entries)) for w in append.writes),
        given=append.given,
        work=work_rows(append.work),
        inbound=inbound_rows(append.inbound),
        said=[(said.ref, said.salt, said.text) for said in append.said],
    )


def _write(
    backend: Backend, connection: Connection, prepared: _Prepared, heads: dict[str, Head], now: str
) -> list[Recorded]:
    rows: list[chain.Row] = []
    entries: list[Entry] = []
    for write, bodies in prepared.writes:
        for entry, body in bodies:
            row = _next(write.stream, heads[write.stream], entry, body, now)
            heads[write.stream] = Head(row.version, row.epoch, row.digest, row.at)
            rows.append(row)
            entries.append(entry)
    places = backend.insert(connection, rows) if rows else []
    return [
        Recorded(seq, row.stream, row.version, row.epoch, chain.unstamp(row.at), entry, row.prev, row.digest)
        for seq, row, entry in zip(places, rows, entries, strict=True)
    ]


def _stands(connection: Connection, written: list[Recorded]) -> bool:
    """Say whether an append whose commit was not answered is in the timeline."""
    last = written[-1] if written else None
    return last is not None and connection.execute(_DIGEST, (last.stream, last.version)).fetchone() == (last.digest,)


def _next(stream: str, head: Head, entry: Entry, body: str, now: str) -> chain.Row:
    """Place an entry after the head of its stream; time in a stream never goes back, whatever the clock does."""
    version, at = head.version + 1, max(now, head.at)
    epoch = head.epoch if entry.commutes else version
    digest = chain.digest_of(stream, version, epoch, at, entry.type, entry.number, body, head.digest)
    return chain.Row(0, stream, version, epoch, at, entry.type, entry.number, body, head.digest, digest)
