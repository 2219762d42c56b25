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

    async def forget(self) -> None:
        """Erase what is older than it may be kept."""
        now = stamp(self._clock.now())

        def job(connection: Connection) -> None:
            connection.execute("DELETE FROM evidence WHERE keep_until<?", (now,))

        await self._writing(job)
