"""Ways around an approval, tried on a whole running site: each ends with no vote, no order and no traffic moved that people did not allow."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot import acting, signed_in
from bot.app import create
from bot.clock import ManualClock, SystemClock
from bot.config import Config, Settings, load
from bot.demo import slack_payloads
from bot.demo.slack import CHANNEL, Reply
from bot.domain import entries as e
from bot.domain import proof
from bot.domain.incident import Incident, Phase
from bot.domain.orders import LENT, LOGINS, SWITCH
from bot.domain.press import Order, Press
from bot.errors import Denied
from bot.flow.world import POLICY
from bot.ports import Append, Work, Write
from bot.web.sealed import Seal
from tests.adapters.paging.fake_pagerduty import SENDER, FakePagerDuty
from tests.adapters.paging.fake_pagerduty import TOKEN as PAGER_TOKEN
from tests.story.site import Site, site
from tests.story.site import settings as settings_of
from tests.web.door import free_port
from tests.web.provider import CLIENT, SECRET, Provider

pytestmark = pytest.mark.story
API_TOKEN = "api-token-of-a-robot"
RULE = "mode: approve, require"
SURE = (e.ApprovalGiven, e.GlassBroken, e.PlanCleared, e.RollbackClaimed, e.StepStarted)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, environ={"LASTGOOD_API_TOKEN": API_TOKEN}) as made:
        made.slack.add_stranger("U0EVA", "Eva", "T0EVIL")
        await made.alert()
        await made.card_shows("Waiting")
        yield made


async def waiting(here: Site) -> Incident:
    return await here.until(Phase.WAITING)


async def entries(here: Site) -> list[e.Entry]:
    found = await here.incident()
    assert found is not None
    return [row.entry for row in await here.app.store.read(found.stream)]


async def unmoved(here: Site) -> None:
    """Nobody voted, nothing was ordered, nothing moved."""
    assert [one for one in await entries(here) if isinstance(one, SURE)] == []
    assert here.effects() == []
    for stream in (SWITCH, LENT, LOGINS):
        assert await here.app.store.read(stream) == []


def approval(incident: Incident) -> str:
    """What is typed to approve the plan that waits."""
    assert incident.plan is not None
    return f"approve {incident.short} {incident.plan.short}"


async def posted(here: Site, payload: Mapping[str, Any]) -> Reply:
    body = urlencode({"payload": json.dumps(payload)}).encode()
    return await here.slack.post(body, here.slack.signed(body))


# ── /rollback ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("channel", [CHANNEL, "D0GIL", "C0ELSEWHERE", ""])
@pytest.mark.parametrize(
    ("user", "team", "said"),
    [
        ("U0GIL", None, "Guests cannot approve."),
        ("U0EVA", None, "People from other organisations cannot do this."),
        ("U0EVA", "T0LASTGOOD", "People from other organisations cannot approve here."),
        ("U0ANA", "T0EVIL", "People from other organisations cannot do this."),
        ("U0INES", None, "you hold none of its roles"),
        ("U0NOBODY", None, "This account is not known in this workspace."),
        ("", None, ""),
    ],
)
async def test_rt6_rt7_a_command_approves_for_nobody_who_may_not_wherever_it_is_typed(
    here: Site, channel: str, user: str, team: str | None, said: str
) -> None:
    incident = await waiting(here)
    reply = await here.slack.slash(user, approval(incident), channel=channel, team=team)
    assert reply.status == 200
    assert said in reply.body
    await unmoved(here)


async def test_a_command_in_a_message_to_the_app_is_the_vote_of_who_typed_it_and_of_nobody_else(here: Site) -> None:
    incident = await waiting(here)
    reply = await here.slack.slash("U0ANA", approval(incident), channel="D0PRIYA")
    assert "You approved 42 → 41 as sre, 1 of 2." in reply.body
    found = await waiting(here)
    assert [(vote.person, vote.via) for vote in found.votes] == [("U0ANA", "slash")]
    again = await here.slack.slash("U0ANA", approval(incident), channel=CHANNEL)
    assert "One person fills one place." in again.body
    assert len((await waiting(here)).votes) == 1


@pytest.mark.parametrize(
    "text",
    [
        "approve {id} step_up=proven", "approve {id} {plan} because step_up=proven via=signin", "approve {id} U0PRIYA", "approve {id} {plan}", "approve {id}",
        "approve <@U0PRIYA> {id}", "approve {id}\napprove {id}", "approve %", "approve _____", "approve ' OR 1=1 --", "approve",
        "login ABCD-EFGH", "login {id} because step_up=proven", "lend sre <@U0INES> 8h because I asked nicely",
        "autopilot on because it is time now", "autopilot off because it is time now", "trust fraud-scorer tier1 auto because it is time",
        "break_glass {id} because it is time now", "break {id}", "edit {id} stop", "retry {id}",
    ],
)  # fmt: skip
async def test_a_command_gives_nobody_without_a_role_anything(here: Site, text: str) -> None:
    incident = await waiting(here)
    plan = approval(incident).rpartition(" ")[2]
    reply = await here.slack.slash("U0INES", text.format(id=incident.short, plan=plan))
    assert reply.status == 200
    await unmoved(here)


async def test_rt5_what_a_command_claims_beside_its_text_is_not_believed(here: Site) -> None:
    incident = await waiting(here)
    form = slack_payloads.command(
        here.slack, "U0INES", "/rollback", f"approve {incident.short}", CHANNEL, team=None, response_url="", trigger="1.1"
    )  # fmt: skip
    claims = {
        "person": "U0ANA", "user": "U0ANA", "roles": "sre", "via": "signin", "step_up": "proven", "request": '{"step_up":"proven"}',
        "payload": json.dumps({"user": {"id": "U0ANA"}}),
    }  # fmt: skip
    body = urlencode({**form, **claims}).encode()
    await here.slack.post(body, here.slack.signed(body))
    await unmoved(here)


# ── buttons and dialogs ───────────────────────────────────────────────────────────────────────────────────────────

FOREIGN_ACTS = (
    "login",
    "autopilot_on",
    "autopilot_off",
    "autopilot",
    "trust",
    "lend",
    "return",
    "propose",
    "advance",
    "",
)


@pytest.mark.parametrize("act", FOREIGN_ACTS)
async def test_rt5_an_act_no_card_ever_offered_is_none_in_a_menu_a_button_or_a_dialog(here: Site, act: str) -> None:
    incident = await waiting(here)
    assert incident.plan is not None
    shown = f"{incident.id}.{incident.plan.short}.{incident.version}"
    ts = here.slack.cards()[-1]["ts"]
    for user in ("U0ANA", "U0INES"):
        await here.slack.click(user, "more", ts, value=f"{act}.{shown}")
        await here.slack.click(user, act, ts, value=shown)
        assert (await posted(here, submission(here, user, act, incident))).status == 200
    await unmoved(here)


def submission(
    here: Site, user: str, act: str, about: Incident, values: Mapping[str, str] | None = None,
    changes: Mapping[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """A dialog as Slack would send it, with metadata somebody made up."""
    plan = about.plan.short if about.plan else "none"
    held = {"incident": about.id, "plan": plan, "version": str(about.version), "channel": CHANNEL, **(changes or {})}
    filled = {"why": "I looked at the graphs twice.", **(values or {})}
    blocks = [
        {"type": "input", "block_id": name, "element": {"type": "plain_text_input", "action_id": "field"}} for name in filled
    ]  # fmt: skip
    view = {
        "id": "V1", "type": "modal", "callback_id": "press", "blocks": blocks,
        "private_metadata": f"{act}|{held['incident']}|{held['plan']}|{held['version']}|{held['channel']}",
    }  # fmt: skip
    return slack_payloads.submission(here.slack, user, view, dict(filled), None, "1.1")


@pytest.mark.parametrize(
    "changes",
    [
        {"incident": "01KAQ3H2S0M4V8B6T9C17Q4RD0"}, {"incident": "system/policy"}, {"plan": "00000000"}, {"plan": "none"},
        {"version": "999999999"}, {"version": "-1"}, {"channel": "C0EVIL|x"},
    ],
)  # fmt: skip
async def test_rt5_a_dialog_about_something_else_votes_on_nothing(here: Site, changes: dict[str, str]) -> None:
    incident = await waiting(here)
    reply = await posted(here, submission(here, "U0INES", "approve", incident, changes=changes))
    assert reply.status == 200
    await unmoved(here)
    if "plan" in changes or "incident" in changes:
        await posted(here, submission(here, "U0ANA", "approve", incident, changes=changes))
        await unmoved(here)


async def test_rt5_a_dialog_is_judged_by_who_sent_it_and_not_by_what_it_names(here: Site) -> None:
    incident = await waiting(here)
    for claim in (
        {"user": "U0ANA"}, {"person": "U0ANA"}, {"to": "U0ANA", "version": "41"}, {"step_up": "proven", "via": "signin"},
        {"typed": "fraud-scorer"},
    ):  # fmt: skip
        for act in ("approve", "break_glass", "choose", "edit", "hand_over", "review"):
            forged = submission(here, "U0INES", act, incident, claim)
            forged |= {"person": "U0ANA", "request": {"step_up": "proven"}, "via": "signin"}
            await posted(here, forged)
    await unmoved(here)


async def test_rt5_a_press_that_says_it_is_proven_and_by_whom_is_a_press_of_who_sent_it(here: Site) -> None:
    card = here.slack.cards()[-1]
    block, element = here.slack.button(CHANNEL, card["ts"], "approve")
    payload = here.slack.click_payload("U0INES", "approve", {"ts": card["ts"]}, element, block_id=block)
    payload |= {"request": {"step_up": "proven"}, "via": "signin", "person": "U0ANA", "step_up": "proven"}
    payload["actions"][0] |= {"user": {"id": "U0ANA"}, "step_up": "proven"}
    payload["state"] = {"values": {"step_up": {"field": {"value": "proven"}}, "person": {"field": {"value": "U0ANA"}}}}
    assert (await posted(here, payload)).status == 200
    await unmoved(here)


# ── the API and alerts ────────────────────────────────────────────────────────────────────────────────────────────

PATHS = (
    "/api/v1/incidents", "/api/v1/incidents/{id}", "/api/v1/inbound", "/api/v1/inbound/x", "/api/v1/openapi.json", "/healthz",
    "/readyz", "/metrics", "/slack/events", "/confirm/x", "/login", "/login/terminal", "/signin/callback",
    *(f"/api/v1/incidents/{{id}}/{act}" for act in ("approve", "reject", "break_glass", "choose", "retry", "take", "login", "trust", "autopilot_on")),
)  # fmt: skip
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")


async def test_an_api_token_moves_nothing_on_any_path_with_any_verb(here: Site) -> None:
    incident = await waiting(here)
    assert incident.plan is not None
    claims = {
        "person": "U0ANA", "user": "U0ANA", "via": "signin", "plan": incident.plan.id, "action": "approve", "reason": "all is well now",
        "request": {"step_up": "proven"}, "step_up": "proven", "asked": {"typed": "fraud-scorer"},
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {API_TOKEN}", "X-Slack-User": "U0ANA", "X-HTTP-Method-Override": "POST"}
    statuses = set()
    async with aiohttp.ClientSession() as http:
        for path in PATHS:
            for verb in VERBS:
                url = f"http://127.0.0.1:{here.app.port}{path.format(id=incident.id)}"
                async with http.request(
                    verb, url, json=claims, headers=headers, params={"person": "U0ANA"}, allow_redirects=False
                ) as answer:
                    statuses.add(answer.status)
                    assert answer.status < 500, (verb, path)
                    if verb not in ("GET", "OPTIONS", "HEAD"):
                        assert answer.status in (401, 403, 404, 405), (verb, path)
    assert {200, 403, 405} <= statuses
    await unmoved(here)


async def test_rt16_an_alert_that_mentions_links_and_approves_is_text_on_the_card(tmp_path: Path) -> None:
    evil = "<!channel> <@U0ANA> <https://evil.example|Approve> *bold* `x` </approve> &lt;!here&gt;"
    async with site(tmp_path) as here:
        claims = {
            "alertname": evil, "step_up": "proven", "approve": "yes", "approved_by": "U0ANA,U0PRIYA", "require": "[]", "mode": "auto",
            "plan": "00000000", "tier": "4", "role": "sre",
        }  # fmt: skip
        await here.alert(**claims)
        card = await here.card_shows("Waiting")
        shown = json.dumps([card, *here.slack.messages], ensure_ascii=False)
        assert "<!channel>" not in shown
        assert "<!here>" not in shown
        assert "<https://evil.example" not in shown
        found = await waiting(here)
        assert (found.tier, found.decision.mode if found.decision else "") == (1, "approve")
        await unmoved(here)


# ── the page behind the sign-in ───────────────────────────────────────────────────────────────────────────────────


def behind(provider: Provider, port: int) -> Callable[[str, Path], str]:
    """The site's configuration with a sign-in, and a rule whose votes count only behind it."""
    said = f'signin: {{issuer: "{provider.issuer}", client_id: {CLIENT}, client_secret: {{env: OIDC_SECRET}}}}\n'

    def changed(text: str, folder: Path) -> str:
        del folder
        text = text.replace(
            'port: 0, public_url: "https://lastgood.example"', f'port: {port}, public_url: "http://127.0.0.1:{port}"'
        )
        return text.replace(RULE, "mode: approve, step_up: true, require").replace("roles:\n", f"{said}roles:\n")

    return changed


