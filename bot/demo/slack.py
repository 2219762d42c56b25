"""A Slack look-alike: a fake, named as one. It speaks the Web API, Block Kit, signed requests and Socket Mode as Slack does.

What it does not show: Slack's own latency and outages, its mobile clients, Enterprise Grid and token rotation, workspace
settings, limits other than one message a second in a channel, tombstones of deleted parents, methods it does not list.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import aiohttp

from bot.demo import slack_payloads, slack_views
from bot.demo.slack_delivery import PATIENCE, Reply, Sent, parsed, say_answer, submission_errors, within
from bot.demo.slack_server import SlackServer
from bot.demo.slack_workspace import BOT, CAST, CHANNEL, GROUPS, TEAM, Message

__all__ = ["BOT", "CAST", "CHANNEL", "GROUPS", "TEAM", "Reply", "SlackLookalike"]


class SlackLookalike(SlackServer):
    """One workspace on loopback, and the people in it: what they do is sent to the app, over a socket when one is open."""

    # ── what people do ────────────────────────────────────────────────────────────────────────────────────────────

    async def click(
        self,
        user: str,
        action: str,
        ts: str | None = None,
        *,
        channel: str = CHANNEL,
        value: str | None = None,
        block_id: str | None = None,
        team: str | None = None,
        secret: str | None = None,
        age: float = 0,
    ) -> Reply:
        """Press a button, by default on the newest card that shows it, as it was shown last.

        `value`, `block_id`, `team`, `channel` and `ts` forge what Slack would say; `secret` and `age` (seconds) the signature.
        """
        ts = ts or self._newest(channel, action)
        block, element = self.button(channel, ts, action)
        payload = self.click_payload(
            user,
            action,
            {"ts": ts},
            element,
            channel=channel,
            value=value,
            block_id=block if block_id is None else block_id,
            team=team,
        )
        return await self._act("interactive", payload, secret, age)

    async def pick(
        self, user: str, act: str, ts: str | None = None, *, channel: str = CHANNEL, menu: str = "more"
    ) -> Reply:
        """Pick an option of a menu on a message, the one whose value begins with `act`. Raises LookupError when it is not there."""
        ts = ts or self._newest(channel, menu)
        options = self.button(channel, ts, menu)[1].get("options", [])
        value = next((str(one["value"]) for one in options if str(one["value"]).startswith(act)), None)
        if value is None:
            raise LookupError(act)
        return await self.click(user, menu, ts, channel=channel, value=value)

    def click_payload(
        self, user: str, action: str, message: Message, element: Message, *, channel: str = CHANNEL, value: str | None = None,
        block_id: str = "", team: str | None = None,
    ) -> Message:  # fmt: skip
        """Build what Slack sends for a press on an element of a message, without sending it."""
        ts = str(message["ts"])
        return slack_payloads.pressed(
            self, user, (channel, ts), slack_payloads.action(self, action, block_id, {"type": "button", **element}, value), team=team,
            response_url=self.response_urls.make(self, user, channel, ts), trigger=self.triggers.make(user),
        )  # fmt: skip

    def _newest(self, channel: str, action: str) -> str:
        cards = [str(one["ts"]) for one in reversed(self.cards(channel))] if channel in self.channels else []
        return next((ts for ts in cards if self.button(channel, ts, action)[0]), cards[0] if cards else "0.000000")

    async def slash(
        self, user: str, text: str = "", *, command: str = "/rollback", channel: str = CHANNEL, team: str | None = None,
        secret: str | None = None, age: float = 0,
    ) -> Reply:  # fmt: skip
        """Type a command; what the app answers is shown to this person."""
        form = slack_payloads.command(
            self, user, command, text, channel, team=team, response_url=self.response_urls.make(self, user, channel),
            trigger=self.triggers.make(user),
        )  # fmt: skip
        reply = await self._act("slash_commands", form, secret, age)
        if reply.body and not reply.error:
            say_answer(self, user, channel, parsed(reply.body))
        return reply

    async def submit(self, user: str, text: str) -> Reply:
        """Fill in the first field of the modal this person opened last, and submit it."""
        view = next(one for one in reversed(self.views.values()) if one["opened_by"] == user)
        field_ = next(block["block_id"] for block in view["blocks"] if block["type"] == "input")
        return await self.submit_view(user, str(view["id"]), {field_: text})

    async def submit_view(
        self,
        user: str,
        view_id: str,
        values: dict[str, str],
        *,
        team: str | None = None,
        secret: str | None = None,
        age: float = 0,
    ) -> Reply:
        """Submit a modal filled in with `values` by block id; it closes unless the app says otherwise."""
        view = self.views[view_id]
        payload = slack_payloads.submission(self, user, view, values, team, self.triggers.make(user))
        reply = await self._act("interactive", payload, secret, age)
        body = parsed(reply.body) if reply.body else {}
        if not reply.error and body:
            reply.error = "; ".join(submission_errors(view, body))
        if not reply.error:
            self._answered_submission(view, body)
        return reply

    def _answered_submission(self, view: Message, body: Message) -> None:
        if body.get("response_action") == "errors":
            return
        self.views.pop(str(view["id"]), None)
        if body.get("response_action") in ("update", "push"):
            slack_views.keep_view(self, body["view"], str(view["opened_by"]), str(view["id"]))
        self.changed()

    async def event(self, kind: str, *, event_id: str | None = None, retry: int = 0, **fields: Any) -> Reply:
        """Tell the app that something happened; give `event_id` and `retry` to send one event again as Slack would."""
        payload = slack_payloads.event(self, kind, event_id or f"Ev{self.ts()}", fields)
        if self.socket.connections:
            return await self._over_socket("events_api", payload, retry)
        again = {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_timeout"} if retry else {}
        body = json.dumps(payload).encode()
        return await self.post(body, {**self.signed(body), **again, "Content-Type": "application/json"})

    async def replay(self, which: int = -1) -> Reply:
        """Send a former request again, byte by byte, its signature too."""
        return await self.post(self.sent[which].body, self.sent[which].headers)

    # ── on the wire ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _act(self, kind: str, payload: Message, secret: str | None, age: float) -> Reply:
        if self.socket.connections:
            return await self._over_socket(kind, payload)
        form = payload if kind == "slash_commands" else {"payload": json.dumps(payload)}
        body = urlencode(form).encode()
        return await self.post(body, self.signed(body, secret=secret, age=age))

    async def _over_socket(self, kind: str, payload: Message, retry: int = 0) -> Reply:
        began = self.clock.monotonic()
        try:
            acked = await within(self.clock, PATIENCE, self.socket.deliver(kind, payload, retry=retry))
        except TimeoutError:
            return Reply(0, "", self.clock.monotonic() - began, "operation_timeout")
        body = acked if isinstance(acked, str) else json.dumps(acked) if acked else ""
        return Reply(200, body, self.clock.monotonic() - began)

    def signed(self, body: bytes, *, secret: str | None = None, age: float = 0) -> dict[str, str]:
        """Sign a body as Slack did `age` seconds ago, or as somebody with another secret would."""
        stamp = str(int(self.clock.now().timestamp() - age))
        signature = slack_payloads.signature(self.signing_secret if secret is None else secret, stamp, body)
        return {**signature, "Content-Type": "application/x-www-form-urlencoded"}

    async def post(self, body: bytes, headers: dict[str, str]) -> Reply:
        """Send bytes to the app; past 3 s a person sees an error, and so it does for any status but 200."""
        began = self.clock.monotonic()
        self.sent.append(Sent(body, headers))
        try:
            status, text = await within(self.clock, PATIENCE, self._posted(body, headers))
        except TimeoutError:
            return Reply(0, "", self.clock.monotonic() - began, "operation_timeout")
        except aiohttp.ClientError:
            return Reply(0, "", self.clock.monotonic() - began, "connection_failed")
        return Reply(status, text, self.clock.monotonic() - began, "" if status == 200 else f"http_{status}")

    async def _posted(self, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        if self._http is None:
            raise RuntimeError("the look-alike is not started")
        async with self._http.post(self.request_url, data=body, headers=headers) as found:
            return found.status, await found.text()
