"""Alembic migrations of the site's database."""
