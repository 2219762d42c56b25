"""Evidence by its digest: beside the timeline, so that it can be erased when its time is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from bot.store.chain import stamp
from bot.store.database import Connection, Database

_KEEP = (
    "INSERT INTO evidence(digest,stream,keep_until,body) VALUES(?,?,?,?) "
    "ON CONFLICT(digest,stream) DO UPDATE SET keep_until=excluded.keep_until"
)
_OVERDUE = "SELECT stream,digest FROM evidence WHERE keep_until<? ORDER BY keep_until LIMIT ?"
AT_ONCE = 500  # files of one round of erasing


class SqlEvidence(Database):
    """The port EvidenceTable."""

    async def keep(self, stream: str, files: Mapping[str, bytes], until: datetime) -> None:
        """Keep files by their SHA-256, until a time."""
        rows = [(digest, stream, stamp(until), body) for digest, body in sorted(files.items())]

        def job(connection: Connection) -> None:
            if rows:
                connection.executemany(_KEEP, rows)

        await self._writing(job)

    async def evidence(self, stream: str, digests: Sequence[str]) -> dict[str, bytes]:
        """Give kept files by digest; an erased one is missing."""
        found = dict(await self.query("SELECT digest,body FROM evidence WHERE stream=?", (stream,)))
        return {digest: bytes(found[digest]) for digest in digests if digest in found}

    async def overdue(self, now: datetime) -> dict[str, tuple[str, ...]]:
        """Give the digests, by stream, that may be kept no longer; the oldest first, as many as one round may erase."""
        found: dict[str, tuple[str, ...]] = {}
        for stream, digest in await self.query(_OVERDUE, (stamp(now), AT_ONCE)):
            found[stream] = (*found.get(stream, ()), digest)
        return found

    async def forget(self, files: Mapping[str, Sequence[str]]) -> None:
        """Erase these digests of these streams."""
        rows = [(stream, digest) for stream, digests in files.items() for digest in digests]

        def job(connection: Connection) -> None:
            connection.executemany("DELETE FROM evidence WHERE stream=? AND digest=?", rows)

        if rows:
            await self._writing(job)
