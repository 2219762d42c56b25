"""Format 3: evidence of incidents, and entries about it and about registries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table; it can be read by stream, and erased by time."""
    text = sa.String().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "evidence",
        sa.Column("digest", text, primary_key=True),
        sa.Column("stream", text, primary_key=True),
        sa.Column("keep_until", text, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    op.create_index("evidence_stream", "evidence", ["stream"])
    op.create_index("evidence_until", "evidence", ["keep_until"])
    op.execute("UPDATE meta SET value='3' WHERE name='format'")
