"""A fake PagerDuty, and pagers that ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from io import StringIO
from pathlib import Path

import pytest

from adapters.paging.pagerduty import PagerDuty, PagerDutyConfig
from bot.clock import ManualClock, SystemClock
from bot.log import JsonLog
from bot.ports import Clock, Context
from tests.adapters.paging.fake_pagerduty import SENDER, TOKEN, FakePagerDuty


@pytest.fixture
async def fake(clock: ManualClock, tmp_path: Path) -> AsyncIterator[FakePagerDuty]:
    """Dana Roe and Ana Ruiz, and nobody on call yet; the account keeps the time of the test."""
    account = FakePagerDuty(clock, tmp_path)
    account.person("PDANA", "Dana Roe", "dana@acme.example")
    account.person("PANA", "Ana Ruiz", "ana.ruiz@acme.example")
    await account.start()
    yield account
    await account.stop()


@pytest.fixture
def log() -> StringIO:
    return StringIO()


@pytest.fixture
def secrets(fake: FakePagerDuty) -> dict[str, str]:
    return {"PAGERDUTY_TOKEN": TOKEN, "PAGERDUTY_API_URL": fake.url, "PAGERDUTY_CA": fake.ca}


Opened = Callable[[Clock], Awaitable[PagerDuty]]


@pytest.fixture
async def opened(secrets: dict[str, str], log: StringIO) -> AsyncIterator[Opened]:
    async with AsyncExitStack() as stack:

        async def begin(clock: Clock) -> PagerDuty:
            context = Context(clock=clock, name="pagerduty", log=JsonLog(clock, log), secret=secrets.get)
            made = PagerDuty(PagerDutyConfig.model_validate({"from": SENDER}), context)
            return await stack.enter_async_context(made)

        yield begin


@pytest.fixture
async def pager(opened: Opened, clock: ManualClock) -> PagerDuty:
    """A pager whose kept answers age with the test's clock; its deadline is real."""
    return await opened(clock)


@pytest.fixture
async def prompt(opened: Opened) -> PagerDuty:
    """A pager that waits in real time."""
    return await opened(SystemClock())
