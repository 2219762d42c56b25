"""The first line of a card: a shape, the state word, the model and its version."""

from __future__ import annotations

from bot.domain import entries as e
from bot.domain import words
from bot.domain.alert import Severity
from bot.domain.incident import Incident, Phase
from bot.slack.past import Past

_SEV = {
    Severity.CRITICAL: "SEV1",
    Severity.ERROR: "SEV2",
    Severity.WARNING: "SEV3",
    Severity.INFO: "SEV4",
    Severity.UNKNOWN: "severity unknown",
}
_WORKING, _WAITING, _ENDED = ":arrows_counterclockwise:", ":hourglass_flowing_sand:", ":black_square_for_stop:"
_LOUD = ":rotating_light:"
_WELL = {"recovered": "Recovered", "marked_recovered": "Recovered", "recovered_by_itself": "Recovered by itself"}


def state(incident: Incident, past: Past) -> tuple[str, str]:
    """Give the emoji and the state word; broken glass is said in it until somebody else has reviewed it."""
    mark, word = _state(incident, past)
    return (_LOUD, f"{word}, glass broken") if incident.review is not None else (mark, word)


def _state(incident: Incident, past: Past) -> tuple[str, str]:
    if incident.phase is Phase.STUCK:
        return _stuck_word(incident, past)
    if incident.phase is Phase.CLOSED:
        return _closed_word(incident)
    if incident.phase is Phase.PLANNED and incident.decision is not None and incident.decision.mode == "hold":
        return _WAITING, "Waiting"
    if past.snoozed is not None and incident.phase is Phase.PLANNED:
        return _WAITING, "Waiting"
    table = {
        Phase.OPENED: (_WORKING, "Planning"),
        Phase.PLANNED: (_WORKING, "Planning"),
        Phase.WAITING: (_WAITING, _waiting_word(incident, past)),
        Phase.CLEARED: (_WORKING, "Starting"),
        Phase.ROLLING: (_WORKING, _rolling_word(incident)),
        Phase.APPLIED: (":mag:", "Verifying"),
        Phase.MOVED: (":mag:", "Verifying"),
        Phase.RECOVERED: (":white_check_mark:", "Recovered"),
        Phase.NOTED: (":information_source:", "For your information"),
    }
    return table[incident.phase]


def _waiting_word(incident: Incident, past: Past) -> str:
    need = sum(place.count for place in incident.decision.require) if incident.decision else 0
    fresh = past.ended is not None and not incident.votes
    return f"New plan, 0 of {need} approved" if fresh else f"Waiting, {len(incident.votes)} of {need} approved"


def _rolling_word(incident: Incident) -> str:
    auto = incident.decision is not None and incident.decision.mode == "auto"
    word = "Rolling back on policy" if auto and incident.glass is None else "Rolling back"
    total = len(incident.plan.steps) if incident.plan else 1
    done = sum(step.state == "moved" for step in incident.steps.values())
    return f"{word}, step {min(done + 1, total)} of {total}" if total > 1 else word


def _stuck_word(incident: Incident, past: Past) -> tuple[str, str]:
    answers = incident.verdicts
    if incident.rejected_by:
        return _ENDED, "Rejected"
    if incident.blocked is not None:
        return ":no_entry:", "Blocked"
    if incident.claim is None and isinstance(past.ended, e.PlanExpired):
        return _ENDED, "Expired"
    if half_moved(incident):
        return ":raising_hand:", "Half moved"
    if "cannot_tell" in answers.values():
        return ":grey_question:", "Cannot tell"
    if answers["recovered"] == "no":
        return ":x:", "Not recovered"
    return ":raising_hand:", "Stuck"


def half_moved(incident: Incident) -> bool:
    """Say whether a part of the traffic is proven on the good version and a part is not."""
    if incident.claim is None or incident.verdicts["traffic_moved"] == "yes":
        return False
    look = incident.moved.verification if incident.moved and incident.moved.verdict == "no" else None
    served = [n > 0 for n in look.samples.values()] if look else []
    steps = [step.state == "moved" for step in incident.steps.values()]
    return sum(served) > 1 or (any(steps) and not all(steps))


def _closed_word(incident: Incident) -> tuple[str, str]:
    outcome = incident.closed.outcome if incident.closed else ""
    if outcome == "unproven":
        return ":grey_question:", "Well, traffic unproven"
    word = _WELL.get(outcome)
    return (":white_check_mark:", word) if word else (_ENDED, "Closed")


def subject_of(incident: Incident) -> str:
    """Name the model and where it stands: both versions while it moves, the one it is on afterwards."""
    plan, model = incident.plan, words.plain(incident.model, 60)
    severity = f" · {_SEV[incident.severity]}" if incident.alerts else ""
    settled = incident.phase in (Phase.RECOVERED, Phase.STUCK, Phase.CLOSED)
    if plan is not None and settled and incident.moved_at is not None:
        return f"{model} is on {plan.to_version}{severity}"
    if plan is not None and settled and incident.claim is None:
        return f"{model} stays on {plan.from_version}{severity}"
    if plan is not None and incident.claim is not None:
        return f"{model} {words.change(plan.from_version, plan.to_version)}{severity}"
    version = plan.from_version if plan else incident.alert_version
    if version and incident.phase is Phase.STUCK and incident.blocked is not None:
        return f"{model} stays on {words.plain(version, 40)}{severity}"
    return f"{model}{f' {words.plain(version, 40)}' if version else ''}{severity}"
