"""A login that becomes root by a password, by dzdo or by doas: the whole recovery, and a wrong password tried once."""

from __future__ import annotations

import json
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

from compose import apt, image
from compose.nodes import Node, on_each
from tests.lab import procedures
from tests.lab.rehearsal import Own, Rehearsal
from tests.terminal import Terminal

pytestmark = pytest.mark.matrix

SECRET = "Hunter2 it's $HOME"
QUESTION = "asks of ops on every host"
# One command needs no password all the same: it must not find one in its input.
ASKS = f"""
echo "ops:{SECRET.replace("$", chr(92) + "$")}" | chpasswd
printf 'ops ALL=(ALL:ALL) ALL\\nops ALL=(root) NOPASSWD: /usr/bin/timeout -k 5 60 dd *\\n' >/etc/sudoers.d/ops
visudo -cq
"""
# As it is where Centrify has its own: a program called dzdo, and a sudo that nobody may use.
DZDO = """
install -m 4755 /usr/bin/sudo /usr/bin/dzdo
printf '#!/bin/sh\\nid >>/sudo-was-used\\nexit 1\\n' >/usr/local/bin/sudo
chmod 755 /usr/local/bin/sudo
: >/sudo-was-used
chmod 666 /sudo-was-used
"""
DOAS = "dpkg --install /root/doas.deb && echo 'permit nopass ops as root' >/etc/doas.conf && chmod 400 /etc/doas.conf"


def on_terminal(rehearsal: Rehearsal, inventory: Path, word: str, *more: str) -> tuple[Terminal, Path]:
    evidence = Path(tempfile.mkdtemp(prefix="evidence-", dir=rehearsal.scratch))
    terminal = Terminal(
        f"--hosts={inventory}", "--confirm=lab", f"--evidence={evidence}", "--ask-become-pass", "-v", *more
    )
    terminal.answer(QUESTION, word)
    return terminal, evidence


def refusals(node: Node) -> int:
    """How often its PAM turned a password away."""
    journal = node.run(["journalctl", "--no-pager", "-o", "cat", "SYSLOG_IDENTIFIER=sudo"]).stdout
    return journal.count("authentication failure")


def kept(terminal: Terminal, evidence: Path) -> str:
    return terminal.seen + "".join(p.read_text(errors="replace") for p in evidence.rglob("*") if p.is_file())


def test_where_sudo_asks_for_a_password_a_recovery_passes_and_a_wrong_one_is_tried_once(own: Own) -> None:
    lab = own()
    on_each(lab.nodes.all, lambda node: node.run(["bash", "-ec", ASKS]))
    inventory = lab.inventory()
    lab.lose("wipe")

    wrong, evidence = on_terminal(lab, inventory, "Hunter1")
    assert wrong.end() == 1 and "sudo does not take the password" in wrong.seen, wrong.seen
    assert sum(on_each(lab.nodes.all, refusals)) == 1
    assert "Hunter1" not in kept(wrong, evidence)

    cut, evidence = on_terminal(lab, inventory, SECRET)
    cut.wait_for("survivors are salvaged")
    cut.process.send_signal(signal.SIGINT)
    assert cut.end() == 2, cut.seen
    assert "Hunter2" not in kept(cut, evidence)

    again, evidence = on_terminal(lab, inventory, SECRET)
    assert again.end() == 0, again.seen
    lab.forget_old_addresses()
    lab.assert_data_is_back()
    lab.assert_deephaven_works()
    assert "Hunter2" not in kept(again, evidence)
    assert sum(on_each(lab.nodes.all, refusals)) == 1
    found = "grep -rlF Hunter2 /etc /var/lib/requorum /var/lib/etcd /tmp /run /root /home /usr/illumon 2>/dev/null"
    assert [text for node in lab.nodes.all if (text := node.run(["sh", "-c", found], check=False).stdout)] == []


def as_(become: str) -> Any:
    return lambda content: content["transport"].update(become=become)


def test_by_dzdo_and_by_doas_a_check_and_a_recovery_pass_and_sudo_is_not_asked(own: Own) -> None:
    lab = own()
    with tempfile.TemporaryDirectory() as scratch:
        (deb,) = apt.download(["opendoas"], image.BASE_SUITE, Path(scratch))
        data = deb.read_bytes()

    def prepare(node: Node) -> None:
        node.put("/root/doas.deb", data)
        node.run(["bash", "-ec", DZDO])
        node.run(["bash", "-ec", DOAS])

    on_each(lab.nodes.all, prepare)
    by_dzdo, by_doas = lab.inventory(as_("dzdo -n")), lab.inventory(as_("doas -n"))
    for inventory, name in ((by_dzdo, "dzdo"), (by_doas, "doas")):
        checked = procedures.run(lab.scratch, "check", f"--hosts={inventory}")
        findings = checked.summary["findings"]
        assert [f for f in findings if f["verdict"] in ("fails", "unknown")] == [], checked.output
        (sudo, *_) = [f["found"] for f in findings if f["check"] == "sudo"]
        assert sudo == f"lets us in; which commands it allows cannot be asked of {name}"
    refused = procedures.run(lab.scratch, "troubleshoot/sudoers", f"--hosts={by_dzdo}")
    assert refused.code == 1 and "cannot be asked of dzdo" in refused.output

    lab.lose("wipe")
    plan = lab.run(by_dzdo, "--plan")
    assert plan.code == 0 and "dzdo -n timeout -k 5" in plan.output and "sudo -n timeout" not in plan.output
    run = lab.run(by_doas)
    lab.assert_recovered(run)
    assert "which commands are allowed cannot be asked of doas" in run.output
    for node in lab.nodes.all:
        assert node.get("/sudo-was-used") == b"", "the login asked sudo something"
        assert "COMMAND=list" not in node.run(["journalctl", "--no-pager", "-o", "cat"]).stdout
    lab.lose("wipe")
    lab.assert_recovered(lab.run(by_dzdo))
    assert all(node.get("/sudo-was-used") == b"" for node in lab.nodes.all)
    lines = [json.loads(line) for p in lab.scratch.rglob("journal.jsonl") for line in p.read_text().splitlines()]
    spoken = {str(record.get("argv", "")).split(" ")[0] for record in lines if record.get("kind") == "command"}
    assert "sudo" not in spoken
