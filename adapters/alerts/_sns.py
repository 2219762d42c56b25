"""The two things that Amazon SNS has to be asked: its certificate, and that a subscription is wanted."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from adapters.metrics._http import Client
from bot.domain.alert import Parsed
from bot.errors import Unavailable
from bot.ports import Context

WHO = "Amazon SNS"
WITHIN = 5.0  # seconds for an answer
LONGEST = 64 * 1024  # bytes of a certificate


async def fetched(url: str) -> bytes:
    """Give the certificate at an address that was found to be Amazon's. Raises Unavailable."""
    client = Client(WITHIN)
    client.open()
    try:
        status, body = await client.exchange("GET", url, WHO, headers={})
    finally:
        await client.close()
    if status != 200 or len(body) > LONGEST:
        message = f"{WHO} answered {status} for its certificate"
        raise Unavailable(message)
    return body


class Confirms:
    """Confirms a subscription at the address Amazon gave, once the message that holds it was proved and stored."""

    def __init__(self, context: Context) -> None:
        """Nothing is asked yet."""
        del context
        self._client = Client(WITHIN)

    async def __aenter__(self) -> Self:
        """Open a client of its own."""
        self._client.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self._client.close()

    async def completed(self, parsed: Parsed) -> Parsed:
        """Confirm. Raises Unavailable when Amazon does not answer."""
        if not parsed.confirm:
            return parsed
        status, _ = await self._client.exchange("GET", parsed.confirm, WHO, headers={})
        if status != 200:
            message = f"{WHO} answered {status} to the confirmation"
            raise Unavailable(message)
        return parsed
