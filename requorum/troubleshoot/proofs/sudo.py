"""Proofs about sudo: that it asks no password, and that it allows every command of the list as it is spelled."""

from __future__ import annotations

from requorum.command import look
from requorum.hosts.fleet import Machine
from requorum.run.run import Run
from requorum.troubleshoot import sudoers

FILE = "/etc/sudoers.d/requorum"


def the_login_answers(run: Run) -> None:
    """Reached by ssh; nothing is asked of sudo yet."""

    def probe(machine: Machine) -> str | None:
        answer = machine.ask(look(machine.name, "true", why="the login works", root=False))
        return None if answer.code == 0 else answer.words

    run.prove(run.terms.everyone, "the login works", probe, "check ssh and the login's shell")


def listings(run: Run) -> dict[str, str]:
    """host → what `sudo -l` says there, without a password; proves that it says anything."""
    answers = {r.command.host: r for r in run.ask([sudoers.ask(host) for host in run.terms.everyone])}
    run.settle(
        "sudo tells this login what it may do, without a password",
        {host: None if answer.code == 0 else answer.words for host, answer in answers.items()},
        f"give the login NOPASSWD there; a whole file for {FILE}: python -m requorum.sudoers INVENTORY LOGIN",
    )
    return {host: answer.stdout for host, answer in answers.items()}


def every_command_is_allowed(run: Run, found: dict[str, str]) -> None:
    """One row for each command, and the lines that are missing at the end of the run."""
    login = run.inventory.transport.user or "LOGIN"
    lacking = {host: sudoers.missing(run.inventory, text) for host, text in found.items()}
    run.table = [
        {
            "command": need.arguments,
            "verdict": f"not on {', '.join(hosts)}"
            if (hosts := [host for host, needs in lacking.items() if need in needs])
            else "allowed",
        }
        for need in sudoers.needed(run.inventory)
    ]
    groups: dict[tuple[sudoers.Need, ...], list[str]] = {}
    for host, needs in lacking.items():
        groups.setdefault(needs, []).append(host)
    for needs, hosts in groups.items():
        if needs:
            run.last_words += [f"Missing on {', '.join(hosts)}:", *(need.line(login) for need in needs)]
    run.settle(
        "sudo -n allows every command of the runbook as it is spelled",
        {host: f"{len(needs)} not allowed" if needs else None for host, needs in lacking.items()},
        f"add the lines below to {FILE} there, with `visudo -f {FILE}`",
    )
