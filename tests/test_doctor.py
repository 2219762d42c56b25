"""What only the outside can say, and what to mend: each thing that is not well is told alone, in time, and without a secret."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.clock import SystemClock
from bot.config import Settings
from bot.demo.slack import CHANNEL, SlackLookalike
from bot.doctor import Finding, examined
from bot.domain.alert import RawRequest
from bot.store.checkpoints import load_key
from bot.store.place import place_of
from bot.store.schema import migrate
from bot.store.timeline import Store
from tests.adapters.paging.fake_pagerduty import SENDER, TOKEN, FakePagerDuty
from tests.story.site import Sli, write_config

SECRETS = {"AM_TOKEN": "alert-secret-1", "PD_SECRET": "webhook-secret-2", "PAGERDUTY_TOKEN": TOKEN}
HOOK = "https://lastgood.example/hooks/pagerduty"
PAGING = f"pagerduty: {{from: {SENDER}}}\nsources:\n  pagerduty: {{secrets: [{{env: PD_SECRET}}]}}\n"


def subscription(url: str = HOOK, *, active: bool = True, paused: bool = False) -> dict[str, Any]:
    return {"id": "PSUB", "active": active, "delivery_method": {"url": url, "temporarily_disabled": paused}}


class Surgery:
    """A site with all of its outside: Slack, PagerDuty, metrics, and a database in which every sender was heard."""

    def __init__(self, folder: Path, slack: SlackLookalike, pager: FakePagerDuty, sli: Sli, metrics: str) -> None:
        self.folder, self.slack, self.pager, self.sli = folder, slack, pager, sli
        write_config(folder, metrics, config=lambda text, _: text.replace("sources:\n", PAGING))
        self.environ = {
            "LASTGOOD_CONFIG": str(folder / "lastgood.yaml"), "LASTGOOD_DATABASE_URL": f"sqlite:///{folder}/t.db",
            "SLACK_BOT_TOKEN": slack.bot_token, "SLACK_API_URL": slack.api_url, "PAGERDUTY_API_URL": pager.url,
            "PAGERDUTY_CA": pager.ca, **SECRETS,
        }  # fmt: skip

    async def look(self, **environ: str) -> dict[str, Finding]:
        found = await examined(Settings({**self.environ, **environ}))
        return {one.name: one for one in found}

    async def heard(self) -> None:
        migrate(self.environ["LASTGOOD_DATABASE_URL"])
        load_key(None, place_of(self.environ["LASTGOOD_DATABASE_URL"]))
        async with Store(self.environ["LASTGOOD_DATABASE_URL"], SystemClock()) as store:
            for name in ("alertmanager", "generic", "pagerduty"):
                at = SystemClock().now() - timedelta(minutes=3)
                await store.receive(RawRequest(id=f"01{name}", source=name, received_at=at, body=b"{}"))


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Surgery]:
    async with AsyncExitStack() as stack:
        sli, app = Sli(), web.Application()
        app.router.add_get("/metrics", sli.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stack.push_async_callback(runner.cleanup)
        slack = SlackLookalike(SystemClock())
        await slack.start()
        stack.push_async_callback(slack.stop)
        pager = FakePagerDuty(SystemClock(), tmp_path)
        pager.person("PBOT", "Lastgood", SENDER)
        pager.subscriptions = [subscription()]
        await pager.start()
        stack.push_async_callback(pager.stop)
        made = Surgery(tmp_path, slack, pager, sli, f"http://127.0.0.1:{runner.addresses[0][1]}/metrics")
        await made.heard()
        yield made


async def test_a_site_that_is_well_has_nothing_to_mend(here: Surgery) -> None:
    found = await here.look()
    assert {name: one.ok for name, one in found.items()} == dict.fromkeys(found, True), found
    assert list(found) == [
        "configuration", "database", "Slack token", "Slack scopes", "Slack channel", "clock", "pagerduty", "alertmanager",
        "generic", "PagerDuty token", "PagerDuty user", "PagerDuty webhooks", "metrics scrape", "signing key",
    ]  # fmt: skip
    assert found["generic"].detail.startswith("last heard 3")
    assert not any(one.mend for one in found.values())


def _changed(before: str, after: str) -> Callable[[Surgery], None]:
    """Write something else into the configuration."""

    def change(here: Surgery) -> None:
        file = here.folder / "lastgood.yaml"
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, after))

    return change


def _hooked(*rows: dict[str, Any]) -> Callable[[Surgery], None]:
    """Have these subscriptions."""

    def change(here: Surgery) -> None:
        here.pager.subscriptions = list(rows)

    return change


def _database(statement: str) -> Callable[[Surgery], None]:
    def change(here: Surgery) -> None:
        with closing(sqlite3.connect(here.folder / "t.db")) as file, file:
            file.execute(statement)

    return change


def _key(text: str) -> Callable[[Surgery], None]:
    def change(here: Surgery) -> None:
        (here.folder / "t.db.key").write_text(text)

    return change


def _slack_in_trouble(here: Surgery) -> None:
    here.slack.fail("auth.test", "says")


def _quiet_for_long(here: Surgery) -> None:
    _changed("generic: {tokens:", "generic: {heartbeat: 1m, tokens:")(here)


def _nobody(here: Surgery) -> None:
    here.pager.people.clear()


def _silent(here: Surgery) -> None:
    here.sli.silent = True


ILL: list[tuple[Callable[[Surgery], None] | dict[str, str], str, str, str]] = [
    ({"SLACK_BOT_TOKEN": ""}, "Slack token", "no", "set its bot token"),
    ({"SLACK_BOT_TOKEN": "xoxb-wrong"}, "Slack token", "no", "Set SLACK_BOT_TOKEN"),
    ({"SLACK_API_URL": "http://127.0.0.1:9/api/"}, "Slack token", "unknown", "status.slack.com"),
    ({"AM_TOKEN": ""}, "generic", "no", "sources.generic"),
    ({"PAGERDUTY_TOKEN": ""}, "PagerDuty token", "no", "Set PAGERDUTY_TOKEN"),
    ({"PAGERDUTY_TOKEN": "u+other"}, "PagerDuty token", "no", "a key that may read"),
    ({"PAGERDUTY_API_URL": "https://127.0.0.1:9"}, "PagerDuty", "unknown", "PAGERDUTY_API_URL"),
    (_hooked(subscription(active=False)), "PagerDuty webhooks", "no", "Enable it"),
    (_hooked(subscription(paused=True)), "PagerDuty webhooks", "no", "Enable it"),
    (
        _hooked(subscription("https://other.example.com/hooks/pagerduty")),
        "PagerDuty webhooks",
        "unknown",
        "web.public_url",
    ),
    (
        _changed("mode: approve,", "mode: approve, tell: page,"),
        "PagerDuty pages",
        "no",
        "pagerduty.routing_key",
    ),
    (
        _changed(f"from: {SENDER}", f"from: {SENDER}, routing_key: {{env: NO_KEY}}"),
        "PagerDuty pages",
        "no",
        "pagerduty.routing_key",
    ),
    (_database("UPDATE meta SET value='3' WHERE name='format'"), "database", "no", "lastgood db migrate"),
    (_database("UPDATE meta SET value='99' WHERE name='format'"), "database", "no", "a newer Lastgood"),
    (
        {"LASTGOOD_DATABASE_URL": "postgresql+psycopg://u:hunter2@127.0.0.1:9/x", "LASTGOOD_SIGNING_KEY": "11" * 32},
        "database",
        "no",
        "LASTGOOD_DATABASE_URL",
    ),
    (_key("no key at all"), "signing key", "no", "from a copy"),
    ({"LASTGOOD_SIGNING_KEY": "zz"}, "signing key", "no", "Mend the configuration"),
    (_slack_in_trouble, "Slack token", "unknown", "status.slack.com"),
    ({"SLACK_APP_TOKEN": "xapp-wrong"}, "Slack socket", "no", "connections:write"),
    (_quiet_for_long, "generic", "no", "/hooks/generic"),
    (_nobody, "PagerDuty user", "no", "pagerduty.from"),
    (_silent, "metrics scrape", "no", "address or the query"),
]


@pytest.mark.parametrize(("what", "name", "word", "mend"), ILL)
async def test_each_thing_that_is_not_well_says_what_to_mend(
    here: Surgery, what: Callable[[Surgery], None] | dict[str, str], name: str, word: str, mend: str
) -> None:
    if callable(what):
        what(here)
    found = await here.look(**(what if isinstance(what, dict) else {}))
    assert found[name].ok is {"no": False, "unknown": None}[word], found[name]
    assert mend in found[name].mend
    others = [one for one in found.values() if one.ok is not True and one.name != name]
    assert all(one.ok is None or one.name.startswith(("PagerDuty", "alertmanager")) for one in others), others


async def test_a_mistake_in_the_file_leaves_the_rest_unasked_and_a_database_is_never_made(here: Surgery) -> None:
    (here.folder / "lastgood.yaml").write_text("version: 1\nslak: {}\n")
    found = await here.look(LASTGOOD_DATABASE_URL=f"sqlite:///{here.folder}/none.db")
    assert {name: one.ok for name, one in found.items()} == {"configuration": False, "database": None}
    assert not (here.folder / "none.db").exists()


async def test_who_hangs_is_waited_for_ten_seconds_at_most_and_holds_up_nobody(here: Surgery) -> None:
    here.slack.fail("*", "silence", after=120, lasting=600)
    here.pager.hang(9)
    began = time.monotonic()
    found = await here.look()
    assert time.monotonic() - began < 12
    assert (found["Slack token"].ok, found["PagerDuty"].ok, found["metrics scrape"].ok) == (None, None, True)


async def test_no_secret_is_in_what_it_says(here: Surgery) -> None:
    here.sli.silent = True
    for environ in ({}, {"PAGERDUTY_API_URL": "https://127.0.0.1:9"}, {"SLACK_API_URL": "http://127.0.0.1:9/api/"}):
        told = json.dumps([one.as_json() for one in (await here.look(**environ)).values()])
        assert not [value for value in (*SECRETS.values(), here.slack.bot_token) if value in told]


async def test_the_command_prints_lines_or_one_object_and_ends_with_1_when_anything_is_not_well(
    here: Surgery, tmp_path: Path
) -> None:
    from tests.terminals import Terminal

    there = Terminal(
        tmp_path, tmp_path / "home", {**here.environ, "LASTGOOD_CONFIG": str(here.folder / "lastgood.yaml")}
    )
    ended = await asyncio.to_thread(there.quick, "doctor")
    assert ended.code == 0, ended.text
    assert f"✓ Slack channel       {CHANNEL} can be read." in ended.out
    here.pager.subscriptions = []
    ended = await asyncio.to_thread(there.quick, "doctor", "--json")
    said: dict[str, Any] = json.loads(ended.out)
    assert (ended.code, said["ok"]) == (1, False)
    (row,) = [one for one in said["checks"] if one["ok"] is not True]
    assert row == {
        "name": "PagerDuty webhooks",
        "ok": None,
        "detail": "there is no subscription",
        "mend": "Add one to /hooks/pagerduty.",
    }


async def test_a_metric_source_is_asked_all_there_is_and_what_it_does_not_answer_is_named(here: Surgery) -> None:
    other = "slis: {other: {source: scrape, errors: gone_total, total: gone_total, objective: 0.1}, "
    _changed("slis: {", other)(here)
    found = (await here.look())["metrics scrape"]
    assert found.ok is False
    assert found.detail.startswith("other of fraud-scorer in prod: ")
    assert "error_ratio" not in found.detail


async def test_a_look_that_breaks_off_is_one_line_and_stops_no_other(here: Surgery) -> None:
    with closing(sqlite3.connect(here.folder / "t.db")) as file, file:
        file.execute("UPDATE meta SET value='much' WHERE name='format'")
    found = await here.look()
    assert (found["database"].ok, found["database"].detail) == (None, "the look broke off (ValueError)")
    assert found["Slack token"].ok is True
    (here.folder / "lastgood.yaml").write_text("version: 1\nslak: {}\n")
    assert (await here.look())["database"].detail == "the look broke off (ValueError)"


async def test_another_file_is_looked_at_when_it_is_named(here: Surgery, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("version: 1\nslak: {}\n")
    chosen = Settings({**here.environ, "LASTGOOD_CONFIG_FILE": "nowhere"}).reading(other)
    found = {one.name: one for one in await examined(chosen)}
    assert found["configuration"].ok is False
    assert Settings(here.environ).reading(None).config == here.folder / "lastgood.yaml"
