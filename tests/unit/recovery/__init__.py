"""Tests of `recovery`."""
