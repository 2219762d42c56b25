"""Who a person is and what they hold: addresses link accounts one to one, and whatever cannot be told counts as no."""

from __future__ import annotations

import asyncio
import unicodedata
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.web.async_client import AsyncWebClient

from adapters.paging.pagerduty import PagerDuty, PagerDutyConfig
from bot.clock import START, ManualClock
from bot.demo.slack import TEAM, SlackLookalike
from bot.demo.slack_faults import Kind
from bot.domain import entries as e
from bot.domain.incident import Phase
from bot.domain.orders import LOGINS, Orders
from bot.domain.person import Membership, OnCall, Person
from bot.domain.press import Answer
from bot.domain.roles import Role
from bot.errors import Unavailable
from bot.log import JsonLog
from bot.ports import Context, Directory
from bot.roster import SHARED, Roster, folded
from bot.slack.bolt import CALL_WITHIN
from bot.slack.directory import SlackDirectory
from tests.adapters.paging.fake_pagerduty import SENDER, TOKEN, FakePagerDuty
from tests.flow.corridor import ROLES, Corridor

SOURCE = "schedule PSRE"
ANA = OnCall(id="PANA", email="ana.ruiz@lastgood.example", name="Ana Ruiz")
PRIYA = OnCall(id="PPRIYA", email="priya.shah@lastgood.example", name="Priya Shah")
AWAY = "PagerDuty did not answer (2\u00a0s), so I cannot confirm who is on call."


@dataclass
class FakePager:
    """A pager that says what a test lets it say, at once."""

    people: tuple[OnCall, ...] = ()
    trouble: str = ""
    asked: list[tuple[str, str, bool]] = field(default_factory=list)

    async def on_call(self, kind: str, name: str, *, fresh: bool = False) -> tuple[OnCall, ...]:
        self.asked.append((kind, name, fresh))
        if self.trouble:
            raise Unavailable(self.trouble)
        return self.people


@dataclass
class SignIns:
    """Which terminals are signed in."""

    orders: Orders = field(default_factory=lambda: Orders(LOGINS))

    def let_in(self, user: str, hours: float = 12) -> None:
        granted = e.LoginGranted(
            key=user, person=user, until=START + timedelta(hours=hours), via="slack", host="laptop"
        )
        self.orders = Orders(LOGINS, logins={**self.orders.logins, user: granted})

    async def __call__(self) -> Orders:
        return self.orders


@pytest.fixture
async def slack(clock: ManualClock) -> AsyncIterator[SlackLookalike]:
    workspace = SlackLookalike(clock)
    await workspace.start()
    yield workspace
    await workspace.stop()


@pytest.fixture
async def accounts(slack: SlackLookalike, clock: ManualClock) -> AsyncIterator[SlackDirectory]:
    async with aiohttp.ClientSession(timeout=CALL_WITHIN) as session:
        client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url, session=session, retry_handlers=[])
        yield SlackDirectory(client, clock, TEAM)


@pytest.fixture
def pager() -> FakePager:
    return FakePager((ANA,))


@pytest.fixture
def signed_in() -> SignIns:
    return SignIns()


@pytest.fixture
def roster(accounts: SlackDirectory, pager: FakePager, signed_in: SignIns, clock: ManualClock) -> Roster:
    return Roster(accounts, pager, signed_in, clock)


def gone(slack: SlackLookalike, kind: Kind = "error", says: str = "") -> None:
    slack.fail("*", kind, times=100, says=says)


# ── on call ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_whoever_is_on_call_holds_the_role_and_nobody_else(roster: Roster, pager: FakePager) -> None:
    assert isinstance(roster, Directory)
    held = await roster.belongs("U0ANA", SOURCE)
    assert (held.source, held.held, held.detail, held.fetched_at) == (SOURCE, True, "", START)
    other = await roster.belongs("U0PRIYA", "escalation_policy PEP", fresh=True)
    assert (other.held, other.detail) == (False, "On call in escalation policy PEP now: <@U0ANA>.")
    assert pager.asked == [("schedule", "PSRE", False), ("escalation_policy", "PEP", True)]


