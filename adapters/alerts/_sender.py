"""What senders that prove themselves in the same way have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from bot.domain import credential, extract
from bot.domain.credential import Secrets


class Headed:
    """A sender that signs nothing and proves itself with a header."""

    methods: ClassVar[frozenset[str]] = frozenset({"POST"})
    reads: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: credential.HeaderConfig, secret: Secrets) -> None:
        """Compare with the tokens of `config`."""
        self.config, self._secret = config, secret

    def configured(self) -> bool:
        """Say whether a token is present."""
        return credential.present(self.config, self._secret)

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """Check the header."""
        credential.check(self.config, self._secret, headers)

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Nothing is signed; the header was checked."""

    def delivery_id(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """This sender names no delivery."""
        del headers, body
        return None


class Signed:
    """A sender that signs the bytes of its body with a shared secret."""

    methods: ClassVar[frozenset[str]] = frozenset({"POST"})
    reads: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: credential.SignedConfig, secret: Secrets) -> None:
        """Compare with what the secrets of `config` make."""
        self.config, self._secret = config, secret

    def configured(self) -> bool:
        """Say whether a secret is present."""
        found = any(one.value(self._secret) for one in self.config.secrets)
        return found or (self.config.insecure and not self.config.secrets)

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """Nothing can be said before the body is there."""


def header(headers: Mapping[str, str], name: str) -> str:
    """Give a header whatever the case of its name; empty when it is not there."""
    return next((value for key, value in headers.items() if key.lower() == name.lower()), "")


def delivery(headers: Mapping[str, str], name: str) -> str | None:
    """Give what a header says about which delivery this is."""
    return extract.text(header(headers, name), 200) or None
