"""`serve` that cannot start says so in one line, ends non-zero and leaves nothing running; one that can, stops cleanly."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import MappingProxyType
from urllib.request import urlopen

import pytest

from bot.store.schema import migrate

pytestmark = pytest.mark.story
ROOT = Path(__file__).parents[1]
CONFIG = """\
version: 1
slack: {channel: C0INCIDENTS}
web: {port: 0}
sources:
  generic: {tokens: [{env: TOKEN}]}
roles:
  sre: {members: [U0ANA]}
policy:
  rules: [{id: default, require: [{role: sre}]}]
models:
  fraud-scorer:
    environments: {dev: {targets: {route: {adapter: memory, versions: ["41", "42"]}}}}
"""


class Slack(BaseHTTPRequestHandler):
    """Answers `auth.test` as Slack does; refuses one token."""

    def do_POST(self) -> None:
        good = "xoxb-good" in self.headers.get("Authorization", "")
        answer = {"ok": True, "team_id": "T1", "user_id": "UBOT"} if good else {"ok": False, "error": "invalid_auth"}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def slack() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Slack)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "lastgood.yaml").write_text(CONFIG)
    return tmp_path


def environment(slack: str, **changes: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("LASTGOOD", "SLACK"))}
    given = {
        "SLACK_API_URL": slack, "SLACK_BOT_TOKEN": "xoxb-good", "SLACK_SIGNING_SECRET": "s3cret", "TOKEN": "t0ken", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    return {name: value for name, value in {**clean, **given, **changes}.items() if value}


def refused(
    site: Path,
    slack: str,
    changes: Mapping[str, str] = MappingProxyType({}),
    *,
    limit: Callable[[], None] | None = None,
) -> str:
    """Start `serve`, which must end by itself with 1, and give the one line it said beside its log."""
    done = subprocess.run(
        [sys.executable, "-m", "bot", "serve"], cwd=site, env=environment(slack, **changes), capture_output=True, text=True,
        timeout=90, check=False, preexec_fn=limit,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if not line.startswith('{"at"')]
    assert (done.returncode, done.stdout, len(said)) == (1, "", 1), done.stderr
    assert "Traceback" not in done.stderr
    assert "t0ken" not in done.stderr
    assert "s3cret" not in done.stderr
    return said[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"SLACK_BOT_TOKEN": ""}, "✗ environment: SLACK_BOT_TOKEN: is missing. `lastgood manifest` makes the app that gives one. Nothing was started."),
        ({"SLACK_SIGNING_SECRET": ""}, "✗ environment: SLACK_SIGNING_SECRET: is missing. Set SLACK_APP_TOKEN for Socket Mode or SLACK_SIGNING_SECRET for HTTP. Nothing was started."),
        ({"SLACK_BOT_TOKEN_FILE": "absent"}, "✗ environment: SLACK_BOT_TOKEN_FILE: absent cannot be read: No such file or directory. Nothing was started."),
        ({"LASTGOOD_CONFIG": "absent.yaml"}, "✗ absent.yaml: cannot be read: No such file or directory. `lastgood init` writes one; LASTGOOD_CONFIG names another. Nothing was started."),
        ({"LASTGOOD_PORT": "http"}, "✗ environment: LASTGOOD_PORT: `http` is no port. Give a number from 0 to 65535. Nothing was started."),
        ({"LASTGOOD_HOST": "192.0.2.1"}, "✗ Port 0 on 192.0.2.1 cannot be listened on: Cannot assign requested address. Set web.port or LASTGOOD_PORT. Nothing was started."),
        ({"LASTGOOD_SIGNING_KEY": "zz"}, "✗ environment: LASTGOOD_SIGNING_KEY: is not an Ed25519 key. Give 64 hexadecimal characters, or PEM without a password. Nothing was started."),
        ({"LASTGOOD_DATABASE_URL": "mysql://x"}, "✗ environment: LASTGOOD_DATABASE_URL: mysql: names no database. Write sqlite:/// and a path, or postgresql+psycopg://ROLE@HOST/DATABASE. Nothing was started."),
        ({"LASTGOOD_DATABASE_URL": "sqlite:///absent/t.db"}, "✗ The timeline absent/t.db cannot be kept there: No such file or directory (absent/t.db.serve.lock). LASTGOOD_DATABASE_URL names another place. Nothing was started."),
        ({"LASTGOOD_DATABASE_URL": "sqlite:///lastgood.yaml/t.db"}, "✗ The timeline lastgood.yaml/t.db cannot be kept there: Not a directory (lastgood.yaml/t.db.serve.lock). LASTGOOD_DATABASE_URL names another place. Nothing was started."),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_in_the_environment_is_one_line(
    site: Path, slack: str, changes: dict[str, str], said: str
) -> None:
    assert refused(site, slack, changes) == said


def test_a_token_slack_refuses_is_one_line(site: Path, slack: str) -> None:
    assert refused(site, slack, {"SLACK_BOT_TOKEN": "xoxb-bad"}) == (
        "✗ Slack refuses the bot token: invalid_auth. Set SLACK_BOT_TOKEN. Nothing was started."
    )


def test_a_taken_port_is_one_line_and_nothing_was_recorded(site: Path, slack: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(site, slack, {"LASTGOOD_PORT": port})
    assert (
        said
        == f"✗ Port {port} on 127.0.0.1 cannot be listened on: Address already in use. Set web.port or LASTGOOD_PORT. Nothing was started."
    )
    with contextlib.closing(sqlite3.connect(site / "lastgood.db")) as connection:
        assert connection.execute("SELECT count(*) FROM timeline").fetchone() == (0,)


def test_a_mistake_in_the_configuration_is_shown_with_its_line_and_nothing_is_started(site: Path, slack: str) -> None:
    (site / "lastgood.yaml").write_text(CONFIG.replace("require:", "requires:"))
    done = subprocess.run(
        [sys.executable, "-m", "bot", "serve"], cwd=site, env=environment(slack), capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "lastgood.yaml:9:25  policy.rules[0].requires: unknown key. Did you mean `require`?",
        "   9 |   rules: [{id: default, requires: [{role: sre}]}]",
        "     |                         ^^^^^^^^",
        "1 problem. Nothing was started.",
    ]
    assert [path.name for path in site.iterdir()] == ["lastgood.yaml"]


def test_a_damaged_database_is_one_line_and_is_left_as_it_is(site: Path, slack: str) -> None:
    (site / "lastgood.db").write_bytes(b"no database at all" * 500)
    assert (
        refused(site, slack)
        == "✗ The timeline lastgood.db cannot be used: file is not a database. Nothing was changed."
    )
    assert (site / "lastgood.db").read_bytes() == b"no database at all" * 500


def test_a_database_newer_than_the_code_is_one_line(site: Path, slack: str) -> None:
    migrate(f"sqlite:///{site}/lastgood.db")
    with contextlib.closing(sqlite3.connect(site / "lastgood.db", isolation_level=None)) as connection:
        connection.execute("UPDATE meta SET value='99' WHERE name='format'")
    assert "was written by a newer Lastgood (format 99, this one knows 4)" in refused(site, slack)


def test_a_locked_database_is_one_line(site: Path, slack: str) -> None:
    migrate(f"sqlite:///{site}/lastgood.db")
    with contextlib.closing(sqlite3.connect(site / "lastgood.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert refused(site, slack) == (
            "✗ The timeline lastgood.db cannot be written: another process holds it for writing. No record, no rollback."
        )


def full_after(size: int) -> Callable[[], None]:
    """Let no file grow beyond this many bytes, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_disk_too_full_for_a_new_database_is_one_line(site: Path, slack: str) -> None:
    said = refused(site, slack, limit=full_after(8192))
    assert said == "✗ The timeline lastgood.db cannot be brought to format 4: disk I/O error. Nothing was changed."


