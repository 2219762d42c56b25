"""Metric sources, one system a file."""
