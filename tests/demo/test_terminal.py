"""What the demo prints: the moments of the story, each with its time, a word and the people by name."""

from __future__ import annotations

from collections.abc import Sequence

from bot.demo import terminal
from bot.demo.slack import CAST
from bot.domain import entries as e
from bot.domain.incident import fold
from tests.demo.stage import ABLE
from tests.slack.stories import GLASS, STORIES, WAITING, decided, recorded


def printed(entries: Sequence[e.Entry]) -> list[str]:
    rows = recorded(entries)
    lines = [terminal.line(fold(rows[: one.version]), one, lambda user: CAST.get(user, user), ABLE) for one in rows]
    return [line[10:] for line in lines if line]


def test_the_story_is_told_line_by_line() -> None:
    assert printed(STORIES["closed-recovered"]) == [
        "alert        fraud-scorer 42: error ratio 12.4\u00a0%, objective ≤ 1\u00a0%",
        "waiting      0 of 2: on-call SRE (Ana Ruiz or Tom Becker), model owner (Priya Shah)",
        "approved     Ana Ruiz, 1 of 2",
        "approved     Priya Shah, 2 of 2",
        "moved        42 got 0 of 1,696 requests.",
        "recovered    error ratio 0.3 % of 2,120 requests, objective ≤ 1 %.",
    ]


def test_a_refusal_names_the_person_once_and_says_why() -> None:
    refused = e.ApprovalRefused(
        person="U0MIKA", plan="p", action="approve", reason="guest", text="Guests cannot approve. Nothing was changed.", via="slack"
    )  # fmt: skip
    assert printed((*WAITING, refused))[-1] == "refused      Mika Lind: Guests cannot approve. Nothing was changed."


def test_cannot_tell_and_not_recovered_are_their_own_words() -> None:
    assert printed(STORIES["stuck-cannot-tell"])[-1].startswith("cannot tell  Only 61 requests")
    assert printed(STORIES["stuck-not-recovered"])[-1].startswith("not recovered latency p99 760")


def test_what_people_do_beside_a_vote_is_told() -> None:
    until = recorded(WAITING)[0].at
    said = (
        (GLASS, "alone        Ana Ruiz broke the glass as commander. Somebody else reviews it by "),
        (e.ReviewDone(person="U0PRIYA", text_ref="t"), "reviewed     Priya Shah reviewed the break-glass rollback."),
        (e.IncidentSnoozed(person="U0ANA", until=until, text_ref="t"), "put off      Ana Ruiz snoozed the incident until "),
        (e.IncidentHandedOver(person="U0ANA", to="U0TOM", text_ref="t"), "handed over  Ana Ruiz handed the incident over to Tom Becker."),
        (e.PlanEdited(person="U0TOM", plan="7f3a9c2e", on_failure="stop", via="slack"), "edited       Tom Becker edited plan 7f3a9c2e: on failure stop."),
    )  # fmt: skip
    for entry, line in said:
        assert printed((*WAITING, entry))[-1].startswith(line)


def test_a_decision_turned_by_the_switch_says_who_switched_autopilot_off() -> None:
    off = "Autopilot is off for all models: <@U0PRIYA> switched it off at <!date^1795399800^{time}|02:10 UTC>."
    turned = decided().but(trace=(e.Check(ok=False, name="autopilot", detail=off),))
    line = printed((*WAITING[:-1], turned))[-1]
    assert line.startswith("waiting      0 of 2: on-call SRE (Ana Ruiz or Tom Becker), model owner (Priya Shah). Autopilot is off for all models: Priya Shah switched it off at ")  # fmt: skip
    assert line.endswith(".")
    assert not line.endswith("..")


def test_what_a_person_must_know_is_told_and_samples_are_not() -> None:
    assert printed(STORIES["stuck-rejected"])[-1].startswith("rejected     Priya Shah rejected plan")
    assert printed(STORIES["stuck-step"])[-1].startswith("stuck        Step route failed")
    assert printed(STORIES["closed-gave-up"])[-1] == "closed       Ana Ruiz closed it: gave up."
    looked = e.AlertsResolved(alerts=(recorded(WAITING)[0].entry.alerts[0],))  # type: ignore[attr-defined]  # it is an opening
    assert printed((*WAITING, looked)) == printed(WAITING)
