"""An incident as plain data, for JSON, pages and templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bot.domain import entries as e
from bot.domain import words
from bot.domain.incident import Incident
from bot.report.standing import after

Names = Callable[[str], str]


def listed(incident: Incident) -> dict[str, Any]:
    """Give one item of `incident list --json`."""
    plan = incident.plan
    return {
        "id": incident.id,
        "model": incident.model,
        "environment": incident.environment,
        "phase": incident.phase.value,
        "from": plan.from_version if plan else None,
        "to": plan.to_version if plan else None,
        "opened_at": incident.opened_at.isoformat(),
    }


def shown(incident: Incident) -> dict[str, Any]:
    """Give what `incident show --json` promises."""
    plan, decision = incident.plan, incident.decision
    steps = [
        {
            "name": s.name,
            "target": s.target,
            "after": list(s.after),
            "kind": s.kind,
            "share": s.share,
            "state": incident.steps[s.name].state if s.name in incident.steps else "planned",
        }
        for s in (plan.steps if plan else ())
    ]
    expires = decision.expires_at.isoformat() if decision and decision.expires_at else None
    return {
        **listed(incident),
        "plan": {"id": plan.id, "expires_at": expires, "steps": steps} if plan else None,
        "approvals": [
            {"person": v.person, "role": v.role, "at": v.at.isoformat(), "card_version": v.card_version}
            for v in incident.votes
        ],
        "verdicts": incident.verdicts,
        "next": next_sentence(incident),
        **after(incident),
    }


def explained(incident: Incident) -> dict[str, Any]:
    """Give what `incident explain --json` promises: why it did or did not act."""
    decision = incident.decision
    if decision is None:
        reason = incident.stuck_reason or "Policy was not asked yet."
        return {"id": incident.id, "mode": None, "rule": None, "reason": reason, "trace": []}
    trace = [{"ok": c.ok, "name": c.name, "detail": c.detail} for c in decision.trace]
    return {"id": incident.id, "mode": decision.mode, "rule": decision.rule, "reason": decision.reason, "trace": trace}


def next_sentence(incident: Incident) -> str:
    """Say what comes next and by when."""
    decision, plan = incident.decision, incident.plan
    match incident.phase.value:
        case "opened":
            return "A plan is being made."
        case "planned":
            return "Policy decides; a rule that holds is asked again each minute."
        case "waiting":
            until = f" until {words.moment(decision.expires_at)}" if decision and decision.expires_at else ""
            return f"Waits for approval{until}."
        case "cleared" if incident.parked_on:
            return f"Waits until incident {words.short(incident.parked_on)} lets the traffic go."
        case "cleared":
            return "Everything is checked again, then traffic moves."
        case "rolling":
            return "Traffic is being moved."
        case "applied":
            limit = f" within {words.span(plan.verify.traffic.within)}" if plan else ""
            return f"Traffic is being counted; a verdict comes{limit}."
        case "moved":
            return f"The service is being judged: {plan.verify.recovery.samples if plan else 3} good samples in a row are needed."
        case "recovered":
            return (
                f"Watched for {words.span(plan.verify.recovery.watch)}, then closed."
                if plan
                else "Watched, then closed."
            )
        case "stuck":
            who = words.person(incident.taken_by) if incident.taken_by else "A person"
            return f"{who} decides. {incident.stuck_reason}".strip()
        case "noted":
            return "Nothing is moved; it closes by itself after a day."
    return "Nothing; it is closed."


def projected(recorded: Sequence[e.Recorded], row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Give the incident list's row after new entries of one stream: enough to find it, the fold says the rest."""
    first = recorded[0]
    if isinstance(first.entry, e.IncidentOpened):
        row = {
            "id": first.stream, "model": first.entry.model, "environment": first.entry.environment,
            "opened_at": first.at.isoformat(), "open": 1,
        }  # fmt: skip
    if row is None:
        return None
    changes = [one.entry for one in recorded if isinstance(one.entry, e.IncidentClosed | e.IncidentReopened)]
    return {**row, "open": int(isinstance(changes[-1], e.IncidentReopened))} if changes else dict(row)


def moments(
    entries: Sequence[e.Recorded], names: Names, when: Callable[[datetime], str] | None = None
) -> list[dict[str, Any]]:
    """Give the timeline as rows for people."""
    return [
        {
            "version": one.version, "at": one.at.isoformat(), "type": one.entry.type, "digest": one.digest[:8],
            "sentence": words.put(one.entry.sentence(), names, when), "kind": kind(one.entry),
        }
        for one in entries
    ]  # fmt: skip


def kind(entry: e.Entry) -> str:
    """Sort an entry for colour and filter: good, bad, odd (nobody can tell), person or note."""
    if isinstance(entry, e.TrafficVerified | e.SliJudged):
        return {"yes": "good", "no": "bad", "cannot_tell": "odd", "not_yet": "note"}[entry.verdict]
    if isinstance(entry, e.StepApplied):
        return "good"
    if isinstance(entry, e.StepUnknown):
        return "odd"
    if isinstance(entry, e.IncidentOpened | e.IncidentReopened | e.AlertsJoined | e.StepFailed):
        return "bad"
    return "person" if getattr(entry, "person", None) else "note"
