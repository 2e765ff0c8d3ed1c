"""Looks at everything, changes nothing."""
