"""The postmortem: a fold of the timeline put through a sandboxed template, in Markdown and in HTML."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from bot.domain import entries as e
from bot.domain import words
from bot.domain.incident import Incident, fold
from bot.domain.plan import Plan
from bot.errors import TemplateBroken
from bot.ports import Document
from bot.report.affected import affected
from bot.report.facts import kind
from bot.report.impact import first_alert, impact
from bot.report.measures import Stretch, episode, episodes, measures, stretches
from bot.report.standing import standing
from bot.report.story import ON_FAILURE, PROMPTS, actions, outcome, state, summary, told
from bot.report.templates import Templates
from bot.report.trace import Act, Attempt, attempts

SHIPPED, SHIPPED_PAGE = "postmortem.md.j2", "postmortem.html.j2"
_ANSWERS = {"yes": "yes", "no": "no", "not_yet": "not yet", "cannot_tell": "cannot tell"}
_MARKS = {"yes": "yes", "no": "no", "not_yet": "wait", "cannot_tell": "odd"}
_CHECKS = {True: "yes", False: "no", None: "odd"}
_SIGNS = {True: "✓", False: "✗", None: "?"}
_SPENT = {
    "opened": "Plan", "planned": "Decide", "waiting": "Wait for approval", "cleared": "Check again",
    "rolling": "Move traffic", "applied": "Count traffic", "moved": "Judge the service", "recovered": "Watch",
    "noted": "For your information", "stuck": "Wait for a person",
}  # fmt: skip
_SAID_LIMIT = 1000

Name = Callable[[str], str]
Put = Callable[[str], str]


class Postmortems:
    """Writes postmortems. Templates are looked up beside the runbooks first, then among the shipped ones."""

    def __init__(self, folder: Path, name: Name, said: Callable[[Sequence[str]], Awaitable[dict[str, str]]]) -> None:
        """Use `folder`/templates; `name` turns a person's id into words, `said` gives erasable texts back."""
        self._name, self._said = name, said
        self._templates, self._shipped = Templates(folder / "templates"), Templates()

    async def postmortem(self, incident: Incident, entries: Sequence[e.Recorded], template: str) -> Document:
        """Write both forms, off the event loop.

        The HTML form of `NAME.md.j2` is `NAME.html.j2`, else the shipped page. A template that is missing or broken
        never stops anything: the shipped one is used and its first lines say what is wrong, and where.
        """
        refs = [ref for one in entries if (ref := getattr(one.entry, "text_ref", None))]
        said = await self._said(list(dict.fromkeys(refs)))
        return await asyncio.to_thread(self._write, incident, entries, template, said)

    def _write(
        self, incident: Incident, entries: Sequence[e.Recorded], template: str, said: Mapping[str, str]
    ) -> Document:
        content = facts(incident, entries, self._name, said)
        markdown, content["notice"] = self._filled(template, SHIPPED, content)
        html, _ = self._filled(self._templates.twin(template), SHIPPED_PAGE, content)
        return Document(f"postmortem-{incident.short}", markdown, html)

    def _filled(self, name: str, shipped: str, content: Mapping[str, Any]) -> tuple[str, str]:
        """Fill a template; when it cannot be used, fill the shipped one with a notice that says why."""
        try:
            return self._templates.render(name, content), content["notice"]
        except TemplateBroken as error:
            notice = words.clean(f"{content['notice']} The template {name} was not used. {error}")
            return self._shipped.render(shipped, {**content, "notice": notice}), notice


def facts(incident: Incident, entries: Sequence[e.Recorded], name: Name, said: Mapping[str, str]) -> dict[str, Any]:
    """Give everything a template may use: text, numbers, lists and mappings, every text one clean line."""

    def when(at: datetime) -> str:
        return f"{at:%H:%M:%S} UTC" if at.date() == incident.opened_at.date() else words.stamp(at)

    def put(text: str) -> str:
        return words.put(text, name, when)

    plan, rows = incident.plan, measures(incident, entries)
    alert = first_alert(incident, episode(entries))
    word, mark = state(incident)
    content = {
        "id": incident.id, "short": incident.short, "model": incident.model, "environment": incident.environment,
        "tier": incident.tier, "state": word, "mark": mark, "outcome": put(outcome(incident)),
        "change": words.change(plan.from_version, plan.to_version) if plan else "",
        "opened_at": words.stamp(incident.opened_at), "last_at": words.stamp(entries[-1].at),
        "closed_at": words.stamp(incident.closed_at) if incident.closed_at else "",
        "severity": incident.severity.value, "runbook": plan.runbook if plan else "",
        "summary": [
            put(text)
            for text in (*summary(incident, alert, {row.name: row.value for row in rows}), *standing(incident))
        ],
        "impact": [asdict(one) for one in impact(incident, entries)],
        "spent": _spent(stretches(entries)), "episodes": [_episode(one, put) for one in _episodes(entries)],
        "verdicts": [{**row, "evidence": put(row["evidence"])} for row in verdicts(incident)],
        "samples": [_sample(at, one) for at, taken in incident.samples for one in taken.samples],
        "timeline": _timeline(entries, put, said), "attempts": [_attempt(one, put) for one in attempts(entries)],
        "plan": _plan(plan, incident, put) if plan else None,
        "candidates": [one.model_dump() for one in incident.candidates], "by_hand": list(incident.by_hand),
        "measures": [asdict(row) for row in rows], "prompts": list(PROMPTS),
        "actions": [put(text) for text in actions(incident)],
        "affected": _affected(incident, entries, put),
        "entries": len(entries), "digest": entries[-1].digest, "notice": "",
    }  # fmt: skip
    cleaned: dict[str, Any] = _clean(content)
    return cleaned


