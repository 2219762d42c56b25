"""What the demo prints: one line for each moment of the story that a person in a terminal wants to see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from bot.domain import entries as e
from bot.domain import words
from bot.domain.alert import Alert
from bot.domain.incident import Incident
from bot.domain.recovery import called, shown

Names = Callable[[str], str]
Could = Mapping[str, Sequence[str]]
_VERDICTS = {"yes": "", "no": "not ", "cannot_tell": "cannot tell: ", "not_yet": "not yet: "}
_TOLD: dict[type[e.Entry], str] = {
    e.IncidentReopened: "again",
    e.PlanRejected: "rejected",
    e.PlanExpired: "expired",
    e.PlanVoided: "void",
    e.PlanUncleared: "waiting",
    e.PlanBlocked: "blocked",
    e.RollbackCancelled: "cancelled",
    e.StepFailed: "failed",
    e.StepUnknown: "no answer",
    e.IncidentStuck: "stuck",
    e.IncidentTaken: "taken",
    e.MarkedRecovered: "marked",
    e.PlanEdited: "edited",
    e.GlassBroken: "alone",
    e.ReviewDone: "reviewed",
    e.IncidentSnoozed: "put off",
    e.IncidentHandedOver: "handed over",
}


def line(incident: Incident, one: e.Recorded, name: Names, could: Could) -> str:
    """Give the line for an entry, empty for one that is not told; `incident` is the fold up to and with it."""
    word, text = _told(incident, one.entry, name, could)
    return told(one.at, word, words.put(text, name, _clock)) if text else ""


def told(at: datetime, word: str, text: str) -> str:
    """Lay out one line: local time, one word, what happened."""
    return f"{at.astimezone():%H:%M:%S}  {word:<12} {text}"


def _clock(at: datetime) -> str:
    return f"{at.astimezone():%H:%M}"


def _told(incident: Incident, entry: e.Entry, name: Names, could: Could) -> tuple[str, str]:
    match entry:
        case e.IncidentOpened():
            return ("asked", entry.sentence()) if entry.requester else ("alert", _alert(entry))
        case e.PolicyDecided():
            return (
                ("waiting", f"{_waiting(incident, name, could)}{_switched_off(entry)}")
                if entry.mode == "approve"
                else (entry.mode, entry.reason)
            )
        case e.ApprovalGiven():
            return "approved", f"{words.person(entry.person)}, {len(incident.votes)} of {_need(incident)}"
        case e.ApprovalRefused():
            return "refused", f"{words.person(entry.person)}: {entry.text}"
        case e.TrafficVerified():
            return _verdict("moved", entry.verdict, entry.reason)
        case e.SliJudged():
            return _verdict("recovered", entry.verdict, entry.reason)
        case e.IncidentClosed() if entry.outcome != "recovered":
            return "closed", entry.reason
    return _TOLD.get(type(entry), ""), entry.sentence() if type(entry) in _TOLD else ""


def _verdict(word: str, verdict: e.Verdict, reason: str) -> tuple[str, str]:
    text = reason.removeprefix("Traffic moved: ").removeprefix("Recovered: ").removeprefix("Not recovered: ")
    return (f"{_VERDICTS[verdict]}{word}" if verdict != "cannot_tell" else "cannot tell"), text


def _alert(entry: e.IncidentOpened) -> str:
    subject = f"{entry.model} {entry.alerts[0].version or ''}".strip()
    return f"{subject}: {number(entry.alerts[0])}"


def number(alert: Alert) -> str:
    """Give an alert's value beside its objective, or its summary when it brought no number."""
    name = alert.sli or ""
    if alert.value is None:
        return words.plain(alert.summary or alert.fingerprint)
    limit = f", objective ≤ {shown(name, alert.threshold)}" if alert.threshold is not None else ""
    return f"{called(name)} {shown(name, alert.value)}{limit}"


def _need(incident: Incident) -> int:
    return sum(place.count for place in incident.decision.require) if incident.decision else 0


def _switched_off(entry: e.PolicyDecided) -> str:
    """Say that what would have acted alone asks people because somebody switched autopilot off."""
    off = next((one.detail for one in entry.trace if one.name == "autopilot" and one.ok is False), "")
    return f". {off}" if off else ""


def _waiting(incident: Incident, name: Names, could: Could) -> str:
    people = [f"{role} ({words.listed([name(one) for one in could[role]], 'or') or 'nobody'})" for role in could]
    return f"{len(incident.votes)} of {_need(incident)}: {', '.join(people)}"
