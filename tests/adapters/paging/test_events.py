"""Pages and changes go to PagerDuty's Events API as it documents them, and no answer but its own is a yes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from adapters.paging.pagerduty import PagerDuty, PagerDutyConfig
from bot.clock import START, SystemClock
from bot.errors import Unavailable
from bot.log import JsonLog
from bot.ports import Context, PagerDesk
from tests.adapters.paging.fake_pagerduty import SENDER

KEY = "R" * 32


class FakeEvents:
    """An Events API that checks what its documentation asks for; it is no proof of what PagerDuty itself does."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.status = 202
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.got.append((request.path, body))
        if self.status != 202:
            return web.json_response({"message": "no", "errors": ["busy"]}, status=self.status)
        wrong = self._wrong(request.path, body)
        return (
            web.json_response({"status": "invalid event", "errors": wrong}, status=400)
            if wrong
            else web.json_response({"status": "success"}, status=202)
        )

    def _wrong(self, path: str, body: dict[str, Any]) -> list[str]:
        payload = body.get("payload", {})
        wrong = [] if len(body.get("routing_key", "")) == 32 else ["routing_key"]
        if path == "/v2/enqueue":
            wrong += [] if body.get("event_action") in ("trigger", "acknowledge", "resolve") else ["event_action"]
            wrong += [] if len(body.get("dedup_key", "")) <= 255 else ["dedup_key"]
            if body.get("event_action") != "trigger":
                return wrong
            wrong += [] if payload.get("severity") in ("critical", "error", "warning", "info") else ["severity"]
        return wrong + [name for name in ("summary", "source") if not 0 < len(payload.get(name, "")) <= 1024]


@pytest.fixture
async def fake() -> AsyncIterator[FakeEvents]:
    made, app = FakeEvents(), web.Application()
    app.router.add_post("/v2/enqueue", made.answer)
    app.router.add_post("/v2/change/enqueue", made.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def pager(url: str, key: str = KEY, **keys: Any) -> PagerDuty:
    config = PagerDutyConfig.model_validate({"from": SENDER, "routing_key": {"env": "ROUTE"}, **keys})
    secrets = {"ROUTE": key, "PAGERDUTY_EVENTS_URL": url}
    return PagerDuty(
        config, Context(clock=SystemClock(), name="pagerduty", log=JsonLog(SystemClock()), secret=secrets.get)
    )


async def test_a_page_its_end_and_a_change_are_sent_as_documented(fake: FakeEvents) -> None:
    asked = pager(fake.url)
    assert isinstance(asked, PagerDesk)
    assert asked.pages
    await asked.page("lastgood/prod/m/1", "m" * 2000, "critical", {"model": "m"})
    await asked.quiet("lastgood/prod/m/1")
    await asked.change("Lastgood rolls m back 42 → 41", START, {"model": "m"})
    assert [(path, body.get("event_action")) for path, body in fake.got] == [
        ("/v2/enqueue", "trigger"), ("/v2/enqueue", "resolve"), ("/v2/change/enqueue", None),
    ]  # fmt: skip
    assert len(fake.got[0][1]["payload"]["summary"]) == 1024
    assert fake.got[2][1]["payload"]["timestamp"] == START.isoformat()


@pytest.mark.parametrize("status", [400, 429, 500])
async def test_any_other_answer_is_no_yes_and_says_why(fake: FakeEvents, status: int) -> None:
    fake.status = status
    with pytest.raises(Unavailable, match=f"answered {status}: busy"):
        await pager(fake.url).page("k", "s", "error", {})


async def test_nobody_there_or_no_key_is_said(fake: FakeEvents) -> None:
    with pytest.raises(Unavailable, match="did not answer"):
        await pager("http://127.0.0.1:9").page("k", "s", "error", {})
    with pytest.raises(Unavailable, match="routing_key is empty"):
        await pager(fake.url, key="").page("k", "s", "error", {})
    assert not pager(fake.url, routing_key=None).pages
