"""HTTP: hooks in, health and metrics out, Slack's requests handed on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from bot.domain import words
from bot.domain.alert import Parsed, RawRequest
from bot.domain.credential import same
from bot.errors import LastgoodError, NotAllowed, PayloadInvalid, ReadOnly, SignatureInvalid, Unavailable
from bot.ports import AlertSource, Clock, Ids, Inbox, Log
from bot.web.confirm import SignInPages
from bot.web.gate import Ask, Gate
from bot.web.openapi import document

MAX_BODY = 4 * 1024 * 1024
IN_THREAD = 64 * 1024
BODY_WITHIN = 10.0  # seconds
RETRY = {"Retry-After": "5"}
KEPT_HEADERS = frozenset({"content-type", "user-agent", "x-request-id", "traceparent", "idempotency-key"})

Checks = Mapping[str, bool]
Json = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Standing:
    """What `/metrics` counts anew at each look."""

    pending: int = 0  # requests not looked at yet
    phases: Mapping[str, int] = field(default_factory=dict)  # open incidents by phase
    glass: int = 0  # times somebody acted alone, counted from the timeline
    refused: Mapping[str, int] = field(
        default_factory=dict
    )  # presses that had no effect by reason, counted from the timeline
    ready: Mapping[tuple[str, str], bool | None] = field(
        default_factory=dict
    )  # (model, environment): could go back now
    leftovers: int = 0  # what rollbacks left behind and nobody cleared
    scopes: tuple[int, int] | None = None  # that Slack's token lacks, and has beside the manifest's; None: nobody said


class _Counted(Collector):
    """What stands elsewhere: counters whose truth is the timeline, so that they survive a restart, and Slack's scopes."""

    def __init__(self) -> None:
        self.standing = Standing()

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Give them as they stand."""
        yield CounterMetricFamily("break_glass", "Times somebody acted alone.", value=self.standing.glass)
        refused = CounterMetricFamily("approvals_refused", "Presses that had no effect, by reason.", labels=["reason"])
        for reason, count in sorted(self.standing.refused.items()):
            refused.add_metric([reason], count)
        yield refused
        yield GaugeMetricFamily("leftovers_open", "What rollbacks left behind.", value=self.standing.leftovers)
        yield self._ready()
        yield from self._scopes()

    def _ready(self) -> GaugeMetricFamily:
        """Give 1 or 0 a model; one about which nobody can tell has no number."""
        ready = GaugeMetricFamily(
            "model_ready", "Whether a model could be rolled back now.", labels=["model", "environment"]
        )
        for place, could in sorted(self.standing.ready.items()):
            if could is not None:
                ready.add_metric(place, int(could))
        return ready

    def _scopes(self) -> Iterator[GaugeMetricFamily]:
        """Give nothing while Slack has not said: no number is not zero."""
        if self.standing.scopes is not None:
            missing, extra = self.standing.scopes
            yield GaugeMetricFamily("slack_scopes_missing", "Scopes the Slack bot token lacks.", value=missing)
            yield GaugeMetricFamily("slack_scopes_extra", "Scopes it has beside those asked for.", value=extra)


@dataclass(slots=True)
class Meters:
    """What the intake counts."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Counter = field(init=False)
    seconds: Histogram = field(init=False)
    refused: Counter = field(init=False)
    quarantined: Counter = field(init=False)
    last: Gauge = field(init=False)
    pending: Gauge = field(init=False)
    incidents: Gauge = field(init=False)
    counted: _Counted = field(init=False)

    def __post_init__(self) -> None:
        """Register every meter."""
        self.requests = Counter(
            "intake_requests",
            "Requests by source, outcome and code.",
            ["source", "outcome", "code"],
            registry=self.registry,
        )
        self.seconds = Histogram("intake_ack_seconds", "Time to the answer.", registry=self.registry)
        self.refused = Counter(
            "intake_auth_failures", "Requests that did not prove who sent them.", ["source"], registry=self.registry
        )
        self.quarantined = Counter(
            "intake_quarantined", "Parts of messages that could not be taken.", ["source"], registry=self.registry
        )
        self.last = Gauge(
            "intake_last_heartbeat_timestamp", "When a source was last heard.", ["source"], registry=self.registry
        )
        self.pending = Gauge("intake_pending", "Stored requests not looked at yet.", registry=self.registry)
        self.incidents = Gauge(
            "incidents_open", "Incidents that are not closed, by phase.", ["phase"], registry=self.registry
        )
        self.counted = _Counted()
        self.registry.register(self.counted)

    def text(self, standing: Standing) -> bytes:
        """Give everything as Prometheus text, with what stands now."""
        self.pending.set(standing.pending)
        self.incidents.clear()
        for phase, count in standing.phases.items():
            self.incidents.labels(phase).set(count)
        self.counted.standing = standing
        return generate_latest(self.registry)


