"""Opsgenie's outgoing webhook: one action on one alert."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel

from adapters.alerts._sender import Headed
from bot.domain import credential, extract
from bot.domain.alert import Alert, Kind, Parsed, RawRequest
from bot.errors import PayloadInvalid

_STATUS = {"create": "firing", "close": "resolved", "delete": "resolved", "acknowledge": "acknowledged"}


class NotAnAction(PayloadInvalid):
    """The body has no action and no alert."""

    reason = "not_an_opsgenie_message"


class OpsgenieConfig(credential.HeaderConfig):
    """Tokens of the sender; `environment` is taken when an alert names none."""


class Opsgenie(Headed):
    """Reads one action; the alert's details are its labels."""

    name: ClassVar[str] = "opsgenie"
    Config: ClassVar[type[BaseModel]] = OpsgenieConfig

    def parse(self, raw: RawRequest) -> Parsed:
        """Read the action: Create fires, Close and Delete resolve, everything else is an update."""
        found = extract.json_value(raw.body)
        action, one = extract.inside(found, "action"), extract.inside(found, "alert")
        if not isinstance(action, str) or not isinstance(one, dict):
            raise NotAnAction
        native = extract.word(one.get("alias")) or extract.word(one.get("alertId"))
        if not native:
            raise NotAnAction
        status = _STATUS.get(action.strip().lower(), "update")
        return Parsed(alerts=(_alert(one, status, native, action, raw),))


def _alert(one: dict[str, Any], status: str, native: str, action: str, raw: RawRequest) -> Alert:
    labels = extract.kept_texts(one.get("details"))
    starts, ends, flags = extract.times(one.get("createdAt"), one.get("updatedAt"), raw.received_at)
    summary = extract.word(one.get("message"))
    return Alert.model_validate({
        "source": Opsgenie.name, "kind": Kind.ALERT if status in ("firing", "resolved") else Kind.INCIDENT_UPDATE,
        "fingerprint": extract.fingerprint(Opsgenie.name, native), "status": status,
        "severity": extract.severity(extract.word(one.get("priority")) or extract.first(labels, extract.SEVERITY)),
        **extract.named(labels), "value": extract.number(labels.get("value")), "threshold": extract.number(labels.get("threshold")),
        "starts_at": starts, "ends_at": (ends or raw.received_at) if status == "resolved" else None, "summary": summary,
        "labels": labels, "annotations": {"summary": summary} if summary else {}, "extra": {"action": extract.text(action, 100)},
        "raw": {"id": raw.id, "pointer": "/alert"}, "flags": frozenset(flags),
    })  # fmt: skip


SOURCE = Opsgenie
