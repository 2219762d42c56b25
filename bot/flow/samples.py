"""Rounds of SLI samples, kept in the timeline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from bot.domain import entries as e
from bot.domain import recovery, words
from bot.domain.incident import Incident
from bot.domain.model import Figure, Sli
from bot.domain.runbook import RecoveryCheck
from bot.domain.sli import Measurement, SliSample
from bot.domain.sli_query import filled
from bot.flow.targets import CALL, within
from bot.flow.world import Step, World, write


async def sample(incident: Incident, world: World, check: RecoveryCheck, *, settling: bool) -> Step:
    """Measure every SLI the runbook judges by; give the round, which counts only while the incident stands as it was read."""
    version = incident.plan.to_version if incident.plan else ""
    rounds = await looked(incident, world, check, version, CALL)
    entry = e.SliSampled(samples=rounds, settling=settling)
    return Step((write(incident, entry),), given={incident.stream: incident.epoch})


async def looked(
    incident: Incident, world: World, check: RecoveryCheck, version: str, limit: timedelta
) -> tuple[SliSample, ...]:
    """Take one look at everything the runbook judges by, each for at most `limit`."""
    environment = world.catalogue.environment(incident)
    if environment is None:
        return ()
    slis = recovery.slis_to_ask(check, environment.slis)
    asked = recovery.looks_to_take(slis, environment.cohorts, version)

    async def one(name: str, sli: Sli, settings: Mapping[str, Any]) -> SliSample:
        look = await measured(world, sli.source, settings, _previous(incident, name), limit)
        return recovery.sample(name, sli, look, check.min_requests)

    async def burn(figure: Figure) -> SliSample:
        settings = filled(figure.settings, version=version)
        return recovery.burn(await measured(world, figure.source, settings, _previous(incident, recovery.BURN), limit))

    rate = environment.figures.get(recovery.BURN)
    looks = [one(name, sli, settings) for name, (sli, settings) in asked.items()]
    return tuple(await asyncio.gather(*looks, *([burn(rate)] if rate and slis else [])))


async def measured(
    world: World, source: str, settings: Mapping[str, Any], previous: Measurement | None, limit: timedelta
) -> Measurement:
    """Take one look with a metric source, for at most `limit`; a source that says nothing in time gave no value."""
    metric = world.metrics[source]
    look = metric.measure(metric.Query.model_validate(settings), previous)
    try:
        return await within(limit, look, world.clock)
    except TimeoutError:
        reason = f"{source} did not answer within {words.span(limit)}"
        return Measurement(at=world.clock.now(), reason=reason)


def _previous(incident: Incident, name: str) -> Measurement | None:
    before = [incident.before] if incident.before and incident.claim is None else []
    for entry in (*(entry for _, entry in reversed(incident.samples)), *before):
        for one in entry.samples:
            if one.sli == name and one.measurement.counters:
                return one.measurement
    return None
