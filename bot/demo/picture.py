"""What the page says of an incident: four answers, three verdicts, the plan, the marks. A fold put into words; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from bot.domain import access, words
from bot.domain import entries as e
from bot.domain.incident import Incident, Phase
from bot.domain.recovery import shown
from bot.report.postmortem import verdicts

Names = Callable[[str], str]
Could = Mapping[str, Sequence[str]]
Piece = tuple[str, str]  # text and tone: bad, good, odd or none; `{ratio}` stands for the live number
Answer = tuple[list[Piece], str]  # the answer and the smaller line under it
RATIO: Piece = ("{ratio}", "")
_WELL = frozenset({"recovered", "recovered_by_itself", "marked_recovered"})
_WORDS = {
    Phase.OPENED: "Planning", Phase.PLANNED: "Planning", Phase.CLEARED: "Starting", Phase.ROLLING: "Rolling back",
    Phase.APPLIED: "Verifying", Phase.MOVED: "Verifying", Phase.RECOVERED: "Recovered", Phase.NOTED: "For your information",
}  # fmt: skip
_STEP = {
    "planned": ("not_yet", "planned"), "started": ("checking", "working…"), "again": ("checking", "trying again"),
    "applied": ("yes", "applied"), "moved": ("yes", "applied"), "failed": ("no", "failed"),
    "unknown": ("cannot_tell", "no answer yet"), "back": ("not_yet", "put back"),
    "skipped": ("cannot_tell", "skipped"),
}  # fmt: skip
_ADAPTERS = {"envoy": "Envoy", "symlink": "symlink", "memory": "memory"}


def clock(at: datetime) -> str:
    """Write a time of day as the clock on this machine shows it."""
    return f"{at.astimezone():%H:%M}"


def day(at: datetime) -> str:
    """Write a day and a time of day as the clock on this machine shows them."""
    return f"{at.astimezone():%-d %b %H:%M}"


def near(now: datetime) -> Callable[[datetime], str]:
    """Give how a time is written at `now`: the day stands before what is of another one."""
    return lambda at: clock(at) if at.astimezone().date() == now.astimezone().date() else day(at)


def well(incident: Incident) -> bool:
    """Say whether the service is proven, or was called, well."""
    return incident.phase is Phase.RECOVERED or (incident.closed is not None and incident.closed.outcome in _WELL)


def word(incident: Incident | None) -> str:
    """Give the state word that begins the title of the browser's tab; broken glass is said until it is reviewed."""
    if incident is None:
        return "Quiet"
    return f"{_word(incident)}, glass broken" if incident.review is not None else _word(incident)


def _word(incident: Incident) -> str:
    if _held(incident):
        return "Waiting"
    if incident.phase is Phase.WAITING:
        return f"Waiting {len(incident.votes)}/{_need(incident)}"
    if incident.phase is Phase.CLOSED:
        return "Recovered" if well(incident) else "Closed"
    return _stuck(incident) if incident.phase is Phase.STUCK else _WORDS[incident.phase]


def _held(incident: Incident) -> bool:
    """Say whether nothing is asked of anybody for now: somebody put the incident off, or a rule holds it."""
    held = incident.decision is not None and incident.decision.mode == "hold"
    return incident.phase is Phase.PLANNED and (held or incident.snoozed_until is not None)


def _stuck(incident: Incident) -> str:
    answers = incident.verdicts
    if incident.rejected_by:
        return "Rejected"
    if incident.claim is None:
        return "Blocked" if incident.blocked else "Expired"
    if "cannot_tell" in answers.values():
        return "Cannot tell"
    return "Not recovered" if answers["recovered"] == "no" else "Stuck"


def _need(incident: Incident) -> int:
    return sum(place.count for place in incident.decision.require) if incident.decision else 0


# ── four questions ────────────────────────────────────────────────────────────────────────────────────────────────


def four(incident: Incident | None, could: Could, name: Names, *, going_out: bool = False) -> list[dict[str, Any]]:
    """Answer what is wrong, what is proposed, who may approve and what happened; one of them is `now`, with its tone."""
    if incident is None:
        answers, at, tone = _quiet(going_out=going_out), 3, ""
    else:
        answers = [_wrong(incident), _proposed(incident), _approvers(incident, could, name), _happened(incident, name)]
        at, tone = _now(incident), _tone(incident)
    return [
        {"answer": pieces, "small": small, "now": n == at, "tone": tone if n == at else ""}
        for n, (pieces, small) in enumerate(answers)
    ]


