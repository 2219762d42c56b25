"""CloudEvents 1.0 over HTTP (github.com/cloudevents/spec): binary, structured and batch, with the webhook handshake."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from pydantic import BaseModel

from adapters.alerts import _object
from adapters.alerts._sender import Headed, header
from bot.domain import credential, extract
from bot.domain.alert import Alert, Parsed, RawRequest, Rejection
from bot.errors import NotJson, PayloadInvalid

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
_NEEDED = ("id", "source", "type")


class NotACloudEvent(PayloadInvalid):
    """Send a CloudEvent: content type application/cloudevents+json or application/cloudevents-batch+json, or headers ce-…."""

    reason = "not_a_cloudevent"
    status = 415


class CloudEventsConfig(credential.HeaderConfig):
    """Tokens of the sender; `environment` is taken when an event names none."""


class CloudEvents(Headed):
    """Reads events whose data is an object with the fields that the generic source takes."""

    name: ClassVar[str] = "cloudevents"
    Config: ClassVar[type[BaseModel]] = CloudEventsConfig
    methods: ClassVar[frozenset[str]] = frozenset({"POST", "OPTIONS"})
    reads: ClassVar[tuple[str, ...]] = ("ce-",)

    def handshake(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Answer whoever asks whether events may be delivered here: yes, with the token of course."""
        origin = extract.text(header(headers, "WebHook-Request-Origin"), 253)
        if not origin.isascii() or not origin.isprintable() or not origin:
            return {}
        return {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*", "Allow": "POST"}

    def delivery_id(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Take source and id, which together name an event; of a batch those of all its events."""
        if header(headers, "ce-id"):
            return _identity(header(headers, "ce-source"), header(headers, "ce-id"))
        try:
            found = orjson.loads(body)
        except ValueError:
            return None
        rows = found if isinstance(found, list) else [found]
        pairs = [(extract.word(extract.inside(one, "source")), extract.word(extract.inside(one, "id"))) for one in rows]
        if not pairs or not all(source and name for source, name in pairs):
            return None
        return _identity(*pairs[0]) if isinstance(found, dict) else extract.derived({"events": pairs})

    def parse(self, raw: RawRequest) -> Parsed:
        """Read every event; one that cannot be read is set aside and the rest are taken."""
        kind = header(raw.headers, "Content-Type").partition(";")[0].strip().lower()
        if header(raw.headers, "ce-specversion"):
            return _event({**_attributes(raw.headers), "data": extract.json_value(raw.body)}, raw, "", "")
        if kind not in (STRUCTURED, BATCH):
            raise NotACloudEvent
        found = extract.json_value(raw.body)
        if kind == STRUCTURED:
            return _event(found, raw, "", "/data")
        if not isinstance(found, list):
            message = "A batch is a list of events."
            raise NotJson(message)
        return _together(
            [_event(one, raw, f"/{at}", f"/{at}") for at, one in enumerate(found[: extract.MAX_ALERTS])], len(found)
        )


def _identity(source: str, name: str) -> str:
    whole = f"{source} {name}"
    return (
        extract.text(whole) if len(whole) <= 200 else hashlib.sha256(whole.encode(errors="surrogateescape")).hexdigest()
    )


def _attributes(headers: Mapping[str, str]) -> dict[str, Any]:
    return {
        name.lower().removeprefix("ce-"): value for name, value in headers.items() if name.lower().startswith("ce-")
    }


def _together(parts: list[Parsed], count: int) -> Parsed:
    alerts: list[Alert] = [alert for part in parts for alert in part.alerts]
    flags = frozenset({"too_many_alerts"} if count > extract.MAX_ALERTS else ())
    rejected = tuple(one for part in parts for one in part.rejected)
    return Parsed(alerts=tuple(one.flagged(*flags) for one in alerts), rejected=rejected, flags=flags)


def _event(found: Any, raw: RawRequest, at: str, pointer: str) -> Parsed:
    """Read one event that stands at `at`, whose data is said to stand at `pointer`."""
    if not isinstance(found, dict):
        return Parsed(rejected=(Rejection(where=at, reason="an event is an object"),))
    if found.get("specversion") != "1.0":
        reason = f"specversion {extract.text(found.get('specversion'), 40)!r} is not 1.0"
        return Parsed(rejected=(Rejection(where=f"{at}/specversion", reason=reason),))
    if lost := [name for name in _NEEDED if not extract.word(found.get(name))]:
        return Parsed(rejected=(Rejection(where=f"{at}/{lost[0]}", reason=f"an event needs {lost[0]}"),))
    data = found.get("data")
    if not isinstance(data, dict):
        return Parsed(rejected=(Rejection(where=f"{at}/data", reason="the data is not a JSON object"),))
    native = f"{extract.word(found['source'])}|{extract.word(found.get('subject'))}"
    return _object.read(data, raw, CloudEvents.name, pointer=pointer, native=native, starts=found.get("time"))


SOURCE = CloudEvents
