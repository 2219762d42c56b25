"""What PagerDuty says about an incident when it is asked: the labels that its webhook leaves out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import orjson

from adapters.paging._rest import Params, Rest
from bot.domain import extract
from bot.domain.alert import Alert, Parsed
from bot.errors import Unavailable
from bot.ports import Context

WITHIN = 5.0  # seconds for an answer
MOST = 100  # alerts of an incident that are looked at


class Asked:
    """Asks `GET /incidents/{id}/alerts` of the REST API v2, and where they name no model the incident's custom fields."""

    def __init__(self, context: Context, services: Sequence[str]) -> None:
        """Ask with PAGERDUTY_TOKEN, without one nothing; `services` are those whose incidents belong to models."""
        self._services = list(services)
        self._secret = context.secret
        self._rest = Rest("", context.secret)

    async def __aenter__(self) -> Self:
        """Make the client; nothing is asked yet."""
        self._rest.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self._rest.close()

    async def completed(self, parsed: Parsed) -> Parsed:
        """Give the alerts with model, version, environment and SLI as the incident's own alerts in PagerDuty name them.

        What `services` said before holds where they name nothing. Raises Unavailable when PagerDuty cannot be asked now.
        """
        return parsed.model_copy(update={"alerts": tuple([await self._completed(one) for one in parsed.alerts])})

    async def missed(self) -> list[tuple[str, bytes]]:
        """Give the open incidents of the services as their webhooks would say them. Raises Unavailable."""
        if not self._services or not self._secret("PAGERDUTY_TOKEN"):
            return []
        params: Params = {"statuses[]": ["triggered", "acknowledged"], "service_ids[]": self._services, "limit": MOST}
        try:
            async with asyncio.timeout(WITHIN):
                answer = await self._rest.get("/incidents", params)
        except TimeoutError as error:
            raise Unavailable("PagerDuty did not answer") from error
        if answer.status != 200:
            message = f"PagerDuty answered {answer.status}"
            raise Unavailable(message)
        try:
            rows = extract.rows(extract.inside(orjson.loads(answer.body), "incidents"))
        except ValueError as error:
            raise Unavailable("PagerDuty's answer could not be read") from error
        return [_event(one) for one in rows if isinstance(one, dict) and extract.word(one.get("id"))]

    async def _completed(self, alert: Alert) -> Alert:
        if "needs_enrichment" not in alert.flags or not self._secret("PAGERDUTY_TOKEN"):
            return alert
        incident = f"/incidents/{alert.extra.get('incident_id')}"
        labels = _labels(await self._asked(f"{incident}/alerts", {"limit": MOST}))
        if not extract.named(labels)["model"]:
            labels = {**_fields(await self._asked(f"{incident}/custom_fields/values", {})), **labels}
        return _filled(alert, labels)

    async def _asked(self, path: str, params: Params) -> bytes:
        """Give an answer, an empty one where the account has nothing of the kind. Raises Unavailable."""
        try:
            async with asyncio.timeout(WITHIN):
                answer = await self._rest.get(path, params)
        except TimeoutError as error:
            raise Unavailable("PagerDuty did not answer") from error
        if answer.status == 429 or answer.status >= 500:
            message = f"PagerDuty answered {answer.status}"
            raise Unavailable(message)
        return answer.body if answer.status == 200 else b""


def _event(incident: dict[str, Any]) -> tuple[str, bytes]:
    """Write an incident as the webhook says that it was triggered; its name is the same at each look."""
    name = f"polled {extract.word(incident['id'], 100)}"
    event = {
        "id": name, "event_type": "incident.triggered", "resource_type": "incident",
        "occurred_at": incident.get("created_at"), "agent": None, "data": {**incident, "status": "triggered"},
    }  # fmt: skip
    return name, orjson.dumps({"event": event})


def _filled(alert: Alert, labels: dict[str, str]) -> Alert:
    found = {name: text for name, text in extract.named(labels).items() if text}
    if not found:
        return alert
    figures = {name: extract.number(labels.get(name)) for name in ("value", "threshold")}
    return alert.model_copy(update={
        **found, **{name: number for name, number in figures.items() if number is not None},
        "labels": {**extract.kept_texts(labels), **alert.labels}, "flags": alert.flags - {"needs_enrichment"},
    })  # fmt: skip


def _labels(body: bytes) -> dict[str, str]:
    """Give the details that all alerts of the incident agree on: two models in one incident name neither."""
    try:
        rows = extract.rows(extract.inside(orjson.loads(body), "alerts"))
    except ValueError:
        return {}
    told = [_details(one) for one in rows[:MOST]]
    told = [one for one in told if one]
    if not told:
        return {}
    return {name: text for name, text in told[0].items() if all(one.get(name) == text for one in told)}


def _fields(body: bytes) -> dict[str, str]:
    """Read the incident's custom fields, which people or a workflow fill in."""
    try:
        rows = extract.rows(extract.inside(orjson.loads(body), "custom_fields"))
    except ValueError:
        return {}
    found = {extract.word(extract.inside(one, "name")): extract.inside(one, "value") for one in rows}
    return extract.texts({name: value for name, value in found.items() if name and isinstance(value, str)})


def _details(alert: Any) -> dict[str, str]:
    """Read an alert's details. Alertmanager writes its labels as lines `- name = value` into `firing`."""
    details: dict[str, Any] = {}
    for path in (("body", "cef_details", "details"), ("body", "details")):
        details |= extract.table(extract.inside(alert, *path))
    lines: dict[str, str] = {}
    if isinstance(firing := details.get("firing"), str):
        for line in firing.splitlines():
            name, mark, value = line.strip().removeprefix("- ").partition(" = ")
            if mark and line.strip().startswith("- "):
                lines.setdefault(name, value)
    return extract.texts({**lines, **{k: v for k, v in details.items() if not isinstance(v, (dict, list))}})
