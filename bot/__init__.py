"""Lastgood: puts a model back to its last good version from one approved click, and proves it."""
