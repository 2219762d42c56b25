"""Requests to an address of the configuration: warming a version, asking a question, telling another system."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote, urlsplit

import aiohttp
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from adapters.actions._slots import put
from adapters.address import Address, shown
from adapters.bodies import capped
from adapters.pool import OwnPool
from bot.domain import words
from bot.domain.credential import Credential
from bot.domain.duration import Positive
from bot.domain.traffic import ApplyResult, Call, Finding, Outcome
from bot.errors import Unauthorized, Unavailable
from bot.ports import Act, Context

LIMIT = 64 * 1024  # bytes of one answer, read and left unread
AT_ONCE = 8  # requests of a warm-up under way at the same time


def _without_password(url: str) -> str:
    if "@" in urlsplit(url).netloc:
        raise ValueError("holds a password; give `token: {env: NAME}` instead")
    return url


Template = Annotated[Address, AfterValidator(_without_password)]


class HttpConfig(BaseModel):
    """Where to, and what counts as done. Addresses and texts of the body may hold `{version}`, `{bad}`, `{model}`, `{environment}`, `{incident}` and `{key}`.

    `requests` are sent and every one must be answered with 2xx, which warms a version; the last one within `slowest`, or
    it is still cold. `state` is asked for what became of a request whose answer was lost: 2xx when it was done, 404 when
    it was not. `undo` takes it back, and may be asked twice; `leaves` says what stays and somebody must clear.
    `repeatable` says that asking twice does no harm. `provides_capacity` says that the version is scaled for the full load
    by it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Template = Field(repr=False)
    method: Literal["GET", "POST", "PUT", "DELETE"] = "POST"
    body: dict[str, Any] | None = None
    token: Credential | None = None
    header: str = "Authorization"
    requests: int = Field(default=1, ge=1, le=1000)
    slowest: Positive | None = None
    within: Annotated[Positive, Field(le=timedelta(seconds=15))] = timedelta(seconds=10)
    state: Template | None = Field(default=None, repr=False)
    undo: Template | None = Field(default=None, repr=False)
    repeatable: bool = False
    provides_capacity: bool = False
    leaves: str = Field(default="", max_length=200)

    @model_validator(mode="after")
    def _has_a_body_to_send(self) -> HttpConfig:
        if self.body is not None and self.method in ("GET", "DELETE"):
            message = f"a {self.method} has no body"
            raise ValueError(message)
        return self


