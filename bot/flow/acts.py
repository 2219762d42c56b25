"""What people do beside a vote: reject, choose, edit, act alone, put off, take, hand over, judge, review."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from weakref import WeakKeyDictionary, WeakValueDictionary

from bot.domain import access, acts, words
from bot.domain import entries as e
from bot.domain.access import Asked, Ruling
from bot.domain.incident import Incident, Phase
from bot.domain.model import Owner
from bot.domain.press import Answer, Press
from bot.errors import AdapterError, Denied, Expired, RoleMissing, Stale
from bot.flow.act import Act
from bot.flow.aftercare import AFTER
from bot.flow.authorizers import objection, opinions
from bot.flow.locks import releases
from bot.flow.people import NAMED, breakers, counting, spoken, standing, standings, who_could, whose
from bot.flow.targets import read, within
from bot.flow.world import Folds, Step, World, to, write

CLAIM_WINDOW = timedelta(seconds=60)
COALESCE = timedelta(minutes=1)
LOOK = timedelta(seconds=2)  # how long a press waits to hear what a target offers
_TURNS: WeakKeyDictionary[Folds, WeakValueDictionary[str, asyncio.Lock]] = WeakKeyDictionary()  # one refusal at a time


async def refuse(act: Press, incident: Incident, world: World, ruling: Ruling) -> Answer:
    """Tell the person, and keep what they were told; the same once a minute."""
    entry = e.ApprovalRefused(
        person=act.person, plan=act.plan, action=act.action, reason=(ruling.error or Denied).reason, text=ruling.text,
        checks=ruling.checks, via=act.via,
    )  # fmt: skip
    async with _TURNS.setdefault(world.folds, WeakValueDictionary()).setdefault(incident.stream, asyncio.Lock()):
        last = (await world.incident(incident.stream)).refused_at.get(f"{entry.person} {entry.reason} {entry.plan}")
        if last is None or world.clock.now() - last >= COALESCE:
            await world.append(incident, Step((write(incident, entry),)))
    return Answer(ok=False, text=ruling.text)


def no(text: str, error: type[Denied] = Denied, before: tuple[e.Check, ...] = ()) -> Ruling:
    """Give the ruling of one sentence, after the checks that passed."""
    ruling = access.ruled([Asked(False, "possible now", error, text)])
    return Ruling((*before, *ruling.checks), error=error, text=ruling.text)


# ── any act ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def decide(act: Press, incident: Incident, world: World) -> Answer:
    """Judge an act other than a vote: any active person who holds a role that counts for this model may take it."""
    ruling = await _may(act, incident, world)
    if ruling.error is None:
        ruling = await _possible(act, incident, world, ruling)
    if ruling.error is not None:
        return await refuse(act, incident, world, ruling)
    kind, said = ACTS[act.action], spoken(act.reason, world)
    entry = kind.make(act, incident, world, said.ref if said.text else "")
    entries, rest = [entry], []
    if kind.ends:
        entries.append(e.PostmortemDrafted(template=incident.plan.postmortem if incident.plan else "postmortem.md.j2"))
        rest = await releases(incident, world, recovered=False)
    if kind.model:
        rest = [to(await world.ledger(incident.model_stream), entry)]
    step = Step((write(incident, *entries), *rest), said=(said,) if said.text else ())
    await world.append(incident, step, wake=True)
    return Answer(ok=True, text=kind.done(act, incident, entry))


async def _may(act: Press, incident: Incident, world: World) -> Ruling:
    """Say who may: whoever holds a role that counts here; and whoever has it hands it over, with or without one."""
    if act.action == "review" and incident.review is not None:
        return await may_review(act.person, incident, world, act.via)
    if act.action == "hand_over" and incident.taken_by == act.person:
        mine = await standing(act.person, [], incident, world)
        return access.ruled(access.account(mine, act.via, world.clock.now()))
    return await may(act.person, incident, world, act.via)


async def may(person: str, incident: Incident, world: World, via: str = "") -> Ruling:
    """Say whether a person may do here what is no vote: with a good account and a role that counts for this model."""
    roles = counting(incident, world)
    mine = await standing(person, roles, incident, world)
    return await _held_to(mine, roles, (person,), world, via)


async def may_review(person: str, incident: Incident, world: World, via: str = "") -> Ruling:
    """Say whether a person may review: not who broke the glass, by another account of theirs or on their loan either."""
    roles, broke = counting(incident, world), incident.review.person if incident.review else ""
    known = await standings((person, broke) if broke else (person,), roles, incident, world)
    mine = known[person]
    if broke and (person == broke or access.same_account(mine, known[broke])):
        return no("You broke the glass, so somebody else must review it.")
    return await _held_to(access.without(mine, {broke: "broke the glass"}), roles, (person, broke), world, via)


async def _held_to(mine: access.Standing, roles: list[str], out: tuple[str, ...], world: World, via: str) -> Ruling:
    """Judge a standing; only a refusal for the role asks who could."""
    now = world.clock.now()
    ruling = access.may_act(mine, roles, via, now)
    if ruling.error is not RoleMissing:
        return ruling
    return access.may_act(mine, roles, via, now, await holders_of(roles, world, out))


async def holders_of(names: Iterable[str], world: World, out: tuple[str, ...]) -> str:
    """Say who holds one of these roles, without those in `out`; an empty text when nobody is known by name."""
    sources = dict.fromkeys(source for name in names for source in world.catalogue.roles[name].sources)
    found = await asyncio.gather(*(world.directory.people(source) for source in sources))
    people = [one for one in dict.fromkeys(one for some in found for one in some) if one not in out]
    return f"{words.people(people[:NAMED], 'or')} can." if people else ""


async def _possible(act: Press, incident: Incident, world: World, may: Ruling) -> Ruling:
    """Refuse what the card they pressed no longer says, what this phase does not allow, a missing reason, and what hinders the act."""
    kind = ACTS[act.action]
    if kind.card and (stale := access.outdated(incident, act.plan, "decide")):
        return no(stale, Stale, may.checks)
    if act.action not in access.legal(incident):
        return no(_not_now(act, incident), Expired, may.checks)
    if kind.hinder is not None and (why := await kind.hinder(act, incident, world)):
        return no(why, before=may.checks)
    if kind.reason and (why := acts.why(act.reason)):
        return no(why, before=may.checks)
    return may


def _not_now(act: Press, incident: Incident) -> str:
    if act.action == "review":
        return f"Nothing in incident {incident.short} waits for a review."
    return f"Incident {incident.short} is {incident.phase}, so this is not possible now."


# ── what hinders an act ───────────────────────────────────────────────────────────────────────────────────────────


async def only_shows(_: Press, incident: Incident, world: World) -> str:
    """Say that nothing is moved for this model; an empty text when Lastgood acts."""
    name = incident.model
    return f"Lastgood only decides and shows for {name} now, so it moves nothing." if world.observes(name) else ""


async def _has_it(act: Press, incident: Incident, _: World) -> str:
    return f"You have incident {incident.short} already." if incident.taken_by == act.person else ""


async def _no_such_version(act: Press, incident: Incident, world: World) -> str:
    version, plan = act.asked.get("version", "").strip(), incident.plan
    if plan is not None and incident.phase is Phase.WAITING and version == plan.to_version:
        return f"Plan {plan.short} goes to {version} already."
    bad = plan.from_version if plan else incident.blocked.bad_version if incident.blocked else None
    offered = [one.version for one in incident.candidates]
    if version not in offered:
        offered = [*offered, *(one for one in await _offered(incident, world) if one not in offered)]
    ledger = await world.ledger(incident.model_stream)
    return acts.against(version, bad, offered, ledger.quarantined)


async def _offered(incident: Incident, world: World) -> list[str]:
    """Ask every target what it could go back to; when one does not answer at once, nothing is known to be offered."""
    environment = world.catalogue.environment(incident)
    asked = (
        within(LOOK, read(incident, world, name), world.clock) for name in (environment.targets if environment else ())
    )
    try:
        states = await asyncio.gather(*asked)
    except (AdapterError, TimeoutError):
        return []
    able = [[one.id for one in state.revisions if one.restorable] for state in states]
    return [one for one in able[0] if all(one in other for other in able)] if able else []


async def _no_edit(act: Press, incident: Incident, _: World) -> str:
    return acts.edited(incident, act.asked.get("on_failure", ""))


async def _no_time(act: Press, _: Incident, __: World) -> str:
    length = acts.span(act.asked.get("until", ""), "A snooze")
    return length if isinstance(length, str) else ""


async def _no_receiver(act: Press, incident: Incident, world: World) -> str:
    to = act.asked.get("to", "").strip()
    if incident.taken_by not in (None, act.person):
        holder = words.person(str(incident.taken_by))
        return f"{holder} has incident {incident.short}; {holder} can hand it over, or you take it first."
    roles = counting(incident, world)
    known = await standing(to, roles, incident, world)
    return acts.receiver(incident, to, known, roles, world.clock.now())


# ── what an act writes ────────────────────────────────────────────────────────────────────────────────────────────


def _requested(a: Press, i: Incident, _: World, ref: str) -> e.Entry:
    """Whose wish it was stays excluded; a plan that nobody wished for before is the wish of whoever asks now."""
    return e.PlanRequested(person=a.person, wanted=i.wanted, requester=i.requester or a.person, text_ref=ref or None)


def _chosen(a: Press, i: Incident, _: World, ref: str) -> e.Entry:
    """Who chooses a version is its requester; who repeats somebody's choice does not take it over."""
    version = a.asked["version"].strip()
    whose = i.requester if i.requester is not None and i.wanted == version else a.person
    return e.PlanRequested(person=a.person, wanted=version, requester=whose, text_ref=ref or None)