async def test_nobody_on_call_is_an_answer(roster: Roster, pager: FakePager) -> None:
    pager.people = ()
    told = await roster.belongs("U0ANA", SOURCE)
    assert (told.held, told.detail) == (False, "Nobody is on call in schedule PSRE now.")
    assert roster.trouble(SOURCE) == ""


async def test_somebody_on_call_without_an_account_of_ours_holds_nothing(roster: Roster, pager: FakePager) -> None:
    pager.people = (OnCall(id="PX", email="x@elsewhere.example", name="Xenia Roth"),)
    told = await roster.belongs("U0ANA", SOURCE)
    assert told.held is False
    assert told.detail == "Xenia Roth is on call and has no active account of ours with the same address."


@pytest.mark.parametrize("email", ["ANA.Ruiz@Lastgood.Example", " ana.ruiz@lastgood.example "])
async def test_an_address_is_compared_without_case(roster: Roster, pager: FakePager, email: str) -> None:
    pager.people = (OnCall(id="PANA", email=email),)
    assert (await roster.belongs("U0ANA", SOURCE)).held is True


async def test_identity_is_the_id_and_never_the_name(roster: Roster, slack: SlackLookalike) -> None:
    slack.add_user("U0EVE", "Eve Moss")
    slack.users["U0EVE"]["profile"]["real_name"] = "Ana Ruiz"
    slack.users["U0ANA"]["profile"]["real_name"] = "Ana Ruiz-Roth"
    assert (await roster.belongs("U0EVE", SOURCE)).held is False
    assert (await roster.belongs("U0ANA", SOURCE)).held is True


async def test_a_person_on_call_whose_address_pagerduty_hides_leaves_it_open(roster: Roster, pager: FakePager) -> None:
    pager.people = (OnCall(id="PDANA", email="", name="Dana Roe"), PRIYA)
    told = await roster.belongs("U0ANA", SOURCE)
    assert told.held is None
    assert told.detail == "PagerDuty shows no address of Dana Roe, so I cannot tell whose account that is."
    assert (await roster.belongs("U0PRIYA", SOURCE)).held is True
    assert await roster.people(SOURCE) == ("U0PRIYA",)


async def test_without_a_pager_nobody_is_on_call(
    accounts: SlackDirectory, signed_in: SignIns, clock: ManualClock
) -> None:
    roster = Roster(accounts, None, signed_in, clock)
    told = await roster.belongs("U0ANA", SOURCE)
    assert (told.held, told.detail) == (None, "No PagerDuty is configured, so I cannot confirm who is on call.")
    assert await roster.people(SOURCE) == ()


# ── RT7, RT8 ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("flags", [{"deleted": True}, {"is_stranger": True}, {"team_id": "T0OTHER"}])
async def test_rt7_an_account_that_is_no_longer_or_not_ours_holds_nothing_at_click_and_at_claim(
    roster: Roster, slack: SlackLookalike, flags: dict[str, object], *, fresh: bool
) -> None:
    slack.users["U0ANA"].update(flags)
    assert (await roster.belongs("U0ANA", SOURCE, fresh=fresh)).held is False
    assert await roster.people(SOURCE) == ()


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    ("flag", "fact"), [("is_restricted", "guest"), ("is_ultra_restricted", "guest"), ("is_bot", "bot")]
)
async def test_rt7_a_guest_or_an_app_on_call_is_known_as_one_and_named_to_nobody(
    roster: Roster, slack: SlackLookalike, flag: str, fact: str, *, fresh: bool
) -> None:
    slack.users["U0ANA"][flag] = True
    person = await roster.person("U0ANA", fresh=fresh)
    assert person is not None
    assert getattr(person, fact)
    assert (await roster.people(SOURCE), await roster.shown(SOURCE)) == ((), ())


async def test_rt8_who_is_on_call_changes_between_the_vote_and_the_claim(roster: Roster, pager: FakePager) -> None:
    vote = await roster.belongs("U0ANA", SOURCE)
    pager.people = (PRIYA,)
    claim = await roster.belongs("U0ANA", SOURCE, fresh=True)
    assert (vote.held, claim.held) == (True, False)
    assert pager.asked[-1] == ("schedule", "PSRE", True)


