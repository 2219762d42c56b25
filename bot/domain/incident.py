"""An incident as the fold of its entries. Nothing else holds its state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from bot.domain import entries as e
from bot.domain.alert import Alert, Severity
from bot.domain.plan import Candidate, Plan

MAX_VOIDS = 3
MAX_EPISODES = 3


class Phase(StrEnum):
    """Where an incident stands on the straight path."""

    OPENED = "opened"
    PLANNED = "planned"
    WAITING = "waiting"
    CLEARED = "cleared"
    ROLLING = "rolling"
    APPLIED = "applied"
    MOVED = "moved"
    RECOVERED = "recovered"
    NOTED = "noted"
    STUCK = "stuck"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Vote:
    """One approval, for one plan hash."""

    person: str
    role: str
    plan: str
    card_version: int
    at: datetime
    holds: tuple[str, ...] = ()
    via: str = ""
    request: Mapping[str, str] = field(default_factory=dict, hash=False)  # what proves the press


@dataclass(frozen=True, slots=True)
class StepState:
    """What became of one step: started, applied, moved, failed, unknown, again, skipped, back (compensated)."""

    name: str
    state: str
    attempt: int
    started: e.StepStarted | None = None
    detail: str = ""
    at: datetime | None = None
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Incident:
    """Everything one incident's timeline says now."""

    stream: str
    model: str
    environment: str
    tier: int
    opened_at: datetime
    since: datetime  # when the current phase was entered
    version: int = 0
    epoch: int = 0
    phase: Phase = Phase.OPENED
    episode: int = 1
    voids: int = 0
    plans: int = 0
    requester: str | None = None
    wanted: str | None = None
    alerts: Mapping[str, Alert] = field(default_factory=lambda: MappingProxyType({}))
    weighed: Mapping[str, Alert] = field(default_factory=lambda: MappingProxyType({}))  # the alerts last decided on
    plan: Plan | None = None
    planned_at: datetime | None = None
    candidates: tuple[Candidate, ...] = ()
    blocked: e.PlanBlocked | None = None
    decision: e.PolicyDecided | None = None
    votes: tuple[Vote, ...] = ()
    reminded: bool = False
    refusals: int = 0
    refused_at: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))
    cleared: e.PlanCleared | None = None
    parked_on: str | None = None
    claim: e.RollbackClaimed | None = None
    claimed_at: datetime | None = None
    cancelled: bool = False
    steps: Mapping[str, StepState] = field(default_factory=lambda: MappingProxyType({}))
    moved: e.TrafficVerified | None = None
    moved_at: datetime | None = None
    looks: tuple[e.TrafficSampled, ...] = ()
    samples: tuple[tuple[datetime, e.SliSampled], ...] = ()
    judged: e.SliJudged | None = None
    judged_at: datetime | None = None
    marked_by: str | None = None
    stuck_reason: str = ""
    by_hand: tuple[str, ...] = ()
    rejected_by: str | None = None
    taken_by: str | None = None
    escalations: int = 0
    restarts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # how often each alert began anew
    rules: tuple[str, ...] = ()  # the rules that decided in this episode, each once
    edit: e.PlanEdited | None = None  # what a person changed; the next plan is made so
    escalated: tuple[str, ...] = ()  # the roles told of this plan, "" for the page
    glass: e.GlassBroken | None = None
    review: e.GlassBroken | None = None  # what still has to be reviewed
    snoozed_until: datetime | None = None
    snoozed_by: str | None = None
    closed: e.IncidentClosed | None = None
    closed_at: datetime | None = None
    paused_by: str | None = None
    paused_at: datetime | None = None
    tokens: Mapping[str, str | None] = field(
        default_factory=lambda: MappingProxyType({})
    )  # by target: what our last write left
    undoing: bool = False  # a person asked to put back what was applied
    leftovers: Mapping[str, e.LeftoverOpened] = field(default_factory=lambda: MappingProxyType({}))
    kept_back: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({})
    )  # why a leftover could not be taken back
    fix: e.FixRecorded | None = None
    grade: e.RollbackGraded | None = None
    captured: e.EvidenceCaptured | None = None  # of the newest claim
    kept: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # name by digest, of every claim
    erased: frozenset[str] = frozenset()  # digests of evidence whose time is over
    sampling: e.SamplingAsked | e.SamplingTurned | None = None  # the last word about it
    ticket: e.TicketAsked | e.TicketOpened | None = None  # the same
    before: e.SliSampled | None = None  # the last round before anything was moved
    deltas: tuple[e.DeltaMeasured, ...] = ()
    follow_ups: Mapping[str, tuple[datetime, e.FollowUpStarted | e.FollowUpEnded]] = field(
        default_factory=lambda: MappingProxyType({})
    )  # by name: the last word about each

    @property
    def id(self) -> str:
        """Give the ULID."""
        return self.stream.rpartition("/")[2]

    @property
    def short(self) -> str:
        """Give the five characters people read."""
        return self.id[-5:]

    @property
    def model_stream(self) -> str:
        """Give the stream of the model."""
        return model_stream(self.environment, self.model)

    @property
    def firing(self) -> tuple[Alert, ...]:
        """Give the alerts that fire now."""
        return tuple(alert for alert in self.alerts.values() if alert.status == "firing")

    @property
    def ended(self) -> bool:
        """Say whether there were alerts and every one of them ended."""
        return bool(self.alerts) and not self.firing

    @property
    def worse(self) -> Alert | None:
        """Give a firing alert more severe than any that fired when it was last decided."""
        fired = [alert for alert in self.weighed.values() if alert.status == "firing"]
        before = max((alert.severity.rank for alert in fired), default=-1)
        return next((alert for alert in self.firing if alert.severity.rank > before), None)

    @property
    def news(self) -> Alert | None:
        """Give a firing alert that policy has not weighed: a worse one, or one of another SLI or kind."""
        slis = {alert.sli for alert in self.weighed.values()} | {None}
        kinds = {alert.kind for alert in self.weighed.values()}
        other = (alert for alert in self.firing if alert.sli not in slis or alert.kind not in kinds)
        return self.worse or next(other, None)

    @property
    def severity(self) -> Severity:
        """Give the worst severity among firing alerts, else among all."""
        pool = self.firing or tuple(self.alerts.values())
        return max((alert.severity for alert in pool), key=lambda one: one.rank, default=Severity.UNKNOWN)

    @property
    def alert_version(self) -> str | None:
        """Give the version the alerts name, the newest alert first."""
        named = sorted((a for a in self.alerts.values() if a.version), key=lambda a: a.starts_at)
        return named[-1].version if named else None

    @property
    def holds_locks(self) -> bool:
        """Say whether a rollback of this incident holds its locks."""
        return self.claim is not None and self.phase is not Phase.CLOSED

    @property
    def traffic_is_good(self) -> bool:
        """Say whether any target's traffic is already on the good version, in part or whole."""
        moved = [name for name, step in self.steps.items() if step.state == "moved"]
        return self.plan is not None and any(self.plan.step(name).kind == "target" for name in moved)

    @property
    def in_flight(self) -> tuple[StepState, ...]:
        """Give the steps whose effects may be under way."""
        return tuple(step for step in self.steps.values() if step.state in ("started", "unknown"))

    def state_of(self, step: str) -> str:
        """Give how far a step is; an empty text when it was not begun."""
        return self.steps[step].state if step in self.steps else ""

    @property
    def unfinished(self) -> str | None:
        """Give the first step of the claimed plan that is neither proven nor skipped."""
        steps = self.plan.steps if self.plan and self.claim else ()
        return next((one.name for one in steps if self.state_of(one.name) not in ("moved", "skipped")), None)

    @property
    def proven(self) -> bool:
        """Say whether it closed with a recovery and the traffic of every target is proven to have moved."""
        return self.closed is not None and self.closed.outcome == "recovered" and not self.unproven

    @property
    def unproven(self) -> tuple[str, ...]:
        """Give the steps of targets whose traffic is not proven to have moved."""
        steps = self.plan.steps if self.plan and self.claim else ()
        return tuple(one.name for one in steps if one.kind == "target" and self.state_of(one.name) != "moved")

    @property
    def commands(self) -> tuple[str, ...]:
        """Give the plan's calls as a person would make them, in the order of its steps."""
        if self.plan is None:
            return ()
        found, moves = list[str](), {one.target: one.calls for one in self.plan.targets}
        for step in self.plan.steps:
            calls = moves.get(step.target, ()) if step.whole else (step.call,) if step.call else ()
            found += [call.by_hand for call in calls if call.by_hand]
        return tuple(found)

    @property
    def verdicts(self) -> dict[str, e.Verdict]:
        """Give the three verdicts, each yes, not_yet, no or cannot_tell."""
        return {"accepted": self._accepted(), "traffic_moved": self._traffic_moved(), "recovered": self._recovered()}

    def _accepted(self) -> e.Verdict:
        if self.claim is None or self.plan is None:
            return "not_yet"
        if any(step.state == "failed" for step in self.steps.values()):
            return "no"
        if any(step.state == "unknown" for step in self.steps.values()):
            return "cannot_tell" if self.phase is Phase.STUCK else "not_yet"
        wanted = [step.name for step in self.plan.steps if self.state_of(step.name) != "skipped"]
        return "yes" if all(name in self.steps and self.steps[name].accepted for name in wanted) else "not_yet"

    def _traffic_moved(self) -> e.Verdict:
        if self.claim is None or self.moved is None:
            return "cannot_tell" if self.claim and self.plan and self.phase_is_past_traffic else "not_yet"
        if self.moved.verdict != "yes":
            return self.moved.verdict
        if not self.unproven:
            return "yes"
        return "cannot_tell" if self.phase_is_past_traffic else "not_yet"

    @property
    def phase_is_past_traffic(self) -> bool:
        """Say whether every step that was not skipped is proven, though a skipped one never will be."""
        return self.unfinished is None and bool(self.unproven)

    def _recovered(self) -> e.Verdict:
        return self.judged.verdict if self.judged else "not_yet"

    def alert_is_news(self, alert: Alert) -> bool:
        """Say whether an alert changes anything here: a new one, a newer occurrence, or another status of a known one."""
        known = self.alerts.get(alert.fingerprint)
        if known is None:
            return alert.status == "firing"
        if alert.since > known.since:
            return alert.status in ("firing", "resolved")
        return alert.since == known.since and known.status == "firing" and alert.status == "resolved"