def _edit(a: Press, i: Incident, _: World, ref: str) -> e.Entry:
    held = {"on_failure": a.asked["on_failure"], "plan": i.plan.id if i.plan else ""}
    return e.PlanEdited.model_validate({"person": a.person, "via": a.via, "text_ref": ref or None, **held})


def _snoozed(a: Press, _: Incident, world: World, ref: str) -> e.Entry:
    length = acts.span(a.asked["until"], "A snooze")
    if isinstance(length, str):
        raise TypeError(length)
    return e.IncidentSnoozed(person=a.person, until=world.clock.now() + length, text_ref=ref)


def _closed(a: Press, i: Incident, _: World, ref: str) -> e.Entry:
    outcome = "gave_up" if i.claim else "dismissed"
    reason = f"{words.person(a.person)} closed it: {outcome.replace('_', ' ')}."
    return e.IncidentClosed.model_validate(
        {"outcome": outcome, "person": a.person, "text_ref": ref or None, "reason": reason}
    )


ACTS: dict[str, Act] = {
    "reject": Act(
        lambda a, i, _, ref: e.PlanRejected(person=a.person, plan=i.plan.id if i.plan else "", text_ref=ref, via=a.via),
        lambda *_: "You rejected the plan. Nothing was changed.", reason=True,
    ),
    "choose": Act(
        _chosen, lambda a, _, x: f"A plan to {x.wanted} is being made. {whose(x.requester, a.person)}",
        hinder=_no_such_version,
    ),
    "edit": Act(
        _edit, lambda _, __, x: f"A new plan is being made: on failure {x.on_failure}. You edited it, so somebody else approves it.",
        hinder=_no_edit,
    ),
    "snooze": Act(
        _snoozed, lambda _, i, x: f"Incident {i.short} is put off until {words.moment(x.until)}. A worse alert ends that.",
        reason=True, hinder=_no_time,
    ),
    "plan_again": Act(_requested, lambda a, _, x: f"A new plan is being made. {whose(x.requester, a.person)}"),
    "retry": Act(
        lambda a, i, _, __: e.StepRetried(step=str(i.unfinished), person=a.person), lambda *_: "Trying again.", hinder=only_shows
    ),
    "mark_recovered": Act(
        lambda a, _, __, ref: e.MarkedRecovered(person=a.person, text_ref=ref), lambda *_: "Marked recovered.", reason=True
    ),
    "cancel": Act(
        lambda a, _, __, ref: e.RollbackCancelled(person=a.person, text_ref=ref),
        lambda *_: "Cancelled before the next effect; what was applied stays.", reason=True,
    ),
    "pause": Act(
        lambda a, _, __, ref: e.RollbackPaused(person=a.person, text_ref=ref),
        lambda *_: f"Paused: no further step starts. Resume or cancel within 15{words.NBSP}min, else a person is called.", reason=True,
    ),
    "resume": Act(lambda a, *_: e.RollbackResumed(person=a.person), lambda *_: "The rollback goes on.", hinder=only_shows),
    "skip": Act(
        lambda a, i, _, ref: e.StepSkipped(step=str(i.unfinished), person=a.person, text_ref=ref),
        lambda _, __, x: f"Step {x.step} is skipped.", reason=True, hinder=only_shows,
    ),
    "compensate": Act(
        lambda a, _, __, ref: e.CompensationAsked(person=a.person, text_ref=ref),
        lambda *_: "What was applied is put back, in exact reverse.", reason=True, hinder=only_shows,
    ),
    "by_hand": Act(
        lambda a, i, _, ref: e.StepByHand(step=str(i.unfinished), person=a.person, text_ref=ref),
        lambda _, __, x: f"Step {x.step} counts as done by hand; it is read and proven now.", reason=True,
    ),
    "take": Act(
        lambda a, *_: e.IncidentTaken(person=a.person), lambda _, i, __: f"You have incident {i.short}.", hinder=_has_it
    ),
    "hand_over": Act(
        lambda a, _, __, ref: e.IncidentHandedOver(person=a.person, to=a.asked["to"].strip(), text_ref=ref),
        lambda _, i, x: f"{words.person(x.to)} has incident {i.short} now.", reason=True, hinder=_no_receiver, card=False,
    ),
    "review": Act(
        lambda a, _, __, ref: e.ReviewDone(person=a.person, text_ref=ref),
        lambda _, i, __: f"You reviewed the break-glass rollback of incident {i.short}.", reason=True, card=False,
    ),
    "give_up": Act(_closed, lambda _, i, __: f"Closed {i.short}.", reason=True, ends=True),
    "dismiss": Act(_closed, lambda _, i, __: f"Closed {i.short}.", ends=True),
    **AFTER,
}  # fmt: skip


