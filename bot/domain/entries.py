"""Every entry a timeline can hold: the vocabulary of Lastgood.

Each class is one type. Its docstring says when it is written, `sentence` says it to people, and `commutes` marks the
entries that may be appended whatever else happens, so noise never starves a slow stage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from pydantic import AwareDatetime, Field

from bot.domain import words
from bot.domain.alert import Alert
from bot.domain.plan import Candidate, Plan
from bot.domain.roles import Place
from bot.domain.runbook import OnFailure
from bot.domain.sli import SliSample
from bot.domain.traffic import Outcome, Reading, TargetState, TrafficSplit, Verification
from bot.domain.value import Value

Verdict = Literal["yes", "not_yet", "no", "cannot_tell"]
Mode = Literal["auto", "approve", "notify", "hold"]
Tell = Literal["page", "ticket", "slack"]
Rung = Literal["notify", "approve", "auto"]
Grade = Literal["helped", "neutral", "harmful", "unknown"]


class Check(Value):
    """One line of a decision trace: what was asked, how it came out (None: could not be told), and the detail."""

    ok: bool | None
    name: str
    detail: str = ""

    def __str__(self) -> str:
        """Read like `✓ account active`."""
        mark = {True: "✓", False: "✗", None: "?"}[self.ok]
        return f"{mark} {self.name}{f' ({self.detail})' if self.detail else ''}"


class Entry(Value):
    """An entry's body."""

    type: ClassVar[str]
    number: ClassVar[int] = 1
    commutes: ClassVar[bool] = False

    def sentence(self) -> str:
        """Say what happened, with people and times as tokens."""
        raise NotImplementedError


# ── the incident ──────────────────────────────────────────────────────────────────────────────────────────────────


_SENDERS = MappingProxyType(
    {"pagerduty": "PagerDuty", "mlflow": "MLflow", "github": "GitHub", "cloudwatch": "CloudWatch"}
)


def sender_of(alert: Alert) -> str:
    """Name who sent an alert, as people call it."""
    return _SENDERS.get(alert.source, alert.source.capitalize())


def _update(alert: Alert) -> str:
    """Say what a sender told about an alert; an end that nobody saw is said to be none."""
    who = f" by {words.plain(by)}" if (by := alert.extra.get("agent")) else ""
    if "merged" in alert.flags:
        other = words.plain(alert.extra.get("merged_into", "another incident"))
        return f"{sender_of(alert)} merged its incident into {other}{who}: that is not an end."
    if "no_data" in alert.flags:
        return f"{sender_of(alert)} has no data any more: that is not an end."
    what = alert.extra.get("event_type", "").removeprefix("incident.") or alert.extra.get("action") or alert.status
    said = next((text for name in ("content", "message", "state") if (text := alert.extra.get(name))), "")
    told = words.plain(what.replace("_", " ").replace(".", " ").lower())
    return f"{sender_of(alert)}: {told}{who}{f' ({words.plain(said[:300])})' if said else ''}."


def _about(alerts: tuple[Alert, ...]) -> str:
    first = alerts[0]
    subject = first.labels.get("alertname") or first.sli or first.fingerprint
    more = f" and {len(alerts) - 1} more" if len(alerts) > 1 else ""
    return f'{sender_of(first)} says: "{words.plain(first.summary or subject)}"{more}'


class IncidentOpened(Entry):
    """A first firing alert came for a model with no open incident, or a person asked for a rollback."""

    type: ClassVar[str] = "incident.opened"
    model: str
    environment: str
    tier: int
    alerts: tuple[Alert, ...] = ()
    requester: str | None = None
    wanted: str | None = None  # the version a person asked for
    text_ref: str | None = None  # why the person asks

    def sentence(self) -> str:
        """Say who or what opened it."""
        if self.requester:
            goal = f" to {self.wanted}" if self.wanted else ""
            return f"{words.person(self.requester)} asked to roll {self.model} back{goal} in {self.environment}."
        return f"{self.model} in {self.environment}: {_about(self.alerts)}."


class IncidentReopened(Entry):
    """An alert fired again within 30 minutes of closing; a new episode begins."""

    type: ClassVar[str] = "incident.reopened"
    alerts: tuple[Alert, ...]
    episode: int

    def sentence(self) -> str:
        """Say that it is back."""
        return f"It is back, episode {self.episode}. {_about(self.alerts)}."


class AlertsJoined(Entry):
    """More alerts of the same model joined the incident; one entry a message."""

    type: ClassVar[str] = "alerts.joined"
    commutes: ClassVar[bool] = True
    alerts: tuple[Alert, ...]
    repeats: int = 0

    def sentence(self) -> str:
        """Say what joined."""
        return f"{_about(self.alerts)} joined."


class AlertsResolved(Entry):
    """The sender says these alerts ended. That is not recovery."""

    type: ClassVar[str] = "alerts.resolved"
    commutes: ClassVar[bool] = True
    alerts: tuple[Alert, ...]

    def sentence(self) -> str:
        """Say who resolved what."""
        return f"{sender_of(self.alerts[0])} resolved {len(self.alerts)} alert{'s' * (len(self.alerts) > 1)}."


class AlertsUpdated(Entry):
    """A sender told something about its alerts that is neither a beginning nor an end: who acknowledged, what was noted."""

    type: ClassVar[str] = "alerts.updated"
    commutes: ClassVar[bool] = True
    alerts: tuple[Alert, ...]

    def sentence(self) -> str:
        """Say what the sender told."""
        return " ".join(dict.fromkeys(_update(alert) for alert in self.alerts))