def model_stream(environment: str, model: str) -> str:
    """Give the name of a model's stream."""
    return f"model/{environment}/{model}"


def fold(recorded: Iterable[e.Recorded], incident: Incident | None = None) -> Incident:
    """Fold entries, continuing from `incident` when one is given. Raises ValueError when the stream does not begin with an opening."""
    for one in recorded:
        incident = _next(incident, one)
    if incident is None:
        raise ValueError("an incident's stream is empty")
    return incident


def _next(incident: Incident | None, one: e.Recorded) -> Incident:
    if incident is None:
        if not isinstance(one.entry, e.IncidentOpened):
            message = f"{one.stream} begins with {one.entry.type}, not with incident.opened"
            raise ValueError(message)
        incident = Incident(
            stream=one.stream, model=one.entry.model, environment=one.entry.environment, tier=one.entry.tier,
            opened_at=one.at, since=one.at,
        )  # fmt: skip
    handler = _HANDLERS.get(type(one.entry))
    after = handler(incident, one.entry, one.at) if handler else incident
    if after.phase is not incident.phase:
        after = replace(after, since=one.at, escalations=0)
    return replace(after, version=one.version, epoch=one.epoch)


def _merged(incident: Incident, alerts: Iterable[Alert]) -> Mapping[str, Alert]:
    """Take what is news; a resolve ends the alert it names and leaves what was said while it fired."""
    merged = dict(incident.alerts)
    for alert in alerts:
        if not incident.alert_is_news(alert):
            continue
        before = merged.get(alert.fingerprint)
        if alert.status == "resolved" and before is not None:
            alert = before.ended(alert)  # noqa: PLW2901  the ended form of the same alert
        merged[alert.fingerprint] = alert
    return MappingProxyType(merged)