# ── acting alone ──────────────────────────────────────────────────────────────────────────────────────────────────


async def break_glass(act: Press, incident: Incident, world: World) -> Answer:
    """Clear the plan on one person's word, loudly; the claim asks again whether they still hold the role."""
    rule, now = world.catalogue.policy.break_glass, world.clock.now()
    mine = await standing(act.person, [rule.role] if rule else [], incident, world)
    question = access.Question(
        user=act.person, plan=act.plan, standing=mine, others={}, who_could="", now=now, via=act.via
    )
    alone = acts.Alone(act.reason, act.asked.get("typed", ""))
    ruling = acts.may_break(incident, question, rule, alone)
    if ruling.error is not None or rule is None or incident.plan is None:
        return await refuse(act, incident, world, await _with_who(act, incident, world, ruling))
    if why := await only_shows(act, incident, world):
        return await refuse(act, incident, world, no(why, before=ruling.checks))
    asked = await opinions("break_glass", (act.person,), incident, world)
    if why := objection(asked):
        return await refuse(act, incident, world, no(why, before=(*ruling.checks, *asked)))
    said = spoken(act.reason, world)
    broken = e.GlassBroken(
        person=act.person, role=rule.role, plan=incident.plan.id, card_version=act.card_version, via=act.via,
        text_ref=said.ref, checks=(*ruling.checks, *asked), request=act.request, window_ends=now + CLAIM_WINDOW,
        review_due=now + rule.review_within, owner=_mentioned(incident, world),
    )  # fmt: skip
    await world.append(incident, Step((write(incident, broken),), said=(said,)), wake=True)
    change = words.change(incident.plan.from_version, incident.plan.to_version)
    due = words.moment(broken.review_due)
    return Answer(ok=True, text=f"You broke the glass: {change} starts now. Somebody else reviews it by {due}.")


async def _with_who(act: Press, incident: Incident, world: World, ruling: Ruling) -> Ruling:
    """Add who may act alone to a refusal that is about the role."""
    if ruling.error is None or ruling.error.reason != "role_missing":
        return ruling
    names = await breakers(incident, world)
    could = f"{names} can." if names else await who_could(act.person, incident, world)
    text = f"{ruling.text.removesuffix('Nothing was changed.')}{could} Nothing was changed." if could else ruling.text
    return Ruling(ruling.checks, error=ruling.error, text=text)


def _mentioned(incident: Incident, world: World) -> str:
    model = world.catalogue.models.get(incident.model)
    owner = model.owner if model else Owner()
    return owner.usergroup or owner.member or owner.escalation_policy or ""
