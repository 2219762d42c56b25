"""Format 2: entries about who may and when; what /metrics counts from the timeline is indexed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the index, and say that entries of these kinds may follow."""
    counted = sa.text("type IN ('glass.broken','approval.refused')")
    op.create_index("timeline_counted", "timeline", ["type"], sqlite_where=counted, postgresql_where=counted)
    op.execute("UPDATE meta SET value='2' WHERE name='format'")
