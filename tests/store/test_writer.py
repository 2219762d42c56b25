from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from bot.clock import ManualClock
from bot.errors import Conflict, ReadOnly, TimelineError
from bot.ports import Append, Said, Write
from bot.store.timeline import Store, connect
from bot.store.verify import verify
from bot.store.writer import Writer

pytestmark = pytest.mark.of_files

Make = Callable[..., Append]


async def grouped(store: Store, *asked: Coroutine[Any, Any, object]) -> list[object]:
    """Keep the writer busy until all of it is asked for, so that it becomes one group."""
    gate = threading.Event()
    first = asyncio.create_task(store._writer.run(lambda _: gate.wait(10)))
    await asyncio.sleep(0.01)
    tasks = [asyncio.create_task(one) for one in asked]
    await asyncio.sleep(0)
    gate.set()
    await first
    return list(await asyncio.gather(*tasks, return_exceptions=True))


async def room(store: Store, pages: int) -> None:
    """Let the file have so many pages and no more."""
    await store._writer.run(lambda connection: connection.execute(f"PRAGMA max_page_count={pages}").fetchone())


async def test_a_conflict_refuses_one_request_and_the_rest_of_the_group_commits(store: Store, write: Make) -> None:
    await store.append(write("incident/A"))
    ends = await grouped(
        store,
        store.append(write("incident/B")),
        store.append(write("incident/A", expect=0)),
        store.append(write("incident/C")),
    )
    assert [type(end) for end in ends] == [list, Conflict, list]
    assert len(await store.read("incident/B")) == len(await store.read("incident/C")) == 1


async def test_a_group_is_one_commit(store: Store, write: Make) -> None:
    commits: list[str] = []
    await store._writer.run(
        lambda c: c.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    )
    commits.clear()
    await grouped(store, *(store.append(write(f"incident/{number}")) for number in range(50)))
    assert len(commits) == 2  # the request that held the writer, then the fifty


async def test_an_sql_error_in_one_request_leaves_the_others_of_its_group(store: Store, write: Make) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO said(ref,salt,text) VALUES('half','','')")
        connection.execute("INSERT INTO nowhere VALUES(1)")

    good, bad, other = await grouped(
        store, store.append(write("incident/A")), store._writer.run(broken), store.append(write("incident/B"))
    )
    assert isinstance(bad, ReadOnly)
    assert isinstance(good, list)
    assert isinstance(other, list)
    assert await store.said(["half"]) == {}
    assert verify(store.path).entries == 2


