"""What policy may know: the facts of `bot/domain/facts.py`, gathered fresh, and the question put to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, get_args

from bot.domain import calendar, history, policy, trust, words
from bot.domain import facts as known_facts
from bot.domain.alert import Kind
from bot.domain.entries import PolicyDecided
from bot.domain.incident import Incident, model_stream
from bot.domain.ledger import Ledger
from bot.domain.model import FigureName
from bot.domain.orders import SWITCH, Orders
from bot.domain.plan import Plan
from bot.errors import AdapterError
from bot.flow.samples import measured
from bot.flow.targets import ask, states, within
from bot.flow.world import World

OUTSIDE = timedelta(seconds=5)  # how long a decision waits for a figure or for silences
CHANGED = timedelta(hours=1)  # how long a change upstream may explain a breach
FLAPS = 3
OWN = "lastgood"  # the source of the alerts Lastgood raises itself
NOTHING: Mapping[str, Any] = MappingProxyType({})


async def judge(incident: Incident, world: World, *, told: Mapping[str, Any] = NOTHING) -> PolicyDecided:
    """Ask the policy now, with facts as fresh as they can be; changes nothing.

    `told` are facts the caller knows from elsewhere: those whose source is not connected yet are unknown without it.
    """
    plan = _plan(incident)
    ledger, switch = await asyncio.gather(world.ledger(incident.model_stream), world.orders(SWITCH))
    facts = {**await gather(incident, ledger, world), **told}
    now = world.clock.now()
    bounds, under = _bounds(incident, world, ledger, switch), _orders(incident, world, switch, now)
    decision = policy.decide(world.catalogue.policy, facts, bounds)
    return PolicyDecided(
        plan=plan.id, mode=decision.mode, rule=decision.rule, reason=decision.reason, trace=decision.trace,
        require=decision.require, confirm=decision.confirm, ask_reason=decision.ask_reason, step_up=decision.step_up,
        tell=decision.tell, doubt=decision.doubt, ladder=decision.ladder, policy_digest=world.catalogue.policy_digest_of(incident.model, incident.environment),
        facts=known_facts.plain({**facts, **under}),
        due_at=now + decision.due_in if decision.due_in is not None and decision.mode != "auto" else None,
        escalate_to=decision.escalate_to, **_times(decision, incident.decision, now),
    )  # fmt: skip


def _plan(incident: Incident) -> Plan:
    if incident.plan is None:
        raise ValueError("policy decides about a plan")
    return incident.plan


def _times(decision: policy.Decision, before: PolicyDecided | None, now: datetime) -> dict[str, Any]:
    """Say when people are reminded, who is next and when it ends; deciding anew gives nobody more time."""
    waits = {
        "expires_at": decision.plan_ttl, "remind_at": decision.remind_in, "escalate_at": decision.escalate_in,
        "page_at": decision.page_in,
    }  # fmt: skip
    if decision.mode != "approve":
        return {}
    earlier = {name: getattr(before, name) for name in waits} if before and before.mode == "approve" else {}
    return {
        name: min([now + wait, *([earlier[name]] if earlier.get(name) else [])])
        for name, wait in waits.items()
        if wait is not None
    }


# ── what people ordered ───────────────────────────────────────────────────────────────────────────────────────────


def snoozed(incident: Incident, now: datetime) -> datetime | None:
    """Give until when people put the incident off, None when they did not, the time is over, or a worse alert joined."""
    until = incident.snoozed_until
    return until if until is not None and now < until and incident.worse is None else None


def _orders(incident: Incident, world: World, switch: Orders, now: datetime) -> dict[str, Any]:
    """Give the orders a decision is made under, as its facts keep them."""
    return {
        "autopilot": "off" if switch.off(incident.model) else "on",
        "observing": world.observes(incident.model),
        "snoozed": snoozed(incident, now) is not None,
    }


def _bounds(incident: Incident, world: World, ledger: Ledger, switch: Orders) -> policy.Bounds:
    rules, ladder = world.catalogue.policy, world.catalogue.policy.trust
    until = snoozed(incident, world.clock.now())
    by = words.person(incident.snoozed_by) if incident.snoozed_by else "Somebody"
    climbing = [rule.id for rule in rules.rules if rule.ladder and ladder is not None]
    return policy.Bounds(
        autopilot_off=switch.off(incident.model),
        observing=world.observes(incident.model),
        snoozed=f"{by} snoozed the incident until {words.moment(until)}." if until else "",
        rungs={rule: trust.rung(ladder, ledger.trust.get(rule)) for rule in climbing},
    )


async def overtaken(incident: Incident, world: World) -> str:
    """Say which order of people changed since the last decision; an empty text when none did."""
    if incident.decision is None:
        return ""
    switch = await world.orders(SWITCH)
    before, now = incident.decision.facts, _orders(incident, world, switch, world.clock.now())
    if now["autopilot"] != before.get("autopilot", "on"):
        return switch.off(incident.model) or f"Autopilot is on again for {incident.model}."
    if now["observing"] != before.get("observing", False):
        how = "only decides and shows" if now["observing"] else "acts again"
        return f"Lastgood {how} for {incident.model} now."
    if now["snoozed"] != before.get("snoozed", False):
        return "The incident is snoozed." if now["snoozed"] else "The snooze is over."
    return ""


# ── the facts ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def gather(incident: Incident, ledger: Ledger, world: World) -> dict[str, Any]:
    """Collect every fact of `bot/domain/facts.py`, all sources at once; what nobody could say is None, and why is logged.

    `ledger` is the model's own.
    """
    plan, limits = _plan(incident), world.catalogue.policy.limits
    share, samples, others, figures, silenced = await asyncio.gather(
        _share(incident, plan, world), _samples(incident, plan, world), _others(incident, world),
        _figures(incident, world), _silenced(incident, world),
    )  # fmt: skip
    now = world.clock.now()
    return {
        "model": incident.model, "environment": incident.environment, "tier": incident.tier,
        **calendar.facts(limits.blackouts, now), **_alerts(incident, plan, now), "burn_rate": _burn(incident, world),
        "silenced": silenced, "by_person": incident.requester is not None, "drill": False,
        "samples": samples, "blast_radius": share, "deployer": plan.deployer,
        "observed_serving": plan.observed_serving, "target_scan": plan.scan,
        "target_signature_fits": plan.signature_fits,
        **history.facts(ledger, plan.from_version, plan.to_version, now, limits.rollback_window), **others,
        "last_grade": _last_grade(ledger), **figures, **_capacity(incident, plan, world),
    }  # fmt: skip


def _capacity(incident: Incident, plan: Plan, world: World) -> dict[str, Any]:
    """Give what the plan found of the good version's capacity, nothing where the environment does not say how to ask."""
    environment = world.catalogue.environment(incident)
    return {"capacity_enough": plan.capacity_enough} if environment and environment.capacity else {}


