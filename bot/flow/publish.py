"""Surfaces follow the timeline: the timeline is the outbox, so a surface that was away is only late."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from bot.domain import entries as e
from bot.domain.incident import Incident, Phase
from bot.domain.value import digest
from bot.errors import Gone, Indeterminate, PublishError, RateLimited, Unavailable, Unpublishable
from bot.flow.world import FIRST, World
from bot.ports import Message, Posted, Shown, Surface

LOOK_AGAIN = (timedelta(0), timedelta(seconds=5), timedelta(seconds=60))
SKEW = timedelta(minutes=6)  # how far apart our clock and theirs may be, one more than a signed request may be old
PACE = timedelta(seconds=1)
AWAY = timedelta(seconds=2)
LATE = timedelta(seconds=30)
REFUSED_AGAIN = ((timedelta(hours=1), timedelta(minutes=1)), (timedelta(days=1), timedelta(minutes=10)))  # age, pause
THREAD = "thread."  # kinds that are said under the card and may be said together
DONE = frozenset({"shown", "skipped"})


async def publish(stream: str, surface: Surface, world: World) -> datetime | None:
    """Bring one surface up to date with one incident; give when to go on, None when it shows what is."""
    entries = await world.timeline.read(stream)
    if not entries:
        return None
    incident = world.folds.caught_up(entries)
    turn = _Turn(incident, entries, surface, world)
    turn.records = {one.kind: one for one in await world.shown.shown(stream) if one.episode == turn.number}
    if (held := turn.held()) is not None:
        return held
    try:
        return await turn.run(await surface.messages(incident, entries, late_since=turn.late_since()))
    except RateLimited as error:
        return world.clock.now() + timedelta(seconds=error.retry_after)
    except (Unavailable, Indeterminate):
        return world.clock.now() + AWAY


def card_number(entries: Sequence[e.Recorded]) -> int:
    """Count the cards of an incident: a relapse gets a new one only when a rollback had been claimed before it."""
    number, claimed = 1, False
    for one in entries:
        claimed = claimed or isinstance(one.entry, e.RollbackClaimed)
        if claimed and isinstance(one.entry, e.IncidentReopened):
            number, claimed = number + 1, False
    return number


class _Turn:
    """One look of one surface at one incident."""

    def __init__(self, incident: Incident, entries: Sequence[e.Recorded], surface: Surface, world: World) -> None:
        self.incident, self.entries, self.surface, self.world = incident, entries, surface, world
        self.number = card_number(entries)
        self.records: dict[str, Shown] = {}

    def record(self, kind: str) -> Shown:
        return self.records.get(kind) or Shown(self.incident.stream, kind, self.number)

    async def save(self, record: Shown) -> Shown:
        self.records[record.kind] = record
        await self.world.shown.save(record)
        return record

    def held(self) -> datetime | None:
        """Let the opening, the plan and the decision become one first post."""
        begun = self.incident.opened_at if self.number == 1 else self.incident.since
        early = self.world.clock.now() < begun + FIRST and self.incident.phase in (Phase.OPENED, Phase.PLANNED)
        return begun + FIRST if early and not self.records else None

    def late_since(self) -> datetime | None:
        """Say since when the card has not followed, when that is long."""
        seen = self.record("card").cursor
        since = next((one.at for one in self.entries if one.version > seen), None)
        return since if since is not None and self.world.clock.now() - since > LATE else None

    async def run(self, messages: Sequence[Message]) -> datetime | None:
        """Show what is due: the card, then its thread, then what single people are told."""
        for message in [one for one in messages if one.reply_to is None]:
            if (again := await self.show(message)) is not None:
                return again
        under = [one for one in messages if one.reply_to is not None and self.parent(one) is not None]
        again = await self.talk([one for one in under if one.kind.startswith(THREAD)])
        if again is not None:
            return again
        told = [await self.show(one) for one in under if not one.kind.startswith(THREAD) and not self.done(one)]
        return min((one for one in told if one is not None), default=None)

    # ── replies ───────────────────────────────────────────────────────────────────────────────────────────────────

    def done(self, message: Message) -> bool:
        """Say whether a message was said, by itself or by the one that carries it."""
        return self.record(self.carrier(message) or message.kind).state in DONE

    async def talk(self, replies: Sequence[Message]) -> datetime | None:
        """Say what is overdue in the thread."""
        while (message := await self.next_reply([one for one in replies if not self.done(one)])) is not None:
            again = await self.show(message)
            if not self.done(message):
                return again
        return None

    async def next_reply(self, due: Sequence[Message]) -> Message | None:
        """Give what is in flight first, then everything else as one message.

        Those it speaks for are kept as `carried`, with its kind as their digest, so that a lost answer or a restart at
        any point repeats nothing.
        """
        flying = [one for one in due if self.record(one.kind).state == "sending"]
        if flying:
            carried = [one for one in due if self.carrier(one) == flying[0].kind]
            return self.surface.merged([*carried, flying[0]]) if carried else flying[0]
        for one in due[:-1]:
            await self.save(replace(self.record(one.kind), state="carried", digest=due[-1].kind))
        return self.surface.merged(due) if len(due) > 1 else next(iter(due), None)

    def carrier(self, message: Message) -> str:
        record = self.record(message.kind)
        return record.digest if record.state == "carried" else ""

    def parent(self, message: Message) -> Posted | None:
        record = self.record(message.reply_to or "")
        return Posted(record.channel, record.ts) if record.ts else None

    # ── one message ───────────────────────────────────────────────────────────────────────────────────────────────

    async def show(self, message: Message) -> datetime | None:
        """Post, change or leave one message; give when to go on with it, None when it shows what is."""
        record, now = self.record(message.kind), self.world.clock.now()
        if record.state == "sending":
            found = await self.look(message, record)
            if isinstance(found, datetime):
                return found
            record = found
        content = message.looks or digest({"payload": dict(message.payload)})
        if record.state in ("shown", "refused") and content == record.digest:
            await self.follow(record)
            return None
        if record.ts and record.digest and record.attempted_at and record.attempted_at + PACE > now:
            return record.attempted_at + PACE  # the latest form wins and the ones between are never sent
        record = await self.save(await self.send(message, record, content))
        return self.after(record, content)

    async def follow(self, record: Shown) -> None:
        """Keep that the message says what is, though nothing had to be sent."""
        if record.cursor != self.incident.version:
            await self.save(replace(record, cursor=self.incident.version))

    def after(self, record: Shown, content: str) -> datetime | None:
        """Say when to go on after sending; a place that refuses is tried for a day."""
        now = self.world.clock.now()
        if record.state in DONE or (record.state == "refused" and record.digest == content):
            return None
        if record.state != "refused":
            return now + PACE
        age = now - self.entries[-1].at
        return next((now + pause for limit, pause in REFUSED_AGAIN if age < limit), None)

    async def send(self, message: Message, record: Shown, content: str) -> Shown:
        try:
            sent = await (self.update(message, record) if record.ts else self.post(message, record))
        except (Unpublishable, Gone) as error:
            return self.refused(message, record, error, content)
        return replace(sent, digest=content, cursor=self.incident.version) if sent.state == "shown" else sent

    def refused(self, message: Message, record: Shown, error: PublishError, content: str) -> Shown:
        """Keep that it is refused: the place may be mended, the card may change, anything else is over."""
        if record.state != "refused":
            self.world.log.warning("surface.refused", stream=record.stream, kind=record.kind, error=str(error))
        if isinstance(error, Unpublishable) and error.retryable:
            return replace(record, state="refused")
        return replace(record, state="refused" if message.editable else "skipped", digest=content)

    def key(self, kind: str) -> str:
        return f"{self.incident.id}.{self.number}.{kind}"

    async def look(self, message: Message, record: Shown) -> Shown | datetime:
        """An answer was lost: look for the message at once, after 5 s and after 60 s before posting again; keep the oldest."""
        now = self.world.clock.now()
        attempted = record.attempted_at or now
        found = await self.found(message, record.kind, attempted - SKEW)
        for extra in found[1:]:
            with suppress(Gone, Unpublishable):
                await self.surface.delete(extra)
        if found:
            return replace(
                record, state="shown", channel=found[0].channel, ts=found[0].ts, digest="", attempted_at=None
            )
        later = next((attempted + wait for wait in LOOK_AGAIN if attempted + wait > now), None)
        return later if later is not None else replace(record, state="new", attempted_at=None)

    async def found(self, message: Message, kind: str, since: datetime) -> list[Posted]:
        try:
            return await self.surface.find(self.key(kind), since, self.parent(message) if message.reply_to else None)
        except Unpublishable as error:
            self.world.log.warning("surface.cannot_look", stream=self.incident.stream, kind=kind, error=str(error))
            return []

    async def post(self, message: Message, record: Shown) -> Shown:
        sending = replace(record, state="sending", ts="", digest="", attempted_at=self.world.clock.now())
        await self.save(sending)
        try:
            thread = self.parent(message) if message.reply_to else None
            posted = await self.surface.post(message, self.key(message.kind), thread)
        except Indeterminate:
            return sending
        except (RateLimited, Unavailable):
            await self.save(replace(sending, state=record.state if record.state != "sending" else "new"))
            raise
        return replace(sending, state="shown", channel=posted.channel, ts=posted.ts)

    async def update(self, message: Message, record: Shown) -> Shown:
        if not message.editable:
            return replace(record, state="shown")
        tried = replace(record, attempted_at=self.world.clock.now())
        try:
            await self.surface.update(message, self.key(message.kind), Posted(record.channel, record.ts))
        except Indeterminate:
            return replace(tried, state="unsure", digest="")  # arrived or not: the newest form is sent again
        except Gone:
            return replace(tried, state="gone", ts="", digest="")
        return replace(tried, state="shown")
