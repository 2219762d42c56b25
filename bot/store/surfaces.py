"""The record of what was posted where."""

from __future__ import annotations

from typing import Any

from bot.ports import Shown
from bot.store.chain import stamp, unstamp
from bot.store.database import Database, text

_COLUMNS = "stream,kind,episode,cursor,channel,ts,state,attempted_at,digest"

_SAVE = (
    f"INSERT INTO surface({_COLUMNS}) VALUES(?,?,?,?,?,?,?,?,?) ON CONFLICT(stream,kind,episode) DO UPDATE SET "
    + ",".join(f"{name}=excluded.{name}" for name in _COLUMNS.split(",")[3:])
)


class SqlSurfaces(Database):
    """The port SurfaceTable."""

    async def shown(self, stream: str) -> list[Shown]:
        """Give every message of an incident."""
        rows = await self.query(f"SELECT {_COLUMNS} FROM surface WHERE stream=? ORDER BY episode,kind", (stream,))  # noqa: S608  a constant
        return [_shown(row) for row in rows]

    async def save(self, shown: Shown) -> None:
        """Write one record, durably."""
        at = stamp(shown.attempted_at) if shown.attempted_at else None
        texts = (shown.channel, shown.ts, shown.state)
        text(shown.stream, shown.kind, *texts, shown.digest)
        row = (shown.stream, shown.kind, shown.episode, shown.cursor, *texts, at, shown.digest)
        await self._writing(lambda connection: _none(connection.execute(_SAVE, row)))

    async def posted_at(self, channel: str, ts: str) -> Shown | None:
        """Find the record of a message we posted."""
        rows = await self.query(f"SELECT {_COLUMNS} FROM surface WHERE channel=? AND ts=?", (channel, ts))  # noqa: S608  a constant
        return next((_shown(row) for row in rows), None)


def _none(_: object) -> None:
    """Give nothing of what a statement gave."""


def _shown(row: tuple[Any, ...]) -> Shown:
    stream, kind, episode, cursor, channel, ts, state, attempted, digest = row
    at = unstamp(attempted) if attempted else None
    return Shown(stream, kind, episode, cursor, channel, ts, state, at, digest)
