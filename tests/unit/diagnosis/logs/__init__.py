"""Tests of `diagnosis/logs`."""