class HttpAction(OwnPool):
    """Sends what the configuration says, once a step, with an `Idempotency-Key` that is the same at every attempt."""

    kind: ClassVar[str] = "http"
    Config: ClassVar[type[BaseModel]] = HttpConfig

    def __init__(self, config: HttpConfig, context: Context) -> None:
        """Send as `config` says; nothing is opened yet."""
        self._config, self._context = config, context

    @property
    def reversible(self) -> bool:
        """Say whether an address takes it back."""
        return self._config.undo is not None

    @property
    def provides_capacity(self) -> bool:
        """Say whether the version is scaled for the full load by it."""
        return self._config.provides_capacity

    @property
    def leaves(self) -> str:
        """Say what stays once it is done, and somebody must clear."""
        return self._config.leaves

    async def preflight(self, act: Act) -> tuple[Finding, ...]:
        """Say whether the token is there; whether the address answers is known once it is asked."""
        del act
        if self._config.token is not None and not self._config.token.value(self._context.secret):
            return (Finding(level="blocker", message=f"{self._context.name}: its token is not set.", mend="Set it."),)
        return (Finding(level="ok", message=f"{self._context.name} is configured."),)

    def call(self, act: Act) -> Call:
        """Say what will be sent, without the token."""
        one, url = self._config, _filled(self._config.url, act)
        times = "" if one.requests == 1 else f" {words.count(one.requests)} times"
        said = ["-H", f"Idempotency-Key: {act.key}", *([] if one.token is None else ["-H", f"{one.header}: …"])]
        body = [] if one.body is None else ["--json", json.dumps(_body(one.body, act))]
        undo = [] if one.undo is None else ["curl", "-fsS", "-X", "POST", *said, _plain(_filled(one.undo, act))]
        return Call(
            text=f"{one.method} {shown(url)}{times}",
            by_hand=shlex.join(["curl", "-fsS", "-X", one.method, *said, *body, _plain(url)]),
            undo_by_hand=shlex.join(undo),
        )

    async def perform(self, act: Act) -> ApplyResult:
        """Send it. Raises Unavailable or Unauthorized when nothing was sent."""
        began, headers = self._context.clock.now(), self._headers(act)
        if self._config.requests > 1:
            return await self._warmed(act, headers, began)
        try:
            status, _ = await self._send(self._config.method, _filled(self._config.url, act), headers, act)
        except aiohttp.ClientConnectorError as error:
            message = f"{self._context.name} cannot be reached."
            raise Unavailable(message) from error
        except (aiohttp.ClientError, TimeoutError):
            return self._ended(Outcome.INDETERMINATE, "the answer was lost", began)
        return self._ended(_outcome(status), f"answered {status}", began)

    async def done(self, act: Act) -> ApplyResult | None:
        """Ask `state` what became of it; without one, what may be asked twice counts as not done."""
        began = self._context.clock.now()
        if self._config.state is None:
            if self._config.repeatable or self._config.requests > 1 or self._config.method in ("GET", "PUT", "DELETE"):
                return self._ended(Outcome.REJECTED, "asking again does no harm", began)
            return None
        try:
            status, _ = await self._send("GET", _filled(self._config.state, act), self._headers(act), act)
        except (aiohttp.ClientError, TimeoutError):
            return None
        known = {404: Outcome.REJECTED, **dict.fromkeys(range(200, 300), Outcome.APPLIED)}
        return self._ended(known[status], f"its state answered {status}", began) if status in known else None

    async def undo(self, act: Act) -> ApplyResult:
        """Take it back. Raises Unavailable when nothing was sent."""
        began, url = self._context.clock.now(), self._config.undo
        if url is None:
            return self._ended(Outcome.REJECTED, "nothing takes it back", began)
        try:
            status, _ = await self._send("POST", _filled(url, act), self._headers(act), act)
        except aiohttp.ClientConnectorError as error:
            message = f"{self._context.name} cannot be reached."
            raise Unavailable(message) from error
        except (aiohttp.ClientError, TimeoutError):
            return self._ended(Outcome.INDETERMINATE, "the answer was lost", began)
        return self._ended(_outcome(status), f"answered {status}", began)

    # ── sending ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _warmed(self, act: Act, headers: Mapping[str, str], began: datetime) -> ApplyResult:
        """Send a series, a few at once; every request must be answered, and the last one quickly."""
        url, limit = _filled(self._config.url, act), asyncio.Semaphore(AT_ONCE)

        async def one() -> tuple[int, float]:
            async with limit:
                try:
                    return await self._send(self._config.method, url, headers, act)
                except (aiohttp.ClientError, TimeoutError):
                    return 0, 0.0

        answers = [*await asyncio.gather(*(one() for _ in range(self._config.requests - 1))), await one()]
        failed = [status for status, _ in answers if not 200 <= status < 300]
        last = timedelta(seconds=answers[-1][1])
        size = f"{words.count(self._config.requests)} requests"
        if failed:
            why = "got no answer" if failed[0] == 0 else f"were answered {failed[0]}"
            return self._ended(
                Outcome.REJECTED, f"{words.count(len(failed))} of {size} failed, the first ones {why}", began
            )
        took = f"the last one took {words.count(last.total_seconds() * 1000)}{words.NBSP}ms"
        if self._config.slowest is not None and last > self._config.slowest:
            most = f"{words.count(self._config.slowest.total_seconds() * 1000)}{words.NBSP}ms"
            return self._ended(Outcome.REJECTED, f"still cold: {size} were answered, but {took}; at most {most}", began)
        return self._ended(Outcome.APPLIED, f"warm: {size} were answered, {took}", began)

    async def _send(self, method: str, url: str, headers: Mapping[str, str], act: Act) -> tuple[int, float]:
        """Give the status, and the seconds it took."""
        if self._http is None:
            raise Unavailable("the action is not open")
        body = self._config.body if method == self._config.method else None
        held = None if body is None else _body(body, act)
        began = self._context.clock.monotonic()
        async with (
            asyncio.timeout(self._config.within.total_seconds()),
            self._http.request(method, url, json=held, headers=headers, allow_redirects=False) as answer,
        ):
            await capped(answer, LIMIT)
            return answer.status, self._context.clock.monotonic() - began

    def _headers(self, act: Act) -> dict[str, str]:
        headers = {"Idempotency-Key": act.key, "Accept": "application/json"}
        if self._config.token is not None:
            token = self._config.token.value(self._context.secret)
            if not token:
                message = f"{self._context.name}: its token is not set."
                raise Unauthorized(message)
            headers[self._config.header] = f"Bearer {token}" if self._config.header == "Authorization" else token
        return headers

    def _ended(self, outcome: Outcome, detail: str, began: datetime) -> ApplyResult:
        text = f"{self._context.name}: {detail}."
        return ApplyResult(outcome=outcome, detail=text, started_at=began, finished_at=self._context.clock.now())


def _outcome(status: int) -> Outcome:
    """A refusal is an answer; what broke over there may have been done all the same."""
    if 200 <= status < 300:
        return Outcome.APPLIED
    if status in (409, 412):
        return Outcome.CONFLICT
    return Outcome.INDETERMINATE if status >= 500 or status in (408, 429) else Outcome.REJECTED


def _filled(url: str, act: Act) -> str:
    """Put the slots into an address, so that none of them can leave its place."""
    return put(url, act, lambda value: quote(value, safe=""))


def _body(held: Any, act: Act) -> Any:
    """Put the slots into every text of a body."""
    if isinstance(held, dict):
        return {key: _body(value, act) for key, value in held.items()}
    if isinstance(held, list):
        return [_body(value, act) for value in held]
    return put(held, act) if isinstance(held, str) else held


def _plain(url: str) -> str:
    """Give an address without its parameters, which may be secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{shown(url)}{'?…' if parts.query else ''}"


ACTION = HttpAction
