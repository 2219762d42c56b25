"""Foreign systems: folder = port, file = system = name in the configuration."""