class NoteAdded(Entry):
    """A person added a note."""

    type: ClassVar[str] = "note.added"
    commutes: ClassVar[bool] = True
    person: str
    text_ref: str

    def sentence(self) -> str:
        """Say whose note it is."""
        return f"{words.person(self.person)} added a note."


class IncidentStuck(Entry):
    """Lastgood cannot go on alone and says why and what would help."""

    type: ClassVar[str] = "incident.stuck"
    reason: str
    by_hand: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Give the reason."""
        return self.reason


class IncidentTaken(Entry):
    """A person said that they have it."""

    type: ClassVar[str] = "incident.taken"
    commutes: ClassVar[bool] = True
    person: str

    def sentence(self) -> str:
        """Say who."""
        return f"{words.person(self.person)} has it."


class IncidentEscalated(Entry):
    """Nobody acted in time; the owner is told again."""

    type: ClassVar[str] = "incident.escalated"
    commutes: ClassVar[bool] = True
    reason: str

    def sentence(self) -> str:
        """Give the reason."""
        return self.reason


class IncidentClosed(Entry):
    """The incident ended, and how."""

    type: ClassVar[str] = "incident.closed"
    outcome: Literal[
        "recovered", "unproven", "recovered_by_itself", "marked_recovered", "gave_up", "dismissed", "noted"
    ]
    reason: str
    person: str | None = None
    text_ref: str | None = None

    def sentence(self) -> str:
        """Give the reason."""
        return self.reason


class PostmortemDrafted(Entry):
    """The postmortem can be rendered from this timeline."""

    type: ClassVar[str] = "postmortem.drafted"
    commutes: ClassVar[bool] = True
    template: str

    def sentence(self) -> str:
        """Say where it comes from."""
        return "Postmortem drafted from the timeline."


# ── plan, policy, approvals ───────────────────────────────────────────────────────────────────────────────────────


class PlanMade(Entry):
    """A concrete plan was made, with the reasons for and against each version."""

    type: ClassVar[str] = "plan.made"
    plan: Plan
    candidates: tuple[Candidate, ...] = ()

    def sentence(self) -> str:
        """Name both versions and the steps."""
        steps = len(self.plan.steps)
        return (
            f"Plan {self.plan.short}: {words.change(self.plan.from_version, self.plan.to_version)}, "
            f"{steps} step{'s' * (steps > 1)}."
        )


class PlanBlocked(Entry):
    """No plan could be made, and what would clear that."""

    type: ClassVar[str] = "plan.blocked"
    reason: str
    mend: str = ""
    candidates: tuple[Candidate, ...] = ()
    bad_version: str | None = None
    serves_nothing: bool = False  # the bad version has no traffic: nothing to roll back

    def sentence(self) -> str:
        """Give the reason, that nothing changed, and the mend."""
        return f"{self.reason} Nothing was changed.{f' {self.mend}' if self.mend else ''}"


class PolicyDecided(Entry):
    """Policy chose a mode, by which rule, for which reason; the trace holds every rule that was looked at."""

    type: ClassVar[str] = "policy.decided"
    plan: str
    mode: Mode
    rule: str
    reason: str
    trace: tuple[Check, ...] = ()
    require: tuple[Place, ...] = ()
    expires_at: AwareDatetime | None = None
    confirm: bool = False
    ask_reason: bool = False
    policy_digest: str
    facts: dict[str, Any] = Field(default_factory=dict)
    due_at: AwareDatetime | None = None  # when a missed auto rule must be looked at again
    tell: Tell = "slack"
    doubt: str = ""  # why it is probably not the model
    step_up: bool = False  # a vote counts after a company sign-in
    ladder: str = ""  # the rule whose rung on the trust ladder decided the mode
    remind_at: AwareDatetime | None = None
    escalate_at: AwareDatetime | None = None
    page_at: AwareDatetime | None = None
    escalate_to: str = ""  # the role of the next people

    def sentence(self) -> str:
        """Give the reason as it stands everywhere."""
        return self.reason


class ApprovalGiven(Entry):
    """A person approved the plan: their id, the place they fill, the card they saw, and every check."""

    type: ClassVar[str] = "approval.given"
    person: str
    role: str
    holds: tuple[str, ...] = ()  # every role that counts for the model the person held then; they fill one place
    plan: str
    card_version: int
    via: str
    text_ref: str | None = None  # what the person says they checked
    checks: tuple[Check, ...] = ()
    request: dict[str, str] = Field(default_factory=dict)

    def sentence(self) -> str:
        """Say who approved, as what."""
        return f"{words.person(self.person)} approved as {self.role}."


class ApprovalRefused(Entry):
    """A press had no effect, and why: the sentence is the one the person was shown."""

    type: ClassVar[str] = "approval.refused"
    commutes: ClassVar[bool] = True
    person: str
    plan: str
    action: str
    reason: str
    text: str
    checks: tuple[Check, ...] = ()
    via: str
    times: int = 1

    def sentence(self) -> str:
        """Say who was refused and quote what they were told."""
        return f"{words.person(self.person)} was refused: {self.text}"


class PlanRejected(Entry):
    """A person rejected the plan; only a new plan clears that."""

    type: ClassVar[str] = "plan.rejected"
    person: str
    plan: str
    text_ref: str
    via: str

    def sentence(self) -> str:
        """Say who rejected it."""
        return f"{words.person(self.person)} rejected plan {self.plan[:8]}. Nothing was changed."


class PlanCleared(Entry):
    """Every place is filled by a different person; the claim must come before `window_ends`."""

    type: ClassVar[str] = "plan.cleared"
    plan: str
    people: tuple[str, ...] = ()
    window_ends: AwareDatetime

    def sentence(self) -> str:
        """Say that the quorum is complete."""
        n = len(self.people)
        return f"Quorum reached: {n} {'person' if n == 1 else 'different people'}."


class PlanUncleared(Entry):
    """A clearance no longer holds; the plan waits again."""

    type: ClassVar[str] = "plan.uncleared"
    plan: str
    reason: str
    drop_votes_of: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Give the reason."""
        return f"{self.reason} Nothing was changed."


