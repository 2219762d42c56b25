"""What people do about a message that led nowhere: read it again now that it may lead somewhere, or take it off the list."""

from __future__ import annotations

from bot.domain import access, words
from bot.domain import entries as e
from bot.domain.alert import RawRequest
from bot.errors import NotFound
from bot.flow.people import direct, spoken
from bot.flow.world import World
from bot.ports import Append, Write

STREAM = "system/inbox"


async def replay(inbound_id: str, person: str, world: World, *, via: str = access.TERMINAL) -> str:
    """Read a stored message again as if it came now; give a sentence. Raises Denied or NotFound.

    Any active person of ours may: what it leads to is decided by policy and people, as it would have been then.
    """
    raw = await _meant(inbound_id, person, world, via, "read a message again")
    again = raw.model_copy(
        update={"id": world.ids.ulid(), "delivery_id": None, "received_at": world.clock.now()}
    )  # without its delivery id: else it would be known as a duplicate of itself
    entry = e.InboxReplayed(inbound=raw.id, again=again.id, source=raw.source, person=person)
    await world.timeline.append(Append(writes=(Write(STREAM, (entry,)),)))
    await world.inbox.receive(again)
    await world.inbox.settle(raw.id, "replayed", alike=False)
    return f"The message of {raw.source} is being read again, as {words.short(again.id)}."


async def dismiss(inbound_id: str, person: str, reason: str, world: World, *, via: str = access.TERMINAL) -> str:
    """Take a message off the list, and every one of its sender with the same reason; give a sentence. Raises Denied or NotFound."""
    raw = await _meant(inbound_id, person, world, via, "dismiss a message")
    said = spoken(reason, world)
    entry = e.InboxDismissed(inbound=raw.id, source=raw.source, person=person, text_ref=said.ref)
    await world.timeline.append(Append(writes=(Write(STREAM, (entry,)),), said=(said,)))
    count = await world.inbox.settle(raw.id, "dismissed", alike=True)
    more = f" and {count - 1} like it" if count > 1 else ""
    return f"The message of {raw.source}{more} is off the list. It is kept."


async def _meant(inbound_id: str, person: str, world: World, via: str, what: str) -> RawRequest:
    account = access.account(await direct(person, {}, world), via, world.clock.now(), what)
    ruling = access.ruled(account)
    if ruling.error is not None:
        world.log.warning("inbox.refused", person=person, reason=ruling.text)
        raise ruling.error(ruling.text)
    raw = await world.inbox.request(inbound_id)
    if raw is None:
        message = f"No message {inbound_id} is stored, or its body was erased when its time was over. `lastgood inbox` lists what led nowhere. Nothing was changed."
        raise NotFound(message)
    return raw
