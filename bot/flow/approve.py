"""WAITING → CLEARED: votes and refusals, and the stage that counts, reminds, expires and voids."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

from bot.domain import access, acts, proof, words
from bot.domain import entries as e
from bot.domain.incident import Incident, Phase
from bot.domain.plan import Plan
from bot.domain.press import Answer, Press
from bot.errors import Conflict, NotFound
from bot.flow.acts import ACTS, CLAIM_WINDOW, break_glass, decide, no, only_shows, refuse
from bot.flow.authorizers import objection, opinions
from bot.flow.facts import judge, overtaken
from bot.flow.locks import by_itself, forbidden, locked
from bot.flow.people import asks_in, breakers, counting, holders, spoken, standings, unsigned, warm, who_can, who_could
from bot.flow.targets import joined, moved, rewritten
from bot.flow.world import Later, Outcome, Step, World, write

LOOK_EVERY = timedelta(seconds=10)
REMIND_AT = 1 / 3  # of the time, when the decision says nothing
MIN_REASON = acts.MIN_REASON


# ── the stage ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def wait(incident: Incident, world: World) -> Outcome:
    """See whether the wait is over; else say when to look again."""
    now, decision, plan = world.clock.now(), incident.decision, incident.plan
    if decision is None or plan is None:
        raise ValueError("an incident waits with a decided plan")
    await warm(incident, world)
    if incident.ended and incident.requester is None:
        return await by_itself(incident, world)
    if decision.expires_at and now >= decision.expires_at:
        return Step((write(incident, e.PlanExpired(plan=plan.id, reason=_expiry(incident, plan.short, decision))),))
    if reason := rewritten(incident, world) or await forbidden(incident, world):
        return Step((write(incident, e.PlanVoided(plan=plan.id, reason=reason)),))
    if reason := joined(incident.news) if incident.news else await overtaken(incident, world):
        return Step((write(incident, e.DecisionDue(reason=reason)),))
    if not access.open_places(decision.require, incident.votes):
        people = tuple(vote.person for vote in incident.votes)
        return Step((write(incident, e.PlanCleared(plan=plan.id, people=people, window_ends=now + CLAIM_WINDOW)),))
    if await _ripe(incident, decision, world):
        reason = "A rule that waited for time or samples is due."
        return Step((write(incident, e.DecisionDue(reason=reason)),))
    if reason := await moved(incident, world):
        return Step((write(incident, e.PlanVoided(plan=plan.id, reason=reason)),))
    return await _remind(incident, decision, plan, world)


def _expiry(incident: Incident, plan: str, decision: e.PolicyDecided) -> str:
    return f"Plan {plan} ended with {_so_far(incident, decision)}."


def _so_far(incident: Incident, decision: e.PolicyDecided) -> str:
    """Say how many approvals there are, and which roles are missing."""
    places = sum(place.count for place in decision.require)
    missing = words.listed(access.open_places(decision.require, incident.votes))
    return f"{len(incident.votes)} of {places} approvals; missing: {missing}"


async def _ripe(incident: Incident, decision: e.PolicyDecided, world: World) -> bool:
    """Say whether a rule that waited for time or samples has come true; one that still waits leaves no entry."""
    if decision.due_at is None or world.clock.now() < decision.due_at:
        return False
    now = await judge(incident, world)
    return (now.mode, now.rule, now.require) != (decision.mode, decision.rule, decision.require)


async def _remind(incident: Incident, decision: e.PolicyDecided, plan: Plan, world: World) -> Outcome:
    """Remind who can, then tell the next people, then say that a page is due; each once for a plan."""
    now, ends = world.clock.now(), decision.expires_at
    remind_at = decision.remind_at or (incident.since + (ends - incident.since) * REMIND_AT if ends else None)
    steps = (
        (None if incident.reminded else remind_at, _reminded),
        (None if decision.escalate_to in ("", *incident.escalated) else decision.escalate_at, _escalated),
        (None if "" in incident.escalated else decision.page_at, _paged),
    )
    for at, entry in steps:
        if at is not None and now >= at:
            told = await entry(incident, decision, plan, world)
            return Step((write(incident, told),), given={incident.stream: incident.epoch})
    times: list[datetime] = [now + LOOK_EVERY, *(at for at, _ in steps if at is not None)]
    times += [at for at in (ends, decision.due_at) if at is not None and at > now]
    return Later(min(times))


async def _reminded(incident: Incident, decision: e.PolicyDecided, _: Plan, world: World) -> e.Entry:
    return e.Reminded(plan=decision.plan, people=await who_can(incident, world))


async def _escalated(incident: Incident, decision: e.PolicyDecided, plan: Plan, world: World) -> e.Entry:
    role = decision.escalate_to
    people = await holders([role], incident, world)
    names = f": {words.people(people)}" if people else ", and nobody could say who that is now"
    reason = f"{_waits(incident, decision, plan, world)} {role} is told{names}."
    return e.PlanEscalated(plan=plan.id, role=role, people=people, reason=reason)


async def _paged(incident: Incident, decision: e.PolicyDecided, plan: Plan, world: World) -> e.Entry:
    model = world.catalogue.models.get(incident.model)
    policy = (model.owner.escalation_policy if model else None) or ""
    due = await asks_in(incident, world) or (
        f"A page to escalation policy {policy} is due, and no pager sends it: somebody must."
        if policy
        else f"A page is due, and {incident.model} names no escalation policy: set models.{incident.model}.owner.escalation_policy."
    )
    return e.PlanEscalated(plan=plan.id, policy=policy, reason=f"{_waits(incident, decision, plan, world)} {due}")


def _waits(incident: Incident, decision: e.PolicyDecided, plan: Plan, world: World) -> str:
    waited = words.span(world.clock.now() - incident.since)
    return f"Plan {plan.short} waits for {waited} now with {_so_far(incident, decision)}."


# ── people ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def press(act: Press, world: World) -> Answer:
    """Take one press from any surface: the one function every button, command and page goes through.

    A race lost to somebody else is judged anew on what they did. Raises Conflict when nothing moved on and the
    timeline still refuses.
    """
    verb = _VERBS.get(act.action, decide if act.action in ACTS else None)
    if verb is None:
        return Answer(ok=False, text="This button is not one I know. Nothing was changed.")
    seen: tuple[int, ...] | None = None
    while True:
        try:
            incident = await world.incident(f"incident/{act.incident}")
        except NotFound as error:
            return Answer(ok=False, text=f"{error} Nothing was changed.")
        before, seen = seen, await _epochs(act, incident, world)
        if seen == before:
            raise Conflict
        try:
            if why := await unsigned(act, _signed(act, incident), world):
                return await refuse(act, incident, world, no(why))
            return await verb(act, incident, world)
        except Conflict:
            continue


def _signed(act: Press, incident: Incident) -> proof.Subject:
    """Give what a terminal must have signed: the act on this incident, on the whole hash of the plan."""
    plan = incident.plan
    return proof.act_on(act.action, incident.id, plan.id if plan and act.plan == plan.short else act.plan)


async def _epochs(act: Press, incident: Incident, world: World) -> tuple[int, ...]:
    """Give what the act is appended against."""
    ends = act.action in ACTS and ACTS[act.action].ends
    return (incident.epoch, *(one.epoch for one in (await locked(incident, world) if ends else ())))


async def _approve(act: Press, incident: Incident, world: World) -> Answer:
    roles = counting(incident, world)
    names = (act.person, *(vote.person for vote in incident.votes), *access.barred(incident.plan))
    known, now = await standings(names, roles, incident, world), world.clock.now()
    question = access.Question(
        user=act.person, plan=act.plan, standing=known[act.person], others=known, who_could="", now=now, via=act.via
    )
    ruling = access.may_approve(incident, question)
    if ruling.role is None or incident.plan is None or incident.decision is None:
        could, glass = await asyncio.gather(_who_could(act, incident, world), breakers(incident, world))
        return await refuse(
            act, incident, world, access.may_approve(incident, replace(question, who_could=could, glass=glass))
        )
    if incident.decision.ask_reason and acts.why(act.reason):
        text = f"Say what you checked in at least {MIN_REASON} characters."
        return await refuse(act, incident, world, no(text, before=ruling.checks))
    if incident.decision.step_up and not _proven(act):
        text = "This approval counts behind the company's sign-in. Open the link, sign in and approve there."
        return replace(await refuse(act, incident, world, no(text, before=ruling.checks)), link_for=act.action)
    if why := await only_shows(act, incident, world):
        return await refuse(act, incident, world, no(why, before=ruling.checks))
    asked = await opinions("approve", (act.person,), incident, world)
    if why := objection(asked):
        return await refuse(act, incident, world, no(why, before=(*ruling.checks, *asked)))
    mine = access.without(known[act.person], access.barred(incident.plan))
    return await _given(act, incident, world, replace(ruling, checks=(*ruling.checks, *asked)), mine)


def _proven(act: Press) -> bool:
    """Say whether the person confirmed behind the company's sign-in.

    Only the web room builds a press that comes by `signin`, after it checked the identity token itself; the rooms that
    read a payload set their own `via` and choose what they keep of a request, so a payload can claim nothing here.
    """
    return act.via == "signin" and act.request.get("step_up") == "proven"


async def _given(act: Press, incident: Incident, world: World, ruling: access.Ruling, mine: access.Standing) -> Answer:
    plan, decision = incident.plan, incident.decision
    if plan is None or decision is None or ruling.role is None:
        raise ValueError("a vote is for a decided plan")
    said = spoken(act.reason, world)
    given = e.ApprovalGiven(
        person=act.person, role=ruling.role, holds=tuple(role for role in mine.roles if mine.holds(role)), plan=plan.id,
        card_version=act.card_version, via=act.via, text_ref=said.ref if said.text else None, checks=ruling.checks,
        request=act.request,
    )  # fmt: skip
    step = Step((write(incident, given),), said=(said,) if said.text else ())
    await world.append(incident, step, wake=True)
    n, need = len({*(vote.person for vote in incident.votes), act.person}), sum(x.count for x in decision.require)
    return Answer(
        ok=True,
        text=f"You approved {words.change(plan.from_version, plan.to_version)} as {ruling.role}, {n} of {need}.",
    )


async def _who_could(act: Press, incident: Incident, world: World) -> str:
    return await who_could(act.person, incident, world) if incident.phase is Phase.WAITING else ""


_VERBS = {"approve": _approve, "break_glass": break_glass}
