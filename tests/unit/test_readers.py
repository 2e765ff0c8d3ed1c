"""Every question is put by a program that only reads, or by a script that is listed here by who puts it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [path for place in ("requorum", "runbook") for path in sorted((ROOT / place).rglob("*.py"))]

# Programs that can only read, as they are called here; of the others, the words that make them read.
ONLY_READ = {"base64", "cat", "date", "df", "du", "find", "findmnt", "getent", "id", "ls", "pgrep", "printenv", "ps"}
ONLY_READ |= {"readlink", "sha256sum", "ss", "stat", "test", "true"}
MADE_TO_READ = {
    "busctl": {"get-property"},
    "curl": {"-sSk", "-sSi", "-sSik"},
    "etcd": {"--version"},
    "ip": {"show"},
    "journalctl": {"--no-pager"},
    "openssl": {"verify"},
    "sudo": {"-l"},
    "systemctl": {"cat", "list-unit-files", "show", "status"},
    "tar": {"-tvzf", "--file=-"},
}
BEFORE_A_PROGRAM = {"env": 1, "timeout": 1, "runuser": 3}  # words: `env NAME=VALUE`, `runuser -u NAME --`
WRITES = {"-delete", "-execdir", "-fprint", "-fprintf", "-ok", "-K", "POST", "PUT", "--rotate", "--vacuum-time"}
EXECUTED = {"grep", "openssl", "sha256sum"}  # by find
CHANGES_ETCD = {"add", "auth", "compaction", "defrag", "del", "delete", "disarm", "grant-role", "make-mirror", "put"}
CHANGES_ETCD |= {"member", "remove", "restore", "save", "txn", "update"}

# `sh -c` and `bash -c`, by the function that asks with it: each was read, and changes nothing.
SCRIPTS = {
    "requorum/command.py": {"checks"},
    "requorum/cluster/deephaven.py": {"ask_etcd_in_monit"},
    "requorum/cluster/etcd.py": {"ask_tools"},
    "requorum/cluster/lineage.py": {"ask_wal"},
    "requorum/cluster/others.py": {"ask_where"},
    "requorum/diagnosis/logs/collection.py": {"_journal", "_of_every_host", "_of_etcd"},
    "requorum/diagnosis/questions.py": {"ask_disk", "ask_unusable"},
    "requorum/hosts/certificates.py": {"ask_certificate"},
    "requorum/hosts/probe.py": {"ask_host"},
    "requorum/hosts/system.py": {"ask_connections", "ask_listing", "ask_open", "ask_reach", "ask_uid", "ask_unfound"},
    "requorum/hosts/systemd.py": {"ask_drop_ins", "ask_environment"},
    "requorum/recovery/undo/rollback.py": {"ask_disk"},
    "requorum/run/bulk.py": {"ask_left"},
    "requorum/run/facts.py": {"ask_digest"},
    "requorum/run/history.py": {"ask_births", "ask_runs"},
    "requorum/snapshots/disks.py": {"ask_earlier"},
    "requorum/snapshots/emptiness.py": {"ask_opened", "ask_way"},
    "requorum/snapshots/on_host.py": {"ask_source", "ask_status"},
    "requorum/troubleshoot/debug_logging.py": {"ask_kept"},
    "requorum/troubleshoot/vendor.py": {"ask_try"},  # where nothing that is written is real
}
# Whose program no reader of the code can tell: the vendor's lines of the inventory, the program of a unit, the tool
# that reads a snapshot, the site's own sudo, the tar that prints an archive, and gzip. And one line for the syslog,
# which counts as a look.
KNOWN = {
    "requorum/hosts/fleet.py": {"_measures"},
    "requorum/command.py": {"look", "reads"},
    "requorum/cluster/deephaven.py": {"ask_monit", "etcdctl", "etcdctl_as"},
    "requorum/evidence/syslog.py": {"tell"},
    "requorum/cluster/etcdctl.py": {"ask_database", "ask_snapshot"},
    "requorum/hosts/sudo.py": {"ask_sudo"},
    "requorum/hosts/system.py": {"ask_root_path"},
    "requorum/troubleshoot/debug_logging.py": {"ask_version"},
    "requorum/verify/program.py": {"logins", "ask_left"},
}

Words = list[str | None]


def words(nodes: list[ast.expr], *scopes: ast.AST) -> Words:
    """The words of a command; None for one that is not literal. A tuple that was given a name is looked up."""
    found: Words = []
    for node in nodes:
        inner = node.value if isinstance(node, ast.Starred) else node
        if isinstance(inner, ast.Name):
            assigned = (n for scope in scopes for n in ast.walk(scope) if isinstance(n, ast.Assign))
            inner = next((value for n in assigned for value in _values(n, inner.id)), inner)
        if isinstance(inner, ast.Tuple | ast.List):
            found += words(inner.elts, *scopes)
        else:
            found.append(inner.value if isinstance(inner, ast.Constant) and isinstance(inner.value, str) else None)
    return found


def _values(assigned: ast.Assign, name: str) -> Iterator[ast.expr]:
    """What a name is given here, alone or beside others: `a, b = 1, 2`."""
    for target in assigned.targets:
        several = isinstance(target, ast.Tuple) and isinstance(assigned.value, ast.Tuple)
        pairs = zip(target.elts, assigned.value.elts, strict=False) if several else [(target, assigned.value)]  # type: ignore[attr-defined]
        yield from (value for to, value in pairs if isinstance(to, ast.Name) and to.id == name)


def questions(tree: ast.Module) -> Iterator[tuple[str, Words]]:
    """(the function that asks, words) of every `look(…)` and every `Command(…, changes=False)`."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        inner = {
            n for f in ast.walk(function) if isinstance(f, ast.FunctionDef) and f is not function for n in ast.walk(f)
        }
        for call in (n for n in ast.walk(function) if isinstance(n, ast.Call) and n not in inner):
            if ast.unparse(call.func) == "look" and len(call.args) > 1:
                yield function.name, words(call.args[1:], function, tree)
            elif ast.unparse(call.func) == "Command" and "changes=False" in map(ast.unparse, call.keywords):
                yield function.name, words(call.args[1:2], function, tree)


