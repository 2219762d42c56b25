"""What an ID token must say before it proves a person: pure rules, each with its own sentence.

The order and the rules are those of OpenID Connect Core 1.0, section 3.1.3.7, with what RFC 8725 adds: the algorithm
comes from our own list, never from the token alone, and a key serves only the algorithm it is made for.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from bot.domain import words
from bot.errors import Denied

LEEWAY = 60  # seconds that two clocks may be apart
RSA_BITS = 2048
KINDS = {"ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519"), "RS256": ("RSA", None)}

Json = Mapping[str, Any]


class NotProven(Denied):
    """Nobody could prove who is at this browser."""

    reason = "not_proven"

    def __init__(self, message: str, mend: str = "Open the link again and sign in.") -> None:
        """Carry the sentence and how to mend it."""
        self.mend = mend
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Expected:
    """What one sign-in waits for. `began` is when the person was sent to the provider."""

    issuer: str
    client_id: str
    nonce: str
    began: datetime


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signed in, as the provider vouches for it; `auth_time` in seconds since 1970."""

    issuer: str
    subject: str
    email: str
    auth_time: int


def allowed(offered: object) -> tuple[str, ...]:
    """Give the algorithms that both the provider and we take. Raises NotProven when there is none."""
    both = tuple(name for name in KINDS if isinstance(offered, list) and name in offered)
    if not both:
        raise NotProven(
            "The provider signs with no algorithm I take.", f"Let it sign ID tokens with {words.listed(KINDS, 'or')}."
        )
    return both


def head(token: str, algorithms: Sequence[str]) -> tuple[str, str | None]:
    """Give algorithm and key id of a token. Raises NotProven for any other algorithm, `none` and HS256 included."""
    try:
        said = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise NotProven("The provider's answer holds no ID token I can read.", _OTHER) from error
    algorithm, kid = said.get("alg"), said.get("kid")
    if algorithm not in algorithms:
        named = words.plain(str(algorithm), 20)
        message = f"The ID token is signed with {named}; I take {words.listed(algorithms, 'or')}."
        raise NotProven(message, "Let the provider sign this client's ID tokens with one of those.")
    return str(algorithm), kid if isinstance(kid, str) else None


def key_for(keys: Sequence[Json], algorithm: str, kid: str | None) -> Any | None:
    """Give the public key that signed, None when the set holds none: by its id, or the only fitting one.

    Raises NotProven when the key is unfit.
    """
    fit = [one for one in keys if _made_for(one, algorithm) and kid in (None, one.get("kid"))]
    if len(fit) != 1:
        return None
    try:
        key = jwt.PyJWK(dict(fit[0]), algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
        raise NotProven("The provider published a key I cannot read.", _OTHER) from error
    if isinstance(key, RSAPublicKey) and key.key_size < RSA_BITS:
        message = f"The provider's key has {key.key_size} bits; I take {RSA_BITS} and more."
        raise NotProven(message, "Let the provider sign with a longer key.")
    return key


def _made_for(key: Json, algorithm: str) -> bool:
    kind, curve = KINDS[algorithm]
    return (
        key.get("kty") == kind
        and (curve is None or key.get("crv") == curve)
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    )


def identity(token: str, key: Any, algorithm: str, expected: Expected, now: datetime) -> Identity:
    """Check the signature and every claim; give who it is. Raises NotProven with the first thing that is wrong."""
    try:
        claims = orjson.loads(jwt.PyJWS().decode(token, key, algorithms=[algorithm]))
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise NotProven("The signature of the ID token does not hold.", _OTHER) from error
    if not isinstance(claims, dict):
        raise NotProven("The provider's answer holds no ID token I can read.", _OTHER)
    for ok, message, mend in _checks(claims, expected, now.timestamp()):
        if not ok:
            raise NotProven(message, mend)
    return Identity(expected.issuer, claims["sub"], claims["email"].lower(), int(claims["auth_time"]))


_OTHER = "Ask whoever runs the company's sign-in to look at this client."
_CLOCKS = "Sign in again. If it repeats, compare the clocks of the provider and of this machine."
_AGAIN = "Open the link again and sign in."


def _checks(claims: Json, expected: Expected, now: float) -> Iterator[tuple[bool, str, str]]:
    """Give every rule as (holds, sentence, mend), the cheapest lie first."""
    began = expected.began.timestamp()
    audience = claims.get("aud")
    several = isinstance(audience, list) and len(audience) > 1
    nonce, subject, email = claims.get("nonce"), claims.get("sub"), claims.get("email")
    made, ends, signed_in = _number(claims, "iat"), _number(claims, "exp"), _number(claims, "auth_time")
    yield (
        claims.get("iss") == expected.issuer,
        f"The ID token comes from another issuer than {expected.issuer}.",
        "Write `signin.issuer` exactly as the provider names itself.",
    )
    yield (
        audience == expected.client_id or (isinstance(audience, list) and expected.client_id in audience),
        "The ID token is for another application.",
        "Check `signin.client_id`.",
    )
    yield (
        claims.get("azp", None if several else expected.client_id) == expected.client_id,
        "The ID token was given to another application.",
        "Check `signin.client_id`.",
    )
    yield (
        isinstance(nonce, str) and hmac.compare_digest(nonce.encode(errors="replace"), expected.nonce.encode()),
        "The ID token belongs to another sign-in.",
        _AGAIN,
    )
    yield ends is not None and now < ends + LEEWAY, "The ID token is over.", _CLOCKS
    yield (
        made is not None and began - LEEWAY <= made <= now + LEEWAY,
        "The ID token was not made during this sign-in.",
        _CLOCKS,
    )
    yield (_number(claims, "nbf") or now) <= now + LEEWAY, "The ID token does not hold yet.", _CLOCKS
    yield (
        isinstance(subject, str) and 0 < len(subject) <= 255,
        "The ID token names nobody.",
        _OTHER,
    )
    yield (
        signed_in is not None,
        "The provider does not say when you signed in (`auth_time`), so it proves no fresh sign-in.",
        "It must answer `max_age` with `auth_time`, as OpenID Connect asks.",
    )
    yield (
        signed_in is not None and began - LEEWAY <= signed_in <= now + LEEWAY,
        "The provider let you in by an older sign-in; this needs a fresh one.",
        "Open the link again and sign in there, do not go on as whoever is signed in.",
    )
    yield (
        isinstance(email, str) and email.isascii() and "@" in email and len(email) <= 320,
        "The provider gives no e-mail address I can match.",
        "Let it send the claim `email` to this client.",
    )
    yield (
        claims.get("email_verified") is True,
        "The provider does not vouch for your e-mail address (`email_verified`).",
        "Let it send `email_verified: true` for addresses it has proved.",
    )


def _number(claims: Json, name: str) -> float | None:
    value = claims.get(name)
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number and value is not None else None
