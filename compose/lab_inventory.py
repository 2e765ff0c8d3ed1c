"""`inventory/lab.yaml`, written from what the lab is: the file that the runbook is given.

Kept apart from the lab's state on purpose: the runbook knows a lab only by this file, as it knows
production by one of the same form. `inventory/example.yaml` explains the fields.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

import yaml

from compose import load, state
from compose.state import LabState, Machine, Role

VENDOR = "/usr/illumon/latest/bin"
HEADER = "# Written by `python -m compose.lab`; changed by it when the lab changes, gone with the lab.\n"
PROPS = {"min": 100, "max": 999}
UNLOADED: dict[str, Any] = {"min_keys": 1, "prefixes": {}}


def expected(keys: int) -> dict[str, Any]:
    """What the inventory expects of so many keys; a load with few properties has no expectation of its own."""
    if load.props(keys) < PROPS["min"]:
        return UNLOADED
    return {"min_keys": keys * 97 // 100, "prefixes": {load.PROPS: PROPS}}


def write(lab: LabState, path: Path = state.INVENTORY) -> None:
    """Write the inventory of `lab` as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    text = yaml.safe_dump(content(lab, path.parent), sort_keys=False, allow_unicode=True)
    draft.write_text(HEADER + text, encoding="utf-8")
    os.replace(draft, path)


def remove(path: Path = state.INVENTORY) -> None:
    """Remove the inventory, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def content(lab: LabState, directory: Path) -> dict[str, Any]:
    """The inventory of `lab` as YAML's own types, its paths relative to `directory`."""
    members = lab.of(Role.MEMBER)
    configuration_server = lab.of(Role.CONFIGURATION_SERVER)[0].name
    moved = any(machine.old_ip for machine in members)
    old = {"old_members": [_member(m, m.old_ip or m.ip) for m in members]} if moved else {}
    as_admin = "sudo -n -u {admin_user} " if lab.accounts else ""  # as the vendor's pages run them
    return {
        "cluster": state.CLUSTER,
        "transport": {
            "backend": "ssh",
            "ssh_config": os.path.relpath(state.SSH_CONFIG, directory),
            "user": "ops",
        },
        "hosts": {machine.name: {"address": machine.name} for machine in lab.machines},
        "members": [_member(m, m.ip) for m in members],
        **old,
        "deephaven": {
            "configuration_server": configuration_server,
            "hosts": [configuration_server, *(m.name for m in lab.of(Role.QUERY))],
            "admin_user": "irisadmin",
            "client_config": "/etc/sysconfig/deephaven/etcd/client",
            "server_archive": "/etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz",
            "client_archive": "/tmp/{cluster_id}/dh_query.tgz",
            "commands": {
                "etcdctl": f"{as_admin}{VENDOR}/etcdctl.sh",
                "monit_down": f"{as_admin}{VENDOR}/dh_monit down --block",
                "monit_up": f"{as_admin}{VENDOR}/dh_monit up --block",
                "monit_status": f"{as_admin}{VENDOR}/dh_monit summary",
                "generate": (f"{VENDOR}/config_generator.sh --cluster-id {{cluster_id}} --ips {{ips}}"),
                "unpack_server": f"{VENDOR}/unpack_etcd_server.sh {{archive}} {{number}}",
                "unpack_client": f"{VENDOR}/unpack_etcd_client.sh {{archive}}",
            },
        },
        "snapshot": {
            "file": None,
            "directory": os.path.relpath(state.BACKUPS, directory),
            "max_age_hours": 26,
            "keep": {"count": 14, "days": 30},
        },
        "expect": expected(lab.keys),
    }


def _member(machine: Machine, ip: str) -> dict[str, str]:
    return {"name": machine.name, "host": machine.name, "ip": ip}
