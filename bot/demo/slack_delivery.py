"""How a person's act reaches the app and what became of it: three seconds, answers, response URLs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bot.demo.slack_chat import check_content
from bot.demo.slack_workspace import BOT, BOT_ID, Message, Refused, Workspace
from bot.ports import Clock

T = TypeVar("T")
PATIENCE = 3.0  # seconds a person waits before Slack shows an error
_USES, _LIFE = 5, 1800.0


@dataclass
class Reply:
    """What the app answered. `error` is what the person would see, empty when nothing is wrong; status 0 is no answer."""

    status: int
    body: str
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it went to the app, so that it can be sent again byte by byte."""

    body: bytes
    headers: dict[str, str] = field(repr=False)


async def within(clock: Clock, seconds: float, work: Awaitable[T]) -> T:
    """Wait for `work` at most so long by the clock. Raises TimeoutError; the work is cancelled then."""
    task, alarm = asyncio.ensure_future(work), asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        message = f"nothing within {seconds:g} s"
        raise TimeoutError(message)
    finally:
        task.cancel()
        alarm.cancel()
        await asyncio.gather(task, alarm, return_exceptions=True)


def parsed(body: str) -> Message:
    """Read an ack's body; plain text stands for `text`."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"text": body}


def say_answer(ws: Workspace, user: str, channel: str, content: Message) -> None:
    """Show what the app answered to a person: only to this person unless it says `in_channel`."""
    if not content.get("text") and not content.get("blocks"):
        return
    told = {name: content[name] for name in ("text", "blocks", "thread_ts") if content.get(name)}
    told.setdefault("text", "")
    if content.get("response_type") == "in_channel":
        ws.keep(channel, {"user": BOT, "bot_id": BOT_ID, **told})
    else:
        ws.whisper(channel, user, told)


def submission_errors(view: Message, body: Message) -> list[str]:
    """Give what Slack would find wrong with the answer to a submission: empty when the person sees no trouble."""
    kind = body.get("response_action")
    if kind not in ("errors", "update", "push", "clear"):
        return ["We had some trouble connecting"]
    inputs = {block["block_id"] for block in view["blocks"] if block["type"] == "input"}
    if kind == "errors" and (not body.get("errors") or set(body["errors"]) - inputs):
        return ["errors names a block that is no input"]
    return []


@dataclass
class ResponseUrls:
    """The URLs a person's act brings along: five uses within thirty minutes."""

    made: dict[str, dict[str, Any]] = field(default_factory=dict)

    def make(self, ws: Workspace, user: str, channel: str, ts: str = "") -> str:
        """Give a URL that answers `user` about the message `ts`."""
        name = f"R{len(self.made) + 1}"
        self.made[name] = {"user": user, "channel": channel, "ts": ts, "uses": 0, "at": ws.clock.monotonic()}
        return f"http://{ws.address}/response/{name}"

    def use(self, ws: Workspace, name: str, content: Message) -> None:
        """Take one answer. Raises Refused(used_url, expired_url, no_text, invalid_blocks, …)."""
        made = self.made.get(name)
        if made is None or made["uses"] >= _USES:
            raise Refused("used_url")
        if ws.clock.monotonic() - made["at"] > _LIFE:
            raise Refused("expired_url")
        made["uses"] += 1
        if content.get("delete_original"):
            _without(ws, made)
            return
        check_content(content)
        if content.get("replace_original"):
            _replaced(ws, made, content)
            return
        say_answer(ws, made["user"], made["channel"], content)


def _original(ws: Workspace, made: Message) -> Message:
    told = next((one for one in ws.whispers if one["ts"] == made["ts"]), None)
    return told or ws.message(made["channel"], made["ts"])


def _without(ws: Workspace, made: Message) -> None:
    original = _original(ws, made)
    if original in ws.whispers:
        ws.whispers.remove(original)
        ws.changed()
        return
    ws.delete(made["ts"], made["channel"])


def _replaced(ws: Workspace, made: Message, content: Message) -> None:
    original = _original(ws, made)
    original["text"] = content.get("text", "")
    ws.render(original, content.get("blocks"))
