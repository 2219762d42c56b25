from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bot.clock import ManualClock
from bot.domain.entries import NoteAdded, PolicyLoaded
from bot.errors import TimelineError
from bot.ports import Append, Write
from bot.store import chain, checkpoints
from bot.store.chain import Row
from bot.store.schema import migrate
from bot.store.timeline import Store
from bot.store.verify import Report, verify

pytestmark = pytest.mark.of_files

KEY, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
STREAMS = ("incident/A", "incident/B", "model/prod/fraud")
NOTE = NoteAdded(person="U0ANA", text_ref="ref")
many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Site(NamedTuple):
    """A whole timeline of 8 entries a stream, all covered by a checkpoint, and what was exported of it."""

    path: Path
    exported: list[dict[str, Any]]
    copy: Path


async def _filled(url: str) -> list[dict[str, Any]]:
    lines: list[str] = []
    async with Store(url, ManualClock()) as store:
        for half in range(2):
            for number in range(4):
                for stream in STREAMS:
                    epoch = max((one.epoch for one in await store.read(stream)), default=0)
                    entry = NOTE if number == 2 else PolicyLoaded(digest="ab" * 32, generation=half * 10 + number)
                    await store.append(Append(writes=(Write(stream, (entry,), epoch),)))
            signed = await checkpoints.sign(store, KEY)
            assert signed is not None
            lines.append(checkpoints.exported(signed))
    return checkpoints.read_exported(lines)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    url = f"sqlite:///{folder}/site.db"
    migrate(url)
    return Site(folder / "site.db", asyncio.run(_filled(url)), folder / "copy.db")


def tampered(site: Site, *statements: str, parameters: tuple[Any, ...] = ()) -> Path:
    """Copy the file, take its guards away and do this to it."""
    shutil.copy(site.path, site.copy)
    with closing(sqlite3.connect(site.copy, isolation_level=None)) as connection:
        for trigger in ("timeline_no_update", "timeline_no_delete", "timeline_follows"):
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            connection.execute(statement, parameters)
    return site.copy


def named(report: Report) -> set[tuple[str, int]]:
    return {(one.stream, one.version) for one in report.problems}


def test_an_untouched_timeline_holds(site: Site) -> None:
    report = verify(site.path, site.exported, checkpoints.public(KEY))
    assert report.as_json() == {"ok": True, "entries": 26, "unanchored": 0, "problems": []}
    assert report.streams == 4


def test_the_digest_of_the_fast_path_is_the_digest_of_the_chain(site: Site) -> None:
    connection = sqlite3.connect(site.path)
    for row in connection.execute("SELECT * FROM timeline"):
        assert chain.digest_of(*row[1:9]) == row[9]
    connection.close()


def test_the_sentence_says_what_was_changed_and_what_still_holds(site: Site) -> None:
    path = tampered(site, "UPDATE timeline SET body='{}' WHERE stream='incident/A' AND version=5")
    (found,) = verify(path).problems
    assert (found.stream, found.version, found.kind) == ("incident/A", 5, "changed")
    stored, own = digests(path, "incident/A", 5)
    second = site.exported[1]["checkpoint"][:8]
    assert found.detail == (
        f"breaks at entry 5 (policy.loaded, 02:12:00): its content gives digest {own[:8]}, the chain says {stored[:8]}; "
        f"entry 6 still points to {stored[:8]}, so entry 5 was changed after it was written. "
        f"Entries 1–4 hold; 6–8 hold on their own. The last signed checkpoint that covers it: checkpoint {second}, 02:12:00."
    )