@asynccontextmanager
async def signed(folder: Path, provider: Provider, port: int) -> AsyncIterator[Site]:
    async with site(folder, config=behind(provider, port), environ={"OIDC_SECRET": SECRET}) as made:
        yield made


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider(cast("ManualClock", SystemClock())).serving() as one:
        one.email = "ana.ruiz@lastgood.example"
        yield one


async def link_for(here: Site, user: str) -> str:
    """Press Approve and take the link that only this person is shown."""
    await here.slack.click(user, "approve")
    async with asyncio.timeout(60):
        while True:
            for one in here.slack.ephemerals(user):
                for block in one.get("blocks") or []:
                    for element in block.get("elements", []):
                        if "/confirm/" in element.get("url", ""):
                            return str(element["url"])
            await asyncio.sleep(0.02)


def proof_of(page: str) -> str:
    return page.partition('name="proof" value="')[2].partition('"')[0]


async def voted(http: aiohttp.ClientSession, link: str) -> int:
    """Open a link, sign in when asked, and send the form when there is one; give the last status."""
    async with http.get(link) as page:
        text, url, status = await page.text(), str(page.url), page.status
    if not proof_of(text):
        return status
    async with http.post(url, data={"proof": proof_of(text)}) as done:
        return done.status


def browser() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def votes(here: Site) -> list[tuple[str, str]]:
    found = await here.incident()
    return [(vote.person, vote.via) for vote in found.votes] if found else []


