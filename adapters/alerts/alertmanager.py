"""Alertmanager webhook, version 4. It cannot sign, so it proves itself with a header."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, Field, model_validator

from adapters.address import Address
from adapters.alerts._silences import Silenced
from bot.domain import credential, extract
from bot.domain.alert import Alert, Parsed, RawRef, RawRequest, Rejection
from bot.errors import PayloadInvalid
from bot.ports import Context

_ABSENT: tuple[Any, ...] = (None, "")


class NotAGroup(PayloadInvalid):
    """The body is not an object with a list of `alerts`."""

    reason = "not_an_alertmanager_message"


class AlertmanagerConfig(credential.HeaderConfig):
    """Tokens of the sender; `environment` is taken when an alert names none.

    With `api`, for example `http://alertmanager:9093`, Lastgood asks there which alerts are silenced; `api_token` is the
    bearer token for that, `{env: NAME}` or `{file: PATH}`.
    """

    api: Address | None = Field(default=None, repr=False)  # it may carry credentials
    api_token: credential.Credential | None = None

    @model_validator(mode="after")
    def _asks_with_one_credential(self) -> AlertmanagerConfig:
        if self.api_token is not None and self.api is None:
            raise ValueError("api_token is for an `api`, and none is given")
        if self.api_token is not None and "@" in str(self.api):
            raise ValueError("give either api_token or credentials in the api's address")
        return self


class Alertmanager:
    """Reads one group of alerts."""

    name: ClassVar[str] = "alertmanager"
    Config: ClassVar[type[BaseModel]] = AlertmanagerConfig
    methods: ClassVar[frozenset[str]] = frozenset({"POST"})

    def __init__(self, config: AlertmanagerConfig, secret: credential.Secrets) -> None:
        """Compare with the tokens of `config`."""
        self.config, self._secret = config, secret

    def configured(self) -> bool:
        """Say whether a token is present."""
        return credential.present(self.config, self._secret)

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """Check the header."""
        credential.check(self.config, self._secret, headers)

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Alertmanager signs nothing; the header was checked."""

    def delivery_id(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Alertmanager names no delivery."""
        del headers, body
        return None

    def silences(self, context: Context) -> Silenced | None:
        """Give what knows its silences, to be opened and closed by the host; None without `api`."""
        if self.config.api is None:
            return None
        return Silenced(self.name, self.config.api, self.config.api_token, context)

    def parse(self, raw: RawRequest) -> Parsed:
        """Read every alert of the group; one that cannot be read is set aside and the rest are taken."""
        found = extract.json_value(raw.body)
        alerts = found.get("alerts") if isinstance(found, dict) else None
        if not isinstance(alerts, list):
            raise NotAGroup
        flags = {"too_many_alerts"} if len(alerts) > extract.MAX_ALERTS else set()
        if found.get("truncatedAlerts") is not None and extract.number(found["truncatedAlerts"]) != 0:
            flags.add("truncated")  # also when the number cannot be told: then nothing is sure to be complete
        good: list[Alert] = []
        bad: list[Rejection] = []
        for at, one in enumerate(alerts[: extract.MAX_ALERTS]):
            result = _alert(one, found, raw, at, flags)
            (good if isinstance(result, Alert) else bad).append(result)  # type: ignore[arg-type]  # each list takes its kind
        return Parsed(alerts=tuple(good), rejected=tuple(bad), flags=frozenset(flags))


def _alert(one: Any, group: dict[str, Any], raw: RawRequest, at: int, shared: set[str]) -> Alert | Rejection:
    where = f"/alerts/{at}"
    if not isinstance(one, dict):
        return Rejection(where=where, reason="an alert is an object")
    if not isinstance(one.get("labels"), dict):
        return Rejection(where=f"{where}/labels", reason="an alert needs an object of labels")
    status = group.get("status") if one.get("status") in _ABSENT else one["status"]
    if status not in ("firing", "resolved"):
        return Rejection(
            where=f"{where}/status", reason=f"status {extract.text(status, 40)!r} is neither firing nor resolved"
        )
    labels, notes = extract.kept_texts(one["labels"]), extract.kept_texts(one.get("annotations"))
    starts, ends, flags = extract.times(one.get("startsAt"), one.get("endsAt"), raw.received_at)
    native = extract.text(one["fingerprint"]) if isinstance(one.get("fingerprint"), str) else ""
    if not native:
        native = extract.labels_fingerprint(extract.texts(one["labels"]))
        flags.add("fingerprint_recomputed")
    return Alert(
        source=Alertmanager.name, fingerprint=extract.fingerprint(Alertmanager.name, native), status=status,
        severity=extract.severity(extract.first(labels, extract.SEVERITY)), model=extract.first(labels, extract.MODEL),
        version=extract.first(labels, extract.VERSION), environment=extract.first(labels, extract.ENVIRONMENT),
        sli=extract.first(labels, extract.SLI), value=extract.number(notes.get("value")),
        threshold=extract.number(notes.get("threshold")), starts_at=starts, ends_at=(ends or raw.received_at) if status == "resolved" else None,
        summary=notes.get("summary") or notes.get("description") or labels.get("alertname", ""), labels=labels,
        annotations=notes, links=extract.links(_links(one, notes)), group_key=extract.text(group.get("groupKey"), 1000) or None,
        raw=RawRef(id=raw.id, pointer=where), flags=frozenset(flags | shared),
    )  # fmt: skip


def _links(one: dict[str, Any], notes: dict[str, str]) -> tuple[tuple[str, Any], ...]:
    shown = (("runbook", notes.get("runbook_url")), ("dashboard", notes.get("dashboard_url")))
    return (("source", one.get("generatorURL")), *shown)


SOURCE = Alertmanager
