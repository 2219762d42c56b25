from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlmodel import SQLModel

from bot.clock import ManualClock
from bot.errors import TimelineError
from bot.store import schema, tables
from bot.store.place import path_of
from bot.store.timeline import Store, connect

pytestmark = pytest.mark.of_files


def test_migrations_make_exactly_the_tables_that_are_declared(url: str) -> None:
    assert tables.TimelineRow.__tablename__ == "timeline"
    with schema.engine(path_of(url)).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []


def test_a_migrated_database_is_at_the_head_and_in_the_format_of_the_code(url: str) -> None:
    with schema.engine(path_of(url)).connect() as connection:
        head = ScriptDirectory.from_config(schema.alembic_config(connection)).get_current_head()
        assert MigrationContext.configure(connection).get_current_revision() == head
        assert connection.exec_driver_sql("SELECT value FROM meta WHERE name='format'").scalar() == str(schema.FORMAT)
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_migrating_again_changes_nothing_and_imports_nothing_heavy(url: str) -> None:
    before = path_of(url).read_bytes()
    code = (
        "import sys\nfrom bot.store.schema import migrate\nmigrate(sys.argv[1])\n"
        "print(sorted({'alembic', 'sqlalchemy', 'sqlmodel'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code, url], capture_output=True, check=True, timeout=30)
    assert ended.stdout.strip() == b"[]"
    assert path_of(url).read_bytes() == before


def test_a_newer_database_is_refused_in_one_line_and_left_alone(url: str) -> None:
    path = path_of(url)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value='7'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(TimelineError, match=r"newer Lastgood \(format 7, this one knows 4\)") as refused:
        schema.migrate(url)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before


def test_a_database_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE work(id)")
    connection.commit()
    connection.close()
    with pytest.raises(TimelineError, match=r"cannot be brought to format 4: table work already exists"):
        schema.migrate(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("work",)]
    connection.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(TimelineError, match=r"text\.db cannot be used: file is not a database"):
        schema.migrate(f"sqlite:///{path}")


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TimelineError, match="unable to open database file"):
        schema.migrate(f"sqlite:///{tmp_path}/none/site.db")


@pytest.mark.parametrize(
    ("url", "path"),
    [("sqlite:///site.db", "site.db"), ("sqlite:////var/site.db", "/var/site.db"), ("site.db", "site.db")],
)
def test_a_url_names_a_file(url: str, path: str) -> None:
    assert path_of(url) == Path(path)


@pytest.mark.parametrize("url", ["mysql://db/x", "sqlite://", "sqlite:///"])
def test_a_url_of_something_else_is_refused(url: str) -> None:
    with pytest.raises(TimelineError, match="names no database"):
        path_of(url)


@pytest.mark.parametrize("name", ["a?b.db", "a#b.db", "a%20b.db", "a b.db", "ä.db"])
async def test_any_file_name_works(tmp_path: Path, clock: ManualClock, name: str) -> None:
    url = f"sqlite:///{tmp_path / name}"
    schema.migrate(url)
    async with Store(url, clock) as store:
        assert await store.read("incident/A") == []
    assert (tmp_path / name).exists()


def test_every_connection_is_durable_and_guarded(url: str) -> None:
    connection = connect(path_of(url), write=True)
    found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert found == ["wal", 2]
    assert connection.execute("PRAGMA recursive_triggers").fetchone() == (1,)
    connection.close()


def test_a_migration_killed_half_way_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom alembic import command\nfrom bot.store import schema\n"
        "with schema.engine(Path(sys.argv[1])).begin() as connection:\n"
        "    command.upgrade(schema.alembic_config(connection), 'head')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    connection.close()
    schema.migrate(f"sqlite:///{path}")
