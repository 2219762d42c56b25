"""What is typed after `/rollback`, as a request."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.slack.commands import _VERBS, HELP, MOST, UNCLEAR, Command, parse

ANA = "<@U0ANA|ana>"


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", Command("help")),
        ("  ", Command("help")),
        ("help", Command("help")),
        ("HELP me", Command("help")),
        ("list", Command("list")),
        ("list everything now", UNCLEAR),
        ("list because I can", UNCLEAR),
        ("status", Command("status")),
        ("status 7Q4RD", Command("status", "7Q4RD")),
        ("status a b", UNCLEAR),
        ("who 7Q4RD", Command("who", "7Q4RD")),
        ("WHO 7q4rd", Command("who", "7q4rd")),
        ("who", UNCLEAR),
        ("why 7Q4RD", Command("why", "7Q4RD")),
        ("why", UNCLEAR),
        ("approve 7Q4RD", Command("approve", "7Q4RD")),
        ("approve 7Q4RD because the graphs agree", Command("approve", "7Q4RD", reason="the graphs agree")),
        ("approve", UNCLEAR),
        ("approve 7Q4RD 7f3a9c2e", Command("approve", "7Q4RD", asked={"plan": "7f3a9c2e"})),
        ("approve 7Q4RD 7F3A9C2E because it fits", Command("approve", "7Q4RD", asked={"plan": "7f3a9c2e"}, reason="it fits")),
        (f"approve 7Q4RD {'7f3a9c2e' * 8}", Command("approve", "7Q4RD", asked={"plan": "7f3a9c2e" * 8})),
        ("approve 7Q4RD 7f3a", UNCLEAR),
        ("approve 7Q4RD U0PRIYA1", UNCLEAR),
        ("approve 7Q4RD 7f3a9c2e 7f3a9c2e", UNCLEAR),
        ("reject 7Q4RD because the feed is late", Command("reject", "7Q4RD", reason="the feed is late")),
        ("reject 7Q4RD BECAUSE  the feed   is late ", Command("reject", "7Q4RD", reason="the feed   is late")),
        ("reject 7Q4RD", Command("reject", "7Q4RD")),
        ("reject because 7Q4RD", UNCLEAR),
        ("snooze 7Q4RD 2h because network work", Command("snooze", "7Q4RD", asked={"until": "2h"}, reason="network work")),
        ("snooze 7Q4RD 1h30m because network work", Command("snooze", "7Q4RD", asked={"until": "1h30m"}, reason="network work")),
        ("snooze 7Q4RD soon because network work", UNCLEAR),
        ("snooze 7Q4RD because network work", UNCLEAR),
        ("autopilot", Command("autopilot")),
        ("autopilot because", Command("autopilot")),
        ("autopilot off because of the audit", Command("autopilot", asked={"way": "off"}, reason="of the audit")),
        ("autopilot ON fraud-scorer because it is fine", Command("autopilot", "fraud-scorer", asked={"way": "on"}, reason="it is fine")),
        ("autopilot off", Command("autopilot", asked={"way": "off"})),
        ("autopilot maybe", UNCLEAR),
        ("autopilot off a b", UNCLEAR),
        (f"lend oncall-sre {ANA} 8h because I fly", Command("lend", "oncall-sre", asked={"to": "U0ANA", "until": "8h"}, reason="I fly")),
        ("lend oncall-sre <@U0ANA> 8h because I fly", Command("lend", "oncall-sre", asked={"to": "U0ANA", "until": "8h"}, reason="I fly")),
        ("lend oncall-sre @ana 8h because I fly", UNCLEAR),
        (f"lend {ANA} 8h because I fly", UNCLEAR),
        (f"lend oncall-sre {ANA} because I fly", UNCLEAR),
        (f"return oncall-sre {ANA}", Command("return", "oncall-sre", asked={"to": "U0ANA"})),
        ("return oncall-sre", UNCLEAR),
        ("trust fraud-scorer fast-burn auto because it was right", Command("trust", "fraud-scorer", asked={"rule": "fast-burn", "rung": "auto"}, reason="it was right")),
        ("trust fraud-scorer prod fast-burn APPROVE", Command("trust", "fraud-scorer", "prod", asked={"rule": "fast-burn", "rung": "approve"})),
        ("trust fraud-scorer fast-burn fully", UNCLEAR),
        ("trust fraud-scorer auto", UNCLEAR),
        ("login ABCD-EFGH", Command("login", "ABCD-EFGH")),
        ("login", UNCLEAR),
        ("fraud-scorer", Command("propose", "fraud-scorer")),
        ("fraud-scorer because it lies", Command("propose", "fraud-scorer", reason="it lies")),
        ("fraud-scorer prod", Command("propose", "fraud-scorer", "prod")),
        ("fraud-scorer to 41", Command("propose", "fraud-scorer", None, "41")),
        ("fraud-scorer prod to 41", Command("propose", "fraud-scorer", "prod", "41")),
        ("fraud-scorer  PROD  TO  v41", Command("propose", "fraud-scorer", "PROD", "v41")),
        ("fraud-scorer prod 41", UNCLEAR),
        ("fraud-scorer prod eu to 41", UNCLEAR),
        ("<!channel>", UNCLEAR),
        ("fraud`scorer", UNCLEAR),
        ("x" * 101, UNCLEAR),
    ],
)  # fmt: skip
def test_what_was_typed_is_understood(text: str, asked: Command) -> None:
    assert parse(text) == asked


def test_a_reason_is_what_was_typed_and_mentions_in_it_are_names() -> None:
    typed = "reject 7Q4RD because <@U0PRIYA|priya> saw p99 &lt; 250 ms &amp; no errors in <#C1|ops>"
    assert parse(typed).reason == "@priya saw p99 < 250 ms & no errors in @ops"
    assert len(parse(f"reject 7Q4RD because {'x' * 5000}").reason) == MOST


@given(st.text())
def test_whatever_is_typed_is_understood_or_said_to_be_unclear(text: str) -> None:
    found = parse(text)
    assert found.verb in {*_VERBS, "help", "propose", "unclear"}
    assert found.verb not in ("unclear", "help") or found in (UNCLEAR, Command("help"))


@given(st.sampled_from(sorted(_VERBS)), st.lists(st.sampled_from(["7Q4RD", "off", "auto", ANA, "2h", "<!here>", "because", "to"]), max_size=6))  # fmt: skip
def test_nothing_that_could_be_markup_gets_into_a_request(verb: str, words: list[str]) -> None:
    found = parse(" ".join([verb, *words]))
    parts = [found.name, found.environment or "", found.version or "", *found.asked.values()]
    assert not any(sign in part for part in parts for sign in "<>&`")


def test_help_names_every_verb_in_a_form_that_is_understood() -> None:
    assert all(f"/rollback {verb}" in HELP or f"*{verb}" in HELP for verb in _VERBS)
    assert "MODEL ENVIRONMENT to VERSION" in HELP
    assert not HELP.endswith("\n")


def test_a_request_is_proven_without_changing_what_it_asks() -> None:
    asked = dataclasses.replace(parse("who 7Q4RD"), request={"team": "T0"})
    assert (asked.verb, asked.name, asked.request) == ("who", "7Q4RD", {"team": "T0"})
