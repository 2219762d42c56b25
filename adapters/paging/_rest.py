"""One bounded request to PagerDuty's REST API v2, made in a thread that neither the loop nor the exit waits for."""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx2
import pagerduty

from bot.errors import ConfigError, Unavailable

BASE = "https://api.pagerduty.com"
TIMEOUT = 8  # seconds for connecting, and for each read: the client's own bound, behind our deadline
AT_ONCE = 4  # questions without an answer; PagerDuty asks to be asked one after the other
# What the client raises beside its own Error; whatever else ends the thread is an answer that never comes.
_BROKEN = (httpx2.HTTPError, OSError, RuntimeError, ValueError)
Secret = Callable[[str], str | None]
Params = Mapping[str, int | Sequence[str]]


class Unanswered(Unavailable):
    """It was sent, and nobody knows whether it was done."""


class Dropped(Unanswered):
    """PagerDuty closed the connection."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `reset` is in how many seconds PagerDuty may be asked again, when it says so."""

    status: int
    body: bytes
    reset: float | None


class Rest:
    """One client for the process, as its settings allow: it repeats nothing, and it writes no log of its own."""

    def __init__(self, sender: str, secret: Secret) -> None:
        """Speak as `sender`, an address PagerDuty knows; `secret` gives PAGERDUTY_TOKEN, PAGERDUTY_API_URL and PAGERDUTY_CA."""
        self._sender, self._secret = sender, secret
        self._client: pagerduty.RestApiV2Client | None = None
        self._unusable = "PagerDuty is not open"
        self._out = 0

    @property
    def has_token(self) -> bool:
        """Say whether a token is set; a file that cannot be read is for the first question to complain about."""
        try:
            return bool(self._secret("PAGERDUTY_TOKEN"))
        except ConfigError:
            return True

    def open(self) -> None:
        """Make the client. What is wrong with its settings is said by the first question."""
        try:
            self._client = self._made()
        except pagerduty.UrlError:
            self._unusable = "PAGERDUTY_API_URL does not begin with https://"
        except (ssl.SSLError, ValueError):
            self._unusable = "PAGERDUTY_CA holds no certificate in PEM form"
        except ConfigError as error:
            self._unusable = _unreadable(error)

    def _made(self) -> pagerduty.RestApiV2Client:
        verify = ssl.create_default_context(cadata=self._secret("PAGERDUTY_CA"))
        base = (self._secret("PAGERDUTY_API_URL") or BASE).rstrip("/")
        client = pagerduty.RestApiV2Client("", default_from=self._sender, base_url=base, verify=verify)
        client.timeout = TIMEOUT  # one given to the constructor or to a call has no effect
        client.max_network_attempts = 0
        # For 429 a retry of 0 means for ever; with no attempt allowed the client gives the first one back.
        client.retry, client.max_http_attempts = {429: 1}, -1
        client.log = logging.getLogger(__name__)
        client.log.disabled = True  # its warnings would reach stderr as lines that are no JSON
        return client

    def close(self) -> None:
        """Close the connections. A question under way ends in its thread, and nobody hears it."""
        if self._client is not None:
            self._client.close()

    async def get(self, path: str, params: Params) -> Answer:
        """Ask; give the answer, whatever its status. Raises Dropped, or Unavailable with the beginning of a sentence.

        The token is read at each question, so a rotated one is used.
        """
        return await self._asked("GET", path, {"params": dict(params)})

    async def send(self, method: str, path: str, body: Mapping[str, Any]) -> Answer:
        """Write with PUT or POST, once; give the answer, whatever its status.

        Raises Unanswered when nobody knows whether it was done: read before it is done again. Raises Unavailable, of no
        finer kind, when nothing was sent.
        """
        return await self._asked(method, path, {"json": dict(body)})

    async def _asked(self, method: str, path: str, content: dict[str, Any]) -> Answer:
        client = self._ready()
        if self._out >= AT_ONCE:
            message = f"{self._out} questions to PagerDuty are without an answer"
            raise Unavailable(message)
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()

        def settle(outcome: Answer | Unavailable) -> None:
            self._out -= 1
            if answered.done():
                return
            if isinstance(outcome, Answer):
                answered.set_result(outcome)
            else:
                answered.set_exception(outcome)

        def ask() -> None:
            outcome = _outcome(client, method, path, content)
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, outcome)

        self._out += 1
        # No executor: the interpreter waits for an executor's threads at exit, also after `shutdown(wait=False)`.
        threading.Thread(target=ask, name="pagerduty", daemon=True).start()
        return await answered

    def _ready(self) -> pagerduty.RestApiV2Client:
        if self._client is None:
            raise Unavailable(self._unusable)
        try:
            token = (self._secret("PAGERDUTY_TOKEN") or "").strip()
        except ConfigError as error:
            raise Unavailable(_unreadable(error)) from error
        if not token or not (token.isascii() and token.isprintable()):
            raise Unavailable("PAGERDUTY_TOKEN is not set" if not token else "PAGERDUTY_TOKEN is no token")
        self._client.auth_method.secret = token
        return self._client


def _unreadable(error: ConfigError) -> str:
    return "; ".join(f"{one.key}: {one.message}" for one in error.problems)


def _outcome(
    client: pagerduty.RestApiV2Client, method: str, path: str, content: dict[str, Any]
) -> Answer | Unavailable:
    """Ask, in the thread. No text of the client's is passed on: some of them show the end of the token."""
    calls: dict[str, Callable[..., httpx2.Response]] = {"GET": client.get, "PUT": client.put, "POST": client.post}
    try:
        return _heard(calls[method](path, **content))
    except pagerduty.Error as error:
        return _lost(error.__cause__) if error.response is None else _heard(error.response)
    except (pagerduty.UrlError, httpx2.InvalidURL):
        return Unavailable("PAGERDUTY_API_URL leads nowhere")
    except _BROKEN:
        return Unanswered("PagerDuty's answer could not be read")


def _heard(response: httpx2.Response) -> Answer:
    return Answer(response.status_code, response.content, _seconds(response.headers.get("ratelimit-reset", "")))


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _lost(cause: BaseException | None) -> Unavailable:
    match cause:
        case httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return Unavailable("PagerDuty did not answer")
        case httpx2.TimeoutException():
            return Unanswered("PagerDuty did not answer")
        case httpx2.ConnectError() if "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return Unavailable("PagerDuty's certificate is not trusted here (PAGERDUTY_CA_FILE names who signed it)")
        case httpx2.ConnectError():
            return Unavailable("PagerDuty cannot be reached")
    return Dropped("PagerDuty closed the connection")
