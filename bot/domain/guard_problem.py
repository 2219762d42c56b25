"""What is wrong with a guard, in words: where, why and what to write."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from bot.domain import guard
from bot.domain.facts import FACTS

_PLACED = re.compile(r"(\d+):(\d+): (.*?)(?:; CEL keeps.*)?$")
_TYPES = re.compile(r"no matching overload for '(.+)' applied to '\((\w+), (\w+)\)'")
_NAME = re.compile(r"undeclared reference to '([^']+)'")
_NUMBER_AFTER = re.compile(r"[=!<>+*/%-]+\s*(-?\d+(?:\.\d+)?)(?![\w.])")
_NUMBER_BEFORE = re.compile(r"(-?\d+(?:\.\d+)?)\s*$")
_ASSIGNS = "token recognition error at: '= "


@dataclass(frozen=True, slots=True)
class GuardProblem:
    """Line and column count from 1 inside the guard."""

    line: int
    column: int
    message: str
    hint: str


def explain(source: str) -> GuardProblem | None:
    """Compile a guard; give what keeps it from compiling, None when nothing does."""
    try:
        guard.check(source)
    except ValueError as error:
        placed = _PLACED.match(str(error))
        line, column, text = (int(placed[1]), int(placed[2]), placed[3]) if placed else (1, 1, str(error))
        message, hint = _said(source, line, column, text)
        return GuardProblem(line, column, message, hint)
    return None


def _said(source: str, line: int, column: int, text: str) -> tuple[str, str]:
    here = source.split("\n")[line - 1]  # the only character that CEL ends a line with
    source = " ".join(source.split())
    if types := _TYPES.search(text):
        verb = "compares" if types[1].strip("_") in ("<", "<=", ">", ">=", "==", "!=", "@in") else "joins"
        return f"`{source}` {verb} {types[2]} with {types[3]}", _number(here, column, types[2], types[3])
    if name := _NAME.search(text):
        if here[column - 1 :].startswith("("):
            return f"there is no function `{name[1]}`", ""
        near = difflib.get_close_matches(name[1], FACTS, n=1)
        return f"there is no fact `{name[1]}`", _choice(near)
    if text.startswith("Syntax error"):
        return _syntax(source, text)
    return f"`{source}`: {text}", ""


def _choice(near: list[str]) -> str:
    return f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(FACTS)}."


def _number(here: str, column: int, left: str, right: str) -> str:
    """Say how to write the number beside the operator, where one stands and the other side is a number too."""
    if {left, right} != {"int", "double"}:
        return ""
    after, before = _NUMBER_AFTER.match(here, column - 1), _NUMBER_BEFORE.search(here[: column - 1])
    if after:
        return _written(after[1], left)
    return _written(before[1], right) if before else ""


def _written(number: str, kind: str) -> str:
    if kind == "double":
        return f"Write {number}.0."
    whole = number.partition(".")
    return f"Write {whole[0]}." if not whole[2].strip("0") else "It is compared with a whole number."


def _syntax(source: str, text: str) -> tuple[str, str]:
    if not source.strip():
        return "is empty", "Leave it out when the rule always applies."
    if _ASSIGNS in text:
        return f"`{source}` has a single =", "Write == to compare."
    if "<EOF>'" in text:
        return f"`{source}` ends too early", ""
    return f"`{source}`: {text.partition(' expecting ')[0].removeprefix('Syntax error: ')}", ""
