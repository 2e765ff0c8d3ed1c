"""The proof that the new cluster is what was tried (Step 5): hash, counts, users and roles of the trial of Step 2."""

from __future__ import annotations

from requorum.cluster import deephaven, etcd, etcdctl
from requorum.hosts.fleet import Machine
from requorum.recovery.trial import Trial
from requorum.run.marker import Phase
from requorum.run.run import Run


def it_is_what_the_trial_found(run: Run, trial: Trial | None) -> None:
    """All as of the trial's revision, so that later writes do not count. Nothing is asked once Deephaven may write:
    it may have compacted that revision, or changed users."""
    if trial is None or run.mark.phase >= Phase.POWERING_ON:
        run.note("proven before Deephaven was turned on, by the run that is carried on")
        return
    at = f"--rev={trial.revision}"

    def asked(machine: Machine, *arguments: str, why: str) -> str:
        return machine.ask(deephaven.etcdctl(run.inventory, *arguments, "-w", "json", why=why)).stdout

    def probe(machine: Machine) -> str | None:
        wrong = []
        try:
            hashes = etcdctl.parse_hashes(
                asked(machine, "endpoint", "hashkv", "--cluster", at, why="hash at the trial's revision")
            )
            wrong += [f"{e}: hash {h}" for e, (_, h) in sorted(hashes.items()) if h != trial.hash]
            for prefix, count in trial.counts.items():
                query = ("get", prefix, "--prefix", "--keys-only", "--limit=1", at)
                found = etcdctl.parse_count(
                    asked(machine, *query, why=f"number of keys under {prefix or 'everything'}")
                )
                wrong += [f"{found} keys under {prefix or 'everything'}"] if found != count else []
            for what, names in (("user", trial.users), ("role", trial.roles)):
                there = etcdctl.parse_names(asked(machine, what, "list", why=f"all {what}s"), f"{what}s")
                wrong += [f"{what}s {', '.join(there)}"] if there != names else []
        except etcd.EtcdError as error:
            return error.what
        return "; ".join(wrong) or None

    counts = ", ".join(f"{count:,} under {prefix or 'everything'}" for prefix, count in trial.counts.items())
    run.prove(
        (run.terms.configuration_server,),
        f"as the trial: hash {trial.hash} at revision {trial.revision:,}, keys {counts}, "
        f"users {', '.join(trial.users)}, roles {', '.join(trial.roles)}",
        probe,
        "do not turn Deephaven on: this is not the data that was tried; retry the restore",
        within=5,
    )