@dataclass(frozen=True, slots=True)
class Host:
    """What the server needs from the application."""

    sources: Mapping[str, AlertSource]
    known: frozenset[str]  # every source name that ships
    inbox: Inbox
    clock: Clock
    ids: Ids
    log: Log
    health: Callable[[], Checks]
    ready: Callable[[], Awaitable[Checks]]
    draining: Callable[[], bool]
    standing: Callable[[], Awaitable[Standing]]
    ring: Callable[[], None]
    tokens: Callable[[], Sequence[str]]
    incidents: Json
    incident: Json
    inbound: Json
    unrouted: Json  # what led nowhere, newest first
    who_could: Callable[[str], Awaitable[Sequence[str]]]  # names of who can approve this incident now
    gate: Ask  # whether a version may serve, a rollout go on, or must go back
    slack: Callable[[web.Request], Awaitable[web.Response]] | None = None
    signin: SignInPages | None = None  # the pages behind the company's sign-in, when one is configured
    meters: Meters = field(default_factory=Meters)
    body_within: float = BODY_WITHIN  # seconds


@dataclass(eq=False)
class Refused(Exception):
    """An answer other than 202, with the reason a sender may know."""

    status: int
    outcome: str
    error: str


def create_app(host: Host) -> web.Application:
    """Build the routes."""
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_in_json(host.log)])
    hooks = Hooks(host)
    api = Api(host)
    app.router.add_route("*", "/hooks/{source}", hooks.answer, expect_handler=_not_yet)
    state = State(host)
    app.router.add_get("/healthz", state.health)
    app.router.add_get("/readyz", state.ready)
    app.router.add_get("/metrics", state.metrics)
    app.router.add_get("/api/v1/incidents", api.incidents)
    app.router.add_get("/api/v1/incidents/{id}", api.incident)
    app.router.add_get("/api/v1/inbound", api.unrouted)
    app.router.add_get("/api/v1/inbound/{id}", api.inbound)
    app.router.add_get("/api/v1/openapi.json", api.openapi)
    app.router.add_post("/api/v1/incidents/{id}/{act:[a-z_]{1,30}}", api.act)
    app.router.add_routes(Gate(host.gate, host.tokens).routes())
    if host.signin is not None:
        app.router.add_routes(host.signin.routes())
    if host.slack is not None:
        app.router.add_post("/slack/events", host.slack)
    return app


async def listen(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Listen; request bodies are never decompressed. Raises LastgoodError when the port is taken."""
    runner = web.AppRunner(app, auto_decompress=False, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        message = (
            f"Port {port} on {host} is taken: {error.strerror}. Set web.port or LASTGOOD_PORT. Nothing was started."
        )
        raise LastgoodError(message) from error
    return runner


def _in_json(log: Log) -> Middleware:
    """Say in JSON what has no handler of its own, and that something of ours cannot be read."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            kept = {name: error.headers[name] for name in ("Allow", "WWW-Authenticate") if name in error.headers}
            return _json({"error": error.reason.lower()}, error.status, kept)
        except LastgoodError as error:
            log.warning("web.unavailable", error=str(error))
            return _json({"error": "unavailable, ask again"}, 503, RETRY)

    return answer


async def _not_yet(request: web.Request) -> None:
    """Keep `100 Continue` back until the sender has proved itself."""


class State:
    """`/healthz`, `/readyz` and `/metrics`."""

    def __init__(self, host: Host) -> None:
        """Answer from `host`."""
        self._host = host

    async def health(self, request: web.Request) -> web.Response:
        """Say whether the process lives."""
        del request
        return _checks(self._host.health())

    async def ready(self, request: web.Request) -> web.Response:
        """Say whether it can take work."""
        del request
        return _checks(await self._host.ready())

    async def metrics(self, request: web.Request) -> web.Response:
        """Give the meters as Prometheus text."""
        del request
        body = self._host.meters.text(await self._host.standing())
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _checks(checks: Checks) -> web.Response:
    ok = all(checks.values())
    return _json({"ok": ok, "checks": dict(checks)}, 200 if ok else 503)


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        body=orjson.dumps(content, default=str), status=status, content_type="application/json", headers=headers
    )


