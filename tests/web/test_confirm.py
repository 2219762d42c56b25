"""From a link to a vote: only the person of the link, only after a sign-in that holds, only once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from bot.clock import ManualClock
from bot.domain.press import Answer, Press
from bot.domain.words import NBSP
from bot.errors import ReadOnly, Unavailable
from tests.web.door import INCIDENT, PRESS, SHOWN, Browser, Door, browser, free_port
from tests.web.provider import CLIENT, Provider, published

UNCHANGED = "Nothing was changed."


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


async def begun(person: Browser, door: Door) -> str:
    """Begin a sign-in and give the address the provider sends the browser back to."""
    there = await person.go(link(door), allow_redirects=False)
    return str((await person.go(there.headers["Location"], allow_redirects=False)).headers["Location"])


# ── the straight way ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_link_a_sign_in_and_a_button_are_one_vote(door: Door, priya: Browser, provider: Provider) -> None:
    page = await priya.go(link(door))
    assert page.status == 200
    for said in (
        f"Waiting for you{NBSP}· fraud-scorer", "42 → 41", "12.4 % of requests fail on 42.", "tier 1 in prod needs",
        "on-call SRE: Ana Ruiz approved 03:13 UTC", "model-owner: open", "7f3a9c2e", "prod",
        "Priya Shah, signed in at 127.0.0.1", "Approve 42 → 41", "ends at 02:17 UTC",
    ):  # fmt: skip
        assert said in page.said
    assert door.pressed == []
    done = await priya.send(page)
    assert (done.status, done.said) == (
        200,
        "Approved You approved 42 → 41 as model-owner, 2 of 2. You can close this page.",
    )
    (act,) = door.pressed
    nonce = provider.authorized[0]["nonce"]
    assert act == Press(
        person="U0PRIYA", action="approve", incident=INCIDENT, plan="7f3a9c2e", card_version=4, via="signin",
        request={
            "step_up": "proven", "issuer": provider.issuer, "subject": "sub-priya",
            "auth_time": str(int(door.clock.now().timestamp())), "nonce": nonce,
        },
    )  # fmt: skip


async def test_the_provider_is_asked_for_a_fresh_sign_in_with_pkce(
    door: Door, priya: Browser, provider: Provider
) -> None:
    await priya.go(link(door))
    (asked,) = provider.authorized
    assert {name: asked[name] for name in ("response_type", "client_id", "scope", "prompt", "max_age")} == {
        "response_type": "code", "client_id": CLIENT, "scope": "openid email", "prompt": "login", "max_age": "0",
    }  # fmt: skip
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{door.url}/signin/callback"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_three_algorithms_prove_a_person(door: Door, priya: Browser, provider: Provider, algorithm: str) -> None:
    provider.algorithm = algorithm
    await priya.send(await priya.go(link(door)))
    assert len(door.pressed) == 1


async def test_a_provider_that_wants_its_secret_in_the_form_gets_it_there(
    door: Door, priya: Browser, provider: Provider
) -> None:
    provider.discovery["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    assert "Approve 42 → 41" in (await priya.go(link(door))).said


# ── every lie of a provider ───────────────────────────────────────────────────────────────────────────────────────

Lie = tuple[Callable[[Provider, int], Any], str]


def says(**claims: Any) -> Callable[[Provider, int], Any]:
    """Put claims into the token; a callable is given the time."""
    return lambda one, now: one.claims.update({n: v(now) if callable(v) else v for n, v in claims.items()})


def lies(name: str) -> Callable[[Provider, int], Any]:
    return lambda one, _: setattr(one, "lie", name)


def describes(**document: Any) -> Callable[[Provider, int], Any]:
    return lambda one, _: one.discovery.update(document)


def publishes(*keys: dict[str, Any]) -> Callable[[Provider, int], Any]:
    return lambda one, _: setattr(one, "keys", list(keys))


OLDER = "The provider let you in by an older sign-in; this needs a fresh one."
LIES: dict[str, Lie] = {
    "wrong nonce": (says(nonce="another"), "The ID token belongs to another sign-in."),
    "no nonce": (says(nonce=None), "The ID token belongs to another sign-in."),
    "a nonce that is no text": (says(nonce=7), "The ID token belongs to another sign-in."),
    "wrong aud": (says(aud="another"), "The ID token is for another application."),
    "no aud": (says(aud=None), "The ID token is for another application."),
    "aud of others": (says(aud=["a", "b"]), "The ID token is for another application."),
    "several aud and no azp": (says(aud=[CLIENT, "b"]), "The ID token was given to another application."),
    "another azp": (says(aud=[CLIENT, "b"], azp="b"), "The ID token was given to another application."),
    "another azp for one aud": (says(azp="b"), "The ID token was given to another application."),
    "wrong iss": (says(iss="https://evil.example.com"), "The ID token comes from another issuer than "),
    "iss with a slash more": (lambda p, _: p.claims.update(iss=p.issuer + "/"), "The ID token comes from another issuer"),
    "alg none": (lies("alg none"), "The ID token is signed with none; I take ES256, EdDSA or RS256."),
    "HS256 with the public key": (lies("HS256 with the public key"), "The ID token is signed with HS256; I take"),
    "another key under our name": (lies("another key under our name"), "The signature of the ID token does not hold."),
    "no signature": (lies("an unsigned end"), "The signature of the ID token does not hold."),
    "changed after signing": (lies("changed after signing"), "The signature of the ID token does not hold."),
    "no JWT": (lies("no JWT"), "The provider's answer holds no ID token I can read."),
    "expired": (says(exp=lambda now: now - 61), "The ID token is over."),
    "no exp": (says(exp=None), "The ID token is over."),
    "exp as text": (says(exp="2099"), "The ID token is over."),
    "exp true": (says(exp=True), "The ID token is over."),
    "made in the future": (says(iat=lambda now: now + 61), "The ID token was not made during this sign-in."),
    "made long ago": (says(iat=lambda now: now - 61), "The ID token was not made during this sign-in."),
    "no iat": (says(iat=None), "The ID token was not made during this sign-in."),
    "not yet": (says(nbf=lambda now: now + 120), "The ID token does not hold yet."),
    "nobody": (says(sub=""), "The ID token names nobody."),
    "unverified e-mail": (says(email_verified=False), "The provider does not vouch for your e-mail address"),
    "no word on the e-mail": (says(email_verified=None), "The provider does not vouch for your e-mail address"),
    "a word instead of true": (says(email_verified="true"), "The provider does not vouch for your e-mail address"),
    "no e-mail": (says(email=None), "The provider gives no e-mail address I can match."),
    "an e-mail that folds into another": (says(email="pr\u0131ya@example.com"), "The provider gives no e-mail address"),
    "a sign-in of this morning": (says(auth_time=lambda now: now - 7200), OLDER),
    "a sign-in before the link": (says(auth_time=lambda now: now - 61), OLDER),
    "a sign-in of tomorrow": (says(auth_time=lambda now: now + 86400), OLDER),
    "no word on when": (says(auth_time=None), "The provider does not say when you signed in (`auth_time`)"),
    "when as text": (says(auth_time="now"), "The provider does not say when you signed in (`auth_time`)"),
    "unknown kid": (publishes(published("RS256", "k2")), "The ID token is signed with a key that 127.0.0.1"),
    "no keys": (publishes(), "The ID token is signed with a key that 127.0.0.1"),
    "a key for secrets": (publishes({**published("RS256", "k1"), "use": "enc"}), "The ID token is signed with a key that"),
    "a key of another algorithm": (publishes({**published("ES256", "k1")}), "The ID token is signed with a key that"),
    "two keys of one name": (publishes(published("RS256", "k1"), published("RS256", "k1")), "The ID token is signed with"),
    "a broken key": (publishes({"kty": "RSA", "kid": "k1", "n": "!", "e": "AQAB"}), "The provider published a key I cannot"),
    "huge keys": (lies("huge keys"), f"answers more than 256{NBSP}KiB."),
    "keys elsewhere": (lies("keys elsewhere"), "points elsewhere with 302; I do not follow."),
    "keys are a page": (lies("keys are a page"), "answers something else than JSON."),
    "slow": (lies("slow"), f"did not answer within 0.3{NBSP}s."),
    "no token": (lies("no token"), "answers without an ID token."),
    "no such client": (lies("no such client"), "refuses the code: invalid_client."),
    "wrong state": (lies("wrong state"), "This browser did not begin this sign-in"),
    "another issuer answers": (lies("another issuer answers"), "The answer comes from another provider than ours."),
    "access denied": (lies("access denied"), 'says: "access_denied".'),
    "another name for itself": (describes(issuer="https://evil.example.com"), "calls itself https://evil.example.com, not"),
    "only secrets as signatures": (
        describes(id_token_signing_alg_values_supported=["HS256", "none"]), "The provider signs with no algorithm I take.",
    ),
    "keys over plain http": (describes(jwks_uri="http://evil.example.com/keys"), "names no safe address as its `jwks_uri`."),
    "keys in a file": (describes(jwks_uri="file:///etc/passwd"), "names no safe address as its `jwks_uri`."),
    "keys at the metadata service": (describes(jwks_uri="http://169.254.169.254/"), "names no safe address as its `jwks_uri`."),
    "no token endpoint": (describes(token_endpoint=None), "names no safe address as its `token_endpoint`."),
    "a stranger": (lambda p, _: setattr(p, "email", "who@example.com"), "No account in Slack has the e-mail address"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_no_vote_and_has_its_sentence(provider: Provider, clock: ManualClock, lie: str) -> None:
    tell, sentence = LIES[lie]
    tell(provider, int(clock.now().timestamp()))
    within = 0.3 if lie == "slow" else 10.0
    async with Door(provider, clock, free_port(), within=within).open() as door, browser(door) as person:
        page = await person.go(link(door))
        assert page.status == 403
        assert sentence in page.said
        assert UNCHANGED in page.said
        assert page.proof == ""
        again = await person.go(link(door)) if lie != "slow" else page
        assert again.status == 403
        assert door.votes == 0
        assert provider.elsewhere == 0
        assert provider.email not in "\n".join(door.log.lines)


async def test_what_is_only_a_minute_off_is_taken(door: Door, priya: Browser, provider: Provider) -> None:
    now = int(door.clock.now().timestamp())
    provider.claims = {"iat": now + 59, "exp": now - 59, "auth_time": now - 59, "nbf": now + 59, "aud": [CLIENT]}
    assert "Approve 42 → 41" in (await priya.go(link(door))).said


async def test_a_client_without_its_secret_proves_nobody(provider: Provider, clock: ManualClock) -> None:
    async with Door(provider, clock, free_port(), secret=None).open() as door, browser(door) as person:
        page = await person.go(link(door))
        assert "The secret of this client is not set. Nothing was changed." in page.said
        assert "token" not in provider.asked


async def test_a_provider_that_is_away_is_named_and_tried_again(provider: Provider, clock: ManualClock) -> None:
    dead = Provider(clock, free_port())
    async with Door(dead, clock, free_port()).open() as door, browser(door) as person:
        page = await person.go(link(door))
        assert f"127.0.0.1:{dead.port} does not answer. Nothing was changed." in page.said
        async with dead.serving():
            assert "Approve 42 → 41" in (await person.go(link(door))).said


async def test_a_rotated_key_is_fetched_once_and_then_kept(door: Door, priya: Browser, provider: Provider) -> None:
    await priya.go(link(door))
    await priya.go(link(door))
    assert provider.asked.count("keys") == provider.asked.count("discovery") == 1
    provider.kid = "k2"
    assert "Approve 42 → 41" in (await priya.go(link(door))).said
    await priya.go(link(door))
    assert provider.asked.count("keys") == 2


async def test_a_key_that_was_withdrawn_is_believed_for_an_hour_at_most(
    door: Door, priya: Browser, provider: Provider
) -> None:
    await priya.go(link(door))
    provider.keys = []
    door.clock.advance(3601)
    assert "signed with a key that" in (await priya.go(link(door))).said


async def test_rt13_only_the_issuers_own_endpoints_are_ever_asked(
    door: Door, priya: Browser, provider: Provider
) -> None:
    await priya.go(f"{link(door)}?jwks_uri={door.provider.issuer}&iss=https://evil.example.com")
    assert provider.asked == ["discovery", "token", "keys"]
    page = await priya.go("/signin/callback?code=x&state=y&iss=http://169.254.169.254/")
    assert "This browser did not begin this sign-in" in page.said
    assert provider.asked == ["discovery", "token", "keys"]


# ── another person, another browser ───────────────────────────────────────────────────────────────────────────────


async def test_rt4_whoever_gets_a_link_that_is_not_theirs_can_do_nothing_with_it(
    door: Door, priya: Browser, provider: Provider
) -> None:
    provider.email, provider.subject = "ana@example.com", "sub-ana"
    page = await priya.go(link(door))
    assert page.status == 403
    assert "This link is for Priya Shah; you signed in as Ana Ruiz. Nothing was changed." in page.said
    assert "12.4 %" not in page.text
    assert (page.proof, door.votes) == ("", 0)
    provider.email, provider.subject = "Priya@Example.com", "sub-priya"  # "Sign in as somebody else"
    again = await priya.go(page.text.partition('class="button" href="')[2].partition('"')[0])
    assert "Approve 42 → 41" in again.said


async def test_rt11_two_accounts_with_one_address_are_nobody(door: Door, priya: Browser, provider: Provider) -> None:
    provider.email = "two@example.com"
    page = await priya.go(link(door))
    assert "2 accounts in Slack have your e-mail address, so I cannot tell which one you are." in page.said
    assert door.votes == 0


async def test_a_directory_that_does_not_answer_proves_nobody(provider: Provider, clock: ManualClock) -> None:
    class Away(Door):
        async def _people(self, address: str) -> Any:
            raise Unavailable("Slack did not answer, so I cannot confirm this account.")

    async with Away(provider, clock, free_port()).open() as door, browser(door) as person:
        page = await person.go(link(door))
        assert (page.status, door.votes) == (503, 0)
        assert "Slack did not answer, so I cannot confirm this account. Nothing was changed." in page.said


async def test_an_answer_begun_in_another_browser_is_nobodys(door: Door, priya: Browser, provider: Provider) -> None:
    """Else somebody could sign a victim's browser in as somebody else."""
    back = await begun(priya, door)
    async with browser(door) as victim:
        page = await victim.go(back)
        assert page.status == 403
        assert "This browser did not begin this sign-in" in page.said
    assert "token" not in provider.asked


