"""Three replicas on one PostgreSQL: one is killed, one frozen, the server restarted, people press everywhere at once."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bot.domain import entries as e
from bot.domain.incident import Incident, Phase
from bot.store.copying import verify_at
from tests.postgres import Server
from tests.story.replicas import Replicas, press, replicas

SCRIPT = Path(__file__).with_name("clicker.py")
PEOPLE = ("U0ANA", "U0PRIYA")
ENDED = (Phase.MOVED, Phase.RECOVERED, Phase.CLOSED, Phase.STUCK)
INCIDENTS = 200
FROZEN = 40  # seconds; longer than an intent's deadline


@pytest.fixture
def own() -> Iterator[Server]:
    """A server of this test alone, which it may stop."""
    server = Server.started()
    yield server
    server.remove()


@pytest.mark.story
@pytest.mark.timeout(600)
async def test_two_hundred_incidents_outlive_a_kill_a_freeze_and_a_restart_of_the_server(
    own: Server, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    async with replicas(tmp_path, own.database(), models=INCIDENTS, mode="auto") as made:
        await made.start("a", "b", "c")
        for name, part in (("a", 0), ("b", 1), ("c", 2)):
            await made.fire(name, range(part, INCIDENTS, 3))
        async with asyncio.timeout(120):
            while sum(bool(made.effects(n)) for n in range(INCIDENTS)) < 20:
                await asyncio.sleep(0.05)
        made.send("a", signal.SIGKILL)
        made.send("b", signal.SIGSTOP)
        frozen = asyncio.get_running_loop().time()
        await asyncio.sleep(3)
        await asyncio.to_thread(own.stop)
        await asyncio.to_thread(own.start)
        await asyncio.sleep(max(0, frozen + FROZEN - asyncio.get_running_loop().time()))
        made.send("b", signal.SIGCONT)
        found = await made.every(*ENDED, seconds=300)
        await made.held_to(found)
        gone = await made.store.query("SELECT count(*) FROM procrastinate_jobs WHERE status='doing'")
        report = await asyncio.to_thread(verify_at, made.store.place)
        assert report.ok, report.problems
        assert gone[0][0] <= 32
    tell(
        f"{len(found)} incidents over 3 replicas, one killed, one frozen for {FROZEN} s, the server restarted: each rolled back once"
    )


async def _rounds(made: Replicas, rounds: int, batch: int) -> list[Counter[int]]:
    """Let two people press each plan on every replica at once, a batch of plans at a time."""
    found = await made.every(Phase.WAITING, seconds=400)
    names = list(made.processes)
    crowds = [await _crowd(made.folder, name, rounds // batch) for name in names]
    for n in range(rounds // batch):
        some = found[n * batch : (n + 1) * batch]
        for name in names:
            requests = [press(made, incident, user) for incident in some for user in PEOPLE]
            asked = {"url": made.events(name), "at_once": 40, "requests": requests}
            (made.folder / f"{name}.{n}").write_text(json.dumps(asked))
        (made.folder / f"begin.{n}").touch()
        await _claimed(made, some)
    return [Counter(json.loads((await one.communicate())[0])) for one in crowds]


async def _crowd(folder: Path, name: str, batches: int) -> asyncio.subprocess.Process:
    words = (sys.executable, str(SCRIPT), str(folder / name), str(folder / "begin"), str(batches))
    return await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)


async def _claimed(made: Replicas, some: list[Incident]) -> None:
    waiting = {one.stream for one in some}
    async with asyncio.timeout(300):
        while waiting:
            claimed = await made.store.query("SELECT stream FROM timeline WHERE type='rollback.claimed'")
            waiting -= {stream for (stream,) in claimed}
            await asyncio.sleep(0.1)


@pytest.mark.story
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rounds", [100, pytest.param(1000, marks=pytest.mark.nightly)])
async def test_presses_on_every_replica_at_once_are_one_vote_a_person_and_one_execution(
    postgres: Server, tmp_path: Path, tell: Callable[[str], None], rounds: int
) -> None:
    async with replicas(tmp_path, postgres.database(), models=rounds, mode="approve") as made:
        await made.start("a", "b", "c")
        await made.fire("a", range(rounds))
        answers = await _rounds(made, rounds, batch=50)
        found = await made.every(*ENDED, seconds=600)
        await made.held_to(found)
        for one in found:
            votes = [
                row.entry.person for row in await made.store.read(one.stream) if isinstance(row.entry, e.ApprovalGiven)
            ]
            assert sorted(votes) == sorted(PEOPLE), one.stream
    assert answers == [Counter({200: rounds * len(PEOPLE)})] * 3
    tell(f"{len(found)} executions of {rounds} plans, {rounds * 3 * len(PEOPLE)} presses over three replicas")
