"""Acting from a terminal: the same functions as every button, a person who signed in, and a refusal in words for everything else."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bot import acting, signed_in
from bot.clock import ManualClock, SystemClock
from bot.config import Settings, load
from bot.demo.slack import SlackLookalike
from bot.domain import entries as e
from bot.domain import proof
from bot.domain.alert import RawRequest
from bot.domain.incident import Incident, fold
from bot.domain.orders import LOGINS
from bot.domain.roles import Place
from bot.ports import Append, InboundDone, Write
from bot.report.facts import projected
from bot.store.schema import migrate
from bot.store.timeline import Store
from bot.store.verify import verify
from tests.slack import stories
from tests.terminals import Ended, Terminal

CONFIG = """\
version: 1
slack: {channel: C0INCIDENTS}
roles:
  sre: {members: [U0ANA, U0TOM]}
  owner: {members: [U0PRIYA, U0MIKA]}
policy:
  rules: [{id: default, require: [{role: sre}, {role: owner}]}]
  break_glass: {role: sre, min_reason_chars: 20}
  autopilot: {role: sre}
models:
  fraud-scorer:
    owner: {member: U0PRIYA}
    environments: {dev: {targets: {route: {adapter: memory, versions: ["40", "41", "42"]}}}}
"""
PLAN = stories.PLAN.but(environment="dev", deployer="U0MIKA")
OPENED = e.IncidentOpened(model="fraud-scorer", environment="dev", tier=2, alerts=(stories.alert(environment="dev"),))
LONG = "01KAQ3H2S0M4V8B6T9C17Q4RD0"
WHY = "Checkout is down and nobody else answers"


def decided() -> e.PolicyDecided:
    return e.PolicyDecided(
        plan=PLAN.id, mode="approve", rule="default", reason="Rule default: tier 2 in dev needs sre and owner.", policy_digest="p",
        require=(Place(role="sre"), Place(role="owner")), expires_at=SystemClock().now() + timedelta(hours=1),
    )  # fmt: skip


@dataclass
class Site:
    """A site whose `serve` has loaded its files and gone, one incident that waits, and Slack."""

    folder: Path
    slack: SlackLookalike

    @property
    def environ(self) -> Mapping[str, str]:
        return {
            "SLACK_BOT_TOKEN": self.slack.bot_token, "SLACK_SIGNING_SECRET": self.slack.signing_secret,
            "SLACK_API_URL": self.slack.api_url,
        }  # fmt: skip

    @property
    def store(self) -> Store:
        return Store(f"sqlite:///{self.folder}/lastgood.db", SystemClock(), project=projected)

    async def write(self, stream: str, *entries: e.Entry) -> None:
        async with self.store as store:
            last = (await store.read(stream))[-1:]
            await store.append(Append(writes=(Write(stream, entries, last[0].epoch if last else 0),)))

    async def entries(self, stream: str = stories.STREAM) -> list[e.Recorded]:
        async with self.store as store:
            return await store.read(stream)

    async def incident(self) -> Incident:
        return fold(await self.entries())

    async def terminal(self, person: str, *, lasts: timedelta = timedelta(hours=12), signed: bool = True) -> Terminal:
        """A person's terminal, signed in as `login` would have left it."""
        there = Terminal(self.folder, self.folder / person, self.environ)
        home = {"XDG_CONFIG_HOME": str(there.home), "LASTGOOD_DATABASE_URL": f"sqlite:///{self.folder}/lastgood.db"}
        mine = signed_in.fresh(Settings(home))
        with signed_in.drafted(Settings(home), mine) as keep:
            keep()
        if signed:
            until = SystemClock().now() + lasts
            await self.write(
                LOGINS, e.LoginGranted(key=mine.public, person=person, until=until, via="slack", host=mine.host)
            )
        return there

    async def run(self, there: Terminal, *words: str, **environ: str) -> Ended:
        return await asyncio.to_thread(there.quick, *words, **environ)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    slack = SlackLookalike(SystemClock())
    await slack.start()
    (tmp_path / "lastgood.yaml").write_text(CONFIG)
    migrate(f"sqlite:///{tmp_path}/lastgood.db")
    made = Site(tmp_path, slack)
    digest = load(Settings({"LASTGOOD_CONFIG": str(tmp_path / "lastgood.yaml")})).catalogue.digest
    await made.write("system/policy", e.PolicyLoaded(digest=digest, generation=1))
    await made.write(stories.STREAM, OPENED, e.PlanMade(plan=PLAN), decided())
    yield made
    await slack.stop()


