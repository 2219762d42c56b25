"""The Slack app: slack-bolt over HTTP or Socket Mode, one listener for every button, work in tasks of our own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import aiohttp
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp, AsyncBoltRequest
from slack_bolt.logger.messages import warning_client_prioritized_and_token_skipped
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.domain import words
from bot.domain.press import Answer, Press
from bot.errors import LastgoodError
from bot.ports import Clock, Log
from bot.slack.actions import STRANGE, TAMPERED, Posted, is_link, place_of, press_of, submitted
from bot.slack.answers import name_of, theirs
from bot.slack.commands import ABOUT, HELP, Command, parse
from bot.slack.directory import SlackDirectory
from bot.slack.forms import View, last_field
from bot.slack.manifest import SCOPES, Granted, held_to
from bot.slack.shape import readable
from bot.slack.signature import Replays, genuine
from bot.slack.text import sentence

T = TypeVar("T")
MAX_BODY = 1024 * 1024
ANSWER_WITHIN = 2.5  # seconds of the three after which Slack shows the person an error
CONNECT_WITHIN = 20.0  # seconds
NO_DIALOG = "The dialog could not be opened, so nothing was asked and nothing was changed. Press again, or type `/rollback help`."
INSTALL_AGAIN = "Paste `lastgood manifest` into the app and install it again."
TOO_MUCH = "whoever steals the token can do more than Lastgood does"
WORKING = "Working on it. The answer follows here."
LOST = "Nothing could be confirmed. Look at the card."
AGAIN = (2, 5, 15, 60)  # seconds between attempts to open a socket; Slack lets an app ask for one about once a minute
LOOK_EVERY = 5.0  # seconds between looks at the socket
CALL_WITHIN = aiohttp.ClientTimeout(total=10, connect=3)


def _none() -> str | None:
    return None


def _is_news(record: logging.LogRecord) -> bool:
    """Drop what slack-bolt says when SLACK_BOT_TOKEN is set: it is meant so, the client carries that token."""
    return record.getMessage() != warning_client_prioritized_and_token_skipped()


@dataclass(frozen=True, slots=True)
class Desk:
    """What the app asks the flow: take a press, answer a command, say whether a message is ours, draw a dialog.

    `form` gives the dialog an act asks first, None when it asks nothing; `confirm_link` the one-time address at which a vote
    is confirmed behind the company's sign-in, empty when there is none.
    """

    press: Callable[[Press], Awaitable[Answer]]
    command: Callable[[str, Command], Awaitable[str]]
    posted: Posted
    form: Callable[[Press, str], Awaitable[View | None]]
    confirm_link: Callable[[Press], str]


@dataclass(frozen=True, slots=True)
class _For:
    """Whom work is for: the incident it is about, and where its person is told when it breaks; without a channel nobody is."""

    incident: str = ""
    channel: str = ""
    user: str = ""


_NOBODY = _For()
_UNCONFIRMED = Answer(ok=False, text=LOST)


class SlackApp:
    """Everything Slack sends us, in one place."""

    def __init__(
        self, client: AsyncWebClient, secret: str, desk: Desk, clock: Clock, log: Log, directory: SlackDirectory,
        coming: Callable[[], str | None] = _none,
    ) -> None:  # fmt: skip
        """Serve with `client`; `secret` signs HTTP requests and is not needed for Socket Mode.

        `coming` gives the secret that will follow it, asked at every request that `secret` did not sign: while a secret is
        changed both are accepted, and nothing has to be started anew.
        """
        for name in ("slack_bolt.AsyncApp", "slack_bolt", "slack_bolt.middleware"):
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("slack_bolt.AsyncApp").addFilter(_is_news)
        self._client, self._secret, self._desk, self._clock, self._log = client, secret, desk, clock, log
        self._directory, self._coming = directory, coming
        self._app, self._replays = "", Replays()
        self._granted: Granted | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._socket: AsyncSocketModeHandler | None = None
        self._watch: asyncio.Task[None] | None = None
        self._connected = False
        # Signatures are checked by `handle`, before slack-bolt sees a request, and against both secrets.
        self.bolt = AsyncApp(
            client=client, signing_secret=secret or "socket-mode", process_before_response=True, request_verification_enabled=False,
            ssl_check_enabled=False, url_verification_enabled=True,
        )  # fmt: skip
        self._listen()

    def _listen(self) -> None:
        self.bolt.action(re.compile(".*"))(self._clicked)
        self.bolt.view(re.compile(".*"))(self._submitted)
        self.bolt.command("/rollback")(self._commanded)

    async def hello(self) -> None:
        """Prove the token. Raises LastgoodError that says what Slack answered."""
        try:
            answer = await self._introduced()
        except SlackApiError as error:
            if theirs(error):
                self._log.warning("slack.away", error=name_of(error) or "unreadable")
                return
            message = f"Slack refuses the bot token: {name_of(error)}. Set SLACK_BOT_TOKEN. Nothing was started."
            raise LastgoodError(message) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            self._log.warning("slack.away", error=type(error).__name__)
            return
        self._directory.team = str(answer["team_id"])
        await self._our_app()

    async def _introduced(self) -> AsyncSlackResponse:
        """Ask Slack who we are; each answer also says what the token may do. Raises as the call does."""
        answer = await self._client.auth_test()
        self._note_scopes(answer.headers.get("x-oauth-scopes"))
        return answer

    def _note_scopes(self, said: str | None) -> None:
        """Compare what the token may do with the manifest, and say what differs once."""
        found = held_to(said) if said else None
        if found is None:
            self._log.warning("slack.scopes", error="Slack does not say what the bot token may do.")
        elif found != self._granted:
            for scope in found.missing:
                self._log.warning("slack.scopes", missing=scope, so=SCOPES[scope], mend=INSTALL_AGAIN)
            if found.extra:
                self._log.warning("slack.scopes", extra=list(found.extra), so=TOO_MUCH, mend=INSTALL_AGAIN)
        self._granted = found

    @property
    def scopes(self) -> tuple[int, int] | None:
        """Give how many scopes the bot token lacks, and how many it has beside the manifest's; None when Slack did not say."""
        return None if self._granted is None else (len(self._granted.missing), len(self._granted.extra))

    async def _our_app(self) -> str:
        """Give our app's id, asked for until it is known; empty while Slack could not say, and then nothing is of it."""
        if not self._app:
            try:
                bot = (await self._introduced())["bot_id"]
                self._app = str((await self._client.bots_info(bot=bot))["bot"]["app_id"])
            except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
                self._log.warning("slack.app_unknown", error=type(error).__name__)
        return self._app

    @property
    def team(self) -> str:
        """Give our workspace; empty until Slack was reached, and then nobody is of it."""
        return self._directory.team

    # ── HTTP ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def handle(self, request: web.Request) -> web.Response:
        """Take POST /slack/events: the signature is checked here first, whatever the body says."""
        if (request.content_length or 0) > MAX_BODY or request.headers.get("Content-Encoding"):
            return web.Response(status=413)
        body = await request.read()
        if not self._genuine(request, body):
            return web.Response(status=401, text="unauthorized")
        if not self._replays.first(request.headers.get("X-Slack-Signature", ""), self._clock.now()):
            self._log.warning("slack.replayed")
            return web.Response(status=200)  # whoever sends it again learns nothing, and nothing is done twice
        if not readable(body, request.content_type):
            return web.Response(status=400)
        return await to_aiohttp_response(await self.bolt.async_dispatch(await to_bolt_request(request)))

    def _genuine(self, request: web.Request, body: bytes) -> bool:
        """Say whether Slack signed this with the secret there is, or with the one that will follow it."""
        now = self._clock.now()
        if self._secret and genuine(self._secret, request.headers, body, now):
            return True
        coming = self._coming()
        return bool(coming) and genuine(str(coming), request.headers, body, now)

    # ── Socket Mode ───────────────────────────────────────────────────────────────────────────────────────────────

    async def open_socket(self, app_token: str) -> None:
        """Connect, and keep a watch that connects anew when the socket is dead."""
        self._watch = asyncio.create_task(self._keep_connected(app_token), name="slack-socket")

    async def _keep_connected(self, app_token: str) -> None:
        tries = 0
        while True:
            try:
                self._socket = AsyncSocketModeHandler(self.bolt, app_token)
                async with asyncio.timeout(CONNECT_WITHIN):
                    # Asked for here, because `connect` would keep a refused token to itself and try it for ever.
                    self._socket.client.wss_uri = await self._socket.client.issue_new_wss_url()
                    await self._socket.connect_async()  # type: ignore[no-untyped-call]  # slack-bolt leaves it untyped
                tries, self._connected = 0, True
                while await self._socket.client.is_connected():  # noqa: ASYNC110  the library offers no event
                    await asyncio.sleep(LOOK_EVERY)
                self._log.warning("slack.socket", error="the socket is dead; connecting anew")
            except (SlackClientError, aiohttp.ClientError, OSError, RuntimeError, ValueError) as error:
                self._log.warning("slack.socket", error=_trouble(error), again_in=AGAIN[min(tries, len(AGAIN) - 1)])
            self._connected = False
            await self._close_socket()
            await asyncio.sleep(AGAIN[min(tries, len(AGAIN) - 1)])
            tries += 1

    async def _close_socket(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await socket.close_async()  # type: ignore[no-untyped-call]  # same

    @property
    def connected(self) -> bool:
        """Say whether the socket, when there is one, is open."""
        return self._watch is None or self._connected

    async def close(self) -> None:
        """End the socket and wait a little for work under way."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._close_socket()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    # ── what people do ────────────────────────────────────────────────────────────────────────────────────────────

    def _start(self, work: Coroutine[Any, Any, T], whose: _For = _NOBODY) -> asyncio.Task[T]:
        """Keep a reference, as a task nobody holds may be lost; what breaks in it is noted and told."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, whose))
        return task

    def _ended(self, task: asyncio.Task[Any], whose: _For) -> None:
        """Note what broke by its type alone: what an error says may hold a secret."""
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._log.warning("slack.broke", error=type(error).__name__, incident=whose.incident)
        if whose.channel:
            self._start(self._whisper(whose.channel, whose.user, LOST))

    async def _clicked(self, ack: Any, body: dict[str, Any], request: AsyncBoltRequest) -> None:
        if is_link(body):
            await ack()  # the browser went there already
            return
        press = press_of(body, await self._directory.workspace(), await self._our_app())
        channel, ts = place_of(body)
        if isinstance(press, str):
            await ack()  # also a button this version does not know: without an ack Slack shows a fault beside it
            self._refused(body, channel, press)
            return
        press = replace(press, request={**press.request, **proof(request)})
        # The vote is durable before Slack is told, as long as Slack waits: once acknowledged, a click is never sent again.
        work = self._taken(press, channel, ts, str(body.get("trigger_id", "")))
        await self._finished(work, _For(press.incident, channel, press.person))
        await ack()

    def _refused(self, body: Mapping[str, Any], channel: str, why: str) -> None:
        """Note what did not prove itself, and tell the person."""
        user = str((body.get("user") or {}).get("id", ""))
        self._log.warning("slack.refused", user=user, app=str(body.get("api_app_id", ""))[:40], reason=why)
        if user and channel:
            self._start(self._whisper(channel, user, why))

    async def _finished(self, work: Coroutine[Any, Any, None], whose: _For) -> None:
        """Wait for work of ours within the three seconds Slack gives; it goes on when it takes longer."""
        await asyncio.wait({self._start(work, whose)}, timeout=ANSWER_WITHIN)

    async def _taken(self, press: Press, channel: str, ts: str, trigger: str) -> None:
        """Explain, ask what the act needs, or judge it."""
        if not await self._desk.posted(channel, ts):
            self._log.warning("slack.foreign_surface", user=press.person, channel=channel)
            self._start(self._whisper(channel, press.person, TAMPERED))
        elif press.action == "why":
            about = self._asked(press.person, Command("who", press.incident))
            self._start(self._tell_later(channel, press.person, about))
        else:
            view = await self._form(press, channel)
            await (self._open(press, view, channel, trigger) if view is not None else self._answered(press, channel))

    async def _form(self, press: Press, channel: str) -> View | None:
        """Draw the dialog; an incident nobody can read has none, and the press says why."""
        try:
            return await self._desk.form(press, channel)
        except LastgoodError as error:
            self._log.warning("slack.form", reason=error.reason, incident=press.incident)
            return None

    async def _answered(self, press: Press, channel: str) -> None:
        self._said(await self._pressed(press), press, channel)

    def _said(self, answer: Answer, press: Press, channel: str) -> None:
        """Tell the person what the card does not: a refusal, or where to confirm."""
        link = self._desk.confirm_link(press) if answer.link_for else ""
        if link or not answer.ok:
            self._start(self._whisper(channel, press.person, answer.text, link))

    async def _pressed(self, press: Press) -> Answer:
        try:
            return await self._desk.press(press)
        except LastgoodError as error:
            self._log.warning("slack.press", reason=error.reason, incident=press.incident)
            return Answer(ok=False, text=f"{error} Nothing was changed.")

    async def _open(self, press: Press, view: View, channel: str, trigger: str) -> None:
        try:
            await self._client.views_open(trigger_id=trigger, view=view)
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            self._log.warning("slack.modal", error=str(error))
            self._start(self._whisper(channel, press.person, NO_DIALOG))

    async def _submitted(self, ack: Any, body: dict[str, Any], request: AsyncBoltRequest) -> None:
        found = submitted(body, await self._directory.workspace(), await self._our_app())
        view = body.get("view")
        field = last_field(view if isinstance(view, dict) else {})
        if isinstance(found, str):
            self._refused(body, "", found)
            await ack(response_action="errors", errors={field: found})
            return
        press, channel = replace(found[0], request={**found[0].request, **proof(request)}), found[1]
        work = self._start(self._pressed(press), _For(press.incident))
        done, _ = await asyncio.wait({work}, timeout=ANSWER_WITHIN)
        if done and not (answer := await _outcome(work, _UNCONFIRMED)).ok and not answer.link_for:
            await ack(response_action="errors", errors={field: self._read(answer.text)})
            return
        self._start(self._said_later(work, press, channel))
        await ack()

    async def _said_later(self, work: asyncio.Task[Answer], press: Press, channel: str) -> None:
        self._said(await _outcome(work, _UNCONFIRMED), press, channel)

    def _read(self, text: str) -> str:
        """Write a sentence where no mention and no local time can stand: names, and times in UTC."""
        return words.put(text, self._directory.name)

    async def _commanded(self, ack: Any, command: dict[str, Any], request: AsyncBoltRequest) -> None:
        asked = parse(str(command.get("text", "")))
        if asked.verb == "help":
            await ack(HELP)
            return
        if command.get("team_id") != (await self._directory.workspace() or None):
            await ack("People from other organisations cannot do this. Nothing was changed.")
            return
        if command.get("api_app_id") != (await self._our_app() or None):
            self._refused({**command, "user": {"id": command.get("user_id")}}, "", STRANGE)
            await ack(STRANGE)
            return
        if asked.verb == "unclear":
            await ack(f"I do not understand that. Nothing was changed.\n{HELP}")
            return
        channel, user = str(command.get("channel_id", "")), str(command.get("user_id", ""))
        given = {
            "team": str(command.get("team_id", "")),
            "trigger": str(command.get("trigger_id", ""))[:100],
            "channel": channel,
        }
        answer = self._asked(user, replace(asked, request={**given, **proof(request)}))
        done, _ = await asyncio.wait({answer}, timeout=ANSWER_WITHIN)
        if done:
            await ack(sentence(await _outcome(answer, LOST)))
            return
        await ack(WORKING)
        self._start(self._tell_later(channel, user, answer))

    def _asked(self, user: str, asked: Command) -> asyncio.Task[str]:
        """Begin to answer a command; only the name of an incident is noted, since a code that was typed is a secret."""
        return self._start(self._told(user, asked), _For(asked.name if asked.verb in ABOUT else ""))

    async def _told(self, user: str, asked: Command) -> str:
        try:
            return await self._desk.command(user, asked)
        except LastgoodError as error:
            self._log.warning("slack.command", reason=error.reason)
            return f"{error} Nothing was changed."

    async def _tell_later(self, channel: str, user: str, answer: asyncio.Task[str]) -> None:
        await self._whisper(channel, user, await _outcome(answer, LOST))

    async def _whisper(self, channel: str, user: str, text: str, link: str = "") -> None:
        """Say it to one person, with a button that leads to `link`; what matters is in the timeline already."""
        text = sentence(text)
        blocks = [*_told_with(text), _leading(link)] if link else None
        try:
            await self._client.chat_postEphemeral(channel=channel, user=user, text=text, blocks=blocks)
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            self._log.warning("slack.whisper", error=type(error).__name__)


async def _outcome(work: asyncio.Task[T], lost: T) -> T:
    """Give what work came to; `lost` stands for work that broke, which is noted where it ends."""
    await asyncio.wait({work})
    return lost if work.cancelled() or work.exception() is not None else work.result()


def _told_with(text: str) -> list[View]:
    return [{"type": "section", "block_id": "told", "text": {"type": "mrkdwn", "text": text}}]


def _leading(link: str) -> View:
    button = {
        "type": "button", "action_id": "open_confirm", "url": link, "style": "primary",
        "text": {"type": "plain_text", "text": "Confirm behind the company sign-in"},
        "accessibility_label": "Open the page that confirms this vote behind the company sign-in",
    }  # fmt: skip
    return {"type": "actions", "block_id": "confirm", "elements": [button]}


def proof(request: AsyncBoltRequest) -> dict[str, str]:
    """Give the digest of Slack's signature, which proves a request later without letting it be sent again; a socket has none."""
    signature = (request.headers.get("x-slack-signature") or [""])[0]
    return {"signature": hashlib.sha256(signature.encode()).hexdigest()} if signature else {}


def _trouble(error: Exception) -> str:
    """Say what stands in the way of a socket, and how to mend what a person can."""
    name = name_of(error) if isinstance(error, SlackApiError) else ""
    if name in ("invalid_auth", "not_allowed_token_type", "token_revoked", "missing_scope", "account_inactive"):
        return f"Slack refuses SLACK_APP_TOKEN: {name}. Mend: make an app-level token with the scope connections:write."
    return name or type(error).__name__