def _affected(incident: Incident, entries: Sequence[e.Recorded], put: Put) -> dict[str, list[str]]:
    """Give since when a bad version answered, how much, and what is to be repaired; nothing where nobody proposed a change."""
    if incident.plan is None:
        return {"lines": [], "repair": []}
    told = affected(incident, entries, {})
    return {
        "lines": [put(line) for line in told["lines"][1 : told["lines"].index("To repair:")]],
        "repair": [put(one) for one in told["repair"]],
    }


def _clean(value: Any) -> Any:
    """Make every text one line of visible characters."""
    if isinstance(value, str):
        return words.clean(value)
    if isinstance(value, Mapping):
        return {key: _clean(one) for key, one in value.items()}
    return [_clean(one) for one in value] if isinstance(value, list) else value


def verdicts(incident: Incident) -> list[dict[str, str]]:
    """Give the three verdicts with their evidence."""
    answers = incident.verdicts
    steps = [f"{step.name}: {step.detail}" for step in incident.steps.values() if step.detail]
    evidence = {
        "accepted": " ".join(steps) or "No step was sent.",
        "traffic_moved": incident.moved.reason if incident.moved else "Traffic was not judged.",
        "recovered": incident.judged.reason if incident.judged else "Recovery was not judged.",
    }
    if answers["recovered"] == "yes" and incident.stuck_reason:
        evidence["recovered"] = f"{evidence['recovered']} Then: {incident.stuck_reason}"
    names = {"accepted": "Accepted", "traffic_moved": "Traffic moved", "recovered": "Recovered"}
    return [
        {"name": names[key], "answer": _ANSWERS[answer], "mark": _MARKS[answer], "evidence": evidence[key]}
        for key, answer in answers.items()
    ]


# ── the timeline ──────────────────────────────────────────────────────────────────────────────────────────────────


def _timeline(entries: Sequence[e.Recorded], put: Put, said: Mapping[str, str]) -> list[dict[str, Any]]:
    """Give every entry; neighbours that say the same stand on one line with how often and until when."""
    rows = [(_row(one, put, said), one) for one in entries]
    found, day = list[dict[str, Any]](), ""
    for _, alike in groupby(rows, key=lambda pair: tuple(pair[0].values())):
        group = list(alike)
        (row, first), (_, last) = group[0], group[-1]
        times = sum(getattr(one.entry, "times", 1) for _, one in group)
        number = f"{first.version}–{last.version}" if len(group) > 1 else f"{first.version}"
        since, until = _clock(first.at), _clock(last.at) if len(group) > 1 else ""
        fresh = words.stamp(first.at).partition(" ")[0]
        at = {"at": first.at.isoformat(), "time": since, "until": until, "times": times, "date": fresh}
        found.append({**row, **at, "day": fresh if fresh != day else "", "version": number, "digest": last.digest[:8]})
        day = fresh
    return found


def _clock(at: datetime) -> str:
    return words.stamp(at).split(" ")[1]


def _row(one: e.Recorded, put: Put, said: Mapping[str, str]) -> dict[str, Any]:
    ref = getattr(one.entry, "text_ref", None)
    return {
        "who": put(_actor(one.entry)), "sentence": put(one.entry.sentence()), "type": one.entry.type, "kind": kind(one.entry),
        "said": words.plain(said.get(ref, ""), _SAID_LIMIT) if ref else "", "erased": bool(ref) and ref not in said,
    }  # fmt: skip


def _actor(entry: e.Entry) -> str:
    """Say whose act an entry is: a person's, an alert source's, policy's or Lastgood's."""
    if person := getattr(entry, "person", None) or getattr(entry, "requester", None):
        return words.person(person)
    if isinstance(entry, e.PolicyDecided):
        return "Policy"
    alerts = getattr(entry, "alerts", ())
    return words.plain(alerts[0].source, 60).capitalize() if alerts else "Lastgood"


