"""An OpenID provider of ours with real keys: honest until it is told to lie in one way."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote_plus, urlencode

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bot.clock import ManualClock

CLIENT, SECRET = "lastgood", "s3cret:with/odd+signs"
_MAKE = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
_KEYS: dict[tuple[str, str], Any] = {}


def key(algorithm: str, name: str) -> Any:
    """Make a key once: a long one takes its time."""
    return _KEYS.setdefault((algorithm, name), _KEYS.get((algorithm, name)) or _MAKE[algorithm]())


def published(algorithm: str, name: str) -> dict[str, Any]:
    said = jwt.get_algorithm_by_name(algorithm).to_jwk(key(algorithm, name).public_key(), as_dict=True)
    return {**said, "kid": name, "use": "sig", "alg": algorithm}


class Provider:
    """`claims` replaces what a token says (None leaves a claim out), `discovery` what the document says."""

    def __init__(self, clock: ManualClock, port: int = 0) -> None:
        self.clock, self.port = clock, port
        self.algorithm, self.kid = "RS256", "k1"
        self.email, self.subject = "priya@example.com", "sub-priya"
        self.claims: dict[str, Any] = {}
        self.discovery: dict[str, Any] = {}
        self.keys: list[dict[str, Any]] | None = None
        self.lie = ""
        self.asked: list[str] = []
        self.authorized: list[dict[str, str]] = []
        self.elsewhere = 0
        self._codes: dict[str, dict[str, str]] = {}

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}/realms/acme"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Provider]:
        app = web.Application()
        app.router.add_get("/realms/acme/.well-known/openid-configuration", self._discover)
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        app.router.add_get("/keys", self._publish)
        app.router.add_get("/elsewhere", self._elsewhere)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        self.port = runner.addresses[0][1]
        yield self
        await runner.cleanup()

    async def _discover(self, request: web.Request) -> web.Response:
        self.asked.append("discovery")
        here = f"http://127.0.0.1:{self.port}"
        said = {
            "issuer": self.issuer, "authorization_endpoint": f"{here}/authorize", "token_endpoint": f"{here}/token",
            "jwks_uri": f"{here}/keys", "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA", "HS256", "none"],
        }  # fmt: skip
        return web.json_response(
            {name: value for name, value in {**said, **self.discovery}.items() if value is not None}
        )

    async def _authorize(self, request: web.Request) -> web.Response:
        """Consent at once, as for somebody whose password manager is quick."""
        asked = dict(request.query)
        self.authorized.append(asked)
        code = secrets.token_urlsafe(12)
        self._codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.issuer}
        if self.lie == "wrong state":
            back["state"] = "another"
        if self.lie == "another issuer answers":
            back["iss"] = "https://evil.example.com"
        if self.lie == "access denied":
            back = {"error": "access_denied", "state": asked["state"]}
        return web.Response(status=302, headers={"Location": f"{asked['redirect_uri']}?{urlencode(back)}"})

    async def _token(self, request: web.Request) -> web.Response:
        self.asked.append("token")
        form = {name: str(value) for name, value in (await request.post()).items()}
        asked = self._codes.get(form["code"]) if self.lie == "codes last" else self._codes.pop(form["code"], None)
        if self.lie == "slow":
            await asyncio.sleep(5)
        if self.lie == "no token":
            return web.json_response({"access_token": "at", "token_type": "Bearer"})
        if not self._is_client(request, form):
            return web.json_response({"error": "invalid_client"}, status=401)
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        )
        if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != form["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"access_token": "at", "token_type": "Bearer", "id_token": self._signed(asked)})

    def _is_client(self, request: web.Request, form: dict[str, str]) -> bool:
        if self.lie == "no such client":
            return False
        if self.discovery.get("token_endpoint_auth_methods_supported") == ["client_secret_post"]:
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
        given = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        name, _, secret = given.partition(":")
        return (unquote_plus(name), unquote_plus(secret)) == (CLIENT, SECRET)

    def _signed(self, asked: dict[str, str]) -> str:
        now = int(self.clock.now().timestamp())
        said = {
            "iss": self.issuer, "aud": CLIENT, "sub": self.subject, "iat": now, "exp": now + 300, "auth_time": now,
            "nonce": asked["nonce"], "email": self.email, "email_verified": True,
        }  # fmt: skip
        said = {name: value for name, value in {**said, **self.claims}.items() if value is not None}
        match self.lie:
            case "alg none":
                return jwt.encode(said, "", algorithm="none", headers={"kid": self.kid})
            case "HS256 with the public key":
                return self._with_public_key(said)
            case "another key under our name":
                return jwt.encode(said, key("RS256", "forger"), algorithm="RS256", headers={"kid": self.kid})
            case "an unsigned end":
                return self._honest(said).rpartition(".")[0] + "."
            case "changed after signing":
                return self._changed(said)
            case "no JWT":
                return "not a token"
        return self._honest(said)

    def _honest(self, said: dict[str, Any]) -> str:
        return jwt.encode(said, key(self.algorithm, self.kid), algorithm=self.algorithm, headers={"kid": self.kid})

    def _with_public_key(self, said: dict[str, Any]) -> str:
        """Sign by hand: a library refuses to use a public key as a shared secret."""
        public = key("RS256", self.kid).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        parts = [{"alg": "HS256", "typ": "JWT", "kid": self.kid}, said]
        head = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
        proof = base64.urlsafe_b64encode(hmac.new(public, head, hashlib.sha256).digest()).rstrip(b"=")
        return (head + b"." + proof).decode()

    def _changed(self, said: dict[str, Any]) -> str:
        head, _, proof = self._honest(said).split(".")
        body = base64.urlsafe_b64encode(json.dumps({**said, "email": "ana@example.com"}).encode()).rstrip(b"=").decode()
        return f"{head}.{body}.{proof}"

    async def _publish(self, request: web.Request) -> web.Response:
        self.asked.append("keys")
        if self.lie == "huge keys":
            return web.Response(text=" " * (1024 * 1024), content_type="application/json")
        if self.lie == "keys elsewhere":
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        if self.lie == "keys are a page":
            return web.Response(text="<html>Sign in</html>", content_type="text/html")
        found = self.keys if self.keys is not None else [published(self.algorithm, self.kid)]
        return web.json_response({"keys": found})

    async def _elsewhere(self, request: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.json_response({"keys": [published(self.algorithm, self.kid)]})
