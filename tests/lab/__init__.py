"""Real recoveries: the runbook as an operator runs it, against real etcd on real systemd hosts."""