async def test_unique_stream_and_version_is_the_last_line(store: Store, write: Make) -> None:
    await store.append(write("incident/A"))

    def past_the_checks(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TRIGGER timeline_follows")
        connection.execute("INSERT INTO timeline SELECT 2,stream,1,1,at,type,schema,body,prev,digest FROM timeline")

    with pytest.raises(Conflict, match="UNIQUE"):
        await store._writer.run(past_the_checks)


async def test_a_full_disk_refuses_names_its_cause_and_passes(store: Store, write: Make) -> None:
    big = Append(said=(Said("big", "", "x" * 2_000_000),), writes=write("incident/B").writes)
    await store.append(write("incident/A"))
    await room(store, 100)
    with pytest.raises(ReadOnly, match=r"site\.db cannot be written: the disk is full\. No record, no rollback"):
        await store.append(big)
    assert await store.read("incident/B") == []
    assert len(await store.append(write("incident/C"))) == 1
    await room(store, 100_000)
    assert len(await store.append(big)) == 1
    assert verify(store.path).as_json() == {"ok": True, "entries": 3, "unanchored": 3, "problems": []}


async def test_a_disk_that_fills_at_any_write_never_leaves_half_an_append(store: Store, write: Make) -> None:
    done = refused = 0
    for step in range(40):
        (pages,) = (await store.query("PRAGMA page_count"))[0]
        await room(store, pages + step % 8)
        stream = f"incident/{step}"
        asked = Append(writes=write(stream).writes, said=(Said(stream, "", "x" * 9000),))
        try:
            await store.append(asked)
            done += 1
        except ReadOnly:
            refused += 1
        assert len(await store.read(stream)) == len(await store.said([stream]))
    assert done >= 5
    assert refused >= 5
    assert verify(store.path).entries == done


async def test_a_database_held_by_another_process_is_named_and_nobody_waits_twice(store: Store, write: Make) -> None:
    await store._writer.run(lambda c: c.execute("SELECT 1").close())
    assert isinstance(store._writer, Writer)
    assert store._writer._connection is not None
    store._writer._connection.execute("PRAGMA busy_timeout=200")
    other = connect(store.path, write=True)
    other.execute("BEGIN IMMEDIATE")
    started = asyncio.get_running_loop().time()
    asked = [store.append(write(f"incident/{number}")) for number in range(30)]
    ends = await asyncio.gather(*asked, return_exceptions=True)
    assert asyncio.get_running_loop().time() - started < 2
    assert {str(end).partition("cannot be written: ")[2] for end in ends} == {
        "another process holds it for writing. No record, no rollback."
    }
    other.execute("ROLLBACK")
    other.close()
    assert len(await store.append(write("incident/after"))) == 1


async def test_a_file_that_is_not_there_is_read_only_not_a_crash(
    tmp_path: Path, clock: ManualClock, write: Make, crashes: list[BaseException]
) -> None:
    async with Store(f"sqlite:///{tmp_path}/none.db", clock, on_crash=crashes.append) as store:
        with pytest.raises(ReadOnly, match="the file cannot be opened"):
            await store.append(write("incident/A"))
        with pytest.raises(TimelineError, match="cannot be read"):
            await store.read("incident/A")
    assert crashes == []
    assert not (tmp_path / "none.db").exists()


async def test_an_unknown_error_fails_every_caller_and_says_so(
    store: Store, write: Make, crashes: list[BaseException]
) -> None:
    def mistake(_: sqlite3.Connection) -> None:
        raise ZeroDivisionError

    ends = await grouped(
        store, store.append(write("incident/A")), store._writer.run(mistake), store.append(write("incident/B"))
    )
    assert [type(end) for end in ends] == [TimelineError] * 3
    assert [type(crash) for crash in crashes] == [ZeroDivisionError]
    with pytest.raises(TimelineError, match="its writer ended with ZeroDivisionError"):
        await store.append(write("incident/C"))
    assert await store.read("incident/A") == []


async def test_a_request_that_refuses_itself_after_writing_is_a_crash(
    store: Store, crashes: list[BaseException]
) -> None:
    def late(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO said(ref,salt,text) VALUES('half','','')")
        raise Conflict

    with pytest.raises(TimelineError):
        await store._writer.run(late)
    assert [type(crash) for crash in crashes] == [AssertionError]
    assert await store.said(["half"]) == {}


def test_a_dead_writer_ends_the_process_non_zero(url: str) -> None:
    code = (
        "import asyncio, sys\n"
        "from bot.clock import SystemClock\n"
        "from bot.store.timeline import Store\n"
        "async def main():\n"
        "    store = Store(sys.argv[1], SystemClock())\n"
        "    await store._writer.run(lambda _: 1 / 0)\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, url], capture_output=True, check=False, timeout=30)
    assert ended.returncode == 70
    assert b"nothing can be recorded" in ended.stderr


async def test_closing_finishes_what_was_asked_for(url: str, clock: ManualClock, write: Make) -> None:
    store = Store(url, clock)
    tasks = [asyncio.create_task(store.append(write(f"incident/{number}"))) for number in range(20)]
    await asyncio.sleep(0)
    await asyncio.to_thread(store.close)
    assert len(await asyncio.gather(*tasks)) == 20
    with pytest.raises(TimelineError, match="is closed"):
        await store.append(write("incident/late"))
    assert verify(store.path).entries == 20


async def test_an_empty_write_is_no_entry(store: Store) -> None:
    assert await store.append(Append(writes=(Write("incident/A", (), 0),))) == []


def test_a_loop_that_closed_before_its_answer_does_not_end_the_writer(
    url: str, clock: ManualClock, write: Make, crashes: list[BaseException]
) -> None:
    store, gate = Store(url, clock, on_crash=crashes.append), threading.Event()

    async def leave_early() -> None:
        asked: list[Coroutine[Any, Any, Any]] = [
            store._writer.run(lambda _: gate.wait(10)),
            store.append(write("incident/A")),
        ]
        tasks = [asyncio.create_task(one) for one in asked]
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)

    asyncio.run(leave_early())
    gate.set()
    asyncio.run(store.append(write("incident/B")))
    store.close()
    assert crashes == []
    assert verify(store.path).entries == 2
