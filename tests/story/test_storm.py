"""Ten thousand alerts in a minute, nine of ten repeats: none is lost, one card a model, clicks are still answered."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from bot.domain.incident import Phase
from bot.store.schema import migrate
from bot.store.verify import verify
from tests.story.replicas import Replicas, press, replicas
from tests.story.site import TOKEN, alert_body

pytestmark = [pytest.mark.story, pytest.mark.timeout(3000)]
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
WITHIN = 60.0  # seconds for all of them
ACK = (
    3.0  # seconds after which Slack gives a click up; how soon it is answered is told, and this machine does all sides
)
GROWTH = 20 * 1024  # KiB


@dataclass
class Storm:
    """Sends alerts when they are due, each again until it is taken, as senders do; `taken` are the ids it was answered."""

    made: Replicas
    alerts: int
    taken: list[str] = field(default_factory=list)
    again: int = 0

    @property
    def lasts(self) -> float:
        """Give how many seconds it takes: ten thousand alerts a minute."""
        return WITHIN * self.alerts / 10_000

    def body(self, n: int, chance: random.Random) -> dict[str, object]:
        """One in ten says something new: the others repeat one of the alerts there are."""
        distinct = max(self.alerts // 10, self.made.models)
        which = n if n < self.made.models else chance.randrange(distinct)
        model = which % self.made.models
        return alert_body(
            "firing", f"f{which}", "2026-11-23T02:00:00Z", model=f"m{model}", sli=f"s{which // self.made.models % 5}"
        )

    async def blow(self) -> None:
        chance, began = random.Random(self.alerts), time.monotonic()  # noqa: S311  a choice of alerts
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64)) as http,
            asyncio.TaskGroup() as group,
        ):
            for n in range(self.alerts):
                due = began + n * self.lasts / self.alerts
                if (wait := due - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                group.create_task(self._sent(http, self.body(n, chance)))

    async def _sent(self, http: aiohttp.ClientSession, body: dict[str, object]) -> None:
        while True:
            url = f"http://127.0.0.1:{self.made.ports['a']}/hooks/alertmanager"
            try:
                async with http.post(url, json=body, headers=HEADERS) as answer:
                    if answer.status == 202:
                        self.taken.append((await answer.json())["id"])
                        return
            except (aiohttp.ClientError, OSError):
                pass  # it was killed: nobody knows whether this was stored, so it is sent again
            self.again += 1
            await asyncio.sleep(0.2)

    async def looked_at(self, seconds: float = 120) -> None:
        """Wait until everything that was stored has been looked at."""
        async with asyncio.timeout(seconds):
            while await self.made.store.pending():
                await asyncio.sleep(0.2)


@asynccontextmanager
async def town(folder: Path, models: int, mode: str) -> AsyncIterator[Replicas]:
    url = f"sqlite:///{folder}/t.db"
    migrate(url)
    async with replicas(folder, url, models=models, mode=mode) as made:
        await made.start("a")
        yield made


def memory(made: Replicas) -> int:
    """What the process holds, in KiB."""
    status = Path(f"/proc/{made.processes['a'].pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


async def clicks(made: Replicas, until: asyncio.Event) -> list[float]:
    """Press again and again, signed, for incidents that wait; give how long each answer took."""
    took: list[float] = []
    async with aiohttp.ClientSession() as http:
        while not until.is_set():
            waiting = [one for one in await made.incidents() if one.phase is Phase.WAITING and one.plan is not None]
            for incident in waiting[:5]:
                body, headers = press(made, incident, "U0NOBODY")
                began = time.monotonic()
                async with http.post(made.events("a"), data=body, headers=headers) as answer:
                    assert answer.status == 200
                took.append(time.monotonic() - began)
            await asyncio.sleep(0.2)
    return took


@pytest.mark.parametrize(
    ("models", "alerts"), [(10, 10_000), (200, 10_000), pytest.param(200, 100_000, marks=pytest.mark.nightly)]
)
async def test_of_ten_thousand_alerts_in_a_minute_none_is_lost_and_clicks_are_answered(
    tmp_path: Path, tell: Callable[[str], None], models: int, alerts: int
) -> None:
    async with town(tmp_path, models, "approve") as made:
        storm, over = Storm(made, alerts), asyncio.Event()
        clicking = asyncio.create_task(clicks(made, over))
        blowing = asyncio.create_task(storm.blow())
        await asyncio.sleep(
            storm.lasts * 2 / 3
        )  # by then every alert there is was seen, and in a long one people were reminded
        warm = memory(made)
        await blowing
        await storm.looked_at()
        grown = memory(made) - warm
        over.set()
        took = sorted(await clicking)
        assert len(storm.taken) == len(set(storm.taken)) == alerts
        found = await made.every(Phase.WAITING, seconds=120)
        assert len(found) == models
        ((stored,),) = await made.store.query("SELECT count(*) FROM inbound WHERE outcome='accepted' AND error=''")
        assert stored == alerts + storm.again
        ((told,),) = await made.store.query(
            "SELECT sum(notify_count) FROM occurrence WHERE fingerprint LIKE 'alertmanager:%'"
        )
        assert told == stored
        cards = made.slack.cards()
        assert len(cards) <= models + (models > 20)  # more than 20 new ones a minute are announced in one message more
        assert len(cards) == 10 or models > 10
        slowest = took[int(len(took) * 0.99)]
        assert slowest <= ACK
        assert grown <= GROWTH
    tell(
        f"{alerts:,} alerts over {models} models: all taken, {len(cards)} cards, click answered within {slowest * 1000:.0f} ms "
        f"(99 of 100 of {len(took)}), {grown / 1024:.1f} MiB more than after two thirds"
    )


async def test_killed_three_times_in_a_storm_every_alert_that_was_taken_is_looked_at_and_each_model_goes_back_once(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    async with town(tmp_path, 20, "auto") as made:
        storm = Storm(made, 2_000)
        blowing = asyncio.create_task(storm.blow())
        for _ in range(3):
            await asyncio.sleep(2.5)
            made.send("a", signal.SIGKILL)
            await made.processes["a"].wait()
            await made.start("a")
        await blowing
        await storm.looked_at()
        found = await made.every(Phase.STUCK, Phase.CLOSED, seconds=300)
        await made.held_to(found)
        rows = await made.store.query("SELECT id FROM inbound WHERE outcome='accepted'")
        known = len({row[0] for row in rows}.intersection(storm.taken))
        assert known == len(storm.taken) == 2_000
        ((twice,),) = await made.store.query("SELECT count(*) FROM timeline WHERE type='incident.opened'")
        assert twice == 20
    assert verify(tmp_path / "t.db").ok
    tell(f"2,000 alerts, 3 kills, {storm.again} sent again: each taken one looked at, each of 20 models back once")
