"""CLEARED → ROLLING → APPLIED: check everything again, take the locks, act one step at a time, read before any retry."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from bot.domain import access, proof, words
from bot.domain import entries as e
from bot.domain.incident import Incident, StepState, Vote
from bot.domain.ledger import Ledger
from bot.domain.orders import LENT, LOGINS, SWITCH
from bot.domain.plan import Plan, PlanStep
from bot.domain.sli import SliSample
from bot.domain.traffic import ApplyResult, Outcome, TargetPlan, TargetState, TrafficSplit
from bot.errors import AdapterError
from bot.flow import evidence
from bot.flow.authorizers import objection, opinions
from bot.flow.effects import AGAIN, ATTEMPTS, asked, done, effect, failed_with, plan_of, together
from bot.flow.facts import judge
from bot.flow.locks import by_itself, forbidden, locked
from bot.flow.people import standings
from bot.flow.samples import looked
from bot.flow.steps import is_action, looked_up, tells_people
from bot.flow.targets import CALL, ask, changed, differs, joined, read, rewritten, states
from bot.flow.world import POLICY, Later, Step, World, to, write
from bot.flow.world import Outcome as Next

WINDOW = timedelta(seconds=60)  # after a quorum, an automatic decision or a lock's release
DEADLINE = CALL + timedelta(seconds=5)  # from the intent; an effect is sent only while a whole call still fits
PATIENCE = 2 * CALL  # how long a target that does not answer is asked again before a person is
BEFORE_WITHIN = timedelta(seconds=2)  # for a last look at the SLIs before anything is moved
PAUSE = timedelta(minutes=15)  # how long a pause may last before a person is called
PARKED = timedelta(seconds=1)


# ── the claim ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def claim(incident: Incident, world: World) -> Next:
    """Take the rollback, if people, plan, policy and world still allow it."""
    plan, now = incident.plan, world.clock.now()
    if plan is None or incident.decision is None:
        raise ValueError("a cleared incident has a decided plan")
    if incident.ended and incident.requester is None:
        return await by_itself(incident, world)
    locks = await locked(incident, world)
    if held := next((one for one in locks if one.lock not in (None, incident.stream)), None):
        return _park(incident, held, now)
    if now >= _window_ends(incident, locks):
        return _too_late(incident, plan)
    if reason := rewritten(incident, world) or await forbidden(incident, world):
        return Step((write(incident, e.PlanVoided(plan=plan.id, reason=reason)),))
    if incident.news and access.acts_alone(incident) is None:  # who acts alone does not act on the policy's word
        return Step((write(incident, e.DecisionDue(reason=joined(incident.news))),))
    if world.observes(incident.model):
        reason = f"Lastgood only decides and shows for {incident.model} now."
        return Step((write(incident, e.DecisionDue(reason=reason)),))
    given = await _orders(incident, world)  # read before they are judged, so that an order that comes between is seen
    quorum = await _quorum(incident, world)
    if quorum.unsure:
        return Later(now + AGAIN)  # asked again inside the window: no answer is not a no
    if not quorum.holds:
        return _unclear(incident, plan, quorum)
    if incident.decision.mode == "auto" and (decided := await judge(incident, world)).mode != "auto":
        fell = e.PlanUncleared(plan=plan.id, reason="The rule that acts alone no longer matches.")
        return Step((write(incident, fell, decided),))
    asked = await opinions("execute", _people(incident), incident, world)
    if why := objection(asked):
        return _objected(incident, plan, why)
    return await _take(incident, world, plan, locks, (*quorum.checks, *asked), given)


async def _orders(incident: Incident, world: World) -> dict[str, int]:
    """Give the epochs of what people ordered that this claim rests on.

    A rule that acts alone rests on the switch, people on the roles lent to them, both on the files in force. One that moves
    on between is a Conflict.
    """
    alone = incident.decision is not None and incident.decision.mode == "auto"
    stream = SWITCH if alone else LENT
    return {stream: (await world.orders(stream)).epoch, POLICY: world.generation}


def _people(incident: Incident) -> tuple[str, ...]:
    """Give on whose word it starts: whoever broke the glass alone, else the voters; nobody for a rule that acts alone."""
    alone = access.acts_alone(incident)
    return (alone,) if alone is not None else tuple(vote.person for vote in incident.votes)


def _park(incident: Incident, held: Ledger, now: datetime) -> Next:
    """Wait for the holder to let go; the wait costs neither the window nor the plan's time."""
    if held.lock is None or held.lock == incident.parked_on:
        return Later(now + PARKED)
    parked = e.RollbackParked(holder=held.lock, resource=held.stream)
    return Step((write(incident, parked),), given={incident.stream: incident.epoch})