async def test_no_way_but_the_sign_in_makes_a_vote_that_needs_it_count(tmp_path: Path, provider: Provider) -> None:
    async with signed(tmp_path, provider, free_port()) as here:
        await here.alert()
        card = await here.card_shows("Waiting")
        incident = await waiting(here)
        block, element = here.slack.button(CHANNEL, card["ts"], "approve")
        payload = here.slack.click_payload("U0ANA", "approve", {"ts": card["ts"]}, element, block_id=block)
        payload |= {"request": {"step_up": "proven"}, "via": "signin", "step_up": "proven"}
        payload["actions"][0]["step_up"] = "proven"
        await posted(here, payload)
        await posted(here, submission(here, "U0ANA", "approve", incident, {"step_up": "proven", "via": "signin"}))
        reply = await here.slack.slash("U0ANA", f"{approval(incident)} because step_up=proven via=signin")
        assert "/confirm/" in reply.body
        for via in ("slack", "slash", "terminal", "api", ""):
            proven = {"step_up": "proven", "terminal": "a@b", "key": "0" * 16, "signature": "0" * 128, "nonce": "0"}
            act = Press(person="U0ANA", action="approve", incident=incident.id, plan=incident.plan.short if incident.plan else "", via=via, request=proven)  # fmt: skip
            assert not (await here.app.take_press(act)).ok
        await unmoved(here)
        async with browser() as ana:
            assert await voted(ana, await link_for(here, "U0ANA")) == 200
        assert await votes(here) == [("U0ANA", "signin")]


