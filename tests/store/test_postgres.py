"""What only PostgreSQL has: roles, several writers at once, a server that goes away."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from bot.clock import ManualClock, SystemClock
from bot.domain.entries import Entry, NoteAdded
from bot.errors import Conflict, LastgoodError, ReadOnly, TimelineError
from bot.ports import Append, Said, Work, Write
from bot.store import checkpoints
from bot.store.copying import copy, verify_at
from bot.store.place import place_of
from bot.store.schema import FORMAT, exists, grant, migrate
from bot.store.timeline import Store
from tests.postgres import Server, prepared

KEY = checkpoints.load_key("11" * 32, place_of("x.db"))
Make = Callable[..., Append]


@pytest.fixture
def site(postgres: Server) -> str:
    return postgres.database()


@pytest.fixture
async def store(site: str, clock: ManualClock) -> AsyncIterator[Store]:
    async with Store(site, clock) as opened:
        yield opened


def dsn(url: str) -> str:
    return place_of(url).dsn


@asynccontextmanager
async def held(url: str, statement: str) -> AsyncIterator[None]:
    """Somebody else's open transaction that has run this statement."""
    connection = await psycopg.AsyncConnection.connect(dsn(url))
    await connection.execute(statement)
    yield
    await connection.rollback()
    await connection.close()


# ── the schema ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_first_and_a_second_migration_end_the_same(postgres: Server) -> None:
    url = postgres.database(made=False)
    assert not exists(place_of(url))
    prepared(url)
    prepared(url)
    assert exists(place_of(url))
    with psycopg.connect(dsn(url)) as made:
        assert made.execute("SELECT value FROM meta WHERE name='format'").fetchone() == (str(FORMAT),)


async def test_two_replicas_that_start_together_migrate_once(postgres: Server) -> None:
    url = postgres.database(made=False)
    await asyncio.gather(*(asyncio.to_thread(prepared, url) for _ in range(3)))
    assert exists(place_of(url))


def test_a_database_of_somebody_else_is_left_alone(postgres: Server) -> None:
    url = postgres.database(made=False)
    with psycopg.connect(dsn(url)) as other:
        other.execute("CREATE TABLE timeline(id integer)")
    with pytest.raises(TimelineError, match="cannot be brought to format"):
        migrate(url)
    with psycopg.connect(dsn(url)) as other:
        assert other.execute("SELECT count(*) FROM pg_tables WHERE schemaname='public'").fetchone() == (1,)


def test_a_newer_format_is_refused(site: str) -> None:
    with psycopg.connect(dsn(site)) as other:
        other.execute("UPDATE meta SET value='99' WHERE name='format'")
    with pytest.raises(TimelineError, match=r"written by a newer Lastgood \(format 99"):
        migrate(site)


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:1/site"
    with pytest.raises(TimelineError, match="PostgreSQL site on 127") as told:
        migrate(url)
    assert "hunter2" not in str(told.value)


# ── who may write ─────────────────────────────────────────────────────────────────────────────────────────────────

INSERT = "INSERT INTO timeline(seq,stream,version,epoch,at,type,schema,body,prev,digest) SELECT 99,stream,"
ATTACKS = [
    "UPDATE timeline SET body='{}' WHERE version=1",
    "DELETE FROM timeline WHERE version=2",
    "TRUNCATE timeline",
    f"{INSERT}4,4,at,type,schema,body,digest,'d' FROM timeline WHERE version=2",
    f"{INSERT}3,3,at,type,schema,body,'not it','d' FROM timeline WHERE version=2",
    "INSERT INTO timeline SELECT * FROM timeline WHERE version=1 ON CONFLICT (seq) DO UPDATE SET body='{}'",
]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_even_the_owner_cannot_change_what_is_written(store: Store, write: Make, attack: str) -> None:
    await store.append(write("incident/A"))
    await store.append(write("incident/A", expect=1))
    before = await store.query("SELECT * FROM timeline")
    with psycopg.connect(store.place.dsn) as owner, pytest.raises(psycopg.Error, match=r"append-only|must follow"):
        owner.execute(attack)
    assert await store.query("SELECT * FROM timeline") == before