async def test_an_answer_counts_once_even_when_the_provider_takes_its_code_again(
    door: Door, priya: Browser, provider: Provider
) -> None:
    provider.lie = "codes last"
    back = await begun(priya, door)
    (flow,) = priya.session.cookie_jar
    assert "Approve 42 → 41" in (await priya.go(back)).said
    assert (await priya.go(back)).status == 403
    priya.session.cookie_jar.update_cookies({flow.key: flow.value})  # what a browser forgets, its owner may keep
    assert "This answer of the company's sign-in was used. Nothing was changed." in (await priya.go(back)).said
    assert provider.asked.count("token") == 1


async def test_the_cookie_of_one_sign_in_is_none_of_another(door: Door, priya: Browser, provider: Provider) -> None:
    await begun(priya, door)
    (first,) = priya.session.cookie_jar
    back = await begun(priya, door)
    second = back.partition("state=")[2].partition("&")[0]
    async with browser(door) as other:
        page = await other.go(back, headers={"Cookie": f"lastgood-flow-{second}={first.value}"})
    assert "This browser did not begin this sign-in. Nothing was changed." in page.said
    assert "token" not in provider.asked


async def test_a_code_of_another_sign_in_is_refused(door: Door, priya: Browser, provider: Provider) -> None:
    """PKCE: a stolen code is worth nothing with another verifier."""
    async with browser(door) as thief:
        code = (await begun(priya, door)).partition("code=")[2].partition("&")[0]
        state = (await begun(thief, door)).partition("state=")[2].partition("&")[0]
        page = await thief.go(f"/signin/callback?code={code}&state={state}")
    assert "refuses the code: invalid_grant." in page.said


