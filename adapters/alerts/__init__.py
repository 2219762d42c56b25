"""Alert sources, one sender a file."""
