"""The first files are sound, teach, and never overwrite; the schemas are what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from bot.config import Settings, examine
from bot.errors import LastgoodError
from bot.starter import NEEDS, schema_texts, write_starter

ROOT = Path(__file__).parents[1]


def test_the_first_files_are_clean_with_the_variables_they_name(tmp_path: Path) -> None:
    write_starter(tmp_path)
    settings = Settings({"LASTGOOD_CONFIG": str(tmp_path / "lastgood.yaml"), **dict.fromkeys(NEEDS, "t0ken")})
    config, problems, warnings = examine(settings)
    assert (config is not None, problems, warnings) == (True, [], [])


def test_the_variables_it_names_are_all_there_are(tmp_path: Path) -> None:
    write_starter(tmp_path)
    sources = yaml.safe_load((tmp_path / "lastgood.yaml").read_text())["sources"]
    assert tuple(token["env"] for source in sources.values() for token in source["tokens"]) == NEEDS


def test_the_schemas_lie_where_the_first_lines_point(tmp_path: Path) -> None:
    written = write_starter(tmp_path)
    for path in (tmp_path / "lastgood.yaml", tmp_path / "runbooks" / "fraud-scorer-regression.yaml"):
        pointed = path.parent / path.read_text().splitlines()[0].partition("$schema=")[2]
        assert pointed in written
        assert pointed.read_bytes() == schema_texts()[pointed.name]


@pytest.mark.parametrize("there", ["lastgood.yaml", "runbooks/schemas/runbook.schema.json", "slack-manifest.yaml"])
def test_nothing_is_written_when_one_file_is_there(tmp_path: Path, there: str) -> None:
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).write_text("mine")
    with pytest.raises(LastgoodError, match=r"is there already\. Nothing was written\."):
        write_starter(tmp_path)
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]


@pytest.mark.parametrize("name", sorted(schema_texts()))
def test_the_committed_schemas_are_fresh(name: str) -> None:
    assert (ROOT / "runbooks" / "schemas" / name).read_bytes() == schema_texts()[name], "run `lastgood schema`"
