"""The first sentences of a card: what is wrong, or what became of it, with number, unit, comparison and sample."""

from __future__ import annotations

from decimal import Decimal

from bot.domain import words
from bot.domain.alert import Alert
from bot.domain.incident import Incident, Phase
from bot.domain.recovery import called, shown
from bot.domain.sli import SliSample
from bot.slack.facts import Facts
from bot.slack.text import cut, escape, sentence

_SERVING = frozenset({Phase.PLANNED, Phase.WAITING, Phase.CLEARED})
_NOT_MODEL = "Probably not the model:"
_OUTCOMES = ("Traffic moved: ", "Recovered: ", "Not recovered: ")


def lead(incident: Incident, facts: Facts) -> str:
    """Say the one thing that matters now; right under it why it is probably not the model, and who put it off or on."""
    said = _lead(incident, facts)
    asked = incident.phase in (Phase.PLANNED, Phase.WAITING, Phase.CLEARED, Phase.NOTED)
    under = [
        _doubt(incident, facts) if asked else "",
        _observing(incident, facts),
        _put_off(incident, facts),
        _handed(incident, facts),
    ]
    return "\n".join([said, *(one for one in under if one)])


def _doubt(incident: Incident, facts: Facts) -> str:
    """Say why it is probably not the model; empty when nothing speaks for that."""
    why = bare(incident.decision.doubt).removeprefix(_NOT_MODEL).strip() if incident.decision else ""
    return f"*{_NOT_MODEL}* {named(f'{why[:1].lower()}{why[1:]}', facts)}" if why else ""


def _observing(incident: Incident, facts: Facts) -> str:
    moves = incident.claim is None and incident.phase is not Phase.CLOSED
    return (
        f"Observing {escape(incident.model)}: Lastgood decides and shows, and moves nothing."
        if facts.observing and moves
        else ""
    )


def _put_off(incident: Incident, facts: Facts) -> str:
    """Say until when nobody is asked, who put it off and why."""
    snoozed = facts.past.snoozed
    if snoozed is None or incident.phase not in (Phase.PLANNED, Phase.NOTED, Phase.STUCK):
        return ""
    who = escape(facts.name(snoozed.person))
    why = facts.quoted(snoozed.person, snoozed.text_ref)
    return "\n".join([f"Waiting until {words.moment(snoozed.until)}: {who} snoozed it.", *([why] if why else [])])


def _handed(incident: Incident, facts: Facts) -> str:
    """Quote what was said when the incident changed hands, until somebody else takes it or it ends."""
    handed = facts.past.handed
    if handed is None or incident.phase is Phase.CLOSED:
        return ""
    why = facts.quoted(handed.person, handed.text_ref)
    return "\n".join([named(handed.sentence(), facts), *([why] if why else [])])


def _lead(incident: Incident, facts: Facts) -> str:
    if incident.phase is Phase.CLOSED and incident.closed is not None:
        return _closed(incident, facts)
    if incident.phase is Phase.STUCK:
        return _stuck(incident, facts)
    if incident.phase is Phase.NOTED:
        reason = named(bare(incident.stuck_reason), facts) if incident.stuck_reason else _wrong(incident, facts)
        return reason if "Nothing " in reason or facts.observing else f"{reason}\nNothing will be moved."
    if incident.phase is Phase.RECOVERED:
        return _recovered(incident, facts)
    if incident.phase is Phase.MOVED:
        return f"{_moved(incident, facts)} Not proven yet."
    if incident.phase is Phase.APPLIED:
        return f"{_applied(incident, facts)} Not proven yet."
    if facts.past.ended is not None and not incident.votes:
        return f"{named(facts.past.ended.sentence(), facts)}\n{_wrong(incident, facts)}"
    return _wrong(incident, facts)


def bare(text: str) -> str:
    """Take away the verdict's name, which the card says elsewhere, and marks that would be markup."""
    for prefix in _OUTCOMES:
        text = text.removeprefix(prefix)
    return text.replace("*", "")


def named(text: str, facts: Facts) -> str:
    """Make one of our sentences safe, people by their names: only the places that are open wake anybody."""
    return sentence(words.put(text, lambda user: words.plain(facts.name(user)), words.moment))


def judged_words(text: str, facts: Facts) -> str:
    """Write a verdict's sentence without the verdict's name."""
    text = bare(text)
    return named(f"{text[:1].upper()}{text[1:]}", facts)


def sli_words(name: str) -> str:
    """Write an SLI's name safely."""
    return escape(called(name))


def worst(incident: Incident) -> Alert | None:
    """Give the alert a card speaks of: the first that fires, else the first there was."""
    return next(iter(incident.firing), None) or next(iter(incident.alerts.values()), None)


