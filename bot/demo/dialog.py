"""A dialog as Slack's own client keeps it: what a person sees, and what must be filled in before the app hears of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

View = Mapping[str, Any]


def shown(view: View) -> dict[str, Any]:
    """Give what a person sees of a dialog."""
    return {name: view[name] for name in ("id", "title", "submit", "close", "blocks")}


def fields(view: View) -> dict[str, View]:
    """Give the blocks that are filled in, by block id."""
    return {one["block_id"]: one for one in view["blocks"] if one["type"] == "input"}


def unfilled(view: View, values: Mapping[str, str], people: Collection[str]) -> dict[str, str]:
    """Give what is missing or impossible, a sentence for each block; empty when the dialog can be sent.

    `values` are by block id; a field that is not in it stands as the app began it. `people` are whom a menu of people
    offers. Source: Slack's pages on the input block and its elements.
    """
    found = {name: _wrong(block, values.get(name, _begun(block["element"])), people) for name, block in fields(view).items()}  # fmt: skip
    return {name: why for name, why in found.items() if why}


def _begun(element: View) -> str:
    return str(element.get("initial_value") or (element.get("initial_option") or {}).get("value") or "")


def _wrong(block: View, text: str, people: Collection[str]) -> str:
    element = block["element"]
    if not text:
        return (
            "" if block.get("optional") else "Fill this in." if element["type"] == "plain_text_input" else "Pick one."
        )
    if "options" in element:
        return "" if text in {one["value"] for one in element["options"]} else "Pick one of these."
    if element["type"] == "users_select":
        return "" if text in people else "Pick one of these."
    return _length(text, element.get("min_length", 0), element.get("max_length", 3000))


def _length(text: str, least: int, most: int) -> str:
    if len(text) < least:
        return f"{least} characters at least; this has {len(text)}."
    return f"{most:,} characters at most; this has {len(text):,}." if len(text) > most else ""
