"""A guard that does not compile is explained: where, why, and what to write."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.domain.facts import FACTS
from bot.domain.guard_problem import explain


@pytest.mark.parametrize(
    ("source", "column", "message", "hint"),
    [
        ("burn_rate > 14", 11, "`burn_rate > 14` compares double with int", "Write 14.0."),
        ("burn_rate > -14", 11, "`burn_rate > -14` compares double with int", "Write -14.0."),
        ("14 < burn_rate", 4, "`14 < burn_rate` compares int with double", "Write 14.0."),
        ("tier == 1.0", 6, "`tier == 1.0` compares int with double", "Write 1."),
        ("tier == 1.5", 6, "`tier == 1.5` compares int with double", "It is compared with a whole number."),
        ("tier > 'a'", 6, "`tier > 'a'` compares int with string", ""),
        ("burn_rate + 1 > 2.0", 11, "`burn_rate + 1 > 2.0` joins double with int", "Write 1.0."),
        ("burn_rat > 14.0", 1, "there is no fact `burn_rat`", "Did you mean `burn_rate`?"),
        ("foo(1)", 4, "there is no function `foo`", ""),
        ("severity = 'x'", 10, "`severity = 'x'` has a single =", "Write == to compare."),
        ("tier ==", 8, "`tier ==` ends too early", ""),
        ("", 1, "is empty", "Leave it out when the rule always applies."),
        ("tier", 1, "`tier`: a guard must be true or false", ""),
    ],
)
def test_a_mistake_is_placed_and_the_way_out_is_named(source: str, column: int, message: str, hint: str) -> None:
    found = explain(source)
    assert found is not None
    assert (found.line, found.column, found.message, found.hint) == (1, column, message, hint)


def test_an_unknown_fact_like_no_other_gets_the_whole_list() -> None:
    found = explain("zzz")
    assert found is not None
    assert found.hint == f"Known: {', '.join(FACTS)}."


def test_a_mistake_on_a_later_line_is_placed_there_and_quoted_on_one() -> None:
    found = explain("tier == 1 &&\n  burn_rat > 1.0")
    assert found is not None
    assert (found.line, found.column) == (2, 3)
    assert "\n" not in found.message


@pytest.mark.parametrize("source", ["tier == 1", "burn_rate >= 14.4 && blast_radius <= 0.2", "by_person"])
def test_a_guard_that_compiles_has_no_problem(source: str) -> None:
    assert explain(source) is None


@example("[\n")
@given(st.text("burn_rate tier==<>&|!()'\"[]{}.,0123456789\n\\", max_size=30))
def test_whatever_is_written_gets_an_answer_of_one_line(source: str) -> None:
    found = explain(source)
    assert found is None or ("\n" not in found.message and found.line >= 1 and found.column >= 1)
