"""The nightly backup: collected only when it is named."""
