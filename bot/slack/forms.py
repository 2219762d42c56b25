"""The dialogs, drawn from the incident as it is now. Only ids travel in them, and nothing that comes back is believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bot.domain import words
from bot.domain.acts import MIN_REASON
from bot.domain.incident import Incident, Phase
from bot.domain.press import Press
from bot.domain.roles import BreakGlass
from bot.domain.runbook import OnFailure
from bot.report.facts import next_sentence
from bot.slack.lead import number_of
from bot.slack.text import day, escape

View = dict[str, Any]
FIELDS = ("why", "version", "on_failure", "until", "to", "typed", "grade", "leftover")
TITLE, OPTION, CHOICES = 24, 75, 10  # Slack's limits: characters of a title and of an option, options of a radio group
LONGEST = 1000  # characters of a reason
PUBLIC = "Everybody in the channel reads this."
SNOOZES = {"15m": "15 minutes", "1h": "1 hour", "4h": "4 hours", "12h": "12 hours"}
ON_FAILURE: dict[OnFailure, tuple[str, str]] = {
    "before_traffic": ("Put back what came before traffic", "Steps before the first traffic step go back, in exact reverse."),
    "stop": ("Stop", "Nothing goes back. A person decides from there."),
    "compensate": ("Put everything back", "Every applied step goes back, traffic too: {bad} serves again."),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Backdrop:
    """What a dialog shows beside the incident: reasons against versions, who may break the glass, who is told of it."""

    against: Mapping[str, str] = field(default_factory=dict)  # version -> reason
    glass: BreakGlass | None = None
    review_due: datetime | None = None  # when a glass broken now would have to be reviewed
    owner: str = ""
    name: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class Form:
    """One dialog: its title, what its button says, and its blocks. Without a button it only tells."""

    title: str
    submit: str
    blocks: list[View]

    def view(self, press: Press, channel: str) -> View:
        """Give the view; it carries what was shown and where to answer, and nothing else."""
        kept = f"{press.action}|{press.incident}|{press.plan}|{press.card_version}|{channel}"
        send = {"submit": _plain(self.submit, TITLE)} if self.submit else {}
        return {
            "type": "modal", "callback_id": "press", "title": _plain(self.title, TITLE), **send, "close": _plain("Not now", TITLE),
            "private_metadata": kept, "blocks": self.blocks,
        }  # fmt: skip


def wanted(press: Press, incident: Incident) -> bool:
    """Say whether this act asks something before it is judged."""
    if press.action == "approve":
        return incident.decision is not None and incident.decision.ask_reason
    return press.action in FORMS


def _reject(_: Incident, __: Backdrop) -> Form:
    return Form("Reject this plan", "Reject plan", [_why("Why?", MIN_REASON)])


def _cancel(_: Incident, __: Backdrop) -> Form:
    return Form("Cancel the rollback", "Cancel rollback", [_why("Why?", MIN_REASON)])


def _mark(_: Incident, __: Backdrop) -> Form:
    return Form("Mark recovered", "Mark recovered", [_why("Why?", MIN_REASON)])


def _give_up(_: Incident, __: Backdrop) -> Form:
    return Form("Give up", "Give up", [_why("Why?", MIN_REASON)])


def _approve(incident: Incident, _: Backdrop) -> Form:
    """Show the facts once more, since the answer is about them."""
    plan = incident.plan
    change = words.change(plan.from_version, plan.to_version) if plan else ""
    title = f"Approve {change}"
    title = title if len(title) <= TITLE else "Approve"
    shown = f"{number_of(incident)}{escape(incident.model)} in {escape(incident.environment)}: {escape(change)}."
    return Form(title, title, [_section("facts", shown), _why("What did you check?", MIN_REASON)])


def _choose(incident: Incident, about: Backdrop) -> Form:
    """Offer what can be chosen, newest first; what cannot is described with the reason against it."""
    plan = incident.plan
    now = {plan.to_version: "this is the plan now"} if plan and incident.phase is Phase.WAITING else {}
    against = {**about.against, **now}
    free = [one for one in incident.candidates if one.version not in against][:CHOICES]
    rest = [f"{words.plain(one.version, 60)}: {words.plain(against[one.version])}" for one in incident.candidates if one.version in against]  # fmt: skip
    told = (
        [_section("against", "*Not to be chosen*\n" + "\n".join(escape(one) for one in rest[:CHOICES]))] if rest else []
    )
    if not free:
        return Form("Choose another version", "", [_section("none", "No other version can take over."), *told])
    options = [_option(one.version, one.version, words.plain(one.reason)) for one in free]
    element = {"type": "radio_buttons", "action_id": "field", "options": options}
    hint = "A new plan; earlier approvals count for nothing."
    only = f"Make plan for {free[0].version}"
    submit = only if len(free) == 1 and len(only) <= TITLE else "Make the new plan"
    return Form("Choose another version", submit, [_input("version", "Version", element, hint), *told])


def _edit(incident: Incident, _: Backdrop) -> Form:
    plan = incident.plan
    bad, now = (words.plain(plan.from_version, 20), plan.on_failure) if plan else ("", None)
    options = [
        _option(key, text, why.format(bad=bad)) for key, (text, why) in ON_FAILURE.items() if key != now
    ]  # what it is already is no edit
    is_now = f" Now: {ON_FAILURE[now][0].lower()}." if now else ""
    shown = f"`{plan.short if plan else 'none'}` becomes a new plan. Earlier approvals count for nothing, and you have no vote on the new one.{is_now}"
    element = {"type": "radio_buttons", "action_id": "field", "options": options}
    return Form("Edit the plan", "Make the new plan", [_section("becomes", shown), _input("on_failure", "When a step fails", element)])  # fmt: skip


def _break_glass(incident: Incident, about: Backdrop) -> Form:
    glass = about.glass
    least = glass.min_reason_chars if glass else MIN_REASON
    due = f" due {day(about.review_due)}" if about.review_due else ""
    told = f"calls {about.owner}" if about.owner else "calls nobody by name, since the model has no owner"
    shown = (
        f"One person, no second pair of eyes. This {escape(told)} in the thread and the channel, opens a review by somebody else"
        f"{due}, and is counted."
    )
    typed = {"type": "plain_text_input", "action_id": "field", "max_length": 200}
    name = words.plain(incident.model, 100)
    blocks = [_section("what", shown), _why("Why alone, why now?", least), _input("typed", f"Type {name}", typed)]
    return Form("Break glass", "Break glass", blocks)


def _snooze(incident: Incident, _: Backdrop) -> Form:
    options = [_option(key, text) for key, text in SNOOZES.items()]
    element = {"type": "radio_buttons", "action_id": "field", "options": options}
    shown = f"Nobody is asked about {escape(incident.model)} until then. A worse alert ends that."
    return Form("Snooze", "Snooze", [_section("what", shown), _input("until", "For how long", element), _why("Why?", MIN_REASON)])  # fmt: skip


def _hand_over(incident: Incident, about: Backdrop) -> Form:
    plan = incident.plan
    change = f", {words.change(plan.from_version, plan.to_version)}" if plan else ""
    known = f"{incident.model} in {incident.environment}{change}. {words.put(next_sentence(incident), about.name)}"
    people = {"type": "users_select", "action_id": "field"}
    blocks = [
        _input("to", "To whom", people),
        _why("What they must know", MIN_REASON, words.plain(known, LONGEST - 20)),
    ]
    return Form("Hand over", "Hand over", blocks)


def _review(incident: Incident, about: Backdrop) -> Form:
    glass = incident.review
    shown = words.put(glass.sentence(), about.name) if glass else "No review is open."
    return Form("Review", "Close the review", [_section("what", escape(shown)), _why("What did you find?", MIN_REASON)])


def _pause(_: Incident, __: Backdrop) -> Form:
    shown = "What is under way ends, and no further step starts. After 15\u00a0min a person is called."
    return Form("Pause the rollback", "Pause", [_section("what", shown), _why("Why?", MIN_REASON)])


def _skip(incident: Incident, _: Backdrop) -> Form:
    shown = f"The rollback goes on without step {escape(str(incident.unfinished))}. If it moves traffic, nobody can tell then whether all of it moved."
    return Form("Skip the step", "Skip the step", [_section("what", shown), _why("Why?", MIN_REASON)])


def _by_hand(incident: Incident, _: Backdrop) -> Form:
    shown = f"Step {escape(str(incident.unfinished))} counts as done by you. It is read and proven like any other."
    return Form("I did it by hand", "I did it", [_section("what", shown), _why("What did you do?", MIN_REASON)])


def _compensate(incident: Incident, _: Backdrop) -> Form:
    done = [name for name, step in incident.steps.items() if step.accepted]
    back = words.listed([escape(name) for name in reversed(done)])
    bad = escape(incident.plan.from_version) if incident.plan else "the bad version"
    shown = f"Put back in this order: {back}. Traffic goes to {bad} again; what is one-way stays."
    return Form("Put back", "Put back", [_section("what", shown), _why("Why?", MIN_REASON)])


def _fix(_: Incident, __: Backdrop) -> Form:
    typed = {"type": "plain_text_input", "action_id": "field", "max_length": 200}
    version = {**_input("version", "Version that holds the fix", typed), "optional": True}
    return Form("Record the fix", "Record the fix", [_why("What was wrong, what mends it?", MIN_REASON), version])


def _grade(incident: Incident, _: Backdrop) -> Form:
    now = incident.grade
    options = [
        _option(one, one.capitalize()) for one in ("helped", "neutral", "harmful") if now is None or one != now.grade
    ]
    element = {"type": "radio_buttons", "action_id": "field", "options": options}
    shown = f"Graded {now.grade}: {escape(now.reason)}" if now else "Not graded yet."
    blocks = [_section("now", shown), _input("grade", "How was this rollback?", element), _why("Why?", MIN_REASON)]
    return Form("Grade the rollback", "Grade", blocks)


def _clear(incident: Incident, _: Backdrop) -> Form:
    options = [_option(name, name, one.what) for name, one in sorted(incident.leftovers.items())][:CHOICES]
    if not options:
        return Form("Clear a leftover", "", [_section("none", "Nothing is left behind.")])
    element = {"type": "radio_buttons", "action_id": "field", "options": options}
    blocks = [_input("leftover", "What is gone?", element), _why("How do you know?", MIN_REASON)]
    return Form("Clear a leftover", "Clear", blocks)


FORMS: Mapping[str, Callable[[Incident, Backdrop], Form]] = {
    "approve": _approve, "reject": _reject, "cancel": _cancel, "mark_recovered": _mark, "give_up": _give_up, "choose": _choose,
    "edit": _edit, "break_glass": _break_glass, "snooze": _snooze, "hand_over": _hand_over, "review": _review,
    "pause": _pause, "skip": _skip, "by_hand": _by_hand, "compensate": _compensate, "fix": _fix, "grade": _grade, "clear": _clear,
}  # fmt: skip


def last_field(view: Mapping[str, Any]) -> str:
    """Give the field a refusal is written under: the one nearest to the button."""
    blocks = view.get("blocks")
    rows = [one for one in blocks if isinstance(one, Mapping)] if isinstance(blocks, list) else []
    names = [str(one.get("block_id", "")) for one in rows if one.get("type") == "input"]
    return names[-1] if names else "why"


# ── blocks ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _plain(text: str, limit: int) -> View:
    return {"type": "plain_text", "text": words.plain(text, limit)[:limit] or "-"}


def _section(name: str, text: str) -> View:
    return {"type": "section", "block_id": name, "text": {"type": "mrkdwn", "text": text}}


def _input(name: str, label: str, element: View, hint: str = "") -> View:
    more = {"hint": _plain(hint, 200)} if hint else {}
    return {"type": "input", "block_id": name, "label": _plain(label, 200), "element": element, **more}


def _why(label: str, least: int, known: str = "") -> View:
    begun = {"initial_value": known} if known else {}
    element = {"type": "plain_text_input", "action_id": "field", "multiline": True, "min_length": least, "max_length": LONGEST, **begun}  # fmt: skip
    return _input("why", label, element, f"At least {least} characters. {PUBLIC}")


def _option(value: str, text: str, description: str = "") -> View:
    told = {"description": _plain(_short(description), OPTION)} if description else {}
    return {"text": _plain(_short(text), OPTION), "value": value[:150], **told}


def _short(text: str) -> str:
    return text if len(text) <= OPTION else f"{text[: OPTION - 1]}…"
