"""The reference pages say what the code says, and every link leads somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_pages", REFERENCE / "_generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command_names() -> set[str]:
    if importlib.util.find_spec("bot.__main__") is None:
        pytest.skip("bot.__main__, the command line, is absent")
    pages = generator()
    return {name for name, _ in pages.walk(pages.command_line(), "lastgood")}


@pytest.mark.parametrize("page", ["entries.md", "errors.md", "facts.md", "keys.md"])
def test_a_page_that_follows_the_code_is_fresh(page: str) -> None:
    assert (REFERENCE / page).read_text(encoding="utf-8") == generator().PAGES[page](), (
        "run python docs/reference/_generate.py"
    )


def test_the_page_of_commands_is_fresh() -> None:
    assert command_names()
    assert (REFERENCE / "commands.md").read_text(encoding="utf-8") == generator().PAGES["commands.md"](), (
        "run python docs/reference/_generate.py"
    )


def test_every_command_a_page_shows_exists() -> None:
    known = command_names()
    shown = {
        (path.name, match[0])
        for path in PAGES
        for line in code_lines(path.read_text(encoding="utf-8"))
        for match in re.finditer(r"\blastgood(?: [a-z][a-z-]+){1,2}", line)
    }
    assert shown
    assert sorted(f"{page}: {name}" for page, name in shown if not any(starts(name, one) for one in known)) == []


def code_lines(text: str) -> list[str]:
    """Lines of fenced blocks that run a command, and `lastgood …` spans in sentences."""
    lines = re.findall(r"`(lastgood [^`\n]+)`", text)
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        lines += [
            line.strip() for line in block.splitlines() if re.match(r"\s*(?:\$ )?(?:\.venv/bin/)?lastgood ", line)
        ]
    return lines


def starts(shown: str, known: str) -> bool:
    """Whether `lastgood check x` shows `lastgood check`: a word after the full name is an argument."""
    return shown == known or shown.startswith(f"{known} ") or known.startswith(f"{shown} ")


def test_every_link_leads_to_a_file() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
        if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists()
    ]
    assert broken == []


def test_no_page_uses_a_banned_word() -> None:
    banned = re.compile(
        r"\b(?:successfully|please|sorry|oops|unfortunately|just|simply|seamless(?:ly)?)\b|an error occurred|has been \w+ed\b",
        re.IGNORECASE,
    )
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in PAGES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if banned.search(line)
    ]
    assert found == []
