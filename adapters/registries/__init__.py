"""Registries that know a model's versions: whether an artefact exists, what it is, and what was found out about it."""