def _last_grade(ledger: Ledger) -> str | None:
    """Give the grade of the model's last rollback; one that nobody could grade is not known."""
    last = next(iter(reversed(list(ledger.grades.values()))), None)
    return None if last is None or last.grade == "unknown" else last.grade


def _unknown(incident: Incident, world: World, fact: str, reason: object) -> None:
    world.log.warning("fact.unknown", incident=incident.id, model=incident.model, fact=fact, reason=str(reason))


def _alerts(incident: Incident, plan: Plan, now: datetime) -> dict[str, Any]:
    """Give the facts the alerts say by themselves. Without a firing alert nothing has been firing for any time."""
    firing = incident.firing
    first = next(iter(firing), None)
    since: dict[str, datetime] = {}
    for alert in firing:
        if alert.sli:
            since[alert.sli] = min(alert.starts_at, since.get(alert.sli, alert.starts_at))
    return {
        "severity": incident.severity.value,
        "sli": (first.sli or "") if first else "",
        "value": first.value if first else None,
        "breached": {sli: _age(at, now) for sli, at in since.items()},
        "firing_for": _age(min(one.starts_at for one in firing), now) if firing else None,
        "flapping": max(incident.restarts.values(), default=0) >= FLAPS,
        "drift_only": _all(one.kind is Kind.DATA for one in firing),
        "security_finding": any(one.kind is Kind.SECURITY for one in firing),
        "silent": _all(one.source == OWN for one in firing),
        "good_also_breached": any(one.version == plan.to_version for one in firing),
    }


def _age(since: datetime, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds())


def _all(answers: Iterable[bool]) -> bool:
    """Say whether there are some and each is true."""
    found = list(answers)
    return bool(found) and all(found)


