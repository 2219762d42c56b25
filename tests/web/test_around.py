"""Ways around the sign-in pages and the API: each leaves no press, no order and no page about an incident."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from bot.clock import ManualClock
from bot.domain.press import Answer
from tests.web.door import INCIDENT, PRESS, Browser, Door, browser, free_port
from tests.web.provider import Provider

OTHER = "01KAQ3H2S0M4V8B6T9C17Q4RD1"


@pytest.fixture
async def provider(clock: ManualClock) -> AsyncIterator[Provider]:
    async with Provider(clock).serving() as one:
        yield one


@pytest.fixture
async def door(provider: Provider, clock: ManualClock) -> AsyncIterator[Door]:
    async with Door(provider, clock, free_port()).open() as one:
        yield one


@pytest.fixture
async def priya(door: Door) -> AsyncIterator[Browser]:
    async with browser(door) as one:
        yield one


def link(door: Door, **changes: Any) -> str:
    return door.pages.link(replace(PRESS, **changes))


@pytest.mark.parametrize(
    "fields",
    [
        {"person": "U0ANA"}, {"incident": OTHER}, {"plan": "00000000"}, {"via": "terminal"}, {"action": "break_glass"},
        {"typed": "fraud-scorer", "asked": "{}"}, {"step_up": "no", "issuer": "https://evil.example.com", "auth_time": "0"},
    ],
)  # fmt: skip
async def test_what_a_form_adds_is_not_read(door: Door, priya: Browser, fields: dict[str, str]) -> None:
    page = await priya.go(link(door))
    await priya.send(page, None, **fields)
    (act,) = door.pressed
    assert (act.person, act.action, act.incident, act.plan, act.via, act.asked) == (
        "U0PRIYA", "approve", INCIDENT, "7f3a9c2e", "signin", {},
    )  # fmt: skip
    assert set(act.request) == {"step_up", "issuer", "subject", "auth_time", "nonce"}
    assert act.request["issuer"] == door.provider.issuer


async def test_what_an_address_adds_is_not_read(door: Door, priya: Browser) -> None:
    adds = "person=U0ANA&plan=00000000&step_up=proven"
    page = await priya.go(f"{link(door)}?{adds}")
    async with priya.session.post(f"{door.url}{page.action}?{adds}", data={"proof": page.proof}) as answer:
        assert answer.status == 200
    assert [(act.person, act.plan) for act in door.pressed] == [("U0PRIYA", "7f3a9c2e")]


async def test_a_reason_as_long_as_a_book_is_cut_where_a_dialog_cuts_it(door: Door, priya: Browser) -> None:
    await priya.send(await priya.go(link(door)), reason="a" * 1_000_000)
    assert [len(act.reason) for act in door.pressed] == [1000]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_only_the_form_of_the_page_votes(door: Door, priya: Browser, method: str) -> None:
    page = await priya.go(link(door))
    async with priya.session.request(method, door.url + page.action, params={"proof": page.proof}) as answer:
        await answer.read()
    async with priya.session.request(method, f"{door.url}/login/terminal", params={"proof": page.proof}) as answer:
        await answer.read()
    assert door.votes == 0


@pytest.mark.parametrize("place", ["/confirm/{token}", "/login", "/login/terminal"])
@pytest.mark.parametrize("proof", ["", "AAAA", "\ud83d\ude00", "a" * 5000])
async def test_without_a_sign_in_no_form_counts(door: Door, place: str, proof: str) -> None:
    token = link(door).rpartition("/")[2]
    door.waits("ABCD-EFGH")
    async with aiohttp.ClientSession() as http:
        form = {"proof": proof.encode("utf-16", "surrogatepass").decode("utf-16"), "code": "ABCD-EFGH"}
        async with http.post(door.url + place.format(token=token), data=form) as answer:
            text = await answer.text()
    assert answer.status == 403
    assert "fraud-scorer" not in text
    assert door.votes == 0


@pytest.mark.parametrize("kind", ["link", "flow", "form", "nonce", "pkce"])
async def test_what_was_sealed_for_another_use_is_no_sign_in(door: Door, kind: str, clock: ManualClock) -> None:
    """Whoever sees every link and every cookie of others still cannot make one that says who they are."""
    seal, there = door.pages._seal, link(door)
    token = there.rpartition("/")[2]
    held, until = seal.open("link", token, clock.now())
    said = {"for": held["id"], "person": "U0PRIYA", "issuer": "i", "subject": "s", "auth_time": "1", "nonce": "n"}
    forged = seal.close(kind, said, until)
    jar = {f"lastgood-who-{held['id']}": forged, f"__Host-lastgood-who-{held['id']}": forged}
    async with aiohttp.ClientSession(cookies=jar, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        async with http.get(there, allow_redirects=False) as answer:
            assert answer.status == 303  # to sign in
        async with http.post(there, data={"proof": seal.derive("form", forged)}) as answer:
            assert answer.status == 403
    assert door.votes == 0


async def test_a_cookie_carried_to_another_browser_needs_the_form_of_that_browser(door: Door, priya: Browser) -> None:
    """The form's proof is made from the cookie: a page somebody else was shown proves nothing with it."""
    page = await priya.go(link(door))
    async with browser(door) as thief:
        stolen = await thief.go(page.url, allow_redirects=False)
        assert stolen.status == 303
        assert (await thief.send(page)).status == 403
    assert door.votes == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
        {"Content-Type": "text/plain"}, {"Content-Type": "application/json"},
    ],
)  # fmt: skip
async def test_a_form_sent_from_elsewhere_is_refused(door: Door, priya: Browser, headers: dict[str, str]) -> None:
    page = await priya.go(link(door))
    body = f"proof={page.proof}".encode()
    typed = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    async with priya.session.post(door.url + page.action, data=body, headers=typed) as answer:
        assert answer.status == 403
    assert door.votes == 0


async def test_a_link_of_another_person_sends_nobody_on_with_their_own_sign_in(door: Door, provider: Provider) -> None:
    provider.email = "ana@example.com"
    async with browser(door) as ana:
        refused = await ana.go(link(door))
        assert refused.status == 403
        assert "This link is for Priya Shah; you signed in as Ana Ruiz." in refused.said
        assert "42 → 41" not in refused.said
        token = link(door).rpartition("/")[2]
        async with ana.session.post(f"{door.url}/confirm/{token}", data={"proof": "x"}) as answer:
            assert answer.status == 403
    assert door.votes == 0


async def test_the_answer_of_a_sign_in_planted_in_another_browser_signs_nobody_in(door: Door, priya: Browser) -> None:
    """Login forgery: whoever begins a sign-in of their own cannot finish it in somebody else's browser."""
    began = await priya.go("/login", allow_redirects=False)
    back = (await priya.go(began.headers["Location"], allow_redirects=False)).headers["Location"]
    assert parse_qs(urlsplit(back).query)["code"]
    async with browser(door) as victim:
        planted = await victim.go(back)
        assert planted.status == 403
        assert not [cookie for cookie in victim.session.cookie_jar if "who-" in cookie.key]
    assert door.votes == 0


async def test_a_refused_vote_of_a_voided_plan_leaves_no_vote_behind_the_link(door: Door, priya: Browser) -> None:
    page = await priya.go(link(door))
    door.answer = Answer(ok=False, text="The card showed plan 7f3a9c2e; read the new one. Nothing was changed.")
    assert (await priya.send(page)).status == 403
    door.shown = replace(door.shown, plan="91c07b44") if door.shown else None
    again = await priya.go(page.url)
    assert (again.status, again.proof) == (409, "")
    assert "91c07b44" in again.said
