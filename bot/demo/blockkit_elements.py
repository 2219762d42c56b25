"""Block Kit's elements: buttons, menus, fields, and where each may stand."""

from __future__ import annotations

from bot.demo.blockkit_shapes import (
    ANY_TEXT,
    LINK,
    PLAIN,
    Check,
    Shape,
    among,
    anything,
    flag,
    listed,
    number,
    string,
    text,
)

_ACTION = {"action_id": string(255)}
_STYLE = among("primary", "danger")
_CONFIRM = Shape(
    {"title": text(100, PLAIN), "text": text(300, ANY_TEXT), "confirm": text(30, PLAIN), "deny": text(30, PLAIN)},
    {"style": _STYLE},
).check
_SHARED: dict[str, Check] = {**_ACTION, "confirm": _CONFIRM, "focus_on_load": flag}
_HINT = {"placeholder": text(150, PLAIN)}


def _option(kinds: tuple[str, ...], *, link: bool = False) -> Check:
    more = {"url": LINK} if link else {}
    return Shape({"text": text(75, kinds), "value": string(150)}, {"description": text(75, kinds), **more}).check


_CHOICE = _option(PLAIN)
_GROUP = Shape({"label": text(75, PLAIN), "options": listed(100, _CHOICE)}, {}).check
_MENU = {**_SHARED, **_HINT, "options": listed(100, _CHOICE), "option_groups": listed(100, _GROUP)}
_MOST = {"max_selected_items": number(1, 1000)}
_BOXES = {"options": listed(10, _option(ANY_TEXT))}
_IMAGE = Shape({"alt_text": string(2000)}, {"image_url": LINK, "slack_file": anything}, needs_one=("image_url", "slack_file"))  # fmt: skip
_TYPED = {**_ACTION, **_HINT, "focus_on_load": flag, "dispatch_action_config": anything}

BUTTON = Shape(
    {"text": text(75, PLAIN)},
    {**_ACTION, "url": LINK, "value": string(2000, 0), "style": _STYLE, "confirm": _CONFIRM, "accessibility_label": string(75)},
)  # fmt: skip
OVERFLOW = Shape({"options": listed(5, _option(PLAIN, link=True))}, {**_ACTION, "confirm": _CONFIRM})

_CHOOSING = {
    "static_select": Shape({}, {**_MENU, "initial_option": _CHOICE}, needs_one=("options", "option_groups")),
    "multi_static_select": Shape(
        {}, {**_MENU, **_MOST, "initial_options": listed(100, _CHOICE)}, needs_one=("options", "option_groups")
    ),
    "external_select": Shape({}, {**_SHARED, **_HINT, "initial_option": _CHOICE, "min_query_length": number(0, 100)}),
    "users_select": Shape({}, {**_SHARED, **_HINT, "initial_user": string(255)}),
    "multi_users_select": Shape({}, {**_SHARED, **_HINT, **_MOST, "initial_users": listed(1000, string(255))}),
    "channels_select": Shape({}, {**_SHARED, **_HINT, "initial_channel": string(255), "response_url_enabled": flag}),
    "conversations_select": Shape(
        {},
        {**_SHARED, **_HINT, "initial_conversation": string(255), "default_to_current_conversation": flag, "response_url_enabled": flag, "filter": anything},
    ),
    "checkboxes": Shape(_BOXES, {**_SHARED, "initial_options": listed(10, _option(ANY_TEXT))}),
    "radio_buttons": Shape(_BOXES, {**_SHARED, "initial_option": _option(ANY_TEXT)}),
    "datepicker": Shape({}, {**_SHARED, **_HINT, "initial_date": string(10)}),
    "timepicker": Shape({}, {**_SHARED, **_HINT, "initial_time": string(5), "timezone": string(100)}),
    "datetimepicker": Shape({}, {**_SHARED, "initial_date_time": number(0, 9_999_999_999)}),
}  # fmt: skip
_FIELDS = {
    "plain_text_input": Shape(
        {},
        {**_TYPED, "initial_value": string(3000, 0), "multiline": flag, "min_length": number(0, 3000), "max_length": number(1, 3000)},
    ),
    "number_input": Shape(
        {"is_decimal_allowed": flag},
        {**_TYPED, "initial_value": string(100), "min_value": string(100), "max_value": string(100)},
    ),
    "email_text_input": Shape({}, {**_TYPED, "initial_value": string(3000, 0)}),
    "url_text_input": Shape({}, {**_TYPED, "initial_value": string(3000, 0)}),
}  # fmt: skip

PRESSABLE = {"button": BUTTON, "overflow": OVERFLOW, **_CHOOSING}
ACCESSORIES = {**PRESSABLE, "image": _IMAGE}
INPUTS = {**_CHOOSING, **_FIELDS}
CONTEXT = {
    "image": _IMAGE,
    "mrkdwn": Shape({"text": string(3000)}, {"verbatim": flag}),
    "plain_text": Shape({"text": string(3000)}, {"emoji": flag}),
}
