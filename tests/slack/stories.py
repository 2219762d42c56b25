"""Incidents for every phase, made as the flow makes them: by folding entries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from bot.clock import START
from bot.domain import entries as e
from bot.domain import recovery
from bot.domain.alert import Alert, Severity
from bot.domain.incident import Incident, fold
from bot.domain.model import Sli
from bot.domain.plan import Plan, PlanStep
from bot.domain.roles import Place
from bot.domain.runbook import VerifySpec
from bot.domain.sli import Measurement, SliSample
from bot.domain.traffic import Outcome, Reading, TargetPlan, TargetState, TrafficSplit, Verification

ULID = "01KAQ3H2S0M4V8B6T9C17Q4RD0"
STREAM = f"incident/{ULID}"
NAMES = {
    "U0ANA": "Ana Ruiz",
    "U0PRIYA": "Priya Shah",
    "U0MIKA": "Mika Lind",
    "U0TOM": "Tom Becker",
    "U0INES": "Ines Duarte",
}
REQUIRE = (Place(role="on-call SRE"), Place(role="model owner"))


def split(bad: int) -> TrafficSplit:
    return TrafficSplit(weights={"42": Decimal(bad), "41": Decimal(100 - bad)})


STATE = TargetState(target="route", desired=split(100), revisions=(), observed_at=START)
TARGET = TargetPlan(
    target="route", adapter="envoy", before=STATE, to_split=split(0), bad="42", good="41", concurrency="strict"
)
PLAN = Plan(
    ordinal=1, incident=ULID, model="fraud-scorer", environment="prod", from_version="42", to_version="41",
    observed_serving=True, good_since=START - timedelta(days=6), steps=(PlanStep(name="route", target="route"),),
    targets=(TARGET,), resources=(), on_failure="before_traffic", verify=VerifySpec(), confirm=False, runbook="fraud",
    runbook_digest="r", policy_digest="p", model_digest="m", postmortem="postmortem.md.j2",
)  # fmt: skip


def alert(**changes: Any) -> Alert:
    given: dict[str, Any] = {
        "source": "alertmanager", "fingerprint": "f1", "status": "firing", "severity": Severity.ERROR, "model": "fraud-scorer",
        "version": "42", "environment": "prod", "sli": "error_ratio", "value": 0.124, "threshold": 0.01,
        "starts_at": START - timedelta(minutes=2), "summary": "too many errors", "labels": {"alertname": "SLOFastBurn"},
    }  # fmt: skip
    return Alert(**{**given, **changes})


def opened(*alerts: Alert) -> e.Entry:
    return e.IncidentOpened(model="fraud-scorer", environment="prod", tier=1, alerts=alerts or (alert(),))


def decided(mode: e.Mode = "approve", *, confirm: bool = False) -> e.Entry:
    return e.PolicyDecided(
        plan=PLAN.id, mode=mode, rule="prod-tier1", reason="Rule prod-tier1: tier 1 in prod needs two people.",
        require=REQUIRE, expires_at=START + timedelta(minutes=15), policy_digest="p", confirm=confirm,
    )  # fmt: skip


def vote(person: str, role: str) -> e.Entry:
    return e.ApprovalGiven(person=person, role=role, plan=PLAN.id, card_version=3, via="slack")


MADE = e.PlanMade(plan=PLAN)
ANA, PRIYA = vote("U0ANA", "on-call SRE"), vote("U0PRIYA", "model owner")
WAITING = (opened(), MADE, decided())
CLEARED = (*WAITING, ANA, PRIYA, e.PlanCleared(plan=PLAN.id, people=("U0ANA", "U0PRIYA"), window_ends=START))
CLAIM = e.RollbackClaimed(
    plan=PLAN.id, before={"route": STATE}, goal={"route": split(0)}, locks=(), people=("U0ANA", "U0PRIYA"), executor="x"
)
STARTED = e.StepStarted(step="route", attempt=1, owner="x", deadline=START, goal=split(0))
ROLLING = (*CLEARED, CLAIM, STARTED)
FAILED = e.StepFailed(
    step="route", attempt=1, outcome=Outcome.REJECTED, detail="Envoy refused: runtime layer is read-only."
)
STUCK = e.IncidentStuck(
    reason="Step route failed: Envoy refused: runtime layer is read-only. 42 keeps its 100 % of traffic.",
    by_hand=("curl -X POST 'http://10.0.3.7:9901/runtime_modify?routing.split.fraud.fraud-v42=0'",),
)
APPLIED = (
    *ROLLING,
    e.StepApplied(step="route", attempt=1, outcome=Outcome.APPLIED, observed=split(0), detail="Envoy took it."),
)
PROVEN = e.TrafficVerified(step="route", verdict="yes", reason="Traffic moved: 42 got 0 of 1,696 requests.")
MOVED = (*APPLIED, PROVEN)
WELL = e.SliJudged(verdict="yes", reason="Recovered: error ratio 0.3 % of 2,120 requests, objective ≤ 1 %.")
ILL = e.SliJudged(verdict="no", reason="Not recovered: latency p99 760 ms of 2,120 requests, objective ≤ 250 ms.")
UNSURE = e.SliJudged(verdict="cannot_tell", reason="Only 61 requests arrived in 30 s; 300 requests are needed.")
RECOVERED = (*MOVED, WELL)


def sampled(*values: float, sli: str = "error_ratio") -> tuple[e.Entry, ...]:
    """One round a value, each judged against 1 %."""
    return tuple(e.SliSampled(samples=(_sample(sli, value),)) for value in values)


def _sample(sli: str, value: float) -> SliSample:
    described = Sli(source="scrape", objective=0.01, good="below")
    return recovery.sample(sli, described, Measurement(at=START, value=value, requests=2120), 300)


WHY = {"t": "42 is fine, the feed is late."}  # what people typed, by reference
REQUESTED = e.IncidentOpened(model="fraud-scorer", environment="prod", tier=1, requester="U0PRIYA", wanted="41")
VOIDED = e.PlanVoided(plan=PLAN.id, reason="43 was deployed meanwhile.")
EXPIRED = e.PlanExpired(plan=PLAN.id, reason=f"Plan {PLAN.short} ended with 1 of 2 approvals; missing: model owner.")
AGAIN = (MADE, decided())
TWO = PLAN.but(
    steps=(PlanStep(name="encoder", target="encoder"), PlanStep(name="route", target="route", after=("encoder",))),
    targets=(TARGET.but(target="encoder"), TARGET),
)
SPLIT = Verification(
    control_plane="converged", data_plane="moving", samples={"42": 526, "41": 1170}, detail="42 still got 31 % of 1,696 requests.",
    reading=Reading(at=START),
)  # fmt: skip
HALF = e.TrafficVerified(
    step="route", verdict="no", reason="Traffic has not moved, limit 1 % within 2 min: 42 still got 31 % of 1,696 requests.", verification=SPLIT
)  # fmt: skip
MARKED = e.MarkedRecovered(person="U0ANA", text_ref="t")


def two_steps(*more: e.Entry) -> tuple[e.Entry, ...]:
    """A plan of two steps, the first of which is proven."""
    first = STARTED.but(step="encoder")
    applied = e.StepApplied(
        step="encoder", attempt=1, outcome=Outcome.APPLIED, observed=split(0), detail="Envoy took it."
    )
    proven = PROVEN.but(step="encoder")
    made = e.PlanMade(plan=TWO)
    cleared = (
        opened(),
        made,
        decided(),
        ANA,
        PRIYA,
        e.PlanCleared(plan=TWO.id, people=("U0ANA", "U0PRIYA"), window_ends=START),
    )
    return (*cleared, CLAIM, first, applied, proven, *more)


DEPLOYED = PLAN.but(deployer="U0MIKA", editor="U0TOM")
BOUNDED_WHY = (
    "Rule fast-burn: tier 1 in prod, burn_rate >= 14.4. Would act alone, but the cooldown of 30 min (last rollback 12 min ago) "
    "turns auto into approve. It needs on-call SRE and model owner."
)
BOUNDED = decided().but(reason=BOUNDED_WHY, tell="page")
DOUBTED = decided().but(doubt="Probably not the model: the good version breaches too.", tell="ticket")
HELD = decided("hold").but(
    require=(),
    expires_at=None,
    reason="Rule prod-tier1: tier 1 in prod. Would ask on-call SRE and model owner, but a snooze turns approve into hold. It is decided again each minute.",
)
SNOOZED = e.IncidentSnoozed(person="U0ANA", until=START + timedelta(hours=4), text_ref="t")
OBSERVED = decided("notify").but(
    require=(),
    reason="Rule prod-tier1: tier 1 in prod. Observing: would have asked on-call SRE and model owner, nothing is moved.",
)
GLASS = e.GlassBroken(
    person="U0ANA", role="commander", plan=PLAN.id, card_version=3, via="slack", text_ref="t", window_ends=START + timedelta(minutes=1),
    review_due=START + timedelta(hours=24), owner="usergroup S0FRAUD",
)  # fmt: skip
ALONE = (*WAITING, GLASS, CLAIM.but(people=("U0ANA",)), STARTED)
ALONE_WELL = (
    *ALONE, *APPLIED[-1:], PROVEN, *sampled(0.004, 0.003, 0.003), WELL,
    e.IncidentClosed(outcome="recovered", reason="Recovered: fraud-scorer is on 41. 42 is quarantined until somebody releases it."),
)  # fmt: skip
REVIEWED = e.ReviewDone(person="U0PRIYA", text_ref="t")
NEXT_PEOPLE = e.PlanEscalated(
    plan=PLAN.id,
    role="commander",
    people=("U0INES",),
    reason="Nobody completed the quorum in time, so <@U0INES> (commander) is told.",
)
PAGE_DUE = e.PlanEscalated(
    plan=PLAN.id, policy="PUS0KTE", reason="Nobody completed the quorum in time, so PUS0KTE is to be paged."
)
TIMED = decided().but(
    remind_at=START + timedelta(minutes=5), escalate_at=START + timedelta(minutes=7), page_at=START + timedelta(minutes=10),
    escalate_to="commander",
)  # fmt: skip
HANDED = e.IncidentHandedOver(person="U0ANA", to="U0PRIYA", text_ref="t")
EDITED = e.PlanEdited(person="U0TOM", plan=PLAN.id, on_failure="stop", via="slack")


PAUSED = e.RollbackPaused(person="U0ANA", text_ref="t")
RAMP = PLAN.but(
    steps=(
        PlanStep(name="warm-41", target="warm-41", kind="warm"),
        PlanStep(name="route@5", target="route", share=5, after=("warm-41",)),
        PlanStep(name="route@5 check", target="*", kind="check", after=("route@5",)),
        PlanStep(name="route", target="route", after=("route@5 check",)),
        PlanStep(name="purge", target="purge", kind="tell", after=("route",), irreversible=True),
    )
)  # fmt: skip
RAMPED = (
    opened(), e.PlanMade(plan=RAMP), decided("auto").but(plan=RAMP.id), CLAIM.but(plan=RAMP.id, people=()),
    e.StepStarted(step="warm-41", attempt=1, owner="x", deadline=START),
    e.StepApplied(step="warm-41", attempt=1, outcome=Outcome.APPLIED, detail="warm-41: warm: 20 requests were answered."),
    STARTED.but(step="route@5", goal=RAMP.goal(RAMP.step("route@5"))),
)  # fmt: skip
GRADED = e.RollbackGraded(
    incident="incident/I", grade="helped", low=-0.13, high=-0.11,
    reason="12.4 % of 2,120 requests failed before and 0.3 % of 2,120 requests after.",
)  # fmt: skip
LEFT = e.LeftoverOpened(
    incident="incident/I", name="route", owner="U0PRIYA",
    what="a runtime override of routing.split.fraud, until the configuration says the same.",
)  # fmt: skip
COST = e.DeltaMeasured(name="cost", when="after", value=8.1, text="Cost 8.1\u00a0% above what it was.")
FIXED = e.FixRecorded(person="U0PRIYA", text_ref="t", version="43")


STORIES: dict[str, Sequence[e.Entry]] = {
    "opened": (opened(),),
    "planned": (opened(), MADE),
    "waiting-0": WAITING,
    "waiting-1": (*WAITING, ANA),
    "waiting-confirm": (opened(), MADE, decided(confirm=True), ANA),
    "waiting-by-hand": (REQUESTED, e.PlanMade(plan=PLAN.but(requester="U0PRIYA")), decided()),
    "waiting-void": (*WAITING, ANA, VOIDED, *AGAIN),
    "waiting-expired": (*WAITING, ANA, EXPIRED, *AGAIN),
    "waiting-reminded": (*WAITING, ANA, e.Reminded(plan=PLAN.id, people=("U0PRIYA",))),
    "waiting-late": WAITING,
    "waiting-bounded": (opened(), MADE, BOUNDED),
    "waiting-doubt": (opened(), MADE, DOUBTED),
    "waiting-excluded": (opened(), e.PlanMade(plan=DEPLOYED), decided()),
    "waiting-edited": (*WAITING, ANA, EDITED, e.PlanMade(plan=PLAN.but(editor="U0TOM")), decided()),
    "waiting-terminal": (*WAITING, vote("U0ANA", "on-call SRE").but(via="terminal")),
    "waiting-escalated": (opened(), MADE, TIMED, ANA, NEXT_PEOPLE),
    "waiting-page-due": (opened(), MADE, TIMED, ANA, NEXT_PEOPLE, PAGE_DUE),
    "waiting-off": WAITING,
    "waiting-away": WAITING,
    "waiting-why": (opened(), MADE, decided().but(ask_reason=True)),
    "snoozed": (*WAITING, SNOOZED, HELD),
    "noted-observing": (opened(), MADE, OBSERVED),
    "glass": (*WAITING, GLASS),
    "glass-rolling": ALONE,
    "glass-closed": ALONE_WELL,
    "glass-reviewed": (*ALONE_WELL, REVIEWED),
    "stuck-handed-over": (*ROLLING, FAILED, STUCK, e.IncidentTaken(person="U0ANA"), HANDED),
    "cleared": CLEARED,
    "rolling": ROLLING,
    "rolling-auto": (opened(), MADE, decided("auto"), CLAIM.but(people=()), STARTED),
    "rolling-2-of-2": two_steps(STARTED),
    "rolling-ramp": RAMPED,
    "waiting-ramp": (opened(), e.PlanMade(plan=RAMP), decided().but(plan=RAMP.id)),
    "paused": (*ROLLING, PAUSED),
    "stuck-paused": (*two_steps(), PAUSED, e.IncidentStuck(reason="Paused by <@U0ANA> 15 min ago, and nobody let it go on. Resume or cancel.")),
    "rolling-skipped": (*two_steps(STARTED), FAILED, STUCK, e.StepSkipped(step="route", person="U0ANA", text_ref="t")),
    "applied": APPLIED,
    "moved": MOVED,
    "moved-sampled": (*MOVED, *sampled(0.003)),
    "recovered": (*MOVED, *sampled(0.004, 0.003, 0.003), WELL),
    "recovered-marked": (*MOVED, UNSURE, MARKED),
    "noted": (opened(), MADE, decided("notify")),
    "noted-nothing": (opened(), e.PlanBlocked(reason="42 serves no traffic, so there is nothing to roll back.", serves_nothing=True)),
    "stuck-step": (*ROLLING, FAILED, STUCK),
    "stuck-taken": (*ROLLING, FAILED, STUCK, e.IncidentTaken(person="U0PRIYA")),
    "stuck-half-moved": (*APPLIED, HALF),
    "stuck-step-2-of-2": (*two_steps(STARTED), FAILED, STUCK),
    "stuck-void": (*WAITING, VOIDED, *AGAIN, VOIDED, *AGAIN, VOIDED),
    "stuck-expired": (*WAITING, ANA, EXPIRED, *AGAIN, ANA, EXPIRED, *AGAIN, ANA, EXPIRED),
    "stuck-not-recovered": (*MOVED, *sampled(0.748, 0.771, 0.76, sli="latency_p99"), ILL),
    "stuck-cannot-tell": (*MOVED, UNSURE),
    "stuck-blocked": (opened(), e.PlanBlocked(reason="No version served before 42.", mend="Set last_good in the config.")),
    "stuck-rejected": (*WAITING, e.PlanRejected(person="U0PRIYA", plan=PLAN.id, text_ref="t", via="slack")),
    "closed-recovered": (
        *MOVED, *sampled(0.004, 0.003, 0.003), WELL,
        e.IncidentClosed(
            outcome="recovered", reason="Recovered: fraud-scorer is on 41. 42 is quarantined until somebody releases it."
        ),
    ),
    "closed-graded": (
        *MOVED, *sampled(0.004, 0.003, 0.003), WELL, COST, e.IncidentClosed(outcome="recovered", reason="Recovered: fraud-scorer is on 41."),
        GRADED, LEFT,
    ),
    "closed-fixed": (
        *MOVED, *sampled(0.004, 0.003, 0.003), WELL, e.IncidentClosed(outcome="recovered", reason="Recovered: fraud-scorer is on 41."),
        GRADED, FIXED,
    ),
    "closed-gave-up": (
        *ROLLING, FAILED, STUCK,
        e.IncidentClosed(outcome="gave_up", reason="<@U0ANA> closed it: gave up.", person="U0ANA", text_ref="t"),
    ),
    "closed-by-itself": (
        *WAITING, e.IncidentClosed(outcome="recovered_by_itself", reason="Every alert ended. Nothing was changed."),
    ),
}  # fmt: skip


def recorded(entries: Sequence[e.Entry], every: timedelta = timedelta(seconds=10)) -> list[e.Recorded]:
    rows: list[e.Recorded] = []
    at: datetime = START
    for version, entry in enumerate(entries, 1):
        epoch = rows[-1].epoch if entry.commutes and rows else version
        rows.append(e.Recorded(version, STREAM, version, epoch, at, entry, "", ""))
        at += every
    return rows


def incident(entries: Sequence[e.Entry]) -> Incident:
    return fold(recorded(entries))
