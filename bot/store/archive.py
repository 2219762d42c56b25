"""Streams at rest: the bodies of an incident that closed long ago are kept compressed, and read as if they stood in their rows.

Nothing leaves the timeline. Each row keeps its place, its time, its type and its digest; every digest still covers the body,
so what was packed is held to the chain like everything else.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson

from bot.errors import TimelineError
from bot.store import chain
from bot.store.chain import Row
from bot.store.database import Connection, Database

INLINE = ("approval.refused", "glass.broken")  # types `/metrics` counts from their rows
LIMIT = 64 * 1024 * 1024  # bytes of one stream's bodies, unpacked
_PACKED = "SELECT first,body FROM archive WHERE stream=? ORDER BY first"
_KEEP = "INSERT INTO archive(stream,first,last,body) VALUES(?,1,?,?) ON CONFLICT DO NOTHING"
_EMPTY = "UPDATE timeline SET body='' WHERE stream=? AND version<=? AND type NOT IN (?,?)"
_READ = f"SELECT {chain.COLUMNS} FROM timeline WHERE stream=? ORDER BY version"  # noqa: S608  constants
_LAST = "SELECT t.at FROM timeline t WHERE t.stream=i.id ORDER BY t.version DESC LIMIT 1"
_AT_REST = (
    "SELECT i.id FROM incident i WHERE i.open=0 AND NOT EXISTS (SELECT 1 FROM archive a WHERE a.stream=i.id) "  # noqa: S608  constants
    f"AND ({_LAST})<? ORDER BY i.id LIMIT ?"
)


def whole(connection: Connection, rows: Iterable[tuple[Any, ...]]) -> list[Row]:
    """Give rows of one stream with their bodies, those at rest too; a body nobody can give stays empty."""
    found = [Row(*row) for row in rows]
    if all(one.body for one in found):
        return found
    bodies = unpacked(connection.execute(_PACKED, (found[0].stream,)))
    return [one if one.body else one._replace(body=bodies.get(one.version, "")) for one in found]


def unpacked(kept: Iterable[tuple[int, bytes]]) -> dict[int, str]:
    """Give the bodies of a stream at rest by version; what was damaged gives none."""
    bodies: dict[int, str] = {}
    for first, body in kept:
        try:
            opened = zlib.decompressobj()
            texts = orjson.loads(opened.decompress(bytes(body), LIMIT))
        except (zlib.error, orjson.JSONDecodeError, TypeError, ValueError):
            continue
        if isinstance(texts, list) and isinstance(first, int):
            bodies |= {first + n: text for n, text in enumerate(texts) if isinstance(text, str)}
    return bodies


class AtRest:
    """Bodies at rest in a file, for rows that come ordered by stream; one stream's are held at a time."""

    def __init__(self, connection: Connection) -> None:
        """Read nothing yet; a file of an earlier format has no archive."""
        self._connection, self._stream = connection, ""
        self._bodies: dict[int, str] = {}
        self._none = connection.execute("SELECT 1 FROM sqlite_master WHERE name='archive'").fetchone() is None

    def whole(self, row: tuple[Any, ...]) -> Row:
        """Give a row without a body with the one that was packed, as it stands when there is none."""
        one = Row(*row)
        if one.stream != self._stream and not self._none:
            self._stream = one.stream
            self._bodies = unpacked(self._connection.execute(_PACKED, (one.stream,)))
        return one._replace(body=self._bodies.get(one.version, ""))


class SqlArchive(Database):
    """Lays closed incidents to rest."""

    async def resting(self, before: datetime, limit: int = 100) -> list[str]:
        """Give closed incident streams whose last entry is older than `before` and that are not at rest yet, oldest first."""
        return [stream for (stream,) in await self.query(_AT_REST, (chain.stamp(before), limit))]

    async def rest(self, stream: str) -> tuple[int, int]:
        """Pack the bodies of a stream; give how many bytes they took and take now.

        Raises TimelineError when its chain does not hold, since what was changed must stay to be looked at, and ReadOnly
        when this role may not.
        """
        rows = [Row(*row) for row in await self.query(_READ, (stream,))]
        if not rows or not all(one.body for one in rows):
            return 0, 0
        packed = await asyncio.to_thread(_packed, stream, rows)

        def job(connection: Connection) -> None:
            connection.execute(_KEEP, (stream, rows[-1].version, packed))
            connection.execute(_EMPTY, (stream, rows[-1].version, *INLINE))

        await self._writing(job)
        return sum(len(one.body.encode()) for one in rows if one.type not in INLINE), len(packed)


def _packed(stream: str, rows: Sequence[Row]) -> bytes:
    packed = zlib.compress(orjson.dumps(["" if one.type in INLINE else one.body for one in rows]), 9)
    bodies, digest = unpacked([(1, packed)]), ""
    for version, one in enumerate(rows, 1):
        body = one.body if one.type in INLINE else bodies.get(version, "")
        own = chain.digest_of(stream, version, one.epoch, one.at, one.type, one.schema, body, digest)
        if own != one.digest:
            raise TimelineError(
                f"{stream} breaks at entry {version}, so it is left as it is: see `lastgood timeline verify`."
            )
        digest = own
    return packed
