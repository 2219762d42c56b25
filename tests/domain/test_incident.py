"""An incident is what its entries say: phases, three verdicts, and what each new attempt forgets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bot.domain import entries as e
from bot.domain.alert import Alert, Severity
from bot.domain.incident import Incident, Phase, fold
from bot.domain.plan import Plan, PlanStep
from bot.domain.roles import Place
from bot.domain.runbook import VerifySpec
from bot.domain.traffic import Outcome, TrafficSplit

START = datetime(2026, 11, 23, 2, 12, tzinfo=UTC)
GOAL = TrafficSplit(weights={"42": Decimal(0), "41": Decimal(100)})
PLAN = Plan(
    ordinal=1, incident="I", model="fraud", environment="production", from_version="42", to_version="41",
    observed_serving=True, steps=(PlanStep(name="eu", target="eu"), PlanStep(name="us", target="us", after=("eu",))),
    targets=(), resources=(), on_failure="stop", verify=VerifySpec(), confirm=False, runbook="model",
    runbook_digest="r", policy_digest="p", model_digest="m", postmortem="pm",
)  # fmt: skip


def alert(**facts: Any) -> Alert:
    return Alert.model_validate(
        {"source": "generic", "fingerprint": "f", "status": "firing", "starts_at": START, **facts}
    )


FIRING = alert(summary="Errors are up", version="42", severity="error", value=0.08)
OPENED = e.IncidentOpened(model="fraud", environment="production", tier=1, alerts=(FIRING,))
MADE = e.PlanMade(plan=PLAN)
VOIDED = e.PlanVoided(plan=PLAN.id, reason="The world moved.")
EXPIRED = e.PlanExpired(plan=PLAN.id, reason="Nobody came.")
CLAIMED = e.RollbackClaimed(plan=PLAN.id, before={}, goal={"eu": GOAL}, locks=(), executor="x")
STUCK = e.IncidentStuck(reason="No answer.")
FAILED = e.StepFailed(step="eu", attempt=1, outcome=Outcome.REJECTED, detail="403")
LOST = e.StepUnknown(step="eu", attempt=1, detail="timeout")
CLOSED = e.IncidentClosed(outcome="recovered", reason="Recovered.")


def decided(mode: e.Mode = "approve") -> e.PolicyDecided:
    return e.PolicyDecided(plan=PLAN.id, mode=mode, rule="r", reason="", require=(Place(role="ic"),), policy_digest="p")


def voted(person: str) -> e.ApprovalGiven:
    return e.ApprovalGiven(person=person, role="ic", plan=PLAN.id, card_version=1, via="slack")


def started(step: str) -> e.StepStarted:
    return e.StepStarted(step=step, attempt=1, owner="x", deadline=START, goal=GOAL)


def applied(step: str) -> e.StepApplied:
    return e.StepApplied(step=step, attempt=1, outcome=Outcome.APPLIED)


def traffic(step: str, verdict: e.Verdict = "yes") -> e.TrafficVerified:
    return e.TrafficVerified(step=step, verdict=verdict, reason=f"{step}: {verdict}.")


def slis(verdict: e.Verdict) -> e.SliJudged:
    return e.SliJudged(verdict=verdict, reason=f"slis: {verdict}.")


def after(*story: e.Entry) -> Incident:
    return fold(
        e.Recorded(n, "incident/01KABCDE", n, n, START + timedelta(minutes=n), entry, "", "")
        for n, entry in enumerate((OPENED, *story))
    )


CLAIM = (MADE, decided(), voted("U0ANA"), CLAIMED)
BOTH = (*CLAIM, started("eu"), applied("eu"), traffic("eu"), started("us"), applied("us"), traffic("us"))


@pytest.mark.parametrize(
    ("story", "phase", "verdicts"),
    [
        ((), "opened", "not_yet not_yet not_yet"),
        (CLAIM[:3], "waiting", "not_yet not_yet not_yet"),
        (CLAIM, "rolling", "not_yet not_yet not_yet"),
        ((*CLAIM, started("eu")), "rolling", "not_yet not_yet not_yet"),
        ((*CLAIM, started("eu"), FAILED), "rolling", "no not_yet not_yet"),
        ((*CLAIM, started("eu"), LOST), "rolling", "not_yet not_yet not_yet"),
        ((*CLAIM, started("eu"), LOST, STUCK), "stuck", "cannot_tell not_yet not_yet"),
        (BOTH[:6], "applied", "not_yet not_yet not_yet"),
        (BOTH[:7], "rolling", "not_yet not_yet not_yet"),
        (BOTH[:9], "applied", "yes not_yet not_yet"),
        ((*BOTH[:9], traffic("us", "no")), "stuck", "yes no not_yet"),
        ((*BOTH[:9], traffic("us", "cannot_tell")), "stuck", "yes cannot_tell not_yet"),
        ((*BOTH[:9], e.StepCompensated(step="us")), "applied", "not_yet not_yet not_yet"),
        (BOTH, "moved", "yes yes not_yet"),
        ((*BOTH, slis("yes")), "recovered", "yes yes yes"),
        ((*BOTH, slis("no")), "stuck", "yes yes no"),
        ((*BOTH, slis("cannot_tell")), "stuck", "yes yes cannot_tell"),
        ((*BOTH, slis("yes"), CLOSED), "closed", "yes yes yes"),
    ],
)
def test_the_three_verdicts_follow_one_another(story: tuple[e.Entry, ...], phase: str, verdicts: str) -> None:
    incident = after(*story)
    assert (incident.phase, " ".join(incident.verdicts.values())) == (phase, verdicts)


def test_a_persons_mark_closes_the_question_and_leaves_the_verdict_as_it_was() -> None:
    incident = after(*BOTH, slis("cannot_tell"), e.MarkedRecovered(person="U0ANA", text_ref="t"))
    assert (incident.phase, incident.verdicts["recovered"], incident.stuck_reason) == ("recovered", "cannot_tell", "")


def test_each_mode_leads_to_its_phase() -> None:
    modes: tuple[e.Mode, ...] = ("auto", "approve", "notify", "hold")
    assert [after(MADE, decided(mode)).phase for mode in modes] == ["cleared", "waiting", "noted", "planned"]


def test_a_void_begins_again_without_the_plan_and_its_votes() -> None:
    incident = after(MADE, decided(), voted("U0ANA"), VOIDED)
    assert (incident.phase, incident.plan, incident.votes, incident.voids) == ("opened", None, (), 1)


@pytest.mark.parametrize("last", [VOIDED, EXPIRED])
def test_the_third_void_is_stuck_and_says_why(last: e.Entry) -> None:
    assert after(MADE, VOIDED, MADE, EXPIRED).phase is Phase.OPENED
    incident = after(MADE, VOIDED, MADE, EXPIRED, MADE, last)
    assert (incident.phase, incident.voids, incident.stuck_reason) == ("stuck", 3, last.sentence())


def test_a_person_who_asks_again_begins_the_count_of_voids_anew() -> None:
    asked = e.PlanRequested(person="U0ANA", wanted="40")
    incident = after(MADE, VOIDED, MADE, VOIDED, MADE, VOIDED, asked)
    assert (incident.phase, incident.voids, incident.requester, incident.wanted) == ("opened", 0, "U0ANA", "40")


def test_a_clearance_that_fell_keeps_the_votes_that_still_count() -> None:
    gone = e.PlanUncleared(plan=PLAN.id, reason="", drop_votes_of=("U0ANA",))
    incident = after(MADE, decided(), voted("U0ANA"), voted("U0BEN"), gone)
    assert (incident.phase, [vote.person for vote in incident.votes]) == ("waiting", ["U0BEN"])


def test_a_reopening_begins_an_episode_and_forgets_the_last_attempt() -> None:
    back = FIRING.but(starts_at=START + timedelta(hours=1), summary="Again")
    incident = after(*BOTH, slis("yes"), CLOSED, e.IncidentReopened(alerts=(back,), episode=2))
    assert (incident.phase, incident.episode, incident.firing) == ("opened", 2, (back,))
    assert (incident.plan, incident.votes, incident.claim, dict(incident.steps), incident.closed) == (
        None,
        (),
        None,
        {},
        None,
    )
    assert set(incident.verdicts.values()) == {"not_yet"}


def test_a_resolve_ends_an_alert_and_keeps_what_it_said_while_it_fired() -> None:
    end = START + timedelta(minutes=5)
    resolved = alert(status="resolved", summary="All well", ends_at=end, severity="info")
    incident = after(e.AlertsResolved(alerts=(resolved,)))
    assert incident.firing == ()
    assert incident.alerts["f"] == FIRING.but(status="resolved", ends_at=end)
    assert (incident.severity, incident.alert_version) == (Severity.ERROR, "42")


NEW = START + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("known", "facts", "news"),
    [
        ((), {"fingerprint": "g"}, True),
        ((), {"fingerprint": "g", "status": "resolved"}, False),
        ((), {}, False),
        ((), {"status": "resolved"}, True),
        ((), {"status": "acknowledged", "starts_at": NEW}, False),
        ((), {"starts_at": NEW}, True),
        ((), {"status": "resolved", "starts_at": START - timedelta(minutes=1)}, False),
        ((alert(status="resolved"),), {}, False),
        ((alert(status="resolved"),), {"starts_at": NEW}, True),
    ],
)
def test_only_what_changes_something_is_news(known: tuple[Alert, ...], facts: dict[str, Any], news: bool) -> None:  # noqa: FBT001  a table's column
    incident = after(*(e.AlertsResolved(alerts=(one,)) for one in known))
    assert incident.alert_is_news(alert(**facts)) is news


def test_locks_are_held_from_the_claim_to_the_close() -> None:
    released = e.RollbackReleased(plan=PLAN.id, reason="")
    ends = [CLAIM[:3], CLAIM, (*BOTH, STUCK), (*CLAIM, released), (*BOTH, CLOSED)]
    assert [after(*story).holds_locks for story in ends] == [False, True, True, False, False]


def test_a_stream_that_does_not_begin_with_an_opening_is_refused() -> None:
    with pytest.raises(ValueError, match=r"begins with incident\.stuck"):
        fold([e.Recorded(1, "incident/I", 1, 1, START, STUCK, "", "")])
    with pytest.raises(ValueError, match="empty"):
        fold([])
