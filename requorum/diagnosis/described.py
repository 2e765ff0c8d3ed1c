"""What hosts say of themselves that an inventory must say, by questions that change nothing; and where both differ."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from posixpath import dirname
from urllib.parse import urlsplit

from requorum.cluster import deephaven, etcd, etcdctl
from requorum.cluster.etcd import MemberConfig
from requorum.diagnosis import rounds
from requorum.hosts import system, systemd
from requorum.hosts.fleet import Fleet
from requorum.hosts.question import PATH
from requorum.hosts.systemd import ExecStart
from requorum.inventory import Inventory
from requorum.refusal import Refusal

UNITS = ("dh-etcd.service", "etcd.service")  # where nobody says how it is called
ACCOUNTS = ("irisadmin", "dbquery", "dbmerge")
ROOT = "root"  # etcd's, whose role only the configuration server must have


@dataclass(frozen=True)
class OnMember:
    """`unit`, `user` "" where no unit runs etcd; `config` where it reads its configuration; `ip` "" where unknown."""

    unit: str
    user: str
    config: str
    told: MemberConfig
    ip: str


@dataclass(frozen=True)
class Seen:
    """`members` by host; `unread`: host → why nothing is known of its etcd; `roles` of the configuration server, None
    where it does not tell; `roots`: the Deephaven hosts that have root's; `keys` None where nobody can log in."""

    members: Mapping[str, OnMember] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    roles: tuple[str, ...] | None = None
    roots: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    keys: int | None = None


def look(fleet: Fleet, inventory: Inventory, units: Sequence[str] = ()) -> Seen:
    """Asks the old members, the configuration server and the Deephaven hosts. `units`: what etcd's may be called,
    beside what the inventory says; the first counts that is there."""
    server, silent = inventory.deephaven.configuration_server, dict[str, str]()
    hosts = [member.host for member in inventory.old_members]
    asked = rounds.kinds(
        fleet,
        silent,
        exec={(h, u): systemd.ask_exec(h, u) for h in hosts for u in dict.fromkeys((*units, inventory.etcd.unit))},
        addresses={h: system.ask_addresses(h) for h in hosts},
        roles={h: deephaven.ask_passwords(h, inventory.deephaven.client_config) for h in inventory.deephaven.hosts},
        accounts={(server, a): system.ask_uid(server, a) for a in (*ACCOUNTS, *inventory.deephaven.accounts)},
        keys={server: etcdctl.ask_count(inventory, "")},
    )
    runs = {host: _unit(host, asked["exec"]) for host in hosts}
    paths = {host: _config(found, inventory) for host, found in runs.items()}
    configs = rounds.ask(fleet, silent, {host: etcd.ask_config(host, path) for host, path in paths.items()})
    members, unread = {}, {host: silent[host] for host in (*hosts, *inventory.deephaven.hosts) if host in silent}
    for host, config in configs.items():
        if isinstance(config, MemberConfig):
            unit, found = runs[host]
            ip = _ip(config, asked["addresses"].get(host))
            members[host] = OnMember(unit, found.user if found else "", paths[host], config, ip)
        else:
            unread[host] = f"there is no {paths[host]}" if config is None else f"{config.where}: {config.what}"
    roles, keys = asked["roles"].get(server), asked["keys"].get(server)
    return Seen(
        members,
        unread,
        tuple(sorted(roles)) if isinstance(roles, dict) else None,
        tuple(host for host, found in asked["roles"].items() if isinstance(found, dict) and ROOT in found),
        tuple(dict.fromkeys(account for (_, account), uid in asked["accounts"].items() if isinstance(uid, int))),
        keys if isinstance(keys, int) else None,
    )


def _unit(host: str, asked: Mapping[tuple[str, str], ExecStart | Refusal]) -> tuple[str, ExecStart | None]:
    """The unit that starts etcd, the first that does."""
    for (where, unit), found in asked.items():
        if where == host and isinstance(found, ExecStart) and found.words:
            return unit, found
    return "", None


