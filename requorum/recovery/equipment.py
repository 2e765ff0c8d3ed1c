"""What a machine must have for its part in a recovery: programs, tools, accounts. Pure.

Step 0 proves it before a recovery, the check long before the night.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from requorum.cluster import deephaven
from requorum.run.terms import Terms

# What is run as root by its bare name, so that sudo's lines stay the same everywhere.
_AS_ROOT = (
    "base64 cat chgrp chmod chown cp dd df du env find flock install journalctl ln logger ls mkdir mv ps readlink "
    "rm rmdir runuser sh sha256sum stat systemctl systemd-run tar test timeout touch true unshare"
)
AS_ROOT = tuple(_AS_ROOT.split())
# Copies are started by a unit of systemd's, which looks for its tools there (systemd.exec(5)), not where sudo does.
UNIT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IN_UNIT = ("etcd", "etcdctl", "openssl", "setpriv", "curl", "ip")


@dataclass(frozen=True)
class Equipment:
    """`programs` of the vendor by their path, `tools` of the system by their name."""

    programs: tuple[str, ...]
    tools: tuple[str, ...]
    accounts: tuple[str, ...]


def needed(terms: Terms) -> dict[str, Equipment]:
    """host → what it needs: the vendor's commands where they will run, the etcd account on new members."""
    commands = terms.inventory.deephaven.commands
    found = {}
    for host in terms.everyone:
        lines, tools, accounts = [], ["ip", "ss"], []
        if host in terms.etcd_hosts:
            tools.append("curl")
        if host in terms.deephaven_hosts:
            lines += [commands.monit_down, commands.monit_up, commands.monit_status, commands.unpack_client]
        if host in terms.member_hosts:
            lines.append(commands.unpack_server)
            accounts.append(terms.inventory.etcd.user)
        if host == terms.configuration_server:
            lines += [commands.etcdctl, commands.etcdctl_as, commands.generate]
            tools += ["openssl", "tar"]
        programs = dict.fromkeys(map(deephaven.executable, lines))
        found[host] = Equipment(tuple(programs), tuple(tools), tuple(accounts))
    return found


def unfound(path: str, as_root: Sequence[str], in_unit: Sequence[str]) -> list[str]:
    """What is wrong where root's `path`, and systemd's own, have not these tools."""
    root = [f"no {', '.join(as_root)} in {path or 'the PATH of the login'}, where root looks"] if as_root else []
    unit = [f"no {', '.join(in_unit)} in {UNIT_PATH}, where systemd's units look"] if in_unit else []
    return root + unit
