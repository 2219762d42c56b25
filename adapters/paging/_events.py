"""PagerDuty's Events API v2: pages for incidents nobody else paged for, and change events shown beside a service's incidents."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import aiohttp
import orjson

from adapters.bodies import capped
from bot.domain import extract
from bot.domain.credential import Credential, Secrets
from bot.errors import Unavailable

BASE = "https://events.pagerduty.com"
WITHIN = 10.0  # seconds for an answer; nobody waits for these
LONGEST, KEY = 1024, 255  # characters of a summary, of a deduplication key
LIMIT = 64 * 1024  # bytes of an answer


class Events:
    """`/v2/enqueue` and `/v2/change/enqueue`. An event with a key that is known changes nothing, so it may be sent again."""

    _routing_key: Credential | None
    _secrets: Secrets

    @property
    def pages(self) -> bool:
        """Say whether there is a service to page."""
        return self._routing_key is not None

    async def page(self, key: str, summary: str, severity: str, details: Mapping[str, str]) -> None:
        """Open an incident, or leave the one with this key as it is. Raises Unavailable."""
        payload = {
            "summary": summary[:LONGEST], "source": "lastgood", "severity": severity, "custom_details": dict(details),
        }  # fmt: skip
        await self._sent("/v2/enqueue", {"event_action": "trigger", "dedup_key": key[:KEY], "payload": payload})

    async def quiet(self, key: str) -> None:
        """End the incident with this key. Raises Unavailable."""
        await self._sent("/v2/enqueue", {"event_action": "resolve", "dedup_key": key[:KEY]})

    async def change(self, summary: str, at: datetime, details: Mapping[str, str]) -> None:
        """Put a change beside the service's incidents. Raises Unavailable."""
        payload = {
            "summary": summary[:LONGEST], "source": "lastgood", "timestamp": at.isoformat(), "custom_details": dict(details),
        }  # fmt: skip
        await self._sent("/v2/change/enqueue", {"payload": payload})

    async def _sent(self, path: str, body: dict[str, Any]) -> None:
        key = (self._routing_key.value(self._secrets) or "").strip() if self._routing_key else ""
        if not key:
            raise Unavailable("the routing key of pagerduty.routing_key is empty")
        url = f"{(self._secrets('PAGERDUTY_EVENTS_URL') or BASE).rstrip('/')}{path}"
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WITHIN)) as http,
                http.post(url, json={"routing_key": key, **body}, allow_redirects=False) as answer,
            ):
                said = await capped(answer, LIMIT)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable("PagerDuty's Events API did not answer") from error
        if answer.status != 202:
            message = f"PagerDuty's Events API answered {answer.status}: {_why(said or b'')}"
            raise Unavailable(message)


def _why(body: bytes) -> str:
    try:
        found = orjson.loads(body)
    except ValueError:
        return "no reason"
    errors = [extract.word(one, 100) for one in extract.rows(extract.inside(found, "errors"))]
    return "; ".join(errors) or extract.word(extract.inside(found, "message"), 200) or "no reason"