def _window_ends(incident: Incident, locks: list[Ledger]) -> datetime:
    opened = incident.cleared or (incident.glass if access.acts_alone(incident) else None)
    ends = opened.window_ends if opened else incident.since + WINDOW
    freed = [one.released_at for one in locks if one.released_at and one.released_at > incident.since]
    return max([ends, *(at + WINDOW for at in freed)])


def _too_late(incident: Incident, plan: Plan) -> Step:
    """People vote again on what they see now; what acts alone is planned anew, and a target nobody can read ends there."""
    reason = "The claim window ended before the rollback could start."
    if incident.decision and incident.decision.mode == "auto":
        return Step((write(incident, e.PlanVoided(plan=plan.id, reason=reason)),))
    everybody = tuple(vote.person for vote in incident.votes)
    reason = f"{reason} It needs its approvals again."
    return Step((write(incident, e.PlanUncleared(plan=plan.id, reason=reason, drop_votes_of=everybody)),))


def _unclear(incident: Incident, plan: Plan, quorum: access.Quorum) -> Step:
    """Drop the votes that count no more; when each counts and they fill fewer places together, drop all.

    Broken glass that no longer holds clears nothing, and takes no vote with it.
    """
    if access.acts_alone(incident) is not None and incident.glass is not None:
        reason = f"{_no_glass(incident.glass, quorum)}, so the broken glass clears nothing."
        return Step((write(incident, e.PlanUncleared(plan=plan.id, reason=reason)),))
    drop = quorum.lost or tuple(vote.person for vote in incident.votes)
    return Step((write(incident, e.PlanUncleared(plan=plan.id, reason=_why_lost(quorum), drop_votes_of=drop)),))


def _no_glass(glass: e.GlassBroken, quorum: access.Quorum) -> str:
    person = words.person(glass.person)
    if quorum.forged:
        return f"It says that {person} broke the glass in a terminal, and {access.UNSIGNED}"
    return f"{person} no longer holds {glass.role}"


def _why_lost(quorum: access.Quorum) -> str:
    """Say whose approval counts no more, and whose never did."""
    lost = [one for one in quorum.lost if one not in quorum.forged]
    verb = "counts" if len(lost) == 1 else "count"
    told = [f"The approval of {words.people(lost)} no longer {verb}."] if lost else []
    told += [f"The approval of {words.person(one)} does not count: {access.UNSIGNED}." for one in quorum.forged]
    return " ".join(told) or "The quorum no longer holds."


def _objected(incident: Incident, plan: Plan, why: str) -> Step:
    """Let people decide anew after an objection: their votes are dropped, and what would have acted alone is theirs now."""
    if incident.decision and incident.decision.mode == "auto":
        return Step((write(incident, e.IncidentStuck(reason=f"{why} Nothing was changed.")),))
    everybody = tuple(vote.person for vote in incident.votes)
    return Step((write(incident, e.PlanUncleared(plan=plan.id, reason=why, drop_votes_of=everybody)),))


async def _quorum(incident: Incident, world: World) -> access.Quorum:
    people, alone = _people(incident), access.acts_alone(incident)
    roles = [place.role for place in incident.decision.require] if incident.decision else []
    if alone is not None and incident.glass is not None:
        roles = [incident.glass.role]
    known = await standings((*people, *access.barred(incident.plan)), roles, incident, world, fresh=True)
    return access.may_execute(incident, known, world.clock.now(), await _by_terminal(incident, world))


async def _by_terminal(incident: Incident, world: World) -> dict[str, bool]:
    """Say of everybody who pressed for this plan in a terminal whether its signature proves the press."""
    act, presses = "approve", list[tuple[Vote | e.GlassBroken, datetime]]((vote, vote.at) for vote in incident.votes)
    if access.acts_alone(incident) is not None and incident.glass is not None:
        act, presses = "break_glass", [(incident.glass, incident.since)]  # the glass is what cleared it, just then
    terminal = [(one, at) for one, at in presses if one.via == access.TERMINAL]
    logins = await world.timeline.read(LOGINS) if terminal else []
    return {
        one.person: proof.proven(one.request, proof.act_on(act, incident.id, one.plan), one.person, at, logins)
        for one, at in terminal
    }