def _config(found: tuple[str, ExecStart | None], inventory: Inventory) -> str:
    words = found[1].words if found[1] else ()
    path = systemd.flags(words).get("config-file", "")
    usable = PATH.fullmatch(path) and ".." not in path.split("/")
    return path if usable else inventory.etcd.config


def _ip(config: MemberConfig, addresses: object) -> str:
    """The address that its peers know; where that is a name, the machine's first that is not its own alone."""
    told = urlsplit(config.peer_url).hostname or ""
    own = [a for a in addresses if not ipaddress.ip_address(a).is_loopback] if isinstance(addresses, tuple) else []
    try:
        return str(ipaddress.ip_address(told))
    except ValueError:
        return own[0] if own else ""


# -- as fields of an inventory -------------------------------------------------------------------------------------


def fields(seen: Seen) -> dict[str, str]:
    """By field, what the hosts say; where members disagree, each one's word."""
    ports: dict[str, Callable[[OnMember], str]] = {
        "etcd.unit": lambda on: on.unit,
        "etcd.config": lambda on: on.config,
        "etcd.user": lambda on: on.user,
        "etcd.data_root": lambda on: dirname(on.told.data_dir),
        "etcd.client_port": lambda on: str(urlsplit(on.told.client_urls[0]).port or ""),
        "etcd.peer_port": lambda on: str(urlsplit(on.told.peer_url).port or ""),
    }
    found = {}
    for name, of in ports.items():
        words = {host: of(on) for host, on in seen.members.items()}
        known = {host: word for host, word in words.items() if word}
        one = len(set(known.values())) == 1
        if known:
            found[name] = next(iter(known.values())) if one else ", ".join(f"{h}: {w}" for h, w in known.items())
    return {**found, **{f"old_members on {h}": f"{on.told.name} {on.ip}" for h, on in seen.members.items()}}


def written(inventory: Inventory) -> dict[str, str]:
    """The same fields as the file says them."""
    own = inventory.etcd
    return {
        "etcd.unit": own.unit,
        "etcd.config": own.config,
        "etcd.user": own.user,
        "etcd.data_root": own.data_root,
        "etcd.client_port": str(own.client_port),
        "etcd.peer_port": str(own.peer_port),
        **{f"old_members on {m.host}": f"{m.name} {m.ip}" for m in inventory.old_members},
    }


def differences(inventory: Inventory, seen: Seen) -> list[str]:
    """Each thing that file and hosts say otherwise, and each host that says nothing, in words."""
    told, file = fields(seen), written(inventory)
    lines = [f"{name}: the file says {file[name]}, the hosts {told[name]}" for name in told if told[name] != file[name]]
    bare = [host for host, on in seen.members.items() if not on.unit]
    if bare:
        other = [unit for unit in UNITS if unit != inventory.etcd.unit]
        nor = f", nor {' or '.join(other)}," if other else ""
        lines.append(
            f"etcd.unit: the file says {inventory.etcd.unit}, and no unit of that name{nor} starts etcd on "
            f"{', '.join(bare)}"
        )
    lines += [f"{host}: {why}" for host, why in seen.unread.items()]
    named = (inventory.deephaven.admin_user, *inventory.deephaven.accounts)
    server = inventory.deephaven.configuration_server
    lines += [f"deephaven.accounts: {name} is not on {server}" for name in named if name not in seen.accounts]
    if rootless := without_root(inventory, seen):
        lines.append(rootless)
    if seen.keys is not None and seen.keys < inventory.expect.min_keys:
        lines.append(f"expect.min_keys: the file says {inventory.expect.min_keys:,}, the cluster has {seen.keys:,}")
    return lines


def without_root(inventory: Inventory, seen: Seen) -> str:
    """Why the configuration server cannot be it: etcd is asked there, as root, and it has no role of that name."""
    dh, server = inventory.deephaven, inventory.deephaven.configuration_server
    if seen.roles is None:
        return f"deephaven.client_config: {server} does not tell which roles it has below {dh.client_config}"
    if ROOT in seen.roles:
        return ""
    others = f"{', '.join(seen.roots)} has" if seen.roots else "nor has any Deephaven host: is client_config right"
    return f"deephaven.configuration_server: {server} has no role {ROOT} below {dh.client_config}; {others}"
