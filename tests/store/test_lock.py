from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.store.lock import serve_lock

HOLD = (
    "import sys\nfrom pathlib import Path\nfrom bot.store.lock import serve_lock\n"
    "with serve_lock(Path(sys.argv[1]), print):\n    print('held', flush=True)\n    sys.stdin.readline()\n"
)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock until it is told to end."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "site.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


async def test_a_free_lock_is_taken_at_once_and_names_its_holder(tmp_path: Path) -> None:
    said: list[str] = []
    async with serve_lock(tmp_path / "site.db", said.append):
        assert (tmp_path / "site.db.serve.lock").read_text() == f"process {os.getpid()}\n"
    assert said == []


async def test_a_second_serve_names_the_holder_once_and_goes_on_when_it_is_killed(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    said: list[str] = []

    async def second() -> None:
        async with serve_lock(tmp_path / "site.db", said.append):
            said.append("taken")

    waiting = asyncio.create_task(second())
    await asyncio.sleep(0.3)
    assert said == [f"process {holder.pid}"]
    holder.kill()
    await asyncio.wait_for(waiting, 5)
    assert said[1:] == ["taken"]


async def test_waiting_can_be_cancelled(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    lock = serve_lock(tmp_path / "site.db", lambda _: None)
    waiting = asyncio.create_task(lock.__aenter__())
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    holder.kill()
    holder.wait()
    async with serve_lock(tmp_path / "site.db", lambda _: None):
        pass


async def test_the_blocking_form_waits_too(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    said: list[str] = []

    def second() -> None:
        with serve_lock(tmp_path / "site.db", said.append):
            said.append("taken")

    waiting = asyncio.create_task(asyncio.to_thread(second))
    await asyncio.sleep(0.2)
    assert said == [f"process {holder.pid}"]
    holder.kill()
    await asyncio.wait_for(waiting, 5)
    assert said[1:] == ["taken"]
