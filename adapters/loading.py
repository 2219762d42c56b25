"""Finding an adapter by name: built-ins by module, outsiders by entry point, each only when the configuration names it."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any

from bot.errors import NotFound

API_VERSION = 1
PORTS: Mapping[str, str] = MappingProxyType(
    {
        "traffic": "ADAPTER",
        "alerts": "SOURCE",
        "metrics": "SOURCE",
        "paging": "PAGER",
        "authorizers": "AUTHORIZER",
        "actions": "ACTION",
        "registries": "REGISTRY",
        "samples": "SAMPLES",
    }
)
NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"traffic": ("Config", "capabilities"), "metrics": ("Config", "Query"), "samples": ("Config", "Query")}
)
# What the import of somebody else's module dies of; one broken plugin must not stop the others.
BROKEN = (
    ImportError,
    SyntaxError,
    NameError,
    AttributeError,
    TypeError,
    ValueError,
    LookupError,
    OSError,
    RuntimeError,
)


def names(port: str) -> tuple[str, ...]:
    """Give every name that can be configured for a port, built in or installed. Nothing is imported but the room."""
    return tuple(sorted({*_built_in(port), *_installed(port)}))


def load(port: str, name: str) -> Any:
    """Import the class that serves `name`. Raises NotFound that says what is known, or why it cannot be used."""
    if name not in names(port):
        near = difflib.get_close_matches(name, names(port), n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        message = f"There is no {port} adapter `{name}`.{hint} Known: {', '.join(names(port)) or 'none'}."
        raise NotFound(message)
    try:
        found = _imported(port, name)
    except BROKEN as error:
        message = f"The {port} adapter `{name}` cannot be loaded: {type(error).__name__}: {error}."
        raise NotFound(message) from error
    _check(port, name, found)
    return found


def _built_in(port: str) -> set[str]:
    """Name the modules of a room; one whose name begins with an underscore belongs to a neighbour."""
    if port not in PORTS or importlib.util.find_spec(f"adapters.{port}") is None:
        return set()
    room = importlib.import_module(f"adapters.{port}")
    return {module.name for module in pkgutil.iter_modules(room.__path__) if not module.name.startswith("_")}


def _installed(port: str) -> dict[str, EntryPoint]:
    return _plugins(f"lastgood.{port}", tuple(sys.path))


@cache
def _plugins(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Look through a path once: reading every installed package's entry points takes long, and each name asks for them."""
    del path
    return {point.name: point for point in entry_points(group=group)}


def _imported(port: str, name: str) -> Any:
    """A built-in wins over an entry point of the same name: what ships cannot be replaced by installing something."""
    if name in _built_in(port):
        return getattr(importlib.import_module(f"adapters.{port}.{name}"), PORTS[port])
    return _installed(port)[name].load()


def _check(port: str, name: str, found: Any) -> None:
    version = getattr(found, "api_version", API_VERSION)
    if version != API_VERSION:
        message = (
            f"The {port} adapter `{name}` speaks version {version} of the protocol; this Lastgood speaks {API_VERSION}."
        )
        raise NotFound(message)
    missing = [part for part in NEEDS.get(port, ()) if not hasattr(found, part)]
    if missing:
        message = f"The {port} adapter `{name}` has no {' and no '.join(missing)}."
        raise NotFound(message)
