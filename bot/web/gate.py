"""The quarantine gate and Flagger's webhooks: a pipeline asks whether a version may serve, and gets a reason with the answer."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from aiohttp import web

from bot.domain.credential import same
from bot.flow.gate import Ruling

Ask = Callable[[str, str, str, str], Awaitable[Ruling]]  # question, model, version, environment
MAX_BODY = 64 * 1024


class Gate:
    """Answers 200 or 403 with a reason; 404 for what is not registered. Whoever cannot be answered may not."""

    def __init__(self, ask: Ask, tokens: Callable[[], Sequence[str]]) -> None:
        """Ask the flow through `ask`."""
        self._ask, self._tokens = ask, tokens

    def routes(self) -> list[web.RouteDef]:
        """Give the paths."""
        return [
            web.get("/api/v1/gate/{model}/{version}", self.serve),
            web.post("/api/v1/flagger/{model}/{environment}/confirm", self.confirm),
            web.post("/api/v1/flagger/{model}/{environment}/rollback", self.rollback),
        ]

    async def serve(self, request: web.Request) -> web.Response:
        """Say whether a version may be given traffic; `environment` narrows the question to one."""
        self._guard(request)
        path = request.match_info
        return _answer(
            await self._ask("serve", path["model"], path["version"], request.query.get("environment", "")), "allowed"
        )

    async def confirm(self, request: web.Request) -> web.Response:
        """Answer Flagger's `confirm-rollout`, `confirm-traffic-increase` and `confirm-promotion` webhooks."""
        return await self._flagger(request, "go_on")

    async def rollback(self, request: web.Request) -> web.Response:
        """Answer Flagger's `rollback` webhook, which it asks again and again: 200 makes it roll back."""
        return await self._flagger(request, "back")

    async def _flagger(self, request: web.Request, question: str) -> web.Response:
        self._guard(request)
        path, metadata = request.match_info, await _metadata(request)
        version = metadata.get("version", "")
        named = version if isinstance(version, str) else ""
        return _answer(await self._ask(question, path["model"], named, path["environment"]), question)

    def _guard(self, request: web.Request) -> None:
        """Take a bearer token, or the password of an address with user and password, which is all Flagger can send."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        secret = _password(given.strip()) if scheme.lower() == "basic" else given.strip()
        fits = [same(secret, token) for token in self._tokens() if token]
        if scheme.lower() not in ("bearer", "basic") or not any(fits):
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})


def _password(given: str) -> str:
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


async def _metadata(request: web.Request) -> dict[str, Any]:
    """Give what Flagger says of the rollout. A body that is none says nothing, and nothing rests on it."""
    if (request.content_length or 0) > MAX_BODY:
        raise web.HTTPRequestEntityTooLarge(MAX_BODY, request.content_length or 0)
    try:
        found = orjson.loads(await request.read() or b"{}")
    except ValueError:
        return {}
    metadata = found.get("metadata") if isinstance(found, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def _answer(ruling: Ruling, name: str) -> web.Response:
    status = 200 if ruling.allowed else 403 if ruling.known else 404
    body = {name: ruling.allowed, "reason": ruling.reason}
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
