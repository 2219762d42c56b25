"""Adapters are found by name; a foreign one is imported only when it is named, and its faults are its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters import loading
from adapters.metrics.scrape import Scrape
from adapters.traffic.envoy import Envoy
from bot.errors import NotFound

GOOD = """
class Config: pass
class Acme:
    Config = Config
    capabilities = None
    api_version = {version}
"""

Install = Callable[[str, str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution with one module and one entry point."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(point: str, group: str, source: str) -> None:
        name = point.partition(" = ")[2].partition(":")[0]
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{point}\n")
        sys.modules.pop(name, None)

    return put


def test_a_built_in_is_found_by_the_name_of_its_file() -> None:
    assert loading.load("traffic", "envoy") is Envoy
    assert loading.load("metrics", "scrape") is Scrape


def test_every_name_that_is_listed_can_be_loaded() -> None:
    listed = [(port, name) for port in loading.PORTS for name in loading.names(port)]
    assert {("traffic", "memory"), ("traffic", "symlink"), ("metrics", "prometheus")} <= set(listed)
    for port, name in listed:
        assert loading.load(port, name).Config


def test_a_part_of_an_adapter_is_not_an_adapter() -> None:
    assert not [name for port in loading.PORTS for name in loading.names(port) if name.startswith("_")]


def test_a_misspelt_name_is_told_what_was_meant_and_what_is_known() -> None:
    with pytest.raises(NotFound, match=r"no traffic adapter `envoi`. Did you mean `envoy`\? Known: .*memory"):
        loading.load("traffic", "envoi")


def test_a_port_without_a_room_has_no_built_ins() -> None:
    with pytest.raises(NotFound, match=r"no weather adapter `rain`. Known: none"):
        loading.load("weather", "rain")


def test_an_outsider_is_imported_only_when_it_is_named(install: Install) -> None:
    install("acme = acme_traffic:Acme", "lastgood.traffic", GOOD.format(version=1))
    assert "acme" in loading.names("traffic")
    assert "acme_traffic" not in sys.modules
    assert loading.load("traffic", "acme").__name__ == "Acme"


def test_an_outsider_of_another_protocol_version_is_refused(install: Install) -> None:
    install("future = acme_future:Acme", "lastgood.traffic", GOOD.format(version=2))
    with pytest.raises(NotFound, match="speaks version 2 of the protocol; this Lastgood speaks 1"):
        loading.load("traffic", "future")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("def", "SyntaxError"),
        ("import acme_absent", "ModuleNotFoundError"),
        ("", "AttributeError"),
        ("class Acme: pass", "has no Config and no capabilities"),
    ],
)
def test_a_broken_outsider_says_why_and_breaks_no_other(install: Install, source: str, reason: str) -> None:
    install("broken = acme_broken:Acme", "lastgood.traffic", source)
    with pytest.raises(NotFound, match=reason):
        loading.load("traffic", "broken")
    assert loading.load("traffic", "memory").kind == "memory"


def test_nobody_can_replace_what_ships(install: Install) -> None:
    install("envoy = acme_envoy:Acme", "lastgood.traffic", GOOD.format(version=1))
    assert loading.load("traffic", "envoy") is Envoy
