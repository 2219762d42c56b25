"""What people typed and how they are called: kept beside the chain, so that it can be erased."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.store.database import Connection, Database, text

AT_ONCE = 500  # SQLite takes a limited number of values in one statement


class SqlPeople(Database):
    """Erasable texts by reference, names by id."""

    async def said(self, refs: Sequence[str]) -> dict[str, str]:
        """Give the erasable texts by reference; an erased one is missing."""
        return await self._pairs("SELECT ref,text FROM said WHERE ref", refs)

    async def everybody(self) -> dict[str, str]:
        """Give how people are called, by id; an erased name is missing."""
        return dict(await self.query("SELECT id,name FROM person"))

    async def call(self, names: Mapping[str, str]) -> None:
        """Remember how people are called, by id."""
        text(*names, *names.values())
        sql = "INSERT INTO person(id,name) VALUES(?,?) ON CONFLICT(id) DO UPDATE SET name=excluded.name"
        await self._writing(lambda connection: _ran(connection, sql, sorted(names.items())))

    async def erase(self, *, refs: Sequence[str] = (), people: Sequence[str] = ()) -> None:
        """Forget texts and names; the timeline keeps its references and still verifies."""
        await self._erase("DELETE FROM said WHERE ref=?", refs)
        await self._erase("DELETE FROM person WHERE id=?", people)

    async def _erase(self, sql: str, keys: Sequence[str]) -> None:
        rows = [(key,) for key in keys]
        await self._writing(lambda connection: _ran(connection, sql, rows))

    async def _pairs(self, sql: str, keys: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for at in range(0, len(keys), AT_ONCE):
            some = keys[at : at + AT_ONCE]
            found |= dict(await self.query(f"{sql} IN ({','.join('?' * len(some))})", some))
        return found


def _ran(connection: Connection, sql: str, rows: Sequence[Sequence[str]]) -> None:
    if rows:
        connection.executemany(sql, rows)
