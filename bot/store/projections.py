"""The incident list: a cache beside the timeline, rebuilt by one command and never asked for a decision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

from bot.domain.entries import Recorded
from bot.store import chain
from bot.store.archive import whole
from bot.store.database import Backend, Connection, Database

Row = Mapping[str, Any]
Project = Callable[[Sequence[Recorded], Row | None], Row | None]

COLUMNS = ("id", "model", "environment", "opened_at", "open")
PREFIX = "incident/"
AFTER = "incident0"  # the first text after everything that begins with the prefix
CHUNK = 100  # streams made again in one transaction, so that a rebuild never keeps the writer long

_NAMES = ",".join(COLUMNS)
_SAVE = f"INSERT INTO incident({_NAMES},tail) VALUES(?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET " + ",".join(
    f"{name}=excluded.{name}" for name in (*COLUMNS[1:], "tail")
)
_STREAMS = "SELECT DISTINCT stream FROM timeline WHERE stream > ? AND stream < ? ORDER BY stream LIMIT ?"
_STRAYS = "DELETE FROM incident WHERE NOT EXISTS (SELECT 1 FROM timeline WHERE stream = incident.id)"


class SqlIncidents(Database):
    """Incident streams a page at a time; what each says now is its fold."""

    async def incidents(self, before: str | None = None, limit: int = 50, *, open_only: bool = False) -> list[str]:
        """Give incident streams, newest first; `before` is the last stream of the page before."""
        which = " AND open = 1" if open_only else ""
        sql = f"SELECT id FROM incident WHERE id < ?{which} ORDER BY id DESC LIMIT ?"  # noqa: S608  constants
        return [id_ for (id_,) in await self.query(sql, (before or AFTER, limit))]

    async def ending(self, suffix: str) -> list[str]:
        """Give the incident streams whose id ends like this, at most 20, newest first."""
        low = suffix.upper()[::-1]
        rows = await self.query(
            "SELECT id FROM incident WHERE tail >= ? AND tail < ? ORDER BY id DESC LIMIT 20", (low, low + "\U0010ffff")
        )
        return [id_ for (id_,) in rows]

    async def counted(self) -> tuple[int, dict[str, int]]:
        """Count, over the whole timeline, how often somebody acted alone, and the presses without effect by reason."""
        (glass,) = (await self.query("SELECT count(*) FROM timeline WHERE type='glass.broken'"))[0]
        reason, times = (self._backend.member("body", name) for name in ("reason", "times"))
        refused = await self.query(
            f"SELECT {reason}, sum(CAST({times} AS integer)) FROM timeline WHERE type='approval.refused' GROUP BY 1"  # noqa: S608  constants
        )
        return glass, {str(reason): int(times) for reason, times in refused}

    async def rebuild(self, project: Project) -> int:
        """Make the list again from the timeline alone, also beside a running `serve`; give the number of incidents."""
        await self._writing(lambda connection: _none(connection.execute(_STRAYS)))
        last: str | None = PREFIX
        while last is not None:
            last = await self._writing(partial(_remake, self._backend, after=last, project=project))
        ((count,),) = await self.query("SELECT count(*) FROM incident")
        return int(count)


def project_rows(connection: Connection, written: Sequence[Recorded], project: Project) -> None:
    """Bring the list up to date with entries just written."""
    ours = sorted((one for one in written if one.stream.startswith(PREFIX)), key=lambda one: (one.stream, one.version))
    for stream, group in groupby(ours, key=lambda one: one.stream):
        found = connection.execute(f"SELECT {_NAMES} FROM incident WHERE id=?", (stream,)).fetchone()  # noqa: S608  constants
        before = dict(zip(COLUMNS, found, strict=True)) if found else None
        _save(connection, stream, project(list(group), before))


def _remake(backend: Backend, connection: Connection, after: str, project: Project) -> str | None:
    """Make some rows again and give the last, None when there were no more."""
    streams = [stream for (stream,) in connection.execute(_STREAMS, (after, AFTER, CHUNK)).fetchall()]
    backend.heads(connection, streams, ())  # nobody moves them on until their rows are written
    for stream in streams:
        _save(connection, stream, project(list(_entries(connection, stream)), None))
    return streams[-1] if streams else None


def _none(_: object) -> None:
    """Give nothing of what a statement gave."""


def _save(connection: Connection, stream: str, row: Row | None) -> None:
    if row is None:
        connection.execute("DELETE FROM incident WHERE id=?", (stream,))
    else:
        connection.execute(_SAVE, (*(row[name] for name in COLUMNS), stream[::-1]))


def _entries(connection: Connection, stream: str) -> Iterator[Recorded]:
    rows = connection.execute(f"SELECT {chain.COLUMNS} FROM timeline WHERE stream=? ORDER BY version", (stream,))  # noqa: S608  constants
    return (chain.recorded(row) for row in whole(connection, rows))
