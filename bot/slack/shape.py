"""What a signed body must look like, so that nothing behind the door stumbles over it: slack-bolt answers 500 to less."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

_OBJECTS = ("user", "team", "enterprise", "view", "container", "channel", "message", "event", "state", "function_data")
_VIEWS = ("view_submission", "view_closed")
FIELDS = 100  # of a form


def readable(body: bytes, content_type: str) -> bool:
    """Say whether this is a form, or a JSON object, with every payload in the shape Slack gives it."""
    try:
        text = body.decode()
        whole = content_type == "application/json" or text.startswith("{")
        payloads = [text] if whole else parse_qs(text, max_num_fields=FIELDS).get("payload", [])
        return all(_shaped(json.loads(one)) for one in payloads)
    except (ValueError, RecursionError):
        return False


def _shaped(payload: Any) -> bool:
    if not isinstance(payload, Mapping):
        return False
    objects = all(isinstance(payload.get(name), Mapping | None) for name in _OBJECTS)
    kind = payload.get("type")
    if not objects or not isinstance(kind, str | None):
        return False
    if kind in _VIEWS:
        return _texts(payload.get("view"), "type", "callback_id") and _texts(payload.get("user"), "id")
    if kind == "block_actions":
        actions = payload.get("actions")
        pressed = isinstance(actions, list) and bool(actions) and all(_texts(one, "action_id") for one in actions)
        return pressed and _texts(payload.get("user"), "id")
    return True


def _texts(thing: Any, *names: str) -> bool:
    """Say whether this is an object in which these are texts."""
    return isinstance(thing, Mapping) and all(isinstance(thing.get(name), str) for name in names)