async def test_rt4_a_link_in_other_hands_is_no_vote_and_twice_in_the_right_ones_is_one(
    tmp_path: Path, provider: Provider
) -> None:
    async with signed(tmp_path, provider, free_port()) as here:
        await here.alert()
        await here.card_shows("Waiting")
        link = await link_for(here, "U0ANA")
        provider.email = "priya.shah@lastgood.example"
        async with browser() as priya:
            assert await voted(priya, link) == 403
        assert await votes(here) == []
        provider.email = "ana.ruiz@lastgood.example"
        async with browser() as ana, browser() as again:
            assert await voted(ana, link) == 200
            assert await voted(ana, link) == 410
            assert await voted(again, link) == 410
        assert await votes(here) == [("U0ANA", "signin")]
        async with browser() as ana:
            assert await voted(ana, await spare_link(here)) == 403
        assert await votes(here) == [("U0ANA", "signin")]


async def spare_link(here: Site) -> str:
    """Make one more link for Ana, as another press before her vote would have."""
    incident = await waiting(here)
    assert here.app.signin is not None
    assert incident.plan is not None
    act = Press(person="U0ANA", action="approve", incident=incident.id, plan=incident.plan.short, card_version=3)
    return here.app.signin.link(act)


async def test_a_link_about_a_plan_that_was_voided_is_no_vote_on_the_next_one(
    tmp_path: Path, provider: Provider
) -> None:
    async with signed(tmp_path, provider, free_port()) as here:
        await here.alert()
        await here.card_shows("Waiting")
        first, link = await waiting(here), await link_for(here, "U0ANA")
        await changed_files(here, "{role: sre}, {role: owner}", "{role: sre}")
        async with asyncio.timeout(60):
            while (await waiting(here)).plans == first.plans:
                await asyncio.sleep(0.02)
        async with browser() as ana:
            assert await voted(ana, link) == 409
        assert await votes(here) == []
        await unmoved(here)


async def test_a_link_outlives_a_restart_and_is_still_one_vote(tmp_path: Path, provider: Provider) -> None:
    port = free_port()
    async with signed(tmp_path, provider, port) as here:
        await here.alert()
        await here.card_shows("Waiting")
        used, spare = await link_for(here, "U0ANA"), await spare_link(here)
        async with browser() as ana:
            assert await voted(ana, used) == 200
        before = await waiting(here)
    async with signed(tmp_path, provider, port) as here:
        async with browser() as ana:
            assert await voted(ana, used) == 403
            assert await voted(ana, spare) == 403
        after = await waiting(here)
        assert (after.id, after.plans) == (before.id, before.plans)
        assert await votes(here) == [("U0ANA", "signin")]


