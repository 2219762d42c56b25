"""Moving a site between databases, and proving that what arrived is what was there."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlmodel import SQLModel

from bot.errors import TimelineError
from bot.store import chain, tables
from bot.store.place import Place, place_of
from bot.store.schema import FORMAT, exists, format_of, migrate
from bot.store.sqlite import connect
from bot.store.verify import Report, verify

CHUNK = 2000  # rows at a time: memory does not grow with the site
OWN = {"meta"}  # what each database says of itself
_ROWS = f"SELECT {chain.COLUMNS} FROM timeline ORDER BY seq"  # noqa: S608  constants
Told = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """What was moved: rows by table, and what the copy says when it is read as a stranger would."""

    rows: dict[str, int]
    report: Report


def verify_at(place: Place, checkpoints: Sequence[dict[str, Any]] = (), public_key: str | None = None) -> Report:
    """Verify a timeline wherever it is; one on a server is read into a file first, which is then held to every rule.

    Raises TimelineError.
    """
    if place.path is not None:
        return verify(place.path, checkpoints, public_key)
    with tempfile.TemporaryDirectory(prefix="lastgood-verify-") as folder:
        file = Path(folder) / "timeline.db"
        _read_into(place, file)
        return verify(file, checkpoints, public_key)


def copy(source: Place, target: Place, told: Told) -> Copied:
    """Move a site from its file to an empty PostgreSQL, in one transaction; `told` hears of each table and its rows.

    Nothing is changed at the source. Raises TimelineError when the source does not verify, when the target holds a site
    already, or when what arrived is not what was there; then the target is left as it was.
    """
    if target.alone:
        raise TimelineError(
            f"{target.name} is a file. `db copy` moves a site to PostgreSQL; a file is copied with a backup."
        )
    found = verify(source.file)
    if not found.ok:
        raise TimelineError(f"{source.name} does not verify, so it is not copied: see `lastgood timeline verify`.")
    if (format_ := format_of(source)) != FORMAT:
        raise TimelineError(
            f"{source.name} has format {format_}, this Lastgood moves format {FORMAT}. Run `lastgood db migrate` first; nothing was changed."
        )
    migrate(target.url)
    rows = _moved(source, target, told)
    report = verify_at(target)
    if not report.ok or report.entries != found.entries:
        raise TimelineError(
            f"{target.name} does not hold what {source.name} does: {report.entries} of {found.entries} entries."
        )
    return Copied(rows, report)


def names() -> list[str]:
    """Give the tables of a site, the timeline first."""
    assert tables  # noqa: S101  importing it is what fills the metadata
    own = sorted(name for name in SQLModel.metadata.tables if name not in OWN)
    return sorted(own, key=lambda name: name != "timeline")


def _moved(source: Place, target: Place, told: Told) -> dict[str, int]:
    import psycopg

    counts: dict[str, int] = {}
    try:
        with closing(connect(source.file)) as site, psycopg.connect(target.dsn) as server:
            site.execute("BEGIN")  # one view of the file, whatever is written meanwhile
            server.execute("SET LOCAL statement_timeout = 0")
            for name in names():
                _empty(server, name, target)
                counts[name] = _table(site, server, name)
                told(name, counts[name])
            server.execute(
                "SELECT setval(pg_get_serial_sequence('timeline','seq'), coalesce(max(seq),0)+1, false) FROM timeline"
            )
            _same(site, server, counts, target)
            _signed(server)
    except psycopg.Error as error:
        first = str(error).strip().partition("\n")[0]
        raise TimelineError(f"{target.name} does not take the copy: {first}. It is as it was.") from error
    return counts


def _empty(server: Any, name: str, target: Place) -> None:
    if server.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone():  # noqa: S608  a table of ours
        raise TimelineError(
            f"{target.name} holds a site already ({name} has rows). Give an empty database; nothing was changed."
        )


def _table(site: sqlite3.Connection, server: Any, name: str) -> int:
    columns = [column.name for column in SQLModel.metadata.tables[name].columns]
    quoted = ",".join(f'"{column}"' for column in columns)
    order = " ORDER BY seq" if name == "timeline" else ""
    rows = site.execute(f'SELECT {quoted} FROM "{name}"{order}')  # noqa: S608  a table of ours
    slots = ",".join(["%s"] * len(columns))
    insert = f'INSERT INTO "{name}"({quoted}) VALUES({slots})'
    count = 0
    with server.cursor() as cursor:
        while some := rows.fetchmany(CHUNK):
            cursor.executemany(insert, [[_held(value) for value in row] for row in some])
            count += len(some)
    return count


def _held(value: Any) -> Any:
    return value.replace("\x00", "\ufffd") if isinstance(value, str) and "\x00" in value else value


def _same(site: sqlite3.Connection, server: Any, counts: dict[str, int], target: Place) -> None:
    """Hold the copy to the source before anything is kept: the rows of each table, and where each stream ends."""
    for name, count in counts.items():
        arrived = server.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608  a table of ours
        if arrived != count:
            raise TimelineError(f"{target.name} took {arrived} of {count} rows of {name}. It is as it was.")
    heads = "SELECT stream, version, digest FROM timeline t WHERE version = (SELECT max(version) FROM timeline WHERE stream = t.stream)"
    there = set(server.execute("SELECT stream, version, digest FROM head WHERE version > 0").fetchall())
    if there != {tuple(row) for row in site.execute(heads)}:
        raise TimelineError(f"The streams of {target.name} do not end where they did. It is as it was.")


def _signed(server: Any) -> None:
    """Let the next checkpoint go on from the last."""
    server.execute(
        "INSERT INTO signed(stream, version) SELECT h.key, max((h.value->>0)::integer) FROM timeline t, "
        "jsonb_each(t.body::jsonb->'heads') h WHERE t.stream = 'system/checkpoints' GROUP BY h.key"
    )


def _read_into(place: Place, file: Path) -> None:
    """Read the timeline of a server into a file, in the order of its places and on places without a gap."""
    import psycopg

    if not exists(place):
        raise TimelineError(f"There is no timeline in {place.name}.")
    migrate(f"sqlite:///{file}")
    insert = f"INSERT INTO timeline({chain.COLUMNS}) VALUES({','.join('?' * len(chain.Row._fields))})"
    with _copying(file) as copy_, psycopg.connect(place.dsn) as server:
        server.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        with server.cursor(name="timeline") as cursor:
            cursor.itersize = CHUNK
            cursor.execute(_ROWS)
            try:
                copy_.executemany(insert, ((place_, *row[1:]) for place_, row in enumerate(cursor, 1)))
            except sqlite3.IntegrityError as error:
                raise TimelineError(f"The timeline in {place.name} does not follow: {error}.") from error
            for row in server.execute("SELECT stream,first,last,body FROM archive"):
                copy_.execute("INSERT INTO archive(stream,first,last,body) VALUES(?,?,?,?)", row)


@contextmanager
def _copying(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        # Whatever stands there is to be read as it is: the copy is judged afterwards, row by row.
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        with connection:
            yield connection


def site(url: str) -> Place:
    """Read a database URL of a site that must be there. Raises TimelineError."""
    place = place_of(url)
    if not exists(place):
        raise TimelineError(f"There is no database {place.name}. LASTGOOD_DATABASE_URL names another.")
    return place
