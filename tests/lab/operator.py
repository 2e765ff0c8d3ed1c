"""A machine of the lab made the operator's: this checkout, Python, dependencies, an inventory and a key of its own."""

from __future__ import annotations

import io
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

import yaml

from compose import apt, image, lab_inventory, state
from compose.nodes import Node, Nodes
from compose.state import REPOSITORY, LabState

HOME = "/opt/requorum"
ACCOUNT = "requorum"
DIRECTORIES = ("requorum", "runbook", "deploy")
FILES = ("conftest.py", "pytest.ini")
PYTHON = ("python3.11", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib")
SSH = """Host {name}
  HostName {ip}
  HostKeyAlias {name}
"""
SSH_ALL = f"""Host *
  User limited
  IdentityFile {HOME}/.ssh/key
  IdentitiesOnly yes
  UserKnownHostsFile {HOME}/.ssh/known_hosts
  StrictHostKeyChecking yes
"""


def install(node: Node, nodes: Nodes, scratch: Path, backups: str) -> None:
    """Installs everything on `node`: docs/backup-and-drill.md#as-a-service. Raises AptError or CalledProcessError."""
    _python(node, scratch / "debs")
    wheels = _dependencies(scratch)
    node.run(["sh", "-c", f"id {ACCOUNT} 2>/dev/null || useradd --system --home {HOME} {ACCOUNT}"])
    _put_tree(node, HOME, [(REPOSITORY / name, name) for name in (*DIRECTORIES, *FILES)])
    node.run(["python3.11", "-m", "venv", "--without-pip", f"{HOME}/.venv"])
    _put_tree(node, f"{HOME}/.venv/lib/python3.11/site-packages", [(p, p.name) for p in sorted(wheels.iterdir())])
    _access(node, nodes)
    content = lab_inventory.content(LabState.read(), scratch)
    content["transport"]["ssh_config"] = f"{HOME}/.ssh/config"
    content["snapshot"]["directory"] = backups
    content["transport"]["user"] = "limited"  # who may do what a backup needs, and no more
    node.run(["mkdir", "-p", f"{HOME}/inventory"])
    node.put(f"{HOME}/inventory/prod.yaml", yaml.safe_dump(content, sort_keys=False).encode(), 0o644)


def _python(node: Node, scratch: Path) -> None:
    if node.run(["python3.11", "-c", "import ssl, venv"], check=False).rc == 0:
        return
    scratch.mkdir()
    for deb in apt.download(list(PYTHON), image.BASE_SUITE, scratch):
        node.put(f"/root/{deb.name}", deb.read_bytes())
    node.run(["sh", "-c", "dpkg --install --force-depends /root/*.deb && rm /root/*.deb"], timeout=120)


def _dependencies(scratch: Path) -> Path:
    """The pinned, hashed wheels for the node's Python, whatever Python runs this test."""
    target = scratch / "wheels"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
            "--python-version=3.11",
            f"--platform=manylinux2014_{platform.machine()}",
            f"--target={target}",
            "-r",
            str(REPOSITORY / "requirements.txt"),
        ],
        check=True,
    )
    return target


def _put_tree(node: Node, directory: str, paths: list[tuple[Path, str]]) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, name in paths:
            tar.add(path, name, filter=lambda info: None if "__pycache__" in info.name else info)
    node.run(["mkdir", "-p", directory])
    node.run(["tar", "-C", directory, "--no-same-owner", "-xf", "-"], stdin=packed.getvalue(), timeout=120)


def _access(node: Node, nodes: Nodes) -> None:
    """ssh as the lab's operator has it, by the machines' own addresses."""
    config = "".join(SSH.format(name=other.name, ip=other.ip) for other in nodes.all) + SSH_ALL
    node.run(["install", "-d", "-m", "700", "-o", ACCOUNT, f"{HOME}/.ssh"])
    owner = f"{ACCOUNT}:{ACCOUNT}"
    node.put(f"{HOME}/.ssh/config", config.encode(), 0o600, owner)
    node.put(f"{HOME}/.ssh/key", state.SSH_KEY.read_bytes(), 0o600, owner)
    node.put(f"{HOME}/.ssh/known_hosts", state.KNOWN_HOSTS.read_bytes(), 0o600, owner)
