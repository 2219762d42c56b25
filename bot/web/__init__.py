"""HTTP: hooks, health, metrics, pages, API."""
