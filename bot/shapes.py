"""Holding what a YAML file says to a shape: every complaint with its place, in plain words, with what was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from bot.domain.guard_problem import explain
from bot.domain.later import MARK, asks
from bot.errors import Problem
from bot.yaml_file import Path_, Source

_IDS = "small letters, digits and hyphens, at most 63"
_PATTERNS = {
    r"^[a-z0-9][a-z0-9-]{0,62}$": f"is no name; it holds {_IDS}",
    r"^[UW][A-Z0-9]+$": "is no member id; it looks like U0ANA, from the person's profile in Slack",
    r"^S[A-Z0-9]+$": "is no user group id; it looks like S0FRAUD, from the group's page in Slack",
    r"^[A-Z0-9]{1,32}$": "is no PagerDuty id; it looks like PUS0KTE, from the end of its page's address",
    r"^[CG][A-Z0-9]+$": "is no channel id; it looks like C0INCIDENTS, from the channel's details in Slack",
    r"^([01][0-9]|2[0-3]):[0-5][0-9]$": "is no time of day; write 18:00",
    r"^[a-z0-9_]+$": "is no name of a custom field; it holds small letters, digits and underscores, as its page in PagerDuty shows it",
    r"^https?://[^/\s]+": "is no address; it begins with http:// or https://",
}
_KINDS = {
    "string": "text", "tuple": "a list", "list": "a list", "dict": "keys with values", "model": "keys with values", "int": "a whole number",
    "float": "a number", "decimal": "a number", "bool": "true or false", "date": "a date like 2026-11-01", "finite": "a finite number",
    "literal": "one of the words known here",
}  # fmt: skip
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def held(kind: type[Any], source: Source, path: Path_ = (), content: Any = ...) -> tuple[Any, list[Problem]]:
    """Validate what stands at `path`, or `content` in its place; give the value (None when it does not fit) and why not."""
    found = source.content if content is ... else content
    try:
        return kind.model_validate(found), []
    except ValidationError as error:
        complaints = _chosen(error.errors(include_url=False), found)
        return None, [_problem(kind, source, path, found, one) for one in complaints]


def later(kind: type[BaseModel], source: Source) -> list[Problem]:
    """Refuse every key that is known, valid, asked for and not acted on yet."""
    schema = _schema(kind)
    found: list[Problem] = []

    def walk(node: dict[str, Any], value: Any, at: Path_) -> None:
        if node.get(MARK) and asks(value):
            found.append(unsupported(source, at))
            return
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, child in items:
            walk(_child(node, key, schema), child, (*at, key))

    walk(schema, source.content, ())
    return found


def unsupported(source: Source, path: Path_) -> Problem:
    """Say that something known is not there yet."""
    return source.problem(path, "not supported yet", "Leave it out for now.", key=True)


def meant(name: str, known: Iterable[str]) -> str:
    """Guess what a name was to be, or list what there is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(names) or 'none'}."


# ── which complaints to show ──────────────────────────────────────────────────────────────────────────────────────


def _chosen(errors: list[Any], content: Any) -> list[Any]:
    """Give one set of complaints a place: where several shapes were tried, those of the one that fits best."""
    tried: dict[Path_, dict[str, list[Any]]] = {}
    for error in errors:
        where, arm, at = _located(error, content)
        tried.setdefault(at, {}).setdefault(arm, []).append({**error, "loc": where})
    kept: list[Any] = []
    for at, arms in tried.items():
        several = len(arms) > 1
        fits: list[list[Any]] = sorted(
            arms.values(), key=lambda found: (several and any(_is_at(one, at) for one in found), len(found))
        )
        kept += fits[0]
    return _without_echo(kept)


def _is_at(error: Any, at: Path_) -> bool:
    return bool(error["loc"] == at)


def _located(error: Any, content: Any) -> tuple[Path_, str, Path_]:
    """Tell the path in the file from the shapes pydantic names in it; give path, shape, and where the shape was tried."""
    where: list[str | int] = []
    arm, at, node = "", None, content
    parts = error["loc"]
    for n, part in enumerate(parts):
        inside = (isinstance(node, dict) and part in node) or (isinstance(node, list) and isinstance(part, int))
        if inside:
            node = node[part]
            where.append(part)
        elif error["type"] == "missing" and n == len(parts) - 1:
            where.append(part)
        elif not arm:
            arm, at = str(part), tuple(where)
    path = tuple(where)
    return path, arm, (path if at is None else at) if arm else (*path, error["type"])


