"""The lab: a real etcd cluster with Deephaven stand-ins, in which the recovery is rehearsed.

Nothing here is used by `runbook/` or `requorum/`; the lab's own front door is `compose/lab.py`.
"""