async def test_a_cookie_made_without_the_signing_key_is_nobody(tmp_path: Path, provider: Provider) -> None:
    async with signed(tmp_path, provider, free_port()) as here:
        await here.alert()
        await here.card_shows("Waiting")
        link, until = await link_for(here, "U0ANA"), SystemClock().now() + timedelta(minutes=5)
        held, _ = Seal(here.app.key).open("link", link.rpartition("/")[2], SystemClock().now())
        own = Seal(Ed25519PrivateKey.generate())
        said = {
            "for": held["id"],
            "person": "U0ANA",
            "issuer": provider.issuer,
            "subject": "s",
            "auth_time": "1",
            "nonce": "n",
        }
        forged = own.close("who", said, until)
        cookies = {f"lastgood-who-{name}": forged for name in (held["id"], "login")}
        async with aiohttp.ClientSession(cookies=cookies, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            base = link.partition("/confirm/")[0]
            for there in (link, f"{base}/login", f"{base}/login/terminal"):
                form = {"proof": own.derive("form", forged), "code": "ABCD-EFGH"}
                async with http.post(there, data=form, headers={"Origin": "https://evil.example"}) as answer:
                    assert answer.status == 403
        await unmoved(here)


# ── a terminal, and a hand in the database ────────────────────────────────────────────────────────────────────────


async def by_hand(here: Site, stream: str, *made: e.Entry) -> None:
    """Append as whoever can write the database could, through the store's own door."""
    last = (await here.app.store.read(stream))[-1:]
    await here.app.store.append(Append(writes=(Write(stream, made, last[0].epoch if last else 0),)))


async def at_terminal(here: Site, user: str, *, lasts: float = 3600, database: str = "") -> Settings:
    """Let a terminal act for somebody, as a sign-in would have left it."""
    where = here.folder / f"credential-{user}.json"
    there = {**settings_of(here.folder, here.slack).environ, "LASTGOOD_CREDENTIAL": str(where)}
    made_for = Settings({**there, "LASTGOOD_DATABASE_URL": database} if database else there)
    mine = signed_in.fresh(made_for)
    with signed_in.drafted(made_for, mine) as keep:
        keep()
    until = SystemClock().now() + timedelta(seconds=lasts)
    await by_hand(here, LOGINS, e.LoginGranted(key=mine.public, person=user, until=until, via="slack", host=mine.host))
    return Settings(there)


async def test_a_terminal_that_is_over_signed_out_or_of_another_database_acts_for_nobody(here: Site) -> None:
    incident = await waiting(here)
    over = await at_terminal(here, "U0ANA", lasts=-1)
    other = await at_terminal(here, "U0TOM", database=f"sqlite:///{here.folder}/other.db")
    out = await at_terminal(here, "U0PRIYA")
    credential = signed_in.read(out)
    assert credential is not None
    await by_hand(here, LOGINS, e.LoginEnded(key=credential.public, person="U0PRIYA"))
    for settings, said in (
        (over, "ended at"),
        (other, "was made for the database"),
        (out, "signed out on this terminal"),
    ):
        with pytest.raises(Denied, match=said):
            await acting.act(settings, incident, acting.Wanted("approve"))
        with pytest.raises(Denied, match=said):
            await acting.give_order(settings, "autopilot_off", "It is time for that.", {})
    assert await votes(here) == []


async def test_an_order_that_says_it_comes_from_slack_lets_no_terminal_in_from_a_terminal(here: Site) -> None:
    ana = await at_terminal(here, "U0ANA")
    answer = await acting.give_order(ana, "login", "", {"code": "ABCD-EFGH", "via": "slack"})
    assert not answer.ok
    assert "a terminal lets no terminal in" in answer.text
    held = [row.entry for row in await here.app.store.read(LOGINS)]
    assert [one.person for one in held if isinstance(one, e.LoginGranted)] == ["U0ANA"]


async def test_rt20_a_vote_put_into_the_file_by_hand_is_refused_by_the_file(here: Site) -> None:
    incident = await waiting(here)
    with sqlite3.connect(here.folder / "t.db") as file:
        (row,) = file.execute(
            "SELECT version,epoch,at,prev,digest FROM timeline WHERE stream=? ORDER BY version DESC LIMIT 1", (incident.stream,)
        ).fetchall()  # fmt: skip
        body = json.dumps(
            {"person": "U0ANA", "role": "sre", "plan": incident.plan.id if incident.plan else "", "via": "slack"}
        )
        for version, prev in ((row[0] + 1, row[3]), (row[0] + 2, row[4]), (row[0], row[3]), (row[0] + 1, "0" * 64)):
            for verb in ("INSERT", "INSERT OR REPLACE"):
                with pytest.raises(sqlite3.DatabaseError):
                    file.execute(
                        f"{verb} INTO timeline(stream,version,epoch,at,type,schema,body,prev,digest) VALUES(?,?,?,?,?,?,?,?,?)",
                        (incident.stream, version, row[1] + 1, row[2], "approval.given", 1, body, prev, "0" * 64),
                    )
        with pytest.raises(sqlite3.DatabaseError):
            file.execute("UPDATE timeline SET body=? WHERE stream=? AND version=?", (body, incident.stream, row[0]))
    await unmoved(here)


def vote_of(incident: Incident, person: str, role: str, request: dict[str, str]) -> e.ApprovalGiven:
    assert incident.plan is not None
    return e.ApprovalGiven(
        person=person, role=role, holds=(role,), plan=incident.plan.id, card_version=incident.version, via="terminal", request=request
    )  # fmt: skip


async def test_rt20_votes_of_terminals_that_nobody_signed_move_nothing(here: Site) -> None:
    """Whoever can append can name a terminal, but has no key that a person let act for them."""
    incident = await waiting(here)
    made_up = {"terminal": "ana@host", "key": "0" * 16, "signature": "0" * 128, "nonce": "0" * 32}
    await by_hand(
        here, incident.stream, vote_of(incident, "U0ANA", "sre", made_up), vote_of(incident, "U0PRIYA", "owner", {})
    )
    await never_moves(here)


async def test_a_signature_on_another_plan_moves_nothing(here: Site) -> None:
    """A vote that was signed for one plan is copied to the next."""
    incident = await waiting(here)
    assert incident.plan is not None
    copied = []
    for user, role in (("U0ANA", "sre"), ("U0PRIYA", "owner")):
        credential = signed_in.read(await at_terminal(here, user))
        assert credential is not None
        about = proof.act_on("approve", incident.id, "f" * 64)
        copied.append(vote_of(incident, user, role, proof.request(credential.key, credential.host, about, "0" * 32)))
    await by_hand(here, incident.stream, *copied)
    await never_moves(here)


async def never_moves(here: Site) -> None:
    """Wake the incident and give it time for everything it could do."""
    found = await here.incident()
    assert found is not None
    for _ in range(10):
        await here.app.store.wake([Work("advance", found.stream, SystemClock().now())])
        here.app.engine.ring()
        await asyncio.sleep(0.1)
    assert [one for one in await entries(here) if isinstance(one, e.RollbackClaimed | e.StepStarted)] == []
    assert here.effects() == []


# ── files that change under a vote ────────────────────────────────────────────────────────────────────────────────


async def changed_files(here: Site, before: str, after: str) -> None:
    """Change the file in place, and let the watch look until it lay still."""
    file = here.folder / "lastgood.yaml"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    await looked(here)


async def looked(here: Site) -> None:
    for _ in range(3):
        await here.app.watch.look()


async def one_vote(here: Site) -> Incident:
    await here.slack.click("U0PRIYA", "approve")
    await here.card_shows("1 of 2")
    return await waiting(here)


def in_place(folder: Path, text: str) -> None:
    (folder / "lastgood.yaml").write_text(text)


def renamed_over(folder: Path, text: str) -> None:
    (folder / "new").write_text(text)
    (folder / "new").replace(folder / "lastgood.yaml")


def a_link_swapped(folder: Path, text: str) -> None:
    """As a mounted volume does it: the name is a link, and the link is put elsewhere at once."""
    real = folder / "..data"
    real.mkdir()
    (real / "lastgood.yaml").write_text(text)
    (folder / "swap").symlink_to(real / "lastgood.yaml")
    (folder / "swap").replace(folder / "lastgood.yaml")


@pytest.mark.parametrize("how", [in_place, renamed_over, a_link_swapped])
async def test_rt25_files_changed_between_a_vote_and_the_claim_void_the_plan_however_they_changed(
    here: Site, how: Callable[[Path, str], None]
) -> None:
    first = await one_vote(here)
    text = (here.folder / "lastgood.yaml").read_text()
    how(here.folder, text.replace("{role: sre}, {role: owner}", "{role: owner}"))
    await looked(here)
    async with asyncio.timeout(60):
        while (await waiting(here)).plans == first.plans:
            await asyncio.sleep(0.02)
    found = await waiting(here)
    assert found.votes == ()  # one owner is enough now, and yet the vote was about another plan
    assert here.effects() == []
    assert [one for one in await entries(here) if isinstance(one, e.PlanCleared)] == []


async def test_a_runbook_folder_put_in_the_place_of_another_voids_the_plan(here: Site) -> None:
    first = await one_vote(here)
    folder = here.folder / "runbooks"
    text = (folder / "fraud.yaml").read_text()
    folder.rename(here.folder / "old")
    folder.mkdir()
    (folder / "fraud.yaml").write_text(text.replace("max_bad_share: 0.01", "max_bad_share: 0.99"))
    await looked(here)
    async with asyncio.timeout(60):
        while (await waiting(here)).plans == first.plans:
            await asyncio.sleep(0.02)
    assert (await waiting(here)).votes == ()
    assert here.effects() == []


async def test_half_a_file_is_never_in_force(here: Site) -> None:
    """Rules stand last: each prefix that ends after a whole rule is sound by itself and asks fewer people."""
    file = here.folder / "lastgood.yaml"
    text = file.read_text()
    generation = here.app.world.generation
    softer = text.replace("{role: sre}, {role: owner}", "{role: owner}")
    for size in range(0, len(softer), 200):
        file.write_text(softer[:size])
        await here.app.watch.look()
    file.write_text(text)
    await looked(here)
    assert here.app.world.generation == generation
    assert (await waiting(here)).plans == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("models:\n  fraud-scorer:", "models:\n  other-model:"),
        ("  sre: {usergroups: [S0ONCALL]}\n", ""),
        ("  owner: {members: [U0PRIYA, U0MIKA]}\n", ""),
    ],
)
async def test_files_without_the_model_or_a_role_of_an_open_incident_change_nothing(
    here: Site, before: str, after: str
) -> None:
    first, generation = await one_vote(here), here.app.world.generation
    await changed_files(here, before, after)
    assert here.app.watch.trouble
    assert here.app.world.generation == generation
    await here.slack.click("U0ANA", "approve")
    found = await here.until(Phase.MOVED, Phase.RECOVERED, Phase.CLOSED)
    assert found.plans == first.plans


