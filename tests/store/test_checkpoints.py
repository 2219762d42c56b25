from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bot.domain.entries import CheckpointSigned, Entry
from bot.errors import ConfigError
from bot.ports import Append, Write
from bot.store import checkpoints
from bot.store.copying import verify_at
from bot.store.place import place_of
from bot.store.timeline import Store

Make = Callable[..., Append]
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


async def heads(store: Store) -> dict[str, tuple[int, str]]:
    signed = await checkpoints.sign(store, KEY)
    assert signed is not None
    assert isinstance(signed.entry, CheckpointSigned)
    return signed.entry.heads


async def test_a_checkpoint_holds_the_heads_changed_since_the_last(store: Store, write: Make, note: Entry) -> None:
    await store.append(write("incident/A"))
    await store.append(write("incident/B"))
    assert {stream: version for stream, (version, _) in (await heads(store)).items()} == {
        "incident/A": 1,
        "incident/B": 1,
    }
    assert await checkpoints.sign(store, KEY) is None
    (noted,) = await store.append(Append(writes=(Write("incident/B", (note,)),)))
    assert await heads(store) == {"incident/B": (2, noted.digest)}


async def test_what_is_appended_while_a_checkpoint_is_made_is_in_the_next(store: Store, write: Make) -> None:
    covered: dict[str, tuple[int, str]] = {}
    epoch = 0
    for number in range(30):
        (row,), signed = await asyncio.gather(
            store.append(write("incident/A", epoch, number)), checkpoints.sign(store, KEY)
        )
        epoch = row.epoch
        if signed is not None and isinstance(signed.entry, CheckpointSigned):
            covered |= signed.entry.heads
    last = await checkpoints.sign(store, KEY)
    if last is not None and isinstance(last.entry, CheckpointSigned):
        covered |= last.entry.heads
    assert covered["incident/A"] == (30, row.digest)
    assert verify_at(store.place).unanchored == 0


async def test_a_checkpoint_signs_its_count_and_the_one_before(store: Store, write: Make) -> None:
    await store.append(write("incident/A"))
    first = await checkpoints.sign(store, KEY)
    await store.append(write("incident/B"))
    second = await checkpoints.sign(store, KEY)
    assert first is not None
    assert second is not None
    assert isinstance(second.entry, CheckpointSigned)
    assert (second.entry.count, second.entry.previous) == (3, first.digest)
    body = second.entry.model_dump(mode="json")
    assert checkpoints.holds(body, checkpoints.public(KEY))
    changes: list[dict[str, object]] = [
        {"count": 2}, {"previous": ""}, {"heads": {}}, {"key": "00"}, {"signature": "00"}, {"signature": "x"},
    ]  # fmt: skip
    for changed in changes:
        assert not checkpoints.holds({**body, **changed}, checkpoints.public(KEY))


async def test_an_entry_is_sealed_by_the_first_checkpoint_that_covers_it(
    store: Store, write: Make, note: Entry
) -> None:
    (first,) = await store.append(write("incident/A"))
    assert await checkpoints.seal(store, first) is None
    sealed = await checkpoints.sign(store, KEY)
    (second,) = await store.append(Append(writes=(Write("incident/A", (note,)),)))
    await store.append(write("incident/B"))
    assert sealed is not None
    assert await checkpoints.seal(store, first) == sealed.digest
    assert await checkpoints.seal(store, second) is None
    later = await checkpoints.sign(store, KEY)
    assert later is not None
    assert await checkpoints.seal(store, second) == later.digest
    assert await checkpoints.seal(store, first) == sealed.digest


async def test_an_exported_line_is_found_among_other_output(store: Store, write: Make) -> None:
    await store.append(write("incident/A"))
    signed = await checkpoints.sign(store, KEY)
    assert signed is not None
    line = checkpoints.exported(signed)
    (found,) = checkpoints.read_exported(["listening", '{"event":"start"}', line, ""])
    assert found == orjson.loads(line)
    assert (found["checkpoint"], found["key"]) == (signed.digest, checkpoints.public(KEY))
    assert verify_at(store.place, [found], checkpoints.public(KEY)).ok


def test_a_key_is_made_once_beside_the_database_for_its_owner_only(tmp_path: Path) -> None:
    database = tmp_path / "site.db"
    made = checkpoints.load_key(None, place_of(str(database)))
    assert checkpoints.public(checkpoints.load_key("", place_of(str(database)))) == checkpoints.public(made)
    (file,) = tmp_path.iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == ("site.db.key", 0o600)


def test_a_key_is_read_as_hexadecimal_or_pem(tmp_path: Path) -> None:
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public_pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for value in (pem, "00" * 32, f"  {'00' * 32}\n"):
        assert checkpoints.public(checkpoints.load_key(value, place_of(str(tmp_path / "x.db")))) == checkpoints.public(
            KEY
        )
    for value in (public_pem, checkpoints.public(KEY) + "\n"):
        assert checkpoints.public_of(value) == checkpoints.public(KEY)
    assert list(tmp_path.iterdir()) == []


def test_a_key_of_another_kind_is_refused_without_being_shown(tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public_pem = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for value in (pem, "not a key", "00" * 31, "-----BEGIN"):
        with pytest.raises(ConfigError, match="LASTGOOD_SIGNING_KEY") as refused:
            checkpoints.load_key(value, place_of(str(tmp_path / "x.db")))
        assert value not in str(refused.value)
    for value in (public_pem, "00"):
        with pytest.raises(ConfigError):
            checkpoints.public_of(value)
