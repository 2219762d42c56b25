from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.clock import ManualClock
from bot.domain.entries import Entry, NoteAdded, PolicyLoaded, Recorded
from bot.ports import Append, Write
from bot.store.schema import migrate
from bot.store.timeline import Store, connect

NOTE = NoteAdded(person="U0ANA", text_ref="ref")


def fact(number: int) -> Entry:
    return PolicyLoaded(digest="ab" * 32, generation=number)


def counted(recorded: Sequence[Recorded], row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A list of the streams that hold a fact: its number is the model, an odd one is open; number 9999 takes it off."""
    found = dict(row) if row else None
    for one in recorded:
        if isinstance(one.entry, PolicyLoaded):
            number = one.entry.generation
            found = None if number == 9999 else {
                "id": one.stream, "model": str(number), "environment": "prod", "opened_at": one.at.isoformat(),
                "open": number % 2,
            }  # fmt: skip
    return found


async def put(store: Store, stream: str, entry: Entry) -> None:
    epoch = max((one.epoch for one in await store.read(stream)), default=0)
    await store.append(Append(writes=(Write(stream, (entry,), epoch),)))


async def test_pages_go_from_new_to_old_without_gap_or_repeat(url: str, clock: ManualClock) -> None:
    names = [f"incident/{number:026}" for number in range(120)]
    async with Store(url, clock, project=counted) as store:
        for number, name in enumerate(names):
            await put(store, name, fact(number))
        pages: list[list[str]] = [await store.incidents()]
        while pages[-1]:
            pages.append(await store.incidents(before=pages[-1][-1]))
        assert [len(page) for page in pages] == [50, 50, 20, 0]
        assert [name for page in pages for name in page] == names[::-1]
        assert await store.incidents(open_only=True, limit=2) == [names[119], names[117]]


async def test_an_incident_is_found_by_its_last_characters_in_either_case(url: str, clock: ManualClock) -> None:
    async with Store(url, clock, project=counted) as store:
        for name in ("01AAA7Q4RD", "01BBB7Q4RD", "01CCCX%_RE"):
            await put(store, f"incident/{name}", fact(1))
        assert await store.ending("7q4rd") == ["incident/01BBB7Q4RD", "incident/01AAA7Q4RD"]
        assert await store.ending("A7Q4RD") == ["incident/01AAA7Q4RD"]
        assert await store.ending("%") == await store.ending("Q") == []


@pytest.mark.of_files
async def test_looking_for_either_uses_an_index(url: str, clock: ManualClock) -> None:
    async with Store(url, clock) as store:
        for sql in (
            "SELECT id FROM incident WHERE tail >= 'A' AND tail < 'B' ORDER BY id DESC LIMIT 20",
            "SELECT id FROM incident WHERE id < 'z' AND open = 1 ORDER BY id DESC LIMIT 50",
        ):
            plan = await store.query(f"EXPLAIN QUERY PLAN {sql}")
            assert "SEARCH" in plan[0][3], plan


async def test_only_incidents_are_listed(url: str, clock: ManualClock) -> None:
    async with Store(url, clock, project=counted) as store:
        await put(store, "model/prod/fraud", fact(1))
        assert await store.incidents() == []


STEPS = st.lists(
    st.tuples(st.sampled_from("ABC"), st.sampled_from([NOTE, fact(1), fact(2), fact(3), fact(9999)])), max_size=25
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_a_rebuilt_list_equals_the_one_that_grew(steps: list[tuple[str, Entry]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_grown_and_rebuilt(f"sqlite:///{folder}/site.db", steps))


async def _grown_and_rebuilt(url: str, steps: list[tuple[str, Entry]]) -> None:
    migrate(url)
    async with Store(url, ManualClock(), project=counted) as store:
        for name, entry in steps:
            await put(store, f"incident/{name}", entry)
        table = "SELECT * FROM incident ORDER BY id"
        grown = await store.query(table)
        connection = connect(store.path, write=True)
        connection.execute("DELETE FROM incident WHERE id='incident/A'")
        connection.execute("UPDATE incident SET model='wrong', open=7")
        connection.execute("INSERT INTO incident VALUES('incident/Z','','','',1,'Z')")
        assert await store.rebuild(counted) == len(grown)
        connection.close()
        assert await store.query(table) == grown


async def test_a_rebuild_in_many_chunks_finds_every_stream(url: str, clock: ManualClock) -> None:
    async with Store(url, clock, project=counted) as store:
        await asyncio.gather(*(put(store, f"incident/{number:026}", fact(number)) for number in range(350)))
        before = await store.query("SELECT * FROM incident ORDER BY id")
        await store._writing(lambda connection: connection.execute("DELETE FROM incident").close())
        assert await store.rebuild(counted) == 350
        assert await store.query("SELECT * FROM incident ORDER BY id") == before
