"""The Dockerfile's own steps, run in a clean folder by a user who is not root, until `/healthz` answers.

There is no container engine in a test. A folder stands for the image's `/`: COPY copies below it, RUN runs with its
absolute paths moved below it, and CMD is started there with the image's ENV. Stages share the folder, as they share
the path of the virtual environment.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOBODY = 65534 if os.geteuid() == 0 else None  # who the steps run as; where we have no rights, we are that already
BUILD_SECONDS = 300
READY_SECONDS = 30
ONLY_IN_AN_IMAGE = re.compile(r"\s*(?:apt-get|useradd)\b")
IMAGE_PATH = re.compile(r"(?<![\w.-])/(?=(?:opt|var|etc)/)")
CONFIG = """\
version: 1
slack: {channel: C0INCIDENTS}
sources:
  alertmanager: {tokens: [{env: ALERTMANAGER_TOKEN}]}
roles:
  oncall-sre: {members: [U0ANA]}
policy:
  rules:
    - {id: default, mode: approve, require: [{role: oncall-sre}]}
models:
  fraud-scorer:
    owner: {member: U0ANA, escalate_to: oncall-sre}
    environments:
      prod:
        targets:
          route: {adapter: memory, versions: ["41", "42"]}
"""


@dataclass(frozen=True)
class Step:
    """One instruction and what follows it."""

    word: str
    rest: str


@dataclass
class Stage:
    """What the instructions of one stage said."""

    directory: str = "/"
    user: str = "root"
    environment: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


def steps() -> list[Step]:
    """The instructions of the Dockerfile, continuation lines joined, comments left out."""
    lines = [line for line in read("Dockerfile").splitlines() if line.strip() and not line.startswith("#")]
    return [Step(*line.split(maxsplit=1)) for line in "\n".join(lines).replace("\\\n", " ").splitlines()]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pairs(rest: str) -> list[tuple[str, str]]:
    """The names and values of an ENV."""
    return [(name, value) for name, _, value in (part.partition("=") for part in shlex.split(rest))]


def last_stage() -> list[Step]:
    instructions = steps()
    start = max(at for at, step in enumerate(instructions) if step.word == "FROM")
    return instructions[start:]


def in_last(word: str) -> list[str]:
    return [step.rest for step in last_stage() if step.word == word]


def test_the_image_is_debian_slim_and_not_root() -> None:
    assert {step.rest.split()[0] for step in steps() if step.word == "FROM"} == {"python:3.11-slim-bookworm"}
    assert in_last("USER")[-1] not in {"root", "0"}


def test_the_image_serves_and_is_asked_how_it_is() -> None:
    assert json.loads(in_last("CMD")[-1]) == ["lastgood", "serve"]
    assert "/healthz" in in_last("HEALTHCHECK")[0]


def test_the_timeline_lies_in_the_volume() -> None:
    environment = dict(pair for rest in in_last("ENV") for pair in pairs(rest))
    database = environment["LASTGOOD_DATABASE_URL"].removeprefix("sqlite:///")
    assert database.startswith(in_last("VOLUME")[0] + "/")


def test_only_what_the_image_needs_is_let_in() -> None:
    wanted = {
        name for step in steps() if step.word == "COPY" and "--from" not in step.rest for name in step.rest.split()[:-1]
    }
    let_in = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    assert let_in == wanted


class Builder:
    """Carries the instructions out below one folder, as a user who is not root."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder, self.python = folder, python
        self.root, self.context = folder / "root", folder / "context"
        self.stage = Stage()
        self.root.mkdir()
        for line in read(".dockerignore").splitlines():
            if line.startswith("!"):
                copy(ROOT / line[1:], self.context / line[1:])

    def build(self) -> Stage:
        """Carry out every instruction; give the last stage."""
        for step in steps():
            getattr(self, step.word.lower(), self.nothing)(step.rest)
        return self.stage

    def nothing(self, rest: str) -> None:
        """LABEL, EXPOSE and VOLUME ask for nothing."""

    def from_(self, rest: str) -> None:
        """FROM begins a stage: its settings start anew."""
        self.stage = Stage()

    def workdir(self, rest: str) -> None:
        self.stage.directory = rest
        self.below(rest).mkdir(parents=True, exist_ok=True)

    def copy(self, rest: str) -> None:
        """COPY from the context; from another stage only what keeps its path."""
        words = rest.split()
        if words[0].startswith("--from="):
            assert words[1] == words[2]
            assert self.below(words[1]).exists()
            return
        *names, last = words
        target = self.below(str(Path(self.stage.directory) / last))
        for name in names:
            copy(self.context / name, target / Path(name).name if last.endswith("/") else target)

    def env(self, rest: str) -> None:
        self.stage.environment.update(pairs(rest))

    def user(self, rest: str) -> None:
        self.stage.user = rest

    def cmd(self, rest: str) -> None:
        self.stage.command = json.loads(rest)

    def healthcheck(self, rest: str) -> None:
        self.stage.health = json.loads(rest[rest.index("CMD ") + 4 :])

    def run(self, rest: str) -> None:
        """RUN through the shell; what only an image has is left out."""
        if ONLY_IN_AN_IMAGE.match(rest):
            return
        own(self.folder)
        line = re.sub(r"\bpython -m venv\b", f"{self.python} -m venv", self.moved(rest))
        done = subprocess.run(
            ["sh", "-euc", line], cwd=self.below(self.stage.directory), env=self.environment(), timeout=BUILD_SECONDS,
            capture_output=True, text=True, check=False, user=NOBODY, group=NOBODY,
        )  # fmt: skip
        assert done.returncode == 0, f"RUN {rest}\n{done.stdout}{done.stderr}"

    def environment(self) -> dict[str, str]:
        """The stage's ENV; beside it only what a package client needs to find its index."""
        ours = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("PIP_", "SSL_", "REQUESTS_")) or name.lower().endswith("_proxy")
        }
        ours.pop("PIP_CACHE_DIR", None)
        home = {"HOME": str(self.folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        return {**home, **ours, **{name: self.moved(value) for name, value in self.stage.environment.items()}}

    def moved(self, text: str) -> str:
        """Text with the image's absolute paths below our folder, and our PATH for `$PATH`."""
        return IMAGE_PATH.sub(f"{self.root}/", text).replace("$PATH", os.environ["PATH"])

    def below(self, path: str) -> Path:
        return self.root / path.lstrip("/")


setattr(Builder, "from", Builder.from_)


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, target)


def own(folder: Path) -> None:
    """Give the folder to the user the steps run as."""
    if NOBODY is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


def usable_python() -> str:
    """An interpreter that the user without rights may start and that can make environments."""
    ask = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    for name in (getattr(sys, "_base_executable", sys.executable), "/usr/bin/python3"):
        try:
            done = subprocess.run(
                [name, "-c", ask], cwd="/", env={}, capture_output=True, check=False, user=NOBODY, group=NOBODY
            )
        except OSError:
            continue
        if done.returncode == 0:
            return str(name)
    pytest.skip("no Python 3.11 with ensurepip that a user without rights may start")


@contextmanager
def clean_folder() -> Iterator[Path]:
    """A folder that a user without rights can reach, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="lastgood-image-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def started(builder: Builder, stage: Stage, port: int, said: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The image's CMD, until left; what it says goes to a file."""
    environment = {**builder.environment(), "LASTGOOD_PORT": str(port), **SECRETS}
    command = [shutil.which(stage.command[0], path=environment["PATH"]) or stage.command[0], *stage.command[1:]]
    with said.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=builder.below(stage.directory), env=environment,
            stdout=out, stderr=subprocess.STDOUT, user=NOBODY, group=NOBODY,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


SECRETS = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "SLACK_SIGNING_SECRET": "0123456789abcdef",
    "SLACK_API_URL": "http://127.0.0.1:9/api/",  # nobody answers: Slack is away, and the bot works all the same
    "ALERTMANAGER_TOKEN": "t0ken",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def healthy(builder: Builder, stage: Stage, port: int, process: subprocess.Popen[bytes]) -> bool:
    """Whether the image's own HEALTHCHECK ends 0 within the time a start may take."""
    environment = {**builder.environment(), "LASTGOOD_PORT": str(port)}
    command = [shutil.which(stage.health[0], path=environment["PATH"]) or stage.health[0], *stage.health[1:]]
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if (
            subprocess.run(
                command, env=environment, cwd="/", capture_output=True, check=False, user=NOBODY, group=NOBODY
            ).returncode
            == 0
        ):
            return True
        time.sleep(0.2)
    return False


@pytest.mark.story
@pytest.mark.timeout(BUILD_SECONDS + 60)
def test_the_steps_lead_to_a_bot_that_answers() -> None:
    python = usable_python()
    with clean_folder() as folder:
        builder = Builder(folder, python)
        stage = builder.build()
        builder.below("/etc/lastgood/lastgood.yaml").write_text(CONFIG, encoding="utf-8")
        builder.below("/var/lib/lastgood").mkdir(parents=True, exist_ok=True)
        own(folder)
        port = free_port()
        said = folder / "said"
        with started(builder, stage, port, said) as process:
            assert healthy(builder, stage, port, process), said.read_text(encoding="utf-8")
        assert process.returncode == 0, said.read_text(encoding="utf-8")
        assert builder.below("/var/lib/lastgood/lastgood.db").exists()
