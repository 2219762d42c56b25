"""A serve that kills itself with SIGKILL at one point, `KIND N before|after`: around the Nth append, or the Nth call of
one of the target's verbs. Without a point it writes down how often it came by each, as the rehearsal of a matrix.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.app import create
from bot.clock import SystemClock
from bot.config import environment
from bot.domain.entries import Recorded, StepStarted
from bot.flow.world import Folds
from bot.log import JsonLog
from bot.ports import Append

VERBS = ("preflight", "read", "plan", "reading", "apply", "verify")


class Point:
    """Counts what is watched, and ends the process at the chosen one."""

    def __init__(self, spec: str, counts: Path) -> None:
        self._spec, self._counts = spec, counts
        self._reached: Counter[str] = Counter()

    async def around(self, kind: str, work: Callable[[], Awaitable[Any]]) -> Any:
        self._reached[kind] += 1
        name = f"{kind} {self._reached[kind]}"
        if not self._spec:
            self._counts.write_text(json.dumps(self._reached))
        self._end(f"{name} before")
        done = await work()
        self._end(f"{name} after")
        return done

    def _end(self, name: str) -> None:
        if name == self._spec:
            os.kill(os.getpid(), signal.SIGKILL)


class KillingTimeline:
    """The store, with a kill around each append; `forgets` keeps intents in memory only, as a broken timeline would."""

    def __init__(self, store: Any, point: Point, *, forgets: bool) -> None:
        self._store, self._point, self._forgets = store, point, forgets
        self._unwritten: dict[str, list[Recorded]] = {}

    async def append(self, append: Append) -> list[Recorded]:
        if self._forgets and any(isinstance(e, StepStarted) for w in append.writes for e in w.entries):
            return self._only_remember(append)
        written: list[Recorded] = await self._point.around("append", lambda: self._store.append(append))
        return written

    def _only_remember(self, append: Append) -> list[Recorded]:
        write = append.writes[0]
        at = SystemClock().now()
        row = Recorded(0, write.stream, (write.expect or 0) + 1, (write.expect or 0) + 1, at, write.entries[0], "", "")
        self._unwritten[write.stream] = [row]
        return [row]

    async def read(self, stream: str, after: int = 0) -> list[Recorded]:
        rows: list[Recorded] = await self._store.read(stream, after)
        return rows + [one for one in self._unwritten.pop(stream, []) if one.version > after]

    async def said(self, refs: Any) -> dict[str, str]:
        texts: dict[str, str] = await self._store.said(refs)
        return texts


class KillingTarget:
    """The memory target, with a kill around each call."""

    def __init__(self, target: Any, point: Point) -> None:
        self._target, self._point = target, point

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name not in VERBS:
            return found
        return lambda *given: self._point.around(name, lambda: found(*given))

    async def __aenter__(self) -> Any:
        return await self._target.__aenter__()

    async def __aexit__(self, *why: object) -> None:
        await self._target.__aexit__(*why)


async def main(port_file: Path) -> None:
    folder = port_file.parent
    point = Point(os.environ.get("KILL", ""), folder / "counts.json")
    with (folder / "serve.log").open("a") as out:
        app = create(environment(), log=JsonLog(SystemClock(), out), print_checkpoint=lambda _: None)
        timeline: Any = KillingTimeline(app.store, point, forgets=bool(os.environ.get("FORGETS")))
        targets: Any = {key: KillingTarget(target, point) for key, target in app.world.targets.items()}
        app.world = replace(app.world, timeline=timeline, targets=targets, folds=Folds(timeline))
        await app.start()
        written = port_file.with_suffix(".new")
        written.write_text(str(app.port))
        written.replace(port_file)  # whoever sees the file finds the whole number in it
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