def _restarted(incident: Incident, alerts: Iterable[Alert]) -> Mapping[str, int]:
    """Count the alerts that began anew after they were known."""
    counts = dict(incident.restarts)
    for alert in alerts:
        known = incident.alerts.get(alert.fingerprint)
        if known is not None and alert.status == "firing" and alert.since > known.since:
            counts[alert.fingerprint] = counts.get(alert.fingerprint, 0) + 1
    return MappingProxyType(counts)


def _opened(i: Incident, entry: e.IncidentOpened, _: datetime) -> Incident:
    alerts = MappingProxyType({alert.fingerprint: alert for alert in entry.alerts})
    return replace(i, alerts=alerts, requester=entry.requester, wanted=entry.wanted)


def _fresh(i: Incident) -> Incident:
    """Forget one attempt at a rollback, keep the incident."""
    return replace(
        i, plan=None, planned_at=None, candidates=(), blocked=None, decision=None, votes=(), reminded=False, escalated=(),
        glass=None, cleared=None,
        parked_on=None, claim=None, claimed_at=None, cancelled=False, steps=MappingProxyType({}), moved=None, moved_at=None,
        looks=(), samples=(), judged=None, judged_at=None, marked_by=None, stuck_reason="", by_hand=(), paused_by=None,
        paused_at=None, undoing=False, tokens=MappingProxyType({}), before=None,
        grade=None, follow_ups=MappingProxyType({}),
    )  # fmt: skip


