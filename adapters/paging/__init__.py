"""Pagers: who is on call now, one system a file."""
