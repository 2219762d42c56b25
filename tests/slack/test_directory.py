"""Who people are now; a failed look-up is never a yes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.clock import START, ManualClock
from bot.demo.slack import TEAM, SlackLookalike
from bot.demo.slack_faults import Kind
from bot.errors import Unavailable
from bot.roster import Withheld
from bot.slack.directory import PEOPLE, SlackDirectory


@pytest.fixture
def directory(client: AsyncWebClient, clock: ManualClock) -> SlackDirectory:
    return SlackDirectory(client, clock, TEAM)


@pytest.mark.parametrize(
    ("flags", "fact"),
    [
        ({"deleted": True}, {"active": False}),
        ({"is_restricted": True}, {"guest": True}),
        ({"is_ultra_restricted": True}, {"guest": True}),
        ({"is_stranger": True}, {"ours": False}),
        ({"team_id": "T0OTHER"}, {"ours": False}),
        ({"is_bot": True}, {"bot": True}),
    ],
)  # fmt: skip
async def test_each_flag_is_a_fact(
    directory: SlackDirectory, slack: SlackLookalike, flags: dict[str, object], fact: dict[str, bool]
) -> None:
    slack.add_user("U0X", "Xenia Roth", **flags)
    person = await directory.person("U0X")
    assert person is not None
    usual = {"active": True, "guest": False, "bot": False, "ours": True}
    assert {name: getattr(person, name) for name in usual} == {**usual, **fact}
    assert await directory.people("member U0X") == ()


async def test_an_unknown_id_is_nobody(directory: SlackDirectory) -> None:
    assert await directory.person("U0NOBODY") is None


async def test_a_failed_look_up_is_not_an_answer(directory: SlackDirectory, slack: SlackLookalike) -> None:
    slack.fail("users.info", "error")
    with pytest.raises(Unavailable):
        await directory.person("U0ANA")


async def test_a_group_nobody_could_ask_is_neither_yes_nor_no(directory: SlackDirectory, slack: SlackLookalike) -> None:
    slack.fail("usergroups.users.list", "error")
    told = await directory.belongs("U0ANA", "usergroup S0ONCALL")
    assert told.held is None
    assert told.detail == "Slack did not say who is in S0ONCALL."
    slack.fail("usergroups.users.list", "error")
    assert await directory.people("usergroup S0ONCALL") == ()


async def test_membership_is_kept_for_a_minute_and_fresh_for_two_seconds(
    directory: SlackDirectory, slack: SlackLookalike, clock: ManualClock
) -> None:
    assert (await directory.belongs("U0ANA", "usergroup S0ONCALL")).held
    slack.groups["S0ONCALL"] = ["U0TOM"]
    clock.advance(59)
    assert (await directory.belongs("U0ANA", "usergroup S0ONCALL")).held
    assert (await directory.belongs("U0ANA", "usergroup S0ONCALL", fresh=True)).held is False
    slack.groups["S0ONCALL"] = ["U0ANA"]
    clock.advance(61)
    assert (await directory.belongs("U0ANA", "usergroup S0ONCALL")).held


async def test_an_account_is_kept_for_a_minute_and_fresh_for_two_seconds(
    directory: SlackDirectory, slack: SlackLookalike, clock: ManualClock
) -> None:
    await directory.person("U0ANA")
    slack.users["U0ANA"]["deleted"] = True
    clock.advance(3)
    kept, fresh = await directory.person("U0ANA"), await directory.person("U0ANA", fresh=True)
    assert kept is not None
    assert fresh is not None
    assert (kept.active, fresh.active) == (True, False)
    clock.advance(61)
    await directory.person("U0ANA")
    assert slack.calls["users.info"] == 3


async def test_who_asks_about_a_group_at_the_same_time_shares_one_answer(
    directory: SlackDirectory, slack: SlackLookalike
) -> None:
    await asyncio.gather(*(directory.belongs(user, "usergroup S0ONCALL", fresh=True) for user in ("U0ANA", "U0TOM")))
    assert slack.calls["usergroups.users.list"] == 1


async def test_a_name_is_remembered_once_and_known_again_after_a_restart(
    client: AsyncWebClient, clock: ManualClock
) -> None:
    told: list[dict[str, str]] = []

    async def remember(names: Mapping[str, str]) -> None:
        told.append(dict(names))

    directory = SlackDirectory(client, clock, TEAM, remember)
    await directory.person("U0ANA")
    clock.advance(5)
    await directory.person("U0ANA")
    assert told == [{"U0ANA": "Ana Ruiz"}]
    later = SlackDirectory(client, clock, TEAM, remember)
    later.recall(told[0])
    assert later.name("U0ANA") == "Ana Ruiz"


async def test_an_old_answer_never_stands_in_for_a_failed_one(
    directory: SlackDirectory, slack: SlackLookalike, clock: ManualClock
) -> None:
    assert (await directory.belongs("U0ANA", "usergroup S0ONCALL")).held
    clock.advance(61)
    slack.fail("usergroups.users.list", "error")
    assert (await directory.belongs("U0ANA", "usergroup S0ONCALL")).held is None


async def test_a_member_is_the_id_and_nothing_else(directory: SlackDirectory) -> None:
    assert (await directory.belongs("U0INES", "member U0INES")).held is True
    assert (await directory.belongs("U0ANA", "member U0INES")).held is False


async def test_somebody_deactivated_is_no_longer_named(
    directory: SlackDirectory, slack: SlackLookalike, clock: ManualClock
) -> None:
    assert await directory.people("member U0ANA") == ("U0ANA",)
    slack.users["U0ANA"]["deleted"] = True
    clock.advance(61)
    assert await directory.people("member U0ANA") == ()


async def test_the_workspace_is_learnt_when_slack_is_back(
    client: AsyncWebClient, clock: ManualClock, slack: SlackLookalike
) -> None:
    directory = SlackDirectory(client, clock, "")
    slack.fail("auth.test", "error")
    assert await directory.workspace() == ""
    assert await directory.workspace() == TEAM


async def test_an_address_leads_to_its_one_account_whose_address_is_known_from_then_on(
    directory: SlackDirectory, slack: SlackLookalike
) -> None:
    found = await directory.by_email("Ana.Ruiz@lastgood.example")
    assert found is not None
    assert (found.id, found.email) == ("U0ANA", "ana.ruiz@lastgood.example")
    assert await directory.person("U0ANA") == found
    assert [one.id for one in directory.seen()] == ["U0ANA"]
    assert await directory.by_email("nobody@lastgood.example") is None


async def test_an_address_is_kept_for_a_minute_and_fresh_for_two_seconds(
    directory: SlackDirectory, slack: SlackLookalike, clock: ManualClock
) -> None:
    address = "ana.ruiz@lastgood.example"
    await asyncio.gather(*(directory.by_email(address, fresh=True) for _ in range(5)))
    for seconds, fresh, asked in ((35, False, 1), (26, False, 2), (2, True, 2), (1, True, 3)):
        clock.advance(seconds)
        await directory.by_email(address, fresh=fresh)
        assert slack.calls["users.lookupByEmail"] == asked, f"{seconds} s later, fresh={fresh}"


async def test_an_app_without_the_scope_is_told_where_its_scopes_are_listed(
    directory: SlackDirectory, slack: SlackLookalike
) -> None:
    slack.scopes -= {"users:read.email"}
    with pytest.raises(Withheld) as told:
        await directory.by_email("ana.ruiz@lastgood.example")
    so = "so I cannot tell whose account has this address."
    assert str(told.value) == f"Slack did not say: the app lacks a scope of `lastgood manifest`, {so}"


@pytest.mark.parametrize(
    ("kind", "says", "there", "said"),
    [
        ("error", "", False, "Slack did not answer"),
        ("refused", "", False, "Slack did not answer"),
        ("says", "service_unavailable", False, "Slack did not answer"),
        ("limited", "", True, "Slack asks us to wait"),
        ("says", "ratelimited", True, "Slack asks us to wait"),
        ("says", "account_inactive", True, "Slack refused to answer (account_inactive)"),
    ],
)
async def test_slack_that_is_away_and_slack_that_does_not_say_are_two_things(
    directory: SlackDirectory, slack: SlackLookalike, kind: Kind, says: str, *, there: bool, said: str
) -> None:
    for method in ("users.info", "users.lookupByEmail"):
        slack.fail(method, kind, times=2, says=says)  # a cut connection is tried again by the HTTP client
    with pytest.raises(Unavailable) as about_a_person:
        await directory.person("U0ANA")
    with pytest.raises(Unavailable) as about_an_address:
        await directory.by_email("ana.ruiz@lastgood.example")
    assert str(about_a_person.value) == f"{said}, so I cannot confirm this account."
    assert str(about_an_address.value) == f"{said}, so I cannot tell whose account has this address."
    assert [isinstance(one.value, Withheld) for one in (about_a_person, about_an_address)] == [there, there]


# ── kept warm: what is asked for grows old in nobody's way ────────────────────────────────────────────────────────

GROUP, ADDRESS = "usergroup S0ONCALL", "ana.ruiz@lastgood.example"


async def comes(true: Callable[[], bool]) -> None:
    """Wait for something that happens in the background."""
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


async def test_what_is_older_than_35_s_is_answered_at_once_and_asked_again_in_the_background(
    directory: SlackDirectory, slack: SlackLookalike, clock: ManualClock
) -> None:
    await asyncio.gather(directory.person("U0TOM"), directory.by_email(ADDRESS), directory.belongs("U0ANA", GROUP))
    slack.users["U0TOM"]["deleted"] = slack.users["U0ANA"]["deleted"] = True
    slack.groups["S0ONCALL"] = ["U0TOM"]
    before = slack.calls.copy()
    clock.advance(35)
    await asyncio.gather(directory.person("U0TOM"), directory.by_email(ADDRESS), directory.belongs("U0ANA", GROUP))
    await asyncio.sleep(0.05)
    assert slack.calls == before, "35 s is young enough"
    clock.advance(1)
    for method in ("users.info", "users.lookupByEmail", "usergroups.users.list"):
        slack.fail(method, "slow", after=2)  # on this clock, which stands still: whoever waits for it waits for ever
    async with asyncio.timeout(2):
        old = (
            await directory.person("U0TOM"),
            await directory.by_email(ADDRESS),
            await directory.belongs("U0ANA", GROUP),
        )
    assert (old[0] is not None, old[1] is not None, old[2].held) == (True, True, True)
    assert directory.admits("U0TOM")
    await comes(lambda: sum((slack.calls - before).values()) == 3)
    clock.advance(2)
    await comes(lambda: directory.admits("U0TOM") is False)
    async with asyncio.timeout(2):
        while (await directory.belongs("U0ANA", GROUP)).held or await directory.by_email(ADDRESS) is not None:
            await asyncio.sleep(0.005)
    assert sum((slack.calls - before).values()) == 3, "what was learnt in the background is asked by nobody again"


async def test_many_who_ask_for_an_old_answer_cause_one_question(
    directory: SlackDirectory, slack: SlackLookalike, clock: ManualClock
) -> None:
    await directory.belongs("U0ANA", GROUP)
    await directory.person("U0ANA")
    clock.advance(40)
    slack.fail("*", "slow", times=9, after=2)
    for _ in range(50):
        await asyncio.gather(directory.belongs("U0ANA", GROUP), directory.person("U0ANA"))
    await comes(lambda: slack.calls["usergroups.users.list"] == 2 and slack.calls["users.info"] == 2)
    await asyncio.sleep(0.05)
    assert (slack.calls["usergroups.users.list"], slack.calls["users.info"]) == (2, 2)
    clock.advance(2)


async def test_a_question_in_the_background_that_fails_only_lets_the_answer_age(
    directory: SlackDirectory, slack: SlackLookalike, clock: ManualClock
) -> None:
    await directory.belongs("U0ANA", GROUP)
    slack.fail("usergroups.users.list", "error", times=2)
    clock.advance(50)
    for seconds, asked in ((0, 2), (4, 2), (1, 3), (5, 4)):  # left alone for 5 s after each failure
        clock.advance(seconds)
        told = await directory.belongs("U0ANA", GROUP)
        assert (told.held, told.fetched_at) == (True, START)
        await comes(lambda asked=asked: slack.calls["usergroups.users.list"] >= asked)  # type: ignore[misc]  # bound now
        await asyncio.sleep(0.05)
        assert slack.calls["usergroups.users.list"] == asked, f"{seconds} s later"
    assert (await directory.belongs("U0ANA", GROUP)).fetched_at == clock.now(), "the third answer came"


async def test_an_answer_that_nobody_renews_is_too_old_after_a_minute(
    directory: SlackDirectory, slack: SlackLookalike, clock: ManualClock
) -> None:
    await directory.person("U0ANA")
    slack.fail("users.info", "error", times=9)
    clock.advance(60)
    assert (await directory.person("U0ANA")) is not None
    clock.advance(1)
    with pytest.raises(Unavailable):
        await directory.person("U0ANA")


async def test_a_fresh_answer_is_never_an_old_one_though_it_is_being_renewed(
    directory: SlackDirectory, slack: SlackLookalike, clock: ManualClock
) -> None:
    await directory.belongs("U0ANA", GROUP)
    clock.advance(40)
    slack.fail("usergroups.users.list", "slow", after=30)
    await directory.belongs("U0ANA", GROUP)
    await comes(lambda: slack.calls["usergroups.users.list"] == 2)
    slack.groups["S0ONCALL"] = ["U0TOM"]
    assert (await directory.belongs("U0ANA", GROUP, fresh=True)).held is False
    clock.advance(30)


async def test_an_answer_is_as_old_as_its_question(
    directory: SlackDirectory, slack: SlackLookalike, clock: ManualClock
) -> None:
    slack.fail("*", "slow", times=2, after=3)
    asked = asyncio.gather(directory.person("U0ANA"), directory.belongs("U0ANA", GROUP))
    await comes(lambda: slack.calls["users.info"] + slack.calls["usergroups.users.list"] == 2)
    clock.advance(3)
    person, told = await asked
    assert person is not None
    assert (person.fetched_at, told.fetched_at) == (START, START)
    assert (await directory.person("U0ANA", fresh=True)) is not None
    assert slack.calls["users.info"] == 2, "3 s old is not fresh"


async def test_an_older_answer_that_comes_late_replaces_no_newer_one(
    directory: SlackDirectory, slack: SlackLookalike, clock: ManualClock
) -> None:
    slack.fail("users.lookupByEmail", "slow", after=3)
    asked = asyncio.ensure_future(directory.by_email(ADDRESS))
    await comes(lambda: slack.calls["users.lookupByEmail"] == 1)
    clock.advance(1)
    newer = await directory.person("U0ANA")
    clock.advance(2)
    await asked
    assert newer is not None
    assert newer.fetched_at == START + timedelta(seconds=1)
    assert await directory.person("U0ANA") == newer


class SetBack(ManualClock):
    """A clock somebody sets back by an hour."""

    by = timedelta(0)

    def now(self) -> datetime:
        return super().now() - self.by


async def test_an_answer_from_before_the_clock_was_set_back_is_asked_again(
    client: AsyncWebClient, slack: SlackLookalike
) -> None:
    clock = SetBack()
    directory = SlackDirectory(client, clock, TEAM)
    await directory.person("U0ANA")
    clock.by = timedelta(hours=1)
    await directory.person("U0ANA")
    assert slack.calls["users.info"] == 2


async def test_what_was_never_asked_is_warmed_up_without_anybody_waiting(
    directory: SlackDirectory, slack: SlackLookalike, clock: ManualClock
) -> None:
    del clock
    directory.keep_warm([GROUP, "member U0PRIYA"], ["U0INES"])
    assert slack.calls.total() == 0
    await comes(lambda: all(directory.admits(one) for one in ("U0PRIYA", "U0INES")))
    await comes(lambda: slack.calls["usergroups.users.list"] == 1)
    async with asyncio.timeout(5):
        while not (directory.admits("U0ANA") and directory.admits("U0TOM")):
            directory.keep_warm([GROUP, "member U0PRIYA"], ["U0INES"])
            await asyncio.sleep(0.01)
    before = slack.calls.copy()
    await directory.people(GROUP)
    assert slack.calls == before


async def test_a_large_group_is_warmed_within_what_slack_allows_in_a_minute(
    directory: SlackDirectory, slack: SlackLookalike, clock: ManualClock
) -> None:
    crowd = [f"U0N{n:03}" for n in range(3 * PEOPLE)]
    for user in crowd:
        slack.add_user(user, f"Nora {user}")
    for _ in range(6):  # a minute of looks, ten seconds apart
        directory.keep_warm([], crowd)
        await comes(lambda: slack.calls["users.info"] >= PEOPLE)
        clock.advance(9.9)
    await asyncio.sleep(0.05)
    assert slack.calls["users.info"] == PEOPLE
    clock.advance(10)
    directory.keep_warm([], crowd)
    await comes(lambda: slack.calls["users.info"] == 2 * PEOPLE)