async def test_a_sign_in_that_took_too_long_is_over(door: Door, priya: Browser, provider: Provider) -> None:
    back = await begun(priya, door)
    door.clock.advance(601)
    assert f"took longer than 10{NBSP}min" in (await priya.go(back)).said


# ── the link ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_used_link_says_so_and_presses_nothing(door: Door, priya: Browser) -> None:
    where = link(door)
    page = await priya.go(where)
    await priya.send(page)
    for again in (await priya.send(page), await priya.go(where)):
        assert again.status == 410
        assert (
            again.said
            == "Used This link was used; one link counts once. Nothing was changed. The card shows what came of it."
        )
    assert len(door.pressed) == 1


async def test_two_presses_at_once_are_one_vote(door: Door, priya: Browser) -> None:
    held = asyncio.Event()

    async def slowly() -> Answer:
        await held.wait()
        return Answer(ok=True, text="You approved.")

    door.answer = slowly
    page = await priya.go(link(door))
    first = asyncio.ensure_future(priya.send(page))
    while not door.pressed:
        await asyncio.sleep(0.01)
    assert (await priya.send(page)).status == 410
    held.set()
    assert (await first).status == 200
    assert len(door.pressed) == 1


async def test_a_link_ends_after_five_minutes(door: Door, priya: Browser) -> None:
    where = link(door)
    page = await priya.go(where)
    door.clock.advance(299)
    assert (await priya.go(where)).status == 200
    door.clock.advance(1)
    for late in (await priya.go(where), await priya.send(page)):
        assert late.status == 410
        assert "This link ended at 02:17 UTC." in late.said
    assert door.votes == 0