# ── plan and decision ─────────────────────────────────────────────────────────────────────────────────────────────


def _plan(plan: Plan, incident: Incident, put: Put) -> dict[str, Any]:
    steps = []
    for step in plan.steps:
        seen = incident.steps.get(step.name)
        moves = plan.target(step.target) if step.kind == "target" else None
        calls = moves.calls if moves and step.whole else (step.call,) if step.call else ()
        steps.append(
            {
                "name": step.name, "target": step.target, "adapter": moves.adapter if moves else step.kind,
                "after": list(step.after), "before": str(plan.split_before(step)) if moves else "",
                "goal": str(plan.goal(step)) if moves else told(step, plan), "state": seen.state if seen else "planned",
                "attempt": seen.attempt if seen else 0, "calls": [call.text for call in calls],
            }
        )  # fmt: skip
    found = [*plan.findings, *(one for target in plan.targets for one in target.findings)]
    return {
        "id": plan.id, "short": plan.short, "from": plan.from_version, "to": plan.to_version, "steps": steps,
        "runbook": plan.runbook, "on_failure": ON_FAILURE[plan.on_failure].format(good=plan.to_version),
        "findings": [
            {"level": one.level, "message": put(one.message), "mend": put(one.mend)} for one in dict.fromkeys(found)
        ],
    }  # fmt: skip


def _attempt(one: Attempt, put: Put) -> dict[str, Any]:
    decisions = [(row.at, row.entry) for row in one.decisions if isinstance(row.entry, e.PolicyDecided)]
    return {
        "plan": one.plan.short if one.plan else "", "time": words.stamp(one.at), "fate": put(one.fate),
        "change": words.change(one.plan.from_version, one.plan.to_version) if one.plan else "",
        "decisions": [
            {
                "time": words.stamp(at), "mode": entry.mode, "rule": entry.rule, "reason": put(entry.reason),
                "digest": entry.policy_digest[:8], "checks": _checks(entry.trace, put),
            }
            for at, entry in decisions
        ],
        "approvals": [_act(act, put) for act in one.approvals],
        "refusals": [_act(act, put) for act in one.refusals.values()], "claim": _checks(one.claim, put),
    }  # fmt: skip


def _act(act: Act, put: Put) -> dict[str, Any]:
    return {
        "who": put(words.person(act.person)), "time": words.stamp(act.at), "text": put(act.text), "times": act.times,
        "checks": _checks(act.checks, put), "passed": sum(check.ok is True for check in act.checks),
    }  # fmt: skip


def _checks(checks: Sequence[e.Check], put: Put) -> list[dict[str, str]]:
    return [
        {"sign": _SIGNS[one.ok], "mark": _CHECKS[one.ok], "name": put(one.name), "detail": put(one.detail)}
        for one in checks
    ]


# ── time, episodes, samples ───────────────────────────────────────────────────────────────────────────────────────


def _spent(parts: Sequence[Stretch]) -> list[dict[str, Any]]:
    """Give where the time went, in order; `x` and `width` are on a scale of 1,000 on which nothing vanishes."""
    whole = sum((part.length for part in parts), timedelta(0)) or timedelta(seconds=1)
    widths = [max(4.0, 1000 * (part.length / whole)) for part in parts]
    scale, x, found = 1000 / (sum(widths) or 1), 0.0, []
    for part, width in zip(parts, widths, strict=True):
        name, length = _SPENT[part.phase.value], words.span(part.length)
        found.append(
            {"name": name, "whose": part.whose, "length": length, "x": round(x, 1), "width": round(width * scale, 1)}
        )
        x += width * scale
    return found


def _episodes(entries: Sequence[e.Recorded]) -> list[Incident]:
    """Give the incident as it stood at the end of each episode, when there was more than one."""
    parts, found = episodes(entries), list[Incident]()
    for part in parts if len(parts) > 1 else []:
        found.append(fold(part, found[-1] if found else None))
    return found


def _episode(incident: Incident, put: Put) -> dict[str, Any]:
    told, reason = put(outcome(incident)), put(incident.closed.reason if incident.closed else incident.stuck_reason)
    reason = reason.removeprefix(f"{told}.")
    return {"number": incident.episode, "outcome": told, "mark": state(incident)[1], "reason": reason}


def _sample(at: datetime, one: Any) -> dict[str, str]:
    mark = {"good": "yes", "breached": "no", "unknown": "odd"}[one.verdict]
    return {"time": words.stamp(at), "verdict": one.verdict, "mark": mark, "sentence": one.sentence}
