"""The outbound heartbeat: an address asked again and again while Lastgood is well, so that its silence alarms somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import aiohttp

from bot.ports import Clock, Log

ANSWER_WITHIN = aiohttp.ClientTimeout(total=10)


async def beat(
    url: str, every: timedelta, ready: Callable[[], Awaitable[Mapping[str, bool]]], clock: Clock, log: Log
) -> None:
    """Ask for ever, only while every check of `/readyz` holds. What went wrong is logged once, until it is well again."""
    told = ""
    async with aiohttp.ClientSession(timeout=ANSWER_WITHIN, cookie_jar=aiohttp.DummyCookieJar()) as http:
        while True:
            wrong = [name for name, holds in (await ready()).items() if not holds]
            trouble = f"not ready: {', '.join(wrong)}" if wrong else await _asked(http, url)
            if trouble and trouble != told:
                log.warning("heartbeat.missed", why=trouble)
            told = trouble
            await clock.sleep(every.total_seconds())


async def _asked(http: aiohttp.ClientSession, url: str) -> str:
    """Give what is wrong, without the address: a part of it is the secret."""
    try:
        async with asyncio.timeout(10), http.get(url, allow_redirects=False) as answer:
            return "" if 200 <= answer.status < 300 else f"it answered {answer.status}"
    except (aiohttp.ClientError, TimeoutError):
        return "it does not answer"
