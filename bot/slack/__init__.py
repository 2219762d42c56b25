"""Slack: the app, the card, the clicks, the commands."""