def digests(path: Path, stream: str, version: int) -> tuple[str, str]:
    connection = sqlite3.connect(path)
    row = Row(*connection.execute("SELECT * FROM timeline WHERE stream=? AND version=?", (stream, version)).fetchone())
    connection.close()
    return row.digest, chain.digest_of(*row[1:9])


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "stream": st.sampled_from(["incident/C", "", "system/policy", "incident/A "]),
    "version": st.integers(-3, 99) | st.text(max_size=3),
    "epoch": st.integers(-3, 99),
    "at": st.text(max_size=27),
    "type": st.sampled_from(["note.added", "plan.made", ""]),
    "schema": st.integers(-3, 99) | st.floats(0.1, 0.9),
    "body": st.text(max_size=30) | st.binary(max_size=30),
    "prev": st.text(alphabet="0123456789abcdef", max_size=64),
    "digest": st.text(alphabet="0123456789abcdef", max_size=64) | st.binary(max_size=8),
}


@many
@given(data=st.data(), stream=st.sampled_from(STREAMS), version=st.integers(1, 8), column=st.sampled_from(list(VALUES)))
def test_any_changed_column_of_any_row_is_named(
    site: Site, data: st.DataObject, stream: str, version: int, column: str
) -> None:
    value = data.draw(VALUES[column])
    try:
        path = tampered(
            site,
            f"UPDATE timeline SET {column}=? WHERE stream='{stream}' AND version={version}",  # noqa: S608  the test's own words
            parameters=(value,),
        )
    except sqlite3.IntegrityError:  # the place is taken: even without triggers two rows cannot share it
        assume(False)
    if _same(path, site.path):
        assume(False)
    report = verify(path)
    assert not report.ok
    assert any(one.stream in (stream, str(value)) for one in report.problems)
    if column not in ("stream", "version"):
        assert (stream, version) in named(report)


def _same(one: Path, other: Path) -> bool:
    return _all(one) == _all(other)


