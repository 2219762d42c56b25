"""The dialogs: what they ask, as Slack takes them, in the words of the buttons, and only ids travel in them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.demo.blockkit import check_view
from bot.domain import entries as e
from bot.domain.plan import Candidate
from bot.domain.press import Press
from bot.domain.roles import BreakGlass
from bot.slack.buttons import WORDS
from bot.slack.forms import FORMS, ON_FAILURE, Backdrop, last_field, wanted
from tests.slack.stories import CLEARED, GLASS, NAMES, PLAN, ROLLING, STORIES, ULID, WAITING, decided, incident, opened
from tests.slack.test_cards import BANNED

CANDIDATES = (
    Candidate(version="44", chosen=False, reason="not observed serving"),
    Candidate(version="41", chosen=True, reason="served 6 d 4 h without an alert"),
    Candidate(version="40", chosen=False, reason="served 12 d without an alert"),
    Candidate(version="39", chosen=False, reason="quarantined: rolled back from in incident 1RD0X."),
)
CHOICE = (opened(), e.PlanMade(plan=PLAN, candidates=CANDIDATES), decided())
ABOUT = Backdrop(
    against={"39": "quarantined: rolled back from in incident 1RD0X."},
    glass=BreakGlass(role="commander", min_reason_chars=20, review_within=timedelta(hours=24)),
    review_due=datetime(2025, 11, 27, tzinfo=UTC),
    owner="Priya Shah", name=lambda user: NAMES.get(user, user),
)  # fmt: skip


def drawn(act: str, entries: Any = CHOICE, about: Backdrop = ABOUT) -> dict[str, Any]:
    press = Press("U0ANA", act, ULID, plan=PLAN.short, card_version=3)
    return FORMS[act](incident(entries), about).view(press, "C0INCIDENTS")


def fields(view: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {block["block_id"]: block for block in view["blocks"] if block["type"] == "input"}


def told(view: dict[str, Any]) -> str:
    return "\n".join(block["text"]["text"] for block in view["blocks"] if block["type"] == "section")


def spoken(node: Any) -> list[str]:
    if isinstance(node, list):
        return [text for one in node for text in spoken(one)]
    if not isinstance(node, dict):
        return []
    own = [node["text"]] if node.get("type") in ("plain_text", "mrkdwn") else []
    return [*own, *(text for value in node.values() for text in spoken(value))]


@pytest.mark.parametrize("act", sorted(FORMS))
def test_slack_takes_every_dialog_and_it_carries_ids_alone(act: str) -> None:
    view = drawn(act)
    assert check_view(view) == []
    assert view["private_metadata"] == f"{act}|{ULID}|{PLAN.short}|3|C0INCIDENTS"
    assert view["close"]["text"] == "Not now"
    assert len(json.dumps(view)) < 8000


@pytest.mark.parametrize("act", sorted(FORMS))
def test_every_dialog_speaks_in_our_voice_and_says_what_its_button_said(act: str) -> None:
    view = drawn(act)
    for text in spoken(view):
        assert not BANNED.search(re.sub(r"<[^>]*>", "", text)), text
    words = WORDS.get(act, ("Approve", ""))[0].split(maxsplit=1)[0]
    assert view["title"]["text"].startswith(words)
    assert view.get("submit", {}).get("text") not in ("OK", "Yes", "Submit", "Confirm")


def test_a_reason_has_its_least_length_and_says_who_reads_it() -> None:
    field = fields(drawn("reject"))["why"]
    assert field["element"]["min_length"] == 10
    assert field["hint"]["text"] == "At least 10 characters. Everybody in the channel reads this."


def test_an_approval_with_a_reason_shows_the_facts_once_more() -> None:
    view = drawn("approve")
    assert view["title"]["text"] == view["submit"]["text"] == "Approve 42 → 41"
    assert "*12.4\u00a0% error ratio* on 42. Objective ≤ 1\u00a0%." in told(view)
    assert fields(view)["why"]["label"]["text"] == "What did you check?"


def test_versions_are_offered_newest_first_and_the_others_are_described_with_the_reason_against() -> None:
    view = drawn("choose")
    field = fields(view)["version"]
    assert [(one["value"], one["description"]["text"]) for one in field["element"]["options"]] == [
        ("44", "not observed serving"), ("40", "served 12 d without an alert"),
    ]  # fmt: skip
    assert field["hint"]["text"] == "A new plan; earlier approvals count for nothing."
    assert told(view) == (
        "*Not to be chosen*\n41: this is the plan now\n39: quarantined: rolled back from in incident 1RD0X."
    )


def test_the_only_version_left_is_named_on_the_button() -> None:
    assert drawn("choose", about=Backdrop(against={"39": "x", "44": "y"}))["submit"]["text"] == "Make plan for 40"
    assert drawn("choose")["submit"]["text"] == "Make the new plan"


def test_where_nothing_can_be_chosen_the_dialog_only_tells() -> None:
    view = drawn("choose", WAITING)
    assert "submit" not in view
    assert fields(view) == {}
    assert told(view).startswith("No other version can take over.")
    assert check_view(view) == []


def test_ten_versions_at_most_are_offered() -> None:
    many = tuple(Candidate(version=f"{n}", chosen=False, reason="x" * 200) for n in range(100, 80, -1))
    view = drawn("choose", (opened(), e.PlanMade(plan=PLAN, candidates=many), decided()))
    assert len(fields(view)["version"]["element"]["options"]) == 10
    assert check_view(view) == []


def test_an_edit_offers_every_other_way_with_its_sentence() -> None:
    view = drawn("edit")
    options = fields(view)["on_failure"]["element"]["options"]
    assert [one["value"] for one in options] == [way for way in ON_FAILURE if way != PLAN.on_failure]
    assert options[-1]["description"]["text"] == "Every applied step goes back, traffic too: 42 serves again."
    assert told(view).startswith(f"`{PLAN.short}` becomes a new plan.")
    assert "you have no vote on the new one" in told(view)


def test_breaking_the_glass_says_what_it_does_whom_it_calls_and_asks_for_the_name() -> None:
    view = drawn("break_glass")
    assert "One person, no second pair of eyes. This calls Priya Shah in the thread and the channel" in told(view)
    assert (
        "opens a review by somebody else due <!date^1764201600^{date_short_pretty} {time}|27 Nov 00:00 UTC>, and"
        in told(view)
    )
    assert fields(view)["why"]["element"]["min_length"] == 20
    assert fields(view)["typed"]["label"]["text"] == "Type fraud-scorer"
    assert view["submit"]["text"] == "Break glass"
    assert "calls nobody by name" in told(drawn("break_glass", about=Backdrop()))


def test_a_hand_over_begins_with_what_the_timeline_knows() -> None:
    view = drawn("hand_over", ROLLING)
    assert fields(view)["to"]["element"]["type"] == "users_select"
    known = fields(view)["why"]["element"]["initial_value"]
    assert known == "fraud-scorer in prod, 42 → 41. Traffic is being moved."


def test_a_review_says_what_is_reviewed() -> None:
    assert told(drawn("review", (*WAITING, GLASS))).startswith("Ana Ruiz broke the glass as commander.")


def test_only_a_rule_that_asks_for_a_reason_makes_an_approval_ask() -> None:
    press = Press("U0ANA", "approve", ULID, plan=PLAN.short)
    assert not wanted(press, incident(WAITING))
    assert wanted(press, incident(STORIES["waiting-why"]))
    assert not wanted(Press("U0ANA", "take", ULID), incident(CLEARED))
    assert wanted(Press("U0ANA", "reject", ULID), incident(WAITING))


def test_a_refusal_is_written_under_the_field_nearest_to_the_button() -> None:
    assert last_field(drawn("break_glass")) == "typed"
    assert last_field(drawn("snooze")) == "why"
    assert last_field({}) == last_field({"blocks": [3, {"type": "section"}]}) == "why"


@given(st.text(max_size=300), st.text(min_size=1, max_size=140), st.text(max_size=300))
def test_whatever_models_and_versions_are_called_slack_takes_the_dialog(model: str, version: str, reason: str) -> None:
    plan = PLAN.but(from_version=version, to_version=version, model=model)
    first = e.IncidentOpened(model=model, environment="prod", tier=1, alerts=(opened().alerts[0],))  # type: ignore[attr-defined]
    candidates = (
        Candidate(version=f"{version}x", chosen=False, reason=reason),
        Candidate(version=version, chosen=True, reason=reason),
    )
    entries = (first, e.PlanMade(plan=plan, candidates=candidates), decided())
    for act in FORMS:
        assert check_view(drawn(act, entries, Backdrop(against={version: reason}, owner=model))) == []
