"""Signed checkpoints: the heads that changed, signed with Ed25519, so a removal shows up to the last one exported."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from bot.domain.entries import CheckpointSigned, Recorded
from bot.domain.value import canonical
from bot.errors import ConfigError, Problem
from bot.ports import Append, Write
from bot.store.chain import stamp
from bot.store.place import Place
from bot.store.timeline import Store

STREAM = "system/checkpoints"
SIGNED = ("heads", "count", "previous", "key")
_LAST = "SELECT digest, epoch FROM timeline WHERE stream=? ORDER BY version DESC LIMIT 1"
_NEXT = "SELECT version, digest, body FROM timeline WHERE stream=? AND seq>? AND version>? ORDER BY version LIMIT 1"


def load_key(value: str | None, place: Place) -> Ed25519PrivateKey:
    """Read `LASTGOOD_SIGNING_KEY` (64 hexadecimal characters, or PEM), or keep one beside the file, mode 0600.

    Raises ConfigError; on PostgreSQL there is no beside, and every replica signs with the same key.
    """
    if value:
        return _private(value, "LASTGOOD_SIGNING_KEY")
    if place.path is None:
        hint = "Every replica signs with one key: give all of them the same 64 hexadecimal characters (openssl rand -hex 32), as a file: LASTGOOD_SIGNING_KEY_FILE."
        raise ConfigError([Problem("environment", 0, 0, "LASTGOOD_SIGNING_KEY", "is needed with PostgreSQL", hint)])
    database = place.path
    file = database.with_name(f"{database.name}.key")
    if not file.exists():
        _keep(file, Ed25519PrivateKey.generate())
    return _private(file.read_text(), str(file))


def public(key: Ed25519PrivateKey) -> str:
    """Give the public key, hexadecimal."""
    return key.public_key().public_bytes_raw().hex()


def public_of(value: str) -> str:
    """Read a public key, hexadecimal or PEM, as hexadecimal. Raises ConfigError."""
    try:
        if "-----BEGIN" not in value:
            return Ed25519PublicKey.from_public_bytes(bytes.fromhex(value.strip())).public_bytes_raw().hex()
        key = load_pem_public_key(value.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unreadable("public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _unreadable("public key")
    return key.public_bytes_raw().hex()


def signed_content(body: dict[str, Any]) -> bytes:
    """Give the bytes a checkpoint's signature covers."""
    return canonical({name: body[name] for name in SIGNED})


def holds(body: dict[str, Any], key: str) -> bool:
    """Say whether a checkpoint was signed with this public key, hexadecimal."""
    try:
        public_key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public_key.verify(bytes.fromhex(body["signature"]), signed_content(body))
    except (InvalidSignature, ValueError, TypeError, KeyError):
        return False
    return True


async def sign(store: Store, key: Ed25519PrivateKey) -> Recorded | None:
    """Sign the heads changed since the last checkpoint; give None when nothing changed. Raises Conflict when raced."""
    last = await store.query(_LAST, (STREAM,))
    previous, epoch = last[0] if last else ("", 0)
    changed, count = await store.changed()
    if not changed:
        return None
    heads = {stream: (version, digest) for stream, version, digest in changed}
    body: dict[str, Any] = {"heads": heads, "count": count, "previous": previous, "key": public(key)}
    entry = CheckpointSigned.model_validate({**body, "signature": key.sign(signed_content(body)).hex()})
    return (await store.append(Append(writes=(Write(STREAM, (entry,), epoch),))))[0]


async def seal(store: Store, entry: Recorded) -> str | None:
    """Give the digest of the first checkpoint that covers an entry, None while there is none."""
    version = 0
    while rows := await store.query(_NEXT, (STREAM, entry.seq, version)):
        version, digest, body = rows[0]
        if orjson.loads(body)["heads"].get(entry.stream, [0])[0] >= entry.version:
            return str(digest)
    return None


def exported(checkpoint: Recorded) -> str:
    """Give the JSON line that goes outside: everything needed to hold the timeline to it."""
    line = {"checkpoint": checkpoint.digest, "version": checkpoint.version, "at": stamp(checkpoint.at)}
    return orjson.dumps(line | checkpoint.entry.model_dump(mode="json")).decode()


def read_exported(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Find the checkpoints among the lines `serve` printed."""
    return [found for line in lines if line.startswith('{"checkpoint":') and (found := orjson.loads(line))]


def _private(value: str, where: str) -> Ed25519PrivateKey:
    try:
        if "-----BEGIN" not in value:
            return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(value.strip()))
        key = load_pem_private_key(value.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unreadable(where) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _unreadable(where)
    return key


def _unreadable(where: str) -> ConfigError:
    hint = "Give 64 hexadecimal characters, or PEM without a password."
    return ConfigError([Problem("environment", 0, 0, where, "is not an Ed25519 key", hint)])


def _keep(file: Path, key: Ed25519PrivateKey) -> None:
    """Write a key nobody else can read; it appears under its name only when it is whole."""
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(key.private_bytes_raw().hex())
        out.flush()
        os.fsync(out.fileno())
    fresh.rename(file)
