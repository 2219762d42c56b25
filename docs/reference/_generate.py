"""Writes the reference pages that follow the code: configuration keys, entries, errors, guard facts and commands.

`python docs/reference/_generate.py` writes them, `--check` says which are stale and ends 1.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from adapters import loading
from bot import errors
from bot.config import File
from bot.domain.entries import ENTRIES, Entry
from bot.domain.facts import FACTS
from bot.domain.later import MARK
from bot.domain.runbook import Runbook

HERE = Path(__file__).parent
NOTE = "<!-- Written by docs/reference/_generate.py. Change the docstrings, then run it. -->"


def entries() -> str:
    """Give the page of every entry a timeline can hold."""
    lines = [
        "# Entries",
        NOTE,
        "",
        "A timeline is a list of entries. State, card and postmortem are folds of it, so this is the whole vocabulary.",
        "An entry that *commutes* may be appended whatever else happens; every other one moves the stream's epoch.",
    ]
    for type_, kind in ENTRIES.items():
        lines += ["", f"## `{type_}`", "", _said(kind), "", *_facts(kind)]
    return "\n".join(lines) + "\n"


def _facts(kind: type[Entry]) -> Iterator[str]:
    yield f"Schema number {kind.number}{', commutes' if kind.commutes else ''}."
    fields = kind.model_fields
    if fields:
        yield ""
        yield from ("| key | type | |", "|---|---|---|")
    for name, about in fields.items():
        yield f"| `{name}` | `{_cell(kind.__annotations__[name])}` | {'' if about.is_required() else 'optional'} |"


def errors_page() -> str:
    """Give the page of everything raised on purpose."""
    tree = (errors.__doc__ or "").split("\n\n")[1]
    lines = [
        "# Errors",
        NOTE,
        "",
        "What Lastgood raises on purpose. The sentence is what a person reads; the reason is the metric label.",
        "",
        "```",
        tree,
        "```",
        "",
        "| error | sentence | reason | trying again helps |",
        "|---|---|---|---|",
    ]
    for kind in _family(errors.LastgoodError):
        again = "yes" if kind.retryable else "no"
        lines.append(f"| `{kind.__name__}` | {_cell(_said(kind))} | `{kind.reason}` | {again} |")
    return "\n".join(lines) + "\n"


def facts_page() -> str:
    """Give the page of the facts a policy guard may ask about."""
    lines = [
        "# Facts for guards",
        NOTE,
        "",
        "A rule's `when` is a CEL expression over these. Only the value true is true.",
        "A fact that is unknown makes an `auto` rule miss and keeps every other rule in force.",
        "CEL keeps whole and decimal numbers apart: write `14.0` beside a decimal fact.",
        "",
        "| fact | type | unit | meaning | from |",
        "|---|---|---|---|---|",
        *(
            f"| `{name}` | {fact.kind} | {fact.unit} | {_cell(fact.meaning)} | {_cell(fact.source)} |"
            for name, fact in FACTS.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def keys_page() -> str:
    """Give the page of every key of both files and of every adapter."""
    lines = [
        "# Configuration keys",
        NOTE,
        "",
        "Every key of `lastgood.yaml`, of `runbooks/*.yaml`, and what each adapter takes. An unknown key is a mistake.",
        'A key marked *later* is read and checked, and refused with "not supported yet" when it is set.',
    ]
    for title, kind in _configured():
        schema = kind.model_json_schema()
        lines += ["", f"## {title}", "", *_keys(schema)]
        for name, part in schema.get("$defs", {}).items():
            if "properties" in part:
                lines += ["", f"### {name}", "", *_keys(part)]
    return "\n".join(lines) + "\n"


def _configured() -> Iterator[tuple[str, type[BaseModel]]]:
    yield "`lastgood.yaml`", File
    yield "`runbooks/*.yaml`", Runbook
    ports = {
        "alerts": "sources",
        "traffic": "target with adapter:",
        "metrics": "metrics",
        "registries": "registries",
        "samples": "samples",
        "authorizers": "authorizers",
    }
    for port, place in ports.items():
        for name in loading.names(port):
            kind = loading.load(port, name)
            yield f"{place} `{name}`", kind.Config
            if port == "metrics":
                yield f"SLI with source: `{name}`", kind.Query


def _keys(schema: Mapping[str, Any]) -> Iterator[str]:
    if about := schema.get("description"):
        yield from (inspect.cleandoc(about), "")
    yield from ("| key | takes | default | |", "|---|---|---|---|")
    for name, part in schema.get("properties", {}).items():
        default = "required" if name in schema.get("required", ()) else _default(part.get("default"))
        yield f"| `{name}` | {_cell(_takes(part))} | {default} | {'later' if part.get(MARK) else ''} |"


def _default(value: object) -> str:
    return "" if value in (None, [], {}, "") or isinstance(value, dict) else f"`{json.dumps(value)}`"


def _takes(part: Mapping[str, Any]) -> str:
    """Say what a key takes, in words."""
    if "$ref" in part:
        return str(part["$ref"].rpartition("/")[2])
    if "anyOf" in part:
        return " or ".join(_takes(one) for one in part["anyOf"] if one.get("type") != "null")
    if "enum" in part:
        return " or ".join(f"`{one}`" for one in part["enum"])
    if "const" in part:
        return f"`{part['const']}`"
    if part.get("type") == "array":
        return f"list of {_takes(part.get('items', {}))}"
    if isinstance(part.get("additionalProperties"), dict):
        return f"names to {_takes(part['additionalProperties'])}"
    if part.get("examples") == ["15m", "PT15M"]:
        return "duration"
    return {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}.get(
        str(part.get("type")), "keys of its own"
    )


def commands() -> str:
    """Give the page of every command, as the command line itself describes it."""
    lines = [
        "# Commands",
        NOTE,
        "",
        "Read commands take `--json`. Exit 0 is ok, 1 a problem found, 2 bad usage.",
        "Incidents are named by any unique ending of their id, as on the card.",
    ]
    for name, command in walk(command_line(), "lastgood"):
        lines += ["", f"## `{name}`", "", _paragraphs(command.help), *_options(command)]
    return "\n".join(lines) + "\n"


def command_line() -> Any:
    """Give the command line as a tree of commands."""
    app = importlib.import_module("bot.__main__").app
    return typer.main.get_command(app)


def walk(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Give every visible command under `group` with its full name, groups left out."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from walk(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _options(command: Any) -> Iterator[str]:
    shown = [one for one in command.params if not getattr(one, "hidden", False)]
    if shown:
        yield from ("", "| argument | |", "|---|---|")
    for one in shown:
        label = (
            str(one.name).upper() if one.param_type_name == "argument" else ", ".join((*one.opts, *one.secondary_opts))
        )
        yield f"| `{label}` | {_cell(getattr(one, 'help', None) or '')} |"


def _paragraphs(text: str | None) -> str:
    return inspect.cleandoc(text or "").replace("\b\n", "")


def _said(kind: type) -> str:
    return (kind.__doc__ or "").strip().split("\n", 1)[0]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _family(kind: type[errors.LastgoodError]) -> Iterator[type[errors.LastgoodError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _family(child)


PAGES: Mapping[str, Callable[[], str]] = {
    "entries.md": entries,
    "errors.md": errors_page,
    "facts.md": facts_page,
    "keys.md": keys_page,
    "commands.md": commands,
}


def stale(pages: Mapping[str, Callable[[], str]] = PAGES) -> list[str]:
    """Name the pages whose text is not what the code says now."""
    return [name for name, page in pages.items() if not _same(HERE / name, page())]


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` name the stale ones and give 1."""
    behind = stale()
    for name in behind:
        if "--check" in arguments:
            print(f"docs/reference/{name} is stale. Run: python docs/reference/_generate.py")
        else:
            (HERE / name).write_text(PAGES[name](), encoding="utf-8")
            print(f"wrote docs/reference/{name}")
    return 1 if behind and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
