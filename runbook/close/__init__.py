"""Closing a run whose cluster people finished by hand: collected only when it is named."""
