"""A look-alike workspace and the real Slack client against it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import ManualClock
from bot.demo.slack import SlackLookalike
from bot.slack.bolt import CALL_WITHIN


@pytest.fixture
async def slack(clock: ManualClock) -> AsyncIterator[SlackLookalike]:
    workspace = SlackLookalike(clock)
    await workspace.start()
    yield workspace
    await workspace.stop()


@pytest.fixture
async def client(slack: SlackLookalike) -> AsyncIterator[AsyncWebClient]:
    async with aiohttp.ClientSession(timeout=CALL_WITHIN) as session:
        yield AsyncWebClient(token=slack.bot_token, base_url=slack.api_url, session=session, retry_handlers=[])
