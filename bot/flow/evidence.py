"""At the claim, beside the rollback and never in its way: what a person will want to look at afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

import orjson

from bot.domain import evidence, words
from bot.domain.entries import EvidenceCaptured, EvidenceErased
from bot.domain.incident import Incident
from bot.domain.model import Environment
from bot.domain.plan import Plan
from bot.errors import LastgoodError, NotFound
from bot.flow.shelf import look
from bot.flow.targets import within
from bot.flow.world import Step, World
from bot.ports import Append, Write

LANE = "evidence"
BEFORE = timedelta(minutes=15)  # samples from so long before the first alert on
WITHIN = timedelta(seconds=60)
KEPT = timedelta(days=90)  # where no samples say how long
BODIES = 8 * 1024 * 1024  # bytes of alert bodies kept of one incident


def wanted(world: World) -> bool:
    """Say whether there is a place to keep evidence."""
    return world.kept is not None


async def capture(stream: str, world: World) -> datetime | None:
    """Keep the evidence of the newest claim, once; whoever is ended in between begins anew."""
    try:
        incident = await world.incident(stream)
    except NotFound:
        return None
    environment, plan = world.catalogue.environment(incident), incident.plan
    if world.kept is None or incident.claim is None or incident.captured or environment is None or plan is None:
        return None
    told: list[str] = []
    files = {"state.json": _json(_state(incident, plan))}
    files |= await _bodies(incident, world, told)
    files |= await _samples(incident, environment, plan, world, told)
    files |= await _provenance(environment, plan, world)
    digests = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
    until = world.clock.now() + (environment.samples.keep if environment.samples else KEPT)
    await world.kept.keep(incident.stream, {digests[name]: body for name, body in files.items()}, until)
    request = environment.samples.request if environment.samples else ""
    entry = EvidenceCaptured(plan=plan.id, files=digests, coverage=tuple(told), request=request, until=until)
    await world.append(incident, Step((Write(incident.stream, (entry,)),)))
    return None


def _state(incident: Incident, plan: Plan) -> dict[str, object]:
    """Give what was served, what was measured and what fired, as it was read when the rollback was claimed."""
    claim = incident.claim
    return {
        "bad": plan.from_version,
        "good": plan.to_version,
        "targets": {name: one.model_dump(mode="json") for name, one in (claim.before if claim else {}).items()},
        "goal": {name: one.model_dump(mode="json") for name, one in (claim.goal if claim else {}).items()},
        "slis": [one.model_dump(mode="json") for one in (incident.before.samples if incident.before else ())],
        "alerts": [one.model_dump(mode="json") for one in incident.alerts.values()],
    }


async def _bodies(incident: Incident, world: World, told: list[str]) -> dict[str, bytes]:
    """Give the messages the alerts came in, byte for byte; each once, however many alerts it held."""
    files, left, size = dict[str, bytes](), list[str](), 0
    for name in dict.fromkeys(one.raw.id for one in incident.alerts.values() if one.raw is not None):
        raw = await world.inbox.request(name)
        if raw is None or size + len(raw.body) > BODIES:
            left.append(name)
            continue
        size += len(raw.body)
        files[f"alert-{raw.source}-{name}.body"] = raw.body
    if left:
        told.append(f"Without {words.count(len(left))} of {words.count(len(left) + len(files))} alert bodies.")
    return files


async def _samples(
    incident: Incident, environment: Environment, plan: Plan, world: World, told: list[str]
) -> dict[str, bytes]:
    use = environment.samples
    if use is None:
        told.append("No samples: none are configured.")
        return {}
    begun = min((one.starts_at for one in incident.alerts.values()), default=incident.opened_at)
    found = await sampled(use, plan.from_version, begun, world)
    if found.reason:
        told.append(f"No samples: {words.plain(found.reason, 160)}.")
        return {}
    told += evidence.coverage(found.rows, use.cohort, environment.cohorts)
    told += [f"{words.plain(one, 160)}." for one in found.notes]
    rows = [evidence.masked(row, use.mask, use.left) for row in found.rows]
    if not rows:
        return {}
    lines = b"".join(orjson.dumps(row, option=orjson.OPT_SORT_KEYS) + b"\n" for row in rows)
    return {"samples.jsonl": lines, "histograms.json": _json(evidence.histograms(rows))}


async def sampled(
    use: evidence.SamplesUse, version: str, begun: datetime, world: World, limit: timedelta = WITHIN
) -> evidence.Found:
    """Give the newest sampled requests of a version from a little before `begun` on; a reason where nobody could say."""
    source = world.samples.get(use.source)
    if source is None:
        return evidence.Found(reason=f"the configuration no longer has a source {use.source}")
    asked = evidence.Wanted(
        version=version, since=begun - BEFORE, until=world.clock.now(), most=use.most, at=use.at, named=use.version
    )  # fmt: skip
    try:
        return await within(limit, source.find(source.Query.model_validate(use.settings), asked), world.clock)
    except TimeoutError:
        return evidence.Found(reason=f"{use.source} did not answer within {words.span(limit)}")


async def _provenance(environment: Environment, plan: Plan, world: World) -> dict[str, bytes]:
    shelf = await look(world, environment)
    if shelf is None or shelf.reason:
        return {}
    known = {
        name: shelf.versions[name].model_dump(mode="json")
        for name in (plan.from_version, plan.to_version)
        if name in shelf.versions
    }
    return {"provenance.json": _json(known)} if known else {}


def _json(value: Mapping[str, object]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n"


# ── when its time is over ─────────────────────────────────────────────────────────────────────────────────────────


async def overdue(world: World) -> dict[str, tuple[str, ...]]:
    """Give the digests by stream whose time is over, each named in an `evidence.erased` that is written here if it is not yet.

    They may be deleted once a checkpoint covers those entries: what is missing without a signed reason was taken out.
    """
    if world.kept is None:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    for stream, digests in (await world.kept.overdue(world.clock.now())).items():
        try:
            incident = await world.incident(stream)
        except LastgoodError as error:  # one incident that cannot be read keeps its files, and everybody else's go on
            world.log.warning("evidence.unreadable", stream=stream, error=str(error))
            continue
        new = {one: incident.kept[one] for one in digests if one in incident.kept and one not in incident.erased}
        if entries := tuple(EvidenceErased(files=files) for files in _apart(new)):
            await world.timeline.append(Append(writes=(Write(stream, entries),)))
        found[stream] = digests
    return found


def _apart(names: Mapping[str, str]) -> list[dict[str, str]]:
    """Give digests by name; files of several claims may have one name, and then there are several."""
    found: list[dict[str, str]] = []
    for digest, name in names.items():
        free = next((one for one in found if name not in one), None)
        if free is None:
            found.append(free := {})
        free[name] = digest
    return found
