"""One alert as one object with plain fields, as docs/reference/http.md describes: what Generic takes, and CloudEvents carry."""

from __future__ import annotations

from typing import Any

from bot.domain import extract
from bot.domain.alert import Alert, Kind, Parsed, RawRef, RawRequest, Rejection

_ABSENT: tuple[Any, ...] = (None, "")
_NAMES = (*extract.MODEL, *extract.VERSION, *extract.ENVIRONMENT, *extract.SLI, "fingerprint", "dedup_key", "name")
_STATUS = {"firing": "firing", "alerting": "firing", "resolved": "resolved", "ok": "resolved"}


def read(
    found: dict[str, Any], raw: RawRequest, source: str, *, pointer: str = "", native: str = "", starts: Any = None
) -> Parsed:
    """Read the object; a status or kind that is not known sets it aside.

    `native` is its identity and `starts` when it began, unless the object itself says so.
    """
    status = _STATUS.get(str(found.get("status", "firing")).lower())
    if status is None:
        reason = f"status {extract.text(found['status'], 40)!r} is none of firing, alerting, resolved, ok"
        return Parsed(rejected=(Rejection(where=f"{pointer}/status", reason=reason),))
    kind = "alert" if found.get("kind") in _ABSENT else extract.text(found["kind"])
    if kind not in set(Kind):
        return Parsed(rejected=(Rejection(where=f"{pointer}/kind", reason=f"kind {kind[:40]!r} is not known"),))
    if wrong := _wrong(found, pointer):
        return Parsed(rejected=wrong)
    given = {**found, "starts_at": starts} if found.get("starts_at") is None and starts is not None else found
    alert = _alert(given, status, Kind(kind), raw, source, native)
    return Parsed(alerts=(alert.model_copy(update={"raw": RawRef(id=raw.id, pointer=pointer)}),))


def _wrong(found: dict[str, Any], pointer: str) -> tuple[Rejection, ...]:
    """Say what cannot be meant: a number that is none, labels that are no object, a name that is no text."""
    rows = [
        Rejection(where=f"{pointer}/{name}", reason=f"{name} is not a number")
        for name in ("value", "threshold")
        if found.get(name) not in _ABSENT and not _numeric(found[name])
    ]
    rows += [
        Rejection(where=f"{pointer}/{name}", reason=f"{name} is not an object")
        for name in ("labels", "annotations")
        if found.get(name) is not None and not isinstance(found[name], dict)
    ]
    rows += [
        Rejection(where=f"{pointer}/{name}", reason=f"{name} is not text")
        for name in _NAMES
        if isinstance(found.get(name), (dict, list))
    ]
    return tuple(rows)


def _numeric(value: Any) -> bool:
    """Not a number is still a number, as senders print it; a word, a list or true is not."""
    return extract.number(value) is not None or (
        isinstance(value, str) and value.strip().lstrip("+-").lower() in ("nan", "inf", "infinity")
    )


def _annotations(found: dict[str, Any]) -> dict[str, str]:
    given = extract.kept_texts(found.get("annotations"))
    return {**given, "summary": extract.text(found["summary"])} if found.get("summary") else given


def _alert(found: dict[str, Any], status: str, kind: Kind, raw: RawRequest, source: str, native: str) -> Alert:
    labels = extract.texts(found.get("labels"))
    fields = {**labels, **extract.texts({k: v for k, v in found.items() if not isinstance(v, (dict, list))})}
    starts, ends, flags = extract.times(found.get("starts_at"), found.get("ends_at"), raw.received_at)
    if found.get("starts_at") is None:
        flags.discard("bad_starts_at")
    model, sli = extract.first(fields, extract.MODEL), extract.first(fields, extract.SLI)
    native = native or fields.get("fingerprint") or fields.get("dedup_key") or ""
    if not native:
        parts = {
            "model": model,
            "environment": extract.first(fields, extract.ENVIRONMENT),
            "sli": sli,
            "name": fields.get("name"),
            "labels": labels,
        }
        native = extract.derived(parts)
    return Alert.model_validate(
        {
            "source": source, "kind": kind, "fingerprint": extract.fingerprint(source, native), "status": status,
            "severity": extract.severity(extract.first(fields, extract.SEVERITY)), "model": model,
            "version": extract.first(fields, extract.VERSION), "environment": extract.first(fields, extract.ENVIRONMENT),
            "sli": sli, "value": extract.number(found.get("value")), "threshold": extract.number(found.get("threshold")),
            "starts_at": starts, "ends_at": (ends or raw.received_at) if status == "resolved" else None,
            "summary": fields.get("summary", ""), "labels": extract.kept_texts(found.get("labels")), "annotations": _annotations(found), "links": extract.links(_links(found.get("links"))),
            "flags": frozenset(flags),
        }
    )  # fmt: skip


def _links(found: Any) -> list[tuple[str, Any]]:
    rows = found[:20] if isinstance(found, list) else []
    return [(extract.text(one.get("rel"), 40) or "link", one.get("url")) for one in rows if isinstance(one, dict)]
