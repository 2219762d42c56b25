"""The demo's page: a channel, the proof and the timeline, fed by server-sent events."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import orjson
from aiohttp import web

from bot.demo import dialog, picture
from bot.demo.slack import BOT, CAST, Reply, SlackLookalike
from bot.demo.tamper import tampered, verified
from bot.domain import entries as e
from bot.domain.incident import Incident, Phase
from bot.errors import LastgoodError
from bot.ports import Clock
from bot.report import facts

HERE = Path(__file__).parent / "page"
KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAPER = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
PACE = 0.5  # seconds between two events
PEOPLE_EVERY = 10.0  # seconds after which roles are asked for again
LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})
MAX_TEXT = 1000


class Scene(Protocol):
    """What the page shows: the demo's world, or a test's."""

    folder: Path
    clock: Clock
    slack: SlackLookalike
    run: str

    @property
    def series(self) -> Sequence[tuple[float, float, float, int]]:
        """Give points: seconds since the epoch, share of the bad version, error ratio, requests a second."""

    def name(self, user: str) -> str:
        """Give a person's name."""

    async def incident(self) -> Incident | None:
        """Give the newest incident."""

    async def entries(self, stream: str) -> Sequence[e.Recorded]:
        """Give a stream."""

    async def title(self, user: str) -> str:
        """Give the roles a person holds."""

    async def may(self, user: str, incident: Incident | None) -> str:
        """Say what a person may do now."""

    async def could(self, incident: Incident | None) -> Mapping[str, Sequence[str]]:
        """Give the open places and who could fill them."""

    async def postmortem(self, suffix: str) -> Any:
        """Give a document with `html`, or None."""


S = TypeVar("S", bound=Scene)


