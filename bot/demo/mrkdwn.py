"""What Slack would take and a reader would suffer from: broken tokens, broadcasts, messages that say nothing to a screen reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_TOKEN = re.compile(
    r"<(?:@[UW][A-Z0-9]+(?:\|[^<>]*)?|#C[A-Z0-9]+(?:\|[^<>]*)?|!subteam\^S[A-Z0-9]+(?:\|[^<>]*)?"
    r"|!date\^\d+\^[^<>|^]+(?:\^https?://[^<>|]+)?\|[^<>]+|(?:https?://|mailto:|tel:)[^<>|\s]+(?:\|[^<>\n]+)?)>"
)
_BROADCAST = re.compile(r"<!(?:channel|here|everyone)(?:\|[^<>]*)?>")
_LINK = re.compile(r"<?https?://")
ADVISED = 4000  # characters of text


def complaints(given: dict[str, Any], *, new: bool) -> list[str]:
    """Give what is wrong with a message that Slack takes; `new` when it is posted and not updated."""
    found = [] if given.get("text") else ["a message without text"]
    if len(str(given.get("text") or "")) > ADVISED:
        found.append("text over 4,000 characters")
    if "link_names" in given or "parse" in given:
        found.append("link_names or parse was sent")
    if given.get("blocks") and any(not name for name in _unnamed(given["blocks"])):
        found.append("an element without action_id")
    texts = [*_marked(given.get("blocks")), str(given.get("text") or "")]
    if new and any(_LINK.search(text) for text in texts) and given.get("unfurl_links") is not False:
        found.append("links without unfurl_links=false")
    return found + [fault for text in texts for fault in strays(text)]


def strays(text: str) -> list[str]:
    """Give every `<` that begins no token Slack knows, and every token that calls everybody."""
    found = [f"a broadcast: {one}" for one in _BROADCAST.findall(text)]
    rest = _TOKEN.sub("", _BROADCAST.sub("", text))
    return found + [f"an unescaped <: {rest[at : at + 30]!r}" for at, sign in enumerate(rest) if sign == "<"]


def _marked(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "mrkdwn":
            yield str(node.get("text", ""))
        for value in node.values():
            yield from _marked(value)
    elif isinstance(node, list):
        for one in node:
            yield from _marked(one)


def _unnamed(blocks: Any) -> Iterator[str]:
    for block in blocks if isinstance(blocks, list) else []:
        if isinstance(block, dict) and block.get("type") == "actions":
            yield from (str(one.get("action_id") or "") for one in block.get("elements", []) if isinstance(one, dict))
