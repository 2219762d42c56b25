"""One incident of the pager, brought up to what the timeline says: its state, its notes, who is told and who is asked in.

It is looked at before anything is written, so a lost answer leads to one note and not to two. What cannot be looked at,
the updates to stakeholders, is sent at most once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bot.domain import entries as e
from bot.domain import words
from bot.domain.incident import Incident, Phase
from bot.errors import Unavailable
from bot.flow.intake import OWN_MARK
from bot.flow.people import next_in
from bot.flow.world import PAGER_LANE, World
from bot.ports import Paged, PagerDesk, Target

SAID = 600  # characters of what people are sent
_TOLD = (
    e.PlanCleared, e.RollbackClaimed, e.TrafficVerified, e.SliJudged, e.IncidentStuck, e.GlassBroken, e.RollbackCancelled,
    e.IncidentReopened, e.IncidentClosed,
)  # fmt: skip
_RECOVERED = frozenset({"recovered", "marked_recovered", "recovered_by_itself"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the pager's incidents should be now, as far as it follows from the fold alone."""

    status: str  # empty when they may stand as they do
    update: tuple[str, str]  # what stakeholders are told, and the name it is known by; empty texts for nothing
    asks: str  # why somebody is asked in; an empty text when nobody is
    values: Mapping[str, str]  # of fields, by the pager's names

    @property
    def texts(self) -> tuple[str, ...]:
        """Give all of it as texts, to tell it from what was wanted before."""
        return (self.status, *self.update, self.asks, json.dumps(dict(self.values)))


@dataclass(frozen=True, slots=True)
class _Whom:
    """Somebody to ask in: our id, how a note says it, and whom the pager knows by it, if anybody."""

    id: str
    said: str
    target: Target | None


def digest_of(texts: Iterable[str]) -> str:
    """Give what tells texts from others."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def wanted_of(incident: Incident, desk: PagerDesk) -> Wanted:
    """Give how the pager's incidents should be now."""
    update = _update(incident) if desk.updates else ("", "")
    return Wanted(_status(incident), update, _asks(incident), values_of(incident, desk.fields))


def _status(incident: Incident) -> str:
    """Say how the pager's incident should stand, empty when it may stand as it does."""
    if incident.closed is not None:
        return "resolved" if incident.closed.outcome in _RECOVERED else ""
    taken = incident.taken_by or incident.votes or incident.claim
    return "acknowledged" if taken else ""


def notes_of(rows: Iterable[e.Recorded]) -> list[str]:
    """Give a note for each turn of the story, marked so that it is known again."""
    return [f"{plain(one)} {OWN_MARK}{one.digest[:12]}]" for one in rows if isinstance(one.entry, _TOLD)]


def plain(one: e.Recorded) -> str:
    """Say an entry for somebody who is not in Slack: people are not named, times are UTC."""
    return _read_aloud(one.entry.sentence())


def _read_aloud(text: str) -> str:
    return words.put(text, lambda _: "somebody in Slack", lambda at: f"{at:%H:%M} UTC")


def _marked(text: str, *names: str) -> str:
    """Put the mark at the end of a text by which it is known again; a long text is cut before it."""
    text = text if len(text) <= SAID else f"{text[:SAID]}…"
    return f"{text} {OWN_MARK}{digest_of(names)[:12]}]"


async def brought_up(
    name: str, wanted: Wanted, notes: Sequence[str], incident: Incident, desk: PagerDesk, world: World
) -> None:
    """Bring one incident of the pager up. Raises Unavailable when it has to be tried again."""
    there = await desk.look(name)
    if there is None:
        world.log.warning("pager.unknown", incident=name)
        return
    if wanted.update[0] and (incident.claim is not None or await world.work.noted(f"{PAGER_LANE}/told/{name}")):
        await _updated(name, *wanted.update, desk, world)  # first: what is resolved may take no more of them
    # What is resolved is not acknowledged again, and what is acknowledged needs no second word.
    if wanted.status and there.status not in (wanted.status, "resolved"):
        await desk.mark(name, wanted.status)
    for text in notes:
        await _noted_there(name, text, there, desk)
    if wanted.asks:
        await _asked_in(name, wanted.asks, there, incident, desk, world)
    if wanted.values:
        await _filled(name, wanted.values, desk, world)


async def _noted_there(name: str, text: str, there: Paged, desk: PagerDesk) -> None:
    mark = text[text.rindex(OWN_MARK) :]
    if not any(mark in one for one in there.notes):
        await desk.note(name, text)


# ── what stakeholders are told ────────────────────────────────────────────────────────────────────────────────────


def _update(incident: Incident) -> tuple[str, str]:
    """Say how the rollback stands, and under which name that is told once: when it begins, at its verdict, when it closes.

    A verdict that is taken back is one more. Whoever was away hears how it stands now, and not what was before. The close
    of an incident whose rollback was given back before anything moved is for those who heard that it began.
    """
    if incident.claim is None and incident.closed is None:
        return "", ""
    plan = incident.plan
    change = f" {words.change(plan.from_version, plan.to_version)}" if plan else ""
    if incident.closed is not None:
        stage, text = "closed", incident.closed.sentence()
    elif incident.phase is Phase.STUCK:
        stage, text = "stuck", incident.stuck_reason
    elif incident.phase is Phase.RECOVERED and incident.marked_by is not None:
        stage, text = "recovered", e.MarkedRecovered(person=incident.marked_by, text_ref="").sentence()
    elif incident.phase is Phase.RECOVERED and incident.judged is not None:
        stage, text = "recovered", incident.judged.sentence()
    else:
        stage, text = "begun", f"Lastgood rolls it back{change}."
    began = incident.claimed_at.isoformat() if incident.claimed_at is not None else str(incident.episode)
    name = f"{incident.stream}/{began}/{stage}"
    return _marked(_read_aloud(f"{incident.model} in {incident.environment}: {text}"), name), name


