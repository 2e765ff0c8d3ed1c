"""Where data comes from, and which is restored."""
