"""The voice of the product: calm, active, a fact a sentence. Every text it can say is read here and held to it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot import errors
from bot.domain import entries as e
from bot.report.story import ON_FAILURE, PROMPTS
from bot.report.templates import SHIPPED
from tests.report.tales import TALES, written

ROOT = Path(__file__).resolve().parents[2]
BANNED = re.compile(
    r"(?i)\b(success(?:fully|ful)?|please|sorry|oops|unfortunately|just|simply|seamless(?:ly)?|issues?|an error occurred"
    r"|(?:ha(?:s|ve)|had) been(?! \w+ing))\b"
)
SHOUT = re.compile(r"[\w.?…)\"'”’]!(?=[\s\"'”’)]|$)")


def said_in(path: Path) -> Iterator[tuple[int, str]]:
    """Give every text of a module that could be a sentence, docstrings and lone words left out."""
    tree = ast.parse(path.read_text())
    documented = {id(said) for node in ast.walk(tree) if (said := _docstring(node)) is not None}
    inside = {id(part) for one in ast.walk(tree) if isinstance(one, ast.JoinedStr) for part in one.values}
    for one in ast.walk(tree):
        if isinstance(one, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "x" for part in one.values]
            yield one.lineno, "".join(str(part) for part in parts)
        elif isinstance(one, ast.Constant) and isinstance(one.value, str) and id(one) not in documented | inside:
            yield one.lineno, one.value


def _docstring(node: ast.AST) -> ast.Constant | None:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
        return None
    first = node.body[0]
    said = first.value if isinstance(first, ast.Expr) else None
    return said if isinstance(said, ast.Constant) else None


def faults(text: str) -> list[str]:
    """Give what breaks the voice in one text; a lone word is a name, not a sentence."""
    if " " not in text.strip():
        return []
    return [match[0] for pattern in (BANNED, SHOUT) for match in pattern.finditer(text)]


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("Successfully rolled back.", ["Successfully"]),
        ("Please try again!", ["Please", "n!"]),
        ("The plan has been approved.", ["has been"]),
        ("how long it has been firing", []),
        ("Ana Ruiz approved as on-call SRE.", []),
        ("<!date^1^{time}|03:13 UTC> and <!doctype html>", []),
        ("a != b and !x", []),
        ("Adjust the justification of tissue.", []),
    ],
)
def test_the_lint_hears_what_it_must(text: str, broken: list[str]) -> None:
    assert faults(text) == broken


@pytest.mark.parametrize("room", ["bot", "adapters"])
def test_no_sentence_of_the_product_uses_a_banned_word_or_shouts(room: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {', '.join(broken)} in {text.strip()[:100]!r}"
        for path in sorted((ROOT / room).rglob("*.py"))
        for line, text in said_in(path)
        if (broken := faults(text))
    ]
    assert found == [], "\n".join(found)


def test_the_lint_reads_the_sentences_it_is_for() -> None:
    read = [text for path in (ROOT / "bot").rglob("*.py") for _, text in said_in(path)]
    assert "Everything is checked again, then traffic moves." in read
    assert any("Nothing was changed." in text for text in read)
    assert len([text for text in read if " " in text and text.endswith(".")]) > 200


def _errors(kind: type[errors.LastgoodError]) -> Iterator[type[errors.LastgoodError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from _errors(one)


def test_what_an_error_says_by_itself_keeps_the_voice() -> None:
    for kind in _errors(errors.LastgoodError):
        said = (kind.__doc__ or "").split("\n", 1)[0]
        assert said.endswith("."), kind
        assert faults(said) == []


@pytest.mark.parametrize("tale", TALES)
async def test_every_document_and_every_sentence_of_every_ending_keeps_the_voice(tale: str) -> None:
    document = await written(TALES[tale])
    page = re.sub(r"<style>.*?</style>|<[^>]*>", " ", document.html, flags=re.DOTALL)
    for text in (document.markdown, page, *(one.sentence() for one in TALES[tale])):
        assert faults(text) == []


def test_every_type_of_entry_has_a_sentence_of_its_own() -> None:
    for kind in e.ENTRIES.values():
        assert kind.sentence is not e.Entry.sentence, kind.type


@pytest.mark.parametrize("template", sorted(path.name for path in SHIPPED.glob("*.j2")))
def test_the_words_of_a_template_keep_the_voice(template: str) -> None:
    text = re.sub(r"{[{%#].*?[}%#]}|<style>.*?</style>|<[^>]*>", " ", (SHIPPED / template).read_text(), flags=re.DOTALL)
    assert [broken for line in text.splitlines() for broken in faults(line)] == []


def test_the_fixed_sentences_keep_the_voice() -> None:
    for text in (*PROMPTS, *ON_FAILURE.values()):
        assert faults(text) == []
        assert text.endswith((".", "?"))


def test_the_words_of_the_demo_page_keep_the_voice() -> None:
    page = ROOT / "bot" / "demo" / "page"
    html = re.sub(r"<style>.*?</style>|<[^>]*>", " ", (page / "page.html").read_text(), flags=re.DOTALL)
    script = [match[2] for match in re.finditer(r"""(["'`])(.*?)\1""", (page / "page.js").read_text())]
    assert [broken for text in (*html.splitlines(), *script) for broken in faults(text)] == []
