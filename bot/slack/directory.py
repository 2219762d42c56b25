"""People and groups as Slack knows them: answers at most 60 s old, and a failed look-up says so."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.person import Membership, Person
from bot.errors import ReadOnly, Unavailable
from bot.ports import Clock
from bot.roster import Kept, Withheld, could_act
from bot.slack.answers import LOST, name_of, status_of, theirs

# Background questions a minute: a good half of what Slack lets an app ask (tiers 4, 3 and 2), the rest is for people who wait.
PEOPLE, ADDRESSES, GROUPS = 60, 30, 12
Remember = Callable[[Mapping[str, str]], Awaitable[None]]


class SlackDirectory:
    """Asks `users.info`, `users.lookupByEmail` and `usergroups.users.list`."""

    def __init__(self, client: AsyncWebClient, clock: Clock, team: str, remember: Remember | None = None) -> None:
        """Know people of workspace `team`; `remember` is told a name that is new or has changed."""
        self._client, self._clock, self.team = client, clock, team
        self._people = Kept[Person | None](clock, self._account, PEOPLE)
        self._addresses = Kept[Person | None](clock, self._looked_up, ADDRESSES)
        self._groups = Kept[tuple[str, ...]](clock, self._listed, GROUPS)
        self._names: dict[str, str] = {}
        self._remember = remember

    def recall(self, names: Mapping[str, str]) -> None:
        """Take names that were learnt before this process began."""
        self._names = {**names, **self._names}

    def name(self, user: str) -> str:
        """Give the name last seen for an id, the id itself when none was."""
        return self._names.get(user, user)

    async def person(self, user: str, *, fresh: bool = False) -> Person | None:
        """Give the account, None when nobody has this id.

        Raises Withheld when Slack is there and does not say, Unavailable when it does not answer at all.
        """
        return (await self._people.get(user, fresh=fresh)).value

    async def _account(self, user: str) -> Person | None:
        at = self._clock.now()
        try:
            await self._know_team()
            answer = await self._client.users_info(user=user)
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            _unless_nobody(error, "I cannot confirm this account")
            return None
        return await self._met(answer["user"], at)

    async def by_email(self, email: str, *, fresh: bool = False) -> Person | None:
        """Give the one account Slack knows under an address, None when there is none. Raises like `person`."""
        return (await self._addresses.get(email, fresh=fresh)).value

    async def _looked_up(self, email: str) -> Person | None:
        at = self._clock.now()
        try:
            await self._know_team()
            answer = await self._client.users_lookupByEmail(email=email)
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            _unless_nobody(error, "I cannot tell whose account has this address")
            return None
        person = await self._met(answer["user"], at)
        self._people.put(person.id, person, at)
        return person

    def seen(self) -> Collection[Person]:
        """Give every account asked about so far, as it was then."""
        return tuple(one for one in self._people.all() if one is not None)

    def admits(self, user: str) -> bool | None:
        """Say whether the last answer about an account, however old, lets it act; None when there never was one."""
        known = self._people.last(user)
        return None if known is None else known.value is not None and could_act(known.value)

    def keep_warm(self, sources: Iterable[str], people: Iterable[str]) -> None:
        """Ask in the background what will soon be too old of these sources, the accounts in them, and these people."""
        accounts = list(people)
        for source in sources:
            kind, _, name = source.partition(" ")
            if kind == "usergroup":
                self._groups.keep_warm(name)
            accounts += self._known_members(source)
        for user in dict.fromkeys(accounts):
            self._people.keep_warm(user)

    def _known_members(self, source: str) -> tuple[str, ...]:
        kind, _, name = source.partition(" ")
        known = self._groups.last(name)
        return (name,) if kind == "member" else known.value if known else ()

    async def workspace(self) -> str:
        """Give our workspace's id, asked for once; empty when Slack could not say, and then nobody is of it."""
        try:
            await self._know_team()
        except (SlackApiError, aiohttp.ClientError, TimeoutError):
            return ""
        return self.team

    async def _know_team(self) -> None:
        if not self.team:
            self.team = str((await self._client.auth_test())["team_id"])

    async def _met(self, row: Any, at: datetime) -> Person:
        profile = row.get("profile", {})
        name = profile.get("real_name") or row.get("real_name") or row.get("name") or row["id"]
        person = Person(
            id=row["id"], name=name, active=not row.get("deleted", False),
            guest=bool(row.get("is_restricted") or row.get("is_ultra_restricted")), bot=bool(row.get("is_bot")),
            ours=row.get("team_id") == self.team and not row.get("is_stranger"), fetched_at=at,
            email=str(profile.get("email") or ""),
        )  # fmt: skip
        if self._names.get(person.id) != name:
            self._names[person.id] = name
            await self._told(person.id, name)
        return person

    async def _told(self, user: str, name: str) -> None:
        if self._remember is not None:
            with contextlib.suppress(ReadOnly):  # a name is for display: who may act does not hang on it
                await self._remember({user: name})

    async def belongs(self, user: str, source: str, *, fresh: bool = False) -> Membership:
        """Say whether the person is in `member U…` or `usergroup S…`."""
        kind, _, name = source.partition(" ")
        now = self._clock.now()
        if kind == "member":
            return Membership(source=source, held=user == name, fetched_at=now)
        try:
            said = await self._groups.get(name, fresh=fresh)
        except Unavailable as error:
            return Membership(source=source, held=None, detail=str(error), fetched_at=now)
        return Membership(source=source, held=user in said.value, fetched_at=said.at)

    async def _listed(self, name: str) -> tuple[str, ...]:
        try:
            answer = await self._client.usergroups_users_list(usergroup=name)
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            message = f"Slack did not say who is in {name}."
            raise Unavailable(message) from error
        return tuple(answer["users"])

    async def people(self, source: str) -> tuple[str, ...]:
        """Give the active people of a source, guests and apps left out; empty when nobody could say."""
        kind, _, name = source.partition(" ")
        try:
            users = (name,) if kind == "member" else (await self._groups.get(name)).value
            known = [await self.person(user) for user in users]
        except Unavailable:
            return ()
        return tuple(one.id for one in known if one and could_act(one))

    async def shown(self, source: str) -> tuple[str, ...]:
        """Give the active people of a source for a card, an older answer rather than none.

        Raises Unavailable when Slack is in trouble and nothing is known; empty when Slack refuses the question.
        """
        kind, _, name = source.partition(" ")
        try:
            users = (name,) if kind == "member" else (await self._groups.get(name)).value
        except Unavailable as error:
            older = self._groups.last(name)
            users = older.value if older else self._unknown(error)
        known = [await self._seen(user) for user in users]
        return tuple(one.id for one in known if one and could_act(one))

    async def _seen(self, user: str) -> Person | None:
        try:
            return await self.person(user)
        except Unavailable as error:
            older = self._people.last(user)
            if older is None:
                self._unknown(error)
            return older.value if older else None

    def _unknown(self, error: Unavailable) -> tuple[str, ...]:
        cause = error.__cause__
        if isinstance(cause, SlackApiError) and not theirs(cause):
            return ()
        raise error


def _unless_nobody(error: Exception, so: str) -> None:
    """Raise Withheld when Slack is there and does not say, Unavailable when it is not; nothing when it says: nobody."""
    if not isinstance(error, SlackApiError):
        message = f"Slack did not answer, so {so}."
        raise Unavailable(message) from error
    said = name_of(error)
    if said in ("user_not_found", "user_not_visible", "users_not_found"):
        return
    if said == "missing_scope":
        message = f"Slack did not say: the app lacks a scope of `lastgood manifest`, so {so}."
        raise Withheld(message) from error
    if status_of(error) == 429 or said == "ratelimited":
        message = f"Slack asks us to wait, so {so}."
        raise Withheld(message) from error
    if said and said not in LOST:
        message = f"Slack refused to answer ({said}), so {so}."
        raise Withheld(message) from error
    message = f"Slack did not answer, so {so}."
    raise Unavailable(message) from error