# ── approving ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_approval_from_a_terminal_is_a_vote_with_a_signature_that_holds(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    ended = await site.run(ana, "incident", "approve", "17Q4RD0", "--plan", PLAN.short)
    assert (ended.code, ended.out) == (0, "✓ You approved 42 → 41 as sre, 1 of 2.\n")
    given = next(one for one in await site.entries() if isinstance(one.entry, e.ApprovalGiven))
    assert isinstance(given.entry, e.ApprovalGiven)
    assert (given.entry.person, given.entry.via, given.entry.plan) == ("U0ANA", "terminal", PLAN.id)
    assert set(given.entry.request) == {"terminal", "key", "signature", "nonce"}
    subject = proof.act_on("approve", LONG, PLAN.id)
    assert proof.proven(given.entry.request, subject, "U0ANA", given.at, await site.entries(LOGINS))
    shown = (await site.run(ana, "incident", "show", "17Q4RD0")).text
    assert re.search(r"approved Ana Ruiz \(sre\) \d\d:\d\d on \S+@\S+, signature holds", shown)
    assert verify(site.folder / "lastgood.db").ok


async def test_a_vote_that_claims_a_terminal_without_its_key_is_shown_as_such(site: Site) -> None:
    forged = e.ApprovalGiven(
        person="U0ANA", role="sre", plan=PLAN.id, card_version=3, via="terminal", request={"terminal": "ana@build", "key": "ab" * 8}
    )  # fmt: skip
    await site.write(stories.STREAM, forged)
    ana = await site.terminal("U0ANA")
    shown = (await site.run(ana, "incident", "show", "17Q4RD0")).text
    assert "on ana@build, signature DOES NOT HOLD" in shown


