"""The nightly proof: the newest backup booted unseen, with production's own passwords. It changes nothing."""