def what_is_wrong(said: Words) -> str:
    """Why a command may do more than read; "" for one that cannot. "script": that is for the list to say."""
    if said[0] in BEFORE_A_PROGRAM:
        return what_is_wrong(said[1 + BEFORE_A_PROGRAM[said[0]] :])
    if said[:2] in (["sh", "-c"], ["bash", "-c"]):
        return "script"
    if said[0] is None:
        return "unknown"
    if said[0] not in ONLY_READ and not MADE_TO_READ.get(said[0], set()) & set(said):
        return f"{said[0]} is no reader"
    executed = {said[n + 1] for n, word in enumerate(said) if word == "-exec"}
    return ", ".join(sorted(WRITES.intersection(w for w in said if w) | {w or "?" for w in executed - EXECUTED}))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_question_is_put_by_a_reader(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    listed = {"script": SCRIPTS.get(name, set()), "unknown": KNOWN.get(name, set())}
    wrong = [
        f"{function}: {why}"
        for function, said in questions(ast.parse(path.read_text(encoding="utf-8")))
        if (why := what_is_wrong(said)) and function not in listed.get(why, KNOWN.get(name, set()))
    ]
    assert not wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_question_to_etcd_changes_it(path: Path) -> None:
    calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
    asked = [call for call in calls if ast.unparse(call.func) in ("deephaven.etcdctl", "deephaven.etcdctl_as")]
    assert not [ast.unparse(call) for call in asked if CHANGES_ETCD.intersection(filter(None, words(call.args, call)))]


def test_nothing_is_listed_that_is_not_there() -> None:
    for listed in (SCRIPTS, KNOWN):
        for name, functions in listed.items():
            asking = [function for function, _ in questions(ast.parse((ROOT / name).read_text(encoding="utf-8")))]
            assert functions <= set(asking), name


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (["cat", None], ""),
        (["env", "LC_ALL=C", "sudo", "-n", "-l"], ""),
        (["timeout", "2", "bash", "-c", None], "script"),
        (["rm", "-rf", None], "rm is no reader"),
        (["systemctl", "stop", None], "systemctl is no reader"),
        (["find", None, "-exec", "rm", "{}", "+"], "rm"),
        (["find", None, "-delete"], "-delete"),
        ([None, "--version"], "unknown"),
    ],
)
def test_what_may_do_more_than_read_is_told(said: Words, wrong: str) -> None:
    assert what_is_wrong(said) == wrong
