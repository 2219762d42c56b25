"""Where a site's timeline is kept: a file of SQLite, or a database of PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bot.errors import TimelineError

POSTGRES = ("postgresql", "postgresql+psycopg")


@dataclass(frozen=True, slots=True)
class Place:
    """One database. `name` is how people read it, without a password; `path` is the file when there is one."""

    url: str
    name: str
    path: Path | None = None

    @property
    def file(self) -> Path:
        """Give the file. Raises TimelineError when it is no file."""
        if self.path is None:
            message = f"{self.name} is no file. Give sqlite:/// and a path."
            raise TimelineError(message)
        return self.path

    @property
    def alone(self) -> bool:
        """Say whether one process serves it at a time; a PostgreSQL is served by any number."""
        return self.path is not None

    @property
    def dsn(self) -> str:
        """Give what the PostgreSQL driver connects to."""
        return f"postgresql://{self.url.partition('://')[2]}"


def place_of(url: str) -> Place:
    """Read a database URL, or the plain path of a file. Raises TimelineError for another kind of database."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return Place(url, url, Path(url))
    if scheme == "sqlite" and rest.removeprefix("/"):
        path = Path(rest.removeprefix("/"))
        return Place(url, str(path), path)
    if scheme in POSTGRES:
        return Place(url, _named(url))
    message = (
        f"{scheme}:// names no database Lastgood can open: give sqlite:/// and the path of a file, or "
        "postgresql+psycopg://ROLE@HOST/DATABASE."
    )
    raise TimelineError(message)


def path_of(url: str) -> Path:
    """Give the file of a `sqlite:///` URL or of a plain path. Raises TimelineError for another kind of database."""
    return place_of(url).file


def _named(url: str) -> str:
    parts = urlsplit(url)
    database = parts.path.strip("/") or "database"
    return f"PostgreSQL {database} on {parts.hostname or 'this machine'}"
