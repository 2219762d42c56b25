"""Argo CD and Argo Rollouts notifications, whose body is a template: the one shipped in docs/how-to/connect-a-sender.md."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel

from adapters.alerts._sender import Headed
from bot.domain import credential, extract
from bot.domain.alert import Alert, Kind, Parsed, RawRequest, Severity
from bot.errors import PayloadInvalid

_ILL = frozenset({"degraded", "error", "failed"})  # phases that mean that something is wrong
_BAD = ("aborted", "failed", "error", "degraded")  # and words of triggers that do


class NotOurTemplate(PayloadInvalid):
    """The body has no trigger and no rollout or app: give the notification the template from docs/how-to/connect-a-sender.md."""

    reason = "not_our_argo_template"


class ArgoConfig(credential.HeaderConfig):
    """Tokens of the sender; `environment` is taken when an alert names none."""


class Argo(Headed):
    """Reads one notification: what went wrong is an alert, what was shipped a change. What runs is read from the cluster."""

    name: ClassVar[str] = "argo"
    Config: ClassVar[type[BaseModel]] = ArgoConfig

    def parse(self, raw: RawRequest) -> Parsed:
        """Read the notification by its trigger, and by the phase where the trigger says neither."""
        found = extract.json_value(raw.body)
        trigger = extract.inside(found, "trigger")
        named = extract.word(extract.inside(found, "rollout")) or extract.word(extract.inside(found, "app"))
        if not isinstance(trigger, str) or not trigger or not named:
            raise NotOurTemplate
        return Parsed(alerts=(_alert(found, trigger, named, raw),))


def _alert(found: dict[str, Any], trigger: str, named: str, raw: RawRequest) -> Alert:
    labels = extract.kept_texts(found.get("labels"))
    ill = any(word in trigger for word in _BAD) or extract.word(found.get("phase")).lower() in _ILL
    starts, _, flags = extract.times(found.get("time"), None, raw.received_at)
    where = [extract.word(found.get(name)) for name in ("cluster", "namespace")]
    summary = extract.word(found.get("message")) or f"{named}: {trigger}"
    return Alert.model_validate({
        "source": Argo.name, "kind": Kind.ALERT if ill else Kind.CHANGE,
        "fingerprint": extract.fingerprint(Argo.name, "/".join(part for part in (*where, named) if part)),
        "status": "firing" if ill else "update", "severity": Severity.ERROR if ill else Severity.INFO,
        **extract.named(labels), "starts_at": starts, "summary": summary, "labels": labels,
        "annotations": {"summary": summary, "trigger": extract.text(trigger, 200)},
        "links": extract.links((("source", found.get("url")),)), "raw": {"id": raw.id, "pointer": ""}, "flags": frozenset(flags),
    })  # fmt: skip


SOURCE = Argo
