"""Traffic adapters, one system a file."""