def _quiet(*, going_out: bool) -> list[Answer]:
    happening = [("Version ", ""), ("42", "bad"), (" is going out", "")] if going_out else [("Nothing yet", "")]
    return [
        ([("No alert. Error ratio ", ""), RATIO], "objective ≤ 1\u00a0%"),
        ([("Nothing yet", "")], "a plan names both versions"),
        ([("Nobody is asked", "")], "policy asks when there is a plan"),
        (happening, "10, 50, then 100\u00a0% of traffic" if going_out else "version 42 goes out in a moment"),
    ]


def _now(incident: Incident) -> int:
    if _held(incident):
        return 3
    if incident.phase in (Phase.OPENED, Phase.PLANNED):
        return 0
    if incident.phase is Phase.WAITING:
        return 2
    proposed = incident.phase is Phase.NOTED or (incident.phase is Phase.STUCK and incident.claim is None)
    return 1 if proposed else 3


def _tone(incident: Incident) -> str:
    if well(incident):
        return "good"
    if incident.phase is Phase.STUCK:
        return {"Cannot tell": "odd", "Not recovered": "bad", "Blocked": "bad"}.get(_stuck(incident), "")
    if _held(incident):
        return ""
    return "bad" if incident.phase in (Phase.OPENED, Phase.PLANNED) else ""


def _wrong(incident: Incident) -> Answer:
    alert = next(iter(incident.alerts.values()), None)
    if alert is None:
        return [("Nothing fires", "")], f"{name_of(incident)} was asked for by hand"
    limit = f"objective ≤ {shown(alert.sli or '', alert.threshold)} · " if alert.threshold is not None else ""
    small = f"{limit}since {clock(alert.starts_at)}"
    answers = incident.verdicts
    if well(incident):
        return [("Nothing now. Error ratio ", ""), RATIO], small
    if answers["recovered"] == "cannot_tell":
        return [("Not known.", "odd"), (" Error ratio ", ""), RATIO], small
    if answers["traffic_moved"] == "yes" and answers["recovered"] == "not_yet":
        return [("Error ratio ", ""), RATIO, (", not proven yet", "")], small
    subject = incident.model if answers["traffic_moved"] == "yes" else f"{incident.model} {alert.version or ''}".strip()
    return [(subject, "bad"), (": ", ""), RATIO, (" errors", "")], small


def name_of(incident: Incident) -> str:
    """Name an incident the way people read it aloud."""
    return f"incident {incident.short}"


def _proposed(incident: Incident) -> Answer:
    plan = incident.plan
    if incident.rejected_by:
        return [("The plan was rejected", "")], "nothing was changed"
    if incident.blocked is not None:
        return [("No version to go back to", "bad")], "nothing was changed"
    if plan is None:
        return [("A plan is being made", "")], "versions are read from Envoy"
    if incident.phase is Phase.NOTED:
        return [("Nothing. This is a notice", "")], "a person may propose a rollback"
    done = [(", done", "")] if incident.verdicts["traffic_moved"] == "yes" else []
    return [(plan.from_version, "bad"), (" → ", ""), (plan.to_version, "good"), *done], _basis(incident)


def _basis(incident: Incident) -> str:
    plan = incident.plan
    if plan is None:
        return ""
    systems = words.listed(list(dict.fromkeys(_ADAPTERS.get(one.adapter, one.adapter) for one in plan.targets)))
    steps = f"{systems} {words.listed([step.target for step in plan.steps if step.whole])}"
    if not plan.observed_serving or plan.good_since is None:
        return f"{steps} · {plan.to_version} was not seen serving"
    lasted = (plan.good_until or incident.planned_at or incident.opened_at) - plan.good_since
    return f"{steps} · {plan.to_version} good for {words.span(max(lasted, timedelta(seconds=1)))}"