def test_a_disk_too_full_for_one_more_entry_is_one_line(site: Path, slack: str) -> None:
    migrate(f"sqlite:///{site}/lastgood.db")
    with contextlib.closing(sqlite3.connect(site / "lastgood.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("INSERT INTO person(id,name) VALUES('U0ANA',?)", ("x" * 100_000,))  # the log is long already
        said = refused(site, slack, limit=full_after(65536))
    assert said == "✗ The timeline lastgood.db cannot be written: the disk reports errors. No record, no rollback."


@contextlib.contextmanager
def serving(site: Path, slack: str, log: str, **changes: str) -> Iterator[subprocess.Popen[str]]:
    with (site / log).open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "bot", "serve"], cwd=site, env=environment(slack, **changes), stdout=subprocess.PIPE, stderr=err, text=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.communicate(timeout=90)


def until(path: Path, text: str, seconds: float = 30) -> str:
    """Wait for a line of a log."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for line in path.read_text().splitlines():
            if text in line:
                return line
        time.sleep(0.02)
    raise AssertionError(path.read_text())


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_stops_cleanly(site: Path, slack: str, how: signal.Signals) -> None:
    with serving(site, slack, "log") as process:
        said = until(site / "log", "listens on port")
        port = said.split("port ")[1].partition(";")[0]
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            assert answer.status == 200
        process.send_signal(how)
        out, _ = process.communicate(timeout=90)
        assert process.returncode == 0
    assert "timeline lastgood.db; public key " in said
    assert [next(iter(json.loads(line))) for line in out.splitlines()] == ["checkpoint"]


def test_a_second_one_waits_and_says_for_whom_and_takes_over(site: Path, slack: str) -> None:
    with serving(site, slack, "first") as first:
        until(site / "first", "listens on port")
        with serving(site, slack, "second") as second:
            assert until(site / "second", "Waiting") == f"Waiting: process {first.pid} serves lastgood.db."
            first.kill()
            until(site / "second", "listens on port")
            second.send_signal(signal.SIGTERM)
            second.communicate(timeout=90)
            assert second.returncode == 0


def test_one_that_waits_ends_when_asked(site: Path, slack: str) -> None:
    with serving(site, slack, "first"):
        until(site / "first", "listens on port")
        with serving(site, slack, "second") as second:
            until(site / "second", "Waiting")
            second.send_signal(signal.SIGINT)
            second.communicate(timeout=90)
            assert second.returncode == 130
        assert "Traceback" not in (site / "second").read_text()
