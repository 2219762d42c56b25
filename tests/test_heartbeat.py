"""The heartbeat goes out while all is well, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from aiohttp import web

from adapters.testing import NotedLog
from bot.clock import SystemClock
from bot.heartbeat import beat


class Monitor:
    """Somebody else's monitor: counts the beats."""

    def __init__(self) -> None:
        self.beats, self.status, self.url = 0, 200, ""
        self.ready = {"timeline": True, "engine": True}
        self.log = NotedLog()

    async def answer(self, _: web.Request) -> web.Response:
        self.beats += 1
        return web.Response(status=self.status)

    async def is_ready(self) -> dict[str, bool]:
        return self.ready

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/{path}", self.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/s3cret"
        task = asyncio.create_task(beat(self.url, timedelta(seconds=0.01), self.is_ready, SystemClock(), self.log))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await runner.cleanup()

    async def counted(self, beats: int) -> None:
        async with asyncio.timeout(60):
            while self.beats < beats:
                await asyncio.sleep(0.01)

    async def told(self, lines: int) -> list[str]:
        async with asyncio.timeout(60):
            while len(self.log.lines) < lines:
                await asyncio.sleep(0.01)
        return self.log.lines


async def test_it_beats_again_and_again_while_all_is_well() -> None:
    monitor = Monitor()
    async with monitor.beating():
        await monitor.counted(3)
    assert monitor.log.lines == []


async def test_it_falls_silent_when_anything_is_not_ready_and_says_so_once() -> None:
    monitor = Monitor()
    monitor.ready["timeline"] = False
    async with monitor.beating():
        assert await monitor.told(1) == ["heartbeat.missed {'why': 'not ready: timeline'}"]
        await asyncio.sleep(0.1)
        assert (monitor.beats, len(monitor.log.lines)) == (0, 1)
        monitor.ready["timeline"] = True
        await monitor.counted(1)


async def test_what_the_monitor_answers_is_logged_without_its_address() -> None:
    monitor = Monitor()
    monitor.status = 404
    async with monitor.beating():
        assert await monitor.told(1) == ["heartbeat.missed {'why': 'it answered 404'}"]
    assert "s3cret" not in str(monitor.log.lines)
