"""The sudoers list against real sudo: a login with just these lines recovers a cluster; what is missing shows."""

from __future__ import annotations

import shlex

from compose.nodes import Node
from requorum import inventory as inventories
from requorum.hosts import sudo
from requorum.troubleshoot import sudoers
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


def put(node: Node, rules: str) -> None:
    node.put(FILE, rules.encode(), 0o440)
