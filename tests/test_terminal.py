"""What people read in a terminal: 100 columns, the line with the mistake underlined, times of their own wall."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import terminal
from bot.errors import Problem


def shown(folder: Path, text: str, *found: Problem) -> list[str]:
    (folder / "a.yaml").write_text(text)
    return [row for line in terminal.problems(found, folder) for row in line.split("\n")]


def test_a_problem_shows_its_line_with_the_word_underlined(tmp_path: Path) -> None:
    text = "policy:\n  rules:\n    - requires: [{role: sre}]\n"
    problem = Problem("a.yaml", 3, 7, "policy.rules[0].requires", "unknown key", "Did you mean `require`?")
    assert shown(tmp_path, text, problem) == [
        "a.yaml:3:7  policy.rules[0].requires: unknown key. Did you mean `require`?",
        "   3 |     - requires: [{role: sre}]",
        "     |       ^^^^^^^^",
    ]


@pytest.mark.parametrize(
    ("line", "column", "carets"),
    [
        ('a: "two words"', 4, 11), ("a: 'it''s'", 4, 7), ("a: [b, c]", 4, 1), ("a: 4.20", 4, 4), ("a:", 3, 1), ("a: ü", 4, 1),
    ],
)  # fmt: skip
def test_carets_are_as_long_as_the_word(tmp_path: Path, line: str, column: int, carets: int) -> None:
    assert shown(tmp_path, line, Problem("a.yaml", 1, column, "a", "wrong"))[2].count("^") == carets


def test_wide_characters_before_the_word_move_the_carets(tmp_path: Path) -> None:
    assert shown(tmp_path, "模型: x", Problem("a.yaml", 1, 5, "a", "wrong"))[2] == "     |       ^"


def test_a_long_line_is_shown_around_the_word(tmp_path: Path) -> None:
    rows = shown(tmp_path, "a: " + "x" * 300 + " here " + "y" * 300, Problem("a.yaml", 1, 305, "a", "wrong"))
    under = rows[2].index("^")
    assert rows[1][under : under + 4] == "here"
    assert max(map(len, rows)) <= 100


@given(text=st.text(max_size=300), column=st.integers(1, 310))
def test_no_line_of_source_breaks_the_columns_or_reaches_the_terminal_raw(
    tmp_path_factory: pytest.TempPathFactory, text: str, column: int
) -> None:
    folder = tmp_path_factory.mktemp("t")
    (folder / "a.yaml").write_text(text, errors="replace")
    rows = list(terminal.problems([Problem("a.yaml", 1, column, "k", "wrong")], folder))
    assert all(len(row) <= 100 and not any(ord(one) < 32 or 127 <= ord(one) < 160 for one in row) for row in rows)


def test_a_long_sentence_wraps_under_its_own_beginning(tmp_path: Path) -> None:
    rows = shown(tmp_path, "a: 1\n", Problem("a.yaml", 1, 1, "a", "word " * 40))
    assert rows[0].startswith("a.yaml:1:1  a: word")
    assert rows[1].startswith(" " * 12 + "word")
    assert max(map(len, rows)) <= 100


def test_a_warning_says_that_it_is_one_and_shows_no_line(tmp_path: Path) -> None:
    assert shown(tmp_path, "a: 1\n", Problem("a.yaml", 1, 1, "a", "is odd", level="warning")) == [
        "a.yaml:1:1  warning: a: is odd."
    ]


def test_a_file_that_cannot_be_read_again_still_has_its_sentence(tmp_path: Path) -> None:
    assert list(terminal.problems([Problem("gone.yaml", 3, 1, "a", "wrong")], tmp_path)) == ["gone.yaml:3:1  a: wrong."]


def test_numbers_of_things_are_written_as_people_say_them() -> None:
    assert [terminal.counted(n, "file") for n in (0, 1, 1204)] == ["0 files", "1 file", "1,204 files"]