async def _take(
    incident: Incident, world: World, plan: Plan, locks: list[Ledger], checks: tuple[e.Check, ...], given: dict[str, int]
) -> Next:  # fmt: skip
    try:
        seen, looks = await asyncio.gather(states(incident, world), _last_look(incident, world, plan))
    except AdapterError as error:
        world.log.warning("claim.unreadable", incident=incident.id, error=str(error))
        return Later(world.clock.now() + AGAIN)
    if reason := changed(incident, seen):
        return Step((write(incident, e.PlanVoided(plan=plan.id, reason=reason)),))
    claimed = e.RollbackClaimed(
        plan=plan.id, before={s.target: s for s in seen}, goal={t.target: t.to_split for t in plan.targets},
        locks=plan.resources, people=_people(incident), checks=checks, executor=world.executor,
    )  # fmt: skip
    lock = e.LockTaken(incident=incident.stream, plan=plan.id)
    held = [to(one, _counted(incident, plan, lock) if one.stream == incident.model_stream else lock) for one in locks]
    before = [e.SliSampled(samples=looks, before=True)] if looks else []
    lanes = (evidence.LANE,) if evidence.wanted(world) else ()
    return Step(
        (write(incident, *before, claimed), *held), given=given, until=_window_ends(incident, locks), lanes=lanes
    )


async def _last_look(incident: Incident, world: World, plan: Plan) -> tuple[SliSample, ...]:
    """Look at the SLIs once more before anything moves, where the look at the plan gave no value: some need two looks."""
    known = incident.before.samples if incident.before else ()
    if all(one.measurement.value is not None for one in known):
        return ()
    return await looked(incident, world, plan.verify.recovery, plan.from_version, BEFORE_WITHIN)


def _counted(incident: Incident, plan: Plan, lock: e.LockTaken) -> e.LockTaken:
    """Give the lock on the model as it is counted: by which rule, how it was allowed, and from where to where."""
    decision = incident.decision
    mode = "break_glass" if access.acts_alone(incident) is not None else decision.mode if decision else ""
    rule = decision.rule if decision else ""
    return lock.but(rule=rule, mode=mode, from_version=plan.from_version, to_version=plan.to_version)


# ── the steps ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def roll_back(incident: Incident, world: World) -> Next:
    """Do the next thing: finish what is in flight, put back what must be, start what is ready, or ask a person."""
    if incident.in_flight:
        return await _finish(incident, world)
    if incident.cancelled:
        return _hand_over(incident, incident.stuck_reason)
    failed = _failed(incident)
    if failed is not None or incident.undoing:
        return await _undo(incident, world, failed)
    if incident.paused_by is not None:
        return _paused(incident, world)
    steps = _ready(incident)
    if not steps:
        return _hand_over(incident, "No step can start: one before it has not moved.")
    begun = await asyncio.gather(*(_begin(incident, world, step) for step in steps))
    return together(incident, begun)


def _failed(incident: Incident) -> StepState | None:
    """Give what failed; a step that could not be put back first."""
    failed = [step for step in incident.steps.values() if step.state == "failed"]
    return max(failed, key=_going_back, default=None)


def _going_back(step: StepState) -> bool:
    return step.started is not None and step.started.compensating


def _paused(incident: Incident, world: World) -> Next:
    """Start nothing; a pause that is forgotten is a person's turn."""
    since = incident.paused_at or incident.since
    if world.clock.now() < since + PAUSE:
        return Later(since + PAUSE)
    who = words.person(str(incident.paused_by))
    reason = f"Paused by {who} {words.span(PAUSE)} ago, and nobody let it go on. Resume or cancel."
    return _hand_over(incident, reason)


def _ready(incident: Incident) -> tuple[PlanStep, ...]:
    """Give the steps that may start: what comes before each is proven, or was skipped by a person.

    One, unless the runbook lets them run side by side; never two on one target.
    """
    plan, found = incident.plan, dict[str, PlanStep]()
    for step in plan.steps if plan else ():
        fresh = incident.state_of(step.name) in ("", "again")
        if fresh and all(incident.state_of(name) in ("moved", "skipped") for name in step.after):
            found.setdefault(step.target, step)
    return tuple(found.values())[: None if plan and plan.parallel else 1]


