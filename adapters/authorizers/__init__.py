"""Second opinions an organisation adds: each can only deny."""
