"""Debug logging: the members' configurations as they lie there, and what must hold after it was switched."""

from __future__ import annotations

import re
from collections.abc import Sequence

from requorum.cluster import etcd
from requorum.cluster.quorum import MemberFacts
from requorum.command import look
from requorum.hosts import system, systemd
from requorum.hosts.fleet import Machine
from requorum.run.run import Run
from requorum.troubleshoot import debug_logging, restarts
from requorum.troubleshoot.debug_logging import Config

LINES_SECONDS = 20  # a member that has just started says something at once, a lonely one with its next election


def configurations(run: Run, hosts: Sequence[str]) -> dict[str, Config]:
    """Each host's configuration to the byte. Raises `EtcdError` for one that cannot be read or has no version."""
    cluster_name, settings = run.inventory.cluster, run.inventory.etcd
    units = {r.command.host: r.stdout for r in run.ask([systemd.ask(host, settings.unit) for host in hosts])}
    programs = {host: systemd.parse(text, host, settings.unit).argv[0] for host, text in units.items()}
    paths, contents, versions = (
        {r.command.host: r for r in run.ask(questions)}
        for questions in (
            [look(h, "readlink", "-f", settings.config, why="where the configuration lies", root=True) for h in hosts],
            [debug_logging.ask_content(host, settings.config) for host in hosts],
            [look(host, program, "--version", why="version of etcd", root=False) for host, program in programs.items()],
        )
    )
    found = {}
    for host in hosts:
        if contents[host].code != 0:
            raise etcd.EtcdError(f"{host}:{settings.config}", f"cannot be read: {contents[host].words}", "restore it")
        version = re.search(r"etcd Version: (\S+)", versions[host].stdout)
        if not version:
            raise etcd.EtcdError(host, f"{programs[host]} says no version of etcd", "look: systemctl cat the unit")
        path = paths[host].stdout.strip()
        content = debug_logging.parse_content(contents[host].stdout, f"{host}:{path}")
        kept = debug_logging.kept_at(cluster_name, path)
        sums, due = run.ask(
            [look(host, "sha256sum", kept, why="the original that is kept"), system.ask_files(host, f"{kept}.due")]
        )
        found[host] = Config(
            host,
            path,
            content,
            sums.stdout.split(" ")[0].lstrip("\\") if sums.code == 0 else "",
            due=bool(system.parse_files(due.stdout)),
            version=version[1],
        )
    return found


def the_journal_shows_it(run: Run, sheets: Sequence[MemberFacts], off: bool) -> None:
    """Debug lines since the member's start, or none; a member that is left stopped has nothing to say."""

    unit = run.inventory.etcd.unit

    def probe(machine: Machine) -> str | None:
        start = restarts.parse_invocation(machine.ask(restarts.ask_invocation(machine.name, unit)).stdout)
        answer = machine.ask(debug_logging.ask_journal(machine.name, start))
        lines = debug_logging.debug_lines(answer.stdout)
        if off:
            return f"{len(lines)} debug lines, the last: {lines[-1][:120]}" if lines else None
        return None if lines else f"none in {len(answer.stdout.splitlines())} lines; log-outputs may lead elsewhere"

    run.prove(
        [sheet.member.host for sheet in sheets if sheet.unit and sheet.unit.running],
        "no debug line of etcd in the journal since its start" if off else "debug lines of etcd are in the journal",
        probe,
        "look at the member's journal and its configuration",
        within=0 if off else LINES_SECONDS,
    )


def the_configuration_is_right(run: Run, hosts: Sequence[str], off: bool) -> None:
    """On: one line away from the original that is kept. Off: byte for byte the original, where one is kept."""
    findings: dict[str, str | Exception | None] = {}
    for host, config in configurations(run, hosts).items():
        as_it_was = debug_logging.switched_off(config.text).encode()
        switched = debug_logging.is_on(config.text)
        if debug_logging.wanted_text(config, off) != config.text:
            findings[host] = f"debug logging is {'on' if switched else 'off'} in {config.path}"
        elif switched and config.kept != debug_logging.digest(as_it_was):
            findings[host] = f"{config.path} without its debug line is not the original that is kept"
        else:
            findings[host] = None
            run.note(f"{host}: {config.path}, SHA-256 {debug_logging.digest(config.content)}")
    run.settle(
        "the configuration is as it was, to the byte" if off else "one line of the configuration differs from before",
        findings,
        f"the original is kept in {debug_logging.place(run.inventory.cluster)} on the member",
    )
