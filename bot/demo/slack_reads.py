"""auth.test, conversations.*, users.*, usergroups.*: what the app may look up."""

from __future__ import annotations

from bot.demo.slack_chat import Given, channel_of, needed, shown
from bot.demo.slack_workspace import APP, BOT, BOT_ID, Channel, Message, Refused, Workspace

_MOST = 999


def auth_test(ws: Workspace, _: Given) -> Message:
    """Answer auth.test."""
    who = {"team": "Lastgood demo", "team_id": ws.team_id, "user": "lastgood", "user_id": BOT, "bot_id": BOT_ID}
    return {"url": "https://lastgood.slack.example/", **who, "is_enterprise_install": False}


def bot_info(_: Workspace, given: Given) -> Message:
    """Answer bots.info: which app a bot is of."""
    if given.get("bot") not in (None, "", BOT_ID):
        raise Refused("bot_not_found")
    about = {"id": BOT_ID, "deleted": False, "name": "lastgood", "updated": 0, "app_id": APP, "user_id": BOT}
    return {"bot": about}


def api_test(_: Workspace, given: Given) -> Message:
    """Answer api.test; with `error` it fails as asked."""
    if given.get("error"):
        raise Refused(str(given["error"]), args=given)
    return {"args": given}


def connections_open(ws: Workspace, _: Given) -> Message:
    """Answer apps.connections.open: an address for one socket."""
    ticket = ws.ts()
    ws.tickets.add(ticket)
    return {"url": f"ws://{ws.address}/link/?ticket={ticket}&app_id={APP}"}


def history(ws: Workspace, given: Given) -> Message:
    """Answer conversations.history: newest first, no thread replies but the broadcast ones."""
    channel = _readable(ws, given)
    top = [one for one in channel.messages if not one.get("thread_ts") or one.get("reply_broadcast")]
    rows = [_headed(channel, one) for one in reversed(_between(top, given))]
    return _page(rows, given, 100)


def replies(ws: Workspace, given: Given) -> Message:
    """Answer conversations.replies: the parent, then its replies, oldest first."""
    channel = _readable(ws, given)
    (ts,) = needed(given, "ts")
    found = [one for one in channel.messages if ts in (one["ts"], one.get("thread_ts"))]
    if not found:
        raise Refused("thread_not_found")
    parent = [_headed(channel, one) for one in found if one["ts"] == ts and not given.get("cursor")]
    return _page([*parent, *_between([one for one in found if one["ts"] != ts], given)], given, 1000)


def _readable(ws: Workspace, given: Given) -> Channel:
    channel = channel_of(ws, given)
    if BOT not in channel.members:
        raise Refused("not_in_channel")
    return channel


def _between(rows: list[Message], given: Given) -> list[Message]:
    oldest, latest = _micro(given.get("oldest") or "0"), _micro(given.get("latest") or "99999999999")
    inclusive = 0 if given.get("inclusive") else 1
    return [one for one in rows if oldest + inclusive <= _micro(one["ts"]) <= latest - inclusive]


def _micro(ts: object) -> int:
    """Read a timestamp exactly: a float would lose its microseconds."""
    whole, _, rest = str(ts).partition(".")
    if not (whole.isdigit() and (rest or "0").isdigit()):
        raise Refused("invalid_ts_latest")
    return int(whole) * 1_000_000 + int(f"{rest:0<6}"[:6])


def _headed(channel: Channel, message: Message) -> Message:
    under = [one for one in channel.messages if one.get("thread_ts") == message["ts"]]
    if not under:
        return message
    about = {"thread_ts": message["ts"], "reply_count": len(under), "latest_reply": under[-1]["ts"]}
    return {**message, **about, "reply_users": sorted({one["user"] for one in under})}


def _page(rows: list[Message], given: Given, usual: int) -> Message:
    limit, start = _number(given.get("limit") or usual), _number(given.get("cursor") or 0)
    kept = [shown(one, metadata=bool(given.get("include_all_metadata"))) for one in rows[start : start + limit]]
    more = start + limit < len(rows)
    cursor = {"response_metadata": {"next_cursor": str(start + limit)}} if more else {}
    return {"messages": kept, "has_more": more, **cursor}


def _number(found: object) -> int:
    if not str(found).isdigit():
        raise Refused("invalid_cursor")
    return min(int(str(found)), _MOST) if int(str(found)) <= _MOST else int(str(found))


def info(ws: Workspace, given: Given) -> Message:
    """Answer conversations.info."""
    return {"channel": _described(channel_of(ws, given))}


def _described(channel: Channel) -> Message:
    return {
        "id": channel.id, "name": channel.name, "is_channel": not channel.is_im, "is_im": channel.is_im, "is_private": channel.is_private,
        "is_archived": channel.is_archived, "is_ext_shared": channel.is_ext_shared, "is_member": BOT in channel.members,
        "num_members": len(channel.members),
    }  # fmt: skip


def open_direct(ws: Workspace, given: Given) -> Message:
    """Answer conversations.open for one person."""
    (user,) = needed(given, "users")
    if user not in ws.users:
        raise Refused("user_not_found")
    return {"channel": {"id": ws.direct(user).id}}


def user_info(ws: Workspace, given: Given) -> Message:
    """Answer users.info."""
    (user,) = needed(given, "user")
    if user not in ws.users:
        raise Refused("user_not_found")
    return {"user": ws.users[user]}


def users(ws: Workspace, given: Given) -> Message:
    """Answer users.list, page by page."""
    limit, start = _number(given.get("limit") or _MOST), _number(given.get("cursor") or 0)
    rows = list(ws.users.values())
    after = str(start + limit) if start + limit < len(rows) else ""
    return {"members": rows[start : start + limit], "response_metadata": {"next_cursor": after}}


def user_by_email(ws: Workspace, given: Given) -> Message:
    """Answer users.lookupByEmail; deactivated people are not found."""
    (email,) = needed(given, "email")
    for one in ws.users.values():
        if one["profile"].get("email") == email.lower() and not one["deleted"]:
            return {"user": one}
    raise Refused("users_not_found")


def groups(ws: Workspace, given: Given) -> Message:
    """Answer usergroups.list."""
    rows: list[Message] = [
        {"id": name, "team_id": ws.team_id, "handle": name[2:].lower(), "name": name[2:].title(), "date_delete": 0, "user_count": len(who)}
        for name, who in ws.groups.items()
    ]  # fmt: skip
    return {
        "usergroups": [{**row, "users": ws.groups[row["id"]]} if given.get("include_users") else row for row in rows]
    }


def group_users(ws: Workspace, given: Given) -> Message:
    """Answer usergroups.users.list."""
    (group,) = needed(given, "usergroup")
    if group not in ws.groups:
        raise Refused("no_such_subteam")
    return {"users": ws.groups[group]}