class PlanExpired(Entry):
    """Voting ended without a quorum."""

    type: ClassVar[str] = "plan.expired"
    plan: str
    reason: str

    def sentence(self) -> str:
        """Give the reason."""
        return f"{self.reason} Nothing was changed."


class PlanVoided(Entry):
    """The world moved under the plan; its approvals count for nothing."""

    type: ClassVar[str] = "plan.voided"
    plan: str
    reason: str

    def sentence(self) -> str:
        """Give the reason."""
        return f"{self.reason} Plan {self.plan[:8]} is void, its approvals count for nothing."


class PlanRequested(Entry):
    """A person asked for a plan, or for another one, or it has to be made anew; the count of voids starts anew."""

    type: ClassVar[str] = "plan.requested"
    person: str | None = None
    wanted: str | None = None
    requester: str | None = None  # whose wish it stays when somebody else repeats it: they have no vote
    reason: str = ""
    text_ref: str | None = None  # why the person asks

    def sentence(self) -> str:
        """Say who asked, and whose wish it is."""
        goal = f" to {self.wanted}" if self.wanted else ""
        who = words.person(self.person) if self.person else "Lastgood"
        first = (
            f", first asked for by {words.person(self.requester)}" if self.requester not in (None, self.person) else ""
        )
        return f"{who} asked for a plan{goal}{first}.{f' {self.reason}' if self.reason else ''}"


class PlanEdited(Entry):
    """A person changed the plan: a new one with a new hash follows, its editor has no vote, earlier approvals count for nothing."""

    type: ClassVar[str] = "plan.edited"
    person: str
    plan: str  # the plan that was changed
    on_failure: OnFailure
    text_ref: str | None = None
    via: str

    def sentence(self) -> str:
        """Say who changed what."""
        how = self.on_failure.replace("_", " ")
        return f"{words.person(self.person)} edited plan {self.plan[:8]}: on failure {how}. A new plan follows."


class PlanEscalated(Entry):
    """Nobody completed the quorum in time: the next people are told, and at last a page is due."""

    type: ClassVar[str] = "plan.escalated"
    commutes: ClassVar[bool] = True
    plan: str
    role: str = ""  # empty when the page is due
    people: tuple[str, ...] = ()
    policy: str = ""  # the escalation policy that is to be paged
    reason: str

    def sentence(self) -> str:
        """Give the reason."""
        return self.reason


class GlassBroken(Entry):
    """One person acted alone, loudly: a typed reason, a named role, and a review that somebody else must do."""

    type: ClassVar[str] = "glass.broken"
    person: str
    role: str
    plan: str
    card_version: int
    via: str
    text_ref: str
    checks: tuple[Check, ...] = ()
    request: dict[str, str] = Field(default_factory=dict)
    window_ends: AwareDatetime
    review_due: AwareDatetime
    owner: str = ""  # who is mentioned: an owner's member, user group or escalation policy

    def sentence(self) -> str:
        """Say who acted alone, as what, and until when it must be reviewed."""
        due = words.moment(self.review_due)
        return f"{words.person(self.person)} broke the glass as {self.role}. Somebody else reviews it by {due}."


class ReviewDone(Entry):
    """A second person read what was done behind broken glass."""

    type: ClassVar[str] = "review.done"
    commutes: ClassVar[bool] = True
    person: str
    text_ref: str

    def sentence(self) -> str:
        """Say who."""
        return f"{words.person(self.person)} reviewed the break-glass rollback."


class IncidentSnoozed(Entry):
    """A person put the incident off until a time; a worse alert ends that."""

    type: ClassVar[str] = "incident.snoozed"
    person: str
    until: AwareDatetime
    text_ref: str

    def sentence(self) -> str:
        """Say who, until when."""
        return f"{words.person(self.person)} snoozed the incident until {words.moment(self.until)}."


class IncidentHandedOver(Entry):
    """A person gave the incident to another, with what they must know."""

    type: ClassVar[str] = "incident.handed_over"
    commutes: ClassVar[bool] = True
    person: str
    to: str
    text_ref: str

    def sentence(self) -> str:
        """Name both."""
        return f"{words.person(self.person)} handed the incident over to {words.person(self.to)}."


class DecisionDue(Entry):
    """Something the policy looks at changed; it decides again."""

    type: ClassVar[str] = "decision.due"
    reason: str

    def sentence(self) -> str:
        """Give the reason."""
        return self.reason