def _all(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT * FROM timeline ORDER BY seq").fetchall()
    finally:
        connection.close()


@many
@given(seq=st.integers(1, 26), place=st.integers(-5, 60))
def test_an_entry_put_on_another_place_is_noticed(site: Site, seq: int, place: int) -> None:
    assume(not 1 <= place <= 26)
    path = tampered(site, f"UPDATE timeline SET seq={place} WHERE seq={seq}")  # noqa: S608  numbers
    assert not verify(path).ok


@many
@given(stream=st.sampled_from(STREAMS), gone=st.sets(st.integers(1, 8), min_size=1))
def test_any_entries_taken_out_are_named(site: Site, stream: str, gone: set[int]) -> None:
    marks = ",".join(map(str, gone))
    path = tampered(site, f"DELETE FROM timeline WHERE stream='{stream}' AND version IN ({marks})")  # noqa: S608  numbers
    for report in (verify(path), verify(path, site.exported)):
        assert not report.ok
        assert stream in {one.stream for one in report.problems}


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_tail_cut_off_is_named_at_its_first_entry(site: Site, cut: int) -> None:
    path = tampered(site, f"DELETE FROM timeline WHERE stream='incident/B' AND version >= {cut}")  # noqa: S608  numbers
    assert ("incident/B", cut, "missing") in {(one.stream, one.version, one.kind) for one in verify(path).problems}


def rechained(path: Path, stream: str, edit: Callable[[list[Row]], list[Row]]) -> None:
    """Do what somebody does who knows the chain: edit a stream and make every digest fit again, places too."""
    connection = sqlite3.connect(path, isolation_level=None)
    rows = [
        Row(*row) for row in connection.execute("SELECT * FROM timeline WHERE stream=? ORDER BY version", (stream,))
    ]
    (free,) = connection.execute("SELECT max(seq)+1 FROM timeline").fetchone()
    connection.execute("DELETE FROM timeline WHERE stream=?", (stream,))
    prev = ""
    for version, row in enumerate(edit(rows), 1):
        epoch = min(row.epoch, version)
        digest = chain.digest_of(stream, version, epoch, row.at, row.type, row.schema, row.body, prev)
        seq = rows[version - 1].seq if version <= len(rows) else free
        values = (seq, stream, version, epoch, row.at, row.type, row.schema, row.body, prev, digest)
        connection.execute("INSERT INTO timeline VALUES(?,?,?,?,?,?,?,?,?,?)", values)
        prev = digest
    connection.close()


@many
@given(stream=st.sampled_from(STREAMS), index=st.integers(0, 7))
def test_a_stream_written_anew_with_fitting_digests_is_named_by_its_checkpoint(
    site: Site, stream: str, index: int
) -> None:
    path = tampered(site)
    rechained(path, stream, lambda rows: [*rows[:index], rows[index]._replace(body='{"x":1}'), *rows[index + 1 :]])
    report = verify(path)
    assert {(one.stream, one.kind) for one in report.problems} == {(stream, "changed")}
    assert (stream, 8) in named(report)
    assert "signed entry 8 as" in report.problems[-1].detail


@many
@given(stream=st.sampled_from(STREAMS), index=st.integers(0, 8))
def test_an_entry_put_in_with_fitting_digests_is_named_by_its_checkpoint(site: Site, stream: str, index: int) -> None:
    assume(index < 8)  # behind the last, it is an append like any other
    path = tampered(site)
    rechained(path, stream, lambda rows: [*rows[:index], rows[0]._replace(body='{"x":1}'), *rows[index:]])
    report = verify(path)
    assert (stream, 8, "changed") in {(one.stream, one.version, one.kind) for one in report.problems}


def test_an_entry_put_in_by_moving_the_others_up_is_named(site: Site) -> None:
    path = tampered(
        site,
        "UPDATE timeline SET version=version+100 WHERE stream='incident/A' AND version>=4",
        "UPDATE timeline SET version=version-99 WHERE stream='incident/A' AND version>=100",
        "INSERT INTO timeline SELECT 27,stream,4,4,at,type,schema,'{}',digest,'d' FROM timeline "
        "WHERE stream='incident/A' AND version=3",
    )
    kinds = {(one.version, one.kind) for one in verify(path).problems if one.stream == "incident/A"}
    assert {(4, "changed"), (5, "inserted")} <= kinds


def test_a_replaced_digest_is_told_from_a_replaced_body(site: Site) -> None:
    path = tampered(site, "UPDATE timeline SET digest='00' WHERE stream='incident/A' AND version=5")
    found = next(one for one in verify(path).problems if one.stream == "incident/A")
    assert (found.version, found.kind) == (5, "changed")
    assert "so only its digest was replaced" in found.detail
    assert ("incident/A", 6) not in named(verify(path))


def test_bytes_that_are_no_text_are_named(site: Site) -> None:
    path = tampered(site, "UPDATE timeline SET body=CAST(x'ff41' AS TEXT) WHERE stream='incident/A' AND version=2")
    report = verify(path)
    assert ("incident/A", 2) in named(report)
    assert orjson.loads(orjson.dumps(report.as_json()))["ok"] is False


def test_a_checkpoint_signed_by_a_stranger_is_named(site: Site) -> None:
    path = tampered(site)
    rechained(path, checkpoints.STREAM, lambda rows: [_signed_again(row) for row in rows])
    assert all(one.kind == "checkpoint" for one in verify(path).problems)
    ours = verify(path, public_key=checkpoints.public(KEY))
    assert {(one.version, one.kind) for one in ours.problems} == {(1, "checkpoint"), (2, "checkpoint")}
    assert ours.unanchored == 24
    outside = verify(path, site.exported)
    assert {(one.version, one.kind) for one in outside.problems} >= {(1, "checkpoint"), (2, "checkpoint")}


def _signed_again(row: Row) -> Row:
    body = {**orjson.loads(row.body), "key": checkpoints.public(STRANGER)}
    body["signature"] = STRANGER.sign(checkpoints.signed_content(body)).hex()
    return row._replace(body=orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode())


@pytest.mark.parametrize("broken", ["[]", "not JSON", '{"heads":1}', '{"heads":{"a":[1,2]}}', "{}"])
def test_a_checkpoint_that_is_none_is_named(site: Site, broken: str) -> None:
    path = tampered(site)
    rechained(path, checkpoints.STREAM, lambda rows: [rows[0], rows[1]._replace(body=broken)])
    found = verify(path)
    assert (checkpoints.STREAM, 2, "checkpoint") in {(one.stream, one.version, one.kind) for one in found.problems}
    assert found.unanchored == 12


def test_a_file_put_back_to_an_older_state_is_noticed_with_what_was_exported(site: Site) -> None:
    half = site.exported[0]["count"] + 1
    path = tampered(site, f"DELETE FROM timeline WHERE seq > {half}")  # noqa: S608  a number
    assert verify(path).ok
    report = verify(path, site.exported)
    assert named(report) == {(stream, 5) for stream in STREAMS} | {(checkpoints.STREAM, 2)}
    assert {one.kind for one in report.problems} == {"missing"}


def test_a_hole_whose_edges_were_made_to_fit_is_named(site: Site) -> None:
    path = tampered(site, "DELETE FROM timeline WHERE stream='incident/A' AND version=4")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        rows = [
            Row(*row) for row in connection.execute("SELECT * FROM timeline WHERE stream='incident/A' ORDER BY version")
        ]
        prev = rows[2].digest
        for row in rows[3:]:
            values = (prev, chain.digest_of(*row[1:8], prev), row.seq)
            connection.execute("UPDATE timeline SET prev=?, digest=? WHERE seq=?", values)
            prev = values[1]
    found = next(one for one in verify(path).problems if one.kind == "gap" and one.stream == "incident/A")
    assert found.version == 5
    assert "it follows entry 3, so entry 4 was taken out" in found.detail


def test_a_checkpoint_taken_out_with_fitting_digests_is_named(site: Site) -> None:
    path = tampered(site)
    rechained(path, checkpoints.STREAM, lambda rows: rows[1:])
    assert (checkpoints.STREAM, 1, "checkpoint") in {
        (one.stream, one.version, one.kind) for one in verify(path).problems
    }


def test_only_what_was_exported_anchors_when_exports_are_given(site: Site) -> None:
    assert verify(site.path, site.exported[:1]).unanchored == 12
    assert verify(site.path).unanchored == 0


@pytest.mark.parametrize("line", [{}, {"checkpoint": "ab", "version": "x"}, {"heads": {}, "key": 5}])
def test_an_exported_line_that_is_no_checkpoint_is_named_not_stumbled_over(site: Site, line: dict[str, Any]) -> None:
    report = verify(site.path, [line])
    assert [(one.stream, one.kind) for one in report.problems] == [(checkpoints.STREAM, "checkpoint")]


def test_entries_after_the_last_checkpoint_are_counted(url: str, clock: ManualClock) -> None:
    async def story() -> None:
        async with Store(url, clock) as store:
            for number in range(5):
                await store.append(Append(writes=(Write("incident/A", (NOTE,)),)))
                if number == 1:
                    await checkpoints.sign(store, KEY)

    asyncio.run(story())
    assert verify(Path(url.removeprefix("sqlite:///"))).unanchored == 3


def test_a_file_that_is_no_database_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"nothing of the sort" * 100)
    with pytest.raises(TimelineError, match="cannot be read: file is not a database"):
        verify(tmp_path / "x.db")
    with pytest.raises(TimelineError, match="There is no database"):
        verify(tmp_path / "y.db")


def test_verifying_leaves_no_trace(site: Site, tmp_path: Path) -> None:
    copy = tmp_path / "evidence.db"
    shutil.copy(site.path, copy)
    assert verify(copy, site.exported).ok
    assert list(tmp_path.iterdir()) == [copy]
    assert copy.read_bytes() == site.path.read_bytes()


async def test_a_timeline_is_verified_while_it_is_written(store: Store) -> None:
    for number in range(30):
        await store.append(Append(writes=(Write("incident/A", (NOTE,)),)))
        assert verify(store.path).entries == number + 1


@pytest.fixture(autouse=True)
def _no_leftovers(site: Site) -> Iterator[None]:
    yield
    site.copy.unlink(missing_ok=True)
