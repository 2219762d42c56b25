"""How a sender proves itself: a header (bearer, Basic password, one of its own) or a signature, compared in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from pydantic import Field, model_validator

from bot.domain.duration import Positive
from bot.domain.roles import MemberId
from bot.domain.value import Value
from bot.errors import SignatureInvalid


class Secrets(Protocol):
    """Looks an environment name up; `NAME_FILE` wins."""

    def __call__(self, name: str, /) -> str | None:
        """Give the value, or None when it is not set."""


class Credential(Value):
    """Where one secret is: `{env: NAME}` or `{file: PATH}`."""

    env: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _is_one_place(self) -> Credential:
        if (self.env is None) == (self.file is None):
            raise ValueError("give either env or file")
        return self

    def value(self, secret: Secrets) -> str | None:
        """Give the secret, None when it is not there."""
        if self.env is not None:
            return secret(self.env) or None
        try:
            return Path(str(self.file)).read_text().strip() or None
        except (OSError, UnicodeDecodeError):
            return None


class HeaderConfig(Value):
    """A source that proves itself with a header. Several tokens serve a rotation."""

    tokens: tuple[Credential, ...] = ()
    header: str | None = None
    insecure: bool = False
    environment: str | None = None
    heartbeat: Positive | None = None  # something must come within this time, else the sender is said to be quiet
    people: dict[str, MemberId] = Field(default_factory=dict)  # by the names the sender has for them

    @model_validator(mode="after")
    def _is_guarded(self) -> HeaderConfig:
        if not self.tokens and not self.insecure:
            raise ValueError("has no tokens; give `tokens: [{env: NAME}]`, or `insecure: true` to take anybody's word")
        return self


class SignedConfig(Value):
    """A source that signs what it sends. Several secrets serve a rotation."""

    secrets: tuple[Credential, ...] = ()
    insecure: bool = False
    environment: str | None = None
    heartbeat: Positive | None = None  # something must come within this time, else the sender is said to be quiet
    people: dict[str, MemberId] = Field(default_factory=dict)  # by the names the sender has for them

    @model_validator(mode="after")
    def _is_guarded(self) -> SignedConfig:
        if not self.secrets and not self.insecure and not getattr(self, "tokens", ()):
            raise ValueError(
                "has no secrets; give `secrets: [{env: NAME}]`, or `insecure: true` to take anybody's word"
            )
        return self


def present(config: HeaderConfig, secret: Secrets) -> bool:
    """Say whether there is a secret to compare with, or none is wanted."""
    return any(one.value(secret) for one in config.tokens) or (config.insecure and not config.tokens)


def signed(config: SignedConfig, secret: Secrets, given: Iterable[str], made: Callable[[bytes], str]) -> None:
    """Raise SignatureInvalid unless one of the signatures `given` is what `made` makes with one of the secrets."""
    if config.insecure and not config.secrets:
        return
    wanted = [made(value.encode()) for one in config.secrets if (value := one.value(secret))]
    fits = [same(one, fit) for one in given for fit in wanted]
    if not any(fits):
        raise SignatureInvalid


def hexadecimal(message: bytes) -> Callable[[bytes], str]:
    """Give what signs `message` with a secret: HMAC-SHA256, in hexadecimal."""
    return lambda secret: hmac.new(secret, message, hashlib.sha256).hexdigest()


def check(config: HeaderConfig, secret: Secrets, headers: Mapping[str, str]) -> None:
    """Raise SignatureInvalid unless the headers carry one of the tokens."""
    if config.insecure and not config.tokens:
        return
    given = _given(config, headers)
    wanted = [value for one in config.tokens if (value := one.value(secret))]
    fits = [same(given, token) for token in wanted]
    if not given or not any(fits):
        raise SignatureInvalid


def same(given: str, secret: str) -> bool:
    """Compare in constant time, as bytes: what a header carries need not be text."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), secret.encode(errors="surrogatepass"))


def _given(config: HeaderConfig, headers: Mapping[str, str]) -> str:
    folded = {name.lower(): value for name, value in headers.items()}
    if config.header:
        return folded.get(config.header.lower(), "")
    scheme, _, rest = folded.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        return _password(rest.strip())
    return ""


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""
