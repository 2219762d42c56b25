"""Which of its alerts Alertmanager holds silenced now, asked through its API, version 2."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import orjson

from adapters.metrics._http import Client
from bot.domain import extract
from bot.domain.alert import Alert
from bot.domain.credential import Credential
from bot.errors import Unavailable
from bot.ports import Context

WHO = "Alertmanager"
WITHIN = 2.0  # seconds a decision waits for the answer
KEPT = 10.0  # seconds an answer is used again
UNREACHED = 2.0  # seconds nobody asks again after there was none, so that a storm of decisions does not wait in a row
# Inhibited alerts are not left out: an alert can be both, and then it is silenced too.
FIRING = "active=true&silenced=false&inhibited=false&unprocessed=false"
ASKED = "api/v2/alerts?silenced=true&active=false&unprocessed=false"


class Silenced:
    """Asks one Alertmanager; each answer holds every silenced alert it knows and is used for 10 s."""

    def __init__(self, source: str, api: str, token: Credential | None, context: Context) -> None:
        """Ask at `api` about the alerts of `source`, with `token` as a bearer token when one is given."""
        self._source, self._url, self._token, self._context = source, f"{api.rstrip('/')}/{ASKED}", token, context
        self._client, self._asking = Client(WITHIN), asyncio.Lock()
        self._known: frozenset[str] | Unavailable = Unavailable("the source is not open")
        self._until = 0.0

    async def __aenter__(self) -> Self:
        """Open a client of its own."""
        self._client.open()
        self._until = self._context.clock.monotonic()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self._client.close()

    async def silenced(self, alerts: Sequence[Alert]) -> tuple[str, ...]:
        """Give the fingerprints of those alerts that are silenced; alerts of other senders never are.

        Raises Unavailable when Alertmanager does not answer within 2 s, or answers something that cannot be read.
        """
        own = [alert.fingerprint for alert in alerts if alert.source == self._source]
        if not own:
            return ()
        async with self._asking:
            if self._context.clock.monotonic() >= self._until:
                await self._ask()
        if isinstance(self._known, Unavailable):
            raise Unavailable(str(self._known))
        return tuple(one for one in own if one in self._known)

    async def missed(self) -> list[tuple[str, bytes]]:
        """Give the alerts that fire there now as one message, named by which they are; none when none does.

        Raises Unavailable when Alertmanager does not answer, or answers something that cannot be read.
        """
        status, body = await self._client.exchange(
            "GET", f"{self._url.partition('?')[0]}?{FIRING}", WHO, headers=self._headers()
        )
        if status != 200:
            message = f"{WHO} answered {status}"
            raise Unavailable(message)
        try:
            alerts = [_sent(one) for one in extract.rows(orjson.loads(body)) if isinstance(one, dict)]
        except ValueError as error:
            message = f"{WHO} answered no list of alerts"
            raise Unavailable(message) from error
        alerts = [one for one in alerts if extract.first(extract.texts(one["labels"]), extract.MODEL)]
        if not alerts:
            return []
        which = sorted((extract.text(one["fingerprint"]), extract.text(one["startsAt"])) for one in alerts)
        return [(f"polled {extract.derived({'alerts': which})}", orjson.dumps({"status": "firing", "alerts": alerts}))]

    async def _ask(self) -> None:
        try:
            self._known, kept = await self._answer(), KEPT
        except Unavailable as error:
            self._known, kept = error, UNREACHED
        self._until = self._context.clock.monotonic() + kept

    async def _answer(self) -> frozenset[str]:
        status, body = await self._client.exchange("GET", self._url, WHO, headers=self._headers())
        if status != 200:
            message = f"{WHO} answered {status}"
            raise Unavailable(message)
        try:
            return frozenset(extract.fingerprint(self._source, one) for one in _silenced(orjson.loads(body)))
        except ValueError as error:
            message = f"{WHO} answered no list of alerts"
            raise Unavailable(message) from error

    def _headers(self) -> dict[str, str]:
        """Read the token at each look, so a rotated one is used. Raises Unavailable without one."""
        if self._token is None:
            return {}
        token = (self._token.value(self._context.secret) or "").strip()
        if not token or not token.isprintable():
            message = f"the token for {WHO} is not in {self._token.env or self._token.file}"
            raise Unavailable(message)
        return {"Authorization": f"Bearer {token}"}


def _sent(alert: dict[str, Any]) -> dict[str, Any]:
    """Write an alert of the API as the webhook does."""
    kept = ("labels", "annotations", "startsAt", "fingerprint", "generatorURL")
    return {"status": "firing", **{name: alert.get(name) for name in kept}}


def _silenced(answer: Any) -> list[str]:
    """Give the native fingerprints of the silenced alerts. Raises ValueError when a member is no alert: half a list is none."""
    match answer:
        case [*alerts]:
            return [name for one in alerts if (name := _silenced_name(one))]
    raise ValueError("not a list")


def _silenced_name(alert: Any) -> str:
    match alert:
        case {"fingerprint": str(name), "status": {"silencedBy": [*silences]}}:
            return name if silences else ""
    raise ValueError("no alert with a status")
