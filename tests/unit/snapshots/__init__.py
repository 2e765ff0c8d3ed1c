"""Tests of `snapshots`."""
