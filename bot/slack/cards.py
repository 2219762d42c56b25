"""The card: a fold of one incident, in the order people ask. What is wrong, proposed, who may, what happened, what next."""

from __future__ import annotations

from typing import Any

from bot.domain import access, words
from bot.domain import entries as e
from bot.domain.incident import Incident, Phase
from bot.report.story import told
from bot.slack import plot
from bot.slack.buttons import buttons
from bot.slack.facts import Facts
from bot.slack.headline import state, subject_of
from bot.slack.lead import judged_words, lead, named
from bot.slack.text import code, cut, day, escape, voiced
from bot.slack.upcoming import upcoming

Block = dict[str, Any]
MOST_PEOPLE = 3  # who are named, and on the first post called, on one card
_ANSWER = {"yes": "yes", "no": "no", "not_yet": "not yet", "cannot_tell": "cannot tell"}
_TOLD = {"page": "Told by page.", "ticket": "Told by ticket.", "slack": "Told in Slack only."}
_MARKS = {"moved": "☑", "applied": "▸", "started": "▸", "unknown": "▸", "failed": "✗", "back": "↺", "skipped": "–"}


def card(incident: Incident, facts: Facts) -> dict[str, Any]:
    """Give `text` and `blocks` for the incident as it is now."""
    mark, word = state(incident, facts.past)
    subject = subject_of(incident)
    told = cut(lead(incident, facts), 1500)
    head = {"type": "plain_text", "emoji": True, "text": f"{mark} {word} · {subject}"[:150]}
    blocks = [
        *_late(facts),
        {"type": "header", "block_id": "head", "text": head},
        _section("lead", told),
        *_facts(incident, facts),
        *_plotted(incident),
        *_progress(incident, facts),
        *_glass(incident, facts),
        *_actions(incident, facts),
        *_by_hand(incident),
        *_why(incident, facts),
        _context("next", _next(incident, facts)),
    ]
    for block in blocks:
        block["block_id"] = f"{incident.short}.{incident.version}.{block['block_id']}"
    told = f"{told}." if told.endswith('"') and told[-2:-1] not in ".!?" else told
    said = f"{word}: {escape(subject)}. {told}{_proposed(incident)}{_asked(incident, facts)} {named(_ending(incident, facts), facts)}"
    spoken = words.put(said, lambda user: escape(facts.name(user)))
    return {"text": cut(voiced(spoken), 2900), "blocks": blocks}


def _late(facts: Facts) -> list[Block]:
    if facts.late_since is None:
        return []
    text = f"Posted late: nothing could be posted here since {words.moment(facts.late_since)}. The incident did not wait for it."
    return [_context("late", text)]


# ── what a person reads aloud ─────────────────────────────────────────────────────────────────────────────────────


def _proposed(incident: Incident) -> str:
    """Name both versions where a person is asked, for those who read only the notification."""
    plan = incident.plan if incident.phase is Phase.WAITING else None
    return f" Proposed: {escape(words.change(plan.from_version, plan.to_version))}." if plan else ""


def _asked(incident: Incident, facts: Facts) -> str:
    """Say who can approve."""
    if incident.phase is not Phase.WAITING:
        return ""
    people = list(dict.fromkeys(one for role in facts.could.values() for one in role))
    return f" {escape(_names(people, facts))} can approve." if people else ""


def _ending(incident: Incident, facts: Facts) -> str:
    expires = incident.decision.expires_at if incident.decision and incident.phase is Phase.WAITING else None
    return f"The plan expires {words.moment(expires)}." if expires else upcoming(incident, facts)


def _names(people: list[str], facts: Facts) -> str:
    more = f" or {len(people) - MOST_PEOPLE} more people" if len(people) > MOST_PEOPLE else ""
    names = [facts.name(user) for user in people[:MOST_PEOPLE]]
    return f"{', '.join(names)}{more}" if more else words.listed(names, "or")


