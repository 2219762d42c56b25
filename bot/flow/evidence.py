"""At the claim, beside the rollback and never in its way: what a person will want to look at afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

import orjson

from bot.domain import evidence, words
from bot.domain.entries import EvidenceCaptured
from bot.domain.incident import Incident
from bot.domain.model import Environment
from bot.errors import NotFound
from bot.flow.shelf import look
from bot.flow.targets import within
from bot.flow.world import Step, World
from bot.ports import Write

LANE = "evidence"
BEFORE = timedelta(minutes=15)  # samples from so long before the first alert on
WITHIN = timedelta(seconds=60)


def wanted(incident: Incident, world: World) -> bool:
    """Say whether this environment keeps evidence."""
    environment = world.catalogue.environment(incident)
    return environment is not None and (environment.samples is not None or environment.registry is not None)


async def capture(stream: str, world: World) -> datetime | None:
    """Keep the evidence of the newest claim, once; whoever is ended in between begins anew."""
    try:
        incident = await world.incident(stream)
    except NotFound:
        return None
    environment = world.catalogue.environment(incident)
    if incident.claim is None or incident.captured or environment is None or incident.plan is None:
        return None
    files: dict[str, bytes] = {}
    told: list[str] = []
    await _samples(incident, environment, world, files, told)
    await _provenance(incident, environment, world, files)
    digests = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
    until = world.clock.now() + (environment.samples.keep if environment.samples else timedelta(days=90))
    if world.kept is not None:
        await world.kept.keep(incident.stream, {digests[name]: body for name, body in files.items()}, until)
    entry = EvidenceCaptured(plan=incident.plan.id, files=digests, coverage=tuple(told), until=until)
    await world.append(incident, Step((Write(incident.stream, (entry,)),)))
    return None


async def _samples(
    incident: Incident, environment: Environment, world: World, files: dict[str, bytes], told: list[str]
) -> None:
    use, plan = environment.samples, incident.plan
    if use is None or plan is None:
        told.append("No samples: none are configured.")
        return
    source = world.samples.get(use.source)
    if source is None:
        told.append(f"No samples: the configuration no longer has a source {use.source}.")
        return
    begun = min((one.starts_at for one in incident.alerts.values()), default=incident.opened_at)
    asked = evidence.Wanted(
        version=plan.from_version,
        since=begun - BEFORE,
        until=world.clock.now(),
        most=use.most,
        at=use.at,
        named=use.version,
    )
    try:
        found = await within(WITHIN, source.find(source.Query.model_validate(use.settings), asked), world.clock)
    except TimeoutError:
        found = evidence.Found(reason=f"{use.source} did not answer within {words.span(WITHIN)}")
    if found.reason:
        told.append(f"No samples: {words.plain(found.reason, 160)}.")
        return
    told += evidence.coverage(found.rows, use.cohort, environment.cohorts)
    rows = [evidence.masked(row, use.mask) for row in found.rows]
    if rows:
        files["samples.jsonl"] = b"".join(orjson.dumps(row, option=orjson.OPT_SORT_KEYS) + b"\n" for row in rows)
        files["histograms.json"] = _json(evidence.histograms(rows))


async def _provenance(incident: Incident, environment: Environment, world: World, files: dict[str, bytes]) -> None:
    shelf, plan = await look(world, environment), incident.plan
    if shelf is None or plan is None or shelf.reason:
        return
    known = {
        name: shelf.versions[name].model_dump(mode="json")
        for name in (plan.from_version, plan.to_version)
        if name in shelf.versions
    }
    if known:
        files["provenance.json"] = _json(known)


def _json(value: Mapping[str, object]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n"