async def test_a_forged_link_gets_a_calm_page_and_asks_nobody(door: Door, priya: Browser, provider: Provider) -> None:
    where = link(door)
    token = where.rpartition("/")[2]
    body, _, proof = token.rpartition(".")
    other = link(door, person="U0GIL").rpartition("/")[2].rpartition(".")[0]
    for forged in (
        f"{other}.{proof}",
        f"{body}.",
        body,
        "x",
        f"{body}.{proof}=",
        f"{body}.{proof[:-1]}",
        "é.ü",
        "." * 5000,
    ):
        page = await priya.go(f"/confirm/{forged}")
        assert page.status == 404
        assert "This link is not one I made. Nothing was changed." in page.said
    assert provider.asked == []


async def test_a_link_made_before_a_restart_still_holds_and_a_link_is_never_for_another_act(
    provider: Provider, clock: ManualClock
) -> None:
    port = free_port()
    async with Door(provider, clock, port).open() as door:
        where = link(door)
        with pytest.raises(ValueError, match="nothing else"):
            link(door, action="break_glass")
    async with Door(provider, clock, port).open() as door, browser(door) as person:
        await person.send(await person.go(where))
        assert len(door.pressed) == 1


async def test_a_card_that_has_a_new_plan_is_named_and_shows_no_button(door: Door, priya: Browser) -> None:
    where = link(door)
    door.shown = replace(SHOWN, plan="91c07b44")
    page = await priya.go(where)
    assert page.status == 409
    assert (
        "The card you pressed showed plan 7f3a9c2e; incident Q4RD0 now has plan 91c07b44.".replace(
            "7Q4RD", INCIDENT[-5:]
        )
        in page.said
    )
    assert page.proof == ""


