"""Verbs: one file per stretch of the corridor; read `path.py` first."""