async def test_the_plan_is_shown_before_the_vote(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    ended = await site.run(ana, "incident", "approve", "17Q4RD0", "--plan", PLAN.short)
    shown = " ".join(ended.err.split())
    assert f"proposed 42 → 41 on route, plan {PLAN.short}" in shown
    assert "no vote U0MIKA deployed 42" in shown or "no vote Mika Lind deployed 42" in shown
    assert "on failure A step that fails before traffic is on 41 puts the finished steps back." in shown


async def test_nobody_approves_unseen(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    for words in (("approve",), ("approve", "--yes"), ("break-glass", "--reason", WHY, "--type", "fraud-scorer")):
        ended = await site.run(ana, "incident", words[0], "17Q4RD0", *words[1:])
        assert ended.code == 2
        assert "nobody reads the plan here; give its first 8 characters" in ended.text
    assert (await site.incident()).votes == ()


async def test_another_plan_than_the_one_that_was_read_is_refused(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    for plan in ("00000000", PLAN.id[:7], "none", "f" * 64):
        ended = await site.run(ana, "incident", "approve", "17Q4RD0", "--plan", plan)
        assert ended.code == 1
        assert "showed plan" in ended.text
        assert ended.text.endswith("Nothing was changed.")
    assert (await site.incident()).votes == ()


async def test_who_could_not_approve_in_slack_cannot_here_either(site: Site) -> None:
    for person, sentence in (
        ("U0MIKA", "You deployed 42, so somebody else must approve."),
        ("U0INES", "you hold none of its roles"),
        ("U0GIL", "Guests cannot approve."),
    ):
        there = await site.terminal(person)
        ended = await site.run(there, "incident", "approve", "17Q4RD0", "--plan", PLAN.short)
        assert (ended.code, ended.out) == (1, "")
        assert sentence in ended.text
        assert ended.text.endswith("Nothing was changed.")
    assert (await site.incident()).votes == ()


async def test_one_person_on_two_terminals_is_one_vote(site: Site) -> None:
    first, second = await site.terminal("U0ANA"), await site.terminal("U0ANA")
    await site.run(first, "incident", "approve", "17Q4RD0", "--plan", PLAN.short)
    ended = await site.run(second, "incident", "approve", "17Q4RD0", "--plan", PLAN.short)
    assert ended.code == 1
    assert "One person fills one place." in ended.text
    assert len((await site.incident()).votes) == 1


async def test_a_script_reads_the_answer(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    ended = await site.run(ana, "incident", "approve", "17Q4RD0", "--plan", PLAN.short, "--json")
    assert ended.json == {"ok": True, "text": "You approved 42 → 41 as sre, 1 of 2."}
    again = await site.run(ana, "incident", "approve", "17Q4RD0", "--plan", PLAN.short, "--json")
    assert (again.code, again.json["ok"]) == (1, False)


# ── who ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_nobody_signed_in_is_refused_with_what_to_do(site: Site) -> None:
    there = Terminal(site.folder, site.folder / "nobody", site.environ)
    for words in (
        ("incident", "approve", "17Q4RD0", "--plan", PLAN.short),
        ("incident", "take", "17Q4RD0"),
        ("autopilot", "off", "--reason", WHY),
        ("rollback", "fraud-scorer", "--reason", WHY),
    ):
        ended = await site.run(there, *words)
        assert (ended.code, ended.out) == (1, "")
        assert "Nobody is signed in on this terminal. `lastgood login` does that, while Slack is up" in ended.text
    assert (await site.incident()).votes == ()


async def test_a_key_that_nobody_let_act_is_refused(site: Site) -> None:
    there = await site.terminal("U0ANA", signed=False)
    ended = await site.run(there, "incident", "approve", "17Q4RD0", "--plan", PLAN.short)
    assert ended.code == 1
    assert "Nobody is signed in on this terminal." in ended.text


async def test_a_sign_in_that_is_over_is_refused_and_says_since_when(site: Site) -> None:
    there = await site.terminal("U0ANA", lasts=-timedelta(minutes=1))
    ended = await site.run(there, "incident", "approve", "17Q4RD0", "--plan", PLAN.short)
    assert ended.code == 1
    assert "on this terminal ended at" in ended.text
    assert (await site.incident()).votes == ()


async def test_a_copied_credential_that_others_can_read_is_refused(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    copy = site.folder / "copy.json"
    copy.write_bytes(ana.credential.read_bytes())
    copy.chmod(0o644)
    thief = Terminal(site.folder, site.folder / "thief", {**site.environ, "LASTGOOD_CREDENTIAL": str(copy)})
    ended = await site.run(thief, "incident", "approve", "17Q4RD0", "--plan", PLAN.short)
    assert ended.code == 1
    assert "may be read by others (mode 0644), so it proves nobody." in ended.text
    assert (await site.incident()).votes == ()


async def test_no_variable_makes_a_terminal_somebody_else(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    names = ("LASTGOOD_USER", "LASTGOOD_PERSON", "LASTGOOD_AS", "USER", "LOGNAME", "SUDO_USER")
    others = dict.fromkeys(names, "U0PRIYA")
    ended = await site.run(ana, "incident", "approve", "17Q4RD0", "--plan", PLAN.short, **others)
    assert ended.code == 0
    assert [vote.person for vote in (await site.incident()).votes] == ["U0ANA"]


async def test_there_is_no_flag_for_somebody_else(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    for flag in ("--as", "--user", "--person"):
        assert (await site.run(ana, "incident", "take", "17Q4RD0", flag, "U0PRIYA")).code == 2


# ── the site ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_other_files_than_those_serve_loaded_act_on_nothing(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    (site.folder / "lastgood.yaml").write_text(
        CONFIG.replace("owner: {members: [U0PRIYA, U0MIKA]}", "owner: {members: [U0ANA]}")
    )
    ended = await site.run(ana, "incident", "approve", "17Q4RD0", "--plan", PLAN.short)
    assert ended.code == 1
    assert "are not those `serve` decides by" in ended.text
    assert "LASTGOOD_CONFIG names the right ones" in ended.text
    assert (await site.incident()).votes == ()


async def test_a_site_that_never_served_is_named(site: Site, tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path}/new.db")
    ana = await site.terminal("U0ANA")
    ended = await site.run(
        ana, "autopilot", "off", "--reason", WHY, LASTGOOD_DATABASE_URL=f"sqlite:///{tmp_path}/new.db"
    )
    assert ended.code == 1
    assert "`serve` never ran on" in ended.text


async def test_acting_needs_no_key_of_checkpoints_and_starts_nothing(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    await site.run(ana, "incident", "approve", "17Q4RD0", "--plan", PLAN.short)
    beside = {path.name for path in site.folder.iterdir()}
    assert not [name for name in beside if name.endswith((".key", ".lock"))]
    assert [one.entry.type for one in await site.entries("system/policy")] == ["policy.loaded"]
    assert await site.entries("system/checkpoints") == []


@pytest.mark.parametrize(("person", "code"), [("U0ANA", 0), ("U0INES", 1)])
async def test_a_slack_that_hangs_holds_up_no_command_and_a_sign_in_vouches(site: Site, person: str, code: int) -> None:
    there = await site.terminal(person)
    site.slack.fail("*", "silence", after=120, lasting=600)
    began = time.monotonic()
    ended = await site.run(there, "incident", "approve", "17Q4RD0", "--plan", PLAN.short)
    assert time.monotonic() - began < 15
    assert ended.code == code, ended.text
    assert [vote.person for vote in (await site.incident()).votes] == ["U0ANA"] * (1 - code)


async def test_slack_is_asked_nothing_more_once_a_command_has_waited_long_enough() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    app, clock = web.Application(), ManualClock()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with aiohttp.ClientSession(middlewares=[acting._patience(clock)]) as session:
        async with session.get(url):
            clock.advance(acting.ASK_WITHIN)
        with pytest.raises(TimeoutError):
            await session.get(url)
    await runner.cleanup()
    assert asked == ["/"]


# ── the other acts ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_reject_keeps_the_reason_beside_the_timeline(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    reason = "42 is fine, the feed is late"
    ended = await site.run(ana, "incident", "reject", "17Q4RD0", "--reason", reason)
    assert (ended.code, ended.out) == (0, "✓ You rejected the plan. Nothing was changed.\n")
    rejected = next(one.entry for one in await site.entries() if isinstance(one.entry, e.PlanRejected))
    async with site.store as store:
        assert await store.said([rejected.text_ref]) == {rejected.text_ref: reason}


async def test_a_reason_too_short_is_refused_in_words(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    ended = await site.run(ana, "incident", "reject", "17Q4RD0", "--reason", "no")
    assert (ended.code, ended.out) == (1, "")
    assert "Say why in at least 10 characters." in ended.text


async def test_what_the_phase_does_not_allow_is_refused_in_words(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    for words in (("retry",), ("cancel", "--reason", WHY), ("mark-recovered", "--reason", WHY), ("plan-again",)):
        ended = await site.run(ana, "incident", words[0], "17Q4RD0", *words[1:])
        assert ended.code == 1
        assert "is waiting, so this is not possible now." in ended.text


async def test_another_version_an_edit_and_a_snooze_reach_the_timeline(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    chosen = await site.run(ana, "incident", "choose", "17Q4RD0", "--version", "40")
    assert chosen.code == 0, chosen.text
    requested = next(one.entry for one in await site.entries() if isinstance(one.entry, e.PlanRequested))
    assert (requested.person, requested.wanted) == ("U0ANA", "40")
    await site.write(stories.STREAM, e.PlanMade(plan=PLAN), decided())
    edited = await site.run(ana, "incident", "edit", "17Q4RD0", "--on-failure", "stop")
    assert edited.code == 0, edited.text
    assert (await site.incident()).edit is not None
    await site.write(stories.STREAM, e.PlanMade(plan=PLAN.but(editor="U0ANA")), decided())
    snoozed = await site.run(ana, "incident", "snooze", "17Q4RD0", "--for", "2h", "--reason", "Load test until noon")
    assert snoozed.code == 0, snoozed.text
    found = await site.incident()
    assert found.snoozed_by == "U0ANA"
    shown = (await site.run(ana, "incident", "show", "17Q4RD0")).text
    assert re.search(r"snoozed until \d\d:\d\d by Ana Ruiz", shown)
    assert "no vote" in shown


async def test_the_glass_breaks_for_the_named_role_with_the_models_name_typed(site: Site) -> None:
    priya, ana = await site.terminal("U0PRIYA"), await site.terminal("U0ANA")
    words = ("incident", "break-glass", "17Q4RD0", "--plan", PLAN.short, "--reason", WHY)
    assert (await site.run(priya, *words, "--type", "fraud-scorer")).code == 1
    wrong = await site.run(ana, *words, "--type", "fraud")
    assert (wrong.code, "Type fraud-scorer to act alone." in wrong.text) == (1, True)
    ended = await site.run(ana, *words, "--type", "fraud-scorer")
    assert ended.code == 0, ended.text
    broken = next(one.entry for one in await site.entries() if isinstance(one.entry, e.GlassBroken))
    assert set(broken.request) == {"terminal", "key", "signature", "nonce"}
    shown = (await site.run(ana, "incident", "show", "17Q4RD0")).text
    assert "review Ana Ruiz broke the glass as sre. Somebody else reviews it by" in shown


async def test_a_person_is_named_by_id_and_a_name_is_answered_with_the_ids(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    async with site.store as store:
        await store.call({"U0TOM": "Tom Becker"})
    ended = await site.run(ana, "incident", "hand-over", "17Q4RD0", "--to", "tom", "--reason", WHY)
    assert ended.code == 1
    assert "`tom` is no Slack member id." in ended.text
    assert "Tom Becker U0TOM" in ended.text


async def test_a_rollback_by_hand_has_the_signed_in_person_as_its_requester(site: Site) -> None:
    await site.write(stories.STREAM, e.IncidentClosed(outcome="dismissed", reason="Closed."))
    ana = await site.terminal("U0ANA")
    ended = await site.run(ana, "rollback", "fraud-scorer", "--to", "41", "--reason", "Chargebacks doubled since 42")
    assert ended.code == 0, ended.text
    assert re.search(
        r"✓ Incident \w{5}: a plan is being made\. You asked for it, so somebody else approves it\.", ended.text
    )
    async with site.store as store:
        (newest,) = await store.incidents(limit=1)
        opened = (await store.read(newest))[0].entry
        assert isinstance(opened, e.IncidentOpened)
        assert (opened.requester, opened.wanted, opened.environment) == ("U0ANA", "41", "dev")
        assert await store.said([opened.text_ref or ""]) == {opened.text_ref: "Chargebacks doubled since 42"}


async def test_a_message_that_led_nowhere_is_read_again_or_dismissed_by_the_person_signed_in(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    async with site.store as store:
        for name in ("01LOSTA", "01LOSTB"):
            raw = RawRequest(id=name, source="generic", received_at=SystemClock().now(), body=b'{"model":"frod"}')
            await store.receive(raw)
            await store.append(Append(inbound=(InboundDone(name, "accepted", "model 'frod' is not registered"),)))
    ended = await site.run(ana, "inbox", "replay", "LOSTA")
    assert ended.code == 0, ended.text
    assert "is being read again" in ended.text
    ended = await site.run(ana, "inbox", "dismiss", "LOSTB", "--reason", "The old cluster")
    assert ended.code == 0, ended.text
    rows = [row.entry for row in await site.entries("system/inbox")]
    assert [(one.type, getattr(one, "person", "")) for one in rows] == [
        ("inbox.replayed", "U0ANA"),
        ("inbox.dismissed", "U0ANA"),
    ]
    async with site.store as store:
        assert await store.quarantined() == []
        assert await store.pending() == 1


async def test_nobody_dismisses_a_message_without_signing_in(site: Site) -> None:
    nobody = await site.terminal("U0ANA", signed=False)
    ended = await site.run(nobody, "inbox", "dismiss", "LOSTA", "--reason", "x")
    assert ended.code == 1
    assert "Nobody is signed in on this terminal" in ended.text


async def test_a_guest_who_signed_a_terminal_in_long_ago_asks_for_nothing(site: Site) -> None:
    gil = await site.terminal("U0GIL")
    before = len(await site.entries())
    ended = await site.run(gil, "rollback", "fraud-scorer", "--reason", "Chargebacks doubled since 42")
    assert (ended.code, ended.out) == (1, "")
    assert "Guests cannot ask for a rollback. Nothing was changed." in ended.text
    assert len(await site.entries()) == before


async def test_while_slack_is_away_a_signed_in_person_asks_for_a_rollback(site: Site) -> None:
    await site.write(stories.STREAM, e.IncidentClosed(outcome="dismissed", reason="Closed."))
    ana = await site.terminal("U0ANA")
    site.slack.fail("*", "silence", after=120, lasting=600)
    ended = await site.run(ana, "rollback", "fraud-scorer", "--reason", "Chargebacks doubled since 42")
    assert ended.code == 0, ended.text


# ── who could, and the house ──────────────────────────────────────────────────────────────────────────────────────


async def test_who_could_fill_each_open_place_and_who_not_is_said(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    await site.run(ana, "incident", "approve", "17Q4RD0", "--plan", PLAN.short)
    told = await site.run(ana, "incident", "who", "17Q4RD0")
    assert told.out.splitlines()[0] == "could      owner: Priya Shah."
    assert "Mika Lind deployed 42" in told.text or "U0MIKA deployed 42" in told.text
    assert "Ana Ruiz approved as sre" in told.text
    found = (await site.run(ana, "incident", "who", "17Q4RD0", "--json")).json
    assert found["places"] == [{"role": "owner", "could": ["U0PRIYA"], "unsure": []}]
    assert [one["person"] for one in found["excluded"]] == ["U0MIKA", "U0ANA"]


async def test_nobody_is_named_where_nobody_is_asked(site: Site) -> None:
    await site.write(stories.STREAM, e.IncidentClosed(outcome="dismissed", reason="Closed."))
    ana = await site.terminal("U0ANA")
    told = await site.run(ana, "incident", "who", "17Q4RD0")
    assert told.out.startswith("could      No place is open: nobody is asked to approve while the incident is closed.")


async def test_the_switch_is_shown_and_thrown(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    assert (await site.run(ana, "autopilot")).out == "on         for all models, nobody ever switched it off\n"
    assert (await site.run(ana, "autopilot", "off")).code == 2
    ended = await site.run(ana, "autopilot", "off", "--model", "fraud-scorer", "--reason", "Labels are late today")
    assert ended.code == 0, ended.text
    state = await site.run(ana, "autopilot")
    assert re.match(r"off        for fraud-scorer, Ana Ruiz \d\d \w{3} \d\d:\d\d UTC\n", state.out)
    (row,) = (await site.run(ana, "autopilot", "--json")).json["autopilot"]
    assert (row["model"], row["on"], row["person"]) == ("fraud-scorer", False, "U0ANA")
    shown = (await site.run(ana, "incident", "show", "17Q4RD0")).text
    assert "autopilot Autopilot is off for fraud-scorer: Ana Ruiz switched it off" in shown


async def test_a_role_is_lent_and_returned(site: Site) -> None:
    ana, gone = await site.terminal("U0ANA"), await site.terminal("U0INES")
    lent = await site.run(ana, "lend", "sre", "U0INES", "--for", "8h", "--reason", "Dentist this morning")
    assert lent.code == 0, lent.text
    assert (await site.run(gone, "lend", "owner", "U0TOM", "--for", "8h", "--reason", WHY)).code == 1
    back = await site.run(ana, "return", "sre", "U0INES")
    assert back.code == 0, back.text
    assert [one.entry.type for one in await site.entries("system/roles")] == ["role.delegated", "role.returned"]


# ── a person at a terminal ────────────────────────────────────────────────────────────────────────────────────────


def at_a_terminal(there: Terminal, typed: str, *words: str) -> tuple[int, str]:
    """Run a command where a person sits, and type when it asks."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        there._words(words), cwd=there.folder, env=there._environ({}), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        said = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other side has gone
                break
            said += part
            if typed and said.rstrip().endswith(b":"):
                os.write(ours, f"{typed}\n".encode())
                typed = ""
        os.close(ours)
    return process.returncode, " ".join(said.decode().split())


@pytest.mark.parametrize(("typed", "votes"), [("y", ["U0ANA"]), ("n", []), ("yes please", [])])
async def test_a_person_reads_the_plan_and_types_y(site: Site, typed: str, votes: list[str]) -> None:
    ana = await site.terminal("U0ANA")
    code, said = await asyncio.to_thread(at_a_terminal, ana, typed, "incident", "approve", "17Q4RD0")
    assert f"plan {PLAN.short}" in said
    assert re.search(r"Approve 42 → 41 as \S+( Ruiz)?\? Type y:", said)
    assert code == (0 if votes else 1)
    assert votes or said.endswith("Not now. Nothing was changed.")
    assert [vote.person for vote in (await site.incident()).votes] == votes


async def test_with_yes_a_person_is_shown_the_plan_and_not_asked(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    code, said = await asyncio.to_thread(at_a_terminal, ana, "", "incident", "approve", "17Q4RD0", "--yes")
    assert (code, "Type y" in said, f"plan {PLAN.short}" in said) == (0, False, True)


async def test_breaking_the_glass_asks_for_the_models_name(site: Site) -> None:
    ana = await site.terminal("U0ANA")
    words = ("incident", "break-glass", "17Q4RD0", "--reason", WHY)
    code, said = await asyncio.to_thread(at_a_terminal, ana, "fraud-scorer", *words)
    assert "alone moves fraud-scorer 42 → 41. Type the model's name:" in said
    assert code == 0, said
