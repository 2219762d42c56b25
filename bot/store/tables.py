"""The tables of a site, as SQLModel classes. Migrations make them; a test holds the two together."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, Text, UniqueConstraint
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel


class TimelineRow(SQLModel, table=True):
    """One entry. `at` is ISO 8601 in UTC, `body` canonical JSON: the digest is over exactly these texts."""

    __tablename__ = "timeline"
    __table_args__ = (
        UniqueConstraint("stream", "version"),
        Index("timeline_counted", "type", sqlite_where=sql("type IN ('glass.broken','approval.refused')")),
    )

    seq: int | None = Field(default=None, sa_column=Column(Integer, primary_key=True))
    stream: str
    version: int
    epoch: int
    at: str
    type: str
    schema_: int = Field(sa_column=Column("schema", Integer, nullable=False))
    body: str = Field(sa_column=Column(Text, nullable=False))
    prev: str
    digest: str


class InboundRow(SQLModel, table=True):
    """One HTTP message as it arrived, and what became of it."""

    __tablename__ = "inbound"
    __table_args__ = (
        UniqueConstraint("source", "delivery_id"),
        Index("inbound_outcome", "outcome", "id"),
        Index("inbound_aside", "source", "error", "id", sqlite_where=sql("error <> ''")),
    )

    id: str = Field(primary_key=True)
    source: str
    delivery_id: str | None = None
    received_at: str
    remote: str
    content_sha256: str
    headers_json: str
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    outcome: str = "pending"
    error: str = ""
    processed_at: str | None = None
    alerts_json: str = "[]"
    incidents_json: str = "[]"


class OccurrenceRow(SQLModel, table=True):
    """One occurrence of one alert: how often it was sent, and how often it fired again after it had ended."""

    __tablename__ = "occurrence"

    fingerprint: str = Field(primary_key=True)
    starts_at: str = Field(primary_key=True)
    status: str
    last_seen: str
    notify_count: int = 1
    flap_count: int = 0
    incident: str = ""


class WorkRow(SQLModel, table=True):
    """Something due."""

    __tablename__ = "work"
    __table_args__ = (Index("work_at", "at"),)

    lane: str = Field(primary_key=True)
    stream: str = Field(primary_key=True)
    at: str
    turn: int = 1
    tries: int = 0


class SurfaceRow(SQLModel, table=True):
    """One message we posted, or are about to post; a record, never rebuilt."""

    __tablename__ = "surface"
    __table_args__ = (Index("surface_posted", "channel", "ts"),)

    stream: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    episode: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    cursor: int = 0
    channel: str = ""
    ts: str = ""
    state: str = "new"
    attempted_at: str | None = None
    digest: str = ""


class SaidRow(SQLModel, table=True):
    """Words of a person, erasable, referenced from the timeline by their salted hash."""

    __tablename__ = "said"

    ref: str = Field(primary_key=True)
    salt: str
    text: str


class PersonRow(SQLModel, table=True):
    """How a person is called: the timeline holds ids only, so a name can be erased."""

    __tablename__ = "person"

    id: str = Field(primary_key=True)
    name: str


class IncidentRow(SQLModel, table=True):
    """The list of incidents: a projection. `tail` is the id backwards, so that the last characters find it."""

    __tablename__ = "incident"
    __table_args__ = (Index("incident_open", "open", "id"), Index("incident_tail", "tail"))

    id: str = Field(primary_key=True)
    model: str
    environment: str
    opened_at: str
    open: int = 1
    tail: str


class EvidenceRow(SQLModel, table=True):
    """A file of evidence by its digest, erased when its time is over."""

    __tablename__ = "evidence"
    __table_args__ = (Index("evidence_stream", "stream"), Index("evidence_until", "keep_until"))

    digest: str = Field(primary_key=True)
    stream: str = Field(primary_key=True)
    keep_until: str
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class ArchiveRow(SQLModel, table=True):
    """The bodies of entries `first` to `last` of a stream at rest, packed; their rows have none."""

    __tablename__ = "archive"

    stream: str = Field(primary_key=True)
    first: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    last: int
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class MetaRow(SQLModel, table=True):
    """What the database says of itself: `format` is the number of the newest code that wrote it."""

    __tablename__ = "meta"

    name: str = Field(primary_key=True)
    value: str
