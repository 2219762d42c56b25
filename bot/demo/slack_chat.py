"""chat.*: posting, updating, deleting, whispering, with Slack's own refusals. Source: Slack's method reference pages."""

from __future__ import annotations

from typing import Any

from bot.demo import blockkit
from bot.demo.mrkdwn import complaints
from bot.demo.slack_workspace import APP, BOT, BOT_ID, Channel, Message, Refused, Workspace

Given = dict[str, Any]
UPDATE_CHARACTERS = 4000
POST_CHARACTERS = 40_000
_CONTENT = ("text", "blocks", "attachments", "metadata")


def needed(given: Given, *names: str) -> tuple[str, ...]:
    """Give arguments that must be there. Raises Refused(invalid_arguments) naming those that are not."""
    absent = [name for name in names if given.get(name) in (None, "")]
    if absent:
        messages = [f"[ERROR] missing required field: {name}" for name in absent]
        raise Refused("invalid_arguments", response_metadata={"messages": messages})
    return tuple(str(given[name]) for name in names)


def channel_of(ws: Workspace, given: Given) -> Channel:
    """Give the channel an id names. Raises Refused(channel_not_found)."""
    (name,) = needed(given, "channel")
    channel = ws.channels.get(name)
    if channel is None or (channel.is_private and BOT not in channel.members):
        raise Refused("channel_not_found")
    return channel


def writable(ws: Workspace, given: Given) -> Channel:
    """Give a channel the app may write in. Raises Refused(is_archived, not_in_channel)."""
    channel = channel_of(ws, given)
    if channel.is_archived:
        raise Refused("is_archived")
    if BOT not in channel.members:
        raise Refused("not_in_channel")
    return channel


def shown(message: Message, *, metadata: bool = False) -> Message:
    """Give a message as the Web API shows it."""
    hidden = {"channel"} if metadata else {"channel", "metadata"}
    return {name: value for name, value in message.items() if name not in hidden}


def post_message(ws: Workspace, given: Given) -> Message:
    """Answer chat.postMessage."""
    if str(given.get("channel", "")) in ws.users:
        given = {**given, "channel": ws.direct(str(given["channel"])).id}
    channel = writable(ws, given)
    _paced(ws, channel)
    content = _content(ws, given, new=True)
    kept = ws.keep(channel.id, {**_signed(), **content, **_threaded(ws, channel, given)})
    return {"channel": channel.id, "ts": kept["ts"], "message": shown(kept, metadata=True)}


def _paced(ws: Workspace, channel: Channel) -> None:
    now = ws.clock.monotonic()
    if ws.paced and now - channel.posted_at < 1:
        raise Refused("ratelimited")
    channel.posted_at = now


def _signed() -> Message:
    return {"user": BOT, "bot_id": BOT_ID, "app_id": APP}


def _threaded(ws: Workspace, channel: Channel, given: Given) -> Message:
    parent = given.get("thread_ts")
    if not parent:
        return {}
    if not any(one["ts"] == parent and not one.get("thread_ts") for one in channel.messages):
        ws.warnings.append(f"a reply to {parent}, which heads no thread")
    return {"thread_ts": str(parent), **({"reply_broadcast": True} if given.get("reply_broadcast") else {})}


def _content(ws: Workspace, given: Given, *, new: bool) -> Message:
    check_content(given)
    ws.warnings += complaints(given, new=new)
    content = {name: given[name] for name in _CONTENT if given.get(name) is not None}
    content["text"] = str(given.get("text") or "")[:POST_CHARACTERS]
    return content


def check_content(given: Given) -> None:
    """Refuse what Slack refuses: nothing to show, bad blocks, bad metadata, too many attachments."""
    if not (given.get("text") or given.get("blocks") or given.get("attachments")):
        raise Refused("no_text")
    attachments = given.get("attachments") or []
    if len(attachments) > 100:
        raise Refused("too_many_attachments")
    for blocks in (given.get("blocks"), *(one.get("blocks") for one in attachments)):
        if blocks is not None and (errors := blockkit.check_message(blocks)):
            raise Refused("invalid_blocks", errors=errors, response_metadata={"messages": errors})
    metadata = given.get("metadata")
    if metadata is not None and not _metadata(metadata):
        raise Refused("invalid_metadata_format")


def _metadata(found: Any) -> bool:
    return isinstance(found, dict) and bool(found.get("event_type")) and isinstance(found.get("event_payload"), dict)


def update(ws: Workspace, given: Given) -> Message:
    """Answer chat.update: blocks replace, text alone takes the blocks away, metadata stays unless it is named."""
    needed(given, "channel", "ts")
    channel = channel_of(ws, given)
    found = ws.message(channel.id, str(given["ts"]))
    if found["user"] != BOT:
        raise Refused("cant_update_message")
    writable(ws, given)
    if len(str(given.get("text") or "")) > UPDATE_CHARACTERS:
        raise Refused("msg_too_long")
    content = _content(ws, given, new=False)
    if given.get("text") is not None:
        found["text"] = content["text"]
        found["edited"] = {"user": BOT, "ts": ws.ts()}
    found.update({name: content[name] for name in ("attachments", "metadata") if name in content})
    ws.render(found, content.get("blocks"))
    return {"channel": channel.id, "ts": found["ts"], "text": found["text"], "message": shown(found, metadata=True)}


def delete(ws: Workspace, given: Given) -> Message:
    """Answer chat.delete."""
    needed(given, "channel", "ts")
    channel = channel_of(ws, given)
    if ws.message(channel.id, str(given["ts"]))["user"] != BOT:
        raise Refused("cant_delete_message")
    ws.delete(str(given["ts"]), channel.id)
    return {"channel": channel.id, "ts": given["ts"]}


def post_ephemeral(ws: Workspace, given: Given) -> Message:
    """Answer chat.postEphemeral."""
    needed(given, "channel", "user")
    channel = writable(ws, given)
    if given["user"] not in channel.members:
        raise Refused("user_not_in_channel")
    content = _content(ws, given, new=True)
    thread = {"thread_ts": given["thread_ts"]} if given.get("thread_ts") else {}
    return {"message_ts": ws.whisper(channel.id, str(given["user"]), {**content, **thread})["ts"]}


def permalink(ws: Workspace, given: Given) -> Message:
    """Answer chat.getPermalink."""
    needed(given, "channel", "message_ts")
    channel = channel_of(ws, given)
    found = ws.message(channel.id, str(given["message_ts"]))
    link = f"https://lastgood.slack.example/archives/{channel.id}/p{found['ts'].replace('.', '')}"
    return {"channel": channel.id, "permalink": link}