class Reminded(Entry):
    """The people who can fill an open place were reminded."""

    type: ClassVar[str] = "plan.reminded"
    commutes: ClassVar[bool] = True
    plan: str
    people: tuple[str, ...]

    def sentence(self) -> str:
        """Say who was reminded."""
        return f"Reminded {words.people(self.people)}." if self.people else "Nobody could be reminded by name."


# ── the rollback ──────────────────────────────────────────────────────────────────────────────────────────────────


class RollbackClaimed(Entry):
    """Everything was checked again and the locks were taken; from here on there are effects."""

    type: ClassVar[str] = "rollback.claimed"
    plan: str
    before: dict[str, TargetState]
    goal: dict[str, TrafficSplit]
    locks: tuple[str, ...]
    people: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    executor: str

    def sentence(self) -> str:
        """Say what there was before."""
        before = ", ".join(f"{name} {state.split}" for name, state in sorted(self.before.items()))
        return f"Everything checked again: people, plan, policy, world. Before: {before}."


class RollbackParked(Entry):
    """Another rollback holds the model or something both write to; this one waits for its release."""

    type: ClassVar[str] = "rollback.parked"
    commutes: ClassVar[bool] = True
    holder: str  # the stream of the incident that holds it
    resource: str  # the stream that is held

    def sentence(self) -> str:
        """Name the holder."""
        return f"Waits for the rollback of incident {words.short(self.holder)}, which writes to the same place."


class RollbackReleased(Entry):
    """The claim ended with nothing applied."""

    type: ClassVar[str] = "rollback.released"
    plan: str
    reason: str

    def sentence(self) -> str:
        """Give the reason."""
        return f"{self.reason} Nothing was changed."


class RollbackCancelled(Entry):
    """A person stopped the rollback before its next effect."""

    type: ClassVar[str] = "rollback.cancelled"
    person: str
    text_ref: str

    def sentence(self) -> str:
        """Say who."""
        return f"{words.person(self.person)} cancelled the rollback; what was applied stays."


class RollbackPaused(Entry):
    """A person asked that no further step starts; a pause that is forgotten becomes a person's turn."""

    type: ClassVar[str] = "rollback.paused"
    person: str
    text_ref: str

    def sentence(self) -> str:
        """Say who."""
        return f"{words.person(self.person)} paused the rollback; no further step starts."


class RollbackResumed(Entry):
    """A paused rollback goes on."""

    type: ClassVar[str] = "rollback.resumed"
    person: str

    def sentence(self) -> str:
        """Say who."""
        return f"{words.person(self.person)} let the rollback go on."


class CompensationAsked(Entry):
    """A person asked to put back what was applied, in exact reverse."""

    type: ClassVar[str] = "rollback.compensation_asked"
    person: str
    text_ref: str

    def sentence(self) -> str:
        """Say who."""
        return f"{words.person(self.person)} asked to put back what was applied."


class StepStarted(Entry):
    """About to act: written before every effect, with the reading that effect will be judged against."""

    type: ClassVar[str] = "step.started"
    step: str
    attempt: int
    owner: str
    deadline: AwareDatetime
    goal: TrafficSplit | None = None  # None: the step moves no traffic
    baseline: Reading | None = None
    compensating: bool = False

    def sentence(self) -> str:
        """Say which step towards what."""
        verb = "put back" if self.compensating else "started"
        goal = f": {self.goal}" if self.goal else ""
        return f"Step {self.step} {verb}{goal}{f', attempt {self.attempt}' if self.attempt > 1 else ''}."


class StepApplied(Entry):
    """The control plane took the change and it was read back."""

    type: ClassVar[str] = "step.applied"
    step: str
    attempt: int
    outcome: Outcome
    observed: TrafficSplit | None = None
    receipt: dict[str, str] = Field(default_factory=dict)
    detail: str = ""
    token: str | None = None  # the precondition of the next write to this target: nobody touched it since

    def sentence(self) -> str:
        """Say that it holds."""
        if self.observed is None:
            return f"Step {self.step} done{f': {self.detail}' if self.detail else '.'}"
        done = "was there already" if self.outcome is Outcome.NOOP else "applied and read back"
        return f"Step {self.step} {done}{f': {self.observed}' if self.observed else ''}."


class StepFailed(Entry):
    """The change was refused or is not there."""

    type: ClassVar[str] = "step.failed"
    step: str
    attempt: int
    outcome: Outcome
    detail: str

    def sentence(self) -> str:
        """Say what the system answered."""
        return f"Step {self.step} failed: {self.detail}"


class StepUnknown(Entry):
    """The answer was lost; the target is read before anything else."""

    type: ClassVar[str] = "step.unknown"
    step: str
    attempt: int
    detail: str

    def sentence(self) -> str:
        """Say that nobody knows yet."""
        return f"Step {self.step}: no answer, reading it before anything else. {self.detail}".strip()


class StepRetried(Entry):
    """A person asked to try the step again."""

    type: ClassVar[str] = "step.retried"
    step: str
    person: str

    def sentence(self) -> str:
        """Say who."""
        return f"{words.person(self.person)} asked to try step {self.step} again."


class StepSkipped(Entry):
    """A person decided that the rollback goes on without this step; it is not proven and the verdict says so."""

    type: ClassVar[str] = "step.skipped"
    step: str
    person: str
    text_ref: str

    def sentence(self) -> str:
        """Say who skipped what."""
        return f"{words.person(self.person)} skipped step {self.step}."