def _reopened(i: Incident, entry: e.IncidentReopened, _: datetime) -> Incident:
    i = _fresh(i)
    alerts = MappingProxyType({**i.alerts, **{a.fingerprint: a for a in entry.alerts}})
    return replace(
        i, phase=Phase.OPENED, episode=entry.episode, voids=0, alerts=alerts, closed=None, closed_at=None, requester=None,
        wanted=None, rejected_by=None, taken_by=None, weighed=MappingProxyType({}), restarts=_restarted(i, entry.alerts),
        rules=(), edit=None, snoozed_until=None, snoozed_by=None, fix=None, grade=None, deltas=(),
    )  # fmt: skip


def _joined(i: Incident, entry: e.AlertsJoined, _: datetime) -> Incident:
    return replace(i, alerts=_merged(i, entry.alerts), restarts=_restarted(i, entry.alerts))


def _resolved(i: Incident, entry: e.AlertsResolved, _: datetime) -> Incident:
    return replace(i, alerts=_merged(i, entry.alerts))


def _planned(i: Incident, entry: e.PlanMade, at: datetime) -> Incident:
    return replace(
        _fresh(i), phase=Phase.PLANNED, plan=entry.plan, planned_at=at, candidates=entry.candidates, plans=i.plans + 1
    )


def _blocked(i: Incident, entry: e.PlanBlocked, _: datetime) -> Incident:
    phase = Phase.NOTED if entry.serves_nothing else Phase.STUCK
    return replace(
        _fresh(i),
        phase=phase,
        blocked=entry,
        candidates=entry.candidates,
        stuck_reason=entry.sentence(),
        weighed=i.alerts,
    )


def _decided(i: Incident, entry: e.PolicyDecided, _: datetime) -> Incident:
    phases = {"auto": Phase.CLEARED, "approve": Phase.WAITING, "notify": Phase.NOTED, "hold": Phase.PLANNED}
    rules = i.rules if entry.rule in i.rules else (*i.rules, entry.rule)
    return replace(i, phase=phases[entry.mode], decision=entry, weighed=i.alerts, cleared=None, rules=rules, glass=None)


def _voted(i: Incident, entry: e.ApprovalGiven, at: datetime) -> Incident:
    holds = entry.holds or (entry.role,)
    vote = Vote(entry.person, entry.role, entry.plan, entry.card_version, at, holds, entry.via, entry.request)
    others = (one for one in i.votes if one.person != entry.person)
    return replace(i, votes=(*others, vote))