@pytest.mark.parametrize(
    "attempt",
    [
        *ATTACKS,
        "UPDATE head SET version=0",
        "INSERT INTO head(stream,version) VALUES('incident/Z',7)",
        "UPDATE signed SET version=0",
        "SELECT setval('timeline_seq_seq', 1)",
        "DROP TABLE timeline",
        "ALTER TABLE timeline DISABLE TRIGGER ALL",
    ],
)
async def test_the_role_that_serves_can_append_and_nothing_else(
    postgres: Server, site: str, clock: ManualClock, write: Make, attempt: str
) -> None:
    role = f"serves{os.getpid()}"
    if not postgres.ask(f"SELECT 1 FROM pg_roles WHERE rolname='{role}'"):  # noqa: S608  a name of ours
        postgres.ask(f"CREATE ROLE {role} LOGIN")
    grant(site, role)
    limited = site.replace("postgres@", f"{role}@")
    async with Store(limited, clock) as store:
        await store.append(write("incident/A"))
        await store.append(
            Append(writes=write("incident/A", expect=1).writes, work=(Work("advance", "incident/A", clock.now()),))
        )
        await store.wake([Work("advance", "incident/A", clock.now())])
    with psycopg.connect(dsn(limited)) as served, pytest.raises(psycopg.errors.InsufficientPrivilege):
        served.execute(attempt)


# ── several at once ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_of_many_who_expect_the_same_epoch_one_writes(site: str, clock: ManualClock, write: Make) -> None:
    stores = [Store(site, clock) for _ in range(3)]
    answers = await asyncio.gather(*(one.append(write("incident/A")) for one in stores * 5), return_exceptions=True)
    assert sum(isinstance(one, list) for one in answers) == 1
    assert {type(one) for one in answers if not isinstance(one, list)} == {Conflict}
    for one in stores:
        one.close()


async def test_appends_over_the_same_streams_in_any_order_never_wait_in_a_circle(
    site: str, clock: ManualClock, note: Entry
) -> None:
    stores = [Store(site, clock) for _ in range(3)]
    names = ["incident/A", "incident/B", "incident/C"]
    appends = [
        Append(writes=tuple(Write(name, (note,), None) for name in (*names[turn:], *names[:turn]))) for turn in range(3)
    ]
    await asyncio.gather(*(stores[turn % 3].append(appends[turn % 3]) for turn in range(90)))
    for name in names:
        assert [one.version for one in await stores[0].read(name)] == list(range(1, 91))
    assert (await asyncio.to_thread(verify_at, stores[0].place)).ok
    for one in stores:
        one.close()


async def test_what_an_append_depends_on_stands_still_until_its_commit(
    site: str, store: Store, write: Make, note: Entry
) -> None:
    await store.append(write("system/policy"))
    async with held(site, "SELECT * FROM lastgood_heads(ARRAY['system/policy'], ARRAY['incident/X'])"):
        depends = Append(writes=(Write("incident/A", (note,), None),), given={"system/policy": 1})
        await asyncio.wait_for(store.append(depends), 5)  # two may depend on it at the same time
        moving = asyncio.create_task(store.append(write("system/policy", expect=1, number=2)))
        await asyncio.sleep(0.3)
        assert not moving.done()
    assert len(await moving) == 1


async def test_an_entry_that_commits_late_is_in_the_next_checkpoint(site: str, store: Store, write: Make) -> None:
    """Its place is lower than one a checkpoint has seen, so a cursor over places would have missed it."""
    append = (
        "SELECT lastgood_append(ARRAY['incident/LATE'],ARRAY[1],ARRAY[1],ARRAY['2026-11-23T02:12:00.000000Z'],"
        "ARRAY['policy.loaded'],ARRAY[1],ARRAY['{}'],ARRAY[''],ARRAY['d'])"
    )
    connection = await psycopg.AsyncConnection.connect(dsn(site))
    await connection.execute(append)
    await store.append(write("incident/A"))
    first = await checkpoints.sign(store, KEY)
    await connection.commit()
    await connection.close()
    second = await checkpoints.sign(store, KEY)
    assert first is not None
    assert second is not None
    assert list(first.entry.heads) == ["incident/A"]  # type: ignore[attr-defined]
    assert list(second.entry.heads) == ["incident/LATE"]  # type: ignore[attr-defined]