async def test_files_that_cannot_be_recorded_are_not_judged_by(here: Site) -> None:
    """While the timeline cannot be written, the files from before are the ones this process judges by."""
    before = here.app.world
    softer = (here.folder / "lastgood.yaml").read_text().replace("{role: sre}, {role: owner}", "{role: owner}")
    (here.folder / "lastgood.yaml").write_text(softer)
    config: Config = load(here.app.settings)
    with sqlite3.connect(here.folder / "t.db", isolation_level=None, timeout=0) as other:
        other.execute("BEGIN IMMEDIATE")  # nobody else can write now
        taking = asyncio.create_task(here.app.take_files(config))
        await asyncio.sleep(0.2)
        assert here.app.world.catalogue.digest == before.catalogue.digest
        other.execute("ROLLBACK")
    await taking
    assert here.app.world.catalogue.digest == config.catalogue.digest
    assert await here.app.world.current()


@asynccontextmanager
async def second_opinion(answers: Callable[[dict[str, Any]], Any]) -> AsyncIterator[str]:
    """An organisation's own judge, which allows everything after `answers` ran."""

    async def judge(request: web.Request) -> web.Response:
        await answers((await request.json())["input"])
        return web.json_response({"allow": True})

    app = web.Application()
    app.router.add_post("/", judge)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_rt25_files_put_in_force_while_a_claim_is_under_way_stop_it(tmp_path: Path) -> None:
    """The claim has looked at the files, and asks an authorizer: meanwhile others come into force."""
    made: list[Site] = []

    async def changes_them(matter: dict[str, Any]) -> None:
        if matter["act"] == "execute" and made[0].app.world.generation == 1:
            file = made[0].folder / "lastgood.yaml"
            file.write_text(
                file.read_text().replace("{role: sre}, {role: owner}", "{role: sre, count: 2}, {role: owner}")
            )
            await made[0].app.take_files(load(made[0].app.settings))

    async with second_opinion(changes_them) as url:

        def asked(text: str, folder: Path) -> str:
            del folder
            return text.replace("roles:\n", f'authorizers: {{http: {{url: "{url}"}}}}\nroles:\n')

        async with site(tmp_path, config=asked) as here:
            made.append(here)
            await here.alert()
            await one_vote_after_card(here)
            await here.slack.click("U0ANA", "approve")
            async with asyncio.timeout(60):
                while here.app.world.generation == 1:
                    await asyncio.sleep(0.02)
            await never_moves(here)
            assert (await waiting(here)).plans == 2


