"""Could this model go back right now? The plan that would be made is made, shown and thrown away; nothing is changed."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.domain import entries as e
from bot.domain import words
from bot.domain.evidence import counts, coverage
from bot.domain.incident import Incident
from bot.domain.ledger import Ledger
from bot.domain.plan import Plan
from bot.domain.rules import matches
from bot.domain.runbook import Runbook
from bot.errors import AdapterError, Conflict
from bot.flow.evidence import sampled
from bot.flow.people import holders
from bot.flow.plan import plan
from bot.flow.world import Step, World
from bot.ports import Append, Write

EVERY = timedelta(minutes=10)
REHEARSED_WITHIN = timedelta(days=90)
SAMPLES_WITHIN = timedelta(seconds=20)


async def look(stream: str, world: World) -> datetime:
    """Judge one model in one environment and write the answer when it changed; give when to look again."""
    again, ledger = world.clock.now() + EVERY, await world.ledger(stream)
    judged, before = await could_go_back(stream, world), ledger.readiness
    if before is None or (before.ready, before.to_version, before.reason) != (
        judged.ready,
        judged.to_version,
        judged.reason,
    ):
        try:
            await world.timeline.append(Append(writes=(Write(stream, (judged,), None),)))
        except Conflict:
            return world.clock.now() + timedelta(seconds=1)
    return again


async def could_go_back(stream: str, world: World) -> e.ReadinessJudged:
    """Say whether a rollback of this model could start now, to which version, and what was looked at."""
    _, environment, model = stream.split("/", 2)
    described = world.catalogue.models.get(model)
    now = world.clock.now()
    asked = Incident(
        stream="incident/readiness", model=model, environment=environment, tier=described.tier if described else 1,
        opened_at=now, since=now,
    )  # fmt: skip
    outcome = await plan(asked, world)
    if not isinstance(outcome, Step):
        reason = "Cannot tell: a target did not answer. It is looked at again."
        return e.ReadinessJudged(ready=None, checks=(e.Check(ok=None, name="targets answer"),), reason=reason)
    made = next((one for write in outcome.writes for one in write.entries), None)
    if isinstance(made, e.PlanMade):
        people, ledger = await _people(asked, world), await world.ledger(stream)
        checks = (*people, _rehearsed(ledger, now), *await _covered(made.plan, world))
        judged = _ready(made.plan, world.catalogue.runbook(asked), now, checks)
        if lacking := [one for one in people if one.ok is False]:
            reason = f"Nobody could approve it: {'; '.join(one.detail for one in lacking)}."
            return judged.model_copy(update={"ready": False, "reason": reason})
        return judged
    why = made.sentence().removesuffix(" Nothing was changed.") if made else "No plan can be made."
    why = why.replace(" Nothing was changed.", "")
    return e.ReadinessJudged(
        ready=False, checks=(e.Check(ok=False, name="a plan can be made", detail=why),), reason=why
    )


async def _people(asked: Incident, world: World) -> tuple[e.Check, ...]:
    """Say for each rule that may decide about this model whether enough different people hold its roles now."""
    rules = [
        rule for rule in world.catalogue.policy.rules
        if rule.require and matches(rule.models, asked.model) and matches(rule.environments, asked.environment)
    ]  # fmt: skip
    checks: dict[str, e.Check] = {}
    for rule in rules:
        names = [place.role for place in rule.require]
        try:
            held = {name: await holders([name], asked, world) for name in dict.fromkeys(names)}
        except AdapterError as error:
            checks[rule.id] = e.Check(ok=None, name=f"people for rule {rule.id}", detail=str(error))
            continue
        everybody = {person for people in held.values() for person in people}
        empty = [name for name, people in held.items() if not people]
        if empty or len(everybody) < len(names):
            lacks = (
                f"nobody holds {words.listed(empty)}"
                if empty
                else f"{len(names)} people are needed and {len(everybody)} are there"
            )
            checks[rule.id] = e.Check(ok=False, name=f"people for rule {rule.id}", detail=lacks)
        else:
            checks[rule.id] = e.Check(
                ok=True, name=f"people for rule {rule.id}", detail=f"{len(everybody)} could, {len(names)} needed"
            )
    return tuple(checks.values())


async def _covered(made: Plan, world: World) -> tuple[e.Check, ...]:
    """Say whether requests of what serves now are sampled, of every cohort: later they are the evidence."""
    environment = world.catalogue.models[made.model].environments[made.environment]
    if (use := environment.samples) is None:
        return ()
    found = await sampled(use, made.from_version, world.clock.now(), world, SAMPLES_WITHIN)
    if found.reason:
        return (e.Check(ok=None, name="requests are sampled", detail=words.plain(found.reason, 160)),)
    told = [one.removesuffix(".") for one in coverage(found.rows, use.cohort, environment.cohorts)]
    every = bool(found.rows) and all(counts(found.rows, use.cohort, environment.cohorts).values())
    return (e.Check(ok=every, name="requests are sampled", detail=", ".join(told)),)


def _rehearsed(ledger: Ledger, now: datetime) -> e.Check:
    """Say when this model last went back and was proven to be well: what nobody has tried for long may not work."""
    proven = [one.at for one in ledger.rollbacks if one.verdict == "yes"]
    if not proven:
        return e.Check(ok=None, name="went back before", detail="never proven")
    age = now - proven[-1]
    return e.Check(ok=age <= REHEARSED_WITHIN, name="went back before", detail=f"{age.days} days ago")


def _ready(made: Plan, book: Runbook | None, now: datetime, more: tuple[e.Check, ...]) -> e.ReadinessJudged:
    warnings = [
        one for one in (*made.findings, *(f for t in made.targets for f in t.findings)) if one.level == "warning"
    ]
    checks = [
        e.Check(ok=True, name="every target answers", detail=words.listed([one.target for one in made.targets])),
        e.Check(ok=made.observed_serving or None, name=f"{made.to_version} was seen to serve"),
        *(e.Check(ok=None, name="preflight", detail=one.message) for one in warnings),
        _reviewed(book, now),
        *more,
    ]
    doubt = "" if made.observed_serving else f" {made.to_version} was never seen to serve."
    reason = f"Could go back {words.change(made.from_version, made.to_version)} now.{doubt}"
    return e.ReadinessJudged(ready=True, to_version=made.to_version, checks=tuple(checks), reason=reason)


def _reviewed(book: Runbook | None, now: datetime) -> e.Check:
    """Say whether a person read the runbook within the time it sets itself."""
    if book is None or book.reviewed is None:
        return e.Check(ok=None, name="runbook reviewed", detail="it does not say when")
    age = now.date() - book.reviewed.at
    return e.Check(ok=age <= book.reviewed.every, name="runbook reviewed", detail=f"{age.days} days ago")