class StepByHand(Entry):
    """A person says that they did the step by hand; it is read and proven like any other."""

    type: ClassVar[str] = "step.by_hand"
    step: str
    person: str
    text_ref: str

    def sentence(self) -> str:
        """Say who did what."""
        return f"{words.person(self.person)} did step {self.step} by hand; it is read and proven like any other."


class StepCompensated(Entry):
    """A step was put back to what was there before."""

    type: ClassVar[str] = "step.compensated"
    step: str
    detail: str = ""
    token: str | None = None  # the precondition under which it may be tried again: nobody touched it since

    def sentence(self) -> str:
        """Say that it is back."""
        return f"Step {self.step} put back to what was there before."


class TrafficSampled(Entry):
    """A look that moved the baseline: the bad version still had requests, or the counters restarted."""

    type: ClassVar[str] = "traffic.sampled"
    commutes: ClassVar[bool] = True
    step: str
    verification: Verification

    def sentence(self) -> str:
        """Give the adapter's words."""
        return self.verification.detail


class TrafficVerified(Entry):
    """The second verdict for one step, with its sample."""

    type: ClassVar[str] = "traffic.verified"
    step: str
    verdict: Verdict
    reason: str
    verification: Verification | None = None

    def sentence(self) -> str:
        """Give the reason."""
        return self.reason


class SliSampled(Entry):
    """One round of looks at the SLIs."""

    type: ClassVar[str] = "sli.sampled"
    commutes: ClassVar[bool] = True
    samples: tuple[SliSample, ...]
    settling: bool = False  # after the verdict, while the incident is watched
    before: bool = False  # before anything was moved: what the rollback is graded against

    def sentence(self) -> str:
        """Give each sample's sentence."""
        return " ".join(sample.sentence for sample in self.samples)


class SliJudged(Entry):
    """The third verdict."""

    type: ClassVar[str] = "sli.judged"
    verdict: Verdict
    reason: str

    def sentence(self) -> str:
        """Give the reason."""
        return self.reason


class MarkedRecovered(Entry):
    """A person judged what Lastgood could not."""

    type: ClassVar[str] = "incident.marked_recovered"
    person: str
    text_ref: str

    def sentence(self) -> str:
        """Say whose judgement it is."""
        return f"{words.person(self.person)} marked it recovered."


# ── what stays after a rollback ───────────────────────────────────────────────────────────────────────────────────


class SourceQuiet(Entry):
    """Nothing came from a sender for longer than its heartbeat allows, so alerts may be missing."""

    type: ClassVar[str] = "source.quiet"
    commutes: ClassVar[bool] = True
    source: str
    within: str

    def sentence(self) -> str:
        """Say who fell silent."""
        return f"Nothing came from {self.source} for {self.within}, not even its heartbeat: alerts may be missing."


class SourceHeard(Entry):
    """A sender that was quiet was heard again."""

    type: ClassVar[str] = "source.heard"
    commutes: ClassVar[bool] = True
    source: str

    def sentence(self) -> str:
        """Say who is back."""
        return f"{self.source} is heard again."


class InboxReplayed(Entry):
    """A person had a message that led nowhere read again; `again` is the id under which it is read."""

    type: ClassVar[str] = "inbox.replayed"
    commutes: ClassVar[bool] = True
    inbound: str
    again: str
    source: str
    person: str

    def sentence(self) -> str:
        """Say who wanted it."""
        return f"{words.person(self.person)} had a message of {self.source} read again."


class InboxDismissed(Entry):
    """A person took a message that led nowhere off the list, with those that say the same."""

    type: ClassVar[str] = "inbox.dismissed"
    commutes: ClassVar[bool] = True
    inbound: str
    source: str
    person: str
    text_ref: str

    def sentence(self) -> str:
        """Say who did."""
        return f"{words.person(self.person)} dismissed a message of {self.source}."


class ChangeNoticed(Entry):
    """A sender said that something was done to this model, such as a version shipped or an alias moved."""

    type: ClassVar[str] = "change.noticed"
    commutes: ClassVar[bool] = True
    alert: Alert

    def sentence(self) -> str:
        """Say what was done, in the sender's words."""
        version = f", version {self.alert.version}" if self.alert.version else ""
        by = f", by {words.plain(self.alert.by, 60)}" if self.alert.by else ""
        return f"{sender_of(self.alert)} tells of a change: {words.plain(self.alert.summary) or 'no summary'}{version}{by}."


class LeftoverOpened(Entry):
    """A rollback left something behind that somebody must clear, such as a runtime override or a paused sync."""

    type: ClassVar[str] = "leftover.opened"
    commutes: ClassVar[bool] = True
    incident: str
    name: str  # names it within the incident
    what: str
    by_hand: str = ""
    owner: str = ""  # a user group, a member or an escalation policy

    def sentence(self) -> str:
        """Say what is left."""
        return f"Left behind: {self.what}"


class LeftoverKept(Entry):
    """Something Lastgood would take back itself is still there, and why; it tries again, and its owner may be quicker."""

    type: ClassVar[str] = "leftover.kept"
    commutes: ClassVar[bool] = True
    incident: str
    name: str
    reason: str

    def sentence(self) -> str:
        """Say why it stays."""
        return f"Leftover {self.name} could not be taken back: {self.reason.removesuffix('.')}. It is tried again."