async def test_rt8_an_account_deactivated_between_the_vote_and_the_claim_no_longer_counts(
    roster: Roster, slack: SlackLookalike, clock: ManualClock
) -> None:
    vote = await roster.belongs("U0ANA", SOURCE)
    slack.users["U0ANA"]["deleted"] = True
    clock.advance(3)
    claim = await roster.belongs("U0ANA", SOURCE, fresh=True)
    assert (vote.held, claim.held) == (True, False)


# ── RT11: one person, one account, one address ────────────────────────────────────────────────────────────────────


async def test_rt11_two_accounts_with_one_address_and_neither_counts(roster: Roster, slack: SlackLookalike) -> None:
    slack.add_user("U0ANA2", "Ana Second")
    slack.users["U0ANA2"]["profile"]["email"] = "Ana.Ruiz@Lastgood.example"
    assert (await roster.belongs("U0ANA", SOURCE)).held is True, "the second account was never seen"
    await roster.person("U0ANA2")
    for user in ("U0ANA", "U0ANA2"):
        told = await roster.belongs(user, SOURCE)
        assert (told.held, told.detail) == (False, "Two accounts share the address, so neither counts.")
    assert await roster.people(SOURCE) == ()


@pytest.mark.parametrize(("later", "fresh"), [(61, False), (3, True)])
@pytest.mark.parametrize("change", [{"deleted": True}, {"team_id": "T0OTHER"}])
async def test_rt11_an_account_that_is_gone_or_elsewhere_shares_nothing(
    roster: Roster, slack: SlackLookalike, change: dict[str, object], clock: ManualClock, later: int, *, fresh: bool
) -> None:
    slack.add_user("U0ANA2", "Ana Second")
    slack.users["U0ANA2"]["profile"]["email"] = ANA.email
    await roster.person("U0ANA2")
    slack.users["U0ANA2"].update(change)
    clock.advance(later)
    assert (await roster.belongs("U0ANA", SOURCE, fresh=fresh)).held is True


async def test_rt11_two_pagerduty_users_with_one_address_and_neither_counts(roster: Roster, pager: FakePager) -> None:
    pager.people = (ANA, OnCall(id="PANA2", email=ANA.email.upper()), PRIYA)
    told = await roster.belongs("U0ANA", SOURCE)
    assert (told.held, told.detail) == (False, SHARED)
    assert await roster.people(SOURCE) == ("U0PRIYA",)


async def test_rt11_a_second_account_nobody_can_ask_about_leaves_it_open(
    roster: Roster, slack: SlackLookalike, clock: ManualClock
) -> None:
    slack.add_user("U0ANA2", "Ana Second")
    slack.users["U0ANA2"]["profile"]["email"] = ANA.email
    await roster.person("U0ANA2")
    clock.advance(61)
    slack.fail("users.info", "error", times=9)
    assert (await roster.belongs("U0ANA", SOURCE)).held is None


@dataclass
class Book:
    """Accounts in memory: `lookup` is whom the workspace names for an address."""

    everybody: tuple[Person, ...]

    def name(self, user: str) -> str:
        return user

    def seen(self) -> Collection[Person]:
        return self.everybody

    def admits(self, user: str) -> bool | None:
        raise AssertionError(user)

    def keep_warm(self, sources: Iterable[str], people: Iterable[str]) -> None:
        raise AssertionError((sources, people))

    async def person(self, user: str, *, fresh: bool = False) -> Person | None:
        return next((one for one in self.everybody if one.id == user), None)

    async def by_email(self, email: str, *, fresh: bool = False) -> Person | None:
        return next((one for one in self.everybody if one.active and one.email.lower() == email.lower()), None)

    async def belongs(self, user: str, source: str, *, fresh: bool = False) -> Membership:
        raise AssertionError(source)

    async def people(self, source: str) -> tuple[str, ...]:
        raise AssertionError(source)

    async def shown(self, source: str) -> tuple[str, ...]:
        raise AssertionError(source)


addresses = st.sampled_from(["a@x.example", "A@X.example", "b@x.example", "B@x.example", "c@x.example", ""])
people = st.lists(st.tuples(addresses, st.booleans(), st.booleans()), max_size=5)