async def _updated(name: str, text: str, called: str, desk: PagerDesk, world: World) -> None:
    """Tell stakeholders, at most once: nothing there shows whether they were told, so the intent is noted before it is sent.

    It is sent again only when nothing was sent. What nobody answered, also because this process ended, is never sent again.
    """
    record = f"{PAGER_LANE}/update/{name}/{called}"
    if state := await world.work.noted(record):
        if state == "sending":  # and then this process ended
            await world.work.note(record, "unknown")
            world.log.warning("pager.update_unsure", incident=name, error="nobody waited for the answer")
        return
    await world.work.note(record, "sending")
    try:
        written = await desk.update(name, text)
    except Unavailable:
        await world.work.note(record, "")
        raise
    await world.work.note(record, written.state)
    if written.state != "refused":
        await world.work.note(f"{PAGER_LANE}/told/{name}", called)
    if written.state == "unknown":
        world.log.warning("pager.update_unsure", incident=name, error=written.why)
        return
    await _complain("status updates", written.why, world)


# ── who is asked in ───────────────────────────────────────────────────────────────────────────────────────────────


def _asks(incident: Incident) -> str:
    """Say why somebody is asked in: it was escalated, and still nobody has it or completes the quorum. Empty when nobody is."""
    where = f"{incident.model} in {incident.environment}"
    if incident.phase is Phase.STUCK and incident.escalations and incident.taken_by is None:
        return _read_aloud(f"{where} needs a person, and nobody has it. {incident.stuck_reason}".strip())
    if incident.phase is Phase.WAITING and "" in incident.escalated:
        plan = incident.plan
        change = f" of {words.change(plan.from_version, plan.to_version)}" if plan else ""
        return f"{where} waits for an approval{change}, and nobody gave it in time."
    return ""


async def _asked_in(name: str, why: str, there: Paged, incident: Incident, desk: PagerDesk, world: World) -> None:
    """Ask the next people in, each once for an incident of the pager. Where it takes no requests, a note says who is missing.

    A request that nobody answered is looked for; where the pager does not show whom it asked, nobody is asked twice.
    """
    policy, people = await next_in(incident, world)
    if policy:
        whom = _Whom(policy, f"escalation policy {policy}", Target("escalation_policy", policy))
        await _asked_one(name, whom, why, there, desk, world)
    for person in people:
        account = await world.directory.person(person)
        found = await desk.person(account.email) if account is not None and account.email else None
        whom = _Whom(person, "the next person", Target("user", found) if found else None)
        await _asked_one(name, whom, why, there, desk, world)


async def _asked_one(name: str, whom: _Whom, why: str, there: Paged, desk: PagerDesk, world: World) -> None:
    target, record = whom.target, f"{PAGER_LANE}/asked/{name}/{whom.id}"
    before = await world.work.noted(record)
    state, _, refusal = before.partition(" ")
    if target is not None and there.asked is not None and target.id in there.asked:
        state = "done"
    elif target is None:
        state, refusal = "refused", "the pager knows nobody of that address"
    elif not state or (state == "sending" and there.asked is not None):
        await world.work.note(record, "sending")
        try:
            written = await desk.ask(name, target, _marked(why, name, whom.id))
        except Unavailable:
            await world.work.note(record, before)
            raise
        if written.state == "unknown":
            raise Unavailable(written.why)
        state, refusal = written.state, written.why
        await _complain("responder requests", refusal, world)
    if state == "sending":
        world.log.warning("pager.ask_unsure", incident=name, whom=whom.id)
        return
    if (said := f"{state} {refusal}".strip()) != before:
        await world.work.note(record, said)
    if state == "refused":
        text = f"{why} The pager did not ask {whom.said} in: {refusal}. Somebody else must."
        await _noted_there(name, _marked(text, name, whom.id), there, desk)


# ── what its fields hold ──────────────────────────────────────────────────────────────────────────────────────────


def values_of(incident: Incident, fields: Mapping[str, str]) -> dict[str, str]:
    """Give what is known of the facts that have a field, by the field's name."""
    plan = incident.plan
    facts = {"model": incident.model, "environment": incident.environment, "incident": incident.id}
    facts |= {"from": plan.from_version, "to": plan.to_version} if plan else {}
    facts |= {"outcome": incident.closed.outcome} if incident.closed is not None else {}
    return {fields[fact]: value for fact, value in facts.items() if fact in fields}


async def _filled(name: str, values: Mapping[str, str], desk: PagerDesk, world: World) -> None:
    """Set the fields whose values changed since they were last set; what somebody else wrote there since then stays.

    The pager takes all or none. So where it refuses, each is set by itself, and only what it refuses is left out.
    """
    record = f"{PAGER_LANE}/fields/{name}"
    known: dict[str, str] = json.loads(await world.work.noted(record) or "{}")
    changed = {field: value for field, value in values.items() if known.get(field) != value}
    together = [changed] if changed else []
    while together:
        some = together.pop(0)
        written = await desk.fill(name, some)
        if written.state == "unknown":
            raise Unavailable(written.why)
        if written.state == "refused" and len(some) > 1:
            together += [{field: value} for field, value in some.items()]
            continue
        known |= some
        await world.work.note(record, json.dumps(known))
        for field in some:
            await _complain(f"field {field}", written.why, world)


async def _complain(about: str, why: str, world: World) -> None:
    """Log once what the pager refuses, for as long as it refuses it for that reason; no reason means that it takes it."""
    record = f"{PAGER_LANE}/refused/{about}"
    if await world.work.noted(record) == why:
        return
    await world.work.note(record, why)
    if why:
        world.log.warning("pager.refused", about=about, error=why)
