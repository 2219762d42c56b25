"""What an act from a terminal proves: a signature by a key that its person had let act for them, as the record stood then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bot.domain import entries as e
from bot.domain.value import canonical

KEY_SHOWN = 16  # characters of the public key that travel with an act
Subject = Mapping[str, object]


def act_on(act: str, incident: str, plan: str) -> Subject:
    """Give what a signature says about an act on an incident: its ULID and the whole hash of the plan."""
    return {"act": act, "incident": incident, "plan": plan}


def order_on(act: str, asked: Mapping[str, str]) -> Subject:
    """Give what a signature says about an order for the whole house."""
    return {"act": act, "asked": dict(asked)}


def request(key: Ed25519PrivateKey, terminal: str, subject: Subject, nonce: str) -> dict[str, str]:
    """Sign one act; give what travels with it: the terminal, the beginning of the public key, signature and nonce, hexadecimal."""
    signature = key.sign(_signed(subject, nonce)).hex()
    shown = key.public_key().public_bytes_raw().hex()[:KEY_SHOWN]
    return {"terminal": terminal, "key": shown, "signature": signature, "nonce": nonce}


def _signed(subject: Subject, nonce: str) -> bytes:
    return canonical({**subject, "nonce": nonce})


def proven(
    request: Mapping[str, str], subject: Subject, person: str, at: datetime, logins: Sequence[e.Recorded]
) -> bool:
    """Say whether an act of the timeline was signed by a key this person had let act for them, as the record stood then."""
    before = [one for one in logins if one.at <= at]
    keys = {one.entry.key for one in before if isinstance(one.entry, e.LoginGranted) if _serves(one.entry, person, at)}
    return any(
        key[:KEY_SHOWN] == request.get("key") and _holds(key, request, subject)
        for key in keys
        if isinstance(last_word(of(key, before)), e.LoginGranted)
    )


def _serves(granted: e.LoginGranted, person: str, at: datetime) -> bool:
    return granted.person == person and at < granted.until


def _holds(key: str, request: Mapping[str, str], subject: Subject) -> bool:
    try:
        signature = bytes.fromhex(request.get("signature", ""))
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(
            signature, _signed(subject, request.get("nonce", ""))
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def of(key: str, logins: Sequence[e.Recorded]) -> list[e.Recorded]:
    """Give what the stream of sign-ins says about one public key, in order."""
    return [one for one in logins if getattr(one.entry, "key", None) == key]


def last_word(history: Sequence[e.Recorded]) -> e.Entry | None:
    """Give the last word about a key: granted or ended, None while it only asked."""
    said = [one.entry for one in history if isinstance(one.entry, e.LoginGranted | e.LoginEnded)]
    return said[-1] if said else None
