"""What a machine must have for its part in a recovery: programs, tools, accounts. Pure.

Step 0 proves it before a recovery, the check long before the night.
"""

from __future__ import annotations

from dataclasses import dataclass

from requorum.cluster import deephaven
from requorum.run.terms import Terms


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
