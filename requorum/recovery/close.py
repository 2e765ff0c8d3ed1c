"""The end of a run that people finished by hand: whose cluster runs, what notes that it lives, who knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from requorum.cluster.authentication import Authentication
from requorum.hosts.fleet import Machine
from requorum.recovery import trial
from requorum.refusal import Disproved, NothingToDo
from requorum.run import facts, held, history
from requorum.run.history import Birth, Told
from requorum.run.marker import Marker, Phase
from requorum.run.run import Run


def nothing_unfinished(hosts: str) -> NothingToDo:
    return NothingToDo(
        "the hosts",
        "carry no mark of an unfinished run",
        f"nothing is left to close; what is not ready for a loss says: pytest runbook --hosts={hosts} --check",
    )


def the_cluster_is_this_runs(run: Run) -> None:
    """A majority of its members have the run's configuration; one that cannot be read is not the run's."""
    found = facts.old_configs(run, run.terms.member_hosts)
    others = {host: config.token if config else "" for host, config in found.items()}
    others = {host: token for host, token in others.items() if token != run.mark.token}
    majority = 2 * len(others) < len(found)
    if majority and others:
        run.note(f"not of this run, or not readable: the configuration of {', '.join(others)}")
    wrong = {host: f"{token or 'none that can be read'}, not {run.mark.token}" for host, token in others.items()}
    run.settle(
        f"the configuration installed on a majority of the members is that of run {run.mark.run}",
        {host: None if majority else wrong.get(host) for host in found},
        "the running cluster is not this run's. If this run shall not be carried on, give it up: "
        "docs/night.md#giving-a-run-up",
    )


def roles(run: Run) -> tuple[str, ...]:
    """Every role that Deephaven logs in with now, from the client configuration of the configuration server."""
    host, directory = run.terms.configuration_server, run.inventory.deephaven.client_config
    found = tuple(sorted(facts.passwords(run, directory, [host])[host]))
    if not found and not facts.endpoints(run, [host])[host]:
        claim = f"a role is configured below {directory}"
        raise Disproved(claim, {host: "no role"}, "install the client configuration there, then run again")
    return found


def authentication(run: Run) -> Authentication:
    """How the run's own trial found it; on where it held none."""
    asked = trial.ask_note(run.terms, run.mark.snapshot, trial.prefixes(run.terms))
    (found,) = run.ask({"trial": asked}).values()
    return found.authentication if found else Authentication()


def alive(mark: Marker, births: Mapping[str, Birth]) -> Birth:
    """The birth of this run's cluster, as of one that is done. Where it is not known, it has no known parent."""
    known = births.get(mark.token)
    born = known or Birth(mark.token, mark.run, mark.phase, mark.snapshot, None, 0)
    return replace(born, phase=Phase.DONE)


def close(run: Run, revision: int | None = None) -> None:
    """Marks the run as done on every host, and its cluster as one that lives. `revision`: of its data."""
    cluster = run.inventory.cluster
    told = run.ask({host: history.ask_births(host, cluster) for host in run.terms.everyone})
    births = held.births(told, run.terms.configuration_server)
    born = alive(run.mark, births)
    if revision is not None:
        born = history.as_it_is(born, revision, run.inventory.etcd.revision_bump)
    run.advance(replace(run.mark, phase=Phase.DONE), born)


def every_host_knows_it(run: Run) -> None:
    """The mark says done, and the cluster's birth that it lives."""

    def probe(machine: Machine) -> str | None:
        return unaware(machine.ask(history.ask_runs(machine.name, run.inventory.cluster)), run.mark)

    run.prove(run.terms.everyone, f"run {run.mark.run} is over, and its cluster lives", probe, "run the same again")


def unaware(told: Told, mark: Marker) -> str | None:
    """What a host does not know of the end of this run; None if it knows all."""
    found = told.mark
    if not isinstance(found, Marker) or found.run != mark.run or not found.closed:
        return f"the mark {found}"
    born = history.furthest(told.births).get(mark.token)
    return None if born and born.alive else "no record that its cluster lives"
