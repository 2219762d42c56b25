"""What is over is erased or laid to rest, a round at a time, and what cannot be stays and is said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from ulid import ULID

from adapters.testing import NotedLog
from bot.clock import ManualClock
from bot.config import RetentionConfig
from bot.domain.alert import RawRequest
from bot.domain.entries import IncidentClosed, IncidentOpened
from bot.ports import LOOKS, Append, InboundDone, Write
from bot.report.facts import projected
from bot.retention import EVERY, LANE, SOON, tidy
from bot.store import inbox
from bot.store.schema import migrate
from bot.store.timeline import Store

DAY = timedelta(days=1).total_seconds()
KEEP = RetentionConfig()


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Store]:
    url = f"sqlite:///{tmp_path}/site.db"
    migrate(url)
    async with Store(url, clock, project=projected) as opened:
        yield opened


async def received(
    store: Store, clock: ManualClock, number: int = 0, *, body: bytes = b'{"a": 1}', done: bool = True
) -> str:
    """A message that came now, and what became of it."""
    name = f"{str(ULID.from_datetime(clock.now()))[:10]}{number:016}"
    raw = RawRequest(
        id=name, source="generic", received_at=clock.now(), body=body, headers={"user-agent": "curl"}, remote="192.0.2.7",
        delivery_id=f"d{name}",
    )  # fmt: skip
    await store.receive(raw)
    if done:
        await store.append(Append(writes=(), inbound=(InboundDone(name, "accepted", "", (), ()),)))
    return name


async def closed(store: Store, name: str) -> str:
    stream = f"incident/{name}"
    await store.append(Append(writes=(Write(stream, (IncidentOpened(model="fraud", environment="prod", tier=1),), 0),)))
    end = IncidentClosed(outcome="recovered", reason="It recovered.")
    await store.append(Append(writes=(Write(stream, (end,), 1),)))
    return stream


async def at_rest(store: Store) -> list[str]:
    return [stream for (stream,) in await store.query("SELECT stream FROM archive ORDER BY stream")]


async def test_the_body_of_a_message_is_erased_in_time_and_what_became_of_it_stays(
    store: Store, clock: ManualClock
) -> None:
    log = NotedLog()
    old = await received(store, clock)
    clock.advance(31 * DAY)
    new = await received(store, clock)
    assert await tidy(store, KEEP, clock.now(), log) == clock.now() + SOON
    assert await tidy(store, KEEP, clock.now(), log) == clock.now() + EVERY
    assert await store.request(old) is None
    assert (await store.request(new)) is not None
    record = await store.inbound(old)
    assert record is not None
    assert (record.outcome, len(record.content_sha256)) == ("accepted", 64)
    assert await store.query("SELECT body,headers_json FROM inbound WHERE id=?", (old,)) == [(b"", "{}")]


async def test_a_message_that_waits_is_kept_however_old_it_is(store: Store, clock: ManualClock) -> None:
    waits = await received(store, clock, done=False)
    clock.advance(90 * DAY)
    await tidy(store, KEEP, clock.now(), NotedLog())
    assert (await store.request(waits)) is not None


async def test_a_message_that_was_empty_is_not_taken_for_an_erased_one(store: Store, clock: ManualClock) -> None:
    empty = await received(store, clock, body=b"")
    assert (await store.request(empty)) is not None


async def test_an_erased_message_still_makes_its_repetition_a_duplicate(store: Store, clock: ManualClock) -> None:
    old = await received(store, clock)
    clock.advance(31 * DAY)
    await tidy(store, KEEP, clock.now(), NotedLog())
    again = RawRequest(
        id="0NEW", source="generic", received_at=clock.now(), body=b"{}", headers={}, remote="", delivery_id=f"d{old}"
    )
    assert await store.receive(again) == (old, True)


async def test_more_than_a_round_is_erased_in_several_and_none_is_forgotten(store: Store, clock: ManualClock) -> None:
    names = [await received(store, clock, number) for number in range(inbox.ROUND + 3)]
    clock.advance(31 * DAY)
    rounds = 0
    while await tidy(store, KEEP, clock.now(), NotedLog()) == clock.now() + SOON:
        rounds += 1
    assert rounds == 2
    assert [name for name in names if await store.request(name) is not None] == []


async def test_an_incident_is_laid_to_rest_when_it_was_quiet_for_so_long(store: Store, clock: ManualClock) -> None:
    log, first = NotedLog(), await closed(store, "01A")
    clock.advance(60 * DAY)
    await closed(store, "01B")
    clock.advance(31 * DAY)
    assert await tidy(store, KEEP, clock.now(), log) == clock.now() + SOON
    assert await at_rest(store) == [first]
    assert await tidy(store, KEEP, clock.now(), log) == clock.now() + EVERY
    assert [line.split(" ")[0] for line in log.lines] == ["retention.rested"]


async def test_one_that_does_not_hold_stays_is_named_and_stops_nobody(store: Store, clock: ManualClock) -> None:
    broken, sound = await closed(store, "01A"), await closed(store, "01B")
    clock.advance(91 * DAY)

    def breaks(connection: object) -> None:
        connection.execute("DROP TRIGGER timeline_no_update")  # type: ignore[attr-defined]  # a connection
        connection.execute("UPDATE timeline SET body='{}' WHERE stream=? AND version=1", (broken,))  # type: ignore[attr-defined]

    await store._writing(breaks)
    log = NotedLog()
    await tidy(store, KEEP, clock.now(), log)
    assert await at_rest(store) == [sound]
    assert any(line.startswith("retention.left") and broken in line for line in log.lines)


async def test_a_role_that_may_not_even_look_is_said_and_the_rest_goes_on(store: Store, clock: ManualClock) -> None:
    await received(store, clock)
    clock.advance(31 * DAY)
    await store._writing(lambda connection: connection.execute("DROP TABLE archive"))
    log = NotedLog()
    assert await tidy(store, KEEP, clock.now(), log) == clock.now() + SOON
    assert [line.split(" ")[0] for line in log.lines] == ["retention.refused"]


def test_it_comes_after_everything_that_somebody_waits_for() -> None:
    assert LANE in LOOKS
