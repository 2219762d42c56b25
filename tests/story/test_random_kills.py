"""One site, killed with -9 again and again at moments nobody chose, while rollbacks run: none lost, none done twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.clock import SystemClock
from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.store.chain import stamp
from bot.store.schema import migrate
from bot.store.verify import verify
from tests.story.replicas import Replicas, replicas

ENDED = (Phase.MOVED, Phase.RECOVERED, Phase.CLOSED, Phase.STUCK)
DUE = "SELECT 1 FROM work WHERE lane='advance' AND at<=? LIMIT 1"
AT_ONCE = 3  # new rollbacks while one `serve` lives


async def resumed(made: Replicas, started: float) -> float | None:
    """Give how long after the start the first entry was written, or all that was due was found to be done; None when nothing was due.

    What waits for a time that has not come, such as the next look of a watch, is not due. Of an incident that was closed
    just before the kill nothing is left to write.
    """
    now = (stamp(SystemClock().now()),)
    before = await made.store.query("SELECT max(seq) FROM timeline")
    if not await made.store.query(DUE, now):
        return None
    async with asyncio.timeout(20):
        while await made.store.query("SELECT max(seq) FROM timeline") == before and await made.store.query(DUE, now):
            await asyncio.sleep(0.02)
    return time.monotonic() - started


async def storm(made: Replicas, kills: int, chance: random.Random) -> list[float]:
    """Start, let new alerts come in, kill after a moment, and again; give how soon each start went on with what was due."""
    soon: list[float] = []
    for kill in range(kills):
        await made.start("a")
        listening = time.monotonic()
        if (took := await resumed(made, listening)) is not None:
            soon.append(took)
        models = [n for n in range(kill * AT_ONCE, (kill + 1) * AT_ONCE) if n < made.models]
        if models:
            await made.fire("a", models)
        await asyncio.sleep(chance.random() * 0.3)
        made.send("a", signal.SIGKILL)
        await made.processes["a"].wait()
    return soon


@pytest.mark.story
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kills", [60, pytest.param(500, marks=pytest.mark.nightly)])
async def test_RF1_kills_at_random_lose_nothing_and_do_nothing_twice(
    tmp_path: Path, tell: Callable[[str], None], kills: int
) -> None:
    seed = int(os.environ.get("LASTGOOD_SEED", random.SystemRandom().randrange(1_000_000)))
    url = f"sqlite:///{tmp_path}/t.db"
    migrate(url)
    async with replicas(tmp_path, url, models=min(AT_ONCE * kills, 900), mode="auto") as made:
        soon = await storm(made, kills, random.Random(seed))  # noqa: S311  a choice of moments
        await made.start("a")
        if left := range(AT_ONCE * kills, made.models):
            await made.fire("a", left)
        found = await made.every(*ENDED, seconds=300)
        await made.held_to(found)
        for one in found:
            entries = [row.entry for row in await made.store.read(one.stream)]
            started = next(n for n, entry in enumerate(entries) if isinstance(entry, e.StepStarted))
            applied = next(n for n, entry in enumerate(entries) if isinstance(entry, e.StepApplied))
            assert started < applied, f"{one.stream}, seed {seed}"
    assert verify(tmp_path / "t.db").ok, f"seed {seed}"
    assert max(soon) <= 5, f"seed {seed}"
    assert len(soon) >= kills / 4, "too few kills met a rollback under way"
    tell(
        f"{kills} kills, {len(found)} rollbacks, each once; went on within {max(soon):.1f} s of each start (seed {seed})"
    )
