"""Cold start and idle memory, beside a process that imports the same packages and does nothing."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

from figures import Figure
from place import HERE, Place, answers, started
from probes import rss_mib

from bot.demo.envoy import free_port

IDLE = 0.3  # seconds after the start when memory is read
IMPORTS = "a process that only imports the same packages"


class Starts:
    """`lastgood serve` on a database that is there already, until /readyz says yes."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.cold = Figure("cold start to ready", "ms", IMPORTS, 1.5, 1.1)
        self.idle = Figure("RSS idle", "MiB", "RSS after the same imports", 1.5, 1.15)
        self.figures = [self.cold, self.idle]
        self._folder = place.folder
        self._environ: dict[str, str] = {}

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        self._folder = self._place.site("starts", ["bench-start-0"])
        paths = filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        self._environ = {**os.environ, **self._place.environ(self._folder), "PYTHONPATH": os.pathsep.join(paths)}
        for _ in range(2):  # the first makes the database and imports what only that needs
            names = await self._modules()
        (self._folder / "modules").write_text(names)
        yield

    async def _modules(self) -> str:
        async with started(sys.executable, str(HERE / "child.py"), "modules", env=self._environ) as process:
            out, _ = await process.communicate()
        assert process.returncode == 0
        return out.decode()

    async def round(self, at: int) -> None:
        if at % 2 == 0:
            (mine, rss), (bare, bare_rss) = await self._application(), await self._imports()
        else:
            (bare, bare_rss), (mine, rss) = await self._imports(), await self._application()
        self.cold.add(1000 * mine, 1000 * bare)
        self.idle.add(rss, bare_rss)

    async def _application(self) -> tuple[float, float]:
        port, began = free_port(), perf_counter()
        environ = {**self._environ, "LASTGOOD_PORT": str(port)}
        with Path(self._folder / "stderr").open("a") as quiet:  # noqa: ASYNC230  the start is what is measured
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bot", "serve", env=environ, stdout=quiet, stderr=quiet
            )
        try:
            await answers(f"http://127.0.0.1:{port}/readyz", 30)
            took = perf_counter() - began
            await asyncio.sleep(IDLE)
            return took, rss_mib(process.pid)
        finally:
            process.kill()  # how it ends is not measured, and the next start must not need a clean end
            await process.wait()

    async def _imports(self) -> tuple[float, float]:
        began = perf_counter()
        async with self._place.child("imports", str(self._folder / "modules")) as child:
            took = perf_counter() - began
            await asyncio.sleep(IDLE)
            return took, rss_mib(child.pid)
