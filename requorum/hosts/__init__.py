"""Reaching machines, and what any Linux says."""
