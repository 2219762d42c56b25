"""The first schema: every table, and the triggers that make the timeline append-only.

On SQLite a BEFORE INSERT trigger asks that a row follows the last one of its stream and of the whole timeline, so REPLACE cannot
put a row in the place of another, even where a connection leaves `recursive_triggers` off.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.store import postgres_schema

revision = "0001"
down_revision = None

REFUSE = "SELECT RAISE(ABORT, 'the timeline is append-only')"
TRIGGERS = (
    f"CREATE TRIGGER timeline_no_update BEFORE UPDATE ON timeline BEGIN {REFUSE}; END",
    f"CREATE TRIGGER timeline_no_delete BEFORE DELETE ON timeline BEGIN {REFUSE}; END",
    """CREATE TRIGGER timeline_follows BEFORE INSERT ON timeline
       WHEN NEW.seq <> coalesce((SELECT max(seq) FROM timeline), 0) + 1
         OR NEW.version <> coalesce((SELECT max(version) FROM timeline WHERE stream = NEW.stream), 0) + 1
         OR NEW.prev <> coalesce((SELECT digest FROM timeline WHERE stream = NEW.stream ORDER BY version DESC LIMIT 1), '')
       BEGIN SELECT RAISE(ABORT, 'an entry must follow the last one of its stream'); END""",
)


def upgrade() -> None:
    """Create everything."""
    _timeline()
    _inbox()
    _work_and_surfaces()
    _people()
    _projections()
    op.create_table("meta", _key("name"), _text("value"))
    op.execute("INSERT INTO meta(name, value) VALUES('format', '1')")


def _bytewise() -> sa.types.TypeEngine[str]:
    """Texts compare by their bytes, as SQLite compares them."""
    return sa.String().with_variant(sa.Text(collation="C"), "postgresql")


def _is_postgres() -> bool:
    return op.get_bind().dialect.name == "postgresql"


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, _bytewise(), nullable=null)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, _bytewise(), primary_key=True)


def _timeline() -> None:
    op.create_table(
        "timeline", _place(), _text("stream"), _number("version"),
        _number("epoch"), _text("at"), _text("type"), _number("schema"), sa.Column("body", sa.Text(), nullable=False),
        _text("prev"), _text("digest"), sa.UniqueConstraint("stream", "version"),
    )  # fmt: skip
    if _is_postgres():
        schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
        for statement in postgres_schema.statements(str(schema)):
            op.get_bind().execution_options(no_parameters=True).exec_driver_sql(statement)
    else:
        for trigger in TRIGGERS:
            op.execute(trigger)


def _place() -> sa.Column[int]:
    wide = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
    return sa.Column("seq", wide, primary_key=True)


def _inbox() -> None:
    op.create_table(
        "inbound", _key("id"), _text("source"), _text("delivery_id", null=True), _text("received_at"), _text("remote"),
        _text("content_sha256"), _text("headers_json"), sa.Column("body", sa.LargeBinary(), nullable=False),
        _text("outcome"), _text("error"), _text("processed_at", null=True), _text("alerts_json"),
        _text("incidents_json"), sa.UniqueConstraint("source", "delivery_id"),
    )  # fmt: skip
    op.create_index("inbound_outcome", "inbound", ["outcome", "id"])
    aside = sa.text("error <> ''")
    op.create_index("inbound_aside", "inbound", ["source", "error", "id"], sqlite_where=aside, postgresql_where=aside)
    op.create_table(
        "occurrence", _key("fingerprint"), _key("starts_at"), _text("status"), _text("last_seen"),
        _number("notify_count"), _number("flap_count"), _text("incident"),
    )  # fmt: skip


def _work_and_surfaces() -> None:
    op.create_table("work", _key("lane"), _key("stream"), _text("at"), _number("turn"), _number("tries"))
    op.create_index("work_at", "work", ["at"])
    op.create_table(
        "surface", _key("stream"), _key("kind"), sa.Column("episode", sa.Integer(), primary_key=True, autoincrement=False),
        _number("cursor"), _text("channel"), _text("ts"), _text("state"), _text("attempted_at", null=True),
        _text("digest"),
    )  # fmt: skip
    op.create_index("surface_posted", "surface", ["channel", "ts"])


def _people() -> None:
    op.create_table("said", _key("ref"), _text("salt"), _text("text"))
    op.create_table("person", _key("id"), _text("name"))


def _projections() -> None:
    op.create_table(
        "incident", _key("id"), _text("model"), _text("environment"), _text("opened_at"), _number("open"), _text("tail"),
    )  # fmt: skip
    op.create_index("incident_open", "incident", ["open", "id"])
    op.create_index("incident_tail", "incident", ["tail"])
