"""What the stages of the runbook are written with.

Facts → plan → run: `etcd`, `deephaven`, `quorum` and `snapshot` turn facts into lists of `command.Command`
without touching anything, `fleet` alone acts, `cluster` holds one run together. Start reading in `runbook/`.
"""
