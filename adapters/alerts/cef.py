"""The Common Event Format, version 0, as text: a header of seven fields, then `name=value` pairs."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import BaseModel

from adapters.alerts._sender import Headed
from bot.domain import credential, extract
from bot.domain.alert import Alert, Kind, Parsed, RawRequest, Severity
from bot.errors import PayloadInvalid

_FIELDS = re.compile(r"(?<!\\)\|")  # a bar that is not escaped
_PAIR = re.compile(r"(?:^|\s)([A-Za-z0-9_.]{1,100})=")
_WORDS = {"low": 2, "medium": 5, "high": 8, "very-high": 10}


class NotCef(PayloadInvalid):
    """The body is not one line `CEF:0|vendor|product|version|signature|name|severity|extension` with a severity of 0 to 10."""

    reason = "not_cef"


class CefConfig(credential.HeaderConfig):
    """Tokens of the sender; `environment` is taken when an event names none."""


class Cef(Headed):
    """Reads one event. Values are kept as they were written, escapes included; `csNLabel` names what `csN` is."""

    name: ClassVar[str] = "cef"
    Config: ClassVar[type[BaseModel]] = CefConfig

    def parse(self, raw: RawRequest) -> Parsed:
        """Read the event; what stands before `CEF:` was put there by a syslog relay."""
        try:
            text = raw.body.decode().strip()
        except UnicodeDecodeError as error:
            raise NotCef from error
        _, mark, line = text.partition("CEF:")
        parts = _FIELDS.split(line, maxsplit=7)
        if not mark or "\n" in line or len(parts) not in (7, 8) or parts[0].strip() not in ("0", "1"):
            raise NotCef
        return Parsed(alerts=(_alert(parts, raw),))


def _alert(parts: list[str], raw: RawRequest) -> Alert:
    vendor, product, _, signature, name, grade = (extract.text(part.strip(), 500) for part in parts[1:7])
    severity = _severity(grade)
    pairs = _pairs(parts[7]) if len(parts) == 8 else {}
    named = {
        pairs[f"{key}Label"]: value for key, value in pairs.items() if pairs.get(f"{key}Label")
    }  # fmt: skip
    host = pairs.get("dhost", "")
    labels = {"vendor": vendor, "product": product, **({"dhost": host} if host else {}), **named}
    when = pairs.get("rt", "")
    starts, _, flags = extract.times(
        int(when) if when.isascii() and when.isdigit() and len(when) < 16 else when, None, raw.received_at
    )
    notes = {"summary": name, "msg": pairs.get("msg", "")}
    return Alert.model_validate({
        "source": Cef.name, "kind": Kind.SECURITY,
        "fingerprint": extract.fingerprint(Cef.name, f"{vendor}|{product}|{signature}|{host}"), "status": "firing",
        "severity": severity, **extract.named(labels), "starts_at": starts, "summary": name, "labels": extract.kept_texts(labels),
        "annotations": {key: text for key, text in notes.items() if text}, "raw": {"id": raw.id, "pointer": ""},
        "flags": frozenset(flags),
    })  # fmt: skip


def _severity(grade: str) -> Severity:
    """Read 0 to 10, or the words for them."""
    number = _WORDS.get(grade.lower(), int(grade) if grade.isascii() and grade.isdigit() and len(grade) < 3 else -1)
    if grade.lower() == "unknown":
        return Severity.UNKNOWN
    if not 0 <= number <= 10:
        raise NotCef
    steps = ((3, Severity.INFO), (6, Severity.WARNING), (8, Severity.ERROR), (10, Severity.CRITICAL))
    return next(severity for most, severity in steps if number <= most)


def _pairs(text: str) -> dict[str, str]:
    """Read the extension; a value reaches to the next name, and may hold spaces."""
    found = list(_PAIR.finditer(text))
    ends = [*(one.start() for one in found), len(text)][1:]
    return {one[1]: extract.text(text[one.end() : end].strip()) for one, end in zip(found, ends, strict=True)}


SOURCE = Cef
