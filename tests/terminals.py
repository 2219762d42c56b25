"""A person's own terminal: `lastgood` as a process of its own, with a configuration folder of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.__main__ import main

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """What it said, wrapped lines put together."""
        return " ".join((self.out + self.err).split())

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


@dataclass
class Terminal:
    """Where one person works: `folder` is the site's, `home` their own."""

    folder: Path
    home: Path
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def credential(self) -> Path:
        """The one credential that is kept here."""
        (found,) = (self.home / "lastgood").glob("credential-*.json")
        return found

    def run(self, *words: str, **environ: str) -> Ended:
        """Run a command to its end; nobody sits there."""
        done = subprocess.run(
            self._words(words), cwd=self.folder, env=self._environ(environ), stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)

    def quick(self, *words: str, **environ: str) -> Ended:
        """Do the same in this process, which saves its start; nobody sits there."""
        before, where, stdin = dict(os.environ), Path.cwd(), sys.stdin
        stdout, stderr = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
        code = 0
        try:
            os.environ.clear()
            os.environ.update(self._environ(environ))
            os.chdir(self.folder)
            time.tzset()
            with Path(os.devnull).open() as nobody, redirect_stdout(stdout), redirect_stderr(stderr):
                sys.stdin = nobody
                main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.stdin = stdin
            os.chdir(where)
            os.environ.clear()
            os.environ.update(before)
            time.tzset()
        return Ended(code, _written(stdout), _written(stderr))

    @contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command, and end it when left."""
        with subprocess.Popen(
            self._words(words), cwd=self.folder, env=self._environ({}), text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()

    def _words(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "bot", *words]

    def _environ(self, more: Mapping[str, str]) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("LASTGOOD", "SLACK"))}
        ours = {"PYTHONPATH": str(ROOT), "TZ": "UTC", "XDG_CONFIG_HOME": str(self.home)}
        return {**clean, **ours, **self.environ, **more}


def _written(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def code_of(process: subprocess.Popen[str]) -> str:
    """Read the code `login` shows."""
    assert process.stderr is not None
    for line in process.stderr:
        if "/rollback login " in line:
            return line.split()[-1]
    raise AssertionError("no code was shown")
