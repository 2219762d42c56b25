"""From Slack's payloads to a press. Nothing in a payload is believed but who signed it; values only say what was shown."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bot.domain.press import Press
from bot.slack.buttons import MORE, WORDS
from bot.slack.forms import FIELDS, FORMS

ACTIONS = frozenset({"approve", *WORDS})
LINKS = frozenset(
    {"open_postmortem", "open_card", "open_confirm"}
)  # buttons that lead somewhere; Slack tells of the press all the same
_VALUE = re.compile(r"(?:([a-z_]{1,20})\.)?([0-9A-HJKMNP-TV-Z]{26})\.([0-9a-f]{8}|none)\.([0-9]{1,9})")
FOREIGN = "People from other organisations cannot approve here. Nothing was changed."
STRANGE = "This came from another app, so it counts for nothing. Open the card from the channel. Nothing was changed."
TAMPERED = "This button does not match a plan I made. Open the card from the channel. Nothing was changed."
Posted = Callable[[str, str], Awaitable[bool]]


def is_link(payload: Mapping[str, Any]) -> bool:
    """Say whether a press only opened an address: it has no effect here."""
    return _first(payload.get("actions")).get("action_id") in LINKS


def press_of(payload: Mapping[str, Any], team: str, app: str) -> Press | str:
    """Read a press on a button or in the menu; give the press, or the sentence that refuses it."""
    user, action, container = _in(payload, "user"), _first(payload.get("actions")), _in(payload, "container")
    if refusal := _refused(payload, team, app):
        return refusal
    match, act = _VALUE.fullmatch(_value(action)), action.get("action_id")
    if match is None or (match[1] is not None) is not (act == MORE):
        return TAMPERED
    act = match[1] or act
    if not _is_id(user.get("id")) or act not in ACTIONS:
        return TAMPERED
    request = {
        "team": team, "trigger": str(payload.get("trigger_id", ""))[:100], "action_at": str(action.get("action_ts", ""))[:40],
        "message": f"{container.get('channel_id', '')}/{container.get('message_ts', '')}"[:100],
    }  # fmt: skip
    return Press(
        person=str(user["id"]), action=str(act), incident=match[2], plan=match[3], card_version=int(match[4]), request=request,
    )  # fmt: skip


def _value(action: Mapping[str, Any]) -> str:
    """Give what the button carries, or the option that was picked in the menu."""
    found = _in(action, "selected_option").get("value") if action.get("action_id") == MORE else action.get("value")
    return str(found or "")


def place_of(payload: Mapping[str, Any]) -> tuple[str, str]:
    """Give channel and message of a press."""
    container = _in(payload, "container")
    return str(container.get("channel_id", "")), str(container.get("message_ts", ""))


def submitted(payload: Mapping[str, Any], team: str, app: str) -> tuple[Press, str] | str:
    """Read a dialog that was sent; give the press with what was filled in, and the channel to answer in.

    The dialog's metadata is taken for what was shown and for nothing else: the press is judged anew.
    """
    user, view = _in(payload, "user"), _in(payload, "view")
    if refusal := _refused(payload, team, app):
        return refusal
    act, _, rest = str(view.get("private_metadata", "")).partition("|")
    parts = rest.split("|")
    if act not in FORMS or len(parts) != 4 or not _is_id(user.get("id")):
        return TAMPERED
    match = _VALUE.fullmatch(".".join(parts[:3]))
    if match is None or match[1] is not None:
        return TAMPERED
    filled = {name: text for name in FIELDS if (text := _filled(view, name))}
    request = {"team": team, "view": str(view.get("id", ""))[:100], "trigger": str(payload.get("trigger_id", ""))[:100]}
    press = Press(
        person=str(user["id"]), action=act, incident=match[2], plan=match[3], card_version=int(match[4]),
        reason=filled.pop("why", ""), asked=filled, request=request,
    )  # fmt: skip
    return press, parts[3]


def _filled(view: Mapping[str, Any], name: str) -> str:
    """Read one field: what was typed, the option that was picked, or the person."""
    field = _in(_in(_in(_in(view, "state"), "values"), name), "field")
    found = field.get("value") or _in(field, "selected_option").get("value") or field.get("selected_user")
    return found[:1000] if isinstance(found, str) else ""


def _refused(payload: Mapping[str, Any], team: str, app: str) -> str:
    """Person, workspace and app must be ours; what is missing is nobody's."""
    if not _ours(payload, team):
        return FOREIGN
    return "" if app and payload.get("api_app_id") == app else STRANGE


def _ours(payload: Mapping[str, Any], team: str) -> bool:
    """Both the person and the workspace they act in must be ours; a missing id is nobody's."""
    named = _in(payload, "user").get("team_id"), _in(payload, "team").get("id", team)
    return bool(team) and named == (team, team)


def _is_id(found: object) -> bool:
    return isinstance(found, str) and 0 < len(found) <= 40


def _in(thing: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = thing.get(name)
    return found if isinstance(found, Mapping) else {}


def _first(things: Any) -> Mapping[str, Any]:
    first = things[0] if isinstance(things, list) and things else {}
    return first if isinstance(first, Mapping) else {}
