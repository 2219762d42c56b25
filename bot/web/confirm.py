"""The pages behind the company's sign-in: approve with a fresh proof of who you are, and let a terminal act as you.

A link is sealed, made for one person, one plan and one card, ends after five minutes and counts once. A page shows
nothing about an incident before the person of the link has signed in.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from bot.domain import access, words
from bot.domain.incident import Incident, Phase
from bot.domain.press import Answer, Order, Press
from bot.errors import Denied, Expired, LastgoodError
from bot.ports import Clock, Log
from bot.web.idtoken import Identity, NotProven
from bot.web.paper import Paper
from bot.web.sealed import Forged, Seal
from bot.web.signin import CALLBACK, SignIn

LINK_FOR = timedelta(minutes=5)
SIGN_IN_FOR = timedelta(minutes=10)  # how long the way through the company's pages may take
LOGIN = "login"
LONGEST = 1000  # characters of a reason, as in the dialogs
_AGAIN = "Press Approve on the card again; that makes a new link."


@dataclass(frozen=True, slots=True)
class Need:
    """One place of the quorum: filled, or open."""

    filled: bool
    text: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What a person is about to approve; texts may carry tokens for people and times."""

    model: str
    environment: str
    from_version: str
    to_version: str
    plan: str  # the eight characters a card shows
    wrong: str
    why: str
    needs: tuple[Need, ...]
    waiting: bool
    ask_reason: bool


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal that waits to be let in: `ana@host`, and when its code ends."""

    host: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Desk:
    """What the pages need from the application."""

    press: Callable[[Press], Awaitable[Answer]]
    order: Callable[[Order], Awaitable[Answer]]
    shown: Callable[[str], Awaitable[Shown | None]]  # by incident id; None when it has no plan
    terminal: Callable[[str], Awaitable[Terminal | None]]  # by the code as it was typed
    people: Callable[[str], Awaitable[Sequence[str]]]  # every account with this e-mail address. Raises Unavailable
    name: Callable[[str], str]
    login_for: timedelta = timedelta(hours=12)


def shown_of(incident: Incident) -> Shown | None:
    """Give what the page shows of an incident, None while it has no decided plan."""
    plan, decision = incident.plan, incident.decision
    if plan is None or decision is None:
        return None
    alert = next(iter(incident.firing or tuple(incident.alerts.values())), None)
    said = f'{alert.source.capitalize()} says: "{words.plain(alert.summary)}"' if alert and alert.summary else ""
    asked = f"{words.person(incident.requester)} asked for it." if incident.requester else ""
    votes = [Need(True, f"{v.role}: {words.person(v.person)} approved {words.moment(v.at)}") for v in incident.votes]
    missing = [Need(False, f"{role}: open") for role in access.open_places(decision.require, incident.votes)]
    return Shown(
        incident.model, incident.environment, plan.from_version, plan.to_version, plan.short, said or asked, decision.reason,
        (*votes, *missing), incident.phase is Phase.WAITING, decision.ask_reason,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Link:
    """What a link holds."""

    token: str
    id: str
    person: str
    incident: str
    plan: str
    card_version: int
    until: datetime


@dataclass(frozen=True, slots=True)
class _Who:
    """Who signed in at this browser for one link, and the cookie that says so."""

    person: str
    proof: Mapping[str, str]  # issuer, subject, auth_time, nonce: kept with the vote
    cookie: str


class _Halt(Denied):
    """A page of one word, with what is so, how to mend it, and the HTTP status that fits."""

    def __init__(self, word: str, what: str, mend: str, status: int, again: str = "") -> None:
        self.word, self.mend, self.status, self.again = word, mend, status, again
        super().__init__(what)


class _Kept:
    """Remembers, in this process and until they end, what may happen once, and what belongs to it."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[datetime, str]] = {}

    def take(self, name: str, until: datetime, now: datetime, text: str = "") -> bool:
        """Take it; False when somebody has."""
        self._held = {one: held for one, held in self._held.items() if held[0] > now}
        free = name not in self._held
        self._held.setdefault(name, (until, text))
        return free

    def __contains__(self, name: str) -> bool:
        """Say whether somebody has."""
        return name in self._held

    def text(self, name: str) -> str:
        """Give what belongs to it; an empty text when nothing does, or a restart forgot it."""
        return self._held[name][1] if name in self._held else ""

    def free(self, name: str) -> None:
        """Give it back: nothing came of it."""
        self._held.pop(name, None)


