"""Folds for people; pure."""
