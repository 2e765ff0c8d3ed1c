"""Tests of `hosts`."""
