"""The check before a change: collected in place of the recovery by `pytest runbook --check`."""