@pytest.mark.parametrize("shown", [None, replace(SHOWN, waiting=False)])
async def test_what_waits_no_more_shows_no_button(door: Door, priya: Browser, shown: Any) -> None:
    door.shown = shown
    page = await priya.go(link(door))
    assert (page.status, page.proof) == (409, "")
    assert "waits for no approval now. Nothing was changed." in page.said


async def test_a_refusal_is_shown_and_the_link_stays(door: Door, priya: Browser) -> None:
    door.answer = Answer(
        ok=False, text="PagerDuty did not answer. That counts as no. <@U0ANA> can. Nothing was changed."
    )
    page = await priya.go(link(door))
    told = await priya.send(page)
    assert told.status == 403
    assert "Refused PagerDuty did not answer. That counts as no. Ana Ruiz can. Nothing was changed." in told.said
    door.answer = Answer(ok=True, text="You approved.")
    assert (await priya.send(page)).status == 200


async def test_a_timeline_that_cannot_be_written_says_so_and_the_link_stays(door: Door, priya: Browser) -> None:
    async def full() -> Answer:
        raise ReadOnly("The timeline cannot be written (disk full). No record, no rollback. Nothing was changed.")

    door.answer = full
    page = await priya.go(link(door))
    told = await priya.send(page)
    assert told.status == 503
    assert told.said.startswith(
        "Stuck The timeline cannot be written (disk full). No record, no rollback. Nothing was changed."
    )
    assert told.said.count(UNCHANGED) == 1
    door.answer = Answer(ok=True, text="You approved.")
    assert (await priya.send(page)).status == 200