def _refused(i: Incident, entry: e.ApprovalRefused, at: datetime) -> Incident:
    last = MappingProxyType({**i.refused_at, f"{entry.person} {entry.reason} {entry.plan}": at})
    return replace(i, refusals=i.refusals + entry.times, refused_at=last)


def _rejected(i: Incident, entry: e.PlanRejected, _: datetime) -> Incident:
    return replace(i, phase=Phase.STUCK, rejected_by=entry.person, stuck_reason=entry.sentence())


def _cleared(i: Incident, entry: e.PlanCleared, _: datetime) -> Incident:
    return replace(i, phase=Phase.CLEARED, cleared=entry)


def _parked(i: Incident, entry: e.RollbackParked, _: datetime) -> Incident:
    return replace(i, parked_on=entry.holder) if i.phase is Phase.CLEARED else i


def _uncleared(i: Incident, entry: e.PlanUncleared, at: datetime) -> Incident:
    """Wait again; the time since the quorum was complete is given back to the people who have to vote anew."""
    kept = tuple(vote for vote in i.votes if vote.person not in entry.drop_votes_of)
    names = ("expires_at", "remind_at", "escalate_at", "page_at")
    moved = {name: due + (at - i.since) for name in names if (due := getattr(i.decision, name, None))}
    decision = i.decision.but(**moved) if i.decision else None
    return replace(i, phase=Phase.WAITING, cleared=None, parked_on=None, votes=kept, decision=decision, glass=None)


def _void(i: Incident, entry: e.PlanVoided | e.PlanExpired, _: datetime) -> Incident:
    voids = i.voids + 1
    if voids >= MAX_VOIDS:
        return replace(i, phase=Phase.STUCK, voids=voids, votes=(), cleared=None, stuck_reason=entry.sentence())
    return replace(_fresh(i), phase=Phase.OPENED, voids=voids)


def _requested(i: Incident, entry: e.PlanRequested, _: datetime) -> Incident:
    return replace(
        _fresh(i), phase=Phase.OPENED, voids=0, wanted=entry.wanted, rejected_by=None,
        requester=entry.requester or entry.person, edit=i.edit if entry.person is None else None, snoozed_until=None, snoozed_by=None,
    )  # fmt: skip


def _edited(i: Incident, entry: e.PlanEdited, _: datetime) -> Incident:
    return replace(_fresh(i), phase=Phase.OPENED, edit=entry)


def _due(i: Incident, _: e.DecisionDue, __: datetime) -> Incident:
    return replace(i, phase=Phase.PLANNED, glass=None)


def _reminded(i: Incident, _: e.Reminded, __: datetime) -> Incident:
    return replace(i, reminded=True)


def _told_further(i: Incident, entry: e.PlanEscalated, _: datetime) -> Incident:
    return replace(i, escalated=(*i.escalated, entry.role))


def _glass(i: Incident, entry: e.GlassBroken, _: datetime) -> Incident:
    """Clear the plan on one person's word; the review stays open whatever becomes of the plan."""
    return replace(i, phase=Phase.CLEARED, glass=entry, review=entry)


def _reviewed(i: Incident, _: e.ReviewDone, __: datetime) -> Incident:
    return replace(i, review=None)


def _snoozed(i: Incident, entry: e.IncidentSnoozed, _: datetime) -> Incident:
    """Put off: a plan that waited for people waits for the time now; where people were asked for nothing, nothing changes.

    Who snoozes has weighed the alerts as they are: a worse one is worse than those.
    """
    asked = replace(i, phase=Phase.PLANNED, cleared=None) if i.phase is Phase.WAITING else i
    return replace(asked, snoozed_until=entry.until, snoozed_by=entry.person, weighed=i.alerts)


def _handed_over(i: Incident, entry: e.IncidentHandedOver, _: datetime) -> Incident:
    return replace(i, taken_by=entry.to)


