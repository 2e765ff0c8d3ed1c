"""The nightly proof of the newest backup: collected only when it is named."""