async def serve_page(scene: S, port: int, story: Callable[[S], Awaitable[None]]) -> web.AppRunner:
    """Listen on loopback only. Raises LastgoodError when the port is taken."""
    page = Page(scene, lambda: story(scene))
    app = web.Application(middlewares=[_local_only])
    app.router.add_get("/", page.asset)
    app.router.add_get("/{name:(?:page|plot)\\.(?:js|css)|mark\\.svg}", page.asset)
    app.router.add_get("/events", page.events)
    app.router.add_get("/verify", page.verify)
    app.router.add_get("/tamper", page.tamper)
    app.router.add_get("/incidents/{id}", page.incident)
    app.router.add_get("/incidents/{id}/postmortem", page.postmortem)
    for path, handler in page.acts().items():
        app.router.add_post(path, handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    except OSError as error:
        await runner.cleanup()
        message = f"Port {port} is taken. Choose another with --port."
        raise LastgoodError(message) from error
    return runner


@web.middleware
async def _local_only(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Serve this machine's browser only: other pages cannot send JSON here, nor reach us under another name."""
    host = request.host.rpartition(":")[0] or request.host
    if host not in LOCAL:
        return web.Response(status=403, text="The demo answers on loopback only.")
    if request.method == "POST" and request.content_type != "application/json":
        return web.Response(status=415, text="Send JSON.")
    answer = await handler(request)
    if not answer.prepared:
        answer.headers.update({name: value for name, value in HEADERS.items() if name not in answer.headers})
        answer.headers.setdefault("Content-Security-Policy", POLICY)
    return answer


@dataclass
class Parts:
    """The picture as it was last made: each part as JSON, and the rows of the timeline."""

    made_at: float = float("-inf")  # monotonic seconds
    json: dict[str, bytes] = field(default_factory=dict)
    stream: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)


class Page:
    """Handlers of the page."""

    def __init__(self, scene: Scene, story: Callable[[], Awaitable[None]]) -> None:
        """Show `scene`; `story` plays it."""
        self._scene, self._story = scene, story
        self._playing: asyncio.Future[None] | None = None
        self._parts, self._making = Parts(), asyncio.Lock()
        self._rulings: tuple[Any, list[dict[str, str]]] = (None, [])

    def acts(self) -> dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]]:
        """Give what a visitor can do, by path."""
        return {
            "/press": self.press, "/submit": self.submit, "/dismiss": self.dismiss, "/say": self.say, "/play": self.play,
        }  # fmt: skip

    async def asset(self, request: web.Request) -> web.Response:
        """Give the page, its scripts, its style or its mark."""
        name = request.match_info.get("name", "page.html")
        body = await asyncio.to_thread((HERE / name).read_bytes)
        return web.Response(body=body, content_type=KINDS[name.rpartition(".")[2]], charset="utf-8")

    # ── what is shown ─────────────────────────────────────────────────────────────────────────────────────────────

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Send each part when it changed, new points and new entries, at most twice a second.

        The id of an event is the time of the newest point, so a browser that comes back is sent only what it missed.
        """
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await stream.prepare(request)
        seen, sent, shown = _seen(request.headers.get("Last-Event-ID", "")), dict[str, bytes](), ("", 0)
        try:
            while True:
                parts = await self._fresh()
                news = b"".join(_event(name, body) for name, body in parts.json.items() if sent.get(name) != body)
                sent = dict(parts.json)
                if (parts.stream, len(parts.rows)) != shown:
                    after = shown[1] if shown[0] == parts.stream else 0
                    news += _event("entries", orjson.dumps({"after": after, "rows": parts.rows[after:]}))
                    shown = (parts.stream, len(parts.rows))
                points = [tuple(point) for point in self._scene.series if point[0] > seen]
                if points:
                    seen = points[-1][0]
                    news += _event("points", orjson.dumps(points), f"{seen}")
                if news:
                    await stream.write(news)
                await asyncio.sleep(PACE)
        except ConnectionResetError:
            return stream

    async def _fresh(self) -> Parts:
        """Make the picture once for every tab that looks."""
        async with self._making:
            now = self._scene.clock.monotonic()
            if now - self._parts.made_at >= PACE * 0.8:
                self._parts = await self._made(now)
            return self._parts

    async def _made(self, now: float) -> Parts:
        scene = self._scene
        found = await scene.incident()
        entries = await scene.entries(found.stream) if found else ()
        rows = _rows(entries, scene.name, picture.near(scene.clock.now()))
        parts = {
            "scene": {"run": scene.run, "bot": BOT, "people": CAST},
            "channel": self._channel(),
            "story": await self._told(found, entries),
            "people": await self._people(found, now),
        }
        json = {name: orjson.dumps(part) for name, part in parts.items()}
        return Parts(now, json, found.stream if found else "", rows)

    def _channel(self) -> dict[str, Any]:
        slack = self._scene.slack
        top = [_message(one, slack.thread(one["ts"])) for one in slack.messages if not one.get("thread_ts")]
        return {"messages": top, "whispers": [_message(one, []) for one in slack.whispers[-20:]]}

    async def _told(self, found: Incident | None, entries: Sequence[e.Recorded]) -> dict[str, Any]:
        scene = self._scene
        out = bool(scene.series) and scene.series[-1][1] > 0
        return {
            "title": f"{picture.word(found)} · {found.model if found else 'fraud-scorer'}",
            "four": picture.four(found, await scene.could(found), scene.name, going_out=out),
            "tiles": picture.tiles(found), "plan": picture.plan(found), "marks": picture.marks(found, entries, scene.name),
            "postmortem": f"/incidents/{found.id}/postmortem" if found and found.phase is Phase.CLOSED else None,
            "playing": self._playing is not None, "over": found is not None and found.phase is Phase.CLOSED,
        }  # fmt: skip

    async def _people(self, found: Incident | None, now: float) -> list[dict[str, str]]:
        """Ask the rules about each person whenever what they judge changed, and roles every few seconds."""
        key = (found and (found.id, found.version), now // PEOPLE_EVERY)
        if self._rulings[0] != key:
            scene = self._scene
            rows = [{"id": u, "title": await scene.title(u), "may": await scene.may(u, found)} for u in CAST]
            self._rulings = (key, rows)
        return self._rulings[1]

    # ── what a visitor does ───────────────────────────────────────────────────────────────────────────────────────

    async def press(self, request: web.Request) -> web.Response:
        """Press a button, or pick an option of a menu, as one of the cast; gives the modal the bot opened, if it opened one.

        What the card carries is looked up where the card is kept: the page only says which button, or which act of a menu.
        """
        given = _given(await _read(request), "user", "action", "ts", value="")
        slack, before = self._scene.slack, set(self._scene.slack.views)
        if given["value"]:
            reply = await self._picked(given)
        else:
            reply = await slack.click(given["user"], given["action"], given["ts"])
        views = [one for name, one in slack.views.items() if name not in before and one["opened_by"] == given["user"]]
        view = dialog.shown(views[-1]) if views else None
        return web.json_response({"error": _trouble(reply.error), "view": view})

    async def _picked(self, given: Mapping[str, str]) -> Reply:
        """Pick by the act that begins the option's value: the rest of it may be of an older card than the one there is."""
        act = f"{given['value'].partition('.')[0]}."
        try:
            return await self._scene.slack.pick(given["user"], act, given["ts"], menu=given["action"])
        except LookupError as error:
            raise _bad("This option is not on the card. Open the menu again. Nothing was changed.") from error

    async def submit(self, request: web.Request) -> web.Response:
        """Submit a modal; gives what is wrong by block, and nothing when it closes.

        What Slack's own client would not send is not sent here: a field left empty, a text too short, an option not offered.
        """
        body = await _read(request)
        given = _given(body, "user", "view")
        view = self._opened(given)
        values = _filled(body, view)
        if wrong := dialog.unfilled(view, values, CAST):
            return web.json_response({"error": "", "errors": wrong})
        reply = await self._scene.slack.submit_view(given["user"], given["view"], values)
        answer = orjson.loads(reply.body) if reply.body.startswith("{") else {}
        return web.json_response({"error": _trouble(reply.error), "errors": answer.get("errors") or {}})

    async def dismiss(self, request: web.Request) -> web.Response:
        """Leave a modal; one that is gone already is left."""
        given = _given(await _read(request), "user", "view")
        if given["view"] in self._scene.slack.views:
            del self._scene.slack.views[self._opened(given)["id"]]
        return web.json_response({"error": ""})

    def _opened(self, given: Mapping[str, str]) -> dict[str, Any]:
        """Give a modal to whom it was opened for. Raises HTTPBadRequest."""
        view = self._scene.slack.views.get(given["view"])
        if view is None or view["opened_by"] != given["user"]:
            raise _bad("This dialog is not open.")
        return view

    async def say(self, request: web.Request) -> web.Response:
        """Type in the channel as one of the cast: a command or a message."""
        given = _given(await _read(request), "user", "text")
        text, slack = given["text"].strip(), self._scene.slack
        if text.partition(" ")[0] == "/rollback":
            reply = await slack.slash(given["user"], text.removeprefix("/rollback").strip())
            return web.json_response({"error": _trouble(reply.error)})
        slack.say(given["user"], html.escape(text, quote=False))
        return web.json_response({"error": ""})

    async def play(self, request: web.Request) -> web.Response:
        """Let the story play by itself, once."""
        del request
        if self._playing is None:
            self._playing = asyncio.ensure_future(self._story())
        return web.json_response({"error": ""})

    async def verify(self, request: web.Request) -> web.Response:
        """Verify the chain, on a copy, so that nothing waits."""
        del request
        return web.json_response(await asyncio.to_thread(verified, self._database))

    async def tamper(self, request: web.Request) -> web.Response:
        """Break entry 3 of a copy and name it; the real table refuses."""
        del request
        found = await self._scene.incident()
        return web.json_response(await asyncio.to_thread(tampered, self._database, found.stream if found else None))

    @property
    def _database(self) -> Path:
        return self._scene.folder / "timeline.db"

    async def incident(self, request: web.Request) -> web.Response:
        """Lead to the page with the incident on it."""
        del request
        raise web.HTTPFound("/")

    async def postmortem(self, request: web.Request) -> web.Response:
        """Show the postmortem."""
        document = await self._scene.postmortem(request.match_info["id"])
        if document is None:
            raise web.HTTPNotFound(text="There is no such incident.")
        return web.Response(text=document.html, content_type="text/html", headers={"Content-Security-Policy": PAPER})


