"""Pytest's side."""
