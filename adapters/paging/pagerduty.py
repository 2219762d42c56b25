"""PagerDuty: who is on call now, and what is written into its incidents. Whatever goes wrong there is one sentence, in time, and never a yes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType, TracebackType
from typing import ClassVar, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from adapters.paging._events import Events
from adapters.paging._incidents import Incidents
from adapters.paging._rest import Answer, Dropped, Params, Rest
from bot.domain import words
from bot.domain.credential import Credential
from bot.domain.person import OnCall
from bot.errors import Unavailable
from bot.ports import Clock, Context

KEEP, FRESH = 60.0, 2.0  # seconds an answer may be old
DEADLINE = 2.0  # seconds a question may take: somebody has pressed a button and waits
AGAIN = 0.5  # seconds before the second try when PagerDuty asks us to wait and does not say how long
PAGE, PAGES = 100, 5  # entries; PagerDuty gives at most 100 at once
MOST, PAUSE = 3, 10.0  # failures in a row, then so many seconds without a question
ASKED_BY: Mapping[str, str] = MappingProxyType(
    {"schedule": "schedule_ids[]", "escalation_policy": "escalation_policy_ids[]"}
)
Key = tuple[str, str]


class PagerDutyConfig(BaseModel):
    """`from` is the address of a PagerDuty user: whoever the account's key acts for.

    `routing_key` is that of an Events API v2 integration: where to page when a rule says `tell: page`, and where changes go.
    With `status_updates` those who subscribed to an incident are told how its rollback stands. `custom_fields` says, by our
    fact, in which custom field of the account it is written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    from_: str = Field(alias="from", min_length=3)
    routing_key: Credential | None = None
    status_updates: bool = False
    custom_fields: dict[str, str] = Field(default_factory=dict)


class _Named(BaseModel):
    id: str
    name: str | None = None
    summary: str | None = None
    email: str | None = None


class _Entry(BaseModel):
    user: _Named
    schedule: _Named | None = None
    escalation_policy: _Named
    escalation_level: int
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None


class _Page(BaseModel):
    oncalls: list[_Entry]
    more: bool


class Refused(Unavailable):
    """PagerDuty is there and says no."""


@dataclass(frozen=True, slots=True)
class Known:
    """Who was on call, asked at `at`; `mark` is the same moment by the monotonic clock."""

    at: datetime
    mark: float
    people: tuple[OnCall, ...]


class Breaker:
    """Leaves a system alone that failed `MOST` times in a row; after `PAUSE` seconds one question may try it."""

    def __init__(self, clock: Clock) -> None:
        """Measure with the monotonic side of `clock`."""
        self._clock, self._failures, self._until = clock, 0, 0.0

    def wait(self) -> float:
        """Give for how many seconds nobody may ask; 0 gives the turn to the caller, and the others wait for what it learns."""
        if self._failures < MOST:
            return 0.0
        left = self._until - self._clock.monotonic()
        if left <= 0:
            self._until = self._clock.monotonic() + PAUSE
        return max(0.0, left)

    def answered(self) -> None:
        """Note that it is there."""
        self._failures = 0

    def failed(self) -> None:
        """Note that it is not."""
        self._failures += 1
        self._until = self._clock.monotonic() + PAUSE


