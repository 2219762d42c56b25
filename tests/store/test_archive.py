"""An incident that closed long ago is at rest: smaller, and everything about it is read and proven as before."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bot.clock import ManualClock
from bot.domain.entries import (
    ApprovalRefused,
    Entry,
    IncidentClosed,
    IncidentOpened,
    IncidentReopened,
    NoteAdded,
    PolicyLoaded,
)
from bot.errors import ReadOnly, TimelineError
from bot.ports import Append, Write
from bot.report.facts import projected
from bot.store import checkpoints
from bot.store.bundle import made, verified
from bot.store.copying import copy, verify_at
from bot.store.place import place_of
from bot.store.schema import grant
from bot.store.timeline import Store
from tests.postgres import Server

KEY = checkpoints.load_key("11" * 32, place_of("x.db"))
INCIDENT, MODEL = "incident/01A", "model/prod/fraud"
OPENED = IncidentOpened(model="fraud", environment="prod", tier=1)
CLOSED = IncidentClosed(
    outcome="recovered", reason="It recovered, and everybody who was there said so at length. " * 20
)
NOTE = NoteAdded(person="U0ANA", text_ref="ref")
REFUSED = ApprovalRefused(
    person="U0TOM", plan="p", action="approve", reason="own_change", text="You deployed 42.", via="x"
)
DAY = timedelta(days=1)


@pytest.fixture
async def store(url: str, clock: ManualClock) -> AsyncIterator[Store]:
    async with Store(url, clock, project=projected) as opened:
        yield opened


async def told(store: Store, stream: str, *entries: Entry) -> None:
    for entry in entries:
        epoch = max((one.epoch for one in await store.read(stream)), default=0)
        await store.append(Append(writes=(Write(stream, (entry,), None if entry.commutes else epoch),)))


async def story(store: Store, stream: str = INCIDENT) -> None:
    """One whole incident, covered by a checkpoint."""
    await told(store, stream, OPENED, NOTE, REFUSED, CLOSED)
    await told(store, MODEL, PolicyLoaded(digest="ab" * 32, generation=1))
    await checkpoints.sign(store, KEY)


async def bodies(store: Store, stream: str = INCIDENT) -> list[str]:
    return [
        body for (body,) in await store.query("SELECT body FROM timeline WHERE stream=? ORDER BY version", (stream,))
    ]


# ── what is at rest says what it said ─────────────────────────────────────────────────────────────────────────────


async def test_an_incident_at_rest_is_read_rebuilt_bundled_and_verified_as_before(store: Store) -> None:
    await story(store)
    rows, entries = await store.rows(INCIDENT), await store.read(INCIDENT)
    bundle = await made(store, INCIDENT, MODEL, checkpoints.public(KEY))
    was, now = await store.rest(INCIDENT)
    assert now < was / 3
    assert [bool(body) for body in await bodies(store)] == [False, False, True, False]
    assert await store.rows(INCIDENT) == rows
    assert await store.read(INCIDENT) == entries
    assert await store.read(INCIDENT, after=2) == entries[2:]
    assert await made(store, INCIDENT, MODEL, checkpoints.public(KEY)) == bundle
    assert verified(bundle).problems == []
    assert await store.rebuild(projected) == 1
    report = verify_at(store.place)
    assert (report.problems, report.unanchored, report.entries) == ([], 0, 6)


async def test_what_is_counted_from_the_timeline_is_counted_as_before(store: Store) -> None:
    await story(store)
    before = await store.counted()
    await store.rest(INCIDENT)
    assert await store.counted() == before == (0, {"own_change": 1})


async def test_what_is_said_afterwards_follows_what_is_at_rest(store: Store) -> None:
    await story(store)
    await store.rest(INCIDENT)
    await told(store, INCIDENT, NOTE)
    assert [one.entry.type for one in await store.read(INCIDENT)][-2:] == ["incident.closed", "note.added"]
    await checkpoints.sign(store, KEY)
    assert verify_at(store.place).problems == []
    assert await store.rest(INCIDENT) == (0, 0)


async def test_laying_to_rest_twice_is_once_and_what_is_not_there_is_nothing(store: Store) -> None:
    await story(store)
    await store.rest(INCIDENT)
    assert await store.rest(INCIDENT) == (0, 0)
    assert await store.rest("incident/NOBODY") == (0, 0)
    assert await store.query("SELECT stream,first,last FROM archive") == [(INCIDENT, 1, 4)]


# ── which ones ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_only_what_closed_and_was_quiet_for_so_long_is_laid_to_rest_oldest_first(
    store: Store, clock: ManualClock
) -> None:
    for name in ("01C", "01B"):
        await told(store, f"incident/{name}", OPENED, CLOSED)
    await told(store, "incident/01OPEN", OPENED)
    again = IncidentReopened(alerts=(), episode=2)
    await told(store, "incident/01AGAIN", OPENED, CLOSED, again)
    await told(store, "incident/01LATELY", OPENED, CLOSED)
    clock.advance((100 * DAY).total_seconds())
    await told(store, "incident/01LATELY", NOTE)
    before = clock.now() - 90 * DAY
    assert await store.resting(before) == ["incident/01B", "incident/01C"]
    assert await store.resting(before, limit=1) == ["incident/01B"]
    await store.rest("incident/01B")
    assert await store.resting(before) == ["incident/01C"]
    assert await store.resting(clock.now() - 101 * DAY) == []


# ── nobody makes it quieter than it is ────────────────────────────────────────────────────────────────────────────


def owner(store: Store) -> Any:
    """Somebody who may do to the database whatever its triggers let them."""
    if store.place.alone:
        return closing(sqlite3.connect(store.place.file, isolation_level=None))
    return psycopg.connect(store.place.dsn, autocommit=True)


ATTACKS = [
    "UPDATE timeline SET body='' WHERE stream='incident/01B' AND version=1",
    "UPDATE timeline SET body='{}' WHERE stream='incident/01A' AND version=1",
    "UPDATE timeline SET body='', type='note.added' WHERE stream='incident/01A' AND version=3",
    "UPDATE timeline SET body='', at='x' WHERE stream='incident/01A' AND version=3",
    "UPDATE timeline SET body='' WHERE stream='incident/01A' AND version=5",
    "UPDATE archive SET body='' WHERE stream='incident/01A'",
    "UPDATE archive SET last=99 WHERE stream='incident/01A'",
    "DELETE FROM archive",
    "DELETE FROM timeline WHERE stream='incident/01A'",
]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_row_loses_a_body_that_is_packed_and_nothing_else(store: Store, attack: str) -> None:
    await story(store)
    await told(store, "incident/01B", OPENED)
    await store.rest(INCIDENT)
    await told(store, INCIDENT, NOTE)
    before = [await store.query(f"SELECT * FROM {name}") for name in ("timeline", "archive")]  # noqa: S608  names
    with owner(store) as attacker, pytest.raises((sqlite3.Error, psycopg.Error), match="append-only"):
        attacker.execute(attack)
    assert [await store.query(f"SELECT * FROM {name}") for name in ("timeline", "archive")] == before  # noqa: S608  names


@pytest.mark.of_files
async def test_whoever_packs_something_else_is_found_out(store: Store, url: str) -> None:
    """Rows can be emptied by whoever puts something into the archive first; the digests say what was there."""
    del url
    await story(store)
    with owner(store) as attacker:
        attacker.execute("INSERT INTO archive VALUES(?,1,4,?)", (INCIDENT, b"nothing"))
        attacker.execute("UPDATE timeline SET body='' WHERE stream=? AND version=4", (INCIDENT,))
    report = verify_at(store.place)
    assert [(one.stream, one.version, one.kind) for one in report.problems] == [(INCIDENT, 4, "changed")]
    with pytest.raises(TimelineError, match="was changed after it was written"):
        await store.read(INCIDENT)


@pytest.mark.of_files
async def test_a_bit_that_flips_in_what_is_packed_is_found_or_changes_no_entry(
    store: Store, url: str, tmp_path: Path, clock: ManualClock
) -> None:
    del url
    await story(store)
    await store.rest(INCIDENT)
    ((packed,),) = await store.query("SELECT body FROM archive")
    entries, found = await store.read(INCIDENT), 0
    copied = f"sqlite:///{tmp_path}/copy.db"
    with closing(sqlite3.connect(store.place.file)) as here, closing(sqlite3.connect(tmp_path / "copy.db")) as there:
        here.backup(there)
        there.execute("DROP TRIGGER archive_no_update")
        async with Store(copied, clock) as reader:
            for bit in range(0, len(packed) * 8, 3):
                flipped = bytearray(packed)
                flipped[bit // 8] ^= 1 << bit % 8
                with there:
                    there.execute("UPDATE archive SET body=?", (bytes(flipped),))
                if verify_at(place_of(copied)).ok:
                    assert await reader.read(INCIDENT) == entries
                else:
                    found += 1
    assert found > len(packed)


async def test_what_was_changed_before_is_not_laid_to_rest(store: Store) -> None:
    await story(store)
    with owner(store) as attacker:
        name = " ON timeline" if not store.place.alone else ""
        attacker.execute(f"DROP TRIGGER timeline_no_update{name}")
        attacker.execute("UPDATE timeline SET body='{}' WHERE stream='incident/01A' AND version=2")
    with pytest.raises(TimelineError, match="breaks at entry 2, so it is left as it is"):
        await store.rest(INCIDENT)
    assert await store.query("SELECT * FROM archive") == []


# ── other places ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.of_files
async def test_what_is_at_rest_moves_to_postgresql_and_is_verified_there(
    store: Store, url: str, postgres: Server, clock: ManualClock
) -> None:
    del url
    await story(store)
    await store.rest(INCIDENT)
    entries = await store.read(INCIDENT)
    target = place_of(postgres.database())
    copied = copy(store.place, target, lambda *_: None)
    assert copied.rows["archive"] == 1
    async with Store(target.url, clock) as there:
        assert [one.digest for one in await there.read(INCIDENT)] == [one.digest for one in entries]
        assert [one.entry for one in await there.read(INCIDENT)] == [one.entry for one in entries]
    assert verify_at(target).problems == []


async def test_the_role_that_serves_may_not_lay_anything_to_rest_and_nothing_is_half_done(
    postgres: Server, clock: ManualClock
) -> None:
    site, role = postgres.database(), f"rests{os.getpid()}"
    postgres.ask(f"CREATE ROLE {role} LOGIN")
    grant(site, role)
    async with Store(site.replace("postgres@", f"{role}@"), clock, project=projected) as store:
        await story(store)
        entries = await store.read(INCIDENT)
        with pytest.raises(ReadOnly, match="permission denied"):
            await store.rest(INCIDENT)
        assert all(await bodies(store))
    async with Store(site, clock) as owning:
        await owning.rest(INCIDENT)
    async with Store(site.replace("postgres@", f"{role}@"), clock) as store:
        assert await store.read(INCIDENT) == entries