class SignInPages:
    """`/confirm/…`, `/login` and the way back from the company's sign-in."""

    def __init__(self, desk: Desk, signin: SignIn, seal: Seal, public_url: str, clock: Clock, log: Log) -> None:
        """`public_url` is where people reach us; behind https every cookie is `Secure` and bound to this host."""
        self._desk, self._signin, self._seal, self._clock, self._log = desk, signin, seal, clock, log
        self._public = public_url.rstrip("/")
        parts = urlsplit(self._public)
        self._secure = parts.scheme == "https"
        self._paper = Paper(parts.path)
        self._once, self._typed = _Kept(), _Kept()

    def link(self, act: Press) -> str:
        """Give the address where this person, and nobody else, makes this one approval count. Ends after 5 minutes."""
        if act.action != "approve":
            raise ValueError("a link confirms an approval, nothing else")
        held = {
            "id": secrets.token_urlsafe(12), "for": act.action, "person": act.person, "incident": act.incident,
            "plan": act.plan, "card": str(act.card_version),
        }  # fmt: skip
        until = self._clock.now() + LINK_FOR
        self._typed.take(held["id"], until, self._clock.now(), act.reason)
        return f"{self._public}/confirm/{self._seal.close('link', held, until)}"

    def routes(self) -> list[web.AbstractRouteDef]:
        """Give every route of these pages."""
        return [
            web.get("/confirm/{token}", self._page(self._confirm)),
            web.post("/confirm/{token}", self._page(self._vote)),
            web.get(f"/{LOGIN}", self._page(self._login)),
            web.post(f"/{LOGIN}", self._page(self._look_up)),
            web.post(f"/{LOGIN}/terminal", self._page(self._let_in)),
            web.get(CALLBACK, self._page(self._back)),
            web.get("/pages/{name}", self._paper.file),
        ]

    def _page(
        self, handler: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Turn what goes wrong into a calm page with what, where and how to mend it."""

        async def answer(request: web.Request) -> web.Response:
            try:
                return await handler(request)
            except _Halt as error:
                return self._word(error.word, str(error), error.mend, error.status, error.again)
            except NotProven as error:
                self._log.warning("signin.refused", reason=str(error))
                return self._word("Not signed in", str(error), error.mend, 403)
            except LastgoodError as error:
                self._log.warning("signin.unavailable", error=type(error).__name__)
                return self._word("Stuck", str(error), "Open the link again in a minute.", 503)

        return answer

    # ── approve ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _confirm(self, request: web.Request) -> web.Response:
        link = self._link(request)
        try:
            who = self._who(request, link.id)
        except Denied:
            return await self._to_provider(link.token)
        return await self._approval(link, who)

    async def _approval(self, link: _Link, who: _Who) -> web.Response:
        shown = await self._desk.shown(link.incident)
        short = words.short(link.incident)
        if shown is None or not shown.waiting:
            raise _Halt("Over", f"Incident {short} waits for no approval now.", "The card shows what it does.", 409)
        if shown.plan != link.plan:
            message = f"The card you pressed showed plan {link.plan}; incident {short} now has plan {shown.plan}."
            raise _Halt("Stale", message, f"Read the card, then decide. {_AGAIN}", 409)
        facts = {
            "shown": shown, "wrong": self._said(shown.wrong), "why": self._said(shown.why), "short": short,
            "needs": [Need(one.filled, self._said(one.text)) for one in shown.needs],
            **self._form(f"/confirm/{link.token}", who), "until": f"{link.until:%H:%M} UTC",
            "reason": self._typed.text(link.id),
        }  # fmt: skip
        return self._paper.show("confirm.html", facts)

    async def _vote(self, request: web.Request) -> web.Response:
        link = self._link(request)
        who = self._who(request, link.id)
        form = await self._sent(request, who)
        if not self._once.take(link.id, link.until, self._clock.now()):
            raise _used()
        act = Press(
            person=who.person, action="approve", incident=link.incident, plan=link.plan, card_version=link.card_version,
            via="signin", reason=words.clean(form.get("reason", ""))[:LONGEST], request={"step_up": "proven", **who.proof},
        )  # fmt: skip
        try:
            answer = await self._desk.press(act)
        except LastgoodError:
            self._once.free(link.id)
            raise
        if not answer.ok:  # a refusal is no vote: the link stays until it ends
            self._once.free(link.id)
        return self._outcome(answer, "Approved", link.id)

    def _link(self, request: web.Request) -> _Link:
        link = self._opened(request.match_info["token"])
        if link.id in self._once:
            raise _used()
        return link

    def _opened(self, token: str) -> _Link:
        try:
            held, until = self._seal.open("link", token, self._clock.now())
        except Expired as error:
            raise _Halt("Expired", f"{error} It held for {words.span(LINK_FOR)}.", _AGAIN, 410) from error
        except Forged as error:
            self._log.warning("signin.forged")
            raise _Halt("Refused", str(error), _AGAIN, 404) from error
        return _Link(token, held["id"], held["person"], held["incident"], held["plan"], int(held["card"]), until)

    # ── a terminal ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _login(self, request: web.Request) -> web.Response:
        try:
            who = self._who(request, LOGIN)
        except Denied:
            return await self._to_provider(LOGIN)
        return self._paper.show("code.html", {**self._form(f"/{LOGIN}", who), "fault": ""})

    async def _look_up(self, request: web.Request) -> web.Response:
        who = self._who(request, LOGIN)
        code = words.clean((await self._sent(request, who)).get("code", "")).upper()
        found = await self._desk.terminal(code)
        if found is None:
            fault = (
                "No terminal waits with this code. Look at the terminal again, or start `lastgood login` there anew."
            )
            return self._paper.show("code.html", {**self._form(f"/{LOGIN}", who), "fault": fault}, 404)
        facts = {
            **self._form(f"/{LOGIN}/terminal", who), "code": code, "host": words.plain(found.host, 80),
            "span": words.span(self._desk.login_for), "until": f"{found.until:%H:%M} UTC",
        }  # fmt: skip
        return self._paper.show("terminal.html", facts)

    async def _let_in(self, request: web.Request) -> web.Response:
        who = self._who(request, LOGIN)
        code = words.clean((await self._sent(request, who)).get("code", ""))
        request_facts = {"step_up": "proven", **who.proof}
        answer = await self._desk.order(Order(who.person, "login", {"code": code}, via="signin", request=request_facts))
        return self._outcome(answer, "Let in", LOGIN)

    # ── there and back ────────────────────────────────────────────────────────────────────────────────────────────

    async def _to_provider(self, goal: str) -> web.Response:
        """Send the browser to sign in, with a cookie that binds what comes back to it. `goal` is a link or LOGIN."""
        state, began = secrets.token_urlsafe(18), self._clock.now()
        where = await self._signin.address(state, self._seal.derive("nonce", state), self._seal.derive("pkce", state))
        held = {"state": state, "goal": goal, "began": began.isoformat()}
        response = self._paper.go(where)
        self._set(response, f"flow-{state}", self._seal.close("flow", held, began + SIGN_IN_FOR), SIGN_IN_FOR)
        return response

    async def _back(self, request: web.Request) -> web.Response:
        state, now = request.query.get("state", ""), self._clock.now()
        held, until = self._flow(request, state)
        if not self._once.take(state, until, now):
            raise NotProven("This answer of the company's sign-in was used.")
        if not self._signin.answered_by(request.query.get("iss")):
            raise NotProven("The answer comes from another provider than ours.")
        if said := request.query.get("error"):
            raise NotProven(f'{self._signin.host} says: "{words.plain(said, 60)}".')
        nonce = self._seal.derive("nonce", state)
        found = await self._signin.redeem(
            request.query.get("code", ""),
            nonce,
            self._seal.derive("pkce", state),
            datetime.fromisoformat(held["began"]),
        )
        person = await self._person(found)
        return self._signed_in(held["goal"], person, found, nonce, f"flow-{state}")

    def _flow(self, request: web.Request, state: str) -> tuple[dict[str, str], datetime]:
        try:
            held, until = self._seal.open(
                "flow", request.cookies.get(self._named(f"flow-{state}"), ""), self._clock.now()
            )
        except (Forged, Expired) as error:
            message = f"This browser did not begin this sign-in, or it took longer than {words.span(SIGN_IN_FOR)}."
            raise NotProven(message) from error
        if held["state"] != state:
            raise NotProven("This browser did not begin this sign-in.")
        return held, until

    async def _person(self, found: Identity) -> str:
        """Give the one account with this address; nobody when there are two, since either could be meant."""
        people = list(dict.fromkeys(await self._desk.people(found.email)))
        if len(people) == 1:
            return people[0]
        several = f"{len(people)} accounts in Slack have your e-mail address, so I cannot tell which one you are."
        none = "No account in Slack has the e-mail address of your sign-in."
        raise NotProven(several if people else none, "An administrator of the workspace can mend the address.")

    def _signed_in(self, goal: str, person: str, found: Identity, nonce: str, flow: str) -> web.Response:
        now = self._clock.now()
        purpose, until = LOGIN, now + SIGN_IN_FOR
        if goal != LOGIN:
            link = self._opened(goal)
            purpose, until = link.id, link.until
            if link.person != person:
                raise self._another(link.person, person, goal)
        self._log.info("signin.proved", person=person)
        held = {
            "for": purpose, "person": person, "issuer": found.issuer, "subject": found.subject,
            "auth_time": str(found.auth_time), "nonce": nonce,
        }  # fmt: skip
        response = self._paper.go(f"{self._public}/{LOGIN if goal == LOGIN else f'confirm/{goal}'}")
        self._set(response, f"who-{purpose}", self._seal.close("who", held, until), until - now)
        self._drop(response, flow)
        return response

    def _another(self, wanted: str, person: str, goal: str) -> _Halt:
        self._log.warning("signin.another_person", link_for=wanted, person=person)
        message = f"This link is for {self._name(wanted)}; you signed in as {self._name(person)}."
        mend = f"{self._name(wanted)} can open it, and you can press Approve on the card yourself."
        return _Halt("Refused", message, mend, 403, again=f"/confirm/{goal}")

    def _who(self, request: web.Request, purpose: str) -> _Who:
        """Give who signed in for this purpose at this browser. Raises Denied when nobody did, or not lately."""
        cookie = request.cookies.get(self._named(f"who-{purpose}"), "")
        try:
            held, _ = self._seal.open("who", cookie, self._clock.now())
        except (Forged, Expired) as error:
            raise NotProven("You are not signed in here, or no longer.") from error
        if held["for"] != purpose:
            raise NotProven("You signed in for another link.")
        proof = {name: held[name] for name in ("issuer", "subject", "auth_time", "nonce")}
        return _Who(held["person"], proof, cookie)

    async def _sent(self, request: web.Request, who: _Who) -> dict[str, str]:
        """Give the form's fields. Raises NotProven when it is not the form this browser was shown."""
        try:
            form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        except (ValueError, LookupError) as error:  # bytes or a character set nobody can read
            raise NotProven("This form is not one I made.") from error
        # `Origin` says nothing here: with `no-referrer` a browser sends it as `null`.
        elsewhere = request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin"
        if elsewhere or not self._seal.fits("form", who.cookie, form.get("proof", "")):
            raise NotProven("This form is not one I made.")
        return form

    def _form(self, action: str, who: _Who) -> dict[str, Any]:
        at = datetime.fromtimestamp(int(who.proof["auth_time"]), self._clock.now().tzinfo)
        you = f"{self._name(who.person)}, signed in at {self._signin.host} at {at:%H:%M} UTC"
        return {"action": action, "proof": self._seal.derive("form", who.cookie), "you": you}

    # ── small things ──────────────────────────────────────────────────────────────────────────────────────────────

    def _outcome(self, answer: Answer, done: str, purpose: str) -> web.Response:
        facts = {"word": done if answer.ok else "Refused", "ok": answer.ok, "text": self._said(answer.text)}
        response = self._paper.show("outcome.html", facts, 200 if answer.ok else 403)
        if answer.ok:
            self._drop(response, f"who-{purpose}")
        return response

    def _word(self, word: str, what: str, mend: str, status: int, again: str = "") -> web.Response:
        what = self._said(what).removesuffix("Nothing was changed.").strip()
        return self._paper.show("word.html", {"word": word, "what": what, "mend": mend, "again": again}, status)

    def _said(self, text: str) -> str:
        return words.put(text, self._name)

    def _name(self, person: str) -> str:
        return words.plain(self._desk.name(person), 80)

    def _named(self, name: str) -> str:
        """Give a cookie's name; with `__Host-` no neighbouring host can plant one (RFC 6265bis, section 4.1.3)."""
        return f"{'__Host-' if self._secure else ''}lastgood-{name}"

    def _set(self, response: web.Response, name: str, value: str, keep: timedelta) -> None:
        # Lax, not Strict: the browser comes back from the provider by a link from another site.
        response.set_cookie(
            self._named(name), value, max_age=max(1, int(keep.total_seconds())), path="/", secure=self._secure,
            httponly=True, samesite="Lax",
        )  # fmt: skip

    def _drop(self, response: web.Response, name: str) -> None:
        response.del_cookie(self._named(name), path="/", secure=self._secure, httponly=True, samesite="Lax")


def _used() -> _Halt:
    return _Halt("Used", "This link was used; one link counts once.", "The card shows what came of it.", 410)
