"""One bounded exchange with a metric server: no redirect is followed, no body is endless, no reason holds a secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import aiohttp

from adapters.bodies import capped
from bot.domain.credential import Credential
from bot.errors import Unavailable

LIMIT = 16 * 1024 * 1024  # bytes of one answer: far above any exposition worth reading at each look


class Client:
    """A pool of its own, opened and closed with the source."""

    def __init__(self, timeout: float) -> None:
        """`timeout` in seconds bounds each exchange as a whole."""
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._http: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Open the pool. A connection kept idle between two looks could be closed by the server just as it is used."""
        self._http = aiohttp.ClientSession(timeout=self._timeout, connector=aiohttp.TCPConnector(force_close=True))

    async def close(self) -> None:
        """Close it."""
        if self._http is not None:
            await self._http.close()

    async def exchange(
        self, method: str, url: str, where: str, *, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Give status and body. `where` names the server in the sentence of the Unavailable this raises."""
        if self._http is None:
            raise Unavailable("the source is not open")
        try:
            async with self._http.request(method, url, headers=headers, data=form, allow_redirects=False) as answer:
                body = await capped(answer, LIMIT)
        except (aiohttp.ClientError, TimeoutError) as error:
            message = f"{where} does not answer"
            raise Unavailable(message) from error
        if body is None:
            message = f"{where} answers more than {LIMIT // 1024 // 1024} MiB"
            raise Unavailable(message)
        if 300 <= answer.status < 400:
            message = f"{where} answered {answer.status} and points elsewhere; configure the final address"
            raise Unavailable(message)
        if answer.status == 401:
            message = f"{where} refuses our credentials"
            raise Unavailable(message)
        return answer.status, body


class Asks:
    """A source that asks over HTTP: its client is opened and closed with it."""

    _client: Client

    async def __aenter__(self) -> Self:
        """Open a client of its own."""
        self._client.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self._client.close()


def secret(credential: Credential, get: Callable[[str], str | None], what: str) -> str:
    """Read a secret at each look, so a rotated one is used. Raises Unavailable that names where it should be."""
    value = (credential.value(get) or "").strip()
    if not value or not value.isprintable():
        message = f"the {what} is not in {credential.env or credential.file}"
        raise Unavailable(message)
    return value
