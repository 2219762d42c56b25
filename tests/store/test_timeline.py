from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.clock import START, ManualClock
from bot.domain.entries import Entry
from bot.domain.value import canonical, digest
from bot.errors import Conflict, Tampered, TimelineError
from bot.ports import Append, InboundDone, Inbox, Said, SurfaceTable, Timeline, Work, WorkTable, Write
from bot.store import chain
from bot.store.copying import verify_at
from bot.store.timeline import Store, connect

Fact = Callable[[int], Entry]
Make = Callable[..., Append]


def test_the_store_fills_four_ports(store: Store) -> None:
    assert all(isinstance(store, port) for port in (Timeline, Inbox, WorkTable, SurfaceTable))


async def test_what_is_appended_is_read_back_the_same(store: Store, fact: Fact, note: Entry) -> None:
    written = await store.append(Append(writes=(Write("incident/A", (fact(1), note, fact(2)), 0),)))
    assert await store.read("incident/A") == written
    assert await store.read("incident/A", after=2) == written[2:]
    assert [(one.seq, one.version, one.epoch) for one in written] == [(1, 1, 1), (2, 2, 1), (3, 3, 3)]


async def test_each_digest_covers_the_row_and_the_digest_before_it(store: Store, fact: Fact) -> None:
    first, second = await store.append(Append(writes=(Write("incident/A", (fact(1), fact(2)), 0),)))
    (row,) = await store.query("SELECT body, at FROM timeline WHERE version=2")
    content = {
        "stream": "incident/A", "version": 2, "epoch": 2, "at": row[1], "type": "policy.loaded", "schema": 1,
        "body": row[0], "prev": first.digest,
    }  # fmt: skip
    assert (first.prev, second.prev, second.digest) == ("", first.digest, digest(content))
    assert row[0].encode() == canonical(second.entry.model_dump(mode="json"))


MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.timezones())  # noqa: DTZ001  zones are drawn


@given(one=MOMENTS, other=MOMENTS)
def test_a_stored_time_is_the_same_moment_and_sorts_as_text(one: datetime, other: datetime) -> None:
    one, other = one.astimezone(UTC), other.astimezone(UTC)
    assert chain.unstamp(chain.stamp(one)) == one
    assert (chain.stamp(one) < chain.stamp(other)) == (one < other)


async def test_a_stale_expectation_conflicts_and_writes_nothing(store: Store, write: Make, fact: Fact) -> None:
    await store.append(write("incident/A"))
    stale = Append(
        writes=(Write("incident/B", (fact(1),), 0), Write("incident/A", (fact(2),), 0)),
        work=(Work("advance", "incident/B", START),),
        said=(Said("ref", "salt", "text"),),
    )
    with pytest.raises(Conflict, match="incident/A is at epoch 1, not 0"):
        await store.append(stale)
    assert await store.read("incident/B") == []
    assert await store.due(START, 9) == []
    assert await store.said(["ref"]) == {}


async def test_a_dependency_that_moved_conflicts(store: Store, write: Make, fact: Fact) -> None:
    await store.append(write("model/prod/fraud"))
    depends = Append(writes=(Write("incident/A", (fact(1),), 0),), given={"model/prod/fraud": 0})
    with pytest.raises(Conflict):
        await store.append(depends)
    holding = Append(writes=depends.writes, given={"model/prod/fraud": 1})
    assert len(await store.append(holding)) == 1


async def test_commuting_entries_never_conflict_and_leave_the_epoch(store: Store, write: Make, note: Entry) -> None:
    await store.append(write("incident/A"))
    noise = Append(writes=(Write("incident/A", (note,)),))
    many = await asyncio.gather(*(store.append(noise) for _ in range(50)))
    assert {one.epoch for (one,) in many} == {1}
    (after,) = await store.append(write("incident/A", expect=1))
    assert (after.version, after.epoch) == (52, 52)


async def test_a_stream_of_noise_alone_is_still_at_epoch_0(store: Store, write: Make, note: Entry) -> None:
    await store.append(Append(writes=(Write("incident/A", (note,)),)))
    (after,) = await store.append(write("incident/A", expect=0))
    assert (after.version, after.epoch) == (2, 2)


async def test_what_is_written_too_late_conflicts_and_writes_nothing(
    store: Store, clock: ManualClock, write: Make, note: Entry
) -> None:
    await store.append(replace(write("incident/A"), until=clock.now() + timedelta(seconds=1)))
    clock.advance(1)
    with pytest.raises(Conflict, match="Its time is over"):
        await store.append(replace(write("incident/A", 1), until=clock.now()))
    assert len(await store.read("incident/A")) == 1


async def test_an_entry_that_does_not_commute_needs_an_epoch(store: Store, fact: Fact, note: Entry) -> None:
    with pytest.raises(ValueError, match="needs the epoch"):
        await store.append(Append(writes=(Write("incident/A", (note, fact(1))),)))


async def test_expectations_are_held_to_what_was_there_before_the_append(store: Store, fact: Fact) -> None:
    twice = Append(writes=(Write("incident/A", (fact(1),), 0), Write("incident/A", (fact(2),), 0)))
    assert [one.version for one in await store.append(twice)] == [1, 2]


async def test_of_two_appends_on_one_epoch_exactly_one_wins(store: Store, write: Make) -> None:
    for epoch in range(300):
        race = [store.append(write("incident/A", epoch, number)) for number in (1, 2)]
        ends = await asyncio.gather(*race, return_exceptions=True)
        assert sorted(type(end).__name__ for end in ends) == ["Conflict", "list"]
    assert len(await store.read("incident/A")) == 300


