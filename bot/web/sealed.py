"""Sealed texts: what goes out in a link or a cookie, comes back unchanged or not at all, and ends."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bot.errors import Denied, Expired

LONGEST = 4000  # characters: what a browser keeps of one cookie


class Forged(Denied):
    """This link is not one I made."""

    reason = "forged"


class Seal:
    """Seals with HMAC-SHA-256 under a key of its own, derived from the signing key (HKDF, RFC 5869)."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        """Derive the key; the signing key itself is not kept."""
        self._key = HKDF(SHA256(), 32, None, b"lastgood sign-in 1").derive(key.private_bytes_raw())

    def __repr__(self) -> str:
        """Show no key."""
        return "Seal(…)"

    def close(self, kind: str, content: Mapping[str, str], until: datetime) -> str:
        """Seal `content` for one kind of use until a time; the text is safe in addresses and cookies, and readable."""
        body = _text(orjson.dumps({"until": int(until.timestamp()), "content": dict(content)}))
        return f"{body}.{self.derive(kind, body)}"

    def open(self, kind: str, sealed: str, now: datetime) -> tuple[dict[str, str], datetime]:
        """Give what was sealed and its end. Raises Forged, or Expired when it is over."""
        body, _, proof = sealed.rpartition(".")
        if len(sealed) > LONGEST or not _same(proof, self.derive(kind, body)):
            raise Forged
        try:
            said = orjson.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (binascii.Error, ValueError) as error:
            raise Forged from error
        until = datetime.fromtimestamp(said["until"], UTC)
        if now >= until:
            message = f"This link ended at {until:%H:%M} UTC."
            raise Expired(message)
        return said["content"], until

    def derive(self, kind: str, text: str) -> str:
        """Give the secret that belongs to a text: 43 characters that nobody without the key can tell."""
        said = f"{kind}\0{text}".encode(errors="surrogatepass")
        return _text(hmac.new(self._key, said, hashlib.sha256).digest())

    def fits(self, kind: str, text: str, given: str) -> bool:
        """Say whether somebody gave the secret that belongs to a text."""
        return _same(given, self.derive(kind, text))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogatepass"), wanted.encode())
