"""Every YAML example of the pages is tried: ours by `check`, the senders' by their own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from bot.config import Settings, examine

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WHOLE = """\
version: 1
slack: {channel: C0INCIDENTS}
metrics:
  scrape: {urls: ["http://127.0.0.1:8000/metrics"]}
models:
  fraud-scorer:
    owner: {member: U0ANA, escalation_policy: PUS0KTE}
    environments:
      prod:
        targets:
          route: {adapter: memory, versions: ["41", "42"]}
        slis:
          error_ratio: {source: scrape, errors: 'p_total{code="500"}', total: p_total, objective: 0.01}
"""
ENVIRONMENT = dict.fromkeys(("ALERTMANAGER_TOKEN", "ALERTMANAGER_TOKEN_NEXT", "GENERIC_TOKEN"), "t0ken")


def examples(first_line: str) -> list[tuple[str, str]]:
    """The page and the text of every YAML block that begins with this comment."""
    blocks = [
        (path.relative_to(ROOT).as_posix(), re.sub(r"(?m)^ {3}", "", block) if block.startswith("   #") else block)
        for path in PAGES
        for block in re.findall(r"^ *```yaml\n(.*?)^ *```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    ]
    return [(page, block) for page, block in blocks if block.startswith(first_line)]


def problems(folder: Path, text: str) -> list[str]:
    (folder / "lastgood.yaml").write_text(text, encoding="utf-8")
    _, found, _ = examine(Settings({"LASTGOOD_CONFIG": str(folder / "lastgood.yaml"), **ENVIRONMENT}))
    return [f"{one.file}:{one.line} {one.key}: {one.message}" for one in found]


def merged(part: str) -> str:
    """A part of the configuration put into a whole one."""
    return yaml.safe_dump({**yaml.safe_load(WHOLE), **yaml.safe_load(part)}, sort_keys=False)


def test_the_whole_that_parts_are_put_into_is_sound(tmp_path: Path) -> None:
    assert problems(tmp_path, WHOLE) == []


@pytest.mark.parametrize(("page", "text"), examples("# lastgood.yaml"))
def test_a_whole_configuration_has_no_problem(tmp_path: Path, page: str, text: str) -> None:
    assert problems(tmp_path, text) == []


@pytest.mark.parametrize(("page", "text"), examples("# a part of lastgood.yaml"))
def test_a_part_of_a_configuration_has_no_problem(tmp_path: Path, page: str, text: str) -> None:
    assert problems(tmp_path, merged(text)) == []


@pytest.mark.parametrize(("page", "text"), examples("# runbooks/"))
def test_a_runbook_has_no_problem(tmp_path: Path, page: str, text: str) -> None:
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "one.yaml").write_text(text, encoding="utf-8")
    assert problems(tmp_path, WHOLE) == []


def test_a_misspelt_key_in_an_example_would_be_found(tmp_path: Path) -> None:
    page, text = examples("# lastgood.yaml")[0]
    assert problems(tmp_path, text.replace("require:", "requires:")) != [], page


@pytest.mark.parametrize(
    ("tool", "package", "arguments", "first_line"),
    [
        ("amtool", "prometheus-alertmanager", ["check-config"], "# alertmanager.yml"),
        ("promtool", "prometheus", ["check", "rules"], "# a Prometheus rule file"),
        ("promtool", "prometheus", ["check", "rules"], "# another Prometheus rule file"),
    ],
)
def test_a_senders_own_tool_takes_the_example(
    tmp_path: Path, tool: str, package: str, arguments: list[str], first_line: str
) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is absent; Debian's {package} brings it")
    [(_, text)] = examples(first_line)
    (tmp_path / "example.yml").write_text(text, encoding="utf-8")
    (tmp_path / "lastgood-token").write_text("t0ken", encoding="utf-8")
    done = subprocess.run([tool, *arguments, "example.yml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
