"""What our dockerd and its nodes change in the machine, recorded before and undone after it.

dockerd leaves on its end: the bridge docker0, its chains and rules in iptables, the forward
policy, IP forwarding and empty control groups. Only what names docker is removed, since others
may have added rules in the meantime. Standard library only; used by `compose/engine.py`.
"""

import contextlib
import json
import shlex
import shutil
import subprocess
from pathlib import Path

IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
# Each node's systemd takes about six inotify instances of root's, and a kernel's default of 128 ends at 20 nodes:
# the next one does not boot. Raised while our engine runs.
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_WANTED = 1024
BRIDGE = "docker0"
CGROUPS = Path("/sys/fs/cgroup")
TABLES = ("filter", "nat")
COMMANDS = ("iptables", "ip6tables")


def _output(argv: list[str]) -> str:
    """What a command prints; empty where it is missing or fails."""
    with contextlib.suppress(OSError):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else ""
    return ""


def _forward_policy(iptables: str) -> str:
    """The policy of the FORWARD chain, "ACCEPT" where it cannot be asked."""
    for line in _output([iptables, "-w", "-t", "filter", "-S", "FORWARD"]).splitlines():
        if line.startswith("-P FORWARD "):
            return line.split()[2]
    return "ACCEPT"


def record(path: Path) -> None:
    """Write down what dockerd is about to change and cannot be told from its names later.

    What a dockerd that was killed has recorded stays: its traces are still there.
    """
    if path.exists():
        return
    before = {
        "ip_forward": IP_FORWARD.read_text(encoding="utf-8").strip(),
        "inotify": INOTIFY.read_text(encoding="utf-8").strip(),
        **{iptables: _forward_policy(iptables) for iptables in COMMANDS},
    }
    path.write_text(json.dumps(before), encoding="utf-8")
    with contextlib.suppress(OSError):
        INOTIFY.write_text(str(max(INOTIFY_WANTED, int(before["inotify"]))), encoding="utf-8")


def remove(path: Path) -> str:
    """Undo what dockerd left; returns what could not be removed, with what to do, or ""."""
    before: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):
        before = json.loads(path.read_text(encoding="utf-8"))
    for iptables in filter(shutil.which, COMMANDS):
        for table in TABLES:
            _remove_rules(iptables, table)
        policy = before.get(iptables, "ACCEPT")
        _output([iptables, "-w", "-t", "filter", "-P", "FORWARD", policy])
    _output(["ip", "link", "delete", BRIDGE])
    for group in (CGROUPS / "docker", *CGROUPS.glob("*/docker")):
        _remove_empty(group)
    with contextlib.suppress(OSError):
        if "ip_forward" in before:
            IP_FORWARD.write_text(before["ip_forward"], encoding="utf-8")
        if "inotify" in before:
            INOTIFY.write_text(before["inotify"], encoding="utf-8")
    return _remains()


def _remove_empty(group: Path) -> None:
    """Remove a control group of the engine with its children; one that has processes stays."""
    if not group.is_dir():
        return
    for child in group.iterdir():
        if child.is_dir() and not child.is_symlink():
            _remove_empty(child)
    with contextlib.suppress(OSError):
        group.rmdir()


def _remove_rules(iptables: str, table: str) -> None:
    """Delete the rules that name docker's chains or bridge, then the chains."""
    base = [iptables, "-w", "-t", table]
    lines = _output([*base, "-S"]).splitlines()
    rules = [shlex.split(line) for line in lines if line.startswith("-A ")]
    chains = [line.split()[1] for line in lines if line.startswith("-N DOCKER")]
    for rule in rules:
        if any(word.startswith("DOCKER") or word == BRIDGE for word in rule):
            _output([*base, "-D", *rule[1:]])
    for chain in chains:
        _output([*base, "-F", chain])
    for chain in chains:
        _output([*base, "-X", chain])


def _remains() -> str:
    """What is still there of dockerd, and the command that removes it."""
    left = []
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        left.append(f"bridge {BRIDGE} (remove it: ip link delete {BRIDGE})")
    for iptables in filter(shutil.which, COMMANDS):
        for table in TABLES:
            if "-N DOCKER" in _output([iptables, "-w", "-t", table, "-S"]):
                left.append(f"{iptables} chains DOCKER* in table {table} (see {iptables} -S)")
    return ", ".join(left)
