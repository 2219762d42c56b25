"""Engines that run due work."""