async def test_of_two_processes_on_one_epoch_exactly_one_wins(url: str, clock: ManualClock, write: Make) -> None:
    async with Store(url, clock) as one, Store(url, clock) as other:
        for epoch in range(50):
            race = [each.append(write("incident/A", epoch)) for each in (one, other)]
            ends = await asyncio.gather(*race, return_exceptions=True)
            assert sorted(type(end).__name__ for end in ends) == ["Conflict", "list"]


async def test_an_append_outlives_its_cancelled_caller(store: Store, write: Make) -> None:
    tasks = [asyncio.create_task(store.append(write(f"incident/{name}"))) for name in range(20)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends)
    await store.append(write("incident/last"))
    async with asyncio.timeout(5):
        while await store.query("SELECT count(*) FROM timeline") != [(21,)]:
            await asyncio.sleep(0.01)


async def test_time_in_a_stream_never_goes_back(url: str, write: Make) -> None:
    late, early = ManualClock(START + timedelta(hours=1)), ManualClock(START)
    async with Store(url, late) as store:
        (first,) = await store.append(write("incident/A"))
    async with Store(url, early) as store:
        (second,) = await store.append(write("incident/A", expect=1))
        (other,) = await store.append(write("incident/B"))
    assert (first.at, second.at, other.at) == (late.now(), late.now(), early.now())


async def test_work_texts_and_entries_are_one_append(store: Store, fact: Fact) -> None:
    await store.append(
        Append(
            writes=(Write("incident/A", (fact(1),), 0),),
            work=(Work("advance", "incident/A", START),),
            said=(Said("ref", "salt", "worse than yesterday"),),
        )
    )
    assert await store.due(START, 9) == [Work("advance", "incident/A", START, turn=1)]
    assert await store.said(["ref", "unknown"]) == {"ref": "worse than yesterday"}


async def test_text_no_database_can_hold_is_refused_before_the_writer(store: Store, write: Make) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        await store.append(Append(said=(Said("ref", "salt", "\ud800"),)))
    assert len(await store.append(write("incident/A"))) == 1


async def test_an_unknown_inbound_id_conflicts(store: Store, write: Make) -> None:
    with pytest.raises(Conflict, match="never stored"):
        await store.append(Append(writes=write("incident/A").writes, inbound=(InboundDone("01A", "accepted"),)))
    assert await store.read("incident/A") == []


@pytest.mark.of_files
async def test_a_body_that_was_changed_is_not_read_as_if_it_were_true(store: Store, write: Make) -> None:
    await store.append(write("incident/A"))
    _rewrite(store, "body='{}'")
    with pytest.raises(Tampered, match=r"Entry 1 of incident/A \(policy.loaded\)"):
        await store.read("incident/A")


@pytest.mark.of_files
async def test_an_entry_of_a_later_version_is_named(store: Store, write: Make) -> None:
    await store.append(write("incident/A"))
    _rewrite(store, "type='model.dreamt'")
    with pytest.raises(TimelineError, match=r"model\.dreamt, which this version of Lastgood does not know"):
        await store.read("incident/A")


async def test_people_and_texts_can_be_forgotten_and_the_chain_holds(store: Store, write: Make) -> None:
    await store.call({"U0ANA": "Ana", "U0PRI": "Priya"})
    await store.call({"U0ANA": "Ana Ruiz"})
    await store.append(Append(writes=write("incident/A").writes, said=(Said("ref", "salt", "text"),)))
    assert await store.everybody() == {"U0ANA": "Ana Ruiz", "U0PRI": "Priya"}
    await store.erase(refs=["ref"], people=["U0ANA"])
    assert "U0ANA" not in await store.everybody()
    assert await store.said(["ref"]) == {}
    assert verify_at(store.place).ok


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE timeline SET body='{}' WHERE version=1",
        "UPDATE OR REPLACE timeline SET version=1 WHERE version=2",
        "DELETE FROM timeline WHERE version=2",
        "DELETE FROM timeline",
        "REPLACE INTO timeline SELECT seq,stream,version,epoch,at,type,schema,'{}',prev,digest FROM timeline WHERE version=1",
        "REPLACE INTO timeline SELECT 1,stream,3,3,at,type,schema,'{}',digest,'d' FROM timeline WHERE version=2",
        "INSERT INTO timeline SELECT 3,stream,4,4,at,type,schema,body,digest,'d' FROM timeline WHERE version=2",
        "INSERT INTO timeline SELECT 3,stream,3,3,at,type,schema,body,'not it','d' FROM timeline WHERE version=2",
        "INSERT INTO timeline SELECT 9,stream,3,3,at,type,schema,body,digest,'d' FROM timeline WHERE version=2",
        "INSERT INTO timeline SELECT NULL,stream,3,3,at,type,schema,body,digest,'d' FROM timeline WHERE version=2",
    ],
)
@pytest.mark.parametrize("recursive", ["ON", "OFF"])
@pytest.mark.of_files
async def test_the_database_refuses_to_change_what_is_written(
    store: Store, write: Make, attack: str, recursive: str
) -> None:
    await store.append(write("incident/A"))
    await store.append(write("incident/A", expect=1))
    before = await store.query("SELECT * FROM timeline")
    connection = connect(store.path, write=True)
    connection.execute(f"PRAGMA recursive_triggers={recursive}")
    with pytest.raises(Exception, match=r"append-only|must follow"):
        connection.execute(attack)
    connection.close()
    assert await store.query("SELECT * FROM timeline") == before


def _rewrite(store: Store, change: str) -> None:
    connection = connect(store.path, write=True)
    connection.execute("DROP TRIGGER timeline_no_update")
    connection.execute(f"UPDATE timeline SET {change}")  # noqa: S608  the test's own words
    connection.close()