def _claimed(i: Incident, entry: e.RollbackClaimed, at: datetime) -> Incident:
    return replace(i, phase=Phase.ROLLING, claim=entry, claimed_at=at, parked_on=None, captured=None)


def _evidence(i: Incident, entry: e.EvidenceCaptured, _: datetime) -> Incident:
    kept = {**i.kept, **{digest: name for name, digest in entry.files.items()}}
    return replace(i, captured=entry, kept=MappingProxyType(kept))


def _erased(i: Incident, entry: e.EvidenceErased, _: datetime) -> Incident:
    return replace(i, erased=i.erased | frozenset(entry.files.values()))


def _ticket(i: Incident, entry: e.TicketAsked | e.TicketOpened, _: datetime) -> Incident:
    return replace(i, ticket=entry)


def _sampling(i: Incident, entry: e.SamplingAsked | e.SamplingTurned, _: datetime) -> Incident:
    return replace(i, sampling=entry)


def _released(i: Incident, _: e.RollbackReleased, __: datetime) -> Incident:
    return replace(i, claim=None, claimed_at=None)


def _cancelled(i: Incident, entry: e.RollbackCancelled, _: datetime) -> Incident:
    return replace(_unpaused(i), cancelled=True, stuck_reason=entry.sentence())


def _unpaused(i: Incident) -> Incident:
    """End a pause: whoever says what comes next has thought of it."""
    return replace(i, paused_by=None, paused_at=None)


def _paused(i: Incident, entry: e.RollbackPaused, at: datetime) -> Incident:
    return replace(i, paused_by=entry.person, paused_at=at)


def _resumed(i: Incident, _: e.RollbackResumed, __: datetime) -> Incident:
    return replace(_unpaused(i), phase=Phase.ROLLING, stuck_reason="", by_hand=())


def _undoing(i: Incident, _: e.CompensationAsked, __: datetime) -> Incident:
    return replace(
        _unpaused(i), phase=Phase.ROLLING, undoing=True, cancelled=False, stuck_reason="", by_hand=(), moved=None
    )


def _step(i: Incident, step: StepState) -> Mapping[str, StepState]:
    return MappingProxyType({**i.steps, step.name: step})


def _started(i: Incident, entry: e.StepStarted, at: datetime) -> Incident:
    return replace(i, steps=_step(i, StepState(entry.step, "started", entry.attempt, entry, at=at)), looks=())


def _applied(i: Incident, entry: e.StepApplied, at: datetime) -> Incident:
    """Take the answer; a target's traffic is proven from here on, what moves none is proven by being done."""
    before = i.steps[entry.step]
    kind = i.plan.step(entry.step).kind if i.plan else "target"
    state = "applied" if kind == "target" else "moved"
    step = replace(before, state=state, detail=entry.detail, at=at, accepted=True)
    i = replace(i, tokens=_tokens(i, entry.step, entry.token))
    if kind != "target":
        return _onwards(replace(i, steps=_step(i, step)), at)
    return replace(i, phase=Phase.APPLIED, steps=_step(i, step), moved=None, looks=())


def _tokens(i: Incident, step: str, token: str | None) -> Mapping[str, str | None]:
    """Remember what our own write left on a target: the precondition of the next one."""
    return MappingProxyType({**i.tokens, i.plan.step(step).target: token}) if i.plan else i.tokens


def _onwards(i: Incident, at: datetime) -> Incident:
    """Go where the steps say: to a target whose traffic is not proven yet, to the next step, or past the last one."""
    states = {step.state for step in i.steps.values()}
    if "applied" in states:
        return replace(i, phase=Phase.APPLIED, looks=())
    if i.unfinished is not None or states & {"started", "unknown", "failed", "again"}:
        return replace(i, phase=Phase.ROLLING)
    kinds = {step.name: step.kind for step in i.plan.steps} if i.plan else {}
    proven = [one.at for one in i.steps.values() if one.state == "moved" and kinds.get(one.name) == "target" and one.at]
    return replace(i, phase=Phase.MOVED, moved_at=max(proven, default=at), samples=(), judged=None)


