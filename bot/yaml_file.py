"""Reading one YAML file safely and remembering where everything stood.

YAML 1.1's surprises are read as text or refused: `no` and `on` are words, `12:30` is a word, keys may not repeat,
anchors, aliases and tags are not taken. Caps: 256 KiB, 20,000 values, 40 levels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import ReaderError

from bot.errors import ConfigError, Problem

MAX_BYTES, MAX_NODES, MAX_DEPTH = 256 * 1024, 20_000, 40
Path_ = tuple[str | int, ...]
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_OPENS = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSES = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_TRICKS = {yaml.AnchorToken: "anchors", yaml.AliasToken: "aliases", yaml.TagToken: "tags"}


@dataclass(slots=True)
class Source:
    """One file's content, the place (line, column, from 1) of every key and value, and the text of every scalar."""

    name: str
    content: Any = None
    keys: dict[Path_, tuple[int, int]] = field(default_factory=dict)
    values: dict[Path_, tuple[int, int]] = field(default_factory=dict)
    texts: dict[Path_, str] = field(default_factory=dict)
    quoted: set[Path_] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path_, *, key: bool = False) -> tuple[int, int]:
        """Give where a path stands, the nearest ancestor's place when it is not written."""
        first, second = (self.keys, self.values) if key else (self.values, self.keys)
        while path and path not in first and path not in second:
            path = path[:-1]
        return first.get(path) or second.get(path) or (1, 1)

    def problem(self, path: Path_, message: str, hint: str = "", *, key: bool = False) -> Problem:
        """Give a problem that stands at a path."""
        return Problem(self.name, *self.place(path, key=key), dotted(path), message, hint)


def read(path: Path, name: str) -> Source:
    """Read a file; a key written twice is noted and the first one taken.

    Raises ConfigError with everything that keeps the file from being read.
    """
    text = _text(path, name)
    try:
        _refuse_tricks(name, text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_not_yaml(name, error)]) from error
    except ReaderError as error:
        before = text[: error.position]
        place = before.count("\n") + 1, error.position - before.rfind("\n")
        message = f"holds the character U+{ord(text[error.position]):04X}, which YAML does not take"
        raise ConfigError([Problem(name, *place, "", message, "Take it out.")]) from error
    source = Source(name)
    if node is None:
        raise ConfigError([Problem(name, 1, 1, "", "is empty", "`lastgood init` writes one to begin with.")])
    source.content = _built(source, node, ())
    return source


def _text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "`lastgood init` writes one; LASTGOOD_CONFIG names another."
        where = "" if str(path) == name else f"{path} "
        raise ConfigError([Problem(name, 0, 0, "", f"{where}cannot be read: {error.strerror}", hint)]) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError([Problem(name, 0, 0, "", f"is larger than {MAX_BYTES // 1024} KiB", "Split it.")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        place = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise ConfigError([Problem(name, *place, "", "is not UTF-8", "Save it as UTF-8.")]) from error


def _not_yaml(name: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    if "'\\t'" in (error.problem or ""):
        return Problem(name, *place, "", "has a tab here", "YAML is indented with spaces.")
    if "another document" in (error.problem or ""):
        return Problem(name, *place, "", "holds a second document", "Write one file for each.")
    return Problem(name, *place, "", f"is not YAML: {error.problem}", "")


def _refuse_tricks(name: str, text: str) -> None:
    """Look at the tokens before anything is built: what could grow or recurse never is."""
    found: list[Problem] = []
    depth = count = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        place = token.start_mark.line + 1, token.start_mark.column + 1
        depth += isinstance(token, _OPENS) - isinstance(token, _CLOSES)
        count += isinstance(token, (*_OPENS, yaml.ScalarToken))
        if depth > MAX_DEPTH:
            raise ConfigError([Problem(name, *place, "", f"is deeper than {MAX_DEPTH} levels", "")])
        if count > 2 * MAX_NODES:  # a key and its value
            raise ConfigError([Problem(name, *place, "", f"holds more than {MAX_NODES:,} values", "Split it.")])
        if type(token) in _TRICKS:
            found.append(Problem(name, *place, "", f"{_TRICKS[type(token)]} are not taken", "Write the value out."))
    if found:
        raise ConfigError(found)


def _built(source: Source, node: yaml.Node, path: Path_) -> Any:
    source.values[path] = _at(node)
    if isinstance(node, yaml.MappingNode):
        return {name: _built(source, value, (*path, name)) for name, value in _pairs(source, node, path)}
    if isinstance(node, yaml.SequenceNode):
        return [_built(source, one, (*path, n)) for n, one in enumerate(node.value)]
    source.texts[path] = str(node.value)
    if isinstance(node, yaml.ScalarNode) and node.style is not None:
        source.quoted.add(path)
        return str(node.value)
    return _scalar(str(node.value))


def _pairs(source: Source, node: yaml.MappingNode, path: Path_) -> Iterator[tuple[str, yaml.Node]]:
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            source.problems.append(Problem(source.name, *_at(key), dotted(path), "has a key that is no word", ""))
            continue
        name = (*path, str(key.value))
        if name in source.keys:
            first = source.keys[name][0]
            hint = f"It stands on line {first} already. Keep one."
            source.problems.append(Problem(source.name, *_at(key), dotted(name), "is written twice", hint))
            continue
        source.keys[name] = _at(key)
        yield str(key.value), value


def _at(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def dotted(path: Path_) -> str:
    """Write a path as people read it: `policy.rules[1].require`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