# ── a server that goes away ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_connection_cut_before_its_commit_is_no_loss(store: Store, write: Make) -> None:
    cut = [True]

    def job(connection: Any) -> int:
        connection.execute("INSERT INTO person(id,name) VALUES('U0ANA','Ana')")
        if cut.pop() if cut else False:
            with psycopg.connect(store.place.dsn, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (connection.raw.info.backend_pid,))
        return 7

    assert await store._writing(job) == 7
    assert await store.everybody() == {"U0ANA": "Ana"}


async def test_a_commit_whose_answer_is_lost_is_looked_up(store: Store, write: Make) -> None:
    """The transaction commits, and the connection dies before anybody hears of it."""
    sure: list[Any] = []

    def job(connection: Any) -> int:
        connection.execute("INSERT INTO person(id,name) VALUES('U0ANA','Ana')")
        connection.raw.execute("COMMIT")
        with psycopg.connect(store.place.dsn, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (connection.raw.info.backend_pid,))
        return 7

    def stands(connection: Any, answer: int) -> bool:
        sure.append(answer)
        return bool(connection.execute("SELECT 1 FROM person WHERE id='U0ANA'").fetchone() == (1,))

    assert await store._writing(job, stands) == 7
    assert sure == [7]


async def test_what_nobody_can_say_is_a_conflict_and_never_a_success(store: Store) -> None:
    def job(connection: Any) -> int:
        with psycopg.connect(store.place.dsn, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (connection.raw.info.backend_pid,))
        return 7

    with pytest.raises(Conflict, match="nobody can say whether it stands"):
        await store._writing(job, lambda *_: False)


async def test_a_server_killed_among_appends_loses_none_that_was_acknowledged(clock: ManualClock, note: Entry) -> None:
    server = await asyncio.to_thread(Server.started)
    try:
        async with Store(server.database(), clock) as store:

            async def one(number: int) -> int | None:
                try:
                    await store.append(Append(writes=(Write(f"incident/{number}", (note,), None),)))
                except (ReadOnly, Conflict):
                    return None
                return number

            running = [asyncio.create_task(one(number)) for number in range(400)]
            await asyncio.sleep(0.05)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            told = {number for number in await asyncio.gather(*running) if number is not None}
            there = {int(stream.split("/")[1]) for (stream,) in await store.query("SELECT stream FROM timeline")}
            assert told <= there
            assert len(await store.append(Append(writes=(Write("incident/after", (note,), None),)))) == 1
            assert (await asyncio.to_thread(verify_at, store.place)).ok
    finally:
        await asyncio.to_thread(server.remove)


async def test_a_server_that_stays_away_refuses_in_a_sentence(clock: ManualClock) -> None:
    async with Store("postgresql+psycopg://me:hunter2@127.0.0.1:1/site", clock) as store:
        with pytest.raises(
            ReadOnly, match=r"PostgreSQL site on 127.0.0.1 cannot be written.*No record, no rollback"
        ) as told:
            await store.append(Append(writes=(Write("incident/A", (NoteAdded(person="U0", text_ref="r"),), None),)))
        assert "hunter2" not in str(told.value)
        with pytest.raises(TimelineError, match="cannot be read"):
            await store.read("incident/A")
        assert not await store.writable()


async def test_a_clock_that_is_away_from_the_servers_is_measured(site: str, store: Store) -> None:
    assert await store.apart() > 60  # the clock of tests stands still
    async with Store(site, SystemClock()) as running:
        assert await running.apart() < 1


