"""Which Web API methods there are, the scope each needs, and how their arguments come over the wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bot.demo import slack_chat, slack_reads, slack_views
from bot.demo.slack_chat import Given
from bot.demo.slack_workspace import Message, Refused, Workspace

Handler = Callable[[Workspace, Given], Message]


@dataclass(frozen=True, slots=True)
class Method:
    """One method; `form_only` ones do not read JSON bodies."""

    answer: Handler
    scope: str = ""
    form_only: bool = False


METHODS: dict[str, Method] = {
    "api.test": Method(slack_reads.api_test),
    "auth.test": Method(slack_reads.auth_test),
    "chat.postMessage": Method(slack_chat.post_message, "chat:write"),
    "chat.update": Method(slack_chat.update, "chat:write"),
    "chat.delete": Method(slack_chat.delete, "chat:write"),
    "chat.postEphemeral": Method(slack_chat.post_ephemeral, "chat:write"),
    "chat.getPermalink": Method(slack_chat.permalink, form_only=True),
    "conversations.history": Method(slack_reads.history, "channels:history"),
    "conversations.replies": Method(slack_reads.replies, "channels:history", form_only=True),
    "conversations.info": Method(slack_reads.info, "channels:read", form_only=True),
    "conversations.open": Method(slack_reads.open_direct, "im:write"),
    "bots.info": Method(slack_reads.bot_info, "users:read", form_only=True),
    "users.info": Method(slack_reads.user_info, "users:read", form_only=True),
    "users.list": Method(slack_reads.users, "users:read"),
    "users.lookupByEmail": Method(slack_reads.user_by_email, "users:read.email", form_only=True),
    "usergroups.list": Method(slack_reads.groups, "usergroups:read"),
    "usergroups.users.list": Method(slack_reads.group_users, "usergroups:read"),
    "views.open": Method(slack_views.open_view),
    "views.update": Method(slack_views.update_view),
    "views.publish": Method(slack_views.publish_view),
    "files.getUploadURLExternal": Method(slack_views.upload_url, "files:write", form_only=True),
    "files.completeUploadExternal": Method(slack_views.complete_upload, "files:write"),
    "apps.connections.open": Method(slack_reads.connections_open),
}
APP_TOKEN_ONLY = "apps.connections.open"  # noqa: S105  a method's name
_HISTORY = ("conversations.history", "conversations.replies")
# What an app made from Lastgood's manifest was granted; each answer lists it, as Slack's do.
SCOPES = frozenset(
    [
        "channels:history", "chat:write", "commands", "files:write", "groups:history", "im:history", "im:write", "usergroups:read",
        "users:read", "users:read.email",
    ]
)  # fmt: skip
_JSON = ("blocks", "attachments", "metadata", "view", "files")
_FLAGS = ("include_all_metadata", "inclusive", "reply_broadcast", "unfurl_links", "unfurl_media", "include_users")


def scope_of(ws: Workspace, name: str, given: Given) -> str:
    """Give the scope a call needs: what was said in private is read with a scope of its own."""
    channel = ws.channels.get(str(given.get("channel", ""))) if name in _HISTORY else None
    if channel is not None and channel.is_im:
        return "im:history"
    return "groups:history" if channel is not None and channel.is_private else METHODS[name].scope


async def arguments(request: web.Request, *, form_only: bool) -> Given:
    """Read query, form, multipart or JSON. Raises Refused when it is none of them."""
    given: Given = dict(request.query)
    if request.content_type == "application/json":
        given |= {} if form_only else await _json_body(request)
    elif request.method == "POST":
        given |= {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    return {name: _plain(name, value) for name, value in given.items()}


async def _json_body(request: web.Request) -> Given:
    try:
        found = await request.json()
    except ValueError as error:
        raise Refused("invalid_json") from error
    if not isinstance(found, dict):
        raise Refused("json_not_object")
    return found


def _plain(name: str, value: Any) -> Any:
    if name in _JSON and isinstance(value, str):
        return _parsed(name, value)
    return value in (True, 1, "1", "true", "True") if name in _FLAGS else value


def _parsed(name: str, value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise Refused("invalid_blocks_format" if name == "blocks" else "invalid_arguments") from error


def answer(content: Message, scopes: frozenset[str]) -> web.Response:
    """Give a JSON answer as Slack does; `ratelimited` is the one refusal with a status of its own."""
    headers = {"x-oauth-scopes": ",".join(sorted(scopes))}
    status = 200
    if content.get("error") == "ratelimited":
        status, headers["Retry-After"] = 429, str(content.pop("retry_after", 1))
    return web.json_response(content, status=status, headers=headers)
