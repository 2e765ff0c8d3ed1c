"""What the stages of the runbook are written with.

Facts → plan → run: `etcd`, `deephaven`, `quorum` and `snapshot` turn facts into lists of `command.Command`
without touching anything, `fleet` alone acts, `cluster` is one run. Start reading in `runbook/`.
"""

__version__ = "0.1.0"
