"""An app behind the look-alike that opens one dialog at every press, and keeps what it is sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web

from bot.demo.slack import SlackLookalike
from bot.demo.slack_views import keep_view
from bot.slack.signature import genuine

ACTS = ("choose", "edit", "break_glass", "snooze", "why")
MENU: dict[str, Any] = {
    "type": "overflow",
    "action_id": "more",
    "options": [{"text": {"type": "plain_text", "text": act.replace("_", " ").capitalize()}, "value": f"{act}.7.plan.1"} for act in ACTS],
}  # fmt: skip


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def _field(name: str, kind: str, **more: Any) -> dict[str, Any]:
    element = {"type": kind, "action_id": "field", **more}
    return {
        "type": "input",
        "block_id": name,
        "label": _plain(name.capitalize()),
        "hint": _plain(f"About {name}."),
        "element": element,
    }


VIEW: dict[str, Any] = {
    "type": "modal", "callback_id": "press", "title": _plain("Everything"), "submit": _plain("Send it"), "close": _plain("Not now"),
    "blocks": [
        {"type": "section", "block_id": "what", "text": {"type": "mrkdwn", "text": "*Read* this."}},
        _field("version", "radio_buttons", options=[{"text": _plain(one), "value": one, "description": _plain(f"good {one}")} for one in ("40", "39")]),
        _field("to", "users_select"),
        _field("why", "plain_text_input", multiline=True, min_length=10, max_length=40, initial_value="what is known"),
        _field("typed", "plain_text_input", max_length=20),
    ],
}  # fmt: skip
TELLS: dict[str, Any] = {
    "type": "modal", "callback_id": "press", "title": _plain("Choose another version"), "close": _plain("Not now"),
    "blocks": [{"type": "section", "block_id": "none", "text": {"type": "mrkdwn", "text": "No other version can take over."}}],
}  # fmt: skip


@dataclass
class App:
    """What came in, and what is answered to a submission."""

    slack: SlackLookalike
    view: Mapping[str, Any]
    got: list[dict[str, Any]] = field(default_factory=list)
    answer: str = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        assert genuine(self.slack.signing_secret, request.headers, body, self.slack.clock.now())
        payload = json.loads(parse_qs(body.decode())["payload"][0])
        self.got.append(payload)
        if payload["type"] == "block_actions":
            user = payload["user"]["id"]
            keep_view(self.slack, dict(self.view), user, f"V{len(self.got)}")
            return web.Response()
        return web.Response(text=self.answer)

    @property
    def filled(self) -> dict[str, Any]:
        """Give the fields of the last submission."""
        return {name: one["field"] for name, one in self.got[-1]["view"]["state"]["values"].items()}


@asynccontextmanager
async def app(slack: SlackLookalike, view: Mapping[str, Any] = VIEW) -> AsyncIterator[App]:
    """Answer the look-alike of a stage."""
    made, server = App(slack, view), web.Application()
    server.router.add_post("/slack/events", made.take)
    runner = web.AppRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await slack.start()
    slack.request_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    try:
        yield made
    finally:
        await slack.stop()
        await runner.cleanup()


def with_menu(slack: SlackLookalike, version: int = 1) -> str:
    """Put the menu on the newest card, as of one version of it, and give the card's timestamp."""
    card = slack.cards()[-1]
    options = [{**one, "value": one["value"].replace(".1", f".{version}")} for one in MENU["options"]]
    blocks = [
        {**block, "elements": [*(x for x in block["elements"] if x["type"] == "button"), {**MENU, "options": options}]} if block["type"] == "actions" else block
        for block in card["blocks"]
    ]  # fmt: skip
    slack.render(card, blocks)
    return str(card["ts"])
