"""What can be seen wrong with the command line before any host is asked; the front door hands it over as typed."""

from __future__ import annotations

import getpass
import math
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from requorum import commandline, procedures
from requorum.deadlines import LONG
from requorum.diagnosis.logs import collection
from requorum.hosts.password import Password, asked_for
from requorum.inventory import Inventory
from requorum.procedures import Procedure
from requorum.recovery import approval, commit
from requorum.refusal import Refusal
from requorum.run import accepted as accept
from requorum.run.accepted import Accepted
from requorum.snapshots import files
from requorum.troubleshoot.restarts import choose
from requorum.verify import extract

Option = Callable[[str], Any]  # by name, underscores for dashes: what was given, or its default

TESTINFRA = (  # options of its plugin, which knows nothing of inventories
    "connection",
    "ssh_config",
    "ssh_extra_args",
    "ssh_identity_file",
    "sudo",
    "sudo_user",
    "ansible_inventory",
    "force_ansible",
    "nagios",
)
OWN = tuple(option.dest for option in commandline.OPTIONS if option.own)  # only some procedures take these


def gone(option: Option) -> tuple[str, ...]:
    """The hosts that `--gone` names."""
    return tuple(name.strip() for name in (option("gone") or "").split(",") if name.strip())


def accepted(option: Option, inventory: Inventory) -> Accepted:
    """The losses that `--accept` names."""
    away, members = gone(option), [member.host for member in inventory.old_members]
    there, lost = ([host for host in members if (host in away) is is_away] for is_away in (False, True))
    return accept.parse(option("accept"), there, lost)


def check(option: Option, procedure: Procedure, inventory: Inventory) -> None:
    """Raises `Refusal` for whatever is wrong."""
    _paths(option, inventory)
    for name in TESTINFRA:
        if option(name) not in (None, False):
            there = "say it under transport in the inventory"
            raise Refusal(f"--{name.replace('_', '-')}", "is testinfra's, and does nothing here", there)
    check_members(procedure, inventory, {name: option(name) for name in OWN})
    if option("since") is not None:
        collection.since(option("since"))
    if option("extract") is not None:
        extract.check(option("extract"))
    if option("offsite") and option("snapshot"):
        raise Refusal("--offsite and --snapshot", "each say which backup is meant", "leave one of them out")
    _data(option, procedure, inventory)
    concurrency, scale = option("concurrency"), option("timeout_scale")
    if concurrency is not None and concurrency < 1:
        raise Refusal(f"--concurrency={concurrency}", "must be at least 1", "leave it out")
    if not 0 < scale < math.inf:
        raise Refusal(f"--timeout-scale={scale}", "must be a number above 0", "leave it out")
    for host in gone(option):
        _gone(host, inventory)
    accepted(option, inventory)
    if option("approved"):
        approval.check(Path(option("approved")), inventory.cluster, datetime.now(UTC))


def confirm(option: Option, procedure: Procedure, cluster: str) -> None:
    """The cluster's name from --confirm or from the terminal, before any host is asked. Raises `Refusal` for another.

    The commit prompt is `recovery/commit`'s."""
    word = option("confirm")
    if word is None:
        word = commit.asked(f"\nThis {procedure.does}. Type the cluster's name to go on ({cluster}): ")
    if word is None:
        raise Refusal("--confirm", "is not given, and nobody is there to confirm", f"add --confirm={cluster}")
    if word != cluster:
        raise Refusal("--confirm", f"{word!r} is not the name of this cluster", f"it is {cluster}; nothing was done")


def password(option: Option, inventory: Inventory) -> Password | None:
    """What sudo will ask for, where it will. Raises `Refusal` where nobody can type it, or nothing takes one."""
    return asked_for(inventory.transport) if option("ask_become_pass") else None


def _paths(option: Option, inventory: Inventory) -> None:
    """The ssh configuration is there, and evidence could be written: the nearest directory there is must be ours."""
    config = inventory.transport.ssh_config
    if config and not Path(config).is_file():
        remedy = "correct it in that inventory, or leave it out"
        raise Refusal(f"--hosts={option('hosts')}", f"transport.ssh_config: {config} does not exist", remedy)
    place = (Path(option("evidence")) / inventory.cluster).absolute()
    there = next(path for path in (place, *place.parents) if os.path.lexists(path))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        who = getpass.getuser()
        raise Refusal(f"--evidence: {there}", f"is no directory that {who} may write in", "name one: --evidence=DIR")


def _data(option: Option, procedure: Procedure, inventory: Inventory) -> None:
    """At most one word on which data is restored; a snapshot is whole; --skip-hash names a member that is there."""
    named = option("snapshot") or inventory.snapshot.file
    if named and procedure.directory == "runbook":  # only the recovery takes it to the machines
        files.whole(inventory, Path(named))
    given = [f"--{name.replace('_', '-')}" for name in procedures.DATA if option(name)]
    given += [accept.option(f"on-disk:{host}") for host in accepted(option, inventory).hosts("on-disk")]
    if len(given) > 1:
        raise Refusal(" and ".join(given), "each say which data is restored", "leave one of them out")
    host, away = option("skip_hash"), gone(option)
    there = [member.host for member in inventory.old_members if member.host not in away]
    if host and host not in there:
        raise Refusal(f"--skip-hash={host}", "is no old member that is there", f"one of {', '.join(there)}")


def _gone(host: str, inventory: Inventory) -> None:
    if host not in inventory.hosts:
        raise Refusal(f"--gone={host}", "is no host of the inventory", f"one of {', '.join(inventory.hosts)}")
    if host in {member.host for member in inventory.members}:
        raise Refusal(
            f"--gone={host}",
            "is a member of the cluster to build",
            "put a spare in its place under members, and keep the old one under old_members",
        )
    if host == inventory.deephaven.configuration_server:
        raise Refusal(f"--gone={host}", "is the configuration server", "name its replacement in the inventory")


DIRECT_SECONDS = 20  # how long etcd is run directly unless --seconds says otherwise
DIRECT_LONGEST = LONG - 120  # the unit's own stop and start must fit into the command's deadline too


def check_members(procedure: Procedure, inventory: Inventory, given: Mapping[str, object]) -> None:
    """Raises `Refusal` for an option that the procedure does not take, lacks, or cannot use. `given`: by name."""
    takes = {name.rstrip("!") for name in procedure.takes}
    for name, value in given.items():
        if value not in (None, False) and name not in takes:
            others = ", ".join(map(_spelled, sorted(takes))) or "none of its own"
            raise Refusal(_spelled(name), f"is no option of {procedure.directory}", f"leave it out; it takes {others}")
    if "members!" in procedure.takes and not given.get("members"):
        names = ", ".join(member.name for member in inventory.members)
        raise Refusal(procedure.directory, "needs --members=NAME,…", f"name some of {names}")
    if given.get("members"):
        named = choose(inventory, str(given["members"])).members
        if "seconds" in takes and len(named) != 1:
            raise Refusal("--members", f"names {len(named)} members", f"{procedure.directory} works on exactly one")
    seconds = given.get("seconds")
    if isinstance(seconds, int) and not 1 <= seconds <= DIRECT_LONGEST:
        raise Refusal(
            f"--seconds={seconds}", f"must be from 1 to {DIRECT_LONGEST}", f"leave it out for {DIRECT_SECONDS}"
        )


def _spelled(option: str) -> str:
    return f"--{option.replace('_', '-')}"
