"""Proofs of a rollback: what it may start from, that the new cluster is away, that every host is as it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from requorum.hosts import systemd
from requorum.hosts.fleet import Machine
from requorum.recovery import ahead
from requorum.recovery.undo import baseline, rollback, state
from requorum.recovery.undo.baseline import Record
from requorum.refusal import remedy
from requorum.run import facts
from requorum.run.run import Run

STATE_SECONDS = 60  # a unit that starts or stops, a process that monit brings back


def every_host_has_a_record(run: Run, found: Mapping[str, Record | None]) -> None:
    run.settle(
        f"what the host was baseline run {run.mark.run} is recorded in {baseline.place(run.terms)}",
        rollback.without_record(run.mark, found),
        "a machine that took no part in the run since it was gone: say so with --gone=HOST; else go back there by hand",
    )


def there_is_room_aside(run: Run, paths: Mapping[str, Iterable[str]]) -> None:
    """Only what lies on another disk than the run's directory needs room there."""
    disks = state.disks(run, paths)
    run.settle(
        f"has room in {run.terms.place()} for what is set aside",
        {host: disk.lacks for host, disk in disks.items()},
        "make room there, then run the same again",
    )


def no_new_etcd_runs(run: Run, hosts: Iterable[str]) -> None:
    """Neither the unit nor anybody on its ports, on the hosts that are not as they were."""
    settings = run.inventory.etcd

    def probe(machine: Machine) -> str | None:
        unit = machine.ask(systemd.ask_unit(machine.name, settings.unit))
        left = [f"{settings.unit} is {unit.active}"] if unit.running else []
        ports = {s.rsplit(":", 1)[-1] for s in machine.see.socket.get_listening_sockets()}
        left += [f"port {port} is open" for port in (settings.client_port, settings.peer_port) if str(port) in ports]
        return ", ".join(left) or None

    run.prove(
        hosts,
        f"no etcd of the new cluster runs, ports {settings.client_port} and {settings.peer_port} are closed",
        probe,
        "find out what started it there (another unit, monit, a shell) and stop it; then run the same again",
        within=15,
    )


def no_data_is_left(run: Run, paths: Mapping[str, tuple[str, ...]]) -> None:
    found = facts.files(run, dict(paths))
    run.settle(
        "no member holds data of the new cluster",
        {host: f"still there: {', '.join(left)}" if left else None for host, left in found.items()},
        "find out who puts it there; then run the same again",
    )


def nothing_brought_is_left(run: Run, records: Mapping[str, Record]) -> None:
    found = state.differences(run, records)
    run.settle(
        f"nothing that run {run.mark.run} brought is in place",
        {host: f"still there: {', '.join(d.brought)}" if d.brought else None for host, d in found.items()},
        "find out who puts it there; then run the same again",
    )


def nothing_restored_is_left(run: Run, hosts: Iterable[str]) -> None:
    members = [host for host in run.terms.member_hosts if host in hosts]
    left = state.restored_ahead(run, members)
    run.settle(
        "nothing that the run restored before its commit is left",
        {host: f"still there: {ahead.place(run.terms)}" if host in left else None for host in members},
        "find out who puts it there; then run the same again",
    )


def every_host_is_as_before(run: Run, records: Mapping[str, Record]) -> None:
    """Paths, modes, owners, links and contents, and whether the unit is enabled."""
    found = state.differences(run, records)
    unit = run.inventory.etcd.unit
    units = {}
    for host, now in facts.units(run, records).items():
        enabled, was = now.enabled, records[host].enabled
        units[host] = f"{unit} is {enabled or 'not installed'}, not {was or 'not installed'}" if enabled != was else ""
    run.settle(
        "files, modes, owners, links and units are as before the run",
        {host: "; ".join(filter(None, (str(d), units[host]))) or None for host, d in found.items()},
        f"compare with {baseline.place(run.terms)} on that host and mend it; then run the same again",
    )


def etcd_is_as_before(run: Run, records: Mapping[str, Record]) -> None:
    unit = run.inventory.etcd.unit

    def probe(machine: Machine) -> str | None:
        running = machine.ask(systemd.ask_unit(machine.name, unit)).running
        was = records[machine.name].running
        return f"it {'runs' if running else 'does not run'}" if running != was else None

    run.prove(
        records,
        f"{unit} runs where it ran before, and nowhere else",
        probe,
        remedy("see what etcd says there, then run the same again", systemd.journal(unit)),
        within=STATE_SECONDS,
    )


def deephaven_is_as_before(run: Run, records: Mapping[str, Record]) -> None:
    """Supervised or not, where that was known. Whether its processes get well is the old cluster's matter."""
    known = [host for host in run.terms.deephaven_hosts if host in records and records[host].deephaven is not None]

    def probe(machine: Machine) -> str | None:
        on = machine.ask(baseline.ask_supervised(machine.name, run.inventory))
        was = records[machine.name].deephaven
        return None if on == was else f"it is {'on' if on else 'off' if on is False else 'not to be understood'}"

    run.prove(
        known,
        "Deephaven is on where it was on, and nowhere else",
        probe,
        f"look at `{run.inventory.deephaven.commands.monit_status}` there; then run the same again",
        within=STATE_SECONDS,
    )
