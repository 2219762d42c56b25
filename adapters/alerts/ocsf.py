"""Findings in the Open Cybersecurity Schema Framework (schema.ocsf.io), category 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel

from adapters.alerts._sender import Headed
from bot.domain import credential, extract
from bot.domain.alert import Alert, Kind, Parsed, RawRequest, Rejection, Severity
from bot.errors import PayloadInvalid

FINDINGS = 2  # category_uid
_SEVERITY = {
    1: Severity.INFO, 2: Severity.INFO, 3: Severity.WARNING, 4: Severity.ERROR, 5: Severity.CRITICAL, 6: Severity.CRITICAL,
}  # fmt: skip
_OVER = frozenset({3, 4, 5})  # status_id: suppressed, resolved, archived
_CLOSED = 3  # activity_id of a finding


class NotAnEvent(PayloadInvalid):
    """The body is not an OCSF event: it has no whole number `class_uid`."""

    reason = "not_an_ocsf_event"


class OcsfConfig(credential.HeaderConfig):
    """Tokens of the sender; `environment` is taken when a finding names none."""


class Ocsf(Headed):
    """Reads one finding; which model it is about is said in `unmapped`."""

    name: ClassVar[str] = "ocsf"
    Config: ClassVar[type[BaseModel]] = OcsfConfig

    def delivery_id(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Take the event's `metadata.uid`."""
        del headers
        try:
            found = extract.inside(orjson.loads(body), "metadata", "uid")
        except ValueError:
            return None
        return extract.word(found, 200) or None

    def parse(self, raw: RawRequest) -> Parsed:
        """Read the finding; an event of another category is set aside."""
        found = extract.json_value(raw.body)
        kind = extract.inside(found, "class_uid")
        if not isinstance(kind, int) or isinstance(kind, bool):
            raise NotAnEvent
        if (found.get("category_uid") or kind // 1000) != FINDINGS:
            reason = f"class {kind} is not a finding (category {FINDINGS})"
            return Parsed(rejected=(Rejection(where="/category_uid", reason=reason),))
        native = extract.word(extract.inside(found, "finding_info", "uid"))
        if not native:
            return Parsed(rejected=(Rejection(where="/finding_info/uid", reason="a finding needs a uid"),))
        return Parsed(alerts=(_alert(found, kind, native, raw),))


def _alert(found: dict[str, Any], kind: int, native: str, raw: RawRequest) -> Alert:
    product = extract.word(extract.inside(found, "metadata", "product", "name"))
    labels = {"class": str(kind), **extract.kept_texts(found.get("unmapped"))}
    labels |= {"product": product} if product else {}
    over = _is(found.get("status_id"), _OVER) or _is(found.get("activity_id"), {_CLOSED})
    starts, _, flags = extract.times(found.get("time"), None, raw.received_at)
    info = found["finding_info"]
    notes = {
        "summary": extract.word(info.get("title")) or extract.word(found.get("message")),
        "description": extract.word(info.get("desc")),
    }
    grade = found.get("severity_id")
    return Alert.model_validate({
        "source": Ocsf.name, "kind": Kind.SECURITY, "fingerprint": extract.fingerprint(Ocsf.name, native),
        "status": "resolved" if over else "firing",
        "severity": _SEVERITY.get(grade, Severity.UNKNOWN) if isinstance(grade, int) else Severity.UNKNOWN,
        **extract.named(labels), "starts_at": starts, "ends_at": raw.received_at if over else None, "summary": notes["summary"],
        "labels": labels, "annotations": {name: text for name, text in notes.items() if text},
        "raw": {"id": raw.id, "pointer": ""}, "flags": frozenset(flags),
    })  # fmt: skip


def _is(value: Any, among: set[int] | frozenset[int]) -> bool:
    return isinstance(value, int) and value in among


SOURCE = Ocsf
