"""One turn of due work, the same under every engine: run, ended, and tried again later when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from bot.errors import LastgoodError
from bot.ports import Clock, Handler, Log, Work, WorkTable

LONGEST = 120.0  # seconds; more than the sum of an adapter's deadlines
BACKOFF = (1, 2, 5, 15, 60)  # seconds


async def turn(work: Work, handlers: Mapping[str, Handler], table: WorkTable, clock: Clock, log: Log) -> None:
    """Run one turn and end it; a failure is logged and comes again after a while."""
    handler = handlers.get(work.lane.partition("/")[0])
    if handler is None:
        log.warning("engine.no_handler", lane=work.lane)
        await table.finish(work)
        return
    try:
        async with asyncio.timeout(LONGEST):
            again = await handler(work)
        await table.finish(work, again)
    except Exception as error:  # noqa: BLE001  one of the two broad ones: a stream's fault must not end the others
        await _failed(work, error, table, clock, log)


async def _failed(work: Work, error: Exception, table: WorkTable, clock: Clock, log: Log) -> None:
    wait = BACKOFF[min(work.tries, len(BACKOFF) - 1)]
    log.warning("engine.turn_failed", lane=work.lane, stream=work.stream, error=repr(error), again_in=wait)
    try:
        await table.finish(work, clock.now() + timedelta(seconds=wait), failed=True)
    except LastgoodError as unwritable:
        log.warning("engine.unwritable", error=str(unwritable))
        await asyncio.sleep(wait)
