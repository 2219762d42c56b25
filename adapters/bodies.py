"""Answers of foreign systems, read only as far as anybody would want them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp


async def capped(answer: aiohttp.ClientResponse, limit: int) -> bytes | None:
    """Give the body of an answer, None when it is longer than `limit` bytes; no more than that is read."""
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > limit:
            return None
    return bytes(body)
