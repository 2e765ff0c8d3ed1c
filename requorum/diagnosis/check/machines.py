"""Checks of every machine: answers, lets us in, keeps time, has what it needs, reaches whom it must."""

from __future__ import annotations

from requorum.command import look
from requorum.diagnosis.check.check import Check, Questions, Ruling, Seen, Verdict, ruled
from requorum.hosts import probe, system
from requorum.hosts.probe import Probed
from requorum.hosts.question import Question
from requorum.hosts.sudo import is_sudo
from requorum.recovery import equipment
from requorum.run.terms import Terms
from requorum.troubleshoot import sudoers


def everyone(terms: Terms) -> list[str]:
    """Spares too: they may be needed tonight."""
    return [host for host in terms.inventory.hosts if host not in terms.gone]


def judge_answer(seen: Seen, host: str) -> Ruling:
    if host in seen.silent:
        return Ruling(Verdict.FAILS, seen.silent[host], seen.remedies.get(host, ""))
    odd = probed(seen, host).oddities() if host not in seen.locked else []
    return ruled([], "; ".join(("answers", *filter(None, [seen.logins.get(host)]), *odd)))


def ask_sudo(seen: Seen, host: str) -> Questions:
    return {} if host in seen.locked else {"": probe.ask_host(host, seen.terms.inventory.transport.as_root)}


def probed(seen: Seen, host: str) -> Probed:
    found = seen.known("sudo", host).get("", Probed())
    assert isinstance(found, Probed)
    return found


def judge_sudo(seen: Seen, host: str) -> Ruling:
    """In, and for every command of the runbook: a login may have just these."""
    if host in seen.locked:
        return ruled([seen.locked[host]], "")
    found = seen.values("sudo", host)[""]
    lacking = sudoers.lacked(seen.terms.inventory, found, seen.scale)
    if found.sudo.hinders:
        return ruled([found.sudo.hinders], "")
    become = seen.terms.inventory.transport.as_root
    if isinstance(lacking, str) and not is_sudo(become):
        return ruled([], f"lets us in; which commands it allows {lacking}")
    if isinstance(lacking, str):
        return ruled([f"sudo does not tell what it allows: {lacking}"], "")
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


def ask_equipment(seen: Seen, host: str) -> Questions:
    """What is missing, a question a kind: programs that root can run, tools, accounts."""
    needs = equipment.needed(seen.terms)[host]
    questions = {"tools": system.ask_missing(host, needs.tools)}
    if needs.programs:
        questions["programs"] = _ask_programs(host, needs.programs)
    return questions | {name: _ask_account(host, name) for name in needs.accounts}


def _ask_programs(host: str, programs: tuple[str, ...]) -> Question[list[str]]:
    find = ("find", "-L", *programs, "-maxdepth", "0", "-perm", "/111", "-printf", r"%p\n")
    return Question(
        look(host, *find, why="which of the vendor's commands are there"),
        lambda answer: [path for path in programs if path not in answer.stdout.splitlines()],
    )


def _ask_account(host: str, name: str) -> Question[list[str]]:
    asked = system.ask_uid(host, name, why="the account")
    return Question(asked.command, lambda answer: [f"the account {name}"] if asked.understand([answer]) is None else [])


def judge_equipment(seen: Seen, host: str) -> Ruling:
    needs = equipment.needed(seen.terms)[host]
    missing = [what for absent in seen.values("commands", host).values() for what in absent]
    names = [*(path.rsplit("/", 1)[-1] for path in needs.programs), *needs.tools, *needs.accounts]
    return ruled([f"missing: {', '.join(missing)}"] if missing else [], ", ".join(names))


def ask_root_tools(seen: Seen, host: str) -> Questions:
    """What root does not find, and what systemd does not."""
    path, needs = root_path(seen, host), equipment.needed(seen.terms)[host]
    questions = {"": system.ask_missing(host, (*equipment.AS_ROOT, *needs.tools), path)}
    if host in seen.terms.member_hosts:
        questions["unit"] = system.ask_missing(host, equipment.IN_UNIT, equipment.UNIT_PATH)
    return questions


def root_path(seen: Seen, host: str) -> str:
    return probed(seen, host).sudo.path


def judge_root_tools(seen: Seen, host: str) -> Ruling:
    found, path = seen.values("secure_path", host), root_path(seen, host)
    problems = equipment.unfound(path, found[""], found.get("unit", ()))
    return ruled(problems, path or "not set: root has the login's PATH")


# -- the network -------------------------------------------------------------------------------------------------


def ask_ports(seen: Seen, host: str) -> Questions:
    """Members reach each other's peer port, Deephaven hosts every member's client port."""
    settings, wanted = seen.terms.inventory.etcd, []
    for member in seen.terms.old_members:
        if host in seen.terms.etcd_hosts and member.host != host:
            wanted.append((member.ip, settings.peer_port))
        if host in seen.terms.deephaven_hosts:
            wanted.append((member.ip, settings.client_port))
    return {(ip, port): system.ask_reach(host, ip, port) for ip, port in wanted}


def judge_ports(seen: Seen, host: str) -> Ruling:
    reach = seen.values("ports", host)
    good = [f"{ip}:{port}" for (ip, port), how in reach.items() if how == "connected"]
    words = {"refused": "refuses", "silent": "gives no answer"}
    problems = [f"{ip}:{port} {words[how]}" for (ip, port), how in reach.items() if how in words]
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
        "secure_path",
        "root finds the tools that the runbook runs as root, and so does systemd on new members",
        "install them, or add their directory to secure_path in sudoers there (docs/preparing.md#sudo)",
        lambda terms: terms.everyone,
        judge_root_tools,
        ask_root_tools,
        round=2,
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
