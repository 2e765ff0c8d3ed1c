"""What a host says is read by its question alone: nobody else takes a command apart or reads a raw answer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = [path for place in ("requorum", "runbook") for path in sorted((ROOT / place).rglob("*.py"))]

# A command's words are its planner's. They are read where it is sent, shown, held against sudo, or foreseen.
MAY_READ_ARGV = (
    "requorum/command.py",
    "requorum/hosts/",
    "requorum/evidence/report.py",
    "requorum/troubleshoot/sudoers.py",
)
FORESEES = ("requorum/run/dryrun.py", "requorum/run/forecast.py", "requorum/run/aftermath.py")  # the dry run


def attributes(path: Path, name: str) -> Iterator[ast.Attribute]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr == name:
            yield node


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_a_commands_words_are_read_only_where_it_is_sent_shown_or_foreseen() -> None:
    readers = {
        named(path)
        for path in FILES
        for node in attributes(path, "argv")
        if ast.unparse(node) != "sys.argv" and not named(path).startswith((*MAY_READ_ARGV, *FORESEES))
    }
    assert not readers


def test_nobody_reads_a_raw_answer() -> None:
    """`run.look` and `machine.look` give what a host says as it says it; `ask` gives a value."""
    readers = {
        named(path)
        for path in FILES
        for node in attributes(path, "look")
        if ast.unparse(node) in ("run.look", "machine.look")
    }
    assert not readers