# ── blocks ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _facts(incident: Incident, facts: Facts) -> list[Block]:
    rows = _fields(incident, facts)
    if not rows:
        return []
    return [
        {
            "type": "section",
            "block_id": "facts",
            "fields": [_mrkdwn(f"*{name}*\n{cut(text, 400)}", 500) for name, text in rows],
        }
    ]


def _fields(incident: Incident, facts: Facts) -> list[tuple[str, str]]:
    if incident.plan is None or incident.phase is Phase.OPENED:
        return _owner(incident, facts)
    if incident.phase in (Phase.RECOVERED, Phase.CLOSED) and incident.moved_at is not None:
        return _measured(incident, facts)
    if incident.claim is not None or incident.phase in (Phase.CLOSED, Phase.NOTED):
        return _owner(incident, facts)  # nothing is proposed any more: the verdicts say what became of it
    plan = incident.plan
    targets = words.listed([f"{one.adapter.capitalize()} {one.target}" for one in plan.targets])
    rows = [
        ("Proposed", f"{escape(plan.from_version)} → *{escape(plan.to_version)}*, {escape(targets)}"),
        ("Last good", _good(incident)),
    ]
    if incident.requester:
        rows.append(("Asked by", escape(facts.name(incident.requester))))
    return [*rows, *_owner(incident, facts)][:4]


def _owner(incident: Incident, facts: Facts) -> list[tuple[str, str]]:
    """Name whose model it is and who has the incident, while that is not the card's last line anyway."""
    owner = [("Owner", escape(_names(list(facts.owners), facts)))] if facts.owners else []
    has = incident.taken_by if incident.phase not in (Phase.STUCK, Phase.CLOSED) else None
    return [*owner, *([("Has it", escape(facts.name(has)))] if has else [])]


def _good(incident: Incident) -> str:
    plan = incident.plan
    if plan is None:
        return ""
    if not plan.observed_serving or plan.good_since is None:
        return f"{escape(plan.to_version)}, not observed serving"
    until = plan.good_until or incident.planned_at or incident.opened_at
    return f"{escape(plan.to_version)}, served {words.span(until - plan.good_since)}"


def _measured(incident: Incident, facts: Facts) -> list[tuple[str, str]]:
    rows = []
    if incident.moved_at is not None:
        rows.append(
            (
                "Alert to traffic moved" if incident.alerts else "Request to traffic moved",
                words.span(incident.moved_at - incident.opened_at),
            )
        )
    if incident.judged_at is not None:
        waited = ""
        if incident.votes and incident.planned_at and incident.claimed_at:
            waited = f" (people {words.span(incident.claimed_at - incident.planned_at)})"
        rows.append(
            (
                "Alert to recovered" if incident.alerts else "Request to recovered",
                f"{words.span(incident.judged_at - incident.opened_at)}{waited}",
            )
        )
    alone = f"{facts.name(incident.glass.person)}, alone, glass broken" if incident.glass else "policy, alone"
    people = alone if incident.glass else ", ".join(facts.name(vote.person) for vote in incident.votes) or alone
    return [*rows, ("Approved by", escape(people)), ("Before", escape(_before(incident)))]


def _before(incident: Incident) -> str:
    before = incident.claim.before if incident.claim else {}
    return "; ".join(
        ", ".join(
            f"{name} at {words.percent(float(share) / 100)}"
            for name, share in sorted(one.split.weights.items(), reverse=True)
        )
        for one in before.values()
    )


def _plotted(incident: Incident) -> list[Block]:
    drawn = plot.line(incident) if incident.claim is not None else ""
    return [_section("plot", drawn)] if drawn else []


def _progress(incident: Incident, facts: Facts) -> list[Block]:
    steps = [_section("steps", text)] if (text := _steps(incident)) else []
    if incident.claim is not None:
        paused = [_section("paused", text)] if (text := _paused(incident, facts)) else []
        after = [_section("after", text)] if (text := _after(incident, facts)) else []
        return [*steps, *paused, _section("verd", _verdicts(incident, facts)), *after]
    return [*steps, _section("need", _needs(incident, facts))] if incident.phase is Phase.WAITING else []


