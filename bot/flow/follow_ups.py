"""What follows a proven rollback: each done once, its intent written first; it never holds anything up."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.domain import entries as e
from bot.domain import words
from bot.domain.incident import Incident
from bot.domain.model import FollowUp
from bot.domain.traffic import Outcome
from bot.errors import AdapterError, Conflict
from bot.flow.steps import act_for, action
from bot.flow.targets import CALL, within
from bot.flow.world import Step, World
from bot.ports import Act, Write

BACKOFF = tuple(timedelta(minutes=n) for n in (1, 5, 15, 60, 360))  # after so many attempts
ATTEMPTS = len(BACKOFF) + 1
_DONE = (Outcome.APPLIED, Outcome.NOOP)


def due(incident: Incident, world: World) -> list[str]:
    """Give the follow-ups that have no final word; none unless the rollback was proven to help."""
    return [name for name in _wanted(incident, world) if incident.proven and not _final(incident, name)]


def _wanted(incident: Incident, world: World) -> dict[str, FollowUp]:
    environment = world.catalogue.environment(incident)
    return dict(environment.follow_ups) if environment else {}


def _final(incident: Incident, name: str) -> bool:
    last = incident.follow_ups.get(name)
    return last is not None and isinstance(last[1], e.FollowUpEnded) and last[1].outcome != "not_done"


async def follow_up(incident: Incident, world: World, name: str) -> datetime | None:
    """Go one step on with a follow-up; give when to look again, None once its end is written.

    Nothing is sent before its intent is in the timeline. Whoever finds an intent without an end asks what became of it, and
    it is sent again only where that is known to be safe.
    """
    asked, last = _wanted(incident, world)[name], incident.follow_ups.get(name)
    if last is None:
        return await _first(incident, world, name, asked)
    at, entry = last
    again = at + BACKOFF[min(entry.attempt, len(BACKOFF)) - 1]
    if isinstance(entry, e.FollowUpStarted):
        return await _look(incident, world, name, asked, entry.attempt, again)
    return again if world.clock.now() < again else await _begin(incident, world, name, asked, entry.attempt + 1)


async def _first(incident: Incident, world: World, name: str, asked: FollowUp) -> datetime | None:
    before, now = (await world.ledger(incident.model_stream)).followed.get(name), world.clock.now()
    if before is not None and now < before + asked.cooldown:
        told = f"it was done {words.span(now - before)} ago, not again within {words.span(asked.cooldown)}."
        await _end(incident, world, name, 0, "skipped", told)
        return None
    return await _begin(incident, world, name, asked, 1)


async def _begin(incident: Incident, world: World, name: str, asked: FollowUp, attempt: int) -> datetime | None:
    """Write the intent while the incident is still closed as it was read, then do it, once; the last attempt was enough."""
    if attempt > ATTEMPTS:
        await _end(incident, world, name, attempt - 1, "failed", f"not done after {ATTEMPTS} attempts.")
        return None
    started = e.FollowUpStarted(incident=incident.stream, name=name, attempt=attempt)
    step = Step((Write(incident.stream, (started,)),), given={incident.stream: incident.epoch})
    try:
        await world.append(incident, step)
    except Conflict:
        return world.clock.now()
    later = world.clock.now() + BACKOFF[min(attempt, len(BACKOFF)) - 1]
    try:
        result = await within(CALL, action(incident, world, asked.action).perform(_act(incident, name)), world.clock)
    except AdapterError as error:
        await _end(incident, world, name, attempt, "not_done", str(error))
        return later
    except TimeoutError:
        return later  # whoever comes then asks what became of it
    if result.outcome in _DONE:
        await _end(incident, world, name, attempt, "done", result.detail)
        return None
    if result.outcome is not Outcome.INDETERMINATE:
        await _end(incident, world, name, attempt, "not_done", result.detail)
    return later


async def _look(
    incident: Incident, world: World, name: str, asked: FollowUp, attempt: int, again: datetime
) -> datetime | None:
    """Ask what became of an intent without an end; where nobody can tell a person looks."""
    try:
        known = await within(CALL, action(incident, world, asked.action).done(_act(incident, name)), world.clock)
    except (AdapterError, TimeoutError):
        return max(again, world.clock.now() + BACKOFF[0])
    if known is None:
        await _end(incident, world, name, attempt, "unknown", "its answer was lost and nobody can tell.")
        return None
    if known.outcome in _DONE:
        await _end(incident, world, name, attempt, "done", known.detail)
        return None
    return again if world.clock.now() < again else await _begin(incident, world, name, asked, attempt + 1)


async def _end(incident: Incident, world: World, name: str, attempt: int, outcome: str, detail: str) -> None:
    ended = e.FollowUpEnded.model_validate(
        {"incident": incident.stream, "name": name, "outcome": outcome, "attempt": attempt, "detail": detail}
    )
    await world.append(incident, Step(tuple(Write(one, (ended,)) for one in (incident.stream, incident.model_stream))))


def _act(incident: Incident, name: str) -> Act:
    """Give what the action is told; its key is the same at every attempt of this follow-up of this rollback."""
    if incident.plan is None:
        raise ValueError("a rollback has a plan")
    return act_for(incident, f"after/{name}", bad=incident.plan.from_version, good=incident.plan.to_version)
