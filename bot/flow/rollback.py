"""CLEARED → ROLLING → APPLIED: check everything again, take the locks, act one step at a time, read before any retry."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.domain import access, proof, words
from bot.domain import entries as e
from bot.domain.incident import Incident, StepState, Vote
from bot.domain.ledger import Ledger
from bot.domain.orders import LENT, LOGINS, SWITCH
from bot.domain.plan import Plan, PlanStep
from bot.domain.traffic import ApplyResult, Outcome, TargetPlan, TargetState, TrafficSplit
from bot.errors import AdapterError
from bot.flow.authorizers import objection, opinions
from bot.flow.facts import judge
from bot.flow.locks import by_itself, forbidden, let_go, locked
from bot.flow.people import standings
from bot.flow.targets import CALL, adapter, ask, changed, differs, joined, read, rewritten, states, within
from bot.flow.world import POLICY, Later, Step, World, to, write
from bot.flow.world import Outcome as Next

WINDOW = timedelta(seconds=60)  # after a quorum, an automatic decision or a lock's release
DEADLINE = CALL + timedelta(seconds=5)  # from the intent; an effect is sent only while a whole call still fits
PATIENCE = 2 * CALL  # how long a target that does not answer is asked again before a person is
ATTEMPTS = 3
AGAIN = timedelta(seconds=2)
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
        seen = await states(incident, world)
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
    return Step((write(incident, claimed), *held), given=given, until=_window_ends(incident, locks))


def _counted(incident: Incident, plan: Plan, lock: e.LockTaken) -> e.LockTaken:
    """Give the lock on the model as it is counted: by which rule, how it was allowed, and from where to where."""
    decision = incident.decision
    mode = "break_glass" if access.acts_alone(incident) is not None else decision.mode if decision else ""
    rule = decision.rule if decision else ""
    return lock.but(rule=rule, mode=mode, from_version=plan.from_version, to_version=plan.to_version)


# ── the steps ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def roll_back(incident: Incident, world: World) -> Next:
    """Do the next thing: finish what is in flight, put back what must be, start the next step, or ask a person."""
    flight = incident.in_flight
    if flight is not None:
        return await _finish(incident, world, flight)
    if incident.cancelled:
        return _hand_over(incident, incident.stuck_reason)
    failed = next((step for step in incident.steps.values() if step.state == "failed"), None)
    if failed is not None:
        return await _after_failure(incident, world, failed)
    step = _ready(incident)
    if step is None:
        return _hand_over(incident, "No step can start: one before it has not moved.")
    return await _begin(incident, world, step.name)


def _ready(incident: Incident) -> PlanStep | None:
    for step in incident.plan.steps if incident.plan else ():
        state = incident.steps.get(step.name)
        fresh = state is None or state.state == "again"
        if fresh and all(name in incident.steps and incident.steps[name].state == "moved" for name in step.after):
            return step
    return None


async def _begin(incident: Incident, world: World, step: str) -> Next:
    """Write the intent, with the counters as they are before the effect."""
    target = _plan_of(incident, step)
    before = incident.steps.get(step)
    start = _start(world, step, before.attempt + 1 if before else 1, target.to_split)
    try:
        baseline = await ask(incident, world, target.target, lambda one: one.reading())
    except AdapterError as error:
        if error.retryable and world.clock.now() - incident.since < PATIENCE:
            return Later(world.clock.now() + AGAIN)
        reason = f"{target.target} cannot be counted, so nothing could be proven: {error} Nothing was sent."
        failed = e.StepFailed(step=step, attempt=start.attempt, outcome=Outcome.REJECTED, detail=reason)
        return Step((write(incident, start, failed),))
    return Step((write(incident, start.but(baseline=baseline)),))


def _start(world: World, step: str, attempt: int, goal: TrafficSplit, *, back: bool = False) -> e.StepStarted:
    deadline = world.clock.now() + DEADLINE
    return e.StepStarted(step=step, attempt=attempt, owner=world.owner, deadline=deadline, goal=goal, compensating=back)


async def _finish(incident: Incident, world: World, flight: StepState) -> Next:
    started = flight.started
    if started is None:
        raise ValueError("a step in flight was started")
    if flight.state == "started" and started.owner == world.owner:
        return await _effect(incident, world, started)
    if flight.state == "started" and not _is_over(started, world):
        return Later(started.deadline)
    return await _read_first(incident, world, flight, started)


def _is_over(started: e.StepStarted, world: World) -> bool:
    """Say whether nobody can still be sending for this intent.

    Its time is over; or this very call sent it and has the answer, and owns nothing since; or its process is dead,
    since only one serves a timeline at a time.
    """
    ours = started.owner.rpartition("/")[0] == world.executor
    return not ours or not world.owner or world.clock.now() >= started.deadline


async def _effect(incident: Incident, world: World, started: e.StepStarted) -> Next:
    """Send once, as the owner of the intent, if there is time left to hear the answer."""
    if incident.cancelled:
        return _failed(incident, started, Outcome.REJECTED, "Cancelled before anything was sent.")
    if started.deadline - world.clock.now() < CALL:
        return Later(started.deadline)  # whoever comes then reads first
    target = _plan_of(incident, started.step)
    wanted = target.but(to_split=started.goal)
    try:
        call = adapter(incident, world, target.target).apply(wanted)
        result = await within(CALL, call, world.clock)
    except TimeoutError:
        return _unknown(incident, started, f"{target.target} did not answer within {CALL.seconds} s.")
    except AdapterError as error:
        if error.retryable and started.attempt < ATTEMPTS:
            return _unknown(incident, started, f"{error} Nothing was sent.")
        return _failed(incident, started, Outcome.REJECTED, f"{error} Nothing was sent.")
    return await _answered(incident, world, started, result)


async def _answered(incident: Incident, world: World, started: e.StepStarted, result: ApplyResult) -> Next:
    if result.outcome in (Outcome.APPLIED, Outcome.NOOP):
        done = _done(started, result)
        return Step((write(incident, done),), yields=True)
    if result.outcome is Outcome.INDETERMINATE:
        return _unknown(incident, started, result.detail)
    if result.outcome is Outcome.CONFLICT and _first_touch(incident, started) and incident.plan:
        plan, reason = incident.plan.id, result.detail
        failed = e.StepFailed(step=started.step, attempt=started.attempt, outcome=result.outcome, detail=reason)
        ended = (e.RollbackReleased(plan=plan, reason=reason), e.PlanVoided(plan=plan, reason=reason))
        return Step((write(incident, failed, *ended), *await let_go(incident, world)), yields=True)
    return _failed(incident, started, result.outcome, result.detail)


def _first_touch(incident: Incident, started: e.StepStarted) -> bool:
    """Say whether this is the only thing the rollback ever tried, so that a conflict proves that nothing was applied."""
    return started.attempt == 1 and set(incident.steps) == {started.step} and not started.compensating


def _unknown(incident: Incident, started: e.StepStarted, detail: str) -> Step:
    entry = e.StepUnknown(step=started.step, attempt=started.attempt, detail=detail)
    return Step((write(incident, entry),), yields=True)


def _failed(incident: Incident, started: e.StepStarted, outcome: Outcome, detail: str) -> Step:
    entry = e.StepFailed(step=started.step, attempt=started.attempt, outcome=outcome, detail=detail)
    return Step((write(incident, entry),), yields=True)


def _done(started: e.StepStarted, result: ApplyResult) -> e.Entry:
    if started.compensating:
        return e.StepCompensated(step=started.step, detail=result.detail, token=result.token)
    return e.StepApplied(
        step=started.step, attempt=started.attempt, outcome=result.outcome, observed=started.goal,
        receipt=result.receipt, detail=result.detail,
    )  # fmt: skip


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
        return Step((write(incident, _done(started, seen)),))
    if not _is_over(started, world) or (state.progressing and now < started.deadline + PATIENCE):
        return Later(now + AGAIN)  # it may still arrive
    return _not_there(incident, world, started, target, state)


def _not_there(
    incident: Incident, world: World, started: e.StepStarted, target: TargetPlan, state: TargetState
) -> Step:
    """Try again what left no trace, a few times; hand over what was cancelled or is neither as it was nor as it should be."""
    if incident.cancelled:
        detail = f"{target.target} serves {state.split}; cancelled before it was tried again."
        return _failed(incident, started, Outcome.REJECTED, detail)
    if not started.compensating and differs(target, state):
        detail = f"{target.target} was {target.before.split}, is {state.split}, and should be {started.goal}."
        return _failed(incident, started, Outcome.CONFLICT, detail)
    if started.attempt >= ATTEMPTS:
        detail = f"{target.target} serves {state.split} after {started.attempt} attempts."
        return _failed(incident, started, Outcome.REJECTED, detail)
    again = _start(world, started.step, started.attempt + 1, started.goal, back=started.compensating)
    return Step((write(incident, again.but(baseline=started.baseline)),))


def _at(state: TargetState, goal: TrafficSplit) -> bool:
    return not state.progressing and state.split.same(goal)


async def _after_failure(incident: Incident, world: World, failed: StepState) -> Next:
    """Follow `on_failure`: by default nothing is undone once any traffic is on the good version."""
    mode = incident.plan.on_failure if incident.plan else "stop"
    undo = mode == "compensate" or (mode == "before_traffic" and not incident.traffic_is_good)
    done = [step for step in incident.steps.values() if step.state in ("applied", "moved")]
    if not undo or not done:
        return _hand_over(incident, f"Step {failed.name} failed: {failed.detail}")
    last, target = done[-1], _plan_of(incident, done[-1].name)
    back = _start(world, last.name, last.attempt + 1, target.undo or target.before.split, back=True)
    return Step((write(incident, back),))


def _hand_over(incident: Incident, reason: str) -> Step:
    """Hand over to a person, with the commands that do the rest by hand."""
    return Step((write(incident, e.IncidentStuck(reason=reason, by_hand=incident.commands)),))


def _plan_of(incident: Incident, step: str) -> TargetPlan:
    if incident.plan is None:
        raise ValueError("a rollback has a plan")
    target, state = incident.plan.target(incident.plan.step(step).target), incident.steps.get(step)
    if state is None or state.token is None:
        return target
    return target.but(before=target.before.but(token=state.token))  # as we left it when we put it back
