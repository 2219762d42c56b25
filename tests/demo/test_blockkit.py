"""The look-alike's Block Kit is as strict as Slack's: what Slack refuses is refused, with its sentence and its pointer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.demo.blockkit import check_message, check_view, elements_of, kept, pressable

PLAIN = {"type": "plain_text", "text": "Why?"}
MARKED = {"type": "mrkdwn", "text": "*12.4 %* of requests fail"}
BUTTON = {"type": "button", "action_id": "approve", "text": PLAIN}
SECTION = {"type": "section", "text": MARKED}
INPUT = {
    "type": "input",
    "block_id": "why",
    "label": PLAIN,
    "element": {"type": "plain_text_input", "action_id": "text"},
}
OPTION = {"text": PLAIN, "value": "a"}
CONFIRM = {"title": PLAIN, "text": MARKED, "confirm": PLAIN, "deny": PLAIN}


def actions(*elements: Any) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


def modal(*blocks: Any, **more: Any) -> dict[str, Any]:
    return {"type": "modal", "title": PLAIN, "submit": PLAIN, "blocks": list(blocks), **more}


def plain(length: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": "x" * length}


@pytest.mark.parametrize(
    "blocks",
    [
        [], [SECTION], [{"type": "divider"}], [{"type": "header", "text": plain(150)}], [{"type": "section", "fields": [MARKED] * 10}],
        [actions(BUTTON, {"type": "overflow", "action_id": "more", "options": [OPTION] * 5})], [SECTION] * 50,
        [{"type": "context", "elements": [MARKED, {"type": "image", "alt_text": "x", "image_url": "https://x.example/a.png"}]}],
        [{"type": "image", "alt_text": "a line", "slack_file": {"id": "F1"}}], [{"type": "markdown", "text": "# x"}],
        [actions({**BUTTON, "url": "https://x.example", "style": "danger", "value": "", "confirm": CONFIRM, "accessibility_label": "x" * 75})],
    ],
)  # fmt: skip
def test_what_slack_takes_is_taken(blocks: list[Any]) -> None:
    assert check_message(blocks) == []


@pytest.mark.parametrize(
    ("blocks", "sentence", "at"),
    [
        ("x", "must be a list", "/blocks"),
        ([1], "unsupported type: None", "/blocks/0"),
        ([{"type": "card"}], "unsupported type: card", "/blocks/0"),
        ([SECTION] * 51, "no more than 50 items allowed", "/blocks"),
        ([{"type": "section"}], "missing required field: text or fields", "/blocks/0"),
        ([{**SECTION, "colour": "red"}], "invalid additional property: colour", "/blocks/0"),
        ([{"type": "section", "text": {"type": "mrkdwn", "text": ""}}], "must be more than 0 characters", "/blocks/0/text/text"),
        ([{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}], "must be less than 3001 characters", "/blocks/0/text/text"),
        ([{"type": "section", "text": {**MARKED, "emoji": True}}], "invalid additional property: emoji", "/blocks/0/text"),
        ([{"type": "section", "fields": [MARKED] * 11}], "no more than 10 items allowed", "/blocks/0/fields"),
        ([{"type": "header", "text": MARKED}], "must be a plain_text object", "/blocks/0/text"),
        ([{"type": "header", "text": plain(151)}], "must be less than 151 characters", "/blocks/0/text/text"),
        ([{"type": "context", "elements": [BUTTON]}], "unsupported type: button", "/blocks/0/elements/0"),
        ([{"type": "context", "elements": [MARKED] * 11}], "no more than 10 items allowed", "/blocks/0/elements"),
        ([actions()], "no fewer than 1 items allowed", "/blocks/0/elements"),
        ([actions(*({**BUTTON, "action_id": str(n)} for n in range(26)))], "no more than 25 items allowed", "/blocks/0/elements"),
        ([actions({**BUTTON, "text": plain(76)})], "must be less than 76 characters", "/blocks/0/elements/0/text/text"),
        ([actions({**BUTTON, "value": "x" * 2001})], "must be less than 2001 characters", "/blocks/0/elements/0/value"),
        ([actions({**BUTTON, "value": 7})], "must be a string", "/blocks/0/elements/0/value"),
        ([actions({**BUTTON, "url": "javascript:x"})], "must be a valid url", "/blocks/0/elements/0/url"),
        ([actions({**BUTTON, "style": "green"})], "must be one of primary, danger", "/blocks/0/elements/0/style"),
        ([actions({**BUTTON, "confirm": {**CONFIRM, "deny": plain(31)}})], "must be less than 31 characters", "/blocks/0/elements/0/confirm/deny/text"),
        ([actions(BUTTON, BUTTON)], "`action_id` must be unique: approve", "/blocks/0"),
        ([{**SECTION, "block_id": "a"}] * 2, "`block_id` must be unique: a", "/blocks"),
        ([actions({"type": "overflow", "action_id": "m", "options": [OPTION] * 6})], "no more than 5 items allowed", "/blocks/0/elements/0/options"),
        ([actions({"type": "plain_text_input", "action_id": "t"})], "unsupported type: plain_text_input", "/blocks/0/elements/0"),
        ([{"type": "image", "image_url": "https://x.example/a.png"}], "missing required field: alt_text", "/blocks/0"),
        ([{"type": "markdown", "text": "x" * 6001}] * 2, "markdown must be at most 12000 characters in all", "/blocks"),
        ([{"type": "table", "rows": [["a"]]}] * 2, "only one table allowed per message", "/blocks"),
    ],
)  # fmt: skip
def test_what_slack_refuses_is_refused(blocks: Any, sentence: str, at: str) -> None:
    assert f"[ERROR] {sentence} [json-pointer:{at}]" in check_message(blocks)


@pytest.mark.parametrize(
    ("view", "sentence", "at"),
    [
        (None, "type must be modal or home", "/type"),
        ({"type": "dialog"}, "type must be modal or home", "/type"),
        (modal(INPUT, title=plain(25)), "must be less than 25 characters", "/view/title/text"),
        (modal(INPUT, private_metadata="x" * 3001), "must be less than 3001 characters", "/view/private_metadata"),
        (modal({"type": "markdown", "text": "x"}), "unsupported type: markdown", "/view/blocks/0"),
        (modal(*[SECTION] * 101), "no more than 100 items allowed", "/view/blocks"),
        ({"type": "modal", "title": PLAIN, "blocks": [INPUT]}, "missing required field: submit", "/view"),
        (modal(*[{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3000}}] * 90), "view must be at most 250 kB", "/view"),
        ({"type": "home", "title": PLAIN, "blocks": []}, "invalid additional property: title", "/view"),
    ],
)  # fmt: skip
def test_views_have_limits_of_their_own(view: Any, sentence: str, at: str) -> None:
    assert f"[ERROR] {sentence} [json-pointer:{at}]" in check_view(view)


def test_views_that_slack_takes_are_taken() -> None:
    assert check_view(modal(INPUT, *[SECTION] * 99)) == []
    assert check_view({"type": "home", "blocks": [SECTION]}) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "elements", "fields", "block_id", "action_id", "options", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    JSON,
    st.sampled_from(["header", "section", "context", "actions", "image", "input", "table", "rich_text", "markdown"]),
)
def test_nothing_makes_the_check_itself_stumble(thing: Any, kind: str) -> None:
    blocks = [{"type": kind, **thing}] if isinstance(thing, dict) else thing
    assert all(one.startswith("[ERROR] ") for one in check_message(blocks))
    assert all(one.startswith("[ERROR] ") for one in check_view({"type": "modal", "title": PLAIN, "blocks": blocks}))
    pressable(blocks)


def test_ids_are_filled_in_as_slack_does_and_what_was_sent_stays_as_it_was() -> None:
    sent = [actions({"type": "button", "text": {"type": "plain_text", "text": "x"}})]
    (block,) = kept(sent, "1.000042")
    assert block["block_id"]
    assert elements_of(block)[0]["action_id"]
    assert elements_of(block)[0]["text"]["emoji"] is True
    assert "block_id" not in sent[0]


SELECT = {"type": "static_select", "action_id": "field", "options": [OPTION]}


@pytest.mark.parametrize(
    ("element", "sentence"),
    [
        ({**SELECT, "initial_option": {"text": PLAIN, "value": "b"}}, "initial_option must be one of the options"),
        ({"type": "timepicker", "action_id": "field", "initial_time": "24:00"}, "initial_time must be HH:mm"),
        ({"type": "timepicker", "action_id": "field", "initial_time": "9:00"}, "initial_time must be HH:mm"),
        ({"type": "plain_text_input", "action_id": "field", "min_length": 10, "max_length": 5}, "min_length must be at most max_length"),
        ({"type": "overflow", "action_id": "field", "options": [OPTION]}, "unsupported type: overflow"),
    ],
)  # fmt: skip
def test_a_field_that_could_never_be_filled_is_refused(element: dict[str, Any], sentence: str) -> None:
    assert any(sentence in error for error in check_view(modal({**INPUT, "element": element})))


@pytest.mark.parametrize(
    "element",
    [
        {**SELECT, "initial_option": OPTION}, {"type": "users_select", "action_id": "field", "initial_user": "U1"},
        {"type": "timepicker", "action_id": "field", "initial_time": "08:00", "timezone": "Europe/Berlin"},
        {"type": "plain_text_input", "action_id": "field", "min_length": 5, "max_length": 5},
        {"type": "radio_buttons", "action_id": "field", "options": [{**OPTION, "description": PLAIN}] * 10},
    ],
)  # fmt: skip
def test_a_field_that_can_be_filled_is_taken(element: dict[str, Any]) -> None:
    assert check_view(modal({**INPUT, "element": element})) == []


@pytest.mark.parametrize("style", [{"style": "danger"}, {"accessibility_label": "x"}])
def test_a_menu_has_neither_colour_nor_label(style: dict[str, Any]) -> None:
    menu = {"type": "overflow", "action_id": "more", "options": [OPTION], **style}
    assert "invalid additional property" in check_message([actions(menu)])[0]