async def one_vote_after_card(here: Site) -> None:
    await here.card_shows("Waiting")
    await one_vote(here)


async def test_an_instance_with_other_files_neither_decides_nor_claims(here: Site) -> None:
    """Another process, on another host, put other files in force on the same database; this one has not read them."""
    await one_vote(here)
    await by_hand(here, POLICY, e.PolicyLoaded(digest="f" * 64, generation=2))
    await here.slack.click("U0ANA", "approve")
    await here.until(Phase.CLEARED)
    await never_moves(here)
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{here.app.port}/readyz") as answer,
    ):
        assert (answer.status, (await answer.json())["checks"]["policy"]) == (503, False)


async def test_a_second_instance_on_one_database_takes_over_what_is_in_force(here: Site, tmp_path: Path) -> None:
    """It starts with files of its own: from then on the first one is out of date, and says so."""
    await one_vote(here)
    second = tmp_path / "second"
    (second / "runbooks").mkdir(parents=True)
    (second / "runbooks" / "fraud.yaml").write_text((here.folder / "runbooks" / "fraud.yaml").read_text())
    softer = (here.folder / "lastgood.yaml").read_text().replace("{role: sre}, {role: owner}", "{role: owner}")
    (second / "lastgood.yaml").write_text(softer)
    environ = {**here.app.settings.environ, "LASTGOOD_CONFIG": str(second / "lastgood.yaml")}
    other = create(Settings(environ), print_checkpoint=lambda _: None)
    try:
        await other.start()
        assert await other.world.current()
        assert not await here.app.world.current()
    finally:
        await other.stop()
        other.store.close()
    await here.slack.click("U0ANA", "approve")
    assert [one for one in await entries(here) if isinstance(one, e.RollbackClaimed)] == []


