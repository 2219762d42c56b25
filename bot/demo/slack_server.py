"""The look-alike's listening side: the Web API with tokens, scopes and faults, uploads, response URLs, sockets."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp
from aiohttp import web

from bot.demo.slack_delivery import ResponseUrls, Sent, parsed
from bot.demo.slack_faults import Fault, Faults, Kind
from bot.demo.slack_methods import APP_TOKEN_ONLY, METHODS, SCOPES, Method, answer, arguments, scope_of
from bot.demo.slack_workspace import Message, Refused, Workspace
from bot.demo.socket_mode import SocketMode


@dataclass(frozen=True, slots=True)
class Call:
    """One Web API call: when, what, and the word it was refused with, empty when it was not."""

    at: datetime
    method: str
    given: dict[str, Any]
    error: str = ""


@dataclass
class SlackServer(Workspace):
    """One workspace that listens. Give `api_url` to the app as SLACK_API_URL and set `request_url` to its address."""

    signing_secret: str = field(default="demo-signing-secret", repr=False)
    bot_token: str = field(default="xoxb-demo", repr=False)
    app_token: str = field(default="xapp-demo", repr=False)
    request_url: str = ""
    scopes: frozenset[str] = SCOPES
    revoked: bool = False
    calls: Counter[str] = field(default_factory=Counter)
    call_log: list[Call] = field(default_factory=list, repr=False)
    sent: list[Sent] = field(default_factory=list, repr=False)
    response_urls: ResponseUrls = field(default_factory=ResponseUrls)

    def __post_init__(self) -> None:
        """Make the workspace; nothing listens yet."""
        super().__post_init__()
        self.faults, self.socket = Faults(self.clock), SocketMode(self.tickets)
        self._runner: web.AppRunner | None = None
        self._http: aiohttp.ClientSession | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen."""
        app = web.Application(client_max_size=20 * 1024 * 1024)
        app.router.add_post("/api/{method}", self._api)
        app.router.add_get("/api/{method}", self._api)
        app.router.add_post("/upload/{file}", self._upload)
        app.router.add_post("/response/{name}", self._response)
        app.router.add_get("/link/", self.socket.handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.address = f"{host}:{self._runner.addresses[0][1]}"
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))

    async def stop(self) -> None:
        """End."""
        await self.socket.close()
        if self._http is not None:
            await self._http.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def api_url(self) -> str:
        """Give what SLACK_API_URL must be."""
        return f"http://{self.address}/api/"

    def fail(
        self,
        method: str,
        kind: Kind,
        times: int = 1,
        after: float = 1.0,
        *,
        lasting: float | None = None,
        says: str = "internal_error",
    ) -> None:
        """Let the next calls of a method, or of `*`, meet a fault: `times` calls, or every call for `lasting` seconds."""
        until = None if lasting is None else self.clock.monotonic() + lasting
        self.faults.add(method, Fault(kind, times, after, says, until))

    # ── the Web API ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _api(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["method"]
        self.calls[name] += 1
        given, content = await self._understood(request, name)
        fault = None if content else self.faults.take(name)
        if fault is not None and fault.kind in ("limited", "error", "refused", "silence", "says"):
            content = {"ok": False, "error": fault.says if fault.kind == "says" else fault.kind}
        elif fault is not None and fault.kind == "slow":
            await self.clock.sleep(fault.after)
        content = content or self._answered(METHODS[name], given)
        self.call_log.append(Call(self.clock.now(), name, given, str(content.get("error", ""))))
        return await self._faulty(request, fault, content) if fault else answer(content, self.scopes)

    async def _understood(self, request: web.Request, name: str) -> tuple[dict[str, Any], Message]:
        """Give the arguments, and the refusal when there is one before the method is even looked at."""
        method = METHODS.get(name)
        try:
            given = await arguments(request, form_only=method is not None and method.form_only)
        except Refused as refused:
            return {}, {"ok": False, "error": refused.error, **refused.more}
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or str(given.get("token", ""))
        given.pop("token", None)
        if method is None:
            return given, {"ok": False, "error": "unknown_method", "req_method": name}
        return given, self._unauthorised(name, given, token)

    def _unauthorised(self, name: str, given: dict[str, Any], token: str) -> Message:
        if name == "api.test":
            return {}
        if not token:
            return {"ok": False, "error": "not_authed"}
        if token not in (self.bot_token, self.app_token):
            return {"ok": False, "error": "invalid_auth"}
        if self.revoked:
            return {"ok": False, "error": "token_revoked"}
        if (name == APP_TOKEN_ONLY) != (token == self.app_token):
            return {"ok": False, "error": "not_allowed_token_type"}
        scope = scope_of(self, name, given)
        if scope and scope not in self.scopes:
            provided = ",".join(sorted(self.scopes))
            return {"ok": False, "error": "missing_scope", "needed": scope, "provided": provided}
        return {}

    def _answered(self, method: Method, given: dict[str, Any]) -> Message:
        try:
            return {"ok": True, **method.answer(self, given)}
        except Refused as refused:
            return {"ok": False, "error": refused.error, **refused.more}

    async def _faulty(self, request: web.Request, fault: Fault, content: Message) -> web.StreamResponse:
        match fault.kind:
            case "limited":
                return answer({"ok": False, "error": "ratelimited", "retry_after": f"{fault.after:.0f}"}, self.scopes)
            case "error":
                return web.Response(status=500, text="Internal Server Error")
            case "fatal":
                return answer({"ok": False, "error": "fatal_error"}, self.scopes)
            case "silence":
                await self.clock.sleep(fault.after)
        return answer(content, self.scopes) if fault.kind in ("slow", "says") else _cut(request)

    async def _upload(self, request: web.Request) -> web.Response:
        file = next((one for one in self.files if one["id"] == request.match_info["file"]), None)
        if file is None:
            return web.Response(status=404)
        if request.content_type.startswith("multipart/"):
            parts = [one for one in (await request.post()).values() if isinstance(one, web.FileField)]
            file["content"] = b"".join(one.file.read() for one in parts)
        else:
            file["content"] = await request.read()
        return web.Response(text=f"OK - {len(file['content'])}")

    async def _response(self, request: web.Request) -> web.Response:
        try:
            self.response_urls.use(self, request.match_info["name"], parsed(await request.text()))
        except Refused as refused:
            status = 404 if refused.error in ("used_url", "expired_url") else 400
            return web.json_response({"ok": False, "error": refused.error}, status=status)
        return web.json_response({"ok": True})


def _cut(request: web.Request) -> web.StreamResponse:
    """Drop the connection, so that the caller cannot know."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