async def test_what_was_checked_is_asked_where_the_rule_asks(door: Door, priya: Browser) -> None:
    door.shown = replace(SHOWN, ask_reason=True)
    page = await priya.go(link(door))
    assert "What did you check?" in page.said
    await priya.send(page, reason="  the feed\u202e is\n fine ")
    assert door.pressed[0].reason == "the feed is fine"


async def test_what_was_typed_before_the_link_need_not_be_typed_again(door: Door, priya: Browser) -> None:
    door.shown = replace(SHOWN, ask_reason=True)
    page = await priya.go(link(door, reason="the feed </textarea> is fine"))
    assert ">the feed &lt;/textarea&gt; is fine</textarea>" in page.text
    assert "the feed" not in page.url


# ── the form ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_form_of_another_site_is_refused(door: Door, priya: Browser) -> None:
    page = await priya.go(link(door))
    other = await priya.go(link(door))
    for told in (
        await priya.send(page, proof=""),
        await priya.send(page, proof=other.proof),
        await priya.send(page, proof="é"),
        await priya.send(page, {"Sec-Fetch-Site": "cross-site"}),
        await priya.send(page, {"Sec-Fetch-Site": "same-site"}),
        await priya.send(page, {"Content-Type": "application/x-www-form-urlencoded; charset=nope"}),
    ):
        assert told.status == 403
        assert "This form is not one I made. Nothing was changed." in told.said
    async with browser(door) as stranger:
        told = await stranger.send(page)
        assert "You are not signed in here, or no longer. Nothing was changed." in told.said
    assert door.votes == 0


async def test_a_sign_in_for_one_link_is_none_for_another_or_for_a_terminal(door: Door, priya: Browser) -> None:
    first, second = link(door), link(door)
    await priya.go(first)
    (cookie,) = [one for one in priya.session.cookie_jar if "who" in one.key]
    async with browser(door) as thief:
        door_page = await thief.go(second, allow_redirects=False)
        assert door_page.status == 303
        name = "lastgood-who-login"
        thief.session.cookie_jar.update_cookies({name: cookie.value})
        assert (await thief.go("/login", allow_redirects=False)).status == 303


async def test_behind_https_every_cookie_is_bound_to_this_host(provider: Provider, clock: ManualClock) -> None:
    async with Door(provider, clock, free_port(), scheme="https").open() as door, browser(door) as person:
        where = link(door)
        assert where.startswith("https://")
        answer = await person.go(where.replace("https", "http"), allow_redirects=False)
        cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-lastgood-flow-")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))