class LeftoverCleared(Entry):
    """Something that was left behind is gone: a person said so, or it was looked at."""

    type: ClassVar[str] = "leftover.cleared"
    commutes: ClassVar[bool] = True
    incident: str
    name: str
    person: str | None = None
    text_ref: str | None = None
    reason: str = ""

    def sentence(self) -> str:
        """Say who cleared it."""
        who = f"{words.person(self.person)} cleared it" if self.person else "It is gone"
        return f"Leftover {self.name}: {who}.{f' {self.reason}' if self.reason else ''}"


class FixRecorded(Entry):
    """A person recorded the fix; until then a recovered incident is mitigated, not fixed."""

    type: ClassVar[str] = "fix.recorded"
    commutes: ClassVar[bool] = True
    person: str
    text_ref: str
    version: str = ""  # the version that holds the fix

    def sentence(self) -> str:
        """Say who recorded it."""
        where = f" in version {self.version}" if self.version else ""
        return f"{words.person(self.person)} recorded the fix{where}."


class FollowUpStarted(Entry):
    """What follows a proven rollback is about to be done; nothing was sent yet."""

    type: ClassVar[str] = "follow_up.started"
    commutes: ClassVar[bool] = True
    incident: str
    name: str
    attempt: int = 1

    def sentence(self) -> str:
        """Say what is tried, and for which time."""
        return f"Follow-up {self.name} begins, attempt {self.attempt}."


class FollowUpEnded(Entry):
    """What became of a follow-up. One that was not done is tried again; all others are final."""

    type: ClassVar[str] = "follow_up.ended"
    commutes: ClassVar[bool] = True
    incident: str
    name: str
    outcome: Literal["done", "not_done", "failed", "unknown", "skipped"]
    attempt: int = 1
    detail: str

    def sentence(self) -> str:
        """Say how it ended, and why."""
        return f"Follow-up {self.name} {self.outcome.replace('_', ' ')}: {self.detail}"


class DeltaMeasured(Entry):
    """What a figure was before and after the rollback, or why nobody knows."""

    type: ClassVar[str] = "delta.measured"
    commutes: ClassVar[bool] = True
    name: str  # a figure of `business`, or cost
    when: Literal["before", "after"]
    value: float | None = None
    reason: str = ""  # why it is not known
    text: str

    def sentence(self) -> str:
        """Give the figure, or that it is unknown and why."""
        return self.text


# ── the model's own stream, locks, the system ─────────────────────────────────────────────────────────────────────


class VersionServed(Entry):
    """A target was seen to serve this split; written when it differs from what was seen before."""

    type: ClassVar[str] = "version.served"
    target: str
    split: TrafficSplit
    by: str = "observed"  # observed | rollback
    incident: str | None = None
    digests: dict[str, str] = Field(default_factory=dict)  # of the versions with traffic, where a registry gives them

    def sentence(self) -> str:
        """Say what serves."""
        return f"{self.target} serves {self.split}."


class EvidenceCaptured(Entry):
    """What was kept beside the timeline when the rollback was claimed: files by their SHA-256, and how far the samples reach."""

    type: ClassVar[str] = "evidence.captured"
    commutes: ClassVar[bool] = True
    plan: str
    files: dict[str, str]
    coverage: tuple[str, ...] = ()
    request: str = ""  # where a sample names its request, as configured then
    until: AwareDatetime

    def sentence(self) -> str:
        """Say what was kept, and of whom there is none."""
        what = words.listed(sorted(self.files)) or "no file"
        return f"Evidence kept: {what}. {' '.join(self.coverage)}".strip()


class EvidenceErased(Entry):
    """Kept files whose time is over: they are deleted as soon as this entry is signed, their SHA-256 stays."""

    type: ClassVar[str] = "evidence.erased"
    commutes: ClassVar[bool] = True
    files: dict[str, str]

    def sentence(self) -> str:
        """Say what is gone."""
        return f"Evidence erased, its time was over: {words.listed(sorted(self.files))}."


class SamplingAsked(Entry):
    """More requests are to be sampled while the incident is open; written before the action that does it is called."""

    type: ClassVar[str] = "sampling.asked"
    commutes: ClassVar[bool] = True
    action: str

    def sentence(self) -> str:
        """Say what is asked."""
        return f"More sampling asked for: {self.action}."


class SamplingTurned(Entry):
    """What became of it: more is sampled, it is as before again, or the reason why not."""

    type: ClassVar[str] = "sampling.turned"
    commutes: ClassVar[bool] = True
    to: Literal["more", "usual"]
    done: bool
    detail: str

    def sentence(self) -> str:
        """Say how it ended."""
        what = "Sampling raised" if self.to == "more" else "Sampling as usual again"
        return f"{what}: {self.detail}." if self.done else f"{what}: no, {self.detail}."


class TicketAsked(Entry):
    """A ticket is to be opened for this incident; written before the action that does it is called."""

    type: ClassVar[str] = "ticket.asked"
    commutes: ClassVar[bool] = True
    action: str
    attempt: int = 1

    def sentence(self) -> str:
        """Say what is asked."""
        return f"A ticket asked for: {self.action}."


class TicketOpened(Entry):
    """What became of it: there is a ticket, or the reason why not."""

    type: ClassVar[str] = "ticket.opened"
    commutes: ClassVar[bool] = True
    done: bool
    detail: str
    attempt: int = 1
    lost: bool = False  # it was asked for and not answered: it is looked up before it is asked for again
    final: bool = False  # nothing more is tried

    def sentence(self) -> str:
        """Say how it ended."""
        return f"Ticket opened: {self.detail}." if self.done else f"Ticket: no, {self.detail}."


