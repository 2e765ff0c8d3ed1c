"""Unit tests of requorum/verify."""
