"""The buttons of a card: only what is legal in this phase, two in sight and the rest behind More."""

from __future__ import annotations

from typing import Any

from bot.domain import access, words
from bot.domain.incident import Incident, Phase

Block = dict[str, Any]
MORE, MOST = "more", 5  # the menu, and as many options as Slack takes in a short one
_GIVE_WAY = ("snooze", "why")  # the first to go from a menu that is too long
WORDS = {  # what an act is called, and what that says to those who hear it without the card
    "reject": ("Reject", "Reject this plan for {model}"),
    "cancel": ("Cancel", "Cancel the rollback of {model}"),
    "take": ("I have it", "Take incident {short}"),
    "retry": ("Try again", "Try the unfinished step of {short} again"),
    "mark_recovered": ("Mark recovered", "Mark {short} recovered"),
    "give_up": ("Give up", "Close {short} without recovery"),
    "plan_again": ("Plan again", "Plan again for {model}"),
    "dismiss": ("Dismiss", "Dismiss {short}"),
    "choose": ("Choose another version", "Choose another version for {model}"),
    "edit": ("Edit the plan", "Edit the plan for {model}"),
    "break_glass": ("Break glass", "Break glass for {model}"),
    "snooze": ("Snooze", "Snooze incident {short}"),
    "hand_over": ("Hand over", "Hand incident {short} over"),
    "pause": ("Pause after this step", "Pause the rollback of {model} after this step"),
    "resume": ("Resume", "Let the rollback of {model} go on"),
    "skip": ("Skip the step", "Go on with {short} without the unfinished step"),
    "by_hand": ("I did it by hand", "Say that the unfinished step of {short} was done by hand"),
    "compensate": ("Put back", "Put back what the rollback of {model} applied"),
    "fix": ("Record the fix", "Record the fix of incident {short}"),
    "grade": ("Grade", "Grade the rollback of {model}"),
    "clear": ("Clear a leftover", "Clear what the rollback of {model} left behind"),
    "review": ("Review", "Review the break-glass rollback of {model}"),
    "why": ("Why these people", "Say who can approve {short}, and why"),
}
_PROPOSE = ("Propose rollback", "Propose rollback for {model}")


def value_of(incident: Incident) -> str:
    """Give what travels in a button: the incident, the plan that was shown and the card's version."""
    return f"{incident.id}.{incident.plan.short if incident.plan else 'none'}.{incident.version}"


def buttons(incident: Incident, pages: str) -> list[Block]:
    """Give at most three elements: the primary, a second, and the rest in a menu; who may is decided at the press.

    `pages` is the address incident pages are served at, empty when they are not.
    """
    led = _link(incident, pages) if incident.phase is Phase.CLOSED and incident.claim is not None and pages else []
    acts = offered(incident)
    seen, rest = acts[: 2 - len(led)], acts[2 - len(led) :]
    drawn = [*led, *(_drawn(act, incident) for act in seen)]
    return [*drawn, *([_drawn(rest[0], incident)] if len(rest) == 1 else [_menu(rest, incident)] if rest else [])]


def offered(incident: Incident) -> list[str]:
    """Give what may be asked here, without what is legal and pointless: taking what somebody has, rejecting what starts in a moment."""
    starting = incident.phase is Phase.CLEARED and not incident.parked_on
    pointless = ({"take"} if incident.taken_by else set()) | ({"reject"} if starting else set())
    why = ["why"] if incident.phase is Phase.WAITING else []
    return [*(act for act in access.legal(incident) if act not in pointless), *why]


def _link(incident: Incident, pages: str) -> list[Block]:
    url = f"{pages}/incidents/{incident.id}/postmortem"
    return [{**_button("open_postmortem", "Postmortem", f"Open the postmortem of {incident.short}", value_of(incident)), "url": url}]  # fmt: skip


def _menu(acts: list[str], incident: Incident) -> Block:
    """Give the short menu; where people must decide what becomes of a rollback, one that holds every way on."""
    spare = [act for act in _GIVE_WAY if act in acts][: max(0, len(acts) - MOST)]
    options = [
        {"text": {"type": "plain_text", "text": WORDS[act][0]}, "value": f"{act}.{value_of(incident)}"}
        for act in acts
        if act not in spare
    ]
    if len(options) <= MOST:
        return {"type": "overflow", "action_id": MORE, "options": options}
    placeholder = {"type": "plain_text", "text": "More"}
    return {"type": "static_select", "action_id": MORE, "placeholder": placeholder, "options": options}


def _drawn(act: str, incident: Incident) -> Block:
    if act == "approve":
        return _approve(incident)
    text, label = _PROPOSE if act == "plan_again" and incident.phase is Phase.NOTED else WORDS[act]
    button = _button(act, text, label.format(model=incident.model, short=incident.short), value_of(incident))
    return {**button, "style": "primary"} if act == "take" else button


def _approve(incident: Incident) -> Block:
    plan, decision = incident.plan, incident.decision
    if plan is None or decision is None:
        raise ValueError("only a decided plan can be approved")
    words_ = f"Approve {words.change(plan.from_version, plan.to_version)}"[:75]
    label = f"Approve rollback of {incident.model} from {plan.from_version} to {plan.to_version}"
    button = {**_button("approve", words_, label, value_of(incident)), "style": "primary"}
    if (decision.confirm or plan.confirm) and not decision.ask_reason:  # one dialog is enough
        n, need = len(incident.votes) + 1, sum(place.count for place in decision.require)
        effect = "traffic moves as soon as you confirm" if n == need else "nothing moves until the others approve"
        button["confirm"] = {
            "title": {"type": "plain_text", "text": f"{words_}?"[:100]},
            "text": {
                "type": "plain_text",
                "text": _asked(incident, f"Yours is approval {n} of {need}: {effect}. Plan {plan.short}")[:300],
            },
            "confirm": {"type": "plain_text", "text": words_[:30]},
            "deny": {"type": "plain_text", "text": "Not now"},
        }
    return button


def _asked(incident: Incident, text: str) -> str:
    """Say what a dialog asks; it cannot show local time, so it names the zone."""
    expires = incident.decision.expires_at if incident.decision else None
    until = f", valid until {expires:%H:%M} UTC" if expires else ""
    return f"{incident.model}, {incident.environment}. {text}{until}."


def _button(action: str, text: str, label: str, value: str) -> Block:
    return {
        "type": "button",
        "action_id": action,
        "text": {"type": "plain_text", "text": text[:75]},
        "accessibility_label": label[:75],
        "value": value,
    }
