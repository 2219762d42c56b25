"""Bringing a database to the format of this code, and the lock that lets one `serve` write to a file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import TimelineError
from bot.store.lock import serve_lock
from bot.store.place import Place, place_of
from bot.store.sqlite import connect

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, Engine

__all__ = ["FORMAT", "exists", "format_of", "grant", "migrate", "serve_lock"]

FORMAT = 4  # what this code writes: raised with tables or entries that older code could not read
HERE = Path(__file__).parent / "migrations"
_ASKED = "SELECT value FROM meta WHERE name='format'"
_TURN = 4729_2026  # the advisory lock of a migration, so that two replicas do not begin one together


def migrate(url: str) -> None:
    """Create or upgrade the database, all of it or nothing.

    Raises TimelineError when it is newer than this code or cannot be used.
    """
    place = place_of(url)
    found = format_of(place)
    if found > FORMAT:
        message = f"The timeline {place.name} was written by a newer Lastgood (format {found}, this one knows {FORMAT}). Run that version; nothing was changed."
        raise TimelineError(message)
    if found < FORMAT:
        _upgrade(place)
    if format_of(place) != FORMAT:
        message = (
            f"The file {place.name} is a database Lastgood did not make. Nothing was changed."
            if place.alone
            else f"{place.name} holds tables Lastgood did not make. Give it a database of its own; nothing was changed."
        )
        raise TimelineError(message)


def exists(place: Place) -> bool:
    """Say whether a timeline is there. Raises TimelineError when a server cannot be asked."""
    return place.path.exists() if place.path is not None else format_of(place) > 0


def grant(url: str, role: str) -> None:
    """Let a role serve this PostgreSQL without owning it: it may append and read, and change nothing. Raises TimelineError."""
    from psycopg import Error
    from psycopg.sql import Identifier

    from bot.store import postgres_schema

    place = place_of(url)
    if place.alone:
        message = f"{place.name} is a file, which has no roles: who may write the file may write it all."
        raise TimelineError(message)
    try:
        with _asking(place) as connection, connection.transaction():
            schema = str(connection.execute("SELECT quote_ident(current_schema())").fetchone()[0])
            for statement in postgres_schema.grants(Identifier(role).as_string(connection), schema):
                connection.execute(statement)
    except Error as error:
        message = f"{place.name}: {role} cannot be let in: {error}. Nothing was changed."
        raise TimelineError(message) from error


def format_of(place: Place) -> int:
    """Give the format of a database, 0 when there is none yet. Most starts end here and import nothing heavy."""
    return _format_of_file(place.path) if place.path is not None else _format_of_server(place)


def _format_of_file(path: Path) -> int:
    if not path.exists():
        return 0
    try:
        connection = connect(path)
        try:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone():
                return 0
            return int(connection.execute(_ASKED).fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error as error:
        message = f"The timeline {path} cannot be used: {error}. Nothing was changed."
        raise TimelineError(message) from error


def _format_of_server(place: Place) -> int:
    with _asking(place) as connection:
        if connection.execute("SELECT to_regclass('meta')").fetchone() == (None,):
            return 0
        row = connection.execute(_ASKED).fetchone()
        return int(row[0]) if row else 0


@contextmanager
def _asking(place: Place) -> Iterator[Any]:
    try:
        import psycopg
    except ImportError as error:
        message = "PostgreSQL needs the extra `postgres`: pip install 'lastgood[postgres]'. The image has it."
        raise TimelineError(message) from error
    try:
        with psycopg.connect(place.dsn, connect_timeout=5, application_name="lastgood", autocommit=True) as connection:
            yield connection
    except psycopg.OperationalError as error:
        first = str(error).strip().partition("\n")[0]
        message = f"{place.name} cannot be used: {first}. LASTGOOD_DATABASE_URL names it; nothing was changed."
        raise TimelineError(message) from error


def alembic_config(connection: object) -> Config:
    """Give the settings alembic runs with on an open SQLAlchemy connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _upgrade(place: Place) -> None:
    from alembic import command  # heavy, and needed only when something changes
    from alembic.util import CommandError
    from sqlalchemy.exc import DBAPIError

    try:
        with (engine(place.path) if place.path is not None else _server(place)).begin() as connection:
            if not place.alone:
                _wait_for_turn(connection)
            command.upgrade(alembic_config(connection), "head")
    except (CommandError, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        hint = "" if place.alone else " Run `lastgood db migrate` once as the role that owns the database."
        message = f"The timeline {place.name} cannot be brought to format {FORMAT}: {cause}.{hint} Nothing was changed."
        raise TimelineError(message) from error


def engine(path: Path) -> Engine:
    """Give an engine whose transactions hold schema changes too, so that a killed migration leaves nothing behind."""
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    made = create_engine("sqlite://", creator=lambda: _connected(path), poolclass=NullPool)
    event.listen(made, "begin", _begin)
    return made


def _server(place: Place) -> Engine:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    return create_engine(f"postgresql+psycopg://{place.url.partition('://')[2]}", poolclass=NullPool)


def _wait_for_turn(connection: Connection) -> None:
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TURN})")


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
