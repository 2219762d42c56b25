"""Guards: CEL expressions over the typed facts. Only the value True is true."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, TypeGuard

from cel_expr_python import cel

from bot.domain.facts import FACTS

_MAPS = {name for name, fact in FACTS.items() if fact.kind == "map"}
# A string literal is passed over whole, so that a fact's name inside it is none; a name after a dot is a field.
_NAMES = re.compile(
    r'"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\'|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|(?<![.\w])([A-Za-z_]\w*)'
)
_NO_KEY = re.compile(r"^Key not found in map : (.*)$")
_STATUS = re.compile(r"^[A-Z_]+: ")
_ASK_FIRST = r"the map has no \1, ask for it with `in` first"


@dataclass(frozen=True, slots=True)
class Answer:
    """How a guard came out: True, False, or None when it could not be evaluated, with the reason."""

    holds: bool | None
    reason: str = ""


@cache
def _environment() -> Any:
    types = {
        "string": cel.Type.STRING, "int": cel.Type.INT, "double": cel.Type.DOUBLE, "bool": cel.Type.BOOL,
        "timestamp": cel.Type.TIMESTAMP, "map": cel.Type.Map(cel.Type.STRING, cel.Type.DOUBLE),
    }  # fmt: skip
    return cel.NewEnv(variables={name: types[fact.kind] for name, fact in FACTS.items()})


@cache
def _compiled(source: str) -> Any:
    try:
        expression = _environment().compile(source)
    except RuntimeError as error:
        raise ValueError(_readable(str(error))) from error
    if expression.return_type() != cel.Type.BOOL:
        raise ValueError("a guard must be true or false")
    return expression


def _readable(message: str) -> str:
    text = message.removeprefix("INVALID_ARGUMENT: ").split("\n")[0].removeprefix("ERROR: <input>:")
    hint = "; CEL keeps whole and decimal numbers apart, write 14.0 for 14" if "(double, int)" in text else ""
    return f"{text}{hint}"


def check(source: str) -> None:
    """Compile a guard; raise ValueError that says what is wrong and where."""
    _compiled(source)


@lru_cache(maxsize=4096)
def mentioned(source: str) -> tuple[str, ...]:
    """Give the facts a guard names, in the order of the documentation."""
    names = {match[1] for match in _NAMES.finditer(source)}
    return tuple(name for name in FACTS if name in names)


@lru_cache(maxsize=64)
def _any_mentioned(sources: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name for source in sources for name in mentioned(source))


def known(value: Any) -> TypeGuard[Any]:
    """Say whether a fact is known: None is not, and neither is the number that is none (0 of 0 requests is NaN)."""
    return value is not None and value == value  # noqa: PLR0124  only NaN differs from itself


class Guards:
    """Some guards over one set of facts. A fact that is None is unknown, like one that was never given.

    What the guards need of the facts is handed over once, when the first of them is asked.
    """

    def __init__(self, sources: Iterable[str], facts: Mapping[str, Any]) -> None:
        self._names, self._facts, self._held = _any_mentioned(tuple(sources)), facts, None

    def ask(self, source: str) -> Answer:
        """Evaluate one of them. A guard that needs an unknown fact cannot be told.

        CEL gives evaluation errors back as text that Python finds true, so nothing but True and False is an answer.
        """
        if self._held is None:
            self._held = _environment().Activation(_given(self._names, self._facts))
        try:
            value = _compiled(source).eval(self._held).value()
        except RuntimeError as error:  # it ran out of its budget, or a text is none that CEL can hold
            value = str(error)
        if value is True or value is False:
            return _TOLD[value]
        missing = [name for name in mentioned(source) if not known(self._facts.get(name))]
        if missing:
            return Answer(None, f"{', '.join(missing)} unknown")
        said = _STATUS.sub("", _readable(str(value)))
        return Answer(None, f"could not be evaluated: {_NO_KEY.sub(_ASK_FIRST, said)}")


_TOLD = {True: Answer(holds=True), False: Answer(holds=False)}


def ask(source: str, facts: Mapping[str, Any]) -> Answer:
    """Evaluate one guard."""
    return Guards((source,), facts).ask(source)


def _given(names: Iterable[str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Give the known facts; a value of another type than its fact's makes CEL answer with an error."""
    given = {name: value for name in names if known(value := facts.get(name))}
    for name in _MAPS & given.keys():
        if isinstance(given[name], Mapping):
            given[name] = dict(given[name])  # CEL takes no other mapping
    return given
