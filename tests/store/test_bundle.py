"""A bundle says what the timeline says, to somebody who has nothing else; whatever is changed in it is found."""

from __future__ import annotations

import hashlib
import io
import zipfile
from datetime import timedelta
from typing import Any

import orjson
import pytest

from bot.clock import ManualClock
from bot.domain.entries import Entry, EvidenceCaptured, EvidenceErased, IncidentOpened
from bot.errors import TimelineError
from bot.ports import Append, Write
from bot.store import chain, checkpoints
from bot.store.bundle import _packed, made, verified
from bot.store.place import place_of
from bot.store.timeline import Store

KEY = checkpoints.load_key("11" * 32, place_of("x.db"))
OTHER = checkpoints.load_key("22" * 32, place_of("x.db"))
KNOWN, STRANGER = checkpoints.public(KEY), checkpoints.public(OTHER)
INCIDENT, MODEL = "incident/01A", "model/prod/fraud"
SAMPLES = b'{"id": "r1"}\n'


async def bundle(store: Store, clock: ManualClock, write: Any, note: Entry, *, after: int = 0) -> bytes:
    digest, until = hashlib.sha256(SAMPLES).hexdigest(), clock.now() + timedelta(days=30)
    opened = IncidentOpened(model="fraud", environment="prod", tier=1)
    await store.append(Append(writes=(Write(INCIDENT, (opened,), 0),)))
    await store.append(write(MODEL))
    await store.append(write("model/prod/other"))
    await store.keep(INCIDENT, {digest: SAMPLES}, until)
    captured = EvidenceCaptured(plan="p", files={"samples.jsonl": digest}, coverage=("1 samples.",), until=until)
    await store.append(Append(writes=(Write(INCIDENT, (captured,), None),)))
    await checkpoints.sign(store, KEY)
    await store.append(Append(writes=(Write(INCIDENT, (note,), None),)))
    await checkpoints.sign(store, KEY)
    for _ in range(after):
        await store.append(Append(writes=(Write(INCIDENT, (note,), None),)))
    return await made(store, INCIDENT, MODEL, KNOWN)


def rewritten(packed: bytes, **to: str) -> bytes:
    """Rewrite the last entry of a bundle as somebody who knows how digests are made would."""

    def lines(text: bytes) -> bytes:
        rows = [orjson.loads(line) for line in text.splitlines()]
        last = max((row for row in rows if row["stream"] == INCIDENT), key=lambda row: row["version"])
        last |= to
        last["digest"] = chain.digest_of(
            *(last[name] for name in ("stream", "version", "epoch", "at", "type", "schema", "body", "prev"))
        )
        return b"".join(orjson.dumps(row) + b"\n" for row in rows)

    return changed(packed, "timeline.jsonl", lines)


