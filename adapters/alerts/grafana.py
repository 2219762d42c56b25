"""Grafana's webhook contact point: the groups of Alertmanager, signed with a shared secret or proved by a header."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import BaseModel

from adapters.alerts import _group
from adapters.alerts._sender import header
from bot.domain import credential, extract
from bot.domain.alert import Parsed, RawRequest
from bot.errors import PayloadInvalid, SignatureInvalid

TOLERANCE = timedelta(minutes=5)  # between the sender's clock and ours
NO_DATA = frozenset({"DatasourceNoData", "DatasourceError"})  # alert names that say that nothing was measured
LOST = frozenset({"nodata", "error", "missingseries"})  # the same as `grafana_state_reason`


class NotAGroup(PayloadInvalid):
    """The body is not an object with a list of `alerts`; send Grafana's own payload, not a template."""

    reason = "not_a_grafana_message"


class GrafanaConfig(credential.SignedConfig):
    """Secrets of the sender's HMAC, or `tokens` for its Authorization header; `environment` is taken when an alert names none.

    `timestamp_header` is the name given to Grafana for the timestamp it signs: without one a message could be sent again for ever.
    """

    tokens: tuple[credential.Credential, ...] = ()
    header: str | None = None
    signature_header: str = "X-Grafana-Alerting-Signature"
    timestamp_header: str = "X-Grafana-Alerting-Timestamp"


class Grafana:
    """Reads one group of alerts."""

    name: ClassVar[str] = "grafana"
    Config: ClassVar[type[BaseModel]] = GrafanaConfig
    methods: ClassVar[frozenset[str]] = frozenset({"POST", "PUT"})
    reads: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: GrafanaConfig, secret: credential.Secrets) -> None:
        """Compare with the secrets and tokens of `config`."""
        self.config, self._secret = config, secret
        # Whoever can send the secret as a token could sign with it, so it opens no more than a signature does.
        tokens = config.tokens or config.secrets
        self._headed = credential.HeaderConfig(tokens=tokens, header=config.header, insecure=config.insecure)

    def configured(self) -> bool:
        """Say whether a secret or a token is present."""
        found = any(one.value(self._secret) for one in self.config.secrets)
        return found or credential.present(self._headed, self._secret)

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """Check the header of a message that is not signed."""
        if not header(headers, self.config.signature_header):
            credential.check(self._headed, self._secret, headers)

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Check a signature over `TIMESTAMP:BODY`; one that is old, or without a timestamp, proves nothing."""
        given = header(headers, self.config.signature_header)
        if not given:
            return  # the header was checked
        stamp = header(headers, self.config.timestamp_header)
        at, _ = extract.moment(extract.number(stamp))
        if at is None or abs(now - at) > TOLERANCE:
            raise SignatureInvalid
        made = credential.hexadecimal(stamp.encode(errors="surrogateescape") + b":" + body)
        credential.signed(self.config, self._secret, [given.strip().lower()], made)

    def delivery_id(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Grafana names no delivery."""
        del headers, body
        return None

    def parse(self, raw: RawRequest) -> Parsed:
        """Read every alert of the group; a series that went missing is never a value, and its end never a recovery."""
        found = _group.alerts_of(raw.body)
        if found is None:
            raise NotAGroup
        return _group.read(found, raw, self.name, _also)


def _also(one: dict[str, Any], notes: dict[str, str]) -> dict[str, Any]:
    name = extract.word(extract.inside(one, "labels", "alertname"))
    lost = name in NO_DATA or notes.get("grafana_state_reason", "").strip().lower() in LOST
    links = (
        ("silence", one.get("silenceURL")), ("dashboard", one.get("dashboardURL")), ("panel", one.get("panelURL")),
        ("image", one.get("imageURL")),
    )  # fmt: skip
    return {
        "value": None if lost else _value(one.get("values")),
        "links": links,
        "flags": {"no_data"} if lost else set(),
    }


def _value(found: Any) -> float | None:
    """Give the first query's value: Grafana names its queries in the order they were written, the condition last."""
    if not isinstance(found, dict):
        return None
    return next((value for name in sorted(found) if (value := extract.number(found[name])) is not None), None)


SOURCE = Grafana