def _after(incident: Incident, facts: Facts) -> str:
    """Give what stays once traffic has moved: how it was graded, what the figures did, what is left behind."""
    lines = [one.sentence() for one in incident.deltas]
    lines += [incident.grade.sentence()] if incident.grade else []
    for name, one in sorted(incident.leftovers.items()):
        owner = f" Owner: {named_owner(one.owner, facts)}." if one.owner else ""
        lines.append(f"Left behind, {name}: {one.what.rstrip('.')}.{owner}")
    return "\n".join(cut(judged_words(line, facts), 600) for line in lines)


def named_owner(owner: str, facts: Facts) -> str:
    """Name an owner without calling them."""
    return facts.name(owner) if owner[:1] in ("U", "W") else owner


def _paused(incident: Incident, facts: Facts) -> str:
    if incident.paused_by is None or incident.paused_at is None:
        return ""
    return f"Paused by {escape(facts.name(incident.paused_by))} {words.moment(incident.paused_at)}; no further step starts."


def _steps(incident: Incident) -> str:
    """Give one line a step, when there are several."""
    plan = incident.plan
    if plan is None or len(plan.steps) < 2:
        return ""
    return "\n".join(escape(f"{_MARKS.get(incident.state_of(one.name), '☐')} {told(one, plan)}") for one in plan.steps)


def _verdicts(incident: Incident, facts: Facts) -> str:
    answers = incident.verdicts
    accepted = " ".join(step.detail for step in incident.steps.values() if step.detail)
    moved = incident.moved.reason if incident.moved else ""
    if incident.phase_is_past_traffic:
        were = "which was" if len(incident.unproven) == 1 else "which were"
        moved = f"Nobody can tell for {words.listed(incident.unproven)}, {were} skipped. {moved}".rstrip()
    rows = (
        ("Accepted", "accepted", accepted),
        ("Traffic moved", "traffic_moved", moved),
        ("Recovered", "recovered", _judged(incident)),
    )
    return "\n".join(
        f"*{name}: {_ANSWER[answers[key]]}.* {cut(judged_words(text, facts), 600)}".rstrip() for name, key, text in rows
    )


def _judged(incident: Incident) -> str:
    """Give the verdict's reason, else how far the samples are."""
    if incident.judged is not None or incident.plan is None:
        return incident.judged.reason if incident.judged else ""
    rounds = [{one.verdict for one in taken.samples} == {"good"} for _, taken in incident.samples if not taken.settling]
    streak = next((n for n, good in enumerate(reversed(rounds)) if not good), len(rounds))
    return f"{streak} of {incident.plan.verify.recovery.samples} good samples in a row." if rounds else ""


def _needs(incident: Incident, facts: Facts) -> str:
    decision = incident.decision
    if decision is None:
        return ""
    total = sum(place.count for place in decision.require)
    lines = [f"*Needs {total} different people*" if total > 1 else "*Needs 1 person*"]
    lines += [
        f"☑ {escape(v.role)}: {escape(facts.name(v.person))} approved{_from(v.person, facts)} {words.moment(v.at)}"
        for v in incident.votes
    ]
    called = 0
    for role in access.open_places(decision.require, incident.votes):
        people = list(facts.could.get(role, ()))
        calls = people[: MOST_PEOPLE - called] if facts.mention else []
        called += len(calls)
        lines.append(f"☐ {escape(role)}: {_who_can(people, calls, facts)}")
    lines += [named(one, facts) for one in facts.away]
    return "\n".join(
        [
            *lines,
            *(f"Not {escape(facts.name(who))}: {escape(why)}" for who, why in access.barred(incident.plan).items()),
            *_unknown(incident),
        ]
    )


def _from(person: str, facts: Facts) -> str:
    return " from the terminal" if person in facts.past.distant else ""