def _failed(i: Incident, entry: e.StepFailed, at: datetime) -> Incident:
    step = replace(i.steps[entry.step], state="failed", detail=entry.detail, at=at)
    return replace(i, steps=_step(i, step))


def _unknown(i: Incident, entry: e.StepUnknown, at: datetime) -> Incident:
    step = replace(i.steps[entry.step], state="unknown", detail=entry.detail, at=at)
    return replace(i, steps=_step(i, step))


def _retried(i: Incident, _: e.StepRetried, at: datetime) -> Incident:
    """Let what failed, or was put back, run again; what nobody knows the end of is read first, so it stays."""
    steps = {
        name: replace(step, state="again", at=at) if step.state in ("failed", "applied", "back") else step
        for name, step in i.steps.items()
    }
    return replace(
        _unpaused(i), phase=Phase.ROLLING, steps=MappingProxyType(steps), cancelled=False, undoing=False, stuck_reason="", by_hand=(),
        moved=None,
    )  # fmt: skip


def _skipped(i: Incident, entry: e.StepSkipped, at: datetime) -> Incident:
    before = i.steps.get(entry.step) or StepState(entry.step, "skipped", 0)
    steps = _step(i, replace(before, state="skipped", at=at))
    return _onwards(replace(_unpaused(i), steps=steps, cancelled=False, stuck_reason="", by_hand=()), at)


def _by_hand(i: Incident, entry: e.StepByHand, at: datetime) -> Incident:
    """Take a person's word that it is done; a target's traffic is proven like any other step's."""
    before = i.steps.get(entry.step) or StepState(entry.step, "applied", 0)
    kind = i.plan.step(entry.step).kind if i.plan else "target"
    step = replace(before, state="applied" if kind == "target" else "moved", at=at, accepted=True)
    i = replace(_unpaused(i), steps=_step(i, step), moved=None, cancelled=False, stuck_reason="", by_hand=())
    return _onwards(i, at)


def _compensated(i: Incident, entry: e.StepCompensated, at: datetime) -> Incident:
    step = replace(i.steps[entry.step], state="back", detail=entry.detail, at=at, accepted=False)
    return replace(i, steps=_step(i, step), tokens=_tokens(i, entry.step, entry.token))


def _looked(i: Incident, entry: e.TrafficSampled, _: datetime) -> Incident:
    return replace(i, looks=(*i.looks, entry))


def _verified(i: Incident, entry: e.TrafficVerified, at: datetime) -> Incident:
    if entry.verdict != "yes":
        return replace(i, phase=Phase.STUCK, moved=entry, stuck_reason=entry.reason, by_hand=i.commands)
    steps = _step(i, replace(i.steps[entry.step], state="moved", at=at))
    return _onwards(replace(i, steps=steps, moved=entry), at)


def _sampled(i: Incident, entry: e.SliSampled, at: datetime) -> Incident:
    return replace(i, before=entry) if entry.before else replace(i, samples=(*i.samples, (at, entry)))


def _judged(i: Incident, entry: e.SliJudged, at: datetime) -> Incident:
    phase = Phase.RECOVERED if entry.verdict == "yes" else Phase.STUCK
    reason = "" if entry.verdict == "yes" else entry.reason
    return replace(i, phase=phase, judged=entry, judged_at=at, marked_by=None, stuck_reason=reason)


def _stuck(i: Incident, entry: e.IncidentStuck, _: datetime) -> Incident:
    return replace(i, phase=Phase.STUCK, stuck_reason=entry.reason, by_hand=entry.by_hand)


def _taken(i: Incident, entry: e.IncidentTaken, _: datetime) -> Incident:
    return replace(i, taken_by=entry.person)


def _escalated(i: Incident, _: e.IncidentEscalated, __: datetime) -> Incident:
    return replace(i, escalations=i.escalations + 1)


def _marked(i: Incident, entry: e.MarkedRecovered, at: datetime) -> Incident:
    return replace(i, phase=Phase.RECOVERED, marked_by=entry.person, judged_at=at, stuck_reason="", by_hand=())


