"""One replica in a process of its own: `python replica.py URL FOLDER NAME`; each turn of a stream writes and acts once."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from adapters.engine.procrastinate import Procrastinate
from bot.clock import SystemClock
from bot.domain.entries import PolicyLoaded
from bot.errors import Conflict
from bot.log import JsonLog
from bot.ports import Append, Work, Write
from bot.store.timeline import Store

DEAD = 2.0
STAGES = 3
CLOCK = SystemClock()


async def main(url: str, folder: Path, name: str) -> None:
    async with Store(url, CLOCK) as store:
        log = JsonLog(CLOCK)
        engine = Procrastinate(store.place.dsn, store, CLOCK, log, beat=0.5, dead=DEAD, drain=1.0)
        store.deferring(engine.defer)

        async def handler(work: Work) -> datetime | None:
            """Three stages: each writes an entry at the epoch it read, and then acts; a Conflict means somebody else did."""
            rows = await store.read(work.stream)
            while len(rows) < STAGES:
                note(folder, f"{name} begins {work.stream} {len(rows)}")
                pause = float((folder / "pause").read_text() or 0)
                await asyncio.sleep(pause)
                fact = PolicyLoaded(digest="ab", generation=len(rows) + 1)
                with suppress(Conflict):
                    await store.append(Append(writes=(Write(work.stream, (fact,), len(rows)),)))
                    note(folder, f"{name} did {work.stream} {len(rows)}")
                    rows = await store.read(work.stream)
                    continue
                note(folder, f"{name} conflict {work.stream} {len(rows)}")
                rows = await store.read(work.stream)
            return None

        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        async with engine.run({"advance": handler}):
            note(folder, f"{name} up")
            await stop.wait()
    note(folder, f"{name} down")


def note(folder: Path, line: str) -> None:
    with (folder / "notes").open("a") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
