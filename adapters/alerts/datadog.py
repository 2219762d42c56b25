"""Datadog webhooks, whose body is a template: the one shipped in docs/how-to/connect-a-sender.md."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel

from adapters.alerts._sender import Headed
from bot.domain import credential, extract
from bot.domain.alert import Alert, Parsed, RawRef, RawRequest, Rejection
from bot.errors import PayloadInvalid

_FIRING = frozenset({"triggered", "re-triggered", "warn", "re-warn", "no data", "re-no data", "renotify"})


class NotOurTemplate(PayloadInvalid):
    """The body has no alert_id and transition: give the webhook in Datadog the payload from docs/how-to/connect-a-sender.md."""

    reason = "not_our_datadog_template"


class DatadogConfig(credential.HeaderConfig):
    """Tokens of the sender; `environment` is taken when an alert names none."""


class Datadog(Headed):
    """Reads one transition of one monitor."""

    name: ClassVar[str] = "datadog"
    Config: ClassVar[type[BaseModel]] = DatadogConfig

    def parse(self, raw: RawRequest) -> Parsed:
        """Read the transition; one that is not known is set aside."""
        found = extract.json_value(raw.body)
        if not isinstance(found, dict) or not _said(found, "alert_id") or not isinstance(found.get("transition"), str):
            raise NotOurTemplate
        said = found["transition"].strip().lower()
        if said not in _FIRING and said != "recovered":
            reason = f"transition {extract.text(said, 40)!r} is not one that Datadog documents"
            return Parsed(rejected=(Rejection(where="/transition", reason=reason),))
        return Parsed(alerts=(_alert(found, said, raw),))


def _said(found: dict[str, Any], name: str) -> str:
    return extract.word(found.get(name))


def _alert(found: dict[str, Any], said: str, raw: RawRequest) -> Alert:
    labels = _tags(_said(found, "tags"))
    over, lost = said == "recovered", "no data" in said
    starts, ends, flags = extract.times(found.get("date"), found.get("last_updated") if over else None, raw.received_at)
    words = [_said(found, "alert_type")] if over else [_said(found, "priority"), _said(found, "alert_type")]
    place = extract.named(labels)
    # Without a group a monitor has no aggregation key.
    native = ":".join(part for part in (_said(found, "alert_id"), _said(found, "aggreg_key")) if part)
    return Alert(
        source=Datadog.name, fingerprint=extract.fingerprint(Datadog.name, native), status="resolved" if over else "firing",
        severity=extract.severity(next((word for word in words if word), None)),
        **{**place, "sli": _said(found, "metric") or place["sli"]}, value=None if lost else extract.number(found.get("value")),
        threshold=extract.number(found.get("threshold")), starts_at=starts, ends_at=(ends or raw.received_at) if over else None,
        summary=_said(found, "title"), labels=labels,
        annotations={name: text for name, text in (("summary", _said(found, "title")), ("description", _said(found, "body"))) if text},
        links=extract.links((("source", found.get("link")), ("image", found.get("snapshot")))),
        raw=RawRef(id=raw.id, pointer=""), flags=frozenset(flags | ({"no_data"} if lost else set())),
    )  # fmt: skip


def _tags(text: str) -> dict[str, str]:
    """Read `name:value, name:value`; a tag without a value says nothing here."""
    pairs = (tag.strip().partition(":") for tag in text.split(","))
    return extract.kept_texts({name: value for name, colon, value in pairs if colon and name})


SOURCE = Datadog
