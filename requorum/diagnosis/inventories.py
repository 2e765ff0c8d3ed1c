"""`python -m requorum inventory schema | check | new`: an inventory's schema, its differences from the hosts, a first
one. Nothing here changes anything on a host."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from requorum import ansible
from requorum import inventory as inventories
from requorum.diagnosis import described
from requorum.diagnosis.described import Seen
from requorum.evidence.journal import Journal
from requorum.evidence.redaction import shown
from requorum.hosts.fleet import Fleet
from requorum.hosts.password import asked_for
from requorum.hosts.question import plain
from requorum.inventory import PLACEHOLDERS, Inventory, InventoryError, VendorCommands
from requorum.refusal import Refusal

ROOT = Path(__file__).parents[2]
REFUSED = 4
DIFFERS = 1
SEVERAL = ", commas or spaces between"
# Which option told a field of a new inventory.
OPTIONS = {
    "cluster": "--cluster",
    "members": "--members",
    "hosts": "--members, --hosts, --configuration-server",
    "deephaven.configuration_server": "--configuration-server",
    "deephaven.hosts": "--hosts",
    "transport.ssh_config": "--ssh-config",
    "transport.user": "--user",
    "transport.become": "--become",
}
PART = 0.9  # of the keys that are there, how many a restored cluster must have at least


def main(arguments: Sequence[str] | None = None) -> int:
    """0 done, 1 file and hosts differ, 4 refused."""
    options = _parser().parse_args(arguments)
    try:
        return {"schema": _schema, "check": _check, "new": _new}[options.command](options)
    except Refusal as refusal:
        print(shown(str(refusal)), file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
    return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m requorum inventory", description="A first inventory from the hosts, and what differs from them."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("schema", help="its JSON Schema, for an editor")
    check = commands.add_parser("check", help="what differs between the file and the hosts: 0 nothing, 1 something")
    check.add_argument("--hosts", required=True, metavar="NAME", help="a file's name in inventory/, or a path")
    new = commands.add_parser("new", help="looks at the hosts and writes one; what is not given is asked")
    new.add_argument("--cluster", help="its name, which an operator will type to confirm")
    new.add_argument("--members", metavar="HOST,…", help="etcd's machines, in server-number order")
    new.add_argument("--configuration-server", metavar="HOST")
    new.add_argument("--hosts", metavar="HOST,…", help="all machines with Deephaven processes")
    new.add_argument("--ssh-config", metavar="FILE", help="the ssh client's configuration file")
    new.add_argument("--user", help="the login on every host")
    new.add_argument("--become", metavar="LINE", help="how it becomes root, where that is not sudo -n")
    for command in (check, new):
        command.add_argument("--ask-become-pass", action="store_true", help="ask for the password that sudo wants")
    new.add_argument("--unit", default="", help="etcd's unit, where it is none of the usual")
    new.add_argument("--from-ansible", type=Path, metavar="FILE", help="take the machines from an Ansible inventory")
    new.add_argument("--members-group", metavar="GROUP", help="there, etcd's machines")
    new.add_argument("--hosts-group", metavar="GROUP", help="there, Deephaven's; the first is the configuration server")
    new.add_argument("--output", type=Path, metavar="FILE", help="default: inventory/CLUSTER.yaml")
    return parser


def _schema(_: argparse.Namespace) -> int:
    print(json.dumps(inventories.schema(), indent=2))
    return 0


def _check(options: argparse.Namespace) -> int:
    inventory = inventories.load(inventories.find(options.hosts, ROOT))
    seen = _seen(inventory, options.ask_become_pass, (inventory.etcd.unit, *described.UNITS))
    lines = described.differences(inventory, seen)
    for line in lines or ["file and hosts say the same"]:
        print(shown(line))
    if seen.keys is None:
        print("expect.min_keys: not compared, since nobody could log in to count")
    return DIFFERS if lines else 0


def _seen(inventory: Inventory, asks: bool, units: Sequence[str] = ()) -> Seen:
    password = asked_for(inventory.transport) if asks else None
    with (
        tempfile.TemporaryDirectory(prefix="rq-") as scratch,
        Fleet(inventory, Journal(Path(scratch)), password=password) as fleet,
    ):
        seen = described.look(fleet, inventory, units)
    if not seen.members:
        host, why = next(iter(seen.unread.items()))
        raise Refusal(host, f"{why}; no member tells of its etcd", "check ssh, sudo and --unit, then ask again")
    return seen


# -- a new one -----------------------------------------------------------------------------------------------------


def _new(options: argparse.Namespace) -> int:
    draft = begun(options)
    path = options.output or ROOT / "inventory" / f"{draft['cluster']}.yaml"
    if path.exists():
        raise Refusal(str(path), "is there already, and is not written over", "name another: --output=FILE")
    seen = _seen(_valid(draft), options.ask_become_pass, (options.unit,) if options.unit else described.UNITS)
    document = completed(draft, seen, path)
    inventory = _valid(document)
    rootless = described.without_root(inventory, seen)
    if rootless and seen.roots:
        raise Refusal(path.name, f"is not written: {rootless}", f"--configuration-server={seen.roots[0]}")
    path.write_text(text(document, seen), encoding="utf-8")
    print(f"{path}: {len(inventory.members)} members, {len(inventory.deephaven.hosts)} Deephaven hosts")
    for host, why in seen.unread.items():
        print(shown(f"  not known: {host}: {why}"))
    if rootless:
        print(shown(f"  not as it must be: {rootless}"))
    print("  check deephaven.commands in it against your release: inventory/example.yaml explains every field")
    name = path.stem if path.parent == ROOT / "inventory" else path
    print(shown(f"  then: pytest runbook --hosts={name} --check"))
    return 0


def begun(options: argparse.Namespace) -> dict[str, Any]:
    """What is told, or asked, as a document without what the hosts will say."""
    addresses: dict[str, str] = {}
    members, hosts, user = _listed(options.members), _listed(options.hosts), options.user
    if options.from_ansible:
        groups = ansible.read(options.from_ansible)
        there = {name: _group(options, groups, name) for name in ("members", "hosts")}
        members, hosts = members or list(there["members"]), hosts or list(there["hosts"])
        variables = {**there["hosts"], **there["members"]}
        addresses = {host: own["ansible_host"] for host, own in variables.items() if "ansible_host" in own}
        logins = {own["ansible_user"] for own in variables.values() if "ansible_user" in own}
        user = user or (logins.pop() if len(logins) == 1 else None)
    cluster = options.cluster or _asked("the cluster's name", "--cluster")
    members = members or _listed(_asked(f"etcd's machines, in server-number order{SEVERAL}", "--members"))
    server = options.configuration_server or (hosts[0] if options.from_ansible and hosts else "")
    server = server or _asked("the configuration server", "--configuration-server")
    hosts = hosts or _listed(_asked(f"all machines with Deephaven processes{SEVERAL}", "--hosts"))
    hosts = list(dict.fromkeys((server, *hosts)))
    config = options.ssh_config and str(Path(options.ssh_config).absolute())
    transport = {"backend": "ssh", "ssh_config": config, "user": user, "become": options.become}
    everyone = dict.fromkeys((*members, *hosts))
    return {
        "cluster": cluster,
        "transport": {
            name: value for name, value in {**transport, "user": user, "become": options.become}.items() if value
        },
        "hosts": {host: {"address": addresses[host]} if host in addresses else {} for host in everyone},
        "members": [_unknown(number, host) for number, host in enumerate(members, start=1)],
        "deephaven": {"configuration_server": server, "hosts": hosts},
    }


def _unknown(number: int, host: str) -> dict[str, str]:
    return {"name": f"etcd-{number}", "host": host, "ip": f"192.0.2.{number % 250}"}  # until the host has said its own


def _group(options: argparse.Namespace, groups: ansible.Groups, name: str) -> dict[str, dict[str, str]]:
    group = getattr(options, f"{name}_group")
    return ansible.hosts(options.from_ansible, groups, group) if group else {}


def _listed(text: str | None) -> list[str]:
    return [name.strip() for name in re.split(r"[,\s]+", text or "") if name.strip()]


def _asked(what: str, option: str) -> str:
    if sys.stdin.isatty() and (answer := input(f"{what}: ").strip()):
        return answer
    raise Refusal(option, f"is not given: {what}", f"add {option}=…")


def _valid(document: Mapping[str, Any]) -> Inventory:
    """As it will be read. Raises `Refusal` where that is no inventory, by the options: nobody knows of the file yet."""
    with tempfile.TemporaryDirectory(prefix="rq-") as scratch:
        path = Path(scratch) / "new.yaml"
        path.write_text(yaml.safe_dump(dict(document), sort_keys=False), encoding="utf-8")
        try:
            return inventories.load(path)
        except InventoryError as error:
            what = re.sub(r"(^|; )line \d+: ", r"\1", error.what)
            fields = [field for field in sorted(OPTIONS, key=len, reverse=True) if what.startswith(field)]
            raise Refusal(OPTIONS[fields[0]] if fields else "the new inventory", what, "correct that option") from None


def completed(draft: Mapping[str, Any], seen: Seen, path: Path) -> dict[str, Any]:
    """With what the hosts said in place of what nobody knew. `path`: where it will lie. Raises `Refusal` for a member
    whose address is unknown."""
    members = []
    for row in draft["members"]:
        on = seen.members.get(row["host"])
        if on is None or not on.ip:
            why = seen.unread.get(row["host"], "its etcd tells no address")
            raise Refusal(row["host"], f"its part in the cluster is not known: {why}", "leave it out, or mend it first")
        members.append({"name": on.told.name, "host": row["host"], "ip": on.ip})
    told = described.fields(seen)
    etcd = {name.removeprefix("etcd."): _value(word) for name, word in told.items() if name.startswith("etcd.")}
    accounts = [name for name in seen.accounts if name != "irisadmin"]
    commands = VendorCommands().model_dump()
    deephaven = {**draft["deephaven"], **({"accounts": accounts} if accounts else {}), "commands": commands}
    expect = {"expect": {"min_keys": int(seen.keys * PART)}} if seen.keys else {}
    beside = Path("..") if path.parent.name == "inventory" else Path()
    snapshot = {"directory": str(beside / "backups" / draft["cluster"])}
    return {**draft, "members": members, "deephaven": deephaven, "etcd": etcd, "snapshot": snapshot, **expect}


def _value(word: str) -> str | int:
    return int(word) if word.isascii() and word.isdigit() and len(word) < 20 else word


def text(document: Mapping[str, Any], seen: Seen) -> str:
    """The file, what was found above it, and above each of the vendor's lines what may stand in it."""
    head = [f"# {line}" for line in found(seen)]
    body = yaml.safe_dump(dict(document), sort_keys=False, width=1000).splitlines()
    begins = next((n for n, line in enumerate(body) if line == "  commands:"), len(body))
    for number, line in enumerate(body):
        field = line.strip().partition(":")[0]
        if number > begins and field in PLACEHOLDERS and line.startswith(f"    {field}:"):
            body[number] = f"    # {_placeholders(field)}\n{line}"
    return "\n".join([*head, *body, ""])


def _placeholders(field: str) -> str:
    needed, optional = PLACEHOLDERS[field]
    if field == "generate":
        needed, optional = (*needed, "ips} or {ips_comma"), tuple(name for name in optional if name[:3] != "ips")
    must = f"must have {', '.join(f'{{{name}}}' for name in needed)}" if needed else ""
    may = f"may have {', '.join(f'{{{name}}}' for name in optional)}" if optional else ""
    return "; ".join(filter(None, (must, may)))


def found(seen: Seen) -> Iterable[str]:
    tokens = sorted({on.told.token for on in seen.members.values()})
    yield "Written by `python -m requorum inventory new`. inventory/example.yaml explains every field; there are more."
    yield "CHECK deephaven.commands AGAINST YOUR RELEASE: its arguments are not public, so that these are a guess."
    yield "Each is run as root; `sudo -n -u {admin_user} LINE` runs it as the admin account."
    yield plain(f"Token of today's cluster: {', '.join(tokens)}")
    yield f"Roles with a password: {', '.join(seen.roles or ()) or 'none found below deephaven.client_config'}"
    yield (
        f"Keys: {seen.keys:,}"
        if seen.keys is not None
        else "Keys: nobody could log in to count them; set expect.min_keys"
    )