class RegistryChanged(Entry):
    """An alias of the registry names another version than it did; `version` is empty when it is gone."""

    type: ClassVar[str] = "registry.changed"
    source: str
    name: str
    alias: str
    version: str
    before: str = ""

    def sentence(self) -> str:
        """Say what it names now."""
        was = f", it was {self.before}" if self.before else ""
        return f"{self.source}: {self.alias} of {self.name} is {self.version or 'gone'} now{was}."


class IncidentLinked(Entry):
    """An incident of this model opened; `version` is what the alert named."""

    type: ClassVar[str] = "incident.linked"
    incident: str
    version: str | None = None

    def sentence(self) -> str:
        """Name it."""
        return f"Incident {words.short(self.incident)} opened."


class IncidentUnlinked(Entry):
    """The model's incident closed."""

    type: ClassVar[str] = "incident.unlinked"
    incident: str
    recovered: bool

    def sentence(self) -> str:
        """Name it."""
        return f"Incident {words.short(self.incident)} closed."


class LockTaken(Entry):
    """A rollback holds this model or resource."""

    type: ClassVar[str] = "lock.taken"
    incident: str
    plan: str
    rule: str = ""  # what follows is empty in locks written before rollbacks were counted
    mode: str = ""  # auto | approve | break_glass
    from_version: str = ""
    to_version: str = ""

    def sentence(self) -> str:
        """Name the holder."""
        return f"Held by the rollback of incident {words.short(self.incident)}."


class LockReleased(Entry):
    """The rollback let go."""

    type: ClassVar[str] = "lock.released"
    incident: str

    def sentence(self) -> str:
        """Say so."""
        return f"Released by incident {words.short(self.incident)}."


class RollbackJudged(Entry):
    """How a rollback of this model ended, for the rules that led to it."""

    type: ClassVar[str] = "rollback.judged"
    incident: str
    rules: tuple[str, ...]
    verdict: Verdict

    def sentence(self) -> str:
        """Say how it ended."""
        ended = {"yes": "helped", "no": "did not help"}.get(self.verdict, "is not proven to have helped")
        return f"The rollback of incident {words.short(self.incident)} {ended}."


class TrustMoved(Entry):
    """A rule of this model went up or down the ladder: notify, approve, auto."""

    type: ClassVar[str] = "trust.moved"
    rule: str
    rung: Rung
    reason: str
    person: str | None = None  # None: Lastgood stepped down by itself
    text_ref: str | None = None

    def sentence(self) -> str:
        """Say which rule stands where now, and why."""
        who = f"{words.person(self.person)} moved it" if self.person else "Lastgood moved it"
        return f"Rule {self.rule} may {self.rung} now. {who}: {self.reason}"


class VersionQuarantined(Entry):
    """A version was rolled back from; nothing goes back to it until a person releases it."""

    type: ClassVar[str] = "version.quarantined"
    version: str
    incident: str
    reason: str

    def sentence(self) -> str:
        """Give the reason."""
        return f"Version {self.version} is quarantined: {self.reason}"


class VersionReleased(Entry):
    """A named person ended a quarantine, with a reason."""

    type: ClassVar[str] = "version.released"
    version: str
    person: str
    text_ref: str
    via: str

    def sentence(self) -> str:
        """Say who released what."""
        return f"{words.person(self.person)} released version {self.version} from quarantine."


class RollbackGraded(Entry):
    """Whether a rollback helped, with an interval where one can be computed; a person may overrule it with a reason."""

    type: ClassVar[str] = "rollback.graded"
    commutes: ClassVar[bool] = True
    incident: str
    grade: Grade
    low: float | None = None  # 95 % interval of the change of the failure rate, after minus before
    high: float | None = None
    reason: str
    person: str | None = None  # who overruled
    text_ref: str | None = None

    def sentence(self) -> str:
        """Give the grade and its reason."""
        who = f"{words.person(self.person)} graded" if self.person else "Graded"
        return f"{who} {self.grade}: {self.reason}"


class ReadinessJudged(Entry):
    """Whether this model could go back right now; written when the answer changes."""

    type: ClassVar[str] = "readiness.judged"
    commutes: ClassVar[bool] = True
    ready: bool | None  # None: nobody could tell
    to_version: str = ""
    checks: tuple[Check, ...] = ()
    reason: str

    def sentence(self) -> str:
        """Give the answer and its reason."""
        return self.reason


class AutopilotSwitched(Entry):
    """A person switched acting alone off or on, for one model or for all."""

    type: ClassVar[str] = "autopilot.switched"
    on: bool
    model: str = ""  # empty: all models
    person: str
    text_ref: str
    via: str

    def sentence(self) -> str:
        """Say who switched what."""
        where = f"for {self.model}" if self.model else "for all models"
        return f"{words.person(self.person)} switched autopilot {'on' if self.on else 'off'} {where}."


class RoleDelegated(Entry):
    """A person lent a role they hold to another until a time; it counts only while the lender still holds it."""

    type: ClassVar[str] = "role.delegated"
    role: str
    person: str  # the lender
    to: str
    until: AwareDatetime
    text_ref: str
    via: str

    def sentence(self) -> str:
        """Say who lent what to whom."""
        until = words.moment(self.until)
        return f"{words.person(self.person)} lent {self.role} to {words.person(self.to)} until {until}."


