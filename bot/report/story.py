"""An incident told to people who were not there: how it ended, in which sentences, and what is left to do."""

from __future__ import annotations

from collections.abc import Mapping

from bot.domain import access, words
from bot.domain.alert import Alert
from bot.domain.incident import Incident, Phase
from bot.domain.plan import Plan, PlanStep
from bot.report.impact import first_value

PROMPTS = (
    "What let this version reach traffic, and which check would have caught it?",
    "Could the alert have come earlier?",
    "Who was missing, or asked too late?",
    "Did policy ask the right people, and did it ask them the right thing?",
    "Is the last good version still the one to keep?",
)
ON_FAILURE = {
    "before_traffic": "A step that fails before traffic is on {good} puts the finished steps back. Once traffic is on {good} nothing is undone and a person is asked.",
    "stop": "A step that fails stops the rollback: nothing is undone and a person is asked.",
    "compensate": "A step that fails puts the finished steps back in reverse order, traffic too.",
}
_OPEN = {
    Phase.OPENED: "Planning", Phase.PLANNED: "Planning", Phase.WAITING: "Waiting", Phase.CLEARED: "Starting",
    Phase.ROLLING: "Rolling back", Phase.APPLIED: "Verifying", Phase.MOVED: "Verifying", Phase.RECOVERED: "Recovered",
    Phase.NOTED: "For your information",
}  # fmt: skip
_CLOSED = {
    "recovered": ("Recovered", "yes"),
    "unproven": ("Well, traffic unproven", "odd"),
    "recovered_by_itself": ("Recovered by itself", "wait"),
    "marked_recovered": ("Marked recovered by a person", "odd"),
    "gave_up": ("Given up", "no"),
    "dismissed": ("Dismissed", "wait"),
    "noted": ("For your information", "wait"),
}


def state(incident: Incident) -> tuple[str, str]:
    """Give the state word and its mark: yes, no, odd (nobody can tell) or wait."""
    if incident.closed is not None:
        return _CLOSED[incident.closed.outcome]
    if incident.phase is not Phase.STUCK:
        return _OPEN[incident.phase], "yes" if incident.phase is Phase.RECOVERED else "wait"
    answers = incident.verdicts
    if incident.rejected_by or incident.blocked is not None:
        return "Rejected" if incident.rejected_by else "Blocked", "no"
    if incident.claim is None:
        return "Expired", "no"
    if "cannot_tell" in answers.values():
        return "Cannot tell", "odd"
    return "Not recovered" if answers["recovered"] == "no" else "Stuck", "no"


def told(step: PlanStep, plan: Plan) -> str:
    """Say what a step does."""
    once = ", cannot be put back" if step.irreversible else ", until the incident is closed" if step.until else ""
    if step.kind == "target":
        part = f", {step.share}{words.NBSP}% of it" if step.share < 100 else ""
        return f"{step.target} {words.change(plan.from_version, plan.to_version)}{part}"
    if step.kind == "check":
        return f"check {plan.to_version} alone" if step.target == "*" else f"check {step.target.replace('_', ' ')}"
    return f"{'warm up' if step.kind == 'warm' else 'tell'} {step.target}{once}"


def outcome(incident: Incident) -> str:
    """Say how it ended, or where it stands: the state word first, then the model and its version."""
    plan, model = incident.plan, words.plain(incident.model, 60)
    word = state(incident)[0]
    if plan is None:
        return f"{word}: {model}, no version was changed"
    if incident.moved_at is not None:
        return f"{word}: {model} is on {plan.to_version}"
    if incident.claim is None:
        return f"{word}: {model} stays on {plan.from_version}"
    return f"{word}: {model} {words.change(plan.from_version, plan.to_version)}, traffic not proven to have moved"


