"""What is kept how long: bodies of messages are erased in time, and incidents that closed long ago are laid to rest."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.config import RetentionConfig
from bot.errors import Conflict, ReadOnly, TimelineError
from bot.ports import Log
from bot.store.timeline import Store

LANE, STREAM = "retention", "system/retention"  # the lane is one of `bot.ports.LOOKS`
EVERY, SOON = timedelta(hours=1), timedelta(seconds=10)  # SOON while there is more than one round takes
_ERASED = "retention/messages"  # the last message whose body was erased


async def tidy(store: Store, keep: RetentionConfig, now: datetime, log: Log) -> datetime:
    """Do one round of both; give when the next is due. What cannot be laid to rest stays as it is, and the log says why."""
    last = await store.erase_bodies(await store.noted(_ERASED), now - keep.messages)
    if last:
        await store.note(_ERASED, last)
    try:
        streams = await rested(store, now - keep.incidents, log)
    except TimelineError as error:  # this role may not; whoever owns the database may
        log.warning("retention.refused", error=str(error))
        streams = 0
    return now + (SOON if last or streams else EVERY)


async def rested(store: Store, before: datetime, log: Log) -> int:
    """Lay one round of incidents to rest that had their last entry before then; give how many.

    One whose chain does not hold is left, and the log says so. Raises TimelineError when nothing may be laid to rest.
    """
    count, was, now = 0, 0, 0
    for stream in await store.resting(before):
        try:
            took, takes = await store.rest(stream)
        except ReadOnly:
            raise
        except (TimelineError, Conflict) as error:
            log.warning("retention.left", stream=stream, error=str(error))
            continue
        count, was, now = count + 1, was + took, now + takes
    if count:
        log.info("retention.rested", incidents=count, bytes_before=was, bytes_after=now)
    return count
