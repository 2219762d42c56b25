"""The pages name everything that is there: each variable, scope, path and number."""

from __future__ import annotations

import re
from pathlib import Path

from bot.slack.manifest import SCOPES
from bot.web.server import Meters, Standing

ROOT = Path(__file__).parents[2]
NAME = re.compile(r'"((?:LASTGOOD|SLACK|PAGERDUTY)_[A-Z_]+?)(?:_FILE)?"')
ROUTE = re.compile(r'(?:add_(?:get|post)\(|web\.(?:get|post)\()f?"([^"]+)"')


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def code(*rooms: str) -> str:
    return "".join(path.read_text(encoding="utf-8") for room in rooms for path in sorted((ROOT / room).rglob("*.py")))


def test_every_variable_the_code_asks_for_is_on_the_page() -> None:
    asked = set(NAME.findall(code("bot", "adapters")))
    assert {"LASTGOOD_CONFIG", "SLACK_SIGNING_SECRET_NEXT", "PAGERDUTY_CA"} <= asked
    assert sorted(name for name in asked if f"| `{name}` |" not in page("reference/configuration.md")) == []


def test_every_scope_is_on_the_page_with_what_it_is_for() -> None:
    table = page("how-to/slack.md").partition("## What each scope is for")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`([a-z:.]+)`", " ".join(rows))) == sorted(SCOPES)


def test_every_number_of_the_metrics_is_on_the_page() -> None:
    text = Meters().text(Standing(scopes=(0, 0))).decode()
    kinds = [line.split()[2:] for line in text.splitlines() if line.startswith("# TYPE")]
    names = {name for name, _ in kinds if not name.endswith("_created")}
    assert "slack_scopes_extra" in names
    assert sorted(name for name in names if f"| `{name}` |" not in page("reference/http.md")) == []


def test_every_path_that_is_served_is_on_the_page() -> None:
    routes = {one.replace("{LOGIN}", "login").replace(":[a-z_]{1,30}", "") for one in ROUTE.findall(code("bot/web"))}
    assert {"/login", "/confirm/{token}", "/api/v1/incidents/{id}/{act}"} <= routes
    assert sorted(route for route in routes if route not in page("reference/http.md")) == []
