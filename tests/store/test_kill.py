from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.clock import ManualClock
from bot.ports import Append
from bot.store.timeline import Store
from bot.store.verify import verify

pytestmark = pytest.mark.of_files

APPEND = """
import asyncio, sys
from bot.clock import SystemClock
from bot.domain.entries import PolicyLoaded
from bot.ports import Append, Said, Work, Write
from bot.store.timeline import Store

async def caller(store, stream):
    rows = await store.read(stream)
    epoch = rows[-1].epoch if rows else 0
    while True:
        write = Write(stream, (PolicyLoaded(digest="ab" * 32, generation=epoch),), epoch)
        said = Said(f"{stream}@{epoch + 1}", "", "x" * 500)
        work = Work("advance", stream, store._clock.now())
        (row,) = await store.append(Append(writes=(write,), said=(said,), work=(work,)))
        epoch = row.epoch
        sys.stdout.write(f"{stream} {row.version} {row.digest}\\n")
        sys.stdout.flush()

async def main():
    store = Store(sys.argv[1], SystemClock())
    await asyncio.gather(*(caller(store, f"incident/{name}") for name in "ABCDEFGH"))

asyncio.run(main())
"""


def acknowledged(url: str, seconds: float) -> list[list[str]]:
    """Append as fast as possible and kill -9; give what was acknowledged, the last line left out when torn."""
    with subprocess.Popen([sys.executable, "-c", APPEND, url], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
    lines = (first + rest).decode().split("\n")[:-1]
    return [line.split() for line in lines]


async def held(url: str, lines: list[list[str]]) -> None:
    """Everything acknowledged is there, each append whole, and the chain holds."""
    async with Store(url, ManualClock()) as store:
        streams = {stream: await store.read(stream) for stream in {line[0] for line in lines}}
        for stream, version, digest in lines:
            assert streams[stream][int(version) - 1].digest == digest
        for stream, rows in streams.items():
            refs = [f"{stream}@{row.version}" for row in rows]
            assert len(await store.said(refs)) == len(rows)
        turns = Counter({one.stream: one.turn for one in await store.due(max(r[-1].at for r in streams.values()), 99)})
        assert turns == Counter({stream: len(rows) for stream, rows in streams.items()})
    report = verify(Path(url.removeprefix("sqlite:///")))
    assert report.as_json()["problems"] == []
    assert report.entries >= len(lines)


async def _killed(url: str, rounds: int, write: Callable[..., Append]) -> None:
    lines: list[list[str]] = []
    for _ in range(rounds):
        lines += await asyncio.to_thread(acknowledged, url, random.uniform(0, 0.15))  # noqa: S311  any moment will do
        await held(url, lines)
    assert len(lines) > rounds
    async with Store(url, ManualClock()) as store:
        assert len(await store.append(write("incident/after"))) == 1


async def test_everything_acknowledged_survives_kill_9(url: str, write: Callable[..., Append]) -> None:
    await _killed(url, 5, write)


@pytest.mark.nightly
@pytest.mark.timeout(1500)
async def test_everything_acknowledged_survives_many_kills(url: str, write: Callable[..., Append]) -> None:
    await _killed(url, 200, write)
