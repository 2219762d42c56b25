"""A second opinion over HTTP: an Open Policy Agent, or any service that answers one question in JSON."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

import aiohttp
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from adapters.address import Address, safe, shown
from adapters.bodies import capped
from adapters.pool import OwnPool
from bot.domain import words
from bot.domain.credential import Credential
from bot.domain.duration import Positive
from bot.ports import Context, Matter

LIMIT = 64 * 1024  # bytes of one answer
COUNTS = "That counts as no."


def _guarded(url: str) -> str:
    """Take https, and http on this machine only: whoever changes the answer on the way would decide."""
    if not safe(url):
        raise ValueError("must be https, or http on this machine: whoever could change the answer would decide")
    if "@" in urlsplit(url).netloc:
        raise ValueError("holds a password; give `token: {env: NAME}` instead")
    return url


class HttpConfig(BaseModel):
    """Where to ask, with which bearer token, and how long to wait."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[Address, AfterValidator(_guarded)] = Field(repr=False)  # a parameter in it may be secret
    token: Credential | None = None
    within: Positive = Field(default=timedelta(seconds=2), le=timedelta(seconds=2))


class HttpAuthorizer(OwnPool):
    """Posts `{"input": …}` with the matter and takes `{"allow": true}`, `{"result": true}` or `{"result": {"allow": true}}`.

    The body and the `result` forms are those of Open Policy Agent's Data API. Every other answer objects.
    """

    kind: ClassVar[str] = "http"
    Config: ClassVar[type[BaseModel]] = HttpConfig

    def __init__(self, config: HttpConfig, context: Context) -> None:
        """Ask where `config` says; nothing is opened yet."""
        self._config, self._context = config, context
        self._name = f"The second opinion at {shown(config.url)}"

    async def objection(self, matter: Matter) -> str:
        """Give why not, in a sentence; an empty text when there is no objection."""
        within = self._config.within
        try:
            async with asyncio.timeout(within.total_seconds()):
                return await self._asked(matter)
        except TimeoutError:
            return f"{self._name} did not answer within {words.span(within)}. {COUNTS}"
        except (aiohttp.ClientError, OSError, ValueError):  # its words may quote the address or the token
            return f"{self._name} cannot be asked. {COUNTS}"

    async def _asked(self, matter: Matter) -> str:
        headers = {"Accept": "application/json"}
        if self._config.token is not None:
            token = self._config.token.value(self._context.secret)
            if not token:
                return f"{self._name} cannot be asked: its token is not set. {COUNTS}"
            headers["Authorization"] = f"Bearer {token}"
        if self._http is None:
            return f"{self._name} cannot be asked: it is not open. {COUNTS}"
        question = {"input": asdict(matter)}
        async with self._http.post(self._config.url, json=question, headers=headers, allow_redirects=False) as answer:
            if answer.status != 200:
                return f"{self._name} answered with status {answer.status}. {COUNTS}"
            return self._read(await capped(answer, LIMIT))

    def _read(self, body: bytes | None) -> str:
        if body is None:
            return f"{self._name} answered more than {LIMIT // 1024}{words.NBSP}KiB. {COUNTS}"
        try:
            said = json.loads(body, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            return f"{self._name} answered something else than JSON. {COUNTS}"
        allowed, reason = _verdict(said)
        if allowed is True:
            return ""
        if allowed is False:
            return f'{self._name} says no: "{reason}"' if reason else f"{self._name} says no, without a reason."
        return f"{self._name} says neither yes nor no. {COUNTS}"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that says one thing twice: two readers could take it two ways."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _verdict(said: Any) -> tuple[object, str]:
    """Give what an answer allows, and its reason. Only one of the three forms counts, and only True and False."""
    if not isinstance(said, dict) or ("allow" in said) == ("result" in said):
        return None, ""
    inner = said if "allow" in said else said["result"]
    if not isinstance(inner, dict):
        return inner, _text(said)
    return inner.get("allow"), _text(inner) or _text(said)


def _text(said: dict[str, Any]) -> str:
    reason = said.get("reason")
    return words.plain(reason) if isinstance(reason, str) else ""


AUTHORIZER = HttpAuthorizer
