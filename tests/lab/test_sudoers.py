"""The sudoers list against real sudo: a login with just these lines recovers a cluster; what is missing shows."""

from __future__ import annotations

import base64
import hashlib
import shlex
import subprocess

from compose.nodes import Node
from requorum import inventory as inventories
from requorum.hosts import sudo
from requorum.run import history
from requorum.troubleshoot import sudoers
from requorum.verify import program
from tests.lab import procedures, troubles
from tests.lab.rehearsal import Rehearsal

FILE = "/etc/sudoers.d/limited"


def test_the_whole_recovery_passes_with_exactly_the_listed_lines(rehearsal: Rehearsal) -> None:
    rehearsal.lose("wipe")
    rehearsal.assert_recovered(rehearsal.run(rehearsal.inventory(troubles.as_limited)))


def test_a_missing_line_is_printed_as_it_must_be_added(rehearsal: Rehearsal) -> None:
    inventory = rehearsal.inventory(troubles.as_limited)
    whole = procedures.run(rehearsal.scratch, "troubleshoot/sudoers", f"--hosts={inventory}")
    assert whole.code == 0, whole.output

    node = rehearsal.nodes.by_name("query-1")
    rules = node.get(FILE).decode()
    gone = next(line for line in rules.splitlines() if "dd of" in line)
    try:
        put(node, rules.replace(f"{gone}\n", ""))
        found = procedures.run(rehearsal.scratch, "troubleshoot/sudoers", f"--hosts={inventory}")
    finally:
        put(node, rules)
    assert found.code == 1, found.output
    assert f"Missing on query-1:\n{gone}\n" in found.output
    assert found.output.count("Missing on") == 1
    rehearsal.spoilt = False