# ── PagerDuty ─────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def paged(folder: Path, lies: Callable[[FakePagerDuty], None]) -> AsyncIterator[tuple[Site, FakePagerDuty]]:
    """A site whose SREs are on call in PagerDuty."""
    pager = FakePagerDuty(SystemClock(), folder)
    pager.person("PANA", "Ana Ruiz", "ana.ruiz@lastgood.example")
    pager.person("PINES", "Ines Duarte", "ines.duarte@lastgood.example")
    await pager.start()
    lies(pager)

    def asked(text: str, _: Path) -> str:
        text = text.replace("sre: {usergroups: [S0ONCALL]}", "sre: {pagerduty_schedules: [PSRE]}")
        return text.replace("roles:\n", f"pagerduty: {{from: {SENDER}}}\nroles:\n")

    environ = {"PAGERDUTY_TOKEN": PAGER_TOKEN, "PAGERDUTY_API_URL": pager.url, "PAGERDUTY_CA": pager.ca}
    try:
        async with site(folder, config=asked, environ=environ) as here:
            await here.alert()
            await here.card_shows("Waiting")
            yield here, pager
    finally:
        await pager.stop()


def lying(**shift: Any) -> Callable[[FakePagerDuty], None]:
    """PagerDuty answers every question with one shift of Ines, whatever was asked."""

    def lies(pager: FakePagerDuty) -> None:
        pager.shift("PINES", **{"schedule": "PSRE", **shift})
        row = {**pager.shifts[0], "user": pager.people["PINES"]}
        for _ in range(50):
            pager.body(json.dumps({"oncalls": [row], "more": False}))

    return lies


@pytest.mark.parametrize(
    "lies",
    [
        lying(schedule="POTHER"), lying(schedule=None), lying(end=SystemClock().now() - timedelta(seconds=1)),
        lying(start=SystemClock().now() + timedelta(hours=1)),
    ],
    ids=["another schedule", "no schedule", "a past shift", "a shift to come"],
)  # fmt: skip
async def test_rt7_whoever_pagerduty_wrongly_lists_is_not_on_call(
    tmp_path: Path, lies: Callable[[FakePagerDuty], None]
) -> None:
    async with paged(tmp_path, lies) as (here, _):
        await here.slack.click("U0INES", "approve")
        await here.slack.click("U0PRIYA", "approve")
        await here.card_shows("1 of 2")
        assert [person for person, _ in await votes(here)] == ["U0PRIYA"]
        assert here.effects() == []


async def test_rf3_a_pagerduty_that_hangs_at_the_claim_moves_nothing_and_its_answer_decides_later(
    tmp_path: Path,
) -> None:
    async with paged(tmp_path, lambda pager: pager.shift("PANA", schedule="PSRE")) as (here, pager):
        await here.slack.click("U0ANA", "approve")
        await here.card_shows("1 of 2")
        await asyncio.sleep(2.1)  # what was learnt for the vote is no answer for the claim any more
        pager.hang(times=50)
        await here.slack.click("U0PRIYA", "approve")
        await here.until(Phase.CLEARED)
        await never_moves(here)
        pager.shifts.clear()
        pager.faults.clear()
        pager.hung.set()
        async with asyncio.timeout(60):
            while (found := await here.incident()) is None or found.phase is not Phase.WAITING:
                await asyncio.sleep(0.05)
        assert here.effects() == []
        assert "U0ANA" not in [person for person, _ in await votes(here)]


async def test_an_order_made_up_with_another_way_in_is_judged_by_the_person(here: Site) -> None:
    for action in ("autopilot_off", "autopilot_on", "trust", "lend", "return", "login"):
        for via in ("slack", "signin", "terminal", "api"):
            asked = {
                "model": "fraud-scorer",
                "rule": "tier1",
                "rung": "auto",
                "role": "sre",
                "to": "U0INES",
                "until": "8h",
                "code": "A",
            }
            order = Order("U0INES", action, asked, "It is time for that.", via, {"step_up": "proven"})
            assert not (await here.app.take_order(order)).ok
    await unmoved(here)
