"""From payloads to presses: what is believed, what is refused, and that nothing makes it stumble."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.demo.slack_workspace import APP
from bot.domain.press import Press
from bot.slack.actions import ACTIONS, FOREIGN, STRANGE, TAMPERED, is_link, place_of, press_of, submitted
from bot.slack.forms import FORMS
from tests.slack.stories import ULID

TEAM = "T0LASTGOOD"
VALUE = f"{ULID}.7f3a9c2e.4"
ANOTHER = f"{ULID[:-1]}1"  # another incident's id


def click(**changes: Any) -> dict[str, Any]:
    return {
        "type": "block_actions", "team": {"id": TEAM}, "api_app_id": APP, "user": {"id": "U0ANA", "team_id": TEAM}, "trigger_id": "1.2",
        "container": {"channel_id": "C0INCIDENTS", "message_ts": "1.0"},
        "actions": [{"action_id": "approve", "value": VALUE, "action_ts": "3.0"}], **changes,
    }  # fmt: skip


def picked(value: object = f"choose.{VALUE}", **changes: Any) -> dict[str, Any]:
    action = {"type": "overflow", "action_id": "more", "selected_option": {"value": value}, "action_ts": "3.0"}
    return click(**{"actions": [action], **changes})


def sent(
    metadata: str = f"reject|{ULID}|7f3a9c2e|4|C0INCIDENTS", fields: Mapping[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    values = {name: {"field": field} for name, field in (fields or {}).items()}
    view = {"id": "V1", "private_metadata": metadata, "state": {"values": values}}
    return {"type": "view_submission", "view": view, **click(), **changes}


def test_a_click_says_who_what_and_which_card_was_seen() -> None:
    press = press_of(click(), TEAM, APP)
    assert isinstance(press, Press)
    assert (press.person, press.action, press.incident, press.plan, press.card_version) == (
        "U0ANA",
        "approve",
        ULID,
        "7f3a9c2e",
        4,
    )
    assert place_of(click()) == ("C0INCIDENTS", "1.0")


def test_rt24_a_click_keeps_what_proves_it_later() -> None:
    press = press_of(click(), TEAM, APP)
    assert isinstance(press, Press)
    assert press.request == {"team": TEAM, "trigger": "1.2", "action_at": "3.0", "message": "C0INCIDENTS/1.0"}
    found = submitted(sent(), TEAM, APP)
    assert not isinstance(found, str)
    assert found[0].request == {"team": TEAM, "view": "V1", "trigger": "1.2"}


@pytest.mark.parametrize("act", sorted(ACTIONS))
def test_an_option_of_the_menu_is_the_press_of_the_button_it_stands_for(act: str) -> None:
    press = press_of(picked(f"{act}.{VALUE}"), TEAM, APP)
    assert isinstance(press, Press)
    assert (press.action, press.incident, press.plan, press.card_version) == (act, ULID, "7f3a9c2e", 4)


@pytest.mark.parametrize(
    "value", [VALUE, f"drop_table.{VALUE}", f"choose.choose.{VALUE}", f".{VALUE}", "choose", None, 7, {}]
)
def test_an_option_we_never_made_is_refused(value: object) -> None:
    assert press_of(picked(value), TEAM, APP) == TAMPERED


def test_a_button_does_not_carry_another_act_than_its_own() -> None:
    smuggled = [{"action_id": "reject", "value": f"approve.{VALUE}"}]
    assert press_of(click(actions=smuggled), TEAM, APP) == TAMPERED


def test_an_installation_for_the_whole_organisation_names_no_team() -> None:
    assert isinstance(press_of(click(team=None), TEAM, APP), Press)


@pytest.mark.parametrize(
    "changes",
    [
        {"user": {"id": "U0EVIL", "team_id": "T0OTHER"}},
        {"user": {"id": "U0EVIL"}},
        {"team": {"id": "T0OTHER"}},
    ],
)  # fmt: skip
def test_rt4_people_of_other_organisations_are_refused(changes: dict[str, Any]) -> None:
    assert press_of(click(**changes), TEAM, APP) == FOREIGN
    assert submitted(sent(**changes), TEAM, APP) == FOREIGN


@pytest.mark.parametrize("app", ["A0ANOTHER", "", None, 7])
def test_rt4_what_another_app_was_told_is_refused(app: object) -> None:
    assert press_of(click(api_app_id=app), TEAM, APP) == STRANGE
    assert submitted(sent(api_app_id=app), TEAM, APP) == STRANGE


def test_nobody_is_ours_while_we_do_not_know_who_we_are() -> None:
    assert press_of(click(team=None, user={"id": "U0ANA", "team_id": ""}), "", APP) == FOREIGN
    assert press_of(click(api_app_id=""), TEAM, "") == STRANGE


@pytest.mark.parametrize(
    "value", ["", VALUE + "\n", VALUE.replace("4", "٤"), f"{ULID}.7F3A9C2E.4", f"{ULID}..4", ULID, f"{VALUE}.5", "I" * 26 + ".none.1", None, 7],
)  # fmt: skip
def test_a_value_we_never_made_is_refused(value: object) -> None:
    assert press_of(click(actions=[{"action_id": "approve", "value": value}]), TEAM, APP) == TAMPERED


def test_a_button_we_do_not_have_is_refused() -> None:
    assert press_of(click(actions=[{"action_id": "drop_table", "value": VALUE}]), TEAM, APP) == TAMPERED


def test_what_only_leads_somewhere_is_told_apart() -> None:
    assert is_link(click(actions=[{"action_id": "open_confirm"}]))
    assert not is_link(click())


# ── what a dialog brings back ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("act", sorted(FORMS))
def test_a_dialog_brings_back_what_was_filled_in_and_nothing_it_carried(act: str) -> None:
    fields = {
        "why": {"type": "plain_text_input", "value": "the feed is late"},
        "version": {"type": "radio_buttons", "selected_option": {"value": "40"}},
        "until": {"type": "radio_buttons", "selected_option": None},
        "to": {"type": "users_select", "selected_user": "U0PRIYA"},
        "evil": {"type": "plain_text_input", "value": "x"},
    }
    found = submitted(sent(f"{act}|{ULID}|7f3a9c2e|4|C0INCIDENTS", fields), TEAM, APP)
    assert not isinstance(found, str)
    press, channel = found
    assert (press.person, press.action, press.incident, press.plan, press.card_version) == ("U0ANA", act, ULID, "7f3a9c2e", 4)  # fmt: skip
    assert (press.reason, press.asked, press.via, channel) == (
        "the feed is late", {"version": "40", "to": "U0PRIYA"}, "slack", "C0INCIDENTS",
    )  # fmt: skip


@pytest.mark.parametrize(
    "metadata",
    [
        "", "approve|x", f"reject|{ULID}|7f3a9c2e|4", f"reject|{ULID}|x|4|C", f"take|{ULID}|7f3a9c2e|4|C", f"|{ULID}|7f3a9c2e|4|C",
        f"reject|choose.{ULID}|7f3a9c2e|4|C", f"reject|{ULID}|7f3a9c2e|4|C|D", f"reject|{ULID}.7f3a9c2e|4||C", None, 7,
    ],
)  # fmt: skip
def test_rt5_a_forged_dialog_is_refused(metadata: Any) -> None:
    assert submitted(sent(metadata), TEAM, APP) == TAMPERED


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from([VALUE, TEAM, APP, "U0ANA", "approve", "more"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)  # fmt: skip
NAMES = ["team", "user", "actions", "container", "trigger_id", "view", "api_app_id", "type"]


@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_rt5_no_payload_makes_it_stumble_or_speaks_of_another_plan(changes: dict[str, Any]) -> None:
    for payload in (click(**changes), picked(**changes)):
        found = press_of(payload, TEAM, APP)
        if isinstance(found, Press):
            assert (found.person, found.incident, found.plan) == (payload["user"]["id"], ULID, "7f3a9c2e")
        else:
            assert found in (FOREIGN, STRANGE, TAMPERED)
        place_of(payload)
        is_link(payload)
    found_ = submitted(sent(**changes), TEAM, APP)
    if isinstance(found_, tuple):
        assert (found_[0].incident, found_[0].plan) == (ULID, "7f3a9c2e")


PIECES = st.text(max_size=30) | st.sampled_from(
    ["approve", "break_glass", ULID, ANOTHER, "7f3a9c2e", "00000000", "none", "4", "C0", "."]
)


@given(st.lists(PIECES, max_size=6), st.sampled_from(["|", "."]))
def test_rt5_whatever_is_forged_names_only_what_it_says(pieces: list[str], sign: str) -> None:
    """A value that fits our form is taken for what was shown; whether it counts is judged from the fold."""
    text = sign.join(pieces)
    for found in (press_of(picked(text), TEAM, APP), press_of(click(actions=[{"action_id": "approve", "value": text}]), TEAM, APP), submitted(sent(text), TEAM, APP)):  # fmt: skip
        press = found[0] if isinstance(found, tuple) else found
        assert press == TAMPERED or (isinstance(press, Press) and press.incident in text and press.plan in text)


@given(st.dictionaries(st.sampled_from(["why", "version", "typed", "to", "until", "on_failure", "x"]), JSON))
def test_rt5_whatever_stands_in_a_field_is_a_text_or_nothing(fields: dict[str, Any]) -> None:
    found = submitted(sent(fields=fields), TEAM, APP)
    assert not isinstance(found, str)
    assert all(isinstance(text, str) and 0 < len(text) <= 1000 for text in found[0].asked.values())
    assert isinstance(found[0].reason, str)