def _left(i: Incident, entry: e.LeftoverOpened, _: datetime) -> Incident:
    return replace(i, leftovers=MappingProxyType({**i.leftovers, entry.name: entry}))


def _kept_back(i: Incident, entry: e.LeftoverKept, _: datetime) -> Incident:
    return replace(i, kept_back=MappingProxyType({**i.kept_back, entry.name: entry.reason}))


def _cleared_away(i: Incident, entry: e.LeftoverCleared, _: datetime) -> Incident:
    return replace(i, leftovers=MappingProxyType({n: one for n, one in i.leftovers.items() if n != entry.name}))


def _fixed(i: Incident, entry: e.FixRecorded, _: datetime) -> Incident:
    return replace(i, fix=entry)


def _graded(i: Incident, entry: e.RollbackGraded, _: datetime) -> Incident:
    return replace(i, grade=entry)


def _delta(i: Incident, entry: e.DeltaMeasured, _: datetime) -> Incident:
    others = (one for one in i.deltas if (one.name, one.when) != (entry.name, entry.when))
    return replace(i, deltas=(*others, entry))


def _followed(i: Incident, entry: e.FollowUpStarted | e.FollowUpEnded, at: datetime) -> Incident:
    return replace(i, follow_ups=MappingProxyType({**i.follow_ups, entry.name: (at, entry)}))


def _closed(i: Incident, entry: e.IncidentClosed, at: datetime) -> Incident:
    return replace(i, phase=Phase.CLOSED, closed=entry, closed_at=at)


_HANDLERS: dict[type[e.Entry], Callable[..., Incident]] = {
    e.IncidentOpened: _opened, e.IncidentReopened: _reopened, e.AlertsJoined: _joined, e.AlertsResolved: _resolved,
    e.PlanMade: _planned, e.PlanBlocked: _blocked, e.PolicyDecided: _decided, e.ApprovalGiven: _voted,
    e.ApprovalRefused: _refused, e.PlanRejected: _rejected, e.PlanCleared: _cleared, e.PlanUncleared: _uncleared,
    e.PlanExpired: _void, e.PlanVoided: _void, e.PlanRequested: _requested, e.DecisionDue: _due, e.Reminded: _reminded,
    e.RollbackParked: _parked, e.RollbackClaimed: _claimed, e.RollbackReleased: _released, e.RollbackCancelled: _cancelled,
    e.StepStarted: _started, e.StepApplied: _applied, e.StepFailed: _failed, e.StepUnknown: _unknown,
    e.StepRetried: _retried, e.StepCompensated: _compensated, e.TrafficSampled: _looked,
    e.TrafficVerified: _verified, e.SliSampled: _sampled, e.SliJudged: _judged, e.IncidentStuck: _stuck,
    e.EvidenceCaptured: _evidence, e.EvidenceErased: _erased, e.SamplingAsked: _sampling, e.SamplingTurned: _sampling,
    e.TicketAsked: _ticket, e.TicketOpened: _ticket,
    e.PlanEdited: _edited, e.PlanEscalated: _told_further, e.GlassBroken: _glass, e.ReviewDone: _reviewed,
    e.IncidentSnoozed: _snoozed, e.IncidentHandedOver: _handed_over,
    e.RollbackPaused: _paused, e.RollbackResumed: _resumed, e.CompensationAsked: _undoing, e.StepSkipped: _skipped,
    e.StepByHand: _by_hand, e.LeftoverOpened: _left, e.LeftoverKept: _kept_back,
    e.LeftoverCleared: _cleared_away, e.FixRecorded: _fixed,
    e.RollbackGraded: _graded, e.DeltaMeasured: _delta, e.FollowUpStarted: _followed, e.FollowUpEnded: _followed,
    e.IncidentTaken: _taken, e.IncidentEscalated: _escalated, e.MarkedRecovered: _marked, e.IncidentClosed: _closed,
}  # fmt: skip

REOPEN_WITHIN = timedelta(minutes=30)