async def _begin(incident: Incident, world: World, step: PlanStep) -> Next:
    """Write the intent, for a target with the counters as they are before the effect."""
    attempt = incident.steps[step.name].attempt + 1 if step.name in incident.steps else 1
    if step.kind != "target":
        start = _start(world, step.name, attempt, None)
        told = e.StepApplied(step=step.name, attempt=attempt, outcome=Outcome.APPLIED, detail=f"{step.target} is told.")
        return Step((write(incident, start, *([told] if tells_people(step) else [])),))
    target = plan_of(incident, step)
    start = _start(world, step.name, attempt, target.to_split)
    try:
        baseline = await ask(incident, world, target.target, lambda one: one.reading())
    except AdapterError as error:
        if error.retryable and world.clock.now() - incident.since < PATIENCE:
            return Later(world.clock.now() + AGAIN)
        reason = f"{target.target} cannot be counted, so nothing could be proven: {error} Nothing was sent."
        failed = e.StepFailed(step=step.name, attempt=attempt, outcome=Outcome.REJECTED, detail=reason)
        return Step((write(incident, start, failed),))
    return Step((write(incident, start.but(baseline=baseline)),))


def _start(world: World, step: str, attempt: int, goal: TrafficSplit | None, *, back: bool = False) -> e.StepStarted:
    deadline = world.clock.now() + DEADLINE
    return e.StepStarted(step=step, attempt=attempt, owner=world.owner, deadline=deadline, goal=goal, compensating=back)


async def _finish(incident: Incident, world: World) -> Next:
    """Go on with everything in flight: send what this call owns, all at once; read the rest before anything else."""
    ended = await asyncio.gather(*(_finished(incident, world, one) for one in incident.in_flight))
    return together(incident, ended)


async def _finished(incident: Incident, world: World, flight: StepState) -> Next:
    started = flight.started
    if started is None or incident.plan is None:
        raise ValueError("a step in flight was started")
    step = incident.plan.step(flight.name)
    if step.kind == "check" and not is_action(incident, world, step.target):
        return await asked(incident, world, step, flight)
    if flight.state == "started" and started.owner == world.owner:
        return await effect(incident, world, step, started)
    if flight.state == "started" and not _is_over(started, world):
        return Later(started.deadline)
    if step.kind != "target":
        return await _look_up(incident, world, step, started)
    return await _read_first(incident, world, flight, started)


def _is_over(started: e.StepStarted, world: World) -> bool:
    """Say whether nobody can still be sending for this intent.

    Its time is over; or this very call sent it and has the answer, and owns nothing since; or its process is dead, which
    is known where only one serves a timeline at a time.
    """
    ours = started.owner.rpartition("/")[0] == world.executor
    dead = world.alone and not ours
    return dead or (ours and not world.owner) or world.clock.now() >= started.deadline


async def _read_first(incident: Incident, world: World, flight: StepState, started: e.StepStarted) -> Next:
    """Somebody's effect ended without an answer: what is there decides, before anything is sent again."""
    target, now = _plan_of(incident, flight.name), world.clock.now()
    try:
        state = await read(incident, world, target.target)
    except AdapterError as error:
        if error.retryable and now < max(started.deadline, incident.since) + PATIENCE:
            return Later(now + AGAIN)
        reason = f"Step {flight.name}: {target.target} does not answer ({error}), so its state is unknown."
        return _hand_over(incident, reason)
    if _at(state, started.goal):
        seen = ApplyResult(
            outcome=Outcome.APPLIED, detail="Read back after the answer was lost.", token=state.token, started_at=now,
            finished_at=now,
        )  # fmt: skip
        return Step((write(incident, done(started, seen)),))
    if not _is_over(started, world) or (state.progressing and now < started.deadline + PATIENCE):
        return Later(now + AGAIN)  # it may still arrive
    return _not_there(incident, world, started, target, state)


def _not_there(
    incident: Incident, world: World, started: e.StepStarted, target: TargetPlan, state: TargetState
) -> Step:
    """Try again what left no trace, a few times; hand over what was cancelled or is neither as it was nor as it should be."""
    if incident.cancelled:
        detail = f"{target.target} serves {state.split}; cancelled before it was tried again."
        return failed_with(incident, started, Outcome.REJECTED, detail)
    if not started.compensating and differs(target, state):
        detail = f"{target.target} was {target.before.split}, is {state.split}, and should be {started.goal}."
        return failed_with(incident, started, Outcome.CONFLICT, detail)
    if started.attempt >= ATTEMPTS:
        detail = f"{target.target} serves {state.split} after {started.attempt} attempts."
        return failed_with(incident, started, Outcome.REJECTED, detail)
    again = _start(world, started.step, started.attempt + 1, started.goal, back=started.compensating)
    return Step((write(incident, again.but(baseline=started.baseline)),))