def changed(body: bytes, name: str, to: Any) -> bytes:
    """Change one file of a bundle, or put another in; None takes it out."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(body)) as old, zipfile.ZipFile(out, "w") as new:
        for one in old.namelist():
            if one != name:
                new.writestr(one, old.read(one))
            elif to is not None:
                new.writestr(one, to(old.read(one)))
        if name not in old.namelist() and to is not None:
            new.writestr(name, to(b""))
    return out.getvalue()


async def test_a_bundle_holds_and_is_the_same_bytes_each_time(
    store: Store, clock: ManualClock, write: Any, note: Entry
) -> None:
    body = await bundle(store, clock, write, note)
    assert verified(body, KNOWN).as_json() == {
        "ok": True, "incident": "01A", "entries": 4, "checkpoints": 2, "evidence": 1, "missing": [],
        "key": KNOWN, "problems": [],
    }  # fmt: skip
    assert body == await made(store, INCIDENT, MODEL, KNOWN)


async def test_it_ends_where_the_last_checkpoint_does(
    store: Store, clock: ManualClock, write: Any, note: Entry
) -> None:
    body = await bundle(store, clock, write, note, after=3)
    assert (verified(body, KNOWN).entries, verified(body, KNOWN).problems) == (4, [])


async def test_what_no_checkpoint_covers_yet_is_refused_with_when_to_ask_again(
    store: Store, clock: ManualClock, write: Any, note: Entry
) -> None:
    await store.append(write(INCIDENT))
    await store.append(write(MODEL))
    with pytest.raises(TimelineError, match=r"No checkpoint covers incident/01A yet.*ask again then"):
        await made(store, INCIDENT, MODEL, KNOWN)


async def test_a_key_that_is_not_the_one_you_know_is_said(
    store: Store, clock: ManualClock, write: Any, note: Entry
) -> None:
    kinds = {one.kind for one in verified(await bundle(store, clock, write, note), STRANGER).problems}
    assert {"key", "checkpoint"} <= kinds


async def test_a_timeline_somebody_wrote_anew_is_found_with_and_without_the_checkpoints(
    store: Store, clock: ManualClock, write: Any, note: Entry
) -> None:
    forged = rewritten(await bundle(store, clock, write, note), body='{"person":"U0EVE","text_ref":"ref"}')
    assert {one.kind for one in verified(forged, KNOWN).problems} == {"missing"}
    bare = changed(forged, "checkpoints.jsonl", lambda _: b"")
    assert {one.kind for one in verified(bare, KNOWN).problems} == {"unanchored"}
    older = changed(forged, "checkpoints.jsonl", lambda text: text.splitlines(keepends=True)[0])
    assert [(one.kind, one.version) for one in verified(older, KNOWN).problems] == [("unanchored", 3)]


async def test_an_entry_signed_by_somebody_else_is_found(
    store: Store, clock: ManualClock, write: Any, note: Entry
) -> None:
    body = await bundle(store, clock, write, note)

    def resigned(text: bytes) -> bytes:
        rows = [orjson.loads(line) for line in text.splitlines()]
        for row in rows:
            row["signature"] = OTHER.sign(checkpoints.signed_content(row)).hex()
        return b"".join(orjson.dumps(row) + b"\n" for row in rows)

    assert "checkpoint" in {one.kind for one in verified(changed(body, "checkpoints.jsonl", resigned), KNOWN).problems}


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '"x"', '{"files": 3}', '{"files": {"a": [1]}}'])
@pytest.mark.parametrize("kind", ["incident.opened", "evidence.captured", "evidence.erased"])
async def test_an_entry_whose_content_is_none_is_a_problem_and_no_crash(
    store: Store, clock: ManualClock, write: Any, note: Entry, kind: str, body: str
) -> None:
    assert verified(rewritten(await bundle(store, clock, write, note), type=kind, body=body), KNOWN).problems


@pytest.mark.of_files
async def test_every_changed_byte_is_found(store: Store, clock: ManualClock, write: Any, note: Entry) -> None:
    body = await bundle(store, clock, write, note)
    for place in range(len(body)):
        flipped = bytearray(body)
        flipped[place] ^= 1 << (place % 8)
        try:
            assert verified(bytes(flipped), KNOWN).problems, f"byte {place} of {len(body)}"
        except TimelineError:
            continue  # it cannot even be read, and says so


@pytest.mark.of_files
async def test_every_changed_byte_inside_is_found_when_it_is_packed_anew(
    store: Store, clock: ManualClock, write: Any, note: Entry
) -> None:
    body = await bundle(store, clock, write, note)
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    for name, text in files.items():
        for place in range(len(text)):
            for bit in (0x01, 0x20):  # 0x20 makes a small letter a capital
                other = text[:place] + bytes([text[place] ^ bit]) + text[place + 1 :]
                try:
                    assert verified(_packed({**files, name: other}), KNOWN).problems, f"{name}, byte {place}"
                except TimelineError:
                    continue


@pytest.mark.parametrize(
    ("name", "to", "kind"),
    [
        ("timeline.jsonl", lambda text: b"\n".join(text.splitlines()[:-1]), "missing"),
        ("timeline.jsonl", lambda text: b"\n".join([*text.splitlines()[:1], *text.splitlines()[2:]]), "gap"),
        ("evidence/other.txt", lambda _: b"planted", "evidence"),
        ("checkpoints.jsonl", lambda text: text.replace(b'"signature":"', b'"signature":"00', 1), "checkpoint"),
        ("README.txt", lambda text: text + b"Trust me.", "text"),
    ],
)
async def test_what_was_done_to_it_is_named(
    store: Store, clock: ManualClock, write: Any, note: Entry, name: str, to: Any, kind: str
) -> None:
    body = await bundle(store, clock, write, note)
    assert kind in {one.kind for one in verified(changed(body, name, to), KNOWN).problems}


async def test_erased_evidence_is_named_as_erased_and_what_was_taken_out_is_a_problem(
    store: Store, clock: ManualClock, write: Any, note: Entry
) -> None:
    await bundle(store, clock, write, note)
    digest = hashlib.sha256(SAMPLES).hexdigest()
    assert await store.overdue(clock.now()) == {}
    clock.advance(31 * 86_400)
    assert await store.overdue(clock.now()) == {INCIDENT: (digest,)}
    await store.forget({INCIDENT: [digest]})
    said = verified(await made(store, INCIDENT, MODEL, KNOWN), KNOWN)
    assert [one.detail for one in said.problems] == ["samples.jsonl was taken out: no entry says that it was erased"]
    erased = EvidenceErased(files={"samples.jsonl": digest})
    await store.append(Append(writes=(Write(INCIDENT, (erased,), None),)))
    await checkpoints.sign(store, KEY)
    said = verified(await made(store, INCIDENT, MODEL, KNOWN), KNOWN)
    assert (said.problems, said.missing, said.evidence) == ([], ["samples.jsonl"], 0)


@pytest.mark.parametrize("body", [b"", b"PK\x03\x04nothing", b"\x00" * 100])
def test_a_file_that_is_no_bundle_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(TimelineError, match="no bundle of Lastgood"):
        verified(body)


async def test_a_bundle_without_a_part_names_it(store: Store, clock: ManualClock, write: Any, note: Entry) -> None:
    body = changed(await bundle(store, clock, write, note), "public.key", None)
    with pytest.raises(TimelineError, match=r"has no public\.key"):
        verified(body)


async def test_no_secret_and_no_absolute_place_is_in_it(
    store: Store, clock: ManualClock, write: Any, note: Entry
) -> None:
    with zipfile.ZipFile(io.BytesIO(await bundle(store, clock, write, note))) as packed:
        assert all(not name.startswith("/") and ".." not in name for name in packed.namelist())
        rows = [orjson.loads(line) for line in packed.read("timeline.jsonl").splitlines()]
    assert {row["stream"] for row in rows} == {INCIDENT, MODEL}
