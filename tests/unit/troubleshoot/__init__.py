"""Tests of `troubleshoot`."""
