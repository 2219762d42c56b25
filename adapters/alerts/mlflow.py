"""MLflow's registry webhooks (MLflow 3 and newer): a version or an alias of a registered model changed."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import BaseModel

from adapters.alerts._sender import Signed, delivery, header
from bot.domain import credential, extract
from bot.domain.alert import Alert, Kind, Parsed, RawRequest
from bot.errors import PayloadInvalid, SignatureInvalid

TOLERANCE = timedelta(minutes=5)  # MLflow signs once and sends the same again for its retries
_CHANGES = frozenset({"registered_model", "model_version", "model_version_tag", "model_version_alias"})


class NotAnEvent(PayloadInvalid):
    """The body has no entity, action and data."""

    reason = "not_an_mlflow_event"


class MlflowConfig(credential.SignedConfig):
    """The webhook's secret; `environment` is taken as the place of every change, else it holds for every environment of the model."""


class Mlflow(Signed):
    """Reads one change of the registry. It is never an alert: the ledger keeps it."""

    name: ClassVar[str] = "mlflow"
    Config: ClassVar[type[BaseModel]] = MlflowConfig

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Check `v1,BASE64` over `ID.TIMESTAMP.BODY` (mlflow/webhooks/delivery.py); an old timestamp proves nothing."""
        if self.config.insecure and not self.config.secrets:
            return
        name, stamp = header(headers, "X-MLflow-Delivery-Id"), header(headers, "X-MLflow-Timestamp")
        at, _ = extract.moment(extract.number(stamp))
        if not name or at is None or abs(now - at) > TOLERANCE:
            raise SignatureInvalid
        message = f"{name}.{stamp}.".encode(errors="surrogateescape") + body

        def made(secret: bytes) -> str:
            return base64.b64encode(hmac.new(secret, message, hashlib.sha256).digest()).decode()

        given = (one.strip() for one in header(headers, "X-MLflow-Signature").split(" "))
        signatures = [one.removeprefix("v1,") for one in given if one.startswith("v1,")]
        credential.signed(self.config, self._secret, signatures, made)

    def delivery_id(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Take the delivery's id, the same in every retry."""
        del body
        return delivery(headers, "X-MLflow-Delivery-Id")

    def parse(self, raw: RawRequest) -> Parsed:
        """Read the change; what is not about a registered model is left alone."""
        found = extract.json_value(raw.body)
        entity, action, data = (extract.inside(found, key) for key in ("entity", "action", "data"))
        if not isinstance(entity, str) or not isinstance(action, str) or not isinstance(data, dict):
            raise NotAnEvent
        event = extract.text(f"{entity}.{action}", 100)
        if entity not in _CHANGES:
            return Parsed(outcome="ignored")
        return Parsed(alerts=(_change(event, found, data, raw),))


def _change(event: str, found: dict[str, Any], data: dict[str, Any], raw: RawRequest) -> Alert:
    starts, _, flags = extract.times(found.get("timestamp"), None, raw.received_at)
    version = extract.word(data.get("version")) or None
    labels = {"event": event}
    labels |= {name: text for name in ("alias", "key", "value") if (text := extract.word(data.get(name), 200))}
    native = raw.delivery_id or extract.derived(
        {"event": event, "data": data, "at": extract.text(found.get("timestamp"))}
    )
    return Alert.model_validate({
        "source": Mlflow.name, "kind": Kind.CHANGE, "fingerprint": extract.fingerprint(Mlflow.name, native), "status": "update",
        "model": extract.word(data.get("name")) or None, "version": version, "starts_at": starts, "summary": f"MLflow {event}",
        "labels": labels, "annotations": {"summary": f"MLflow {event}"}, "raw": {"id": raw.id, "pointer": "/data"},
        "flags": frozenset(flags),
    })  # fmt: skip


SOURCE = Mlflow