async def test_no_page_may_be_framed_kept_or_told_of_elsewhere(door: Door, priya: Browser) -> None:
    page = await priya.go(link(door))
    redirect = await priya.go(link(door), allow_redirects=False)
    for answer in (page, redirect, await priya.go("/confirm/x"), await priya.go("/pages/page.css")):
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self';")
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert (answer.headers["Cache-Control"], answer.headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert "<script" not in page.text
    assert "style=" not in page.text


async def test_only_the_files_of_the_pages_are_given(door: Door, priya: Browser) -> None:
    assert (await priya.go("/pages/page.css")).headers["Content-Type"].startswith("text/css")
    assert (await priya.go("/pages/mark.svg")).headers["Content-Type"].startswith("image/svg+xml")
    for name in ("base.html", "..%2fserver.py", "%2e%2e%2fserver.py", "nothing"):
        assert (await priya.go(f"/pages/{name}")).status == 404


async def test_rt16_what_comes_from_outside_is_text_on_the_page(door: Door, priya: Browser) -> None:
    evil = '"><script>alert(1)</script><a href="https://evil.example.com">Approve</a>'
    door.shown = replace(SHOWN, model=evil, wrong=evil, why=f"{evil} <@U0{evil}>", from_version=evil)
    page = await priya.go(link(door))
    assert page.status == 200
    assert "<script" not in page.text
    assert 'href="https://evil' not in page.text
    assert "&lt;script&gt;" in page.text


async def test_nothing_secret_is_in_a_log_or_a_repr(door: Door, priya: Browser, provider: Provider) -> None:
    await priya.send(await priya.go(link(door)))
    await priya.go("/confirm/x")
    shown = "\n".join(door.log.lines) + repr((door.pages._seal, door.pages._signin.__dict__))
    for secret in ("s3cret", "priya@example.com", provider.authorized[0]["code_challenge"], KEY_HEX):
        assert secret not in shown


KEY_HEX = bytes(range(32)).hex()


# ── a terminal ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_terminal_is_let_in_by_its_code_after_a_sign_in(door: Door, priya: Browser, provider: Provider) -> None:
    door.waits("WXYZ-2345")
    form = await priya.go("/login")
    assert "Code the terminal shows" in form.said
    asked = await priya.send(form, code=" wxyz-2345 ")
    assert f"Let the terminal on ana@host act as you for 12{NBSP}h?" in asked.said
    assert door.ordered == []
    done = await priya.send(asked, code="WXYZ-2345")
    assert done.said.startswith("Let in The terminal on ana@host acts as you until 15:12 UTC.")
    (order,) = door.ordered
    assert (order.person, order.action, dict(order.asked), order.via) == (
        "U0PRIYA", "login", {"code": "WXYZ-2345"}, "signin",
    )  # fmt: skip
    assert order.request["subject"] == "sub-priya"
    assert "WXYZ-2345" not in "\n".join(door.log.lines)
    assert "WXYZ" not in "".join(page.url for page in (form, asked, done))


async def test_a_code_nobody_waits_with_lets_nobody_in(door: Door, priya: Browser) -> None:
    told = await priya.send(await priya.go("/login"), code="AAAA-AAAA")
    assert told.status == 404
    assert "No terminal waits with this code." in told.said
    assert told.proof != ""
    assert door.votes == 0


async def test_a_terminals_page_wants_the_form_it_showed(door: Door, priya: Browser) -> None:
    door.waits("WXYZ-2345")
    form = await priya.go("/login")
    assert (await priya.send(form, proof="x", code="WXYZ-2345")).status == 403
    async with browser(door) as stranger:
        assert (await stranger.send(form, code="WXYZ-2345")).status == 403
    assert door.votes == 0


async def test_a_lie_lets_no_terminal_in_either(door: Door, priya: Browser, provider: Provider) -> None:
    provider.claims["email_verified"] = False
    page = await priya.go("/login")
    assert (page.status, page.proof) == (403, "")
