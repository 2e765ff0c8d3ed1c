"""Machines of the lab from nothing: addresses, containers, ssh access; and their removal.

What runs on the machines is not decided here: `compose/cluster.py` forms the etcd cluster on
them. The image comes from `compose/image.py`, the shape of a container from docker-compose.yml.
"""

import contextlib
import ipaddress
import os
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

import docker
import docker.errors
import requests
import yaml

from compose import apt, poll, state
from compose.errors import LabError, NodeError
from compose.nodes import Node, Nodes, on_each
from compose.state import PROJECT, LabState, Machine, Role

COMPOSE_FILE = Path(__file__).resolve().with_name("docker-compose.yml")
SUBNETS = [f"10.89.{third}.0/24" for third in (7, 17, 27, 37, 47, 57, 67, 77)]
BOOT_SECONDS = 60
FIRST = {Role.MEMBER: 11, Role.SPARE: 31, Role.CONFIGURATION_SERVER: 51, Role.QUERY: 61}
READDRESSED = 100  # added to the last number of an address: .12 becomes .112
MAX_EACH = 19  # machines of one role, so that the ranges of addresses stay apart
MAX_HOSTS = 50  # of query hosts, whose range is the last below `READDRESSED`

SSH_HOST = """Host {name}
  HostName 127.0.0.1
  Port {port}
  HostKeyAlias {name}
"""
SSH_ALL = """Host *
  User ops
  IdentityFile "{key}"
  IdentitiesOnly yes
  UserKnownHostsFile "{known_hosts}"
  GlobalKnownHostsFile none
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 5
  ServerAliveInterval 5
  ServerAliveCountMax 3
"""


def machines(members: int, spares: int, hosts: int, subnet: str) -> tuple[Machine, ...]:
    """The machines of a lab: members, the configuration server, query hosts, spares."""
    wanted = [
        (Role.MEMBER, "etcd", members),
        (Role.CONFIGURATION_SERVER, "infra", 1),
        (Role.QUERY, "query", hosts),
        (Role.SPARE, "spare", spares),
    ]
    base = ipaddress.ip_network(subnet).network_address
    planned = [
        (f"{prefix}-{i + 1}", role, str(base + FIRST[role] + i)) for role, prefix, count in wanted for i in range(count)
    ]
    ports = _free_ports(len(planned))
    return tuple(Machine(name, role, ip, port) for (name, role, ip), port in zip(planned, ports, strict=True))


def readdressed(ip: str) -> str:
    """The address that `readdress` gives a machine instead of `ip`: .12 becomes .112, and back."""
    address = ipaddress.ip_address(ip)
    there = address.packed[-1] > READDRESSED
    return str(address - READDRESSED if there else address + READDRESSED)


def _free_ports(count: int) -> list[int]:
    """Loopback ports that nothing listens on: kept by the lab, so that a restart changes none."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def free_subnet() -> str:
    """The first of `SUBNETS` that no route of this machine and no engine network overlaps."""
    taken = [*_routes(), *_engine_networks()]
    for subnet in SUBNETS:
        if not any(ipaddress.ip_network(subnet).overlaps(other) for other in taken):
            return subnet
    raise LabError(
        f"every subnet the lab may use is taken on this machine ({', '.join(SUBNETS)}); free one "
        "of them (ip route, docker network ls)"
    )


def _routes() -> Iterable[ipaddress.IPv4Network]:
    """The machine's routes, the default route left out; none where there is no /proc."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            address, mask = (int.from_bytes(bytes.fromhex(fields[i]), "little") for i in (1, 7))
            if mask:
                yield ipaddress.IPv4Network((address, mask.bit_count()), strict=False)


def _engine_networks() -> Iterable[ipaddress.IPv4Network]:
    """The engine's networks, which need not be routes of this machine; our own left out."""
    client = docker.from_env()
    try:
        for network in client.networks.list():
            if (network.attrs.get("Labels") or {}).get("com.docker.compose.project") == PROJECT:
                continue
            for entry in (network.attrs.get("IPAM") or {}).get("Config") or ():
                with contextlib.suppress(ValueError, KeyError):
                    yield ipaddress.IPv4Network(entry["Subnet"])
    finally:
        client.close()


