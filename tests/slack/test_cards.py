"""The card of every phase: as drawn before, as Slack takes it, and in our voice."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import START
from bot.demo.blockkit import check_message
from bot.domain import access
from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.slack.cards import card
from bot.slack.facts import Facts
from bot.slack.past import Past
from bot.slack.plot import BARS, bars
from bot.slack.surface import looks
from tests.slack.stories import (
    AGAIN,
    MADE,
    NAMES,
    REQUIRE,
    STORIES,
    VOIDED,
    WAITING,
    WHY,
    alert,
    decided,
    incident,
    opened,
    recorded,
)

GOLDEN = Path(__file__).with_name("golden")
COULD = {"on-call SRE": ("U0ANA", "U0TOM"), "model owner": ("U0PRIYA",)}
BANNED = re.compile(
    r"successfully|please|sorry|oops|unfortunately|\bjust\b|\bsimply\b|seamless|\bissue|!(?!date)|an error occurred|has been"
    r"|previous|\bold\b",
    re.IGNORECASE,
)
UNITS = r"(?:%|ms|s|min|h|d|person|people|different|good sample|sample|requests|of|approved|approval)"


PAGES = "https://lastgood.example"


OFF = "Autopilot is off for all models: <@U0INES> switched it off at <!date^1795399800^{time}|02:10 UTC>."
AWAY = ("PagerDuty did not answer, so nobody can be confirmed as on-call SRE.",)


def facts(entries: Sequence[e.Entry] = (), *, mention: bool = False, late: bool = False, pages: str = "") -> Facts:
    since = START - timedelta(minutes=7) if late else None
    shown = incident(entries) if entries else None
    out = {*access.barred(shown.plan), *(vote.person for vote in shown.votes)} if shown else set()
    places = access.open_places(shown.decision.require, shown.votes) if shown and shown.decision else COULD
    could = {role: tuple(one for one in COULD[role] if one not in out) for role in places}
    return Facts(
        lambda user: NAMES.get(user, user), could, ("U0PRIYA", "U0MIKA"), mention=mention, late_since=since, pages=pages,
        past=Past.of(recorded(entries)), said=WHY,
    )  # fmt: skip


def drawn(story: str, pages: str = "") -> dict[str, Any]:
    entries = STORIES[story]
    given_ = facts(entries, mention=story == "waiting-0", late=story == "waiting-late", pages=pages)
    given_ = replace(given_, off=OFF if story == "waiting-off" else "", observing=story == "noted-observing")
    if story == "waiting-away":
        given_ = replace(given_, away=AWAY, could={**given_.could, "on-call SRE": ()})
    return card(incident(entries), given_)


def block(payload: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next((one for one in payload["blocks"] if one["block_id"].endswith(f".{name}")), {})
    return found


def text_of(payload: dict[str, Any], name: str) -> str:
    found = block(payload, name)
    return str((found.get("text") or next(iter(found.get("elements", [{}])))).get("text", ""))


def elements(payload: dict[str, Any]) -> dict[str, dict[str, Any]]:
    rows = [block["elements"] for block in payload["blocks"] if block["type"] == "actions"]
    return {one["action_id"]: one for row in rows for one in row}


def texts_of(payload: dict[str, Any]) -> list[str]:
    """Every text a person reads."""
    found: list[str] = [payload["text"]]

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("type") in ("mrkdwn", "plain_text"):
                found.append(node["text"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for one in node:
                walk(one)

    walk(payload["blocks"])
    return found


def spoken(payload: dict[str, Any]) -> list[str]:
    """Every text a person reads, tokens and code left out."""
    return [re.sub(r"`[^`]*`|<[^>]*>|:[a-z_]+:|[Pp]lan [0-9a-f]{8}", "", text) for text in texts_of(payload)]


def menu(payload: dict[str, Any]) -> dict[str, str]:
    """Give the acts behind More, by act, as people read them."""
    options = elements(payload).get("more", {}).get("options", [])
    return {one["value"].partition(".")[0]: one["text"]["text"] for one in options}


def test_every_phase_has_a_story() -> None:
    assert {incident(entries).phase for entries in STORIES.values()} == set(Phase)


@pytest.mark.parametrize("story", STORIES)
def test_the_card_is_the_one_we_drew(story: str) -> None:
    path = GOLDEN / f"{story}.json"
    now = json.dumps(drawn(story), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("LASTGOOD_GOLDEN") == "1":
        path.write_text(now)
    assert path.read_text() == now, "the card changed; look at it, then run once with LASTGOOD_GOLDEN=1"


def test_no_golden_card_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(STORIES)


@pytest.mark.parametrize("story", STORIES)
def test_slack_takes_the_card(story: str) -> None:
    payload = drawn(story)
    assert check_message(payload["blocks"]) == []
    assert len(payload["blocks"]) <= 12
    assert sum(len(text) for text in texts_of(payload)) <= 3072, "what is read on a phone"
    assert len(json.dumps(payload, ensure_ascii=False)) <= 4096
    assert 0 < len(payload["text"]) <= 3000


@pytest.mark.parametrize("story", STORIES)
def test_the_card_speaks_in_our_voice(story: str) -> None:
    for text in spoken(drawn(story)):
        assert not BANNED.search(text), text
    header = next(block for block in drawn(story)["blocks"] if block["type"] == "header")["text"]["text"]
    assert len(re.findall(r":[a-z_]+:", json.dumps(drawn(story)["blocks"]))) == 1
    assert re.match(r"^:[a-z_]+: [A-Z]", header)


@pytest.mark.parametrize("story", STORIES)
def test_no_number_stands_without_its_unit(story: str) -> None:
    for text in spoken(drawn(story)):
        bare = re.sub(
            r"(?:SEV|p)\d+|\d\d:\d\d UTC|tier \d|prod-tier1|latency_p99|\d+ of \d+ approved|approval \d of \d|step \d of \d|burn_rate &gt;= [\d.]+\d|\d\d Nov|\b4[123]\b|https?:\S+",
            "",
            text,
        )
        for number in re.finditer(r"\d[\d,.]*", bare):
            assert re.match(rf"[\d,.]*\s*{UNITS}", bare[number.start() :]), (number.group(), bare)


@pytest.mark.parametrize("story", STORIES)
def test_ids_carry_the_incident_and_the_version_that_was_shown(story: str) -> None:
    one, payload = incident(STORIES[story]), drawn(story)
    assert all(block["block_id"].startswith(f"{one.short}.{one.version}.") for block in payload["blocks"])
    shown = rf"{one.id}\.([0-9a-f]{{8}}|none)\.{one.version}"
    for name, element in elements(payload).items():
        if name == "more":
            assert all(re.fullmatch(rf"[a-z_]+\.{shown}", option["value"]) for option in element["options"])
        else:
            assert re.fullmatch(shown, element["value"])


@pytest.mark.parametrize(
    ("story", "actions"),
    [
        ("opened", []), ("planned", []), ("cleared", []), ("moved", []), ("recovered", []),
        ("waiting-0", ["approve", "reject", "more"]),
        ("rolling", ["pause", "cancel"]),
        ("applied", ["pause", "cancel"]),
        ("snoozed", ["choose", "snooze"]),
        ("noted", ["take", "plan_again", "more"]),
        ("stuck-blocked", ["take", "plan_again", "more"]),
        ("stuck-step", ["take", "retry", "more"]),
        ("stuck-taken", ["retry", "skip", "more"]),
        ("stuck-not-recovered", ["take", "mark_recovered", "more"]),
        ("glass", ["review"]), ("glass-rolling", ["pause", "cancel", "review"]), ("glass-closed", ["review", "fix"]), ("glass-reviewed", ["fix"]),
        ("closed-recovered", ["fix"]), ("closed-gave-up", []), ("paused", ["resume", "cancel"]),
    ],
)  # fmt: skip
def test_only_what_is_legal_now_can_be_pressed(story: str, actions: list[str]) -> None:
    found = elements(drawn(story))
    assert list(found) == actions
    primary = [name for name, one in found.items() if one.get("style") == "primary"]
    assert primary == [name for name in actions[:1] if name in ("approve", "take")], "one way on is the first"
    assert not any(one.get("style") == "danger" for one in found.values())


@pytest.mark.parametrize("story", STORIES)
def test_everything_that_is_legal_is_in_sight_or_behind_more(story: str) -> None:
    one, payload = incident(STORIES[story]), drawn(story)
    rows = [block["elements"] for block in payload["blocks"] if block["type"] == "actions"]
    assert all(len(row) <= 3 for row in rows), "a phone shows three"
    reachable = {*elements(payload), *menu(payload)} - {"more"}
    pointless = ({"take"} if one.taken_by else set()) | ({"reject"} if one.phase is Phase.CLEARED else set())
    assert set(access.legal(one)) - pointless <= reachable
    assert ("why" in reachable) is (one.phase is Phase.WAITING)


def test_the_menu_says_in_words_what_each_act_is() -> None:
    assert menu(drawn("waiting-0")) == {
        "choose": "Choose another version", "edit": "Edit the plan", "break_glass": "Break glass", "snooze": "Snooze",
        "why": "Why these people",
    }  # fmt: skip


def test_a_menu_that_is_too_long_lets_the_least_go() -> None:
    again = (*STORIES["glass"], VOIDED, *AGAIN)
    payload = card(incident(again), facts(again))
    assert list(menu(payload)) == ["choose", "edit", "break_glass", "review", "why"]
    assert check_message(payload["blocks"]) == []


def test_a_rule_that_asks_for_a_reason_asks_once() -> None:
    why = (opened(), MADE, decided(confirm=True).but(ask_reason=True))
    assert "confirm" not in elements(card(incident(why), facts(why)))["approve"]


def test_one_click_is_the_whole_approval_unless_the_rule_asks_for_a_dialog() -> None:
    assert "confirm" not in elements(drawn("waiting-0"))["approve"]
    dialog = elements(drawn("waiting-confirm"))["approve"]["confirm"]
    assert dialog["title"]["text"] == "Approve 42 → 41?"
    assert "approval 2 of 2: traffic moves as soon as you confirm" in dialog["text"]["text"]
    assert dialog["deny"]["text"] == "Not now"


def test_buttons_come_before_the_reasons() -> None:
    names = [block["block_id"].rpartition(".")[2] for block in drawn("waiting-1")["blocks"]]
    assert names == ["head", "lead", "facts", "need", "acts", "why", "next"]


def test_only_the_first_post_wakes_people() -> None:
    assert "<@U0PRIYA>" in json.dumps(drawn("waiting-0"))
    assert "<@" not in json.dumps(drawn("waiting-1"))
    assert "Priya Shah" in json.dumps(drawn("waiting-1"))


def test_recovered_is_never_said_before_the_third_verdict() -> None:
    for story in ("waiting-1", "rolling", "applied", "moved", "stuck-cannot-tell"):
        head = next(block for block in drawn(story)["blocks"] if block["type"] == "header")["text"]["text"]
        assert "Recovered" not in head
    for story in ("recovered", "closed-recovered"):
        assert drawn(story)["text"].startswith("Recovered: fraud-scorer is on 41")
    assert drawn("stuck-not-recovered")["text"].startswith("Not recovered: fraud-scorer is on 41")
    assert "Not proven yet." in drawn("moved")["text"]


def test_what_is_wrong_carries_number_objective_share_and_beginning() -> None:
    lead = text_of(drawn("waiting-0"), "lead").split("\n")
    assert lead[0] == (
        "*12.4\u00a0% error ratio* on 42. Objective ≤ 1\u00a0%. 42 serves 100\u00a0% of traffic. "
        "Began <!date^1795399800^{time}|02:10 UTC>."
    )
    assert lead[1] == 'Alertmanager says: "too many errors"', "their words stand on a line of their own"


def test_a_plan_that_ended_is_told_with_the_one_that_follows() -> None:
    void = drawn("waiting-void")
    assert void["text"].startswith("New plan, 0 of 2 approved: fraud-scorer 42")
    assert "43 was deployed meanwhile." in text_of(void, "lead")
    assert "its approvals count for nothing" in text_of(void, "lead")
    assert "ended with 1 of 2 approvals; missing: model owner." in text_of(drawn("waiting-expired"), "lead")


@pytest.mark.parametrize(
    ("story", "word"),
    [
        ("stuck-expired", "Expired"), ("stuck-void", "Stuck"), ("stuck-rejected", "Rejected"), ("stuck-blocked", "Blocked"),
        ("stuck-half-moved", "Half moved"), ("stuck-step-2-of-2", "Half moved"), ("rolling-auto", "Rolling back on policy"),
        ("rolling-2-of-2", "Rolling back, step 2 of 2"), ("noted", "For your information"), ("recovered-marked", "Recovered"),
        ("closed-by-itself", "Recovered by itself"), ("snoozed", "Waiting"), ("glass", "Starting, glass broken"),
        ("glass-rolling", "Rolling back, glass broken"), ("glass-closed", "Recovered, glass broken"), ("glass-reviewed", "Recovered"),
        ("waiting-edited", "New plan, 0 of 2 approved"),
    ],
)  # fmt: skip
def test_the_state_word_is_the_right_one(story: str, word: str) -> None:
    assert drawn(story)["text"].startswith(f"{word}: fraud-scorer ")
    assert f" {word} · fraud-scorer " in block(drawn(story), "head")["text"]["text"]


def test_whoever_rejects_is_quoted_and_nothing_was_changed() -> None:
    lead = text_of(drawn("stuck-rejected"), "lead")
    assert lead.startswith('Priya Shah says: "42 is fine, the feed is late."')
    assert lead.endswith("Nothing was changed.")


def test_a_reason_that_was_erased_leaves_the_fact() -> None:
    entries = STORIES["stuck-rejected"]
    payload = card(incident(entries), replace(facts(entries), said={}))
    assert text_of(payload, "lead").startswith("Priya Shah rejected plan ")


def test_a_person_who_marked_it_recovered_is_quoted() -> None:
    assert text_of(drawn("recovered-marked"), "lead") == (
        'Ana Ruiz marked it recovered.\nAna Ruiz says: "42 is fine, the feed is late."'
    )


def test_a_rule_that_would_act_alone_says_why_it_asks() -> None:
    why = text_of(drawn("waiting-bounded"), "why")
    assert "Would act alone, but the cooldown of 30 min (last rollback 12 min ago) turns auto into approve." in why
    assert why.endswith("Told by page.")


def test_why_it_is_probably_not_the_model_stands_right_under_what_is_wrong() -> None:
    lines = text_of(drawn("waiting-doubt"), "lead").split("\n")
    assert lines[-1] == "*Probably not the model:* the good version breaches too."
    assert "Probably not the model: the good version breaches too." in drawn("waiting-doubt")["text"]


def test_who_has_no_vote_is_named_with_the_reason() -> None:
    need = text_of(drawn("waiting-excluded"), "need").split("\n")
    assert need[-2:] == ["Not Mika Lind: deployed 42", "Not Tom Becker: edited this plan"]
    assert "Tom Becker can" not in need
    assert text_of(drawn("waiting-by-hand"), "need").endswith("Not Priya Shah: asked for this rollback")


def test_two_roles_stand_for_a_deployer_nobody_knows_and_one_role_does_not() -> None:
    assert "Deployer unknown, so two roles are required" in text_of(drawn("waiting-0"), "need")
    for other in ("waiting-excluded", "waiting-by-hand"):
        assert "Deployer unknown" not in text_of(drawn(other), "need")
    one = (opened(), MADE, decided().but(require=REQUIRE[:1]))
    assert "Deployer unknown" not in text_of(card(incident(one), facts(one)), "need")


def test_a_vote_from_a_terminal_says_so() -> None:
    assert "Ana Ruiz approved from the terminal <!date^" in text_of(drawn("waiting-terminal"), "need")
    assert "terminal" not in text_of(drawn("waiting-1"), "need")


def test_a_look_up_that_failed_is_on_the_card() -> None:
    assert AWAY[0] in text_of(drawn("waiting-away"), "need")


def test_a_switched_off_autopilot_is_on_every_open_card_and_on_no_closed_one() -> None:
    for story, entries in STORIES.items():
        one = incident(entries)
        said = json.dumps(card(one, replace(facts(entries), off=OFF)), ensure_ascii=False)
        assert ("Ines Duarte switched it off at" in said) is (one.phase is not Phase.CLOSED), story


def test_what_is_only_observed_says_so_before_anything_moves() -> None:
    assert "Observing fraud-scorer: Lastgood decides and shows, and moves nothing." in drawn("noted-observing")["text"]


def test_a_snooze_says_until_when_by_whom_and_why() -> None:
    lead = text_of(drawn("snoozed"), "lead")
    assert "Waiting until <!date^1795414320^{time}|06:12 UTC>: Ana Ruiz snoozed it." in lead
    assert lead.endswith('Ana Ruiz says: "42 is fine, the feed is late."')
    assert "people are asked <!date^1795414320^" in text_of(drawn("snoozed"), "next")


def test_a_snooze_that_is_over_is_told_no_more() -> None:
    over = (*STORIES["snoozed"], e.DecisionDue(reason="The snooze is over."), decided())
    assert "snoozed" not in text_of(card(incident(over), facts(over)), "lead")


def test_broken_glass_is_loud_until_it_is_reviewed() -> None:
    for story in ("glass", "glass-rolling", "glass-closed"):
        head = block(drawn(story), "head")["text"]["text"]
        assert head.startswith(":rotating_light: ")
        said = text_of(drawn(story), "glass")
        assert said.startswith("*Glass broken.* Ana Ruiz acted alone as commander <!date^")
        assert "*Review due <!date^1795486320^{date_short_pretty} {time}|24 Nov 02:12 UTC>*, by somebody else." in said
        assert 'Ana Ruiz says: "42 is fine, the feed is late."' in said
    assert "Priya Shah reviewed it." in text_of(drawn("glass-reviewed"), "glass")
    assert block(drawn("glass-reviewed"), "head")["text"]["text"].startswith(":white_check_mark: Recovered ·")


def test_broken_glass_that_came_to_nothing_is_told_until_it_is_reviewed() -> None:
    again = (*STORIES["glass"], VOIDED, *AGAIN)
    assert "Review due" in text_of(card(incident(again), facts(again)), "glass")
    done = (*again, e.ReviewDone(person="U0PRIYA", text_ref="t"))
    assert block(card(incident(done), facts(done)), "glass") == {}


def test_a_hand_over_names_both_and_what_must_be_known() -> None:
    payload = drawn("stuck-handed-over")
    assert "Ana Ruiz handed the incident over to Priya Shah." in text_of(payload, "lead")
    assert "Priya Shah has it and decides." in text_of(payload, "next")


def test_who_was_told_next_and_the_page_are_in_the_last_line() -> None:
    told = text_of(drawn("waiting-escalated"), "next")
    assert "I told commander. A page is due <!date^" in told
    assert "The page is due." in text_of(drawn("waiting-page-due"), "next")


def test_the_commands_by_hand_are_shown_where_a_person_must_act() -> None:
    assert "`curl -X POST 'http://10.0.3.7:9901/" in text_of(drawn("stuck-step"), "hand")
    assert block(drawn("rolling"), "hand") == {}


def test_the_line_of_the_sli_holds_only_what_was_measured() -> None:
    assert text_of(drawn("recovered"), "plot") == "Error ratio, the alert, then 3 samples  `█▁▁▁`  0.3\u00a0%"
    assert text_of(drawn("stuck-not-recovered"), "plot") == "Latency p99, 3 samples  `███`  760\u00a0ms"
    for story in ("waiting-0", "rolling", "moved", "stuck-cannot-tell"):
        assert block(drawn(story), "plot") == {}


@given(st.lists(st.floats(-1, 1e9), max_size=30))
def test_a_line_has_one_bar_a_value_and_the_largest_is_full(values: list[float]) -> None:
    drawn_ = bars(values)
    assert len(drawn_) == len(values)
    assert set(drawn_) <= set(BARS)
    if max(values, default=0) > 0:
        assert drawn_[values.index(max(values))] == "█"


def test_no_card_links_to_pages_that_are_not_served() -> None:
    for story in STORIES:
        assert "http" not in re.sub(r"`[^`]*`", "", json.dumps(drawn(story)["blocks"])), story


def test_cards_link_to_pages_that_are() -> None:
    payload = drawn("closed-recovered", PAGES)
    assert f"<{PAGES}/incidents/{incident(WAITING).id}|Q4RD0>" in text_of(payload, "next")
    assert elements(payload)["open_postmortem"]["url"] == f"{PAGES}/incidents/{incident(WAITING).id}/postmortem"
    assert "open_postmortem" not in elements(drawn("closed-by-itself", PAGES)), "nothing was rolled back"


def test_at_most_three_people_are_called_whatever_the_places() -> None:
    could = {"on-call SRE": ("U0ANA", "U0TOM"), "model owner": ("U0PRIYA", "U0MIKA", "U0INES", "U0GIL")}
    need = text_of(card(incident(WAITING), replace(facts(mention=True), could=could)), "need")
    assert need.count("<@") == 3
    assert "☐ on-call SRE: <@U0ANA> or <@U0TOM> can" in need
    assert "☐ model owner: <@U0PRIYA>, Mika Lind, Ines Duarte or 1 more people can" in need


def test_the_owner_is_named_and_never_called() -> None:
    fields = [one["text"] for one in block(drawn("waiting-0"), "facts")["fields"]]
    assert fields[-1] == "*Owner*\nPriya Shah or Mika Lind"
    assert len(fields) <= 4


def test_a_late_card_says_so_first_and_looks_no_different_otherwise() -> None:
    late, on_time = drawn("waiting-late"), card(incident(WAITING), facts(WAITING))
    assert late["blocks"][0]["block_id"].endswith(".late")
    assert looks(late) == looks(on_time)


@pytest.mark.parametrize("story", STORIES)
def test_the_words_alone_are_read_aloud_without_signs(story: str) -> None:
    text = drawn(story)["text"]
    assert not re.search(r"[→≤≥*`·<>\n]|:[a-z_]+:", text.replace("&lt;", "").replace("&gt;", "")), text
    assert re.match(r"^[A-Z][^:]*: fraud-scorer ", text)
    assert text.endswith(".")


def test_the_next_line_says_by_when() -> None:
    waiting = text_of(drawn("waiting-1"), "next")
    assert "I remind those who can <!date^" in waiting
    assert "The plan expires <!date^" in waiting
    assert "Those who can were reminded." in text_of(drawn("waiting-reminded"), "next")
    assert "a verdict on the traffic by <!date^" in text_of(drawn("applied"), "next")
    assert "Verdict by <!date^" in text_of(drawn("moved"), "next")


NASTY = (
    "<!channel>",
    "<@U0EVIL>",
    "<http://evil.example|Approve>",
    "<!date^1^{time}^http://evil.example|03:00 UTC>",
    "&lt;!here&gt;",
)


@pytest.mark.parametrize("nasty", NASTY)
def test_rt16_text_from_outside_stays_text(nasty: str) -> None:
    hostile = alert(version=nasty, summary=nasty, sli=nasty, labels={"alertname": nasty})
    people = [
        STORIES[name]
        for name in (
            "stuck-rejected", "stuck-taken", "closed-gave-up", "recovered-marked", "waiting-by-hand", "snoozed", "glass",
            "glass-reviewed", "stuck-handed-over", "waiting-excluded", "waiting-escalated",
        )
    ]  # fmt: skip
    bad = decided().but(doubt=nasty, reason=nasty)
    for entries in (
        (opened(hostile),),
        (opened(hostile), MADE, decided()),
        (*WAITING,),
        (opened(), MADE, bad),
        *people,
    ):
        told = Facts(
            lambda _: nasty,
            COULD,
            ("U0PRIYA",),
            pages=PAGES,
            past=Past.of(recorded(entries)),
            said={"t": nasty},
            away=(nasty,),
            off=nasty,
        )
        payload = card(incident(entries), told)
        texts = [payload["text"]]
        texts += [
            one["text"]
            for block in payload["blocks"]
            for one in (block.get("text"), *block.get("fields", []), *block.get("elements", []))
            if one and one.get("type") == "mrkdwn"
        ]
        for text in texts:
            left = re.sub(
                r"<https://lastgood\.example/incidents/\w+\|\w+>|<!date\^\d+\^\{(?:date_short_pretty\} \{)?time\}\|(?:\d+ \w+ )?\d\d:\d\d UTC>",
                "",
                text,
            )
            assert "<" not in left, text


@given(st.text(max_size=4000), st.text(max_size=400), st.text(max_size=400))
def test_whatever_an_alert_says_slack_takes_the_card(summary: str, version: str, name: str) -> None:
    hostile = alert(summary=summary, version=version or None, labels={"alertname": name}, sli=None)
    payload = card(incident((opened(hostile), MADE, decided())), facts())
    assert check_message(payload["blocks"]) == []
    assert len(payload["text"]) <= 3000
