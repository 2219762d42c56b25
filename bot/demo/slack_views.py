"""views.* and files.*: modals opened within three seconds of a press, home tabs, uploads in two steps."""

from __future__ import annotations

from typing import Any

from bot.demo import blockkit
from bot.demo.slack_chat import Given, needed, writable
from bot.demo.slack_workspace import APP, BOT, BOT_ID, Message, Refused, Workspace


def open_view(ws: Workspace, given: Given) -> Message:
    """Answer views.open."""
    needed(given, "trigger_id", "view")
    view = _checked(given, "modal")
    if any(one.get("external_id") == view["external_id"] for one in ws.views.values() if view.get("external_id")):
        raise Refused("invalid_arguments", response_metadata={"messages": ["[ERROR] external_id is taken"]})
    user = ws.triggers.use(str(given["trigger_id"]))
    return {"view": keep_view(ws, view, user, f"V{len(ws.views) + 1:04d}")}


def update_view(ws: Workspace, given: Given) -> Message:
    """Answer views.update; a `hash` that is not the newest is refused."""
    found = ws.views.get(str(given.get("view_id"))) or _by_external_id(ws, given)
    if found is None:
        raise Refused("not_found")
    view = _checked(given, "modal")
    if given.get("hash") and given["hash"] != found["hash"]:
        raise Refused("hash_conflict")
    return {"view": keep_view(ws, view, str(found["opened_by"]), str(found["id"]))}


def _by_external_id(ws: Workspace, given: Given) -> Message | None:
    wanted = given.get("external_id")
    return next((one for one in ws.views.values() if wanted and one.get("external_id") == wanted), None)


def publish_view(ws: Workspace, given: Given) -> Message:
    """Answer views.publish."""
    (user,) = needed(given, "user_id")
    if user not in ws.users:
        raise Refused("user_not_found")
    found = ws.homes.get(user)
    if given.get("hash") and found is not None and given["hash"] != found["hash"]:
        raise Refused("hash_conflict")
    ws.homes[user] = _view(ws, _checked(given, "home"), user, f"VHOME{user}")
    ws.changed()
    return {"view": ws.homes[user]}


def _checked(given: Given, kind: str) -> Message:
    view: Any = given.get("view")
    errors = blockkit.check_view(view)
    if not errors and view["type"] != kind:
        errors = [f"[ERROR] must be a {kind} [json-pointer:/view/type]"]
    if errors:
        raise Refused("invalid_arguments", response_metadata={"messages": errors})
    checked: Message = view
    return checked


def keep_view(ws: Workspace, view: Message, user: str, view_id: str) -> Message:
    """Keep a modal as Slack does, newest last, and give it."""
    ws.views.pop(view_id, None)
    ws.views[view_id] = _view(ws, view, user, view_id)
    ws.changed()
    return ws.views[view_id]


def _view(ws: Workspace, view: Message, user: str, view_id: str) -> Message:
    stamp = ws.ts()
    usual = {
        "private_metadata": "",
        "callback_id": "",
        "external_id": "",
        "close": None,
        "submit": None,
        "notify_on_close": False,
    }
    about: Message = {
        "id": view_id, "root_view_id": view_id, "previous_view_id": None, "team_id": ws.team_id, "app_id": APP, "bot_id": BOT_ID,
        "hash": stamp, "state": {"values": {}}, "opened_by": user,
    }  # fmt: skip
    return {**usual, **view, **about, "blocks": blockkit.kept(view["blocks"], stamp)}


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def upload_url(ws: Workspace, given: Given) -> Message:
    """Answer files.getUploadURLExternal."""
    name, length = needed(given, "filename", "length")
    file = f"F{len(ws.files) + 1:04d}"
    ws.files.append({"id": file, "name": name, "title": name, "size": int(length), "content": b""})
    return {"upload_url": f"http://{ws.address}/upload/{file}", "file_id": file}


def complete_upload(ws: Workspace, given: Given) -> Message:
    """Answer files.completeUploadExternal: share what was uploaded, in a thread when one is named."""
    rows = given.get("files") or []
    found = [one for row in rows for one in ws.files if one["id"] == row.get("id")]
    if not rows or len(found) != len(rows):
        raise Refused("file_not_found")
    for row, file in zip(rows, found, strict=True):
        file["title"] = row.get("title") or file["name"]
        if len(file["content"]) != file["size"]:
            ws.warnings.append(f"{file['name']} was announced with {file['size']} bytes, {len(file['content'])} came")
    named = [{"id": one["id"], "name": one["name"], "title": one["title"]} for one in found]
    if given.get("channel_id"):
        channel = writable(ws, {"channel": given["channel_id"]})
        thread = {"thread_ts": given["thread_ts"]} if given.get("thread_ts") else {}
        ws.keep(
            channel.id,
            {"user": BOT, "bot_id": BOT_ID, "text": given.get("initial_comment") or "", "files": named, **thread},
        )
    return {"files": named}