def _burn(incident: Incident, world: World) -> float | None:
    environment = world.catalogue.environment(incident)
    for alert in incident.firing:
        sli = environment.slis.get(alert.sli or "") if environment else None
        if sli and alert.value is not None and sli.objective > 0 and sli.good == "below":
            return alert.value / sli.objective
    return None


async def _share(incident: Incident, plan: Plan, world: World) -> float | None:
    """Give the bad version's largest share at any target."""
    try:
        seen = await states(incident, world)
    except AdapterError as error:
        _unknown(incident, world, "blast_radius", error)
        return None
    return max((float(state.split.share(plan.from_version)) / 100 for state in seen), default=None)


async def _samples(incident: Incident, plan: Plan, world: World) -> float | None:
    """Give the bad version's requests at all targets together."""
    counts = (ask(incident, world, one.target, lambda one: one.reading()) for one in plan.targets)
    try:
        readings = await asyncio.gather(*counts)
    except AdapterError as error:
        _unknown(incident, world, "samples", error)
        return None
    counted = [one.requests.get(plan.from_version) for one in readings]
    if None in counted or not counted:
        _unknown(incident, world, "samples", f"a target does not count the requests of {plan.from_version}")
        return None
    return float(sum(n for n in counted if n is not None))


async def _others(incident: Incident, world: World) -> dict[str, Any]:
    """Give what other models in the same environment say: those beside this one, and those before it."""
    upstream, beside = _upstream(incident, world), _beside(incident, world)
    names = list(dict.fromkeys((*upstream, *beside)))
    streams = (world.ledger(model_stream(incident.environment, name)) for name in names)
    ledgers = dict(zip(names, await asyncio.gather(*streams), strict=True))
    opened = [stream for name in beside if (stream := ledgers[name].open_incident)]
    incidents = await asyncio.gather(*(world.incident(stream) for stream in opened))
    now = world.clock.now()
    joined = any(alert.kind is Kind.CHANGE for alert in incident.alerts.values())
    return {
        "neighbours_breached": any(one.firing for one in incidents),
        "upstream_change": joined or any(_changed(ledgers[name], now) for name in upstream),
        "upstream_rolling": any(ledgers[name].lock is not None for name in upstream),
    }


def _upstream(incident: Incident, world: World) -> list[str]:
    """Give the models that say that this one consumes them."""
    files = world.catalogue
    return [
        name
        for name, model in files.models.items()
        if name != incident.model and incident.model in {files.model_named(one) for one in model.consumers}
    ]


def _beside(incident: Incident, world: World) -> list[str]:
    """Give the models that have a consumer in common with this one."""
    models = world.catalogue.models
    own = set(models[incident.model].consumers) if incident.model in models else set()
    return [name for name, model in models.items() if name != incident.model and own.intersection(model.consumers)]


def _changed(ledger: Ledger, now: datetime) -> bool:
    """Say whether a version came or went lately; where a target was first seen nothing changed, Lastgood began to look."""
    first: dict[str, datetime] = {}
    for row in ledger.served:
        first[row.target] = min(row.since, first.get(row.target, row.since))
    moments = [row.since for row in ledger.served if row.since > first[row.target]]
    moments += [row.until for row in ledger.served if row.until is not None]
    return any(now - at < CHANGED for at in moments)


async def _figures(incident: Incident, world: World) -> dict[str, Any]:
    """Read the figures the environment names; one that is not configured is unknown."""
    environment = world.catalogue.environment(incident)
    asked = environment.figures if environment else {}
    reads = (measured(world, one.source, one.settings, None, OUTSIDE) for one in asked.values())
    looks = dict(zip(asked, await asyncio.gather(*reads), strict=True))
    for name, look in looks.items():
        if look.value is None:
            _unknown(incident, world, name, look.reason)
    return {name: looks[name].value if name in looks else None for name in get_args(FigureName)}


async def _silenced(incident: Incident, world: World) -> bool | None:
    """Say whether every firing alert is silenced where it comes from; where nobody keeps silences, none is."""
    firing = incident.firing
    if world.silences is None or not firing:
        return False
    try:
        quiet = await within(OUTSIDE, world.silences.silenced(firing), world.clock)
    except (AdapterError, TimeoutError) as error:
        _unknown(incident, world, "silenced", str(error) or f"no answer within {words.span(OUTSIDE)}")
        return None
    return all(alert.fingerprint in quiet for alert in firing)
