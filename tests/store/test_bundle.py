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
from bot.domain.entries import Entry, EvidenceCaptured
from bot.errors import TimelineError
from bot.ports import Append, Write
from bot.store import checkpoints
from bot.store.bundle import made, verified
from bot.store.place import place_of
from bot.store.timeline import Store

KEY = checkpoints.load_key("11" * 32, place_of("x.db"))
STRANGER = checkpoints.public(checkpoints.load_key("22" * 32, place_of("x.db")))
INCIDENT, MODEL = "incident/01A", "model/prod/fraud"
SAMPLES = b'{"id": "r1"}\n'


async def bundle(store: Store, clock: ManualClock, write: Any, note: Entry, *, after: int = 0) -> bytes:
    digest, until = hashlib.sha256(SAMPLES).hexdigest(), clock.now() + timedelta(days=30)
    await store.append(write(INCIDENT))
    await store.append(write(MODEL))
    await store.keep(INCIDENT, {digest: SAMPLES}, until)
    captured = EvidenceCaptured(plan="p", files={"samples.jsonl": digest}, coverage=("1 samples.",), until=until)
    await store.append(Append(writes=(Write(INCIDENT, (captured, note), None),)))
    await checkpoints.sign(store, KEY)
    for _ in range(after):
        await store.append(Append(writes=(Write(INCIDENT, (note,), None),)))
    return await made(store, INCIDENT, MODEL, checkpoints.public(KEY))


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
    body = await bundle(store, clock, write, note, after=2)
    said = verified(body, checkpoints.public(KEY))
    assert said.as_json() == {
        "ok": True, "incident": "01A", "entries": 6, "unanchored": 2, "evidence": 1, "missing": [],
        "key": checkpoints.public(KEY), "problems": [],
    }  # fmt: skip
    assert body == await made(store, INCIDENT, MODEL, checkpoints.public(KEY))


async def test_a_key_that_is_not_the_one_you_know_is_said(
    store: Store, clock: ManualClock, write: Any, note: Entry
) -> None:
    kinds = {one.kind for one in verified(await bundle(store, clock, write, note), STRANGER).problems}
    assert kinds == {"key", "checkpoint"}


async def test_every_changed_byte_of_every_file_is_found(
    store: Store, clock: ManualClock, write: Any, note: Entry
) -> None:
    body = await bundle(store, clock, write, note)
    with zipfile.ZipFile(io.BytesIO(body)) as packed:
        names = packed.namelist()
    for name in names:
        for at in (0.0, 0.3, 0.7):

            def flip(text: bytes, at: float = at) -> bytes:
                n = int(at * (len(text) - 1))
                return text[:n] + bytes([text[n] ^ 1]) + text[n + 1 :]

            try:
                assert verified(changed(body, name, flip), checkpoints.public(KEY)).problems, f"{name} at {at}"
            except TimelineError:
                continue  # it cannot even be read, and says so


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
    assert kind in {one.kind for one in verified(changed(body, name, to), checkpoints.public(KEY)).problems}


async def test_erased_evidence_is_named_and_the_rest_still_holds(
    store: Store, clock: ManualClock, write: Any, note: Entry
) -> None:
    await bundle(store, clock, write, note)
    clock.advance(31 * 86_400)
    await store.forget()
    said = verified(await made(store, INCIDENT, MODEL, checkpoints.public(KEY)), checkpoints.public(KEY))
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
