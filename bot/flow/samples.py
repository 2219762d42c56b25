"""Rounds of SLI samples, kept in the timeline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from bot.domain import entries as e
from bot.domain import recovery, words
from bot.domain.incident import Incident
from bot.domain.model import Sli
from bot.domain.runbook import RecoveryCheck
from bot.domain.sli import Measurement, SliSample
from bot.flow.targets import CALL, within
from bot.flow.world import Step, World, write


async def sample(incident: Incident, world: World, check: RecoveryCheck, *, settling: bool) -> Step:
    """Measure every SLI the runbook judges by; give the round, which counts only while the incident stands as it was read."""
    environment = world.catalogue.environment(incident)
    asked = recovery.slis_to_ask(check, environment.slis if environment else {})
    rounds = await asyncio.gather(*(_measure(incident, world, name, sli, check) for name, sli in asked.items()))
    entry = e.SliSampled(samples=tuple(rounds), settling=settling)
    return Step((write(incident, entry),), given={incident.stream: incident.epoch})


async def _measure(incident: Incident, world: World, name: str, sli: Sli, check: RecoveryCheck) -> SliSample:
    look = await measured(world, sli.source, sli.settings, _previous(incident, name), CALL)
    return recovery.sample(name, sli, look, check.min_requests)


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
    for _, entry in reversed(incident.samples):
        for one in entry.samples:
            if one.sli == name and one.measurement.counters:
                return one.measurement
    return None
