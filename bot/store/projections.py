"""The incident list: a cache beside the timeline, rebuilt by one command and never asked for a decision."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

from bot.domain.entries import Recorded
from bot.store import chain
from bot.store.database import Database

Row = Mapping[str, Any]
Project = Callable[[Sequence[Recorded], Row | None], Row | None]

COLUMNS = ("id", "model", "environment", "opened_at", "open")
PREFIX = "incident/"
AFTER = "incident0"  # the first text after everything that begins with the prefix
CHUNK = 100  # streams made again in one transaction, so that a rebuild never keeps the writer long

_NAMES = ",".join(COLUMNS)
_SAVE = f"INSERT OR REPLACE INTO incident({_NAMES},tail) VALUES(?,?,?,?,?,?)"
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
        refused = await self.query(
            "SELECT json_extract(body,'$.reason'), sum(json_extract(body,'$.times')) FROM timeline"
            " WHERE type='approval.refused' GROUP BY 1"
        )
        return glass, {str(reason): int(times) for reason, times in refused}


def project_rows(connection: sqlite3.Connection, written: Sequence[Recorded], project: Project) -> None:
    """Bring the list up to date with entries just written."""
    ours = sorted((one for one in written if one.stream.startswith(PREFIX)), key=lambda one: (one.stream, one.version))
    for stream, group in groupby(ours, key=lambda one: one.stream):
        found = connection.execute(f"SELECT {_NAMES} FROM incident WHERE id=?", (stream,)).fetchone()  # noqa: S608  constants
        before = dict(zip(COLUMNS, found, strict=True)) if found else None
        _save(connection, stream, project(list(group), before))


def rebuild(connection: sqlite3.Connection, project: Project) -> int:
    """Make the list again from the timeline alone, also beside a running `serve`; give the number of incidents."""
    connection.execute(_STRAYS)
    last: str | None = PREFIX
    while last is not None:
        last = _remake(connection, last, project)
    return int(connection.execute("SELECT count(*) FROM incident").fetchone()[0])


def _remake(connection: sqlite3.Connection, after: str, project: Project) -> str | None:
    """Make some rows again and give the last, None when there were no more."""
    with _transaction(connection):
        streams = [stream for (stream,) in connection.execute(_STREAMS, (after, AFTER, CHUNK))]
        for stream in streams:
            _save(connection, stream, project(list(_entries(connection, stream)), None))
    return streams[-1] if streams else None


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    with connection:  # commits, or rolls back when something is raised
        yield


def _save(connection: sqlite3.Connection, stream: str, row: Row | None) -> None:
    if row is None:
        connection.execute("DELETE FROM incident WHERE id=?", (stream,))
    else:
        connection.execute(_SAVE, (*(row[name] for name in COLUMNS), stream[::-1]))


def _entries(connection: sqlite3.Connection, stream: str) -> Iterator[Recorded]:
    rows = connection.execute(f"SELECT {chain.COLUMNS} FROM timeline WHERE stream=? ORDER BY version", (stream,))  # noqa: S608  constants
    return (chain.recorded(chain.Row(*row)) for row in rows)
