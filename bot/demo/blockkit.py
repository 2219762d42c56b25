"""Block Kit as strictly as Slack takes it: limits, types, places, properties. Source: Slack's block and element reference pages.

What it does not know it refuses: video, file, call and the newest blocks are not modelled.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from bot.demo.blockkit_elements import ACCESSORIES, CONTEXT, INPUTS, PRESSABLE
from bot.demo.blockkit_shapes import (
    ANY_TEXT,
    LINK,
    PLAIN,
    Error,
    Shape,
    anything,
    complaint,
    flag,
    kind_of,
    listed,
    string,
    text,
    whole,
)

_BLOCK_ID = {"block_id": string(255)}
_RICH = {"rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote"}
_BLOCKS: dict[str, Shape] = {
    "header": Shape({"text": text(150, PLAIN)}, _BLOCK_ID),
    "section": Shape(
        {},
        {**_BLOCK_ID, "text": text(3000, ANY_TEXT), "fields": listed(10, text(2000, ANY_TEXT)), "accessory": kind_of(ACCESSORIES), "expand": flag},
        needs_one=("text", "fields"),
    ),
    "context": Shape({"elements": listed(10, kind_of(CONTEXT))}, _BLOCK_ID),
    "actions": Shape({"elements": listed(25, kind_of(PRESSABLE))}, _BLOCK_ID),
    "divider": Shape({}, _BLOCK_ID),
    "image": Shape(
        {"alt_text": string(2000)},
        {**_BLOCK_ID, "image_url": LINK, "slack_file": anything, "title": text(2000, PLAIN)},
        needs_one=("image_url", "slack_file"),
    ),
    "input": Shape(
        {"label": text(2000, PLAIN), "element": kind_of(INPUTS)},
        {**_BLOCK_ID, "hint": text(2000, PLAIN), "optional": flag, "dispatch_action": flag},
    ),
    "rich_text": Shape({"elements": listed(100, kind_of(dict.fromkeys(_RICH, Shape({}, {}, open=True))))}, _BLOCK_ID),
    "markdown": Shape({"text": string(12_000)}, _BLOCK_ID),
    "table": Shape({"rows": listed(100, listed(20, anything))}, {**_BLOCK_ID, "column_settings": listed(20, anything)}),
}  # fmt: skip
_ONLY_IN_MESSAGES = {"markdown", "table"}
_IN_VIEWS = {name: shape for name, shape in _BLOCKS.items() if name not in _ONLY_IN_MESSAGES}
_BOTH = {"type": anything, "blocks": anything, "private_metadata": string(3000, 0), "callback_id": string(255, 0), "external_id": string(255, 0)}  # fmt: skip
_MODAL = Shape(
    {"title": text(24, PLAIN)},
    {**_BOTH, "submit": text(24, PLAIN), "close": text(24, PLAIN), "clear_on_close": flag, "notify_on_close": flag, "submit_disabled": flag},
)  # fmt: skip
_HOME = Shape({}, _BOTH)
_VIEW_BYTES = 250_000
_MARKDOWN_IN_ALL = 12_000


def check_message(blocks: Any) -> list[Error]:
    """Give every fault of a message's blocks, each with its JSON pointer; empty when Slack would take them."""
    errors = list(_blocks(blocks, 50, _BLOCKS))
    if errors:
        return errors
    if sum(block["type"] == "table" for block in blocks) > 1:
        errors.append(complaint("only one table allowed per message", "/blocks"))
    if sum(len(block["text"]) for block in blocks if block["type"] == "markdown") > _MARKDOWN_IN_ALL:
        errors.append(complaint(f"markdown must be at most {_MARKDOWN_IN_ALL} characters in all", "/blocks"))
    return errors


def check_view(view: Any) -> list[Error]:
    """Give every fault of a modal or a home tab."""
    if not isinstance(view, dict) or view.get("type") not in ("modal", "home"):
        return [complaint("type must be modal or home", "/type")]
    modal = view["type"] == "modal"
    errors = list((_MODAL if modal else _HOME).check(view, "/view"))
    errors += _blocks(view.get("blocks"), 100, _IN_VIEWS, "/view/blocks")
    if not errors and modal and "submit" not in view and any(block["type"] == "input" for block in view["blocks"]):
        errors.append(complaint("missing required field: submit", "/view"))
    if len(json.dumps(view)) > _VIEW_BYTES:
        errors.append(complaint("view must be at most 250 kB", "/view"))
    return errors


def _blocks(blocks: Any, most: int, known: dict[str, Shape], at: str = "/blocks") -> Iterator[Error]:
    yield from listed(most, kind_of(known), least=0)(blocks, at)
    if isinstance(blocks, list):
        yield from _twice(blocks, "block_id", at)
        for n, block in enumerate(blocks):
            yield from _twice(elements_of(block), "action_id", f"{at}/{n}")
            for one in elements_of(block):
                yield from _begun(one, f"{at}/{n}")


def _begun(element: dict[str, Any], at: str) -> Iterator[Error]:
    """Say what a menu or a field begins with that it could never hold."""
    begins, options = element.get("initial_option"), whole(element.get("options"))
    if begins is not None and options and begins not in options:
        yield complaint("initial_option must be one of the options", at)
    time = element.get("initial_time")
    if time is not None and not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", str(time)):
        yield complaint("initial_time must be HH:mm", at)
    least, most = element.get("min_length"), element.get("max_length")
    if isinstance(least, int) and isinstance(most, int) and least > most:
        yield complaint("min_length must be at most max_length", at)


def _twice(things: list[Any], name: str, at: str) -> Iterator[Error]:
    counted = Counter(str(one[name]) for one in things if isinstance(one, dict) and one.get(name) is not None)
    for value in (value for value, count in counted.items() if count > 1):
        yield complaint(f"`{name}` must be unique: {value}", at)


def elements_of(block: Any) -> list[dict[str, Any]]:
    """Give what a person can press or fill in a block."""
    if not isinstance(block, dict):
        return []
    many = block.get("elements") if block.get("type") == "actions" else [block.get("accessory"), block.get("element")]
    return [one for one in whole(many) if isinstance(one, dict)]


def pressable(blocks: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    """Give block id and element of everything with an action id, by that id."""
    return {
        str(one["action_id"]): (str(block.get("block_id", "")), one)
        for block in whole(blocks)
        for one in elements_of(block)
        if one.get("action_id")
    }


def kept(blocks: Any, serial: str) -> list[dict[str, Any]]:
    """Give a copy as Slack keeps it: ids filled in where none were given, texts with their defaults."""
    copy: list[dict[str, Any]] = json.loads(json.dumps(blocks), object_hook=_defaults)
    for n, block in enumerate(copy):
        block.setdefault("block_id", f"b{serial[-6:]}{n}")
        for m, one in enumerate(elements_of(block)):
            if one["type"] != "image":
                one.setdefault("action_id", f"a{serial[-6:]}{n}{m}")
    return copy


def _defaults(thing: dict[str, Any]) -> dict[str, Any]:
    if thing.get("type") == "plain_text":
        thing.setdefault("emoji", True)
    elif thing.get("type") == "mrkdwn":
        thing.setdefault("verbatim", False)
    return thing
