"""Tests of `recovery/proofs`."""
