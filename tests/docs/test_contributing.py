"""CONTRIBUTING keeps its word: a traffic adapter is one file and its test, and nothing else is touched."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEWCOMER = Path(__file__).with_name("newcomer")
ROOMS = ("bot", "adapters", "runbooks", "tests/conftest.py", "tests/postgres.py", "pyproject.toml", "README.md")
CONFIG = """\
version: 1
slack: {channel: C0INCIDENTS}
roles: {sre: {members: [U0ANA]}}
policy: {rules: [{id: default, mode: approve, require: [{role: sre}]}]}
models:
  fraud-scorer:
    owner: {member: U0ANA, escalate_to: sre}
    environments:
      staging: {targets: {route: {adapter: flagfile, KEY: flags.json}}}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the tree, with the newcomer's two files in their places."""
    tree = tmp_path / "checkout"
    for name in ROOMS:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, tree / name)
    shutil.copy2(NEWCOMER / "flagfile.py", tree / "adapters" / "traffic" / "flagfile.py")
    (tree / "tests" / "adapters" / "traffic").mkdir(parents=True)
    shutil.copy2(NEWCOMER / "contract.py", tree / "tests" / "adapters" / "traffic" / "test_flagfile.py")
    return tree


def run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("LASTGOOD_")}
    environment = {**others, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "LASTGOOD_NO_SKIPS": "1"}
    return subprocess.run(
        [sys.executable, "-P", *arguments], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )


def sums(tree: Path) -> dict[str, str]:
    files = (path for path in tree.rglob("*") if path.is_file() and ".pytest_cache" not in path.parts)
    return {str(path.relative_to(tree)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_new_traffic_adapter_passes_the_suite_and_touches_nothing_else(checkout: Path) -> None:
    before = sums(checkout)
    done = run(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/adapters/traffic/test_flagfile.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert sums(checkout) == before


def test_a_new_traffic_adapter_is_found_listed_and_checked_by_its_name(checkout: Path) -> None:
    listed = json.loads(run(checkout, "-m", "bot", "adapters", "--json").stdout)
    assert {"name": "flagfile", "port": "traffic"}.items() <= next(
        one for one in listed if one["name"] == "flagfile"
    ).items()
    (checkout / "lastgood.yaml").write_text(CONFIG.replace("KEY", "path"))
    (checkout / "lastgood.yaml").with_name("wrong.yaml").write_text(CONFIG.replace("KEY", "pth"))
    assert json.loads(run(checkout, "-m", "bot", "check", "--json").stdout)["problems"] == []
    (checkout / "wrong.yaml").replace(checkout / "lastgood.yaml")
    problems = json.loads(run(checkout, "-m", "bot", "check", "--json").stdout)["problems"]
    assert (9, "Did you mean `path`?") in [(one["line"], one["hint"]) for one in problems]