def _at(state: TargetState, goal: TrafficSplit | None) -> bool:
    return goal is not None and not state.progressing and state.split.same(goal)


async def _look_up(incident: Incident, world: World, step: PlanStep, started: e.StepStarted) -> Next:
    """Ask what became of an action whose answer was lost; what nobody can tell is never done a second time."""
    try:
        known = None if started.compensating else await looked_up(incident, world, step)
    except AdapterError as error:
        if error.retryable and world.clock.now() < max(started.deadline, incident.since) + PATIENCE:
            return Later(world.clock.now() + AGAIN)
        known = None
    if known is None:
        what = "was taken back" if started.compensating else "was done"
        return _hand_over(incident, f"Step {step.name}: nobody can tell whether it {what}. Look there, then say so.")
    if known.outcome in (Outcome.APPLIED, Outcome.NOOP):
        return Step((write(incident, done(started, known)),))
    if incident.cancelled or started.attempt >= ATTEMPTS:
        detail = f"not done after {started.attempt} attempts: {known.detail}"
        return failed_with(incident, started, Outcome.REJECTED, detail)
    return Step((write(incident, _start(world, step.name, started.attempt + 1, None)),))


# ── putting back ──────────────────────────────────────────────────────────────────────────────────────────────────


async def _undo(incident: Incident, world: World, failed: StepState | None) -> Next:
    """Follow `on_failure`, or a person's word: put back what was applied, in exact reverse.

    By default nothing is undone once any traffic is on the good version, and nothing ever goes back to a version with a
    security finding.
    """
    why = f"Step {failed.name} failed: {failed.detail}" if failed else "What was applied was put back, as asked."
    mode = incident.plan.on_failure if incident.plan else "stop"
    undo = mode == "compensate" or (mode == "before_traffic" and not incident.traffic_is_good)
    standing = _standing(incident)
    if failed is not None and _going_back(failed):
        return _hand_over(incident, f"Step {failed.name} could not be put back: {failed.detail}")
    if not (undo or incident.undoing) or not standing:
        return _hand_over(incident, why + _left_alone(incident))
    if finding := next((one for one in incident.alerts.values() if one.kind == "security"), None):
        named = words.plain(finding.summary or finding.fingerprint)
        return _hand_over(incident, f"{why} Nothing goes back to a version with a security finding: {named}.")
    last = standing[0]
    step = incident.plan.step(last.name) if incident.plan else None
    if incident.plan is None or step is None:
        raise ValueError("a rollback has a plan")
    goal = None
    if step.kind == "target":
        first, before = incident.plan.target(step.target), incident.plan.split_before(step)
        goal = first.undo if first.undo is not None and before.same(first.before.split) else before
    return Step((write(incident, _start(world, last.name, last.attempt + 1, goal, back=True)),))


def _standing(incident: Incident) -> list[StepState]:
    """Give the steps whose effects stand and can be put back, the latest first."""
    plan = incident.plan
    stands = [
        step
        for step in incident.steps.values()
        if step.state in ("applied", "moved") and plan is not None and _can_go_back(plan.step(step.name))
    ]
    order = list(incident.steps)
    return sorted(stands, key=lambda one: (one.at or incident.opened_at, order.index(one.name)), reverse=True)


def _can_go_back(step: PlanStep) -> bool:
    return step.kind == "target" or (step.kind == "warm" and not step.irreversible)


def _left_alone(incident: Incident) -> str:
    """Name what was done and cannot be put back, when putting back was tried."""
    back = any(step.state == "back" for step in incident.steps.values())
    plan = incident.plan
    kept = [
        name
        for name, step in incident.steps.items()
        if plan is not None
        and step.state == "moved"
        and not _can_go_back(plan.step(name))
        and plan.step(name).kind != "check"
    ]
    return f" {words.listed(kept)} cannot be put back." if back and kept else ""


def _hand_over(incident: Incident, reason: str) -> Step:
    """Hand over to a person, with the commands that do the rest by hand."""
    return Step((write(incident, e.IncidentStuck(reason=reason, by_hand=incident.commands)),))


def _plan_of(incident: Incident, step: str) -> TargetPlan:
    if incident.plan is None:
        raise ValueError("a rollback has a plan")
    return plan_of(incident, incident.plan.step(step))
