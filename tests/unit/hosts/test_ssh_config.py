"""The ssh configurations of docs/login.md, as ssh itself understands them together with our own options."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet
from tests.unit import build

PAGE = (Path(__file__).parents[3] / "docs" / "login.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"```ssh-config\n# (\w+)\n(.*?)```", PAGE, re.S))
OURS = {"batchmode yes", "requesttty false", "forwardagent no", "permitlocalcommand no", "clearallforwardings yes"}
HOLDS = {
    "bastion": {"proxyjump ops@bastion.example.com:2222", "userknownhostsfile ~/.ssh/known_hosts.prod"},
    "certificate": {"certificatefile ~/.ssh/prod-cert.pub", "identityfile ~/.ssh/prod", "identitiesonly yes"},
    "terminal": set(),
}


def understood(tmp_path: Path, config: str, host: str = "infra-1") -> list[str]:
    """What `ssh -G` makes of it with the very words that a fleet gives ssh."""
    (tmp_path / "config").write_text(config)
    hosts: dict[str, object] = {name: {} for name in build.inventory().hosts}  # reached by their names
    transport = {"backend": "ssh", "ssh_config": str(tmp_path / "config"), "user": "ops"}
    inventory = build.inventory(transport=transport, hosts=hosts)
    with Fleet(inventory, Journal(tmp_path / "evidence")) as fleet:
        program, *ways = fleet.machines[host].prefix
        told = subprocess.run([program, "-G", *ways], capture_output=True, text=True, check=True).stdout
    return told.replace(str(Path.home()), "~").splitlines()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_the_page_holds_beside_our_own_options(tmp_path: Path, name: str) -> None:
    """Broken once: without RequestTTY=no among our options, the site's `force` won."""
    found = set(understood(tmp_path, EXAMPLES[name]))
    assert HOLDS[name] | OURS | {"user ops", "stricthostkeychecking ask"} <= found
    assert not [line for line in found if line.startswith("remotecommand") and "none" not in line]


def test_the_page_has_an_example_for_each() -> None:
    assert EXAMPLES.keys() == HOLDS.keys()
