"""What `/api/v1` answers, as types, and the OpenAPI document made from them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Literal

from pydantic import Field
from pydantic.json_schema import models_json_schema

from bot.domain.alert import Alert
from bot.domain.incident import Phase
from bot.domain.value import Value

Verdict = Literal["yes", "not_yet", "no", "cannot_tell"]


class ListedIncident(Value):
    """One incident of the list."""

    id: str
    model: str
    environment: str
    phase: Phase
    from_: str | None = Field(alias="from")
    to: str | None
    opened_at: datetime


class Step(Value):
    """One step of a plan, and how far it is."""

    name: str
    target: str
    after: list[str]
    kind: Literal["target", "warm", "check", "tell"]
    share: int = Field(description="Percent of the bad version's traffic that has moved when the step has ended.")
    state: str


class ShownPlan(Value):
    """The plan as it stands."""

    id: str
    expires_at: datetime | None
    steps: list[Step]


class Approval(Value):
    """One vote."""

    person: str
    role: str
    at: datetime
    card_version: int


class Verdicts(Value):
    """The three verdicts. "Cannot tell" is never "fine"."""

    accepted: Verdict
    traffic_moved: Verdict
    recovered: Verdict


class Fix(Value):
    """What mends it."""

    person: str
    version: str | None


class Grade(Value):
    """Whether a rollback helped; the interval is that of the change of the failure ratio."""

    grade: Literal["helped", "neutral", "harmful", "unknown"]
    low: float | None
    high: float | None
    reason: str
    person: str | None


class Leftover(Value):
    """What a rollback left behind and nobody cleared."""

    name: str
    what: str
    by_hand: str
    owner: str


class Delta(Value):
    """A figure before or after a rollback."""

    name: str
    when: Literal["before", "after"]
    value: float | None
    reason: str
    text: str


class ShownIncident(ListedIncident):
    """One incident, whole."""

    plan: ShownPlan | None
    approvals: list[Approval]
    verdicts: Verdicts
    next: str
    mitigated: bool
    fix: Fix | None
    grade: Grade | None
    leftovers: list[Leftover]
    deltas: list[Delta]


class ShownRequest(Value):
    """One stored message and what became of it."""

    id: str
    source: str
    outcome: Literal["pending", "accepted", "partial", "quarantined", "ignored", "ping"]
    error: str
    alerts: list[Alert]


class Aside(ShownRequest):
    """The newest of the messages that one source sent and that led nowhere for one reason."""

    received_at: datetime
    times: int


class Incidents(Value):
    """A page of incidents, newest first."""

    incidents: list[ListedIncident]


class Unrouted(Value):
    """A page of the unrouted lane, newest first."""

    inbound: list[Aside]


class Refusal(Value):
    """Why there is no answer."""

    error: str


class Forbidden(Refusal):
    """Why nothing was done, and who could."""

    outcome: Literal["forbidden"]


class Gated(Value):
    """Whether a version may serve, and why."""

    allowed: bool
    reason: str


ANSWERS: Mapping[str, tuple[type[Value], str]] = {
    "/api/v1/incidents": (Incidents, "Incidents, newest first, 50 a page."),
    "/api/v1/incidents/{id}": (ShownIncident, "The incident whose id ends like this."),
    "/api/v1/inbound": (Unrouted, "Messages that led nowhere, whole or in part, newest first, 50 a page."),
    "/api/v1/inbound/{id}": (ShownRequest, "One stored message."),
}
_BEFORE = {
    "name": "before", "in": "query", "required": False, "schema": {"type": "string"},
    "description": "The last id of the page before.",
}  # fmt: skip
_CLOSED = "The timeline cannot be read."
ACT = "/api/v1/incidents/{id}/{act}"
_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_ACT = {
    "name": "act", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[a-z_]{1,30}$"},
    "description": "What a person could do with the incident: approve, reject and so on.",
}  # fmt: skip


GATE = "/api/v1/gate/{model}/{version}"
_GATE = [
    {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}},
    {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}},
    {
        "name": "environment", "in": "query", "required": False, "schema": {"type": "string"},
        "description": "Ask about one environment; without it, about every one.",
    },
]  # fmt: skip


@cache
def document() -> dict[str, Any]:
    """Give the OpenAPI 3.1 document."""
    kinds: list[type[Value]] = [*(kind for kind, _ in ANSWERS.values()), Gated, Refusal, Forbidden]
    refs, schemas = models_json_schema(
        [(kind, "serialization") for kind in kinds], ref_template="#/components/schemas/{model}"
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lastgood", "version": "1"},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas["$defs"],
        },
        "security": [{"token": []}],
        "paths": {
            **{
                path: {"get": _operation(path, text, refs[kind, "serialization"], refs[Refusal, "serialization"])}
                for path, (kind, text) in ANSWERS.items()
            },
            GATE: {"get": _gate(refs[Gated, "serialization"], refs[Refusal, "serialization"])},
            ACT: {"post": _act(refs[Forbidden, "serialization"], refs[Refusal, "serialization"])},
        },
    }


def _act(forbidden: dict[str, Any], refusal: dict[str, Any]) -> dict[str, Any]:
    """Describe what is never done here, so that nobody builds on it."""
    refused = {"401": "No token, or none of ours.", "404": "There is none, or more than one.", "503": _CLOSED}
    return {
        "summary": "Always refused: a token cannot vote. The answer says who could, and how.",
        "parameters": [_ID, _ACT],
        "responses": {"403": _said("Tokens cannot vote.", forbidden), **_all_said(refused, refusal)},
    }


def _gate(gated: dict[str, Any], refusal: dict[str, Any]) -> dict[str, Any]:
    refused = {"401": "No token, or none of ours.", "503": f"{_CLOSED} Take it as no."}
    answers = {"200": "It may serve.", "403": "It may not.", "404": "No such model or environment."}
    return {
        "summary": "Whether a version may be given traffic, with the reason.",
        "parameters": _GATE,
        "responses": {**_all_said(answers, gated), **_all_said(refused, refusal)},
    }


def _operation(path: str, text: str, answer: dict[str, Any], refusal: dict[str, Any]) -> dict[str, Any]:
    one = path.endswith("{id}")
    refused = {"401": "No token, or none of ours.", "503": _CLOSED}
    if one:
        refused["404"] = "There is none, or more than one."
    return {
        "summary": text,
        "parameters": [_ID if one else _BEFORE],
        "responses": {"200": _said(text, answer), **_all_said(refused, refusal)},
    }


def _said(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _all_said(answers: Mapping[str, str], schema: dict[str, Any]) -> dict[str, Any]:
    return {code: _said(why, schema) for code, why in answers.items()}
