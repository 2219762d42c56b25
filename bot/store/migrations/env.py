"""Run migrations on the connection `bot.store.schema` hands over, each in one transaction with its version."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from bot.store import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    include_name=lambda name, kind, _: kind != "table" or name in SQLModel.metadata.tables,
    transactional_ddl=True,
)
__all__ = ["tables"]  # importing them fills the metadata
with context.begin_transaction():
    context.run_migrations()