@settings(deadline=None)  # what is measured is who holds, not the machine
@given(people, st.lists(addresses, max_size=4))
def test_rt11_a_role_is_held_by_exactly_one_account_and_one_user_an_address(
    drawn: list[tuple[str, bool, bool]], on_call: list[str]
) -> None:
    everybody = tuple(
        Person(id=f"U{n}", email=email, active=active, ours=ours, fetched_at=START)
        for n, (email, active, ours) in enumerate(drawn)
    )
    pager = FakePager(tuple(OnCall(id=f"P{n}", email=email) for n, email in enumerate(on_call)))
    roster = Roster(Book(everybody), pager, SignIns(), ManualClock())
    for one in everybody:
        told = asyncio.run(roster.belongs(one.id, SOURCE))
        same = one.email.lower()
        users = [email for email in on_call if email and email.lower() == same]
        holders = [other for other in everybody if other.active and other.email.lower() == same]
        ours = [other for other in holders if other.ours]
        named = bool(holders) and holders[0].ours
        if one in ours and named and len(ours) == len(users) == 1:
            assert told.held is True
        elif "" in on_call and SHARED not in told.detail:
            assert told.held is None
        else:
            assert told.held is False


@given(st.text(max_size=30))
def test_an_address_has_one_form_however_it_is_composed_or_spaced(text: str) -> None:
    forms = {folded(unicodedata.normalize(form, f" {text}@X.example ")) for form in ("NFC", "NFD")}
    assert len(forms) == 1
    assert folded(forms.pop()) == folded(f"{text}@x.example")


# ── RF3: a look-up that fails ─────────────────────────────────────────────────────────────────────────────────────


async def test_rf3_while_pagerduty_is_away_the_role_is_not_held_and_it_says_so(
    roster: Roster, pager: FakePager, clock: ManualClock
) -> None:
    pager.trouble = AWAY
    told = await roster.belongs("U0ANA", SOURCE)
    assert (told.held, told.detail) == (None, AWAY)
    assert await roster.people(SOURCE) == ()
    assert roster.trouble(SOURCE) == AWAY
    assert roster.trouble("schedule POTHER") == ""
    clock.advance(61)
    assert roster.trouble(SOURCE) == ""


async def test_rf3_pagerduty_away_keeps_no_card_waiting_and_the_card_can_say_it(
    roster: Roster, pager: FakePager
) -> None:
    pager.trouble = AWAY
    assert await roster.shown(SOURCE) == ()
    pager.trouble = ""
    assert await roster.shown(SOURCE) == ("U0ANA",)
    assert roster.trouble(SOURCE) == ""
    pager.trouble = AWAY
    assert await roster.shown(SOURCE) == ("U0ANA",), "an older answer rather than none"
    assert roster.trouble(SOURCE) == AWAY
    pager.trouble, pager.people = "", ()
    assert await roster.shown(SOURCE) == ()


async def test_rf3_a_real_pager_without_an_answer(
    accounts: SlackDirectory, signed_in: SignIns, clock: ManualClock, tmp_path: Path
) -> None:
    fake = FakePagerDuty(clock, tmp_path)
    fake.person("PANA", ANA.name, ANA.email)
    fake.shift("PANA", schedule="PSRE")
    await fake.start()
    secrets = {"PAGERDUTY_TOKEN": TOKEN, "PAGERDUTY_API_URL": fake.url, "PAGERDUTY_CA": fake.ca}
    context = Context(clock=clock, name="pagerduty", log=JsonLog(clock, quiet=True), secret=secrets.get)
    async with PagerDuty(PagerDutyConfig.model_validate({"from": SENDER}), context) as pager:
        roster = Roster(accounts, pager, signed_in, clock)
        assert (await roster.belongs("U0ANA", SOURCE)).held is True
        clock.advance(3)
        fake.hang()
        told = await roster.belongs("U0ANA", SOURCE, fresh=True)
        assert (told.held, told.detail, roster.trouble(SOURCE)) == (None, AWAY, AWAY)
        assert (await roster.belongs("U0ANA", SOURCE)).held is True, "what is 3 s old is good enough for a click"
        assert roster.trouble(SOURCE) == ""
    await fake.stop()


