"""Looks after the senders: whether each was heard in time, and what one says when it is asked, in case a message was lost."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.domain import entries as e
from bot.domain import words
from bot.domain.alert import RawRequest
from bot.errors import Unavailable
from bot.flow.world import World
from bot.ports import Append, Write

LANE, STREAM = "sender", "system/sources"
EVERY, POLLED_EVERY = timedelta(minutes=1), timedelta(minutes=5)


def looked_after(world: World) -> tuple[str, ...]:
    """Give the senders that are to be heard in time or can be asked."""
    return tuple(name for name in world.sources if _heartbeat(name, world) or name in world.polls)


def _heartbeat(name: str, world: World) -> timedelta | None:
    found = getattr(getattr(world.sources[name], "config", None), "heartbeat", None)
    return found if isinstance(found, timedelta) else None


async def look(name: str, world: World) -> tuple[datetime, str]:
    """Look after one sender; give when to look again, and a sentence for people when it fell silent or was heard again."""
    if name not in world.sources:
        return world.clock.now() + timedelta(days=1), ""
    if name in world.polls:
        await _ask(name, world)
    within = _heartbeat(name, world)
    said = await _listened(name, within, world) if within else ""
    return world.clock.now() + (EVERY if within else POLLED_EVERY), said


async def _ask(name: str, world: World) -> None:
    """Take what the sender says now as if it had been sent; what was taken before is known by its delivery."""
    now, due = world.clock.now(), await world.work.noted(f"polled/{name}")
    if due and now < datetime.fromisoformat(due):
        return
    await world.work.note(f"polled/{name}", (now + POLLED_EVERY).isoformat())
    try:
        messages = await world.polls[name].missed()
    except Unavailable as error:
        world.log.warning("sender.unasked", source=name, error=str(error))
        return
    for delivery, body in messages:
        raw = RawRequest(id=world.ids.ulid(), source=name, received_at=now, body=body, delivery_id=delivery)
        await world.inbox.receive(raw)


async def _listened(name: str, within: timedelta, world: World) -> str:
    since = world.clock.now() - within
    heard = await world.inbox.heard_since(name, since)
    before = await world.work.noted(f"quiet/{name}")
    if not before:  # the first look: a sender has its time from now on
        await world.work.note(f"quiet/{name}", f"since {world.clock.now().isoformat()}")
        return ""
    if before.startswith("since ") and datetime.fromisoformat(before.removeprefix("since ")) > since and not heard:
        return ""
    was_quiet = before == "quiet"
    if heard != was_quiet:
        return ""
    entry = e.SourceHeard(source=name) if heard else e.SourceQuiet(source=name, within=words.span(within))
    await world.timeline.append(Append(writes=(Write(STREAM, (entry,)),)))
    await world.work.note(f"quiet/{name}", "heard" if heard else "quiet")
    world.log.warning("sender.heard" if heard else "sender.quiet", source=name)
    return entry.sentence()
