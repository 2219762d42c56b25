"""Who people are and what they hold, from Slack, PagerDuty and the sign-ins made beforehand: the one Directory of the flow."""

from __future__ import annotations

import asyncio
import unicodedata
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from bot.domain import words
from bot.domain.orders import Orders
from bot.domain.person import Membership, OnCall, Person
from bot.errors import Unavailable
from bot.ports import Clock, Pager

PAGED = ("schedule", "escalation_policy")
KEEP, FRESH = timedelta(seconds=60), timedelta(seconds=2)  # how old an answer may be: at a click, at a claim
AHEAD = timedelta(seconds=35)  # from this age on an answer is asked for again, in the background
AGAIN = timedelta(seconds=5)  # a background question that failed is left alone for so long
MINUTE = timedelta(seconds=60)
ROTAS = 60  # background questions a minute about who is on call
SPOKEN = timedelta(seconds=60)  # how long a failed look-up is worth telling
SHARED = "Two accounts share the address, so neither counts."
T = TypeVar("T")


class Withheld(Unavailable):
    """Accounts are there and do not say who somebody is; no sign-in stands in for that answer."""


class Ahead:
    """Asks in the background, one question at a time about a key and at most `most` a minute about all.

    A question that fails makes nothing worse: the older answer stays as it is, until it is too old.
    """

    def __init__(self, clock: Clock, most: int) -> None:
        """Ask nothing yet."""
        self._clock, self._begun = clock, deque[datetime](maxlen=most)
        self._asking: dict[str, asyncio.Task[object]] = {}
        self._failed: dict[str, datetime] = {}

    def ask(self, key: str, at: datetime | None, question: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Begin to ask when the answer of `at` is older than 35 s, or when there is none (None)."""
        if key in self._asking or not self._due(key, at):
            return
        self._begun.append(self._clock.now())
        self._asking[key] = asyncio.create_task(question())
        self._asking[key].add_done_callback(partial(self._over, key))

    def _due(self, key: str, at: datetime | None) -> bool:
        now = self._clock.now()
        young = at is not None and timedelta(0) <= now - at <= AHEAD
        resting = key in self._failed and now - self._failed[key] < AGAIN
        spent = len(self._begun) == self._begun.maxlen and now - self._begun[0] < MINUTE
        return not (young or resting or spent)

    def _over(self, key: str, task: asyncio.Task[object]) -> None:
        del self._asking[key]
        if task.cancelled() or task.exception() is not None:
            self._failed[key] = self._clock.now()
        else:
            self._failed.pop(key, None)


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What was said, and when it was asked: it may be as old as that."""

    at: datetime
    value: T


class Kept(Generic[T]):
    """Answers by key: good for 60 s, 2 s where they must be fresh, and asked for again in the background before they are too old."""

    def __init__(self, clock: Clock, question: Callable[[str], Coroutine[Any, Any, T]], most: int) -> None:
        """Ask with `question`, in the background at most `most` times a minute."""
        self._clock, self._question, self._ahead = clock, question, Ahead(clock, most)
        self._answers: dict[str, Answer[T]] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    def last(self, key: str) -> Answer[T] | None:
        """Give the last answer, however old; None when there never was one."""
        return self._answers.get(key)

    def all(self) -> tuple[T, ...]:
        """Give the last answer of every key."""
        return tuple(one.value for one in self._answers.values())

    def put(self, key: str, value: T, at: datetime) -> Answer[T]:
        """Keep what was learnt, unless something newer is known; give what is kept."""
        known = self._answers.get(key)
        if known is None or known.at <= at:
            self._answers[key] = Answer(at, value)
        return self._answers[key]

    async def get(self, key: str, *, fresh: bool = False) -> Answer[T]:
        """Give an answer that is not too old. Raises what the question raises."""
        known = self._young(key, fresh=fresh)
        if known is None:
            async with self._turns.setdefault(key, asyncio.Lock()):  # who asks at the same time shares one answer
                return self._young(key, fresh=fresh) or await self._ask(key)
        self.keep_warm(key)
        return known

    def keep_warm(self, key: str) -> None:
        """Ask in the background when the answer will soon be too old, or when there is none."""
        known = self._answers.get(key)
        self._ahead.ask(key, known.at if known else None, partial(self._ask, key))

    def _young(self, key: str, *, fresh: bool) -> Answer[T] | None:
        known = self._answers.get(key)
        if known is None:
            return None
        return known if timedelta(0) <= self._clock.now() - known.at <= (FRESH if fresh else KEEP) else None

    async def _ask(self, key: str) -> Answer[T]:
        at = self._clock.now()
        return self.put(key, await self._question(key), at)


class Accounts(Protocol):
    """Knows the accounts of one workspace and its groups. Answers are at most 60 s old, fresh ones 2 s.

    What is asked for when its answer is older than 35 s is answered at once and asked again in the background.
    """

    def name(self, user: str) -> str:
        """Give the name last seen for an id, the id itself when none was."""

    def seen(self) -> Collection[Person]:
        """Give every account asked about so far, as it was then."""

    def admits(self, user: str) -> bool | None:
        """Say whether the last answer about an account, however old, lets it act; None when there never was one."""

    def keep_warm(self, sources: Iterable[str], people: Iterable[str]) -> None:
        """Ask in the background what will soon be too old of these sources, `member U…` or `usergroup S…`, and these people."""

    async def person(self, user: str, *, fresh: bool = False) -> Person | None:
        """Give the account, None when nobody has this id. Raises Withheld, or Unavailable when nothing answers at all."""

    async def by_email(self, email: str, *, fresh: bool = False) -> Person | None:
        """Give the one account with an address, None when there is none. Raises like `person`."""

    async def belongs(self, user: str, source: str, *, fresh: bool = False) -> Membership:
        """Say whether the person is in `member U…` or `usergroup S…`; never raises."""

    async def people(self, source: str) -> tuple[str, ...]:
        """Give the people of a source who could act; empty when nobody could say."""

    async def shown(self, source: str) -> tuple[str, ...]:
        """Give the same for display, an older answer rather than none. Raises Unavailable when in trouble."""


@dataclass(frozen=True, slots=True)
class Link:
    """The account one person on call acts with. Without one, `why` says so; `unsure` when it may exist; `several` share it."""

    person: Person | None = None
    why: str = ""
    unsure: bool = False
    several: frozenset[str] = frozenset()


class Roster:
    """Joins them. Identity is the Slack id; an address only links two accounts, and only when it links exactly two."""

    def __init__(
        self, accounts: Accounts, pager: Pager | None, logins: Callable[[], Awaitable[Orders]], clock: Clock
    ) -> None:
        """`logins` gives the sign-ins that stand, the fold of `system/logins`; without a pager nobody is on call."""
        self._accounts, self._pager, self._logins, self._clock = accounts, pager, logins, clock
        self._looked: dict[str, datetime] = {}  # when the pager was last asked about a source
        self._ahead = Ahead(clock, ROTAS)
        self._shown: dict[str, tuple[str, ...]] = {}
        self._trouble: dict[str, tuple[datetime, str]] = {}

    def name(self, user: str) -> str:
        """Give the name last seen for an id, the id itself when none was."""
        return self._accounts.name(user)

    # ── one person ────────────────────────────────────────────────────────────────────────────────────────────────

    async def person(self, user: str, *, fresh: bool = False) -> Person | None:
        """Give the account, None when nobody has this id. While nothing answers, a sign-in made before vouches for it.

        Raises Unavailable. Never vouched for: whom the last answer did not admit, and whoever the answer is withheld about.
        """
        try:
            return await self._accounts.person(user, fresh=fresh)
        except Withheld:
            raise
        except Unavailable:
            vouched = None if self._accounts.admits(user) is False else await self._vouched(user)
            if vouched is None:
                raise
            return vouched

    async def by_email(self, email: str, *, fresh: bool = False) -> Person | None:
        """Give the one account with an address, None when there is none. Raises Unavailable."""
        return await self._accounts.by_email(email, fresh=fresh)

    async def _vouched(self, user: str) -> Person | None:
        now = self._clock.now()
        until = (await self._logins()).vouched(user, now)
        if until is None:
            return None
        name = self._accounts.name(user)
        return Person(id=user, name="" if name == user else name, fetched_at=now, vouched_until=until)

    # ── what a person holds ───────────────────────────────────────────────────────────────────────────────────────

    async def belongs(self, user: str, source: str, *, fresh: bool = False) -> Membership:
        """Say whether the person is in a `member`, `usergroup`, `schedule` or `escalation_policy` source; never raises."""
        kind, _, name = source.partition(" ")
        if kind in PAGED:
            said = await self._on_duty(user, kind, name, fresh=fresh)
        else:
            said = await self._accounts.belongs(user, source, fresh=fresh)
        self._note(source, said.detail if said.held is None else "")
        return said

    async def _on_duty(self, user: str, kind: str, name: str, *, fresh: bool) -> Membership:
        source, asked = f"{kind} {name}", self._clock.now()
        try:
            links = await self._links(kind, name, fresh=fresh)
        except Unavailable as error:
            return Membership(source=source, held=None, detail=str(error), fetched_at=asked)
        held, detail = _judged(user, source, links)
        return Membership(source=source, held=held, detail=detail, fetched_at=asked)

    # ── who is on call ────────────────────────────────────────────────────────────────────────────────────────────

    async def _links(self, kind: str, name: str, *, fresh: bool = False) -> Sequence[Link]:
        """Find the account of everybody on call. Raises Unavailable when nobody could say who is."""
        if self._pager is None:
            raise Unavailable("No PagerDuty is configured, so I cannot confirm who is on call.")
        source, asked = f"{kind} {name}", self._clock.now()
        people = await self._pager.on_call(kind, name, fresh=fresh)
        if fresh or source not in self._looked or asked - self._looked[source] > KEEP:  # what it knew was too old
            self._looked[source] = asked
        self._keep_rota(source)
        uses = Counter(folded(one.email) for one in people)
        return await asyncio.gather(*(self._link(one, uses, fresh=fresh) for one in people))

    def _keep_rota(self, source: str) -> None:
        kind, _, name = source.partition(" ")
        self._ahead.ask(source, self._looked.get(source), partial(self._links, kind, name, fresh=True))

    async def _link(self, one: OnCall, uses: Mapping[str, int], *, fresh: bool) -> Link:
        address, who = folded(one.email), words.plain(one.name, 60) or one.id
        if not address:
            return Link(
                why=f"PagerDuty shows no address of {who}, so I cannot tell whose account that is.", unsure=True
            )
        try:
            holders = await self._holders(address, one.email.strip(), fresh=fresh)
        except Unavailable as error:
            return Link(why=str(error), unsure=True)
        if not holders:
            return Link(why=f"{who} is on call and has no active account of ours with the same address.")
        if len(holders) > 1 or uses[address] > 1:
            return Link(why=SHARED, several=frozenset(holder.id for holder in holders))
        return Link(holders[0])

    async def _holders(self, address: str, email: str, *, fresh: bool) -> list[Person]:
        """Give the active accounts of ours with an address: the one Slack names, and any we have seen with it, asked anew.

        When the one Slack names is none of these, nobody is.
        """

        def holds(one: Person | None) -> bool:
            return one is not None and one.active and one.ours and folded(one.email) == address

        found = await self._accounts.by_email(email, fresh=fresh)
        if found is None or not holds(found):
            return []
        others = [one.id for one in self._accounts.seen() if one.id != found.id and folded(one.email) == address]
        asked = await asyncio.gather(*(self._accounts.person(user, fresh=fresh) for user in others))
        return [found, *(one for one in asked if one is not None and holds(one))]

    def keep_warm(self, sources: Iterable[str], people: Iterable[str]) -> None:
        """Ask in the background what a press would soon have to wait for: these sources, whoever is in them, these people."""
        asked = tuple(sources)
        paged = [one for one in asked if one.partition(" ")[0] in PAGED]
        self._accounts.keep_warm([one for one in asked if one not in paged], people)
        for source in paged if self._pager is not None else ():
            self._keep_rota(source)

    # ── for cards ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def people(self, source: str) -> tuple[str, ...]:
        """Give the people of a source who could act now; empty when nobody could say."""
        kind, _, name = source.partition(" ")
        if kind not in PAGED:
            return await self._accounts.people(source)
        try:
            return self._told(source, await self._links(kind, name))
        except Unavailable as error:
            self._note(source, str(error))
            return ()

    async def shown(self, source: str) -> tuple[str, ...]:
        """Give the people of a source for a card, an older answer rather than none; `trouble` says that it is older.

        Raises Unavailable when Slack is in trouble and nothing is known. PagerDuty in trouble keeps no card waiting.
        """
        kind, _, name = source.partition(" ")
        try:
            if kind not in PAGED:
                return await self._accounts.shown(source)
            links = await self._links(kind, name)
        except Unavailable as error:
            self._note(source, str(error))
            if kind not in PAGED:
                raise
            return self._shown.get(source, ())
        people = self._told(source, links)
        if people or not any(link.unsure for link in links):
            self._shown[source] = people
        return self._shown.get(source, ())

    def trouble(self, source: str) -> str:
        """Give why the last look-up of a source within a minute failed; an empty text when it did not."""
        at, why = self._trouble.get(source, (self._clock.now(), ""))
        return why if self._clock.now() - at <= SPOKEN else ""

    def _told(self, source: str, links: Sequence[Link]) -> tuple[str, ...]:
        self._note(source, next((link.why for link in links if link.unsure), ""))
        return tuple(dict.fromkeys(link.person.id for link in links if link.person and could_act(link.person)))

    def _note(self, source: str, why: str) -> None:
        if why:
            self._trouble[source] = (self._clock.now(), why)
        else:
            self._trouble.pop(source, None)


def folded(email: str) -> str:
    """Give an address as two systems compare it: without case and outer space, composed (Unicode NFC)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", email.strip()).casefold())


def could_act(person: Person) -> bool:
    """Say whether an account may act at all: active, of ours, no guest and no app."""
    return person.active and person.ours and not person.guest and not person.bot


def _judged(user: str, source: str, links: Sequence[Link]) -> tuple[bool | None, str]:
    """Say whether one person is on call by these links, and why not."""
    if any(user in link.several for link in links):
        return False, SHARED
    on_call = [link.person.id for link in links if link.person is not None]
    if user in on_call:
        return True, ""
    if (unsure := next((link.why for link in links if link.unsure), None)) is not None:
        return None, unsure
    where = source.replace("_", " ")
    if on_call:
        return False, f"On call in {where} now: {words.people(on_call)}."
    return False, next((link.why for link in links), f"Nobody is on call in {where} now.")