def _without_echo(found: list[Any]) -> list[Any]:
    """Leave out that a key is missing where a misspelt one stands for it, and that a list is empty whose items are wrong."""
    wrong = [one["loc"] for one in found if one["type"] == "extra_forbidden"]

    def echo(where: Path_) -> bool:
        beside = [str(one[-1]) for one in wrong if one[:-1] == where[:-1]]
        return bool(difflib.get_close_matches(str(where[-1]), beside, n=1))

    def hollow(where: Path_) -> bool:
        return any(one["loc"][: len(where)] == where and one["loc"] != where for one in found)

    return [
        one
        for one in found
        if not (one["type"] == "missing" and echo(one["loc"]))
        and not (one["type"] == "too_short" and hollow(one["loc"]))
    ]


# ── saying them ───────────────────────────────────────────────────────────────────────────────────────────────────


def _problem(kind: type[BaseModel], source: Source, base: Path_, content: Any, error: Any) -> Problem:
    path: Path_ = (*base, *error["loc"])
    if error["type"] == "extra_forbidden":
        known = [name for name in _keys_at(kind, error["loc"][:-1]) if name not in _at(content, error["loc"][:-1])]
        return source.problem(path, "unknown key", meant(str(path[-1]), known), key=True)
    if error["type"] == "missing":
        return source.problem(path, "is missing", key=True)
    if path and path[-1] == "when" and isinstance(error["input"], str):
        return _guard(source, path, error["input"])
    message, hint = _said(error, source.texts.get(path, ""))
    return source.problem(path, message, hint)


def _at(content: Any, path: Path_) -> Any:
    for part in path:
        content = content[part]
    return content


def _guard(source: Source, path: Path_, guard: str) -> Problem:
    """Place a guard's mistake inside its text, when that stands in one piece on the line."""
    found = explain(guard)
    problem = source.problem(path, found.message if found else "does not compile", found.hint if found else "")
    if found is None or found.line > 1 or "\n" in guard:
        return problem
    column = problem.column + found.column - 1 + (path in source.quoted)
    return Problem(problem.file, problem.line, column, problem.key, problem.message, problem.hint)


def _said(error: Any, text: str) -> tuple[str, str]:
    """Give message and hint for one of pydantic's complaints."""
    type_, context, value = error["type"], error.get("ctx", {}), error["input"]
    if type_ == "value_error":
        return str(context["error"]), ""
    if type_ == "string_pattern_mismatch":
        return f"`{value}` {_PATTERNS.get(context['pattern'], 'does not fit ' + context['pattern'])}", ""
    if type_ in ("literal_error", "enum"):
        return _no_word(value, text, re.findall(r"'([^']*)'|(\d+)", context["expected"]))
    if type_ in ("too_short", "string_too_short"):
        return f"must hold at least {context['min_length']}", ""
    if type_ == "string_too_long":
        return f"is longer than {context['max_length']} characters", ""
    for name, words in _BOUNDS.items():
        if name in context:
            return f"must be {words} {context[name]}", ""
    return _wrong_kind(_KINDS.get(type_.partition("_")[0]), error["msg"], value, text)


def _no_word(value: Any, text: str, expected: list[tuple[str, str]]) -> tuple[str, str]:
    known = [word or number for word, number in expected]
    if len(known) == 1:
        return f"must be {known[0]}", ""
    return f"`{text or value}` is not known here", meant(str(value), known)


def _wrong_kind(kind: str | None, message: str, value: Any, text: str) -> tuple[str, str]:
    if value is None:
        return "is empty", "Give it a value or leave it out."
    if kind == "text" and isinstance(value, (int, float)):
        what = "true or false" if isinstance(value, bool) else "a number"
        return f"must be text, and {text} is {what}", f'Write "{text}".'
    if kind == "a list" and text:
        return "must be a list", f"Write [{text}]."
    return f"must be {kind}" if kind else message[:1].lower() + message[1:], ""


# ── what a shape takes ────────────────────────────────────────────────────────────────────────────────────────────


@cache
def _schema(kind: type[BaseModel]) -> dict[str, Any]:
    return kind.model_json_schema()


def _keys_at(kind: type[BaseModel], path: Path_) -> list[str]:
    """Give the keys a place takes, by walking the JSON Schema."""
    schema = _schema(kind)
    node = schema
    for part in path:
        node = _child(node, part, schema)
    return [name for arm in _arms(node, schema) for name in arm.get("properties", {})]


def _arms(node: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in node:
        return _arms(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    return [arm for one in node["anyOf"] for arm in _arms(one, schema)] if "anyOf" in node else [node]


def _child(node: dict[str, Any], part: str | int, schema: dict[str, Any]) -> dict[str, Any]:
    for arm in _arms(node, schema):
        if isinstance(part, int) and "items" in arm:
            return dict(arm["items"])
        if part in arm.get("properties", {}):
            return dict(arm["properties"][part])
        if isinstance(arm.get("additionalProperties"), dict):
            return dict(arm["additionalProperties"])
    return {}