def _approvers(incident: Incident, could: Could, name: Names) -> Answer:
    decision, votes = incident.decision, [name(vote.person) for vote in incident.votes]
    if decision is None or incident.plan is None:
        return [("Nobody is asked", "")], "policy asks when there is a plan"
    if (alone := access.acts_alone(incident)) is not None:
        due = f"review due {day(incident.review.review_due)}" if incident.review else "reviewed"
        return [(f"{name(alone)}, alone", "")], f"glass broken · {due}"
    if _held(incident):
        return [("Nobody now", "")], "asked again when the time is up"
    if decision.mode != "approve":
        who = "Policy acts alone" if decision.mode == "auto" else "Nobody needs to"
        return [(who, "")], f"rule {decision.rule}"
    people = f"{len(votes)} of {_need(incident)} · {'different people' if _need(incident) > 1 else 'one person'}"
    if incident.phase is Phase.WAITING:
        return [(_asked(could, name), "")], people
    first = words.listed([one.split()[0] for one in votes])
    return [(f"Approved by {first}" if votes else "Nobody now", "")], people


def _asked(could: Could, name: Names) -> str:
    everybody = [one for people in could.values() for one in people]
    short = len(everybody) > 2
    said = [[name(one).split()[0] if short else name(one) for one in people[:3]] for people in could.values()]
    places = [words.listed(people, "or") or "nobody I can name" for people in said]
    return ", and ".join(places) if any(len(people) > 1 for people in said) else words.listed(places)


def _happened(incident: Incident, name: Names) -> Answer:
    match incident.phase:
        case Phase.PLANNED if _held(incident):
            return _put_off(incident, name)
        case Phase.OPENED | Phase.PLANNED:
            return [
                ("Alert received" if incident.alerts else "Asked for by hand", "")
            ], f"at {clock(incident.opened_at)}"
        case Phase.WAITING:
            return _waiting(incident, name)
        case Phase.STUCK:
            return _halted(incident)
        case Phase.RECOVERED | Phase.CLOSED:
            return _ended(incident)
    step = next((n for n, one in enumerate(_steps(incident), 1) if one["icon"] == "checking"), len(_steps(incident)))
    text = {
        Phase.CLEARED: "Glass broken, checking again" if incident.glass else "Approved, checking again",
        Phase.ROLLING: f"Moving traffic, step {step} of {len(_steps(incident))}",
        Phase.APPLIED: "Moved, counting requests",
        Phase.MOVED: "Traffic moved, judging the service",
        Phase.NOTED: "The owner was told",
    }[incident.phase]
    return [(text, "")], f"{words.count(incident.version)} entries in the timeline"


def _waiting(incident: Incident, name: Names) -> Answer:
    expires = incident.decision.expires_at if incident.decision else None
    small = f"plan expires {clock(expires)}" if expires else ""
    if not incident.votes:
        return [("Nothing yet", "")], small
    left = _need(incident) - len(incident.votes)
    first = words.listed([name(vote.person).split()[0] for vote in incident.votes])
    return [(f"{first} approved, {'one' if left == 1 else left} to go", "")], small


def _put_off(incident: Incident, name: Names) -> Answer:
    if incident.snoozed_until is None:
        return [("Held by policy", "")], f"rule {incident.decision.rule}" if incident.decision else ""
    return [(f"Put off until {clock(incident.snoozed_until)}", "")], f"by {name(incident.snoozed_by or '')}"


def _halted(incident: Incident) -> Answer:
    answers = incident.verdicts
    if answers["recovered"] == "no":
        return [("Moved, but not recovered", "bad")], "a person decides now"
    if answers["recovered"] == "cannot_tell":
        return [("Moved. Cannot tell if recovered", "odd")], "a person decides now"
    if "cannot_tell" in answers.values():
        return [("Cannot tell if traffic moved", "odd")], "a person decides now"
    if incident.claim is None:
        return [("Stopped before anything moved", "")], "nothing was changed"
    return [("Stuck on the way", "bad")], "a person decides now"


def _ended(incident: Incident) -> Answer:
    if incident.closed is not None and not well(incident):
        return [("Closed without a rollback" if incident.moved is None else "Closed by a person", "")], ""
    if incident.judged_at is None or incident.moved_at is None:
        return [("Recovered", "good"), (" by itself" if incident.moved is None else "", "")], ""
    took = words.span(incident.judged_at - incident.opened_at)
    small = f"traffic moved after {words.span(incident.moved_at - incident.opened_at)}"
    return [("Recovered", "good"), (f" in {took}", "")], small


