"""Tests of `diagnosis/check`."""
