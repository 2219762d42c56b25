"""A running Lastgood in so far as the sign-in pages need one: it notes what reached it, and a browser without a face."""

from __future__ import annotations

import html
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.testing import NotedLog
from bot.clock import ManualClock
from bot.domain.press import Answer, Order, Press
from bot.web.confirm import Desk, Need, Shown, SignInPages, Terminal
from bot.web.sealed import Seal
from bot.web.server import create_app, listen
from bot.web.signin import Provider as Asked
from bot.web.signin import SignIn
from tests.web.provider import CLIENT, SECRET, Provider
from tests.web.test_server import Edge

NAMES = {"U0PRIYA": "Priya Shah", "U0ANA": "Ana Ruiz", "U0GIL": "Gil"}
ADDRESSES = {"priya@example.com": ["U0PRIYA"], "ana@example.com": ["U0ANA"], "two@example.com": ["U0PRIYA", "U0ANA"]}
INCIDENT = "01KAQ3H2S0M4V8B6T9C17Q4RD0"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SHOWN = Shown(
    "fraud-scorer", "prod", "42", "41", "7f3a9c2e", 'Alertmanager says: "12.4 % of requests fail on 42."',
    "Rule prod-tier1: tier 1 in prod needs an on-call SRE and a model owner.",
    (Need(True, "on-call SRE: <@U0ANA> approved <!date^1795403611^{time}|03:13 UTC>"), Need(False, "model-owner: open")),
    waiting=True, ask_reason=False,
)  # fmt: skip
YES = Answer(ok=True, text="You approved 42 → 41 as model-owner, 2 of 2.")
PRESS = Press(person="U0PRIYA", action="approve", incident=INCIDENT, plan="7f3a9c2e", card_version=4)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Door:
    """The pages on a real server, before a provider of ours."""

    provider: Provider
    clock: ManualClock
    port: int
    scheme: str = "http"
    within: float = 10.0  # seconds; far above what a busy machine needs
    secret: str | None = SECRET
    log: NotedLog = field(default_factory=NotedLog)
    shown: Shown | None = SHOWN
    answer: Any = YES
    terminals: dict[str, Terminal] = field(default_factory=dict)
    pressed: list[Press] = field(default_factory=list)
    ordered: list[Order] = field(default_factory=list)
    pages: SignInPages = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def votes(self) -> int:
        return len(self.pressed) + len(self.ordered)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Door]:
        public = f"{self.scheme}://127.0.0.1:{self.port}"
        asked = Asked(self.provider.issuer, CLIENT, lambda: self.secret)
        desk = Desk(
            self._press, self._order, self._shown, self._terminal, self._people, lambda one: NAMES.get(one, one)
        )
        async with AsyncExitStack() as stack:
            signin = await stack.enter_async_context(SignIn(asked, public, self.clock, within=self.within))
            self.pages = SignInPages(desk, signin, Seal(KEY), public, self.clock, self.log)
            host = replace(Edge().host, signin=self.pages, log=self.log)
            runner = await listen(create_app(host), "127.0.0.1", self.port)
            stack.push_async_callback(runner.cleanup)
            yield self

    async def _press(self, act: Press) -> Answer:
        self.pressed.append(act)
        answer = await self.answer() if callable(self.answer) else self.answer
        assert isinstance(answer, Answer)
        return answer

    async def _order(self, order: Order) -> Answer:
        self.ordered.append(order)
        return Answer(ok=True, text="The terminal on ana@host acts as you until 15:12 UTC.")

    async def _shown(self, incident: str) -> Shown | None:
        return self.shown if incident == INCIDENT else None

    async def _terminal(self, code: str) -> Terminal | None:
        return self.terminals.get(code)

    async def _people(self, address: str) -> Sequence[str]:
        return ADDRESSES.get(address, [])

    def waits(self, code: str, host: str = "ana@host") -> None:
        """Let a terminal wait with this code."""
        self.terminals[code] = Terminal(host, self.clock.now() + timedelta(minutes=10))


@dataclass
class Page:
    """What a browser shows."""

    status: int
    text: str
    headers: Any
    url: str

    @property
    def said(self) -> str:
        """The words of the page in one line."""
        main = re.search(r"<main>(.*)</main>", self.text, re.DOTALL)
        text = html.unescape(re.sub(r"<[^>]+>", " ", main[1] if main else self.text))
        return re.sub(r"[ \n]+", " ", text).strip()

    @property
    def proof(self) -> str:
        found = re.search(r'name="proof" value="([^"]+)"', self.text)
        return found[1] if found else ""

    @property
    def action(self) -> str:
        found = re.search(r'<form method="post" action="([^"]+)"', self.text)
        return found[1] if found else ""


class Browser:
    """Follows links and keeps cookies, as a browser does."""

    def __init__(self, session: aiohttp.ClientSession, door: Door) -> None:
        self.session, self.door = session, door

    async def go(self, url: str, **keys: Any) -> Page:
        async with self.session.get(self.door.url + url if url.startswith("/") else url, **keys) as answer:
            return Page(answer.status, await answer.text(), answer.headers, str(answer.url))

    async def send(self, page: Page, headers: dict[str, str] | None = None, **fields: str) -> Page:
        form = {"proof": page.proof, **fields}
        async with self.session.post(self.door.url + page.action, data=form, headers=headers) as answer:
            return Page(answer.status, await answer.text(), answer.headers, str(answer.url))


@asynccontextmanager
async def browser(door: Door) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield Browser(session, door)
