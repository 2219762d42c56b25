"""`lastgood slo` as people and scripts meet it: which files it writes, what it says, how it ends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import main
from bot.report.slo import MADE

CONFIG = """\
version: 1
slack: {channel: C0INCIDENTS}
web: {public_url: "https://lastgood.example.com"}
sources:
  alertmanager: {tokens: [{env: ALERTMANAGER_TOKEN}]}
metrics:
  scrape: {urls: ["http://127.0.0.1:8000/metrics"]}
  prometheus: {url: "http://127.0.0.1:9090"}
models:
  fraud-scorer:
    environments:
      test:
        targets: {route: {adapter: memory, versions: ["41", "42"]}}
        slis:
          error_ratio: {source: scrape, errors: 'p_total{model="fraud-scorer",code="500"}', total: 'p_total{model="fraud-scorer"}', objective: 0.01}
  ranker:
    environments:
      test:
        targets: {route: {adapter: memory, versions: ["1", "2"]}}
        slis:
          clicks: {source: prometheus, query: 'clicks{version="{version}"}', objective: 0.1, good: above}
          quality: {source: prometheus, query: quality, objective: 0.9, good: above}
"""
FRAUD = ["fraud-scorer.test.error_ratio.rules.yml", "fraud-scorer.test.error_ratio.test.yaml"]
RANKER = ["ranker.test.quality.rules.yml", "ranker.test.quality.value.rules.yml", "ranker.test.quality.test.yaml"]
HOUSE = ["watchdog.rules.yml", "watchdog.test.yaml", "alertmanager.yml"]


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `lastgood slo generate` with these words in a folder that holds a configuration."""
    monkeypatch.chdir(tmp_path)
    for name in [one for one in os.environ if one.startswith(("LASTGOOD", "SLACK"))]:
        monkeypatch.delenv(name)
    Path("lastgood.yaml").write_text(CONFIG, encoding="utf-8")

    def ran(*words: str) -> Ran:
        code = 0
        try:
            main(("slo", "generate", *words))
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return ran


def written(folder: str = "slo") -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_every_file_is_written_and_named(run: Run) -> None:
    ended = run()
    assert ended.code == 0
    assert ended.out.splitlines() == [f"✓ wrote slo/{name}" for name in (*FRAUD, *RANKER, *HOUSE)]
    assert written() == sorted((*FRAUD, *RANKER, *HOUSE))
    assert all(path.read_text(encoding="utf-8").startswith(MADE) for path in Path("slo").iterdir())


def test_the_receiver_posts_to_the_public_address(run: Run) -> None:
    run()
    text = Path("slo/alertmanager.yml").read_text(encoding="utf-8")
    assert "url: https://lastgood.example.com/hooks/alertmanager\n" in text


def test_what_cannot_be_made_is_said_with_the_reason_beside_the_results(run: Run) -> None:
    said = " ".join(run().err.split())
    assert "· ranker test clicks: No rules: its query names `{version}`, and a rule stands for every version." in said
    assert "· ranker test quality: No ratio over windows and no burn rate" in said
    assert "fraud-scorer" not in said


def test_a_script_gets_one_object(run: Run) -> None:
    ended = run("--json", "--out", "rules")
    assert (ended.code, ended.err) == (0, "")
    found = ended.json
    assert list(found) == ["out", "files", "left", "remarks"]
    assert (found["out"], found["files"], found["left"]) == ("rules", [*FRAUD, *RANKER, *HOUSE], [])
    assert [(one["model"], one["environment"], one["sli"]) for one in found["remarks"]] == [
        ("ranker", "test", "clicks"),
        ("ranker", "test", "quality"),
    ]
    assert written("rules") == sorted(found["files"])


def test_one_model_can_be_asked_for(run: Run) -> None:
    assert run("--model", "fraud-scorer", "--json").json["files"] == [*FRAUD, *HOUSE]


def test_a_model_that_is_not_there_is_one_line_and_nothing_is_written(run: Run) -> None:
    ended = run("--model", "fraud-scorrer")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "✗ There is no model `fraud-scorrer`. Did you mean `fraud-scorer`?\n"
    assert not Path("slo").exists()


def test_another_configuration_can_be_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("site").mkdir()
    Path("lastgood.yaml").rename("site/other.yaml")
    monkeypatch.setenv("LASTGOOD_CONFIG", "absent.yaml")
    assert run().code == 1
    assert run("--config", "site/other.yaml").code == 0


def test_a_configuration_with_a_mistake_writes_nothing(run: Run) -> None:
    Path("lastgood.yaml").write_text(CONFIG.replace("objective: 0.9", "objectiv: 0.9"), encoding="utf-8")
    ended = run()
    assert (ended.code, ended.out) == (1, "")
    assert "Nothing was started" in ended.err
    assert not Path("slo").exists()


def test_a_second_run_writes_the_same_bytes(run: Run) -> None:
    run()
    first = {path.name: path.read_bytes() for path in Path("slo").iterdir()}
    assert run().code == 0
    assert {path.name: path.read_bytes() for path in Path("slo").iterdir()} == first


def test_a_file_of_somebody_else_is_never_overwritten(run: Run) -> None:
    Path("slo").mkdir()
    Path("slo/alertmanager.yml").write_text("route: {receiver: mine}\n", encoding="utf-8")
    ended = run()
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("✗ slo/alertmanager.yml was not made by this command. Nothing was written.")
    assert written() == ["alertmanager.yml"]


def test_a_file_that_nothing_makes_any_more_is_named(run: Run) -> None:
    run()
    Path("slo/mine.rules.yml").write_text("groups: []\n", encoding="utf-8")
    Path("lastgood.yaml").write_text(CONFIG[: CONFIG.index("  ranker:")], encoding="utf-8")
    assert run("--json").json["left"] == sorted(RANKER)
    said = " ".join(run().err.split())
    assert "slo/ranker.test.quality.rules.yml: nothing of the configuration makes it any more. Remove it." in said
    assert "mine" not in said
    assert run("--model", "fraud-scorer", "--json").json["left"] == []


def test_a_configuration_without_alertmanager_is_told(run: Run) -> None:
    lines = [line for line in CONFIG.splitlines(keepends=True) if "alertmanager:" not in line and line != "sources:\n"]
    Path("lastgood.yaml").write_text("".join(lines), encoding="utf-8")
    ended = run()
    assert ended.code == 0
    assert "· `sources` has no `alertmanager`, so what Alertmanager sends is answered 503. Add it.\n" in ended.err