class RoleReturned(Entry):
    """A lent role ended before its time."""

    type: ClassVar[str] = "role.returned"
    role: str
    person: str
    to: str

    def sentence(self) -> str:
        """Say what ended."""
        return f"{words.person(self.to)} no longer holds {self.role} for {words.person(self.person)}."


class LoginAsked(Entry):
    """A terminal asks to act for a person; somebody verified must confirm its code."""

    type: ClassVar[str] = "login.asked"
    code: str  # SHA-256 of what the terminal shows, hexadecimal
    key: str  # the terminal's public key, hexadecimal
    host: str
    until: AwareDatetime  # when the code ends

    def sentence(self) -> str:
        """Say where from."""
        return f"A terminal on {words.plain(self.host, 60)} asked to sign in."


class LoginGranted(Entry):
    """A verified person let a terminal act for them, for a limited time."""

    type: ClassVar[str] = "login.granted"
    key: str
    person: str
    until: AwareDatetime
    via: str  # slack | signin
    host: str

    def sentence(self) -> str:
        """Say who, where, until when."""
        where = words.plain(self.host, 60)
        return f"{words.person(self.person)} signed in on {where} until {words.moment(self.until)}."


class LoginEnded(Entry):
    """A terminal no longer acts for the person."""

    type: ClassVar[str] = "login.ended"
    key: str
    person: str

    def sentence(self) -> str:
        """Say who."""
        return f"{words.person(self.person)} signed out."


class PolicyReviewDue(Entry):
    """A rollback did not help, so the rules that led to it must be read again."""

    type: ClassVar[str] = "policy.review_due"
    commutes: ClassVar[bool] = True
    incident: str
    rules: tuple[str, ...]
    reason: str

    def sentence(self) -> str:
        """Give the reason."""
        return self.reason


class PolicyLoaded(Entry):
    """Policy, roles, models and runbooks were read, under this digest."""

    type: ClassVar[str] = "policy.loaded"
    digest: str
    generation: int

    def sentence(self) -> str:
        """Give the digest."""
        return f"Configuration {self.digest[:8]} loaded, generation {self.generation}."


class CheckpointSigned(Entry):
    """The heads of every stream that changed since the last checkpoint, signed with Ed25519."""

    type: ClassVar[str] = "checkpoint.signed"
    heads: dict[str, tuple[int, str]]  # stream -> version, digest
    count: int  # entries in the whole timeline, this one left out
    previous: str
    signature: str
    key: str  # the public key, hexadecimal

    def sentence(self) -> str:
        """Say what it covers."""
        return f"Checkpoint over {words.count(self.count)} entries."


ENTRIES: dict[str, type[Entry]] = {
    kind.type: kind
    for kind in (
        IncidentOpened, IncidentReopened, AlertsJoined, AlertsResolved, AlertsUpdated, NoteAdded, IncidentStuck, IncidentTaken,
        IncidentEscalated, IncidentClosed, PostmortemDrafted, PlanMade, PlanBlocked, PolicyDecided, ApprovalGiven,
        ApprovalRefused, PlanRejected, PlanCleared, PlanUncleared, PlanExpired, PlanVoided, PlanRequested, DecisionDue,
        Reminded, RollbackParked, RollbackClaimed, RollbackReleased, RollbackCancelled, StepStarted, StepApplied, StepFailed,
        StepUnknown, StepRetried, StepCompensated, TrafficSampled, TrafficVerified, SliSampled, SliJudged,
        PlanEdited, PlanEscalated, GlassBroken, ReviewDone, IncidentSnoozed, IncidentHandedOver, RollbackJudged, TrustMoved,
        AutopilotSwitched, RoleDelegated, RoleReturned, LoginAsked, LoginGranted, LoginEnded, PolicyReviewDue,
        MarkedRecovered, VersionServed, EvidenceCaptured, EvidenceErased, SamplingAsked, SamplingTurned, TicketAsked, TicketOpened, RegistryChanged, ChangeNoticed, SourceQuiet, SourceHeard, InboxReplayed, InboxDismissed,
        IncidentLinked, IncidentUnlinked, LockTaken, LockReleased, VersionQuarantined,
        PolicyLoaded, CheckpointSigned, RollbackPaused, RollbackResumed, CompensationAsked, StepSkipped, StepByHand,
        VersionReleased, RollbackGraded, ReadinessJudged, LeftoverOpened, LeftoverKept, LeftoverCleared, FixRecorded, DeltaMeasured,
        FollowUpStarted, FollowUpEnded,
    )
}  # fmt: skip

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: dict[tuple[str, int], Upcaster] = {}  # (type, old number) -> body of the next number


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry in its place. `version` counts from 1 in its stream; `epoch` is the version of the last that does not commute."""

    seq: int
    stream: str
    version: int
    epoch: int
    at: datetime
    entry: Entry
    prev: str
    digest: str


def decode(type_: str, number: int, body: dict[str, Any]) -> Entry:
    """Read a stored body, lifting older schema numbers step by step. Raises KeyError for a type this code does not know."""
    while (lift := UPCASTERS.get((type_, number))) is not None:
        body, number = lift(body), number + 1
    return ENTRIES[type_].model_validate(body)