def test_sudo_itself_agrees_with_the_list_word_for_word(rehearsal: Rehearsal) -> None:
    """Every command of the list, each with something in place of its wildcards, and each with a word too many."""
    node, inventory = rehearsal.nodes.by_name("etcd-1"), inventories.load(rehearsal.inventory(troubles.as_limited))
    listing = node.run(["runuser", "-u", "limited", "--", "sudo", "-n", "-l"]).stdout
    grants = sudo.parse(listing)
    asked = [need.arguments.replace("*", "x") for need in sudoers.needed(inventory)]
    asked += [f"{words} x" for words in asked] + [words.replace("-k 5", "-k 6") for words in asked]
    script = "\n".join(
        f"sudo -n -l timeout {' '.join(map(shlex.quote, words.split(' ')))} >/dev/null 2>&1; echo $?" for words in asked
    )
    codes = node.run(["runuser", "-u", "limited", "--", "sh"], stdin=script.encode(), timeout=300).stdout.split()
    ours = [sudo.allowed(grants, words) for words in asked]
    differ = [words for words, code, own in zip(asked, codes, ours, strict=True) if (code == "0") != own]
    assert differ == []
    assert all(ours[: len(ours) // 3]) and not any(ours[-len(ours) // 3 :])
    rehearsal.spoilt = False


# Of root, by a login that has the nightly proof's list alone: none of these may run.
_LAB = "/var/lib/requorum/lab"
_NAMES = "'(' -name client.before -o -name rolled-back ')'; echo =;"
TRIES = (
    "{program} inside memory",
    "{program} boot memory 870 870",
    "{program} boot memory 871",
    "{program} boot memory 870;id",
    "{program} logins --checkpoint-action=exec=sh",
    "{program}x logins",
    "/usr/libexec/requorum/../../bin/id",
    "sh {program} logins",
    "sh -c id",
    "id",
    "true id",
    "cat /var/lib/requorum/lab/../../../../etc/shadow",
    "cat /var/lib/requorum/lab/run.json /etc/shadow",
    "cat /etc/etcd/dh/latest/config.yaml /etc/shadow",
    "dd of=/var/lib/requorum/lab/x of=/etc/cron.d/x status=none",
    "install -d -m 700 -o etcd -g etcd /var/lib/requorum/lab/x",
    "rm -rf /var/lib/requorum/lab/x",
    "tar --create --file=- --directory=/etc/sysconfig/deephaven/etcd/client ./x --checkpoint-action=exec=id",
    "systemd-run --wait --pipe sh /var/lib/requorum/lab/verify-x/isolation.sh verify x",
    *(
        f"sh -c find {of} -mindepth 2 -maxdepth 2 {_NAMES} for file in {each} || cat {file}; done {_LAB}"
        for of, each, file in (
            (".$0/", '.$0//x/birth.json; do [ x -f "$file" ]', ">$file "),
            ('"$0"', '.$0//*/birth.json; do [ x -f "$file" ]', "<$file "),
            ("/etc", '"$0"/*/birth.json; do [ ! -f "$file" ]', '"$file"'),
        )
    ),
    "systemctl stop requorum.slice",
    "/usr/illumon/latest/bin/etcdctl.sh endpoint status --cluster -w json --endpoints=https://10.0.0.1:1",
    "/usr/illumon/latest/bin/etcdctl.sh snapshot save /etc/cron.d/x",
    "logger -t requorum journal -f /etc/shadow",
    f"logger -t requorum journal {'a' * 16} of lab: 1 records, {'a' * 60} -f /etc/shadow",
)
# What may be asked for by its standard input, and is nothing that the program does; and why.
NO_ORDER = "what was asked for is not understood"
ORDERS = {
    "": NO_ORDER,
    "x;id 1 0 9 ab 60 0 0\n": NO_ORDER,
    "verify-x 1 0 9 $(id) 60 0 0\n": NO_ORDER,
    "verify-x 1 0 9 ab 60 1 0\n../../../etc/shadow\n": NO_ORDER,
    "verify-x 1 0 9 ab 60 0 1\n--cacert=/etc/shadow\n": NO_ORDER,
    "verify-x 1 0 99999999999999999999 ab 60 0 0\n": NO_ORDER,
    "verify-x 1 0 9 ab 60 0 0\nhalf": "the backup did not arrive whole",
    "verify-x 1 0 9 ab 60 0 0\nnine byte": "the backup arrived altered",
    f"verify-x 1 0 9 {hashlib.sha256(b'nine byte').hexdigest()} 60 0 0\nnine byte": "the restore failed: ",
}


def test_the_proofs_login_cannot_make_root_run_anything_else_and_the_right_words_do_run(rehearsal: Rehearsal) -> None:
    node, inventory = rehearsal.nodes.configuration_server, inventories.load(rehearsal.inventory())
    rules, at = node.get(FILE).decode(), program.path(inventory)
    decoy = (
        "for at in /tmp/id /tmp/tar /tmp/etcdutl; do printf '#!/bin/sh\ntouch /tmp/chosen\n' >$at; chmod 755 $at; done"
    )
    node.run(["sh", "-c", decoy])

    def told(words: str, stdin: str = "", of: str = "") -> tuple[int, str]:
        line = f"export PATH=/tmp:$PATH ENV=/tmp/id BASH_ENV=/tmp/id; {of}sudo -n {of}timeout -k 5 {words}"
        ended = node.run(["runuser", "-u", "limited", "--", "sh", "-c", line], stdin=stdin.encode(), check=False)
        return ended.rc, ended.stdout + ended.stderr

    try:
        put(node, sudoers.file(inventory, "limited", purpose="verify"))
        for words in TRIES:
            for deadline in ("60", "900"):
                filled = " ".join(map(shlex.quote, words.format(program=at).split(" ")))
                code, said = told(f"{deadline} {filled}")
                assert code == 1 and "a password is required" in said, (words, said)
        assert "not allowed to set" in told(f"60 {at} left", of="TAR_OPTIONS=x ")[1]
        for order, why in ORDERS.items():
            for where in ("memory", "disk"):
                code, said = told(f"900 {at} boot {where} 870", order)
                assert code == 10 and f'"why": "{why}' in said and "uid=" not in said, (order, said)
        assert told(f"60 {at} clear")[0] == 0
        for question in history.ask_runs("h", inventory.cluster).commands:
            assert told(question.line().partition("-k 5 ")[2])[0] == 0
        names = subprocess.run(["tar", "-t"], input=_printed(node, f"60 {at} logins"), capture_output=True, check=True)
        assert b"./root/user\n./root/password\n" in names.stdout
    finally:
        put(node, rules)
    made = ("/tmp/chosen", "/etc/cron.d/x", *(f"/var/lib/requorum/lab/{name}" for name in ("x", "verify-x")))
    left = node.run(["find", *made, "-maxdepth", "0"], check=False)  # of the lab's own runs nothing is meant
    assert left.stdout == ""
    rehearsal.spoilt = False


def _printed(node: Node, words: str) -> bytes:
    """Byte for byte."""
    line = f"sudo -n timeout -k 5 {words} | base64"
    return base64.b64decode(node.run(["runuser", "-u", "limited", "--", "sh", "-c", line]).stdout)


def put(node: Node, rules: str) -> None:
    node.put(FILE, rules.encode(), 0o440)
