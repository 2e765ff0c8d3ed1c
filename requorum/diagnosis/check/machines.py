"""Checks of every machine: answers, lets us in, keeps time, has what it needs, reaches whom it must."""

from __future__ import annotations

from requorum.command import Command, look
from requorum.diagnosis.check.check import Check, Ruling, Seen, Verdict, ruled
from requorum.hosts import system
from requorum.recovery import equipment
from requorum.run.terms import Terms
from requorum.troubleshoot import sudoers

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # not in the PATH of everybody's login


def everyone(terms: Terms) -> list[str]:
    """Spares too: they may be needed tonight."""
    return [host for host in terms.inventory.hosts if host not in terms.gone]


def judge_answer(seen: Seen, host: str) -> Ruling:
    return ruled([seen.silent[host]] if host in seen.silent else [], "answers")


def ask_sudo(seen: Seen, host: str) -> list[Command]:
    return [sudoers.ask(host)]


def judge_sudo(seen: Seen, host: str) -> Ruling:
    """In, and for every command of the runbook: a login may have just these."""
    if host in seen.locked:
        return ruled([seen.locked[host]], "")
    listing = "".join(answer.stdout for answer in seen.answers_of("sudo", host))
    lacking = sudoers.missing(seen.terms.inventory, listing)
    return ruled([f"{len(lacking)} of the runbook's commands are not allowed"] if lacking else [], "lets us in")


def judge_clock(seen: Seen, host: str) -> Ruling:
    """Compensated for the way there and back: what the round trip leaves open must fit within the limit too."""
    clock, limit = seen.clocks[host], seen.terms.inventory.limits.clock_offset_seconds
    text = f"{abs(clock.middle):.3f} s {'ahead' if clock.middle >= 0 else 'behind'}, ± {clock.margin:.3f} s"
    if abs(clock.middle) - clock.margin > limit:
        return Ruling(Verdict.FAILS, text)
    if abs(clock.middle) + clock.margin > limit:
        return Ruling(Verdict.FAILS, f"cannot be told, the way there is too slow: {text}")
    return Ruling(Verdict.HOLDS, text)


# -- what it needs -----------------------------------------------------------------------------------------------


def ask_equipment(seen: Seen, host: str) -> list[Command]:
    """Programs that root can run; tools and accounts that there are not."""
    needs = equipment.needed(seen.terms)[host]
    script = f'PATH=$PATH:{SBIN}; for tool; do command -v "$tool" >/dev/null || printf "%s\\n" "$tool"; done'
    questions = [look(host, "sh", "-c", script, "sh", *needs.tools, why="which tools are missing", root=False)]
    if needs.programs:
        find = ("find", "-L", *needs.programs, "-maxdepth", "0", "-perm", "/111", "-printf", r"%p\n")
        questions.append(look(host, *find, why="which of the vendor's commands are there"))
    return questions + [look(host, "id", "-u", name, why="the account", root=False) for name in needs.accounts]


def judge_equipment(seen: Seen, host: str) -> Ruling:
    needs = equipment.needed(seen.terms)[host]
    tools, *rest = seen.answers_of("commands", host)
    there = rest.pop(0).stdout.splitlines() if needs.programs else []
    missing = [path for path in needs.programs if path not in there]
    missing += tools.stdout.split()
    missing += [f"the account {name}" for name, answer in zip(needs.accounts, rest, strict=True) if answer.code]
    names = [*(path.rsplit("/", 1)[-1] for path in needs.programs), *needs.tools, *needs.accounts]
    return ruled([f"missing: {', '.join(missing)}"] if missing else [], ", ".join(names))


# -- the network -------------------------------------------------------------------------------------------------


def ask_ports(seen: Seen, host: str) -> list[Command]:
    """Members reach each other's peer port, Deephaven hosts every member's client port."""
    settings, wanted = seen.terms.inventory.etcd, []
    for member in seen.terms.old_members:
        if host in seen.terms.etcd_hosts and member.host != host:
            wanted.append((member.ip, settings.peer_port))
        if host in seen.terms.deephaven_hosts:
            wanted.append((member.ip, settings.client_port))
    return [command for ip, port in wanted for command in system.ask_reach(host, ip, port).commands]


def judge_ports(seen: Seen, host: str) -> Ruling:
    problems, good = [], []
    for answer in seen.answers_of("ports", host):
        ip, port = answer.command.argv[-2:]
        reach = system.ask_reach(host, ip, int(port)).understand([answer])
        if reach == "connected":
            good.append(f"{ip}:{port}")
        else:
            problems.append(f"{ip}:{port} {'refuses' if reach == 'refused' else 'gives no answer'}")
    return ruled(problems, f"reaches {', '.join(good)}" if good else "a single member has nobody to reach")


CHECKS = (
    Check(
        "ssh",
        "it answers",
        "check the network, ssh and the host itself; if the machine is fenced or destroyed, say so with --gone=HOST",
        everyone,
        judge_answer,
        always=True,
    ),
    Check(
        "sudo",
        "it takes commands as root without asking for a password (sudo -n)",
        "give the login NOPASSWD for the runbook's commands (docs/preparing.md#sudo); "
        "pytest runbook/troubleshoot/sudoers --hosts=NAME names those that are missing",
        everyone,
        judge_sudo,
        ask_sudo,
    ),
    Check(
        "clock",
        "its clock is within {i.limits.clock_offset_seconds:g} s of this machine's",
        "look at its time service (timedatectl), or at this machine's own where all hosts are off alike",
        everyone,
        judge_clock,
    ),
    Check(
        "commands",
        "it has the vendor's commands, the tools and the accounts that a recovery needs there",
        "install them there, or correct deephaven.commands in the inventory",
        lambda terms: terms.everyone,
        judge_equipment,
        ask_equipment,
    ),
    Check(
        "ports",
        "it reaches the members' ports that it needs",
        "start the member that refuses; where there is no answer, look at the network and its filters between the two",
        lambda terms: terms.everyone,
        judge_ports,
        ask_ports,
    ),
)