# ── proof ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def tiles(incident: Incident | None) -> list[dict[str, str]]:
    """Give the three verdicts: yes, no, cannot_tell, not_yet or checking, each with evidence or the question it answers."""
    bad = incident.plan.from_version if incident and incident.plan else "42"
    questions = ["Will the control plane take it?", f"Does {bad} really get none?", "Is the service well again?"]
    names = ["Accepted", "Traffic moved", "Recovered"]
    if incident is None:
        return [{"name": n, "answer": "not_yet", "evidence": q} for n, q in zip(names, questions, strict=True)]
    under_way = {Phase.ROLLING: 0, Phase.APPLIED: 1, Phase.MOVED: 2}.get(incident.phase)
    rows = []
    for n, (row, question) in enumerate(zip(verdicts(incident), questions, strict=True)):
        answer = row["answer"].replace(" ", "_")
        evidence = _bare(row["evidence"]) if answer != "not_yet" else question
        if answer == "not_yet" and n == under_way:
            answer, evidence = "checking", _so_far(incident) or question
        rows.append({"name": row["name"], "answer": answer, "evidence": evidence})
    return rows


def _bare(text: str) -> str:
    for prefix in ("Traffic moved: ", "Recovered: ", "Not recovered: ", "route: "):
        text = text.removeprefix(prefix)
    return text[:1].upper() + text[1:]


def _so_far(incident: Incident) -> str:
    if incident.phase is Phase.APPLIED and incident.looks:
        return incident.looks[-1].sentence()
    if incident.phase is Phase.MOVED and incident.samples:
        return f"So far: {incident.samples[-1][1].sentence()}"
    return ""


def plan(incident: Incident | None) -> dict[str, Any] | None:
    """Give the plan's heading, its steps with what became of them, and the sentence about undoing; None without a plan."""
    if incident is None or incident.plan is None:
        return None
    steps = _steps(incident)
    count = f"{len(steps)} step{'s in order' if len(steps) > 1 else ''}"
    return {"id": incident.plan.short, "count": count, "steps": steps, "note": _undo(incident)}


def _steps(incident: Incident) -> list[dict[str, str]]:
    plan = incident.plan
    if plan is None:
        return []
    targets = {one.target: one for one in plan.targets}
    rows = []
    for n, step in enumerate(plan.steps, 1):
        state = incident.steps[step.name].state if step.name in incident.steps else "planned"
        icon, said = _STEP[state]
        target = targets.get(step.target)
        before = target.before.split.weights.get(plan.from_version) if target else None
        system = _ADAPTERS.get(target.adapter, target.adapter) if target else ""
        share = f" {before.normalize():f}\u00a0% → 0\u00a0%" if before is not None else ""
        rows.append(
            {"name": f"{n}. {step.name}", "what": f"{system}, {plan.from_version}{share}", "icon": icon, "said": said}
        )
    return rows


def _undo(incident: Incident) -> str:
    plan = incident.plan
    if plan is None:
        return ""
    good, bad = plan.to_version, plan.from_version
    return {
        "before_traffic": f"Steps before the traffic step are put back on failure. Once traffic is on {good} nothing is undone towards {bad}; a person is asked.",
        "stop": "On failure nothing is undone; a person is asked.",
        "compensate": "On failure every applied step is put back, in reverse.",
    }[plan.on_failure]


def marks(incident: Incident | None, entries: Sequence[e.Recorded], name: Names) -> dict[str, Any]:
    """Give the vertical lines of the plot and the dots of what people approved, alone too; times in seconds since the epoch."""
    if incident is None:
        return {"lines": [], "dots": []}
    back = f"{incident.plan.to_version} back" if incident.plan else ""
    verdict = "recovered" if incident.verdicts["recovered"] == "yes" else "verdict"
    lines = [(incident.opened_at, "alert"), (incident.moved_at, back), (incident.judged_at, verdict)]
    alone = [(one.at, one.entry.person) for one in entries if isinstance(one.entry, e.GlassBroken)]
    dots = [(vote.at, f"{name(vote.person)} approved") for vote in incident.votes]
    dots += [(at, f"{name(person)} broke the glass") for at, person in alone]
    return {
        "lines": [[at.timestamp(), label] for at, label in lines if at is not None],
        "dots": [[at.timestamp(), label] for at, label in dots],
    }