class Hooks:
    """`/hooks/{source}`: check and parse purely, store the raw request, then answer 202."""

    def __init__(self, host: Host) -> None:
        """Answer for the sources of `host`."""
        self._host = host

    async def answer(self, request: web.Request) -> web.Response:
        """Give the answer its sender understands."""
        name, began = request.match_info["source"], self._host.clock.monotonic()
        label = name if name in self._host.known else "unknown"
        if request.method == "OPTIONS" and (shake := getattr(self._host.sources.get(name), "handshake", None)):
            return web.Response(headers=shake(request.headers))
        try:
            content = await self._take(name, request)
            status, headers = 202, None
        except Refused as refused:
            status, content = refused.status, {"outcome": refused.outcome, "error": refused.error}
            headers = _extra(refused.status, self._host.sources.get(name))
        except Exception as error:  # noqa: BLE001  one of the two broad ones: around one webhook
            # Of a fault only its kind is told: its words may quote a header or a body.
            told = str(error) if isinstance(error, ReadOnly) else type(error).__name__
            self._host.log.warning("intake.not_stored", source=label, error=told)
            status, headers = 503, RETRY
            content = {"outcome": "unavailable", "error": "not stored, send it again"}
        self._host.meters.requests.labels(label, content["outcome"], str(status)).inc()
        self._host.meters.seconds.observe(self._host.clock.monotonic() - began)
        return _json(content, status, headers)

    async def _take(self, name: str, request: web.Request) -> dict[str, Any]:
        source = self._before_body(name, request)
        body = await self._body(request)
        await self._signed(name, source, request, body)
        if request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
            raise Refused(415, "content_type", "send JSON, not a form")
        raw = self._raw(name, source, request, body)
        parsed = await self._parsed(source, raw)
        if self._host.draining():
            raise Refused(503, "draining", "this process is stopping, send it again")
        stored, again = await self._host.inbox.receive(raw)
        self._host.meters.last.labels(name).set(self._host.clock.now().timestamp())
        if not again:
            self._host.meters.quarantined.labels(name).inc(len(parsed.rejected))
            self._host.ring()
        outcome = "duplicate" if again else parsed.result
        return {"id": stored, "outcome": outcome, "accepted": len(parsed.alerts), "quarantined": len(parsed.rejected)}

    def _before_body(self, name: str, request: web.Request) -> AlertSource:
        source = self._host.sources.get(name)
        if source is None and name not in self._host.known:
            raise Refused(404, "unknown_source", f"no source is called {name[:80]!r}")
        if source is not None and request.method not in source.methods:
            raise Refused(405, "method", f"use {' or '.join(sorted(source.methods))}")
        if source is None and request.method != "POST":
            raise Refused(405, "method", "use POST")
        if "Content-Encoding" in request.headers:
            raise Refused(415, "content_encoding", "send the body uncompressed")
        if source is None or not source.configured():
            raise Refused(503, "secret_not_configured", "this source has no secret configured yet")
        try:
            source.authenticate(request.headers)
        except SignatureInvalid as error:
            self._host.meters.refused.labels(name).inc()
            raise Refused(401, "unauthorized", "unauthorized") from error
        return source

    async def _body(self, request: web.Request) -> bytes:
        if (request.content_length or 0) > MAX_BODY:
            raise Refused(413, "too_large", f"a body may have {MAX_BODY} bytes")
        try:
            async with asyncio.timeout(self._host.body_within):
                await _go_on(request)
                return await request.read()
        except TimeoutError as error:
            raise Refused(408, "timeout", f"the body did not arrive in {self._host.body_within:g} s") from error
        except web.HTTPRequestEntityTooLarge as error:
            raise Refused(413, "too_large", f"a body may have {MAX_BODY} bytes") from error
        except (web.RequestPayloadError, ValueError) as error:
            raise Refused(400, "unreadable", "the body could not be read") from error

    async def _signed(self, name: str, source: AlertSource, request: web.Request, body: bytes) -> None:
        try:
            if prepare := getattr(source, "prepare", None):
                await prepare(body)
            source.verify(request.headers, body, self._host.clock.now())
        except SignatureInvalid as error:
            self._host.meters.refused.labels(name).inc()
            raise Refused(401, "unauthorized", "unauthorized") from error
        except NotAllowed as error:
            self._host.meters.refused.labels(name).inc()
            raise Refused(403, error.reason, str(error)) from error
        except Unavailable as error:
            raise Refused(503, "unavailable", f"{error}, send it again") from error

    def _raw(self, name: str, source: AlertSource, request: web.Request, body: bytes) -> RawRequest:
        kept = {
            key: _storable(value)
            for key, value in request.headers.items()
            if key.lower() in KEPT_HEADERS or key.lower().startswith(source.reads)
        }
        delivery = source.delivery_id(request.headers, body)
        return RawRequest(
            id=self._host.ids.ulid(), source=name, received_at=self._host.clock.now(), body=body, headers=kept,
            remote=request.remote or "", delivery_id=_storable(delivery) if delivery else None,
        )  # fmt: skip

    async def _parsed(self, source: AlertSource, raw: RawRequest) -> Parsed:
        try:
            return await asyncio.to_thread(source.parse, raw) if len(raw.body) > IN_THREAD else source.parse(raw)
        except PayloadInvalid as error:
            raise Refused(error.status, error.reason, str(error)) from error


