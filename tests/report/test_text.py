"""Outside text in Markdown: readable where it is harmless, literal where it could be structure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bot.report.text import Markdown, code, markdown

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
NASTY = st.lists(
    st.sampled_from(
        [
            *"\\`*_{}[]()<>|#~&$!+-=.:;@'\"/%^ 1a\n\r\t\u2028",
            "1. ",
            "- ",
            "```",
            "---",
            "|--|",
            "[x](y)",
            "<b>",
            "&lt;",
            "~~x~~",
            ":--",
        ]
    ),
    min_size=1,
    max_size=12,
).map("".join)


def tokens(text: str) -> list[Token]:
    return [inner for one in PARSER.parse(text) for inner in (one, *(one.children or []))]


def structure(text: str) -> list[str]:
    return [one.type for one in tokens(text) if one.type not in ("text", "text_special", "softbreak")]


def words_of(text: str) -> str:
    return "".join(one.content for one in tokens(text) if one.type in ("text", "text_special", "code_inline"))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("error ratio 0.5 % of 2,120 requests, objective ≤ 1 %.", None),
        ("42 → 41", None),
        ("0.1 s", None),
        ("-5 ms", None),
        ("a * b", r"a \* b"),
        ("_evil_", r"\_evil\_"),
        ("1. one", r"1\. one"),
        ("- one", r"\- one"),
        ("===", r"\==="),
        (":--", r"\:--"),
        ("# head", r"\# head"),
        ("<script>", r"\<script\>"),
        ("a | b", r"a \| b"),
        ("[x](javascript:y)", r"\[x\](javascript:y)"),
        ("https://evil.example", r"https\://evil.example"),
        ("WWW.evil.example", r"WWW\.evil.example"),
        ("{{7*7}}", r"{{7\*7}}"),
        ("two\nlines", "two lines"),
    ],
)
def test_what_could_be_structure_is_escaped_and_the_rest_reads_as_written(text: str, written: str | None) -> None:
    assert markdown(text) == (text if written is None else written)


def test_markdown_is_written_once_and_numbers_stay_numbers() -> None:
    assert markdown(markdown("a*b")) == r"a\*b"
    assert isinstance(markdown("a"), Markdown)
    assert markdown(7) == 7


@settings(deadline=None, max_examples=300)
@given(NASTY.filter(str.strip))
def test_no_text_is_ever_structure(text: str) -> None:
    for around in (
        "- {}\n",
        "{}\n",
        "x\n{}\n",
        "> {}\n",
        "| a |\n|---|\n| {} |\n",
        "| x |\n|---|\n| y {} z |\n",
        "# h {}\n",
    ):
        assert structure(around.format(markdown(text.strip()))) == structure(around.format("x"))


@settings(deadline=None, max_examples=300)
@given(NASTY.filter(str.strip))
def test_no_text_leaves_a_code_span(text: str) -> None:
    assert structure(f"- a {code(text)} b\n") == structure("- a `x` b\n")


@settings(deadline=None, max_examples=300)
@given(NASTY.filter(str.strip))
def test_a_reader_sees_the_text_as_it_was_said(text: str) -> None:
    said = " ".join(text.split())
    assert " ".join(words_of(f"x {markdown(said)}\n").split()) == f"x {said}"