async def test_slack_that_cannot_say_whose_address_it_is_leaves_it_open(roster: Roster, slack: SlackLookalike) -> None:
    slack.fail("users.lookupByEmail", "error", times=2)
    told = await roster.belongs("U0ANA", SOURCE)
    assert told.held is None
    assert told.detail == "Slack did not answer, so I cannot tell whose account has this address."
    assert await roster.shown(SOURCE) == ()
    assert roster.trouble(SOURCE) == told.detail


async def test_a_card_names_who_was_on_call_while_slack_cannot_say_whose_address_it_is(
    roster: Roster, slack: SlackLookalike, clock: ManualClock
) -> None:
    assert await roster.shown(SOURCE) == ("U0ANA",)
    clock.advance(61)
    slack.fail("users.lookupByEmail", "error", times=9)
    assert await roster.shown(SOURCE) == ("U0ANA",)
    assert roster.trouble(SOURCE) == "Slack did not answer, so I cannot tell whose account has this address."


async def test_a_member_needs_no_network_and_a_group_fails_closed(roster: Roster, slack: SlackLookalike) -> None:
    gone(slack)
    assert (await roster.belongs("U0INES", "member U0INES")).held is True
    assert slack.calls.total() == 0
    told = await roster.belongs("U0ANA", "usergroup S0ONCALL")
    assert told.held is None
    assert roster.trouble("usergroup S0ONCALL") == told.detail == "Slack did not say who is in S0ONCALL."
    with pytest.raises(Unavailable):
        await roster.shown("usergroup S0FRAUD")
    assert roster.trouble("usergroup S0FRAUD") == "Slack did not say who is in S0FRAUD."


async def test_groups_and_members_are_asked_of_slack(roster: Roster, pager: FakePager) -> None:
    assert (await roster.belongs("U0ANA", "usergroup S0ONCALL")).held is True
    assert await roster.people("usergroup S0ONCALL") == ("U0ANA", "U0TOM")
    assert await roster.shown("member U0ANA") == ("U0ANA",)
    assert (roster.name("U0ANA"), roster.name("U0INES")) == ("Ana Ruiz", "U0INES")
    assert pager.asked == []


# ── a sign-in made beforehand ─────────────────────────────────────────────────────────────────────────────────────


async def test_while_slack_is_away_a_sign_in_vouches_for_the_person_until_it_ends(
    roster: Roster, slack: SlackLookalike, signed_in: SignIns, accounts: SlackDirectory, clock: ManualClock
) -> None:
    signed_in.let_in("U0ANA", hours=1)
    accounts.recall({"U0ANA": "Ana Ruiz"})
    gone(slack)
    until = START + timedelta(hours=1)
    assert await roster.person("U0ANA", fresh=True) == Person(
        id="U0ANA", name="Ana Ruiz", fetched_at=START, vouched_until=until
    )
    with pytest.raises(Unavailable):
        await roster.person("U0TOM")
    clock.advance(3600)
    with pytest.raises(Unavailable):
        await roster.person("U0ANA")


@pytest.mark.parametrize(
    ("kind", "says"),
    [("limited", ""), ("says", "ratelimited"), ("says", "missing_scope"), ("says", "account_inactive")],
)
async def test_a_sign_in_never_stands_in_for_an_answer_slack_withholds(
    roster: Roster, slack: SlackLookalike, signed_in: SignIns, kind: Kind, says: str
) -> None:
    signed_in.let_in("U0ANA")
    gone(slack, kind, says)
    with pytest.raises(Unavailable):
        await roster.person("U0ANA")


async def test_a_sign_in_never_overrides_what_slack_says(
    roster: Roster, slack: SlackLookalike, signed_in: SignIns
) -> None:
    for user in ("U0ANA", "U0NOBODY"):
        signed_in.let_in(user)
    slack.users["U0ANA"]["deleted"] = True
    person = await roster.person("U0ANA")
    assert person is not None
    assert (person.active, person.vouched_until) == (False, None)
    assert await roster.person("U0NOBODY") is None


