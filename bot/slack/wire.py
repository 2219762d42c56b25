"""One call to Slack, and what each of its answers means to the publisher."""

from __future__ import annotations

from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from bot.errors import Gone, Indeterminate, RateLimited, Unavailable, Unpublishable
from bot.slack import refusals
from bot.slack.answers import name_of, status_of, theirs
from bot.slack.pace import Pace

_AS_JSON = frozenset(
    {"chat.postMessage", "chat.update", "chat.delete", "files.completeUploadExternal", "conversations.open"}
)


class BlocksRefused(Unpublishable):
    """Slack refuses the form of this message."""


class PlaceRefused(Unpublishable):
    """Slack refuses the place or the token: a person can mend it, and then it works."""

    retryable = True


class Wire:
    """Calls methods for one channel, keeping to its pace."""

    def __init__(self, client: AsyncWebClient, channel: str, pace: Pace) -> None:
        """Call with `client`, whose HTTP session is shared."""
        self._client, self._channel, self._pace = client, channel, pace

    async def call(self, method: str, **arguments: Any) -> Any:
        """Call once. Raises RateLimited, Unavailable (nothing was sent), Indeterminate, Gone or Unpublishable."""
        if wait := self._pace.closed(method):
            raise RateLimited("Slack asks us to wait.", retry_after=wait)
        given = {name: value for name, value in arguments.items() if value is not None}
        try:
            if method in _AS_JSON:
                return await self._client.api_call(method, json=given)
            return await self._client.api_call(method, params=given)
        except SlackApiError as error:
            raise self._translated(method, error) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unavailable("Slack cannot be reached.") from error
        except (aiohttp.ClientError, SlackClientError, TimeoutError) as error:
            raise Indeterminate(f"Slack's answer was lost ({type(error).__name__}).") from error

    async def upload(self, url: str, content: bytes) -> None:
        """Send a file's bytes; nothing is shown yet, so a lost answer only means to begin anew. Raises Unavailable."""
        session = self._client.session
        if session is None:
            raise ValueError("the client has no session")
        try:
            async with session.post(url, data=content) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable("Slack did not take the file.") from error
        if status != 200:
            message = f"Slack did not take the file ({status})."
            raise Unavailable(message)

    def _translated(self, method: str, error: SlackApiError) -> Exception:
        answer: Any = error.response
        name = name_of(error)
        if status_of(error) == 429 or name == "ratelimited":
            seconds = _seconds(answer.headers.get("Retry-After"))
            self._pace.limited(method, seconds)
            return RateLimited("Slack asks us to wait.", retry_after=seconds)
        if theirs(error):
            return Indeterminate(f"Slack answered {name or 'nothing that can be read'}.")
        if name == "message_not_found":
            return Gone()
        detail = "; ".join((answer.get("response_metadata") or {}).get("messages", [])[:3])
        if name in ("invalid_blocks", "invalid_blocks_format"):
            return BlocksRefused(f"Slack refused: {name}. {detail}".strip())
        if mend := refusals.mend(name, self._channel, str(answer.get("needed") or "")):
            return PlaceRefused(f"Slack refused: {name}. {mend}")
        return Unpublishable(f"Slack refused: {name}. {detail}".strip())


def _seconds(given: str | None) -> float:
    """Read Retry-After: whole seconds, one when it is missing or no number."""
    return float(given) if given and given.isascii() and given.isdigit() else 1.0
