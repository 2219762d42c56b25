"""Bringing a database to the format of this code, and the lock that lets one `serve` write."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import TimelineError
from bot.store.database import connect, path_of
from bot.store.lock import serve_lock

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Engine

__all__ = ["FORMAT", "migrate", "serve_lock"]

FORMAT = 2  # what this code writes: raised with tables or entries that older code could not read
HERE = Path(__file__).parent / "migrations"


def migrate(url: str) -> None:
    """Create or upgrade the database, all of it or nothing.

    Raises TimelineError when it is newer than this code or cannot be used.
    """
    path = path_of(url)
    found = _format(path)
    if found > FORMAT:
        message = f"The timeline {path} was written by a newer Lastgood (format {found}, this one knows {FORMAT}). Run that version; nothing was changed."
        raise TimelineError(message)
    if found < FORMAT:
        _upgrade(path)
    if _format(path) != FORMAT:
        message = f"The file {path} is a database Lastgood did not make. Nothing was changed."
        raise TimelineError(message)


def _format(path: Path) -> int:
    """Give the format of a database, 0 when there is none yet. Most starts end here and import nothing heavy."""
    if not path.exists():
        return 0
    try:
        connection = connect(path)
        try:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone():
                return 0
            return int(connection.execute("SELECT value FROM meta WHERE name='format'").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error as error:
        message = f"The timeline {path} cannot be used: {error}. Nothing was changed."
        raise TimelineError(message) from error


def alembic_config(connection: object) -> Config:
    """Give the settings alembic runs with on an open SQLAlchemy connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _upgrade(path: Path) -> None:
    from alembic import command  # heavy, and needed only when something changes
    from alembic.util import CommandError
    from sqlalchemy.exc import DBAPIError

    try:
        with engine(path).begin() as connection:
            command.upgrade(alembic_config(connection), "head")
    except (CommandError, DBAPIError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        message = f"The timeline {path} cannot be brought to format {FORMAT}: {cause}. Nothing was changed."
        raise TimelineError(message) from error


def engine(path: Path) -> Engine:
    """Give an engine whose transactions hold schema changes too, so that a killed migration leaves nothing behind."""
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import NullPool

    made = create_engine("sqlite://", creator=lambda: _connected(path), poolclass=NullPool)
    event.listen(made, "begin", _begin)
    return made


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
