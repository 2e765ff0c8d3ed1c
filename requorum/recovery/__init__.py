"""The six steps."""