@pytest.mark.parametrize("flag", ["deleted", "is_restricted", "is_bot", "is_stranger", ""])
async def test_whom_slack_did_not_admit_while_it_was_there_no_sign_in_admits_when_it_is_away(
    roster: Roster, slack: SlackLookalike, signed_in: SignIns, clock: ManualClock, flag: str
) -> None:
    signed_in.let_in("U0X")
    if flag:
        slack.add_user("U0X", "Xenia Roth", **{flag: True})
    await roster.person("U0X")
    clock.advance(61)
    gone(slack)
    with pytest.raises(Unavailable):
        await roster.person("U0X")
    slack.faults.clear()
    slack.add_user("U0X", "Xenia Roth")
    assert (await roster.person("U0X")) is not None
    clock.advance(61)
    gone(slack)
    back = await roster.person("U0X")
    assert back is not None
    assert back.vouched_until is not None


# ── kept warm: no press waits for a look-up ───────────────────────────────────────────────────────────────────────


class SlowSlack:
    """Slack's answers about people: each takes 2 s on the test's clock and is what is true when it is asked."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.asked = clock, Counter[str]()
        self.group = ["U0ANA", "U0TOM"]

    async def _said(self, method: str, answer: dict[str, Any]) -> dict[str, Any]:
        self.asked[method] += 1
        await self.clock.sleep(2)
        return answer

    async def users_info(self, user: str) -> dict[str, Any]:
        return await self._said("users.info", {"user": _account(user)})

    async def users_lookupByEmail(self, email: str) -> dict[str, Any]:
        return await self._said("users.lookupByEmail", {"user": _account(email.partition("@")[0].upper())})

    async def usergroups_users_list(self, usergroup: str) -> dict[str, Any]:
        return await self._said(usergroup, {"users": list(self.group)})


def _account(user: str) -> dict[str, Any]:
    return {"id": user, "name": user, "team_id": TEAM, "profile": {"email": f"{user.lower()}@lastgood.example"}}


class SlowPager(FakePager):
    """A pager with the promise of the real one: an answer is kept for 60 s, for 2 s where it must be fresh."""

    clock: ManualClock
    known: tuple[datetime, tuple[OnCall, ...]] | None = None

    async def on_call(self, kind: str, name: str, *, fresh: bool = False) -> tuple[OnCall, ...]:
        if self.known is None or self.clock.now() - self.known[0] > timedelta(seconds=2 if fresh else 60):
            at, people = self.clock.now(), await super().on_call(kind, name, fresh=fresh)
            await self.clock.sleep(2)
            self.known = (at, people)
        return self.known[1]


class Town:
    """A plan that waits for people, behind a Slack and a pager that take 2 s for every answer."""

    def __init__(self) -> None:
        roles = {**ROLES, "duty": Role(pagerduty_schedules=("PSRE",))}
        rules = [{"id": "both", "plan_ttl": "1h", "require": [{"role": "sre"}, {"role": "duty"}, {"role": "owner"}]}]
        self.corridor = Corridor(rules, roles=roles)
        clock = self.corridor.clock
        self.slack, self.pager = SlowSlack(clock), SlowPager((OnCall(id="P1", email="u0dana@lastgood.example"),))
        self.pager.clock = clock
        directory = SlackDirectory(cast("Any", self.slack), clock, TEAM)
        self.roster = Roster(directory, self.pager, SignIns(), clock)
        self.corridor.world = replace(self.corridor.world, directory=self.roster)

    @property
    def look_ups(self) -> int:
        return self.slack.asked.total() + len(self.pager.asked)

    async def opened(self) -> str:
        stream = await self.corridor.fire()
        await self.corridor.run(stream, until=Phase.WAITING)
        for _ in range(3):
            await self.looked(stream)
        return stream

    async def looked(self, stream: str) -> None:
        """Let the stage look once, and ten seconds pass."""
        await self.corridor.turn(stream)
        roles = self.corridor.world.catalogue.roles.values()
        sources = [source for role in roles for source in role.sources]
        self.roster.keep_warm(sources, [vote.person for vote in (await self.corridor.incident(stream)).votes])
        await self.corridor.clock.run(10)

    async def pressed(self, person: str, stream: str) -> Answer:
        """Press while the clock stands still: who waits for a look-up waits for ever."""
        async with asyncio.timeout(2):
            return await self.corridor.press(person, "approve", stream)


async def test_sixty_clicks_over_five_minutes_wait_for_no_look_up() -> None:
    here = Town()
    stream = await here.opened()
    begun = here.corridor.clock.now()
    told = []
    for n in range(60):
        told.append(await here.pressed(("U0ANA", "U0TOM", "U0DANA", "U0INES")[n % 4], stream))
        await here.corridor.clock.run(0.001)
        if n % 2:
            await here.looked(stream)
    assert here.corridor.clock.now() - begun >= timedelta(minutes=5)
    assert [one.text[:31] for one in told[:4]] == [
        "You approved 42 → 41 as sre, 1 ",
        "The sre place is filled. Missin",
        "You approved 42 → 41 as duty, 2",
        "This plan needs owner; you hold",
    ]
    assert not any(one.ok for one in told[4:])
    assert here.look_ups >= 6 * 6, "what nobody waited for was asked again and again meanwhile"


async def test_without_looks_a_click_waits_for_its_look_ups() -> None:
    here = Town()
    stream = await here.opened()
    here.corridor.clock.advance(61)
    press = asyncio.ensure_future(here.corridor.press("U0ANA", "approve", stream))
    await here.corridor.clock.run(1)
    assert not press.done(), "or nothing above shows anything"
    await here.corridor.clock.run(9)
    assert (await press).ok


async def test_rt8_a_lost_membership_is_seen_at_the_click_within_a_minute() -> None:
    here = Town()
    stream = await here.opened()
    here.slack.group = ["U0ANA"]
    for _ in range(6):
        await here.looked(stream)
    press = asyncio.ensure_future(here.corridor.press("U0TOM", "approve", stream))
    await here.corridor.clock.run(2)  # who is in no group any more is nobody to keep an answer warm about
    told = await press
    assert (told.ok, told.text.partition(";")[0]) == (False, "This plan needs sre, duty and owner")


async def test_rt8_a_lost_membership_is_seen_at_the_claim_within_two_seconds() -> None:
    here = Town()
    stream = await here.opened()
    for person in ("U0DANA", "U0PRIYA", "U0ANA"):
        assert (await here.pressed(person, stream)).ok
    here.slack.group = ["U0TOM"]
    await here.corridor.clock.run(2.1)
    claim = asyncio.ensure_future(here.corridor.turn(stream))
    await here.corridor.clock.run(20)
    await claim
    assert here.corridor.last(stream, e.PlanUncleared).reason == "The approval of <@U0ANA> no longer counts."
    assert here.corridor.shifts == 0


async def test_who_is_on_call_is_asked_again_before_the_answer_is_too_old(
    roster: Roster, pager: FakePager, clock: ManualClock
) -> None:
    for seconds, questions in ((0, [False]), (35, [False]), (1, [False, True]), (61, [False])):
        clock.advance(seconds)
        pager.asked.clear()
        await roster.belongs("U0ANA", SOURCE)
        async with asyncio.timeout(60):
            while len(pager.asked) < len(questions):
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        assert [fresh for _, _, fresh in pager.asked] == questions, f"{seconds} s later"


async def test_who_was_learnt_to_be_gone_in_the_background_no_sign_in_admits(
    roster: Roster, slack: SlackLookalike, signed_in: SignIns, accounts: SlackDirectory, clock: ManualClock
) -> None:
    signed_in.let_in("U0ANA")
    await roster.person("U0ANA")
    slack.users["U0ANA"]["deleted"] = True
    clock.advance(40)
    roster.keep_warm([], ["U0ANA"])
    async with asyncio.timeout(60):
        while accounts.admits("U0ANA"):
            await asyncio.sleep(0.005)
    clock.advance(61)
    gone(slack)
    with pytest.raises(Unavailable):
        await roster.person("U0ANA")


async def test_without_a_pager_nothing_is_asked_about_who_is_on_call(
    accounts: SlackDirectory, signed_in: SignIns, clock: ManualClock, slack: SlackLookalike
) -> None:
    Roster(accounts, None, signed_in, clock).keep_warm([SOURCE], [])
    await asyncio.sleep(0.02)
    assert slack.calls.total() == 0