def start(lab: LabState) -> None:
    """Start every container of `lab`; those that run stay as they are."""
    state.COMPOSE_OVERRIDE.write_text(_compose_file(lab), encoding="utf-8")
    argv = ["docker", "compose", "-p", PROJECT, "--project-directory", str(COMPOSE_FILE.parent)]
    argv += ["-f", str(COMPOSE_FILE), "-f", str(state.COMPOSE_OVERRIDE)]
    argv += [
        "up",
        "--detach",
        "--no-build",
        "--pull",
        "never",
        "--no-recreate",
        "--quiet-pull",
    ]
    argv += [m.name for m in lab.machines]  # named, since `node` is only a template
    environment = {"REQUORUM_IMAGE": lab.image, "REQUORUM_SUBNET": lab.subnet}
    done = subprocess.run(
        argv,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise LabError(f"`docker compose up` failed: {said}")


def _compose_file(lab: LabState) -> str:
    """The machines as compose services, each an extension of `node`."""
    services = {
        machine.name: {
            "extends": {"file": str(COMPOSE_FILE), "service": "node"},
            "image": lab.image,
            "container_name": f"{PROJECT}-{machine.name}",
            "hostname": machine.name,
            "networks": {"etcd": {"ipv4_address": machine.ip}, "mgmt": {}},
            "ports": [f"127.0.0.1:{machine.ssh_port}:22"],
        }
        for machine in lab.machines
    }
    return yaml.safe_dump({"services": services}, sort_keys=False)


def give_access(lab: LabState, nodes: Nodes) -> None:
    """Wait until every machine has booted, let `ops` in by key, and write the ssh files."""
    if shutil.which("ssh-keygen") is None:
        if not apt.available():
            raise LabError("ssh-keygen is missing: install an OpenSSH client")
        apt.install(["openssh-client"])
    if not state.SSH_KEY.exists():
        subprocess.run(
            [
                "ssh-keygen",
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-C",
                "ops@lab",
                "-f",
                state.SSH_KEY,
            ],
            check=True,
            stdin=subprocess.DEVNULL,
        )
    public = state.SSH_KEY.with_suffix(".pub").read_bytes()
    host_keys = on_each(nodes.all, lambda node: _admit(node, public))
    known = [f"{node.name} {key}" for node, key in zip(nodes.all, host_keys, strict=True)]
    state.KNOWN_HOSTS.write_text("\n".join(known) + "\n", encoding="utf-8")
    hosts = [SSH_HOST.format(name=m.name, port=m.ssh_port) for m in lab.machines]
    everywhere = SSH_ALL.format(key=state.SSH_KEY, known_hosts=state.KNOWN_HOSTS)
    state.SSH_CONFIG.write_text("".join([*hosts, everywhere]), encoding="utf-8")


# One exec for all of it, since each costs about 0.2 s. `--wait` blocks until the boot has ended.
ADMIT = """
install -m 0600 -o ops -g ops /dev/stdin /home/ops/.ssh/authorized_keys
state=$(systemctl is-system-running --wait 2>&1)
systemctl is-active --quiet ssh.service && cat /etc/ssh/ssh_host_ed25519_key.pub && exit 0
echo "system $state, ssh.service $(systemctl is-active ssh.service)" >&2
exit 1
"""


# The login of those who grant no more than the list: it comes by the same key, and may do exactly what `rules` say.
LIMITED = """
set -eu
id limited >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --password '*' limited
install -d -m 0700 -o limited -g limited /home/limited/.ssh
install -m 0600 -o limited -g limited /home/ops/.ssh/authorized_keys /home/limited/.ssh/authorized_keys
umask 337
cat >/root/limited.sudoers
visudo -cqf /root/limited.sudoers
mv -fT /root/limited.sudoers /etc/sudoers.d/limited
"""


def give_limited_access(nodes: Nodes, rules: str) -> None:
    """Lets `limited` in on every machine, with the sudoers file `rules`."""
    on_each(nodes.all, lambda node: node.run(["sh", "-c", LIMITED], stdin=rules.encode()))


# As ./setup hosts does, by one exec.
HAND_OVER = """
set -eu
umask 022
mkdir -p "$(dirname "$0")"
cat >"$0.new"
chmod 755 "$0.new"
mv -fT "$0.new" "$0"
"""


def give_program(nodes: Nodes, names: Iterable[str], path: str, program: str) -> None:
    """The nightly proof's program, for the machines that need it."""
    for name in names:
        nodes.by_name(name).run(["sh", "-c", HAND_OVER, path], stdin=program.encode())


def _admit(node: Node, public_key: bytes) -> str:
    """Install the key once the machine has booted; the machine's own host key."""
    why = ["it did not answer"]

    def attempt() -> str:
        try:
            result = node.run(["sh", "-c", ADMIT], stdin=public_key, check=False, timeout=30)
        except NodeError as error:
            why[0] = str(error)
            return ""
        why[0] = result.stderr.strip()
        return " ".join(result.stdout.split()[:2]) if result.rc == 0 else ""

    return poll.until(
        attempt,
        seconds=BOOT_SECONDS,
        what=f"{node.name} has booted and runs sshd",
        why_not=lambda: f"{why[0]} (see: docker exec {node.container} journalctl -b)",
        error=NodeError,
    )


def remove() -> int:
    """Remove every container and network of the lab, told by label; how many there were."""
    client = docker.from_env(timeout=120)
    label: dict[str, str | list[str] | bool] = {"label": f"com.docker.compose.project={PROJECT}"}
    try:
        containers = client.containers.list(all=True, filters=label)
        for container in containers:
            with contextlib.suppress(docker.errors.NotFound):
                container.remove(force=True, v=True)
        networks = client.networks.list(filters=label)
        for network in networks:
            network.remove()
        return len(containers) + len(networks)
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise LabError(f"the engine cannot remove the lab: {error}") from error
    finally:
        client.close()