async def _go_on(request: web.Request) -> None:
    """Ask for the body of a sender that waits to be asked."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def _storable(value: str) -> str:
    """Give a header as text that can be stored: it arrives as bytes of any kind."""
    return value.encode(errors="surrogateescape").decode(errors="replace")[:500]


def _extra(status: int, source: AlertSource | None) -> Mapping[str, str]:
    if status == 405:
        return {"Allow": ", ".join(sorted(source.methods if source else {"POST"}))}
    return {401: {"WWW-Authenticate": "Bearer"}, 503: RETRY}.get(status, {})


class Api:
    """`/api/v1`: what the pages show, as JSON, for a bearer of a read-only token."""

    def __init__(self, host: Host) -> None:
        """Answer from `host`."""
        self._host = host

    def _guard(self, request: web.Request) -> None:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        fits = [same(given.strip(), token) for token in self._host.tokens() if token]
        if scheme.lower() != "bearer" or not any(fits):
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})

    async def incidents(self, request: web.Request) -> web.Response:
        """List incidents, newest first, 50 a page; `before` continues."""
        self._guard(request)
        return _json({"incidents": await self._host.incidents(request.query.get("before"))})

    async def incident(self, request: web.Request) -> web.Response:
        """Show one incident."""
        self._guard(request)
        return self._found(await self._host.incident(request.match_info["id"]))

    async def act(self, request: web.Request) -> web.Response:
        """Refuse every act, and say who could: a vote is a person's, and nobody stands behind a token."""
        self._guard(request)
        incident, act = request.match_info["id"], request.match_info["act"].replace("_", " ")
        if await self._host.incident(incident) is None:
            return self._found(None)
        could = list(await self._host.who_could(incident))[:3]
        people = words.listed(could, "or") if could else "A person who holds the role"
        error = f"API tokens cannot vote: no person stands behind a request to {act}. {people} can, on the card in Slack or in a terminal after `lastgood login`. Nothing was changed."
        return _json({"outcome": "forbidden", "error": error}, 403)

    async def inbound(self, request: web.Request) -> web.Response:
        """Show what became of one stored request."""
        self._guard(request)
        return self._found(await self._host.inbound(request.match_info["id"]))

    async def unrouted(self, request: web.Request) -> web.Response:
        """List what led nowhere, whole or in part, newest first, 50 a page; `before` continues."""
        self._guard(request)
        return _json({"inbound": await self._host.unrouted(request.query.get("before"))})

    async def openapi(self, request: web.Request) -> web.Response:
        """Describe this API; that is no secret."""
        del request
        return _json(document())

    @staticmethod
    def _found(content: Any) -> web.Response:
        return _json({"error": "not found"}, 404) if content is None else _json(content)
