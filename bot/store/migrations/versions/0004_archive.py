"""Format 4: streams at rest, whose bodies stand packed beside the timeline; their rows may lose the body and nothing else."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.store import postgres_schema

revision = "0004"
down_revision = "0003"

SAME = " AND ".join(
    f"NEW.{name} IS OLD.{name}"
    for name in ("seq", "stream", "version", "epoch", "at", "type", "schema", "prev", "digest")
)
PACKED = "EXISTS (SELECT 1 FROM archive WHERE stream = OLD.stream AND OLD.version BETWEEN first AND last)"
TRIGGERS = (
    "DROP TRIGGER timeline_no_update",
    f"""CREATE TRIGGER timeline_no_update BEFORE UPDATE ON timeline WHEN NOT (NEW.body = '' AND {SAME} AND {PACKED})
        BEGIN SELECT RAISE(ABORT, 'the timeline is append-only'); END""",
    "CREATE TRIGGER archive_no_update BEFORE UPDATE ON archive BEGIN SELECT RAISE(ABORT, 'the archive is append-only'); END",
    "CREATE TRIGGER archive_no_delete BEFORE DELETE ON archive BEGIN SELECT RAISE(ABORT, 'the archive is append-only'); END",
)


def upgrade() -> None:
    """Add the table, and let rows whose bodies it holds lose theirs."""
    text = sa.String().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "archive",
        sa.Column("stream", text, primary_key=True),
        sa.Column("first", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.get_bind().execution_options(no_parameters=True).exec_driver_sql(postgres_schema.ARCHIVE)
    else:
        for trigger in TRIGGERS:
            op.execute(trigger)
    op.execute("UPDATE meta SET value='4' WHERE name='format'")
