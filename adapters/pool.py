"""A pool of HTTP connections of an adapter's own, without cookies; none is kept, since the other end may close it any time."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import aiohttp


class OwnPool:
    """Opened and closed with the adapter that has it."""

    _http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open it."""
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self._http is not None:
            await self._http.close()
