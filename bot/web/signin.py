"""The company's sign-in: an OpenID Connect client for the authorization code flow with PKCE.

Sources: OpenID Connect Core 1.0 and Discovery 1.0, RFC 7636 (PKCE), RFC 9207 (issuer in the answer). Nothing is asked
of any address but the configured issuer and the endpoints its own discovery document names.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
import orjson

from adapters.address import safe
from adapters.bodies import capped
from bot.domain import words
from bot.errors import ConfigError, Problem
from bot.ports import Clock
from bot.web.idtoken import Expected, Identity, Json, NotProven, allowed, head, identity, key_for

CALLBACK = "/signin/callback"
WITHIN = 5.0  # seconds for one question to the provider
KEEP = 3600.0  # seconds a discovery document and a set of keys are believed
SMALL, LARGE = 64 * 1024, 256 * 1024  # bytes of one answer: a document or a token; a set of keys
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_LATER = "Open the link again in a minute. If it repeats, ask whoever runs the company's sign-in."


@dataclass(frozen=True, slots=True)
class Provider:
    """Whom we ask. `secret` is read when it is needed, so that it can rotate, and is never kept."""

    issuer: str
    client_id: str
    secret: Callable[[], str | None] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Found:
    """What discovery said, and when by the monotonic clock."""

    at: float
    endpoints: Mapping[str, str]
    algorithms: tuple[str, ...]
    basic: bool  # the client proves itself with HTTP Basic, else with form fields


class SignIn:
    """Sends a person to the provider and redeems what comes back."""

    def __init__(self, provider: Provider, public_url: str, clock: Clock, *, within: float = WITHIN) -> None:
        """`public_url` is where people reach us. Raises ConfigError when the issuer is neither https nor loopback."""
        if not safe(provider.issuer):
            message = f"{provider.issuer} is not https, so anybody on the way could sign in as anybody"
            raise ConfigError([Problem("lastgood.yaml", 0, 0, "signin.issuer", message, "Give its https address.")])
        self.issuer = provider.issuer
        self._provider, self._clock, self._within = provider, clock, within
        self._callback = public_url.rstrip("/") + CALLBACK
        self._http: aiohttp.ClientSession | None = None
        self._found: _Found | None = None
        self._keys: tuple[float, list[Json]] | None = None

    @property
    def host(self) -> str:
        """Give the provider's name for people."""
        return urlsplit(self.issuer).netloc.rpartition("@")[2]

    async def __aenter__(self) -> Self:
        """Open a pool of its own, without cookies."""
        timeout = aiohttp.ClientTimeout(total=self._within)
        self._http = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self._http is not None:
            await self._http.close()

    async def address(self, state: str, nonce: str, verifier: str) -> str:
        """Give where to send the browser. Raises NotProven when the provider cannot be asked.

        `prompt=login` asks for a fresh sign-in and `max_age=0` makes the provider say when it was: the browser's owner
        could strip the first on the way, but never forge the signed `auth_time` that the second brings.
        """
        found = await self._discovered()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code", "client_id": self._provider.client_id, "redirect_uri": self._callback,
            "scope": "openid email", "state": state, "nonce": nonce, "prompt": "login", "max_age": "0",
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        endpoint = found.endpoints["authorization_endpoint"]
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    async def redeem(self, code: str, nonce: str, verifier: str, began: datetime) -> Identity:
        """Give who signed in for this code. Raises NotProven with the sentence and the mend."""
        found = await self._discovered()
        token = await self._token(found, code, verifier)
        algorithm, kid = head(token, found.algorithms)
        key = await self._key(found, algorithm, kid)
        expected = Expected(self.issuer, self._provider.client_id, nonce, began)
        return identity(token, key, algorithm, expected, self._clock.now())

    def answered_by(self, issuer: str | None) -> bool:
        """Say whether the answer in the browser names our issuer, or none (RFC 9207)."""
        return issuer is None or issuer == self.issuer

    async def _discovered(self) -> _Found:
        if self._found is not None and self._clock.monotonic() - self._found.at < KEEP:
            return self._found
        said = await self._get(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration", SMALL)
        if said.get("issuer") != self.issuer:
            named = words.plain(str(said.get("issuer")), 100)
            message = f"{self.host} calls itself {named}, not {self.issuer}."
            raise NotProven(message, "Write `signin.issuer` exactly as the provider names itself.")
        self._found = _Found(
            self._clock.monotonic(), {name: self._endpoint(said, name) for name in _ENDPOINTS},
            allowed(said.get("id_token_signing_alg_values_supported")), _basic(said),
        )  # fmt: skip
        return self._found

    def _endpoint(self, said: Json, name: str) -> str:
        url = said.get(name)
        if not isinstance(url, str) or not safe(url) or (_https(self.issuer) and not _https(url)):
            message = f"{self.host} names no safe address as its `{name}`."
            raise NotProven(message, "It must be an https address in the provider's discovery document.")
        return url

    async def _token(self, found: _Found, code: str, verifier: str) -> str:
        secret = self._provider.secret()
        if not secret:
            raise NotProven("The secret of this client is not set.", "Set what `signin.client_secret` names.")
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self._callback, "code_verifier": verifier
        }  # fmt: skip
        headers = {"Accept": "application/json"}
        if found.basic:
            headers["Authorization"] = f"Basic {_credentials(self._provider.client_id, secret)}"
        else:
            form |= {"client_id": self._provider.client_id, "client_secret": secret}
        status, said = await self._ask("POST", found.endpoints["token_endpoint"], SMALL, data=form, headers=headers)
        token = said.get("id_token")
        if status != 200:
            message = f"{self.host} refuses the code: {words.plain(str(said.get('error', status)), 60)}."
            raise NotProven(message, "Open the link again. `invalid_client` means that the client's secret is wrong.")
        if not isinstance(token, str):
            raise NotProven(f"{self.host} answers without an ID token.", "Let this client ask for the scope `openid`.")
        return token

    async def _key(self, found: _Found, algorithm: str, kid: str | None) -> Any:
        """Give the key that signed; an unknown one is looked for once more, for a provider that has changed keys."""
        url = found.endpoints["jwks_uri"]
        fresh = self._keys is None or self._clock.monotonic() - self._keys[0] >= KEEP
        key = key_for(await self._key_set(url, fresh=fresh), algorithm, kid)
        if key is None and not fresh:
            key = key_for(await self._key_set(url, fresh=True), algorithm, kid)
        if key is None:
            raise NotProven(f"The ID token is signed with a key that {self.host} does not publish.", _LATER)
        return key

    async def _key_set(self, url: str, *, fresh: bool) -> list[Json]:
        if fresh or self._keys is None:
            said = (await self._get(url, LARGE)).get("keys")
            keys: list[Json] = [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []
            self._keys = (self._clock.monotonic(), keys)
            return keys
        return self._keys[1]

    async def _get(self, url: str, limit: int) -> Json:
        status, said = await self._ask("GET", url, limit)
        if status != 200:
            raise NotProven(f"{self.host} answers {status} at {urlsplit(url).path}.", _LATER)
        return said

    async def _ask(self, method: str, url: str, limit: int, **keys: Any) -> tuple[int, Json]:
        if self._http is None:
            raise NotProven("The sign-in is not open.", _LATER)
        where = urlsplit(url).netloc.rpartition("@")[2]
        try:
            async with (
                asyncio.timeout(self._within),
                self._http.request(method, url, allow_redirects=False, **keys) as answer,
            ):
                body = await capped(answer, limit)
        except TimeoutError as error:
            raise NotProven(f"{where} did not answer within {self._within:g}{words.NBSP}s.", _LATER) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NotProven(f"{where} does not answer.", _LATER) from error
        if 300 <= answer.status < 400:
            raise NotProven(f"{where} points elsewhere with {answer.status}; I do not follow.", _LATER)
        return answer.status, _object(body, where, limit)


def _object(body: bytes | None, where: str, limit: int) -> Json:
    if body is None:
        raise NotProven(f"{where} answers more than {limit // 1024}{words.NBSP}KiB.", _LATER)
    try:
        said = orjson.loads(body)
    except ValueError as error:
        raise NotProven(f"{where} answers something else than JSON.", _LATER) from error
    if not isinstance(said, dict):
        raise NotProven(f"{where} answers JSON in another shape.", _LATER)
    return said


def _basic(said: Json) -> bool:
    """Say whether the client proves itself with HTTP Basic, which is what holds when a provider says nothing."""
    ways = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return not isinstance(ways, list) or "client_secret_basic" in ways or "client_secret_post" not in ways


def _credentials(client_id: str, secret: str) -> str:
    """Give id and secret for HTTP Basic, form-encoded first as RFC 6749, section 2.3.1, asks."""
    return base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()


def _https(url: str) -> bool:
    return url.startswith("https://")