def number_of(incident: Incident) -> str:
    """Give what was measured and promised, empty when the alert names no value."""
    alert = worst(incident)
    if alert is None or alert.value is None:
        return ""
    name = alert.sli or alert.labels.get("alertname", "")
    on = f" on {escape(alert.version)}" if alert.version else ""
    return f"*{shown(alert.sli or '', alert.value)} {sli_words(name)}*{on}. {_objective(alert)}"


def _objective(alert: Alert) -> str:
    """Say what was promised; an alert that fires below its threshold wants at least that much."""
    if alert.threshold is None:
        return ""
    sign = "≥" if alert.value is not None and alert.value < alert.threshold else "≤"
    return f"Objective {sign} {shown(alert.sli or '', alert.threshold)}. "


def _wrong(incident: Incident, facts: Facts) -> str:
    alert = worst(incident)
    if alert is None:
        goal = f" to {escape(incident.wanted)}" if incident.wanted else ""
        asked = f"{escape(facts.name(incident.requester))} asked" if incident.requester else "Somebody asked"
        return f"{asked} to roll {escape(incident.model)} back{goal}. {_serves(incident)}No alert is known.".strip()
    said = escape(words.plain(alert.summary or alert.labels.get("alertname") or alert.sli or alert.fingerprint))
    ours = f"{number_of(incident)}{_serves(incident)}Began {words.moment(alert.starts_at)}."
    return cut(f'{ours}\n{escape(alert.source.capitalize())} says: "{said}"', 1500)


def _serves(incident: Incident) -> str:
    """Say how much traffic the bad version had when the plan was made."""
    plan = incident.plan
    if plan is None or not plan.targets or incident.phase not in _SERVING:
        return ""
    shares = {target.before.split.share(plan.from_version) for target in plan.targets}
    low, high = _percent(min(shares)), _percent(max(shares))
    share = low if low == high else f"{low} to {high}"
    return f"{escape(plan.from_version)} serves {share} of traffic. "


def _percent(share: Decimal) -> str:
    return words.percent(float(share) / 100)


def _stuck(incident: Incident, facts: Facts) -> str:
    rejected = facts.past.rejected
    if incident.rejected_by and rejected is not None:
        why = facts.said.get(rejected.text_ref, "")
        said = f': "{escape(words.plain(why))}"' if why else f" plan {rejected.plan[:8]}."
        who = escape(facts.name(rejected.person))
        return f"{who} {'says' if why else 'rejected'}{said}\n{number_of(incident)}Nothing was changed."
    return judged_words(incident.stuck_reason, facts)


def _recovered(incident: Incident, facts: Facts) -> str:
    marked = facts.past.marked
    if marked is not None and (incident.judged is None or incident.judged.verdict != "yes"):
        why = facts.quoted(marked.person, marked.text_ref)
        return "\n".join([named(marked.sentence(), facts), *([why] if why else [])])
    reason = incident.judged.reason if incident.judged else ""
    return f"{judged_words(reason, facts)}{_was(incident)}"


def _closed(incident: Incident, facts: Facts) -> str:
    closed = incident.closed
    if closed is None:
        return ""
    text = named(bare(closed.reason), facts)
    if incident.judged is not None and incident.judged.verdict == "yes":
        text = f"{judged_words(incident.judged.reason, facts)}{_was(incident)}\n{text}"
    why = facts.quoted(closed.person, closed.text_ref) if closed.person else ""
    return f"{text}\n{why}" if why else text


def _applied(incident: Incident, facts: Facts) -> str:
    plan = incident.plan
    change = escape(words.change(plan.from_version, plan.to_version)) if plan else ""
    look = named(bare(incident.looks[-1].verification.detail), facts) if incident.looks else "Traffic is being counted."
    return f"{change} is applied and read back. {look}"


def _moved(incident: Incident, facts: Facts) -> str:
    moved = named(bare(incident.moved.reason), facts) if incident.moved else ""
    sample = next(iter(incident.samples[-1][1].samples), None) if incident.samples else None
    now = f"\n{judged_words(sample.sentence, facts)}{_was(incident, sample)}" if sample else ""
    return f"{moved}{now}"


def _was(incident: Incident, sample: SliSample | None = None) -> str:
    """Compare with what the alert saw, when it saw the same SLI."""
    alert = worst(incident)
    if sample is None and incident.samples:
        sample = next(iter(incident.samples[-1][1].samples), None)
    if sample is None or alert is None or alert.value is None or alert.sli != sample.sli:
        return ""
    return f" It was {shown(sample.sli, alert.value)}."
