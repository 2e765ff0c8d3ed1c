"""Tests of `recovery/undo`."""
