"""The local engine: one asyncio worker over the `work` table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from adapters.engine._turn import turn
from bot.ports import Clock, Handler, Log, Work, WorkTable

POLL = 0.25  # seconds; commands write work from another process
MOST = 64


class Local:
    """Runs one turn per (lane, stream) at a time, many streams at once."""

    def __init__(self, work: WorkTable, clock: Clock, log: Log) -> None:
        """Run what `work` holds."""
        self._work, self._clock, self._log = work, clock, log
        self._bell = asyncio.Event()
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._loop: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        """Say whether the worker runs."""
        return self._loop is not None and not self._loop.done()

    def ring(self) -> None:
        """Look at once."""
        self._bell.set()

    @asynccontextmanager
    async def run(self, handlers: Mapping[str, Handler]) -> AsyncIterator[None]:
        """Run until left; turns under way get 10 s to end."""
        self._loop = asyncio.create_task(self._watch(handlers), name="engine")
        try:
            yield
        finally:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            if self._running:
                _, late = await asyncio.wait(self._running.values(), timeout=10)
                for task in late:
                    task.cancel()
                await asyncio.gather(*late, return_exceptions=True)

    async def _watch(self, handlers: Mapping[str, Handler]) -> None:
        while True:
            self._bell.clear()
            coming = await self._coming()
            now = self._clock.now()
            for work in coming:
                if work.at <= now:
                    self._start(work, handlers)
            pause = min([POLL, *((work.at - now).total_seconds() for work in coming if work.at > now)])
            try:
                async with asyncio.timeout(pause):
                    await self._bell.wait()
            except TimeoutError:
                continue

    async def _coming(self) -> list[Work]:
        """Give what is due before the next look, as far as there is room; whoever ends a turn rings when there is none."""
        until = self._clock.now() + timedelta(seconds=POLL)
        return await self._work.due(until, MOST - len(self._running), skip=tuple(self._running))

    def _start(self, work: Work, handlers: Mapping[str, Handler]) -> None:
        key = (work.lane, work.stream)
        running = turn(work, handlers, self._work, self._clock, self._log)
        task = asyncio.create_task(running, name=f"{work.lane} {work.stream}")
        self._running[key] = task
        task.add_done_callback(lambda _: self._ended(key))

    def _ended(self, key: tuple[str, str]) -> None:
        self._running.pop(key, None)
        self._bell.set()
