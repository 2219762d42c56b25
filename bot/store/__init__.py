"""The timeline and the records beside it, on SQLite."""
