"""A click waits for nothing that could be asked before it: with Slack's answers about people 2 s late, it is taken at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bot.app import create
from bot.clock import SystemClock
from bot.demo.slack import SlackLookalike
from bot.domain.incident import Phase
from bot.log import JsonLog
from bot.roster import Roster
from tests.story.site import Site, Sli, settings, write_config

pytestmark = pytest.mark.story

ABOUT_PEOPLE = ("users.info", "usergroups.users.list")
LATE = 2.0  # seconds


class Jumping(SystemClock):
    """The machine's time, and so much later as the test says."""

    by = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.by


class Town(Site):
    """A site whose clock the test can put forward."""

    clock: Jumping

    def asked(self) -> int:
        """Count the questions about people that reached Slack."""
        return sum(self.slack.calls[method] for method in ABOUT_PEOPLE)

    def answered(self) -> int:
        """Count those Slack answered."""
        return sum(call.method in ABOUT_PEOPLE for call in self.slack.call_log)

    def late(self) -> None:
        """Let every further answer about people come late."""
        for method in ABOUT_PEOPLE:
            self.slack.fail(method, "slow", times=1000, after=LATE)

    def looked(self) -> None:
        """Do what a look of the stage does for those who will click."""
        sources = [source for role in self.app.world.catalogue.roles.values() for source in role.sources]
        assert isinstance(self.app.world.directory, Roster)
        self.app.world.directory.keep_warm(sources, [])

    async def renewed(self, before: int) -> None:
        """Wait until what was asked in the background is answered."""
        async with asyncio.timeout(60):
            while self.answered() == before or self.answered() < self.asked():
                await asyncio.sleep(0.02)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Town]:
    clock = Jumping()
    async with AsyncExitStack() as stack:
        slack = SlackLookalike(SystemClock())
        await slack.start()
        stack.push_async_callback(slack.stop)
        write_config(tmp_path, "http://127.0.0.1:9/metrics")
        log = stack.enter_context((tmp_path / "log").open("a"))
        app = create(settings(tmp_path, slack), clock=clock, log=JsonLog(clock, log), print_checkpoint=lambda _: None)
        stack.callback(app.store.close)
        stack.push_async_callback(app.stop)
        await app.start()
        slack.request_url = f"http://127.0.0.1:{app.port}/slack/events"
        town = Town(app, slack, Sli(), tmp_path)
        town.clock = clock
        yield town


async def votes(here: Town) -> list[str]:
    found = await here.incident()
    assert found is not None
    return [vote.person for vote in found.votes]


async def test_a_warm_click_is_acknowledged_before_any_late_answer_comes(here: Town) -> None:
    await here.alert()
    await here.until(Phase.WAITING)
    card = await here.card_shows("Waiting")
    here.late()
    before = here.answered()
    for person, taken in (("U0ANA", ["U0ANA"]), ("U0TOM", ["U0ANA"]), ("U0ANA", ["U0ANA"])):
        here.clock.by += timedelta(seconds=45)  # older than the answers were when they began to be renewed
        here.looked()
        reply = await here.slack.click(person, "approve", card["ts"])
        assert reply.status == 200
        assert await votes(here) == taken, "judged, and durable, before Slack was told"
        assert here.answered() == before, "nothing about people was answered meanwhile, so nothing was waited for"
        assert reply.seconds < LATE
        await here.renewed(before)
        before = here.answered()


async def test_a_click_nobody_kept_warm_waits_for_its_answers(here: Town) -> None:
    await here.alert()
    await here.until(Phase.WAITING)
    card = await here.card_shows("Waiting")
    here.late()
    before = here.answered()
    here.clock.by += timedelta(seconds=61)
    reply = await here.slack.click("U0ANA", "approve", card["ts"])
    assert reply.status == 200
    assert here.answered() > before, "or the test above shows nothing"
    async with asyncio.timeout(60):
        while await votes(here) != ["U0ANA"]:
            await asyncio.sleep(0.02)
