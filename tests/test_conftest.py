"""The promise about skips, kept by a pytest of its own in a clean folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS_ONE = "import pytest\ndef test_it() -> None:\n    pytest.skip('no Envoy here')\n"
SKIPS_ALL = "import pytest\npytest.skip('no browser here', allow_module_level=True)\n"
MARKED = "import pytest\n@pytest.mark.skipif(True, reason='no Prometheus here')\ndef test_it() -> None: ...\n"
FAILS_AS_EXPECTED = "import pytest\n@pytest.mark.xfail\ndef test_it() -> None:\n    assert False\n"


def run(folder: Path, source: str, promise: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(Path(__file__).parent / "conftest.py", folder / "conftest.py")
    (folder / "test_one.py").write_text(source, encoding="utf-8")
    environment = {**os.environ, "LASTGOOD_NO_SKIPS": promise, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "."]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("source", "reason"), [(SKIPS_ONE, "no Envoy here"), (SKIPS_ALL, "no browser here"), (MARKED, "no Prometheus here")]
)
def test_a_skip_fails_where_everything_is_promised(tmp_path: Path, source: str, reason: str) -> None:
    kept = run(tmp_path, source, promise="1")
    assert kept.returncode == 1 or "error" in kept.stdout
    assert reason in kept.stdout
    assert "skipped" not in kept.stdout.splitlines()[-1]


def test_a_skip_is_only_a_skip_elsewhere(tmp_path: Path) -> None:
    kept = run(tmp_path, SKIPS_ONE, promise="")
    assert kept.returncode == 0
    assert "1 skipped" in kept.stdout


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    assert run(tmp_path, FAILS_AS_EXPECTED, promise="1").returncode == 0