def _unknown(incident: Incident) -> list[str]:
    """Say why two roles stand for the person who is not known: who deployed it might be among those who approve."""
    plan, decision = incident.plan, incident.decision
    if plan is None or decision is None or plan.deployer or incident.requester:
        return []
    two = len({place.role for place in decision.require}) > 1
    return ["Deployer unknown, so two roles are required"] if two and incident.tier == 1 else []


def _glass(incident: Incident, facts: Facts) -> list[Block]:
    """Say loudly that one person acted alone, why, and that it is still to be reviewed."""
    broken = facts.past.glass
    if (
        broken is None
        or not isinstance(broken.entry, e.GlassBroken)
        or (incident.review is None and incident.glass is None)
    ):
        return []
    entry, at = broken.entry, words.moment(broken.at)
    who = f"*Glass broken.* {escape(facts.name(entry.person))} acted alone as {escape(entry.role)} {at}."
    if incident.review is not None:
        rest = f"*Review due {day(entry.review_due)}*, by somebody else."
    else:
        reviewed = facts.past.reviewed
        rest = f"{escape(facts.name(reviewed.person))} reviewed it." if reviewed else ""
    why = facts.quoted(entry.person, entry.text_ref)
    return [_section("glass", "\n".join(one for one in (f"{who} {rest}".strip(), why) if one))]


def unconfirmed(why: str, role: str, *, some: bool) -> str:
    """Say that a look-up failed and what follows for a place; `some` says that others are known who could fill it."""
    follows = f"{'not everybody' if some else 'nobody'} can be confirmed as {role}."
    why = why.strip().rstrip(".")
    return f"{why}. {follows[:1].upper()}{follows[1:]}" if ", so " in why else f"{why}, so {follows}"


def _who_can(people: list[str], calls: list[str], facts: Facts) -> str:
    if not people:
        return "nobody could be named"
    shown = [words.person(one) if one in calls else escape(facts.name(one)) for one in people[:MOST_PEOPLE]]
    if len(people) > MOST_PEOPLE:
        return f"{', '.join(shown)} or {len(people) - MOST_PEOPLE} more people can"
    return f"{words.listed(shown, 'or')} can"


def _actions(incident: Incident, facts: Facts) -> list[Block]:
    elements = buttons(incident, facts.pages)
    return [{"type": "actions", "block_id": "acts", "elements": elements}] if elements else []


def _by_hand(incident: Incident) -> list[Block]:
    """Give the commands that do the rest without us, one a line."""
    if incident.phase is not Phase.STUCK or not incident.by_hand:
        return []
    return [_section("hand", "*By hand*\n" + "\n".join(code(one) for one in incident.by_hand[:5]))]


def _why(incident: Incident, facts: Facts) -> list[Block]:
    """Say which rule decided what, how loudly people are told, and that autopilot is off."""
    decision = incident.decision
    lines = []
    if decision is not None:
        by = f"Decided by r{decision.reason[1:]}" if decision.reason.startswith("Rule ") else decision.reason
        lines.append(f"{named(by, facts)} {_TOLD[decision.tell]}")
    if facts.off and incident.phase is not Phase.CLOSED:
        lines.append(named(facts.off, facts))
    return [{**_context("why", lines[0]), "elements": [_mrkdwn(one) for one in lines]}] if lines else []


def _next(incident: Incident, facts: Facts) -> str:
    plan = f" Plan `{incident.plan.short}` ·" if incident.plan else ""
    link = f"<{facts.pages}/incidents/{incident.id}|{incident.short}>" if facts.pages else code(incident.short)
    return f"{named(upcoming(incident, facts), facts)}{plan} {link}"


def _mrkdwn(text: str, limit: int = 3000) -> Block:
    return {"type": "mrkdwn", "text": cut(text, limit)}


def _section(name: str, text: str) -> Block:
    return {"type": "section", "block_id": name, "text": _mrkdwn(text or " ")}


def _context(name: str, text: str) -> Block:
    return {"type": "context", "block_id": name, "elements": [_mrkdwn(text)]}
