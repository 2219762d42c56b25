"""What speaks against an act, in one sentence each: a reason, a time, a version, an edit, a person."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot import errors
from bot.domain import acts, words
from bot.domain import entries as e
from bot.domain.access import Question, Standing
from bot.domain.incident import Incident, Phase
from bot.domain.person import Membership, Person
from bot.domain.plan import Plan
from bot.domain.roles import BreakGlass, Place
from bot.domain.runbook import VerifySpec

NOW = datetime(2026, 11, 23, 2, 12, tzinfo=UTC)
PLAN = Plan(
    ordinal=1, incident="I", model="fraud", environment="prod", from_version="42", to_version="41", observed_serving=True,
    steps=(), targets=(), resources=(), on_failure="stop", verify=VerifySpec(), confirm=False, runbook="model",
    runbook_digest="r", policy_digest="p", model_digest="m", postmortem="pm",
)  # fmt: skip
DECIDED = e.PolicyDecided(
    plan=PLAN.id, mode="approve", rule="tier-1", reason="", require=(Place(role="ic"),), policy_digest="p",
    expires_at=NOW + timedelta(minutes=15),
)  # fmt: skip
OPEN = Incident("incident/I", "fraud", "prod", 1, NOW, NOW, phase=Phase.WAITING, plan=PLAN, decision=DECIDED)
GLASS = BreakGlass(role="boss", min_reason_chars=20)
GOOD = acts.Alone("nobody else answers for an hour", "fraud")


def known(*roles: str, unsure: str = "", **facts: Any) -> Standing:
    held = {role: [Membership(source="member U0INES", held=True, fetched_at=NOW)] for role in roles}
    if unsure:
        held[unsure] = [Membership(source="schedule P", held=None, detail="PagerDuty did not answer.", fetched_at=NOW)]
    return Standing(Person.model_validate({"id": "U0INES", "fetched_at": NOW, **facts}), held)


def asked(standing: Standing, **changes: Any) -> Question:
    given: dict[str, Any] = {"user": "U0INES", "plan": PLAN.short, "standing": standing, "others": {}, "who_could": "", "now": NOW}  # fmt: skip
    return Question(**{**given, **changes})


def test_who_holds_the_role_says_why_and_types_the_name_may_act_alone_and_every_check_is_kept() -> None:
    ruling = acts.may_break(OPEN, asked(known("boss")), GLASS, GOOD)
    assert (ruling.role, ruling.error) == ("boss", None)
    assert [check.name for check in ruling.checks] == [
        "account known", "our workspace", "account active", "not a guest", "not an app", "the incident waits for approval",
        "the plan on the card is current", "plan fresh", "a role may break the glass", "holds boss",
        "a reason of at least 20 characters", "the model's name is typed",
    ]  # fmt: skip


@pytest.mark.parametrize("part", ["requester", "editor", "deployer"])
def test_whose_own_change_it_is_may_break_the_glass_on_purpose(part: str) -> None:
    own = PLAN.but(**{part: "U0INES"})
    assert acts.may_break(replace(OPEN, plan=own), asked(known("boss"), plan=own.short), GLASS, GOOD).role == "boss"


BOSS = known("boss")
TIME = words.moment(NOW)
NOT_BROKEN: list[tuple[Incident, Question, BreakGlass | None, acts.Alone, type[errors.Denied], str]] = [
    (OPEN, asked(BOSS), None, GOOD, errors.RoleMissing, "Nobody may break the glass here: policy.break_glass is not set."),
    (OPEN, asked(known("sre")), GLASS, GOOD, errors.RoleMissing, "Breaking the glass needs boss; you do not hold it."),
    (OPEN, asked(known(unsure="boss")), GLASS, GOOD, errors.RoleMissing, "PagerDuty did not answer. So I cannot confirm that you hold boss; that counts as no. Press again."),
    (OPEN, asked(BOSS), GLASS, acts.Alone("  too short a reason\n ", "fraud"), errors.Denied, "Say why in at least 20 characters."),
    (OPEN, asked(BOSS), GLASS, acts.Alone(" " * 40, "fraud"), errors.Denied, "Say why in at least 20 characters."),
    (OPEN, asked(BOSS), GLASS, acts.Alone(GOOD.reason, "fraude"), errors.Denied, "Type fraud to act alone."),
    (OPEN, asked(BOSS, plan="00000000"), GLASS, GOOD, errors.Stale, f"The card you pressed showed plan 00000000. The card now shows {PLAN.short}. Read it, then decide."),
    (OPEN, asked(BOSS, now=NOW + timedelta(minutes=15)), GLASS, GOOD, errors.Expired, f"Plan {PLAN.short} ended at {words.moment(NOW + timedelta(minutes=15))}. A new plan is being made; approve that one."),
    (replace(OPEN, phase=Phase.STUCK, rejected_by="U0BEN"), asked(BOSS), GLASS, GOOD, errors.Expired, "<@U0BEN> rejected this plan; only a new plan clears that."),
    (replace(OPEN, phase=Phase.CLEARED), asked(BOSS), GLASS, GOOD, errors.Expired, "Enough people approved; it is starting."),
    (OPEN, asked(known("boss", guest=True)), GLASS, GOOD, errors.Guest, "Guests cannot break the glass."),
    (OPEN, asked(known("boss", bot=True)), GLASS, GOOD, errors.Guest, "Apps cannot break the glass."),
    (OPEN, asked(known("boss", ours=False)), GLASS, GOOD, errors.Guest, "People from other organisations cannot break the glass here."),
    (OPEN, asked(known("boss", active=False)), GLASS, GOOD, errors.Guest, "This account is deactivated."),
    (OPEN, asked(Standing(None, {})), GLASS, GOOD, errors.Guest, "This account is not known in this workspace."),
]  # fmt: skip


@pytest.mark.parametrize(("incident", "question", "rule", "alone", "error", "sentence"), NOT_BROKEN)
def test_each_refusal_to_break_the_glass_has_its_own_sentence(
    incident: Incident, question: Question, rule: BreakGlass | None, alone: acts.Alone, error: type[errors.Denied], sentence: str
) -> None:  # fmt: skip
    ruling = acts.may_break(incident, question, rule, alone)
    assert (ruling.error, ruling.text) == (error, f"{sentence} Nothing was changed.")


def test_a_role_lent_by_the_requester_breaks_no_glass() -> None:
    lent = {"boss": [Membership(source="lent by U0ANA", held=True, fetched_at=NOW)]}
    own = PLAN.but(requester="U0ANA")
    question = asked(replace(known(), roles=lent), plan=own.short)
    assert acts.may_break(replace(OPEN, plan=own), question, GLASS, GOOD).error is errors.RoleMissing


@pytest.mark.parametrize(
    ("text", "length"),
    [("1m", 60), ("2h", 7200), (" 24h ", 86400), ("PT90M", 5400), ("1d", 86400)],
)
def test_a_time_of_a_minute_to_a_day_is_read(text: str, length: int) -> None:
    assert acts.span(text, "A snooze") == timedelta(seconds=length)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "`` is not a duration; write 15m or PT15M."),
        ("soon", "`soon` is not a duration; write 15m or PT15M."),
        ("59s", "A snooze lasts 1\u00a0min to 1\u00a0d; 59\u00a0s is not within that."),
        ("25h", "A snooze lasts 1\u00a0min to 1\u00a0d; 1\u00a0d 1\u00a0h is not within that."),
        ("0m", "A snooze lasts 1\u00a0min to 1\u00a0d; 0\u00a0s is not within that."),
    ],
)
def test_any_other_time_is_refused_and_told_why(text: str, sentence: str) -> None:
    assert acts.span(text, "A snooze") == sentence


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("40", ""),
        ("41", "41 is quarantined: rolled back in incident 7Q4RD. Choose 40 or 39."),
        ("42", "42 is the version that is rolled back from. Choose 40 or 39."),
        ("77", "No target offers 77. Choose 40 or 39."),
        ("", "Say which version. Choose 40 or 39."),
    ],
)
def test_what_speaks_against_a_version_is_said_with_what_can_be_chosen(version: str, sentence: str) -> None:
    quarantined = {"41": "rolled back in incident 7Q4RD."}
    assert acts.against(version, "42", ["42", "41", "40", "39"], quarantined) == sentence


def test_when_no_version_can_be_chosen_that_is_said() -> None:
    assert acts.against("41", "42", ["41"], {"41": "bad."}) == "41 is quarantined: bad. No other version can be chosen."


def test_an_edit_changes_something_a_plan_can_say() -> None:
    assert acts.edited(OPEN, "compensate") == ""
    assert acts.edited(OPEN, "stop") == f"Plan {PLAN.short} says stop already."
    assert acts.edited(OPEN, "pray") == "Say what follows a failed step: before_traffic, stop or compensate."


@pytest.mark.parametrize(
    ("to", "standing", "sentence"),
    [
        ("U0INES", known("sre"), ""),
        ("U0BEN", known("sre"), "<@U0BEN> has incident I already."),
        ("", known("sre"), "Say to whom."),
        ("U0X> <!channel", known("sre"), "`U0X> ‹!channel` is no person here."),
        ("U0INES", known(), "<@U0INES> holds none of sre or boss, so they cannot take it."),
        ("U0INES", known("sre", active=False), "<@U0INES> is not an active member here."),
        ("U0INES", known("sre", guest=True), "<@U0INES> is not an active member here."),
        ("U0INES", Standing(None, {}), "<@U0INES> is not an active member here."),
        ("U0INES", known("sre", vouched_until=NOW + timedelta(hours=1)), "Slack is away, so nobody can confirm <@U0INES>."),
        ("U0INES", Standing(None, {}, "Slack did not answer."), "Slack did not answer. So nobody can confirm <@U0INES>."),
    ],
)  # fmt: skip
def test_an_incident_goes_to_an_active_person_who_holds_a_role(to: str, standing: Standing, sentence: str) -> None:
    assert acts.receiver(replace(OPEN, taken_by="U0BEN"), to, standing, ["sre", "boss"], NOW) == sentence


def test_one_role_is_said_as_one() -> None:
    said = acts.receiver(OPEN, "U0INES", known(), ["sre"], NOW)
    assert said == "<@U0INES> does not hold sre, so they cannot take it."


def test_while_slack_is_away_a_role_is_lent_to_nobody_and_nobody_is_called_inactive() -> None:
    away = known(vouched_until=NOW + timedelta(hours=1))
    assert acts.borrower("U0ANA", "U0INES", away, NOW) == "Slack is away, so nobody can confirm <@U0INES>."


def test_a_role_is_not_lent_to_oneself() -> None:
    assert acts.borrower("U0INES", "U0INES", known(), NOW) == "You hold it already; lend it to somebody else."
    assert acts.borrower("U0ANA", "U0INES", known(), NOW) == ""


def test_what_is_only_spaces_is_no_reason() -> None:
    assert acts.why("it is on fire") == ""
    assert acts.why("          \n   x ") == "Say why in at least 10 characters."
