"""The front door: what is printed to be pasted, parsed and checked as pytest, a module or a host's shell takes it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from compose import lab
from requorum import procedures
from requorum.inventory import Inventory
from requorum.plugin import hooks, options
from requorum.run.terms import Options
from tests.unit import build

ROOT = Path(__file__).parents[2]
BY_HAND = re.compile(r"ssh (\S+)\.invalid sudo -n timeout -k 5 60 (.+)")
# What a stop names to be run on a host, as root and without a terminal.
ON_HOSTS = ("chown", "df", "flock", "findmnt", "journalctl", "ls", "mv", "rm", "ss", "systemctl")


def parsed(words: list[str]) -> dict[str, Any]:
    """As pytest parses them. Ends the test where one is none."""
    parser = pytest.Parser(_ispytest=True)
    parser.addoption("--hosts")
    hooks.pytest_addoption(parser)
    return vars(parser.parse(words))


def said(line: str, inventory: Inventory | None = None) -> tuple[str, Options]:
    """The procedure that a printed line starts, and what it says; checked as before any host is asked. A
    snapshot that is only spoken of is not read."""
    inventory = inventory or build.inventory()
    cd, _, then, _, directory, *words = shlex.split(line)
    assert (cd, then) == ("cd", "&&"), line
    values = parsed(words)
    assert values["hosts"] == "lab", line
    (procedure,) = [one for one in procedures.PROCEDURES if one.directory == directory]
    values |= dict.fromkeys(name for name in options.TESTINFRA if name not in values)
    snapshot = values["snapshot"]
    values["snapshot"] = snapshot if snapshot and Path(snapshot).exists() else None
    options.check(values.__getitem__, procedure, inventory)
    accepted = options.accepted(values.__getitem__, inventory)
    skip = values["skip_hash"] or next(iter(accepted.hosts("on-disk")), None)
    return directory, Options(
        snapshot=snapshot,
        salvage=values["salvage"],
        skip_hash=skip,
        rebuild=values["rebuild"],
        accepted=accepted,
        hosts="lab",
        confirm=values["confirm"],
    )


def can_be_pasted(line: str, inventory: Inventory | None = None) -> None:
    """Ends the test where that line would be refused, or means nothing, where it is pasted."""
    if by_hand := BY_HAND.fullmatch(line):
        program, *words = shlex.split(by_hand[2])
        known = (*ON_HOSTS, shlex.split((inventory or build.inventory()).deephaven.commands.monit_status)[0])
        assert program in known and words[:1] != ["edit"], f"no command for a host: {line}"
        return
    cd, place, then, program, *words = shlex.split(line)
    assert (cd, then) == ("cd", "&&") and place.startswith("/"), line
    if words[:1] != ["-m"] or words[1] == "pytest":
        said(line.replace(" -m pytest ", " ", 1), inventory)
        return
    assert Path(program).name.startswith("python"), line
    _, module, *given = words
    if module == "compose.lab":
        lab._parser().parse_args(given)
    elif module == "requorum.sudoers":
        assert len(given) >= 2, f"it takes an inventory and a login: {line}"
    else:
        known_here = (["backups", "list", "--hosts=lab"], ["inventory", "new"])
        assert module == "requorum" and given in known_here, line
