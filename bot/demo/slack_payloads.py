"""What Slack sends to an app when people act, and how it signs it. Source: Slack's interaction payload and events reference pages."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from bot.demo.slack_chat import shown
from bot.demo.slack_workspace import APP, Message, Workspace

_DOMAIN = "lastgood"


def signature(secret: str, stamp: str, body: bytes) -> dict[str, str]:
    """Give the headers Slack signs a body with: v0, HMAC-SHA256 over `v0:{stamp}:{body}`."""
    digest = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}


def _envelope(ws: Workspace, kind: str, user: str, team: str | None) -> Message:
    person = ws.users.get(user, {"name": user.lower(), "team_id": team or ws.team_id})
    about = {"id": user, "username": person["name"], "name": person["name"], "team_id": team or person["team_id"]}
    return {
        "type": kind, "user": about, "api_app_id": APP, "token": "deprecated", "team": {"id": team or ws.team_id, "domain": _DOMAIN},
        "enterprise": None, "is_enterprise_install": False,
    }  # fmt: skip


def pressed(
    ws: Workspace,
    user: str,
    where: tuple[str, str],
    action: Message,
    *,
    team: str | None,
    response_url: str,
    trigger: str,
) -> Message:
    """Build block_actions for a press on the message at `where`: channel and timestamp."""
    channel, ts = where
    message = _seen(ws, channel, ts)
    container: Message = {"type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": False}
    if message.get("thread_ts"):
        container["thread_ts"] = message["thread_ts"]
    if message.get("is_ephemeral"):
        container["is_ephemeral"] = True
    name = ws.channels[channel].name if channel in ws.channels else "elsewhere"
    told = {} if message.get("is_ephemeral") else {"message": shown(message)}
    return {
        **_envelope(ws, "block_actions", user, team), "container": container, "channel": {"id": channel, "name": name}, **told,
        "state": {"values": {}}, "response_url": response_url, "trigger_id": trigger, "actions": [action],
    }  # fmt: skip


def _seen(ws: Workspace, channel: str, ts: str) -> Message:
    said = ws.channels[channel].messages if channel in ws.channels else []
    return next((one for one in [*said, *ws.whispers] if one["ts"] == ts), {"type": "message", "ts": ts})


def action(ws: Workspace, name: str, block: str, element: Message, value: str | None) -> Message:
    """Build the entry of `actions` for a button or a menu; a menu gives the option with this value."""
    made = {"action_id": name, "block_id": block, "type": element["type"], "action_ts": ws.ts()}
    if "options" in element:
        chosen = next((one for one in element["options"] if value in (None, one["value"])), {"value": value})
        return {**made, "selected_option": chosen}
    optional: Message = {key: element[key] for key in ("text", "style", "url", "confirm") if key in element}
    return {**made, **optional, "value": element.get("value", "") if value is None else value}


def submission(
    ws: Workspace, user: str, view: Message, values: dict[str, str], team: str | None, trigger: str
) -> Message:
    """Build view_submission: `values` by block id, as a person filled them in."""
    state = {
        "values": {block["block_id"]: _filled(block, values) for block in view["blocks"] if block["type"] == "input"}
    }
    told = {key: value for key, value in view.items() if key != "opened_by"}
    about = {"view": {**told, "state": state}, "trigger_id": trigger, "response_urls": []}
    return {**_envelope(ws, "view_submission", user, team), **about}


_PICKED = {
    "users_select": "selected_user", "channels_select": "selected_channel", "conversations_select": "selected_conversation",
    "timepicker": "selected_time", "datepicker": "selected_date",
}  # fmt: skip


def _filled(block: Message, values: dict[str, str]) -> Message:
    """Give what stands in a field: typed, picked from options, or a person, a channel, a time; what was never touched is null."""
    element = block["element"]
    value = values.get(block["block_id"], element.get("initial_value"))
    kind = element["type"]
    if "options" in element:
        wanted = values.get(block["block_id"], (element.get("initial_option") or {}).get("value"))
        chosen = next((one for one in element["options"] if one["value"] == wanted), None)
        return {element["action_id"]: {"type": kind, "selected_option": chosen}}
    return {element["action_id"]: {"type": kind, _PICKED.get(kind, "value"): value}}


def command(
    ws: Workspace, user: str, name: str, text: str, channel: str, *, team: str | None, response_url: str, trigger: str
) -> dict[str, str]:
    """Build the form of a slash command."""
    person = ws.users.get(user, {"name": user.lower(), "team_id": ws.team_id})
    where = ws.channels[channel].name if channel in ws.channels else "elsewhere"
    return {
        "token": "deprecated", "team_id": team or str(person["team_id"]), "team_domain": _DOMAIN, "channel_id": channel,
        "channel_name": where, "user_id": user, "user_name": str(person["name"]), "command": name, "text": text, "api_app_id": APP,
        "is_enterprise_install": "false", "response_url": response_url, "trigger_id": trigger,
    }  # fmt: skip


def event(ws: Workspace, kind: str, event_id: str, fields: dict[str, Any]) -> Message:
    """Build event_callback around an event."""
    stamp = ws.ts()
    return {
        "token": "deprecated", "team_id": ws.team_id, "api_app_id": APP, "type": "event_callback", "event_id": event_id,
        "event_time": int(float(stamp)), "event": {"type": kind, "event_ts": stamp, **fields}, "is_ext_shared_channel": False,
        "authorizations": [{"enterprise_id": None, "team_id": ws.team_id, "user_id": "U0LASTGOOD", "is_bot": True, "is_enterprise_install": False}],
    }  # fmt: skip