def _rows(
    entries: Sequence[e.Recorded], name: Callable[[str], str], when: Callable[[datetime], str]
) -> list[dict[str, Any]]:
    """Give the timeline for people; a verdict nobody can give is neither good nor bad."""
    unsure = {one.version for one in entries if getattr(one.entry, "verdict", "") == "cannot_tell"}
    rows = facts.moments(entries, name, when)
    return [{**row, "kind": "odd"} if row["version"] in unsure else row for row in rows]


def _seen(text: str) -> float:
    """Read what a browser says it has seen; anything unreadable means nothing."""
    try:
        return float(text)
    except ValueError:
        return float("-inf")


def _event(name: str, body: bytes, number: str = "") -> bytes:
    head = f"id: {number}\nevent: {name}\n" if number else f"event: {name}\n"
    return head.encode() + b"data: " + body + b"\n\n"


def _message(one: Mapping[str, Any], thread: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    shown = {name: one[name] for name in ("ts", "user", "text", "blocks") if one.get(name)}
    files = [file["name"] for file in one.get("files") or []]
    return {**shown, "files": files, "thread": [_message(reply, []) for reply in thread]}


def _trouble(error: str) -> str:
    return f"Lastgood did not answer as Slack wants: {error}. Nothing is known to have changed." if error else ""


async def _read(request: web.Request) -> Mapping[str, Any]:
    """Read what the page sends, by one of the cast. Raises HTTPBadRequest."""
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise _bad("This is no JSON.") from error
    if not isinstance(body, dict):
        raise _bad("This is no JSON object.")
    if _given(body, "user")["user"] not in CAST:
        raise _bad("user is not one of the cast.")
    return body


def _given(body: Mapping[str, Any], *names: str, **optional: str) -> dict[str, str]:
    """Give texts by name; `optional` says what stands where none was sent. Raises HTTPBadRequest that names the field."""
    sent = {**optional, **body}
    return {name: _text(name, sent.get(name)) for name in (*names, *optional)}


def _text(name: str, found: object) -> str:
    if not isinstance(found, str) or len(found) > MAX_TEXT:
        raise _bad(f"{name} must be a text of at most {MAX_TEXT:,} characters.")
    return found


def _filled(body: Mapping[str, Any], view: Mapping[str, Any]) -> dict[str, str]:
    """Give what was filled in by block id, of fields this modal has and of no others. Raises HTTPBadRequest."""
    values = body.get("values")
    if not isinstance(values, dict) or values.keys() - dialog.fields(view).keys():
        raise _bad("values must be texts by the fields of this dialog.")
    return _given(values, *values)


def _bad(text: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=text)
