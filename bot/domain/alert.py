"""An alert as every source is normalised to it."""

from __future__ import annotations

import hashlib
import unicodedata
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, Field, field_serializer

from bot.domain.value import Value

DEPLOYER = ("deployer", "deployed_by")  # labels that name who put a version into service


class Severity(StrEnum):
    """How bad the sender says it is, mildest first."""

    UNKNOWN = "unknown"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Order severities: 0 is unknown, 4 is critical."""
        return list(Severity).index(self)


class Kind(StrEnum):
    """What sort of message it is."""

    ALERT = "alert"
    INCIDENT_UPDATE = "incident_update"
    CHANGE = "change"
    SECURITY = "security"
    DATA = "data"
    COST = "cost"
    PIPELINE = "pipeline"


class Link(Value):
    """A link the sender gave; shown only when it is http or https."""

    rel: str
    url: str


class RawRef(Value):
    """Where an alert came from: the stored request, and the JSON pointer to the alert in its body."""

    id: str  # ULID
    pointer: str  # RFC 6901, for example "/alerts/0"; empty for the whole body


class Alert(Value):
    """One alert of one message, normalised. Times are aware; `value` and `threshold` are finite or None."""

    source: str
    kind: Kind = Kind.ALERT
    fingerprint: str = Field(max_length=240)
    status: Literal["firing", "acknowledged", "resolved", "update"]
    severity: Severity = Severity.UNKNOWN
    model: str | None = None
    version: str | None = None
    environment: str | None = None
    sli: str | None = None
    value: float | None = Field(default=None, allow_inf_nan=False)
    threshold: float | None = Field(default=None, allow_inf_nan=False)
    starts_at: AwareDatetime
    ends_at: AwareDatetime | None = None
    summary: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    links: tuple[Link, ...] = ()
    group_key: str | None = None
    extra: dict[str, str] = Field(default_factory=dict)
    raw: RawRef | None = None
    flags: frozenset[str] = frozenset()

    def flagged(self, *flags: str) -> Alert:
        """Give a copy that carries these flags too."""
        return self.model_copy(update={"flags": self.flags.union(flags)})

    def ended(self, by: Alert) -> Alert:
        """Give the ended form of this alert: what `by` says of its end, and all that was said while it fired."""
        when = {"occurred_at": told} if (told := by.extra.get("occurred_at")) else {}
        return self.but(status="resolved", starts_at=by.starts_at, ends_at=by.ends_at, extra={**self.extra, **when})

    @property
    def since(self) -> datetime:
        """Give what orders this among the messages about one alert: when it began, or when a pager says that it happened.

        A pager keeps one beginning for an incident that is opened again, so there the beginning orders nothing.
        """
        told = self.extra.get("occurred_at")
        return datetime.fromisoformat(told) if told else self.starts_at

    @property
    def by(self) -> str | None:
        """Give who did it, as the sender names them, None when it does not say: a name says who may not approve, never who may."""
        said = (self.extra.get("by"), *(self.labels.get(name) or self.annotations.get(name) for name in DEPLOYER))
        return next((one for one in said if one), None)

    @property
    def hint(self) -> str | None:
        """Give what its sender wants it put together with, whatever tool tells of that."""
        return self.labels.get("incident_hint") or None

    @property
    def is_change(self) -> bool:
        """Say whether it tells of something that was done, such as a version that was shipped, and not of trouble."""
        return self.kind is Kind.CHANGE and self.status == "update"

    @property
    def says_whether(self) -> bool:
        """Say whether it tells that something is wrong, or no longer is; the rest are updates about it."""
        return self.kind is not Kind.INCIDENT_UPDATE and self.status in ("firing", "resolved")

    @field_serializer("flags")
    def _in_order(self, flags: frozenset[str]) -> list[str]:
        return sorted(flags)


class RawRequest(Value):
    """An HTTP message as it arrived, credentials left out: what is stored before the 202."""

    id: str  # ULID
    source: str
    received_at: AwareDatetime
    body: bytes
    headers: dict[str, str] = Field(default_factory=dict)
    remote: str = ""
    delivery_id: str | None = None


class Rejection(Value):
    """One part of a message that could not be taken, and where: it is kept in the quarantine inbox."""

    where: str  # JSON pointer
    reason: str


class Parsed(Value):
    """What a source read in one message. `flags` hold for the whole message, for example `too_many_alerts`."""

    alerts: tuple[Alert, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    flags: frozenset[str] = frozenset()
    outcome: Literal["accepted", "ping", "ignored"] = "accepted"
    note: str = ""
    confirm: str = ""  # the address at which the sender wants to be told that its messages are wanted

    @property
    def result(self) -> str:
        """What becomes of the message: its `outcome`, unless parts of it (partial) or all of it (quarantined) were set aside."""
        if self.outcome != "accepted" or not self.rejected:
            return self.outcome
        return "partial" if self.alerts else "quarantined"


def same_name(text: str) -> str:
    """Give the form in which model names are compared: NFC, case kept, so look-alike letters never match."""
    return unicodedata.normalize("NFC", text)


def hint_name(hint: str) -> str:
    """Name what several tools call one incident: the label `incident_hint`, the same in each."""
    return f"hint:{hashlib.sha256(hint.encode()).hexdigest()}"


def problem_name(group_key: str) -> str:
    """Name what is wrong wherever the alerts of one group fire, whatever models they are about."""
    return f"problem:{hashlib.sha256(group_key.encode()).hexdigest()}"


def group_name(dedup_key: str) -> str:
    """Name a group of alerts by the key its pager knows it by; Alertmanager takes the SHA-256 of its group key."""
    return f"group:{dedup_key}"


def newer(one: datetime, other: datetime | None) -> bool:
    """Say whether `one` is later than `other`; anything is later than nothing."""
    return other is None or one > other