class PagerDuty(Incidents, Events):
    """Asks `GET /oncalls` of the REST API v2 (PagerDuty/api-schema, reference/REST/openapiv3.json), whose default is now.

    PagerDuty computes on-calls from escalation policies: a schedule that no policy uses has nobody on call.
    """

    kind: ClassVar[str] = "pagerduty"
    Config: ClassVar[type[BaseModel]] = PagerDutyConfig

    def __init__(self, config: PagerDutyConfig, context: Context) -> None:
        """Ask as the user of `config`; nothing is opened yet."""
        self._clock, self._log = context.clock, context.log
        self._rest = Rest(config.from_, context.secret)
        self._sender, self._requester = config.from_, None
        self._updates, self._fields = config.status_updates, MappingProxyType(config.custom_fields)
        self._routing_key, self._secrets = config.routing_key, context.secret
        self._breaker, self._writing = Breaker(context.clock), Breaker(context.clock)
        self._known: dict[Key, Known] = {}
        self._asking: dict[Key, asyncio.Task[Known | str]] = {}
        self._conversations: set[asyncio.Task[Known]] = set()

    async def __aenter__(self) -> Self:
        """Make the client; nothing is asked yet."""
        self._rest.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and close; a request that hangs holds nothing up."""
        tasks = [*self._asking.values(), *self._conversations]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._rest.close()

    async def on_call(self, kind: str, name: str, *, fresh: bool = False) -> tuple[OnCall, ...]:
        """Give who is on call now in a `schedule`, or on level 1 of an `escalation_policy`: each person once.

        Answers within 2 s. A shift that ended since the answer came no longer counts. Raises Unavailable with the sentence.
        """
        known = self._known.get((kind, name))
        if known is None or self._age(known) > (FRESH if fresh else KEEP):
            known = await self._shared((kind, name))
        now = self._clock.now()
        return tuple(one for one in known.people if one.until is None or one.until > now)

    def _age(self, known: Known) -> float:
        """Give the seconds since an answer was asked for, by the clock that says more: one can be set, the other may stand still while the machine sleeps."""
        return max(abs((self._clock.now() - known.at).total_seconds()), self._clock.monotonic() - known.mark)

    async def _shared(self, key: Key) -> Known:
        """Join whoever asks the same just now: what they ask began at most 2 s ago."""
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._in_time(key))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        found = await asyncio.shield(asking)  # one asker who leaves takes nothing from the others
        if isinstance(found, str):
            message = f"{found}, so I cannot confirm who is on call."
            raise Unavailable(message)
        return found

    async def _in_time(self, key: Key) -> Known | str:
        """Give the answer or, within the deadline, why there is none; what comes later is kept for who asks next."""
        if wait := self._breaker.wait():
            left = words.span(timedelta(seconds=max(1, round(wait))))
            return f"PagerDuty failed {MOST} times in a row and is asked again in {left}"
        conversation = asyncio.create_task(self._learn(key))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._over)
        ended, _ = await asyncio.wait({conversation}, timeout=DEADLINE)
        if not ended:
            return self._failed(key, f"PagerDuty did not answer ({DEADLINE:g}{words.NBSP}s)")
        try:
            known = conversation.result()
        except Refused as error:
            self._breaker.answered()
            return str(error)
        except Unavailable as error:
            return self._failed(key, str(error))
        self._breaker.answered()
        return known

    def _failed(self, key: Key, why: str) -> str:
        self._breaker.failed()
        self._log.warning("pagerduty.failed", kind=key[0], name=key[1], why=why)
        return why

    def _over(self, conversation: asyncio.Task[Known]) -> None:
        self._conversations.discard(conversation)
        if not conversation.cancelled():
            conversation.exception()  # one that failed too late for anybody to hear is no accident

    async def _learn(self, key: Key) -> Known:
        """Ask page by page and keep the whole answer; a part of it is none."""
        at, began = self._clock.now(), self._clock.monotonic()
        entries: list[_Entry] = []
        for number in range(PAGES):
            page = _read(await self._asked(key, number * PAGE, began), key)
            entries += page.oncalls
            if not page.more:
                return self._kept(key, Known(at, began, _people(entries, key, self._clock.now())))
        message = f"PagerDuty lists more than {PAGE * PAGES} entries for {_what(key)}"
        raise Unavailable(message)

    def _kept(self, key: Key, known: Known) -> Known:
        newest = self._known.get(key)
        if newest is None or newest.mark <= known.mark:
            self._known[key] = known
        return known

    async def _asked(self, key: Key, offset: int, began: float) -> Answer:
        """Ask for one page, and once more after the wait PagerDuty asks for, when that ends before the deadline."""
        params: Params = {ASKED_BY[key[0]]: [key[1]], "include[]": ["users"], "limit": PAGE, "offset": offset}
        answer = await self._heard(params)
        wait = AGAIN if answer.reset is None else answer.reset
        if answer.status != 429 or self._clock.monotonic() - began + wait >= DEADLINE:
            return answer
        await self._clock.sleep(wait)
        return await self._heard(params)

    async def _heard(self, params: Params) -> Answer:
        """Ask, and at once again when a kept connection turned out to be closed: reading twice changes nothing."""
        try:
            return await self._rest.get("/oncalls", params)
        except Dropped:
            return await self._rest.get("/oncalls", params)


def _what(key: Key) -> str:
    return f"{key[0].replace('_', ' ')} {key[1]}"


def _read(answer: Answer, key: Key) -> _Page:
    match answer.status:
        case 200:
            return _page(answer.body)
        case 401 | 403:
            message = f"PagerDuty refuses PAGERDUTY_TOKEN ({answer.status})"
            raise Refused(message)
        case 404:
            message = f"PagerDuty knows no {_what(key)}"
            raise Refused(message)
        case 429:
            wait = f" {words.span(timedelta(seconds=min(answer.reset, 1e6)))}" if answer.reset else ""
            message = f"PagerDuty asks us to wait{wait}"
            raise Unavailable(message)
    message = f"PagerDuty answered {answer.status}"
    raise Unavailable(message) if answer.status >= 500 else Refused(message)


def _page(body: bytes) -> _Page:
    try:
        return _Page.model_validate_json(body)
    except ValidationError:
        raise Unavailable("PagerDuty answered nothing readable") from None  # the error would show the body


def _people(entries: Iterable[_Entry], key: Key, now: datetime) -> tuple[OnCall, ...]:
    """Give each person once, until the latest end: the same shift is listed under every policy that uses a schedule."""
    people: dict[str, OnCall] = {}
    for entry in entries:
        if _counts(entry, key, now):
            one = _person(entry)
            people[one.id] = _longer(people.get(one.id, one), one)
    return tuple(people.values())


def _counts(entry: _Entry, key: Key, now: datetime) -> bool:
    """Say whether an entry is what was asked about, and for now: a filter PagerDuty did not apply lets nobody in."""
    kind, name = key
    begun = entry.start is None or entry.start <= now
    if kind == "schedule":
        return begun and entry.schedule is not None and entry.schedule.id == name
    return begun and entry.escalation_policy.id == name and entry.escalation_level == 1


def _person(entry: _Entry) -> OnCall:
    user = entry.user
    return OnCall(
        id=user.id, email=(user.email or "").strip(), name=user.name or user.summary or user.id, until=entry.end
    )


def _longer(one: OnCall, other: OnCall) -> OnCall:
    if one.until is None or other.until is None:
        return one if one.until is None else other
    return one if one.until >= other.until else other


PAGER = PagerDuty