async def test_a_nul_somebody_typed_is_kept_as_a_mark(store: Store) -> None:
    await store.append(Append(said=(Said("ref", "salt", "bad\x00word"),)))
    assert await store.said(["ref"]) == {"ref": "bad\ufffdword"}


# ── moving a site ─────────────────────────────────────────────────────────────────────────────────────────────────


async def _site_in_a_file(url: str, clock: ManualClock, write: Make) -> None:
    migrate(url)
    async with Store(url, clock) as store:
        for number in range(40):
            await store.append(
                Append(
                    writes=write(f"incident/{number:02}").writes,
                    work=(Work("advance", f"incident/{number:02}", clock.now()),),
                    said=(Said(f"ref{number}", "salt", "why\x00"),),
                )
            )
        await checkpoints.sign(store, KEY)
        await store.append(write("incident/40"))
        await store.call({"U0ANA": "Ana"})


async def test_a_site_moves_to_postgresql_and_goes_on_there(
    postgres: Server, tmp_path: Any, clock: ManualClock, write: Make
) -> None:
    source, target = f"sqlite:///{tmp_path}/site.db", postgres.database(made=False)
    await _site_in_a_file(source, clock, write)
    told: list[tuple[str, int]] = []
    copied = await asyncio.to_thread(copy, place_of(source), place_of(target), lambda *one: told.append(one))
    assert copied.report.ok
    assert copied.rows["timeline"] == copied.report.entries == 42
    assert ("work", 40) in told
    async with Store(target, clock) as store:
        assert len(await store.due(clock.now(), 99)) == 40
        assert await store.everybody() == {"U0ANA": "Ana"}
        signed = await checkpoints.sign(store, KEY)
        assert signed is not None
        assert list(signed.entry.heads) == ["incident/40"]  # type: ignore[attr-defined]
        written = await store.append(write("incident/40", expect=1))
        assert written[0].seq > 42
    assert (await asyncio.to_thread(verify_at, place_of(target))).ok


async def test_a_site_is_never_copied_onto_another(
    postgres: Server, tmp_path: Any, clock: ManualClock, write: Make
) -> None:
    source, target = f"sqlite:///{tmp_path}/site.db", postgres.database()
    await _site_in_a_file(source, clock, write)
    async with Store(target, clock) as store:
        await store.append(write("incident/OTHER"))
        with pytest.raises(TimelineError, match="holds a site already"):
            await asyncio.to_thread(copy, place_of(source), place_of(target), lambda *_: None)
        assert await store.query("SELECT stream FROM timeline") == [("incident/OTHER",)]


async def test_a_file_of_an_earlier_format_is_brought_up_to_date_first(
    postgres: Server, tmp_path: Any, clock: ManualClock, write: Make
) -> None:
    source, target = f"sqlite:///{tmp_path}/site.db", postgres.database(made=False)
    await _site_in_a_file(source, clock, write)
    with sqlite3.connect(f"{tmp_path}/site.db") as earlier:
        earlier.execute("UPDATE meta SET value='3' WHERE name='format'")
        earlier.execute("DROP TABLE archive")
    with pytest.raises(
        TimelineError, match=r"has format 3, this Lastgood moves format 4\. Run `lastgood db migrate` first"
    ):
        await asyncio.to_thread(copy, place_of(source), place_of(target), lambda *_: None)
    assert not exists(place_of(target))


async def test_a_file_that_does_not_verify_is_not_copied(
    postgres: Server, tmp_path: Any, clock: ManualClock, write: Make
) -> None:
    source, target = f"sqlite:///{tmp_path}/site.db", postgres.database(made=False)
    await _site_in_a_file(source, clock, write)
    with sqlite3.connect(f"{tmp_path}/site.db") as broken:
        broken.execute("DROP TRIGGER timeline_no_update")
        broken.execute("UPDATE timeline SET body='{}' WHERE seq=3")
    with pytest.raises(LastgoodError, match="does not verify"):
        await asyncio.to_thread(copy, place_of(source), place_of(target), lambda *_: None)
    assert not exists(place_of(target))
