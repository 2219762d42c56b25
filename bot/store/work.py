"""The table of everything due."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from bot.ports import LOOKS, Work
from bot.store.chain import stamp, unstamp
from bot.store.database import Backend, Connection, Database, Due, text

_RAISE = (
    "INSERT INTO work(lane,stream,at,turn,tries) VALUES(?,?,?,1,0) "
    "ON CONFLICT(lane,stream) DO UPDATE SET "
    "at=CASE WHEN work.at < excluded.at THEN work.at ELSE excluded.at END, turn=work.turn+1"
)
_RETRY = (
    "UPDATE work SET at=CASE turn WHEN ? THEN ? ELSE at END, tries=CASE WHEN ? THEN tries+1 ELSE 0 END "
    "WHERE lane=? AND stream=?"
)

# After a pause every model is due to be looked at, and a rollback under way waits for none of them.
_LOOKS = f"CASE WHEN lane IN ({','.join(repr(one) for one in LOOKS)}) THEN 1 ELSE 0 END"
_NOTE = "INSERT INTO meta(name,value) VALUES(?,?) ON CONFLICT(name) DO UPDATE SET value=excluded.value"


class SqlWork(Database):
    """The port WorkTable."""

    async def due(self, until: datetime, limit: int, *, skip: Sequence[tuple[str, str]] = ()) -> list[Work]:
        """Give what is due until then, looks at models last, else earliest first, leaving out pairs that are running."""
        rows = await self.query(
            f"SELECT lane,stream,at,turn,tries FROM work WHERE at<=? ORDER BY {_LOOKS},at,lane,stream LIMIT ?",  # noqa: S608  a constant
            (stamp(until), limit + len(skip)),
        )
        running = set(skip)
        return [
            Work(lane, stream, unstamp(at), turn, tries)
            for lane, stream, at, turn, tries in rows
            if (lane, stream) not in running
        ][:limit]

    async def next(self, lane: str, stream: str) -> Work | None:
        """Give what is recorded for one stream in one lane, due or not."""
        rows = await self.query("SELECT at,turn,tries FROM work WHERE lane=? AND stream=?", (lane, stream))
        return next((Work(lane, stream, unstamp(at), turn, tries) for at, turn, tries in rows), None)

    async def finish(self, work: Work, again: datetime | None = None, *, failed: bool = False) -> None:
        """End this turn: delete it or put it at `again`; a turn raised meanwhile stays due. A success forgets the tries."""
        at = stamp(again) if again else None
        await self._writing(lambda connection: _finish(self._backend, connection, work, at, failed=failed))

    async def noted(self, name: str) -> str:
        """Give what a replica noted for the others; an empty text when nothing was."""
        rows = await self.query("SELECT value FROM meta WHERE name=?", (name,))
        return str(rows[0][0]) if rows else ""

    async def note(self, name: str, value: str) -> None:
        """Note something for other replicas. It is no record: what is lost is only looked at again."""

        def job(connection: Connection) -> None:
            connection.execute(_NOTE, (name, value))

        await self._writing(job)

    async def wake(self, work: Sequence[Work]) -> None:
        """Record work outside an append."""
        rows = work_rows(work)
        await self._writing(lambda connection: raise_work(self._backend, connection, rows))
        self.ring()


def work_rows(work: Sequence[Work]) -> list[tuple[str, str, str]]:
    """Give the texts to be stored, ahead of the writer."""
    for one in work:
        text(one.lane, one.stream)
    return sorted(
        (one.lane, one.stream, stamp(one.at)) for one in work
    )  # one order, so that no two wait for each other


def raise_work(backend: Backend, connection: Connection, rows: Due) -> None:
    """Make work due: the earliest time stays, and the turn rises, so that a turn under way cannot end it."""
    if rows:
        connection.executemany(_RAISE, rows)
        backend.defer(connection, rows)


def _finish(backend: Backend, connection: Connection, work: Work, again: str | None, *, failed: bool) -> None:
    if again is None:
        connection.execute("DELETE FROM work WHERE lane=? AND stream=? AND turn=?", (work.lane, work.stream, work.turn))
    # What is still there was raised meanwhile, or goes on: its time is touched only when the turn is ours.
    connection.execute(_RETRY, (work.turn, again, failed, work.lane, work.stream))
    if again is not None:
        backend.defer(connection, [(work.lane, work.stream, again)])
