"""OPENED → PLANNED: read the targets, choose a concrete version, preflight, and hash the plan."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from bot.domain import words
from bot.domain.entries import PlanBlocked, PlanMade, SliSampled, VersionServed
from bot.domain.incident import Incident
from bot.domain.ledger import Choice, Wanted, choose
from bot.domain.model import Environment, Sli
from bot.domain.plan import Candidate, Kind, Plan, PlanStep
from bot.domain.runbook import CheckStep, Runbook, TargetStep, TellStep, ToFallback, ToTags, ToVersion, WarmStep
from bot.domain.traffic import Finding, Intent, TargetPlan, TargetState
from bot.domain.value import digest
from bot.errors import AdapterError
from bot.flow.deployer import deployed_by
from bot.flow.preflight import WITHIN, deltas, managed, preflight
from bot.flow.samples import looked
from bot.flow.shelf import Judged, look
from bot.flow.steps import EVERY, act_for, action, is_action, own_slis
from bot.flow.targets import ask, read
from bot.flow.world import Later, Outcome, Step, World, to, write

BACKOFF = tuple(timedelta(seconds=n) for n in (0, 1, 5, 30))  # after so many voids of this episode
GIVE_UP = timedelta(seconds=60)


async def plan(incident: Incident, world: World) -> Outcome:
    """Make the plan, or say what blocks it."""
    ready = incident.since + BACKOFF[min(incident.voids, len(BACKOFF) - 1)]
    if world.clock.now() < ready:
        return Later(ready)
    environment, book = world.catalogue.environment(incident), world.catalogue.runbook(incident)
    if environment is None or book is None:
        return _blocked(
            incident, f"No runbook applies to {incident.model} in {incident.environment}.", "Add one under runbooks/."
        )
    names = _targets(book)
    try:
        seen = await asyncio.gather(*(read(incident, world, name) for name in names))
        checks = await asyncio.gather(*(ask(incident, world, n, lambda one: one.preflight()) for n in names))
        findings = tuple(one for found in checks for one in found)
        return await _chosen(incident, world, environment, book, dict(zip(names, seen, strict=True)), findings)
    except AdapterError as error:
        return _unreachable(incident, world, error)


def _targets(book: Runbook) -> list[str]:
    return [step.target for step in book.rollback.steps if isinstance(step, TargetStep)]


def _unreachable(incident: Incident, world: World, error: AdapterError) -> Outcome:
    now = world.clock.now()
    if error.retryable and now - incident.since < GIVE_UP:
        return Later(now + timedelta(seconds=2))
    return _blocked(incident, f"The target could not be read: {error}", "Mend it, then plan again.")


def _blocked(
    incident: Incident,
    reason: str,
    mend: str,
    *,
    candidates: tuple[Candidate, ...] = (),
    bad: str | None = None,
    nothing: bool = False,
) -> Step:
    entry = PlanBlocked(reason=reason, mend=mend, candidates=candidates, bad_version=bad, serves_nothing=nothing)
    return Step((write(incident, entry),))


async def _chosen(
    incident: Incident,
    world: World,
    environment: Environment,
    book: Runbook,
    states: dict[str, TargetState],
    findings: tuple[Finding, ...],
) -> Step:
    ledger, shelf = await world.ledger(incident.model_stream), await look(world, environment)
    judged = Judged(shelf, environment.registry, ledger, tuple(states))
    tags = book.rollback.to.tags if isinstance(book.rollback.to, ToTags) and not incident.wanted else None
    if tags is not None and (untold := _untold(judged, tags)):
        return _blocked(incident, untold, "Mend the registry, or choose a version yourself.")
    choice = choose(ledger, _wanted(incident, world, environment, book, states, judged, tags))
    if choice.bad is None or (incident.alert_version not in (None, choice.bad) and not incident.requester):
        named = incident.alert_version or "the version the alert is about"
        return _blocked(
            incident,
            f"{named} serves no traffic, so there is nothing to roll back.",
            "",
            candidates=choice.candidates,
            nothing=True,
        )
    if choice.good is None:
        return _no_good(incident, book, choice, judged)
    steps, bad, good = _steps(incident, world, book, choice), str(choice.bad), choice.good
    plans, asked, before, looks, (deployer, unknown) = await asyncio.gather(
        _target_plans(incident, world, choice, states),
        preflight(incident, world, environment, steps, bad=bad, good=good),
        deltas(world, environment, bad, None),
        looked(incident, world, book.verify.recovery, bad, WITHIN),
        deployed_by(ledger, bad, world),
    )
    told = judged.findings(bad, good, compared=tags is not None)
    findings = (*findings, *asked.findings, *managed(states), *told, *unknown)
    blockers = [one for one in (*findings, *(f for p in plans for f in p.findings)) if one.level == "blocker"]
    if blockers:
        return _blocked(incident, blockers[0].message, blockers[0].mend, candidates=choice.candidates, bad=choice.bad)
    made = _plan(incident, world, book, choice, plans, findings, steps, judged)
    made = made.but(capacity_enough=asked.capacity_enough, deployer=deployer)
    seen = tuple(
        VersionServed(target=name, split=state.split)
        for name, state in states.items()
        if name not in ledger.splits or not ledger.splits[name].same(state.split)
    )
    served = (to(ledger, *seen),) if seen else ()
    now = (*before, *([SliSampled(samples=looks, before=True)] if looks else []))
    return Step((write(incident, PlanMade(plan=made, candidates=choice.candidates), *now), *served))


def _untold(judged: Judged, tags: Mapping[str, str]) -> str:
    """Say why nobody can tell which versions have these tags; an empty text when the registry does."""
    wanted = words.listed([f"{name}={value}" for name, value in tags.items()])
    if judged.shelf is None:
        return f"No registry tells which versions are {wanted}."
    return f"Cannot tell which versions are {wanted}: {judged.shelf.reason}." if judged.shelf.reason else ""


def _no_good(incident: Incident, book: Runbook, choice: Choice, judged: Judged) -> Step:
    """Say why nothing can take over: what speaks against the version that was asked for, or against each."""
    asked = _asked(incident, book)
    reasons = {one.version: one.reason for one in choice.candidates}
    against = "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) or "it is the only version"
    if asked is None:
        reason = f"No version can take over from {choice.bad} ({against})."
        mends = [mend for name in reasons if (mend := judged.mend(name))]
        mend = mends[0] if mends else f"Release a version or set environments.{incident.environment}.last_good."
    else:
        why = "it is the version that is rolled back from" if asked == choice.bad else "no target offers it"
        reason = f"{asked} cannot take over from {choice.bad}: {reasons.get(asked, why).rstrip('.')}."
        free = [name for name, said in reasons.items() if name != asked and not said.startswith("quarantined")]
        mend = f"Choose {words.listed(free, 'or')}." if free else "No other version can be chosen."
        mend = judged.mend(asked) or mend
    return _blocked(incident, reason, mend, candidates=choice.candidates, bad=choice.bad)


def _asked(incident: Incident, book: Runbook) -> str | None:
    """Give the version a person asked for, else the one the runbook names, a static fallback too."""
    goal = book.rollback.to
    named = goal.version if isinstance(goal, ToVersion) else goal.fallback if isinstance(goal, ToFallback) else None
    return incident.wanted or named


def _wanted(
    incident: Incident,
    world: World,
    environment: Environment,
    book: Runbook,
    states: dict[str, TargetState],
    judged: Judged,
    tags: Mapping[str, str] | None,
) -> Wanted:
    first = next(iter(states.values()))
    everywhere = [
        revision.id
        for revision in first.revisions
        if revision.restorable and all(any(r.id == revision.id for r in state.revisions) for state in states.values())
    ]
    share: dict[str, Decimal] = {}
    for state in states.values():
        for name, percent in state.split.weights.items():
            share[name] = max(share.get(name, Decimal(0)), percent)
    return Wanted(
        versions=everywhere, serving=share, alert_version=incident.alert_version, asked=_asked(incident, book),
        last_good=environment.last_good, soak=environment.soak, now=world.clock.now(),
        against=judged.against(everywhere), among=judged.among(tags),
    )  # fmt: skip


async def _target_plans(
    incident: Incident, world: World, choice: Choice, states: dict[str, TargetState]
) -> list[TargetPlan]:
    return await asyncio.gather(*(_target_plan(incident, world, choice, n, state) for n, state in states.items()))


async def _target_plan(incident: Incident, world: World, choice: Choice, name: str, state: TargetState) -> TargetPlan:
    intent = Intent(
        to_split=state.split.moved(str(choice.bad), str(choice.good)), bad=str(choice.bad), good=str(choice.good),
        reason=f"incident {incident.short}", incident_id=incident.id,
        idempotency_key=f"{incident.id}/{incident.plans + 1}/{name}",
    )  # fmt: skip
    return await ask(incident, world, name, lambda one: one.plan(intent, state))


def _plan(
    incident: Incident,
    world: World,
    book: Runbook,
    choice: Choice,
    plans: list[TargetPlan],
    findings: tuple[Finding, ...],
    steps: tuple[PlanStep, ...],
    judged: Judged,
) -> Plan:
    good = str(choice.good)
    return Plan(
        ordinal=incident.plans + 1, incident=incident.id, model=incident.model, environment=incident.environment,
        from_version=str(choice.bad), to_version=str(choice.good), observed_serving=choice.observed,
        good_since=choice.since, good_until=choice.until, steps=steps, targets=tuple(plans),
        resources=tuple(sorted({_resource(incident, world, p) for p in plans})),
        parallel=book.rollback.parallel,
        on_failure=incident.edit.on_failure if incident.edit else book.rollback.on_failure,
        editor=incident.edit.person if incident.edit else None,
        artefact=judged.known(good).digest, scan=judged.known(good).scan, signature_fits=judged.fits(good),
        verify=book.verify, confirm=book.confirm, findings=findings, requester=incident.requester, runbook=book.runbook,
        policy_digest=world.catalogue.policy_digest_of(incident.model, incident.environment), postmortem=book.postmortem, repair=book.repair,
        model_digest=world.catalogue.model_digests[incident.model], runbook_digest=world.catalogue.runbook_digests[book.runbook],
    )  # fmt: skip


def _steps(incident: Incident, world: World, book: Runbook, choice: Choice) -> tuple[PlanStep, ...]:
    """Give the plan's steps in the order written; a ramp becomes one step a stage, with a check between where one can ask.

    What waits for a target waits for the last of its stages.
    """
    order, found = book.rollback.order(), list[PlanStep]()
    for step in book.rollback.steps:
        if isinstance(step, TargetStep):
            found += _stages(step, order[step.name], checked=bool(_own_slis(incident, world)))
        else:
            found.append(_other(incident, world, step, order[step.name], choice))
    return tuple(found)


def _stages(step: TargetStep, after: tuple[str, ...], *, checked: bool) -> list[PlanStep]:
    made: list[PlanStep] = []
    for share in step.stages or (100,):
        last = share == 100
        name = step.target if last else f"{step.target}@{share}"
        made.append(PlanStep(name=name, target=step.target, after=after, share=share))
        after = (name,)
        if not last and checked:
            made.append(PlanStep(name=f"{name} check", target=EVERY, kind="check", after=after))
            after = (made[-1].name,)
    return made


def _own_slis(incident: Incident, world: World) -> dict[str, Sli]:
    environment = world.catalogue.environment(incident)
    return own_slis(dict(environment.slis)) if environment else {}


def _other(
    incident: Incident, world: World, step: WarmStep | CheckStep | TellStep, after: tuple[str, ...], choice: Choice
) -> PlanStep:
    kind: Kind = "warm" if isinstance(step, WarmStep) else "check" if isinstance(step, CheckStep) else "tell"
    until = step.until if isinstance(step, WarmStep) else None
    plain = PlanStep(name=step.name, target=step.name, kind=kind, after=after, until=until)
    if not is_action(incident, world, step.name):
        return plain
    adapter = action(incident, world, step.name)
    act = act_for(incident, step.name, bad=str(choice.bad), good=str(choice.good))
    leaves = str(getattr(adapter, "leaves", ""))
    return plain.but(call=adapter.call(act), irreversible=not adapter.reversible, leaves=leaves)


def _resource(incident: Incident, world: World, plan: TargetPlan) -> str:
    """Name what a target writes to, so two models that share a route never write at once; without a place it is its own."""
    target = world.catalogue.models[incident.model].environments[incident.environment].targets[plan.target]
    where = {key: value for key, value in target.settings.items() if key != "versions"}
    where = where or {"environment": incident.environment, "model": incident.model, "target": plan.target}
    return f"resource/{target.adapter}-{digest(where)[:12]}"