def summary(incident: Incident, alert: Alert | None, times: Mapping[str, str]) -> list[str]:
    """Tell the incident in plain sentences, `alert` the one that began it: what was wrong, what was proposed, who decided, what happened, how long it took."""
    moved, well = times["Alert to traffic moved"], times["Alert to recovered"]
    people, machine = times["People's time"], times["Lastgood's time"]
    return [
        *_wrong(incident, alert),
        *_proposed(incident),
        *_decided(incident),
        *_happened(incident),
        f"Alert to traffic moved: {moved}. Alert to recovered: {well}.",
        f"People had the turn for {people}, Lastgood for {machine}.",
    ]


def _wrong(incident: Incident, alert: Alert | None) -> list[str]:
    lines = [f"{words.person(incident.requester)} asked for this rollback."] if incident.requester else []
    if alert is None:
        return lines
    about = f" on version {words.plain(alert.version, 60)}" if alert.version else ""
    subject = alert.summary or alert.labels.get("alertname") or alert.fingerprint
    return [
        *lines,
        f'{words.plain(alert.source, 60).capitalize()} says: "{words.plain(subject)}"',
        f"The alert began {words.stamp(alert.starts_at)}{about}: {first_value(alert)}.",
    ]


def _proposed(incident: Incident) -> list[str]:
    if incident.plan is None:
        return [incident.blocked.sentence()] if incident.blocked else []
    plan = incident.plan
    seen = "" if plan.observed_serving else f" {plan.to_version} was configured and never observed serving."
    return [f"Proposed: {words.change(plan.from_version, plan.to_version)}, plan {plan.short}.{seen}"]


def _decided(incident: Incident) -> list[str]:
    decision = incident.decision
    if decision is None:
        return []
    if decision.mode != "approve":
        return [f"Policy decided alone. {decision.reason}"]
    need = sum(place.count for place in decision.require)
    who = words.listed(f"{words.person(vote.person)} ({vote.role})" for vote in incident.votes)
    missing = words.listed(access.open_places(decision.require, incident.votes))
    given = f"{who} approved, {len(incident.votes)} of {need}." if who else f"Nobody approved, 0 of {need}."
    return [f"{given} Missing: {missing}." if missing else given]


def _happened(incident: Incident) -> list[str]:
    said = [
        incident.moved.reason if incident.moved else "",
        incident.judged.reason if incident.judged else "",
        incident.stuck_reason,
        incident.closed.reason if incident.closed else "",
    ]
    lines = [
        line for line in dict.fromkeys(said) if line and (incident.blocked is None or line != incident.stuck_reason)
    ]
    quiet = incident.claim is None and not any("Nothing was changed." in line for line in lines)
    return [*lines, "Nothing was changed."] if quiet and incident.blocked is None else lines


def actions(incident: Incident) -> list[str]:
    """Give what is left to do, each line one act."""
    plan = incident.plan
    if plan is None:
        mend = incident.blocked.mend if incident.blocked else ""
        return [mend or "Decide what would make a rollback possible here.", "Answer the questions above."]
    mends = [
        one.mend for one in (*plan.findings, *(f for t in plan.targets for f in t.findings)) if one.level == "warning"
    ]
    return [*_causes(incident, plan), *dict.fromkeys(mend for mend in mends if mend), "Answer the questions above."]


def _causes(incident: Incident, plan: Plan) -> list[str]:
    bad, good = plan.from_version, plan.to_version
    if incident.claim is None:
        if incident.rejected_by:
            return [
                f"Decide which version serves: {words.person(incident.rejected_by)} rejected {words.change(bad, good)}."
            ]
        return [f"Find out why the alert came while {bad} served, and why nothing was rolled back."]
    lines = [
        f"Find out why step {one.name} failed: {one.detail}" for one in incident.steps.values() if one.state == "failed"
    ]
    answers = incident.verdicts
    if answers["traffic_moved"] == "cannot_tell":
        lines.append(f"Make the traffic of {bad} countable, so that the second verdict can be told.")
    if answers["recovered"] == "cannot_tell":
        lines.append("Give the SLI enough requests, or choose another, so that the third verdict can be told.")
    if answers["recovered"] == "no":
        return [*lines, f"Find the cause: the service was not well on {good} either."]
    return [*lines, f"Find out why version {bad} failed.", f"Release or retire version {bad}."]
