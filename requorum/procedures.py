"""Which procedures there are, and which stages each has: what pytest collects must be exactly those, in that order.

This one comparison takes the place of lists of forbidden options (-k, --lf, --deselect, random order, node IDs, …).
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Procedure:
    """One directory of stages. `confirms`: it changes the cluster, so its name must be typed. `needs_hosts`: it runs
    on the machines of an inventory that `--hosts` names. `outcome`: what the summary says when every stage passed;
    `fails`: when one failed, "" where that is stopped or refused. `refuses`: in which stages, by a part of their node
    IDs, a failure is a refusal. `does`: what is confirmed. `looks`: it only looks, so it stops at nothing, every
    finding counts, and not even a syslog hears of it. `commits`: the module before which the commit prompt lies, ""
    where there is none. `takes`: its own options besides those that all have, `!` behind the required. `about`: what
    it is for, in a line of the help."""

    directory: str
    outcome: str
    confirms: bool = True
    needs_hosts: bool = True
    refuses: str = "step_0"
    does: str = "rebuilds the etcd cluster"
    looks: bool = False
    fails: str = ""
    commits: str = ""
    takes: tuple[str, ...] = ()
    about: str = ""


DATA = ("snapshot", "salvage", "skip_hash")  # options that say which data is restored

PROCEDURES = (
    Procedure(
        "runbook",
        "recovered",
        commits="test_step_3_distribute.py",
        takes=(*DATA, "accept", "approved"),
        about="the recovery, Steps 0 to 5",
    ),
    Procedure(
        "runbook/check",
        "checked",
        confirms=False,
        looks=True,
        takes=(*DATA, "accept"),
        about="look at everything, change nothing; the same as the recovery with `--check`",
    ),
    Procedure(
        "runbook/backup",
        "backed-up",
        confirms=False,
        takes=("accept",),
        about="a verified snapshot, stored and rotated: every night",
    ),
    Procedure(
        "runbook/verify",
        "verified",
        confirms=False,
        fails="not-proven",
        takes=("snapshot", "offsite", "extract"),
        about="the newest backup booted unseen, and proven with production's own passwords: every night",
    ),
    Procedure(
        "runbook/drill",
        "drilled",
        confirms=False,
        needs_hosts=False,
        takes=("snapshot",),
        about="restore a backup in a lab and prove it: every week",
    ),
    Procedure(
        "runbook/rollback",
        "rolled-back",
        refuses="::test_given_",
        does="takes the new etcd cluster away and puts back what was before the run",
        takes=("discard_new_writes", "accept"),
        about="put every host back as it was before the run",
    ),
    Procedure(
        "runbook/retry",
        "recovered",
        refuses="::TestRetry::test_given_",
        does="sets the restored data aside, restores it again and rebuilds the etcd cluster",
        takes=("snapshot", "accept"),
        about="set the restored data aside, restore it anew and go on",
    ),
    Procedure(
        "runbook/close",
        "closed",
        refuses="::test_given_",
        does="ends the unfinished run whose cluster people finished by hand",
        takes=("accept",),
        about="people finished the run by hand: prove the cluster and end the run",
    ),
    Procedure(
        "runbook/troubleshoot/collect_logs",
        "diagnosed",
        confirms=False,
        takes=("since",),
        about="logs of all hosts in one archive and one page",
    ),
    Procedure(
        "runbook/troubleshoot/diagnose",
        "diagnosed",
        confirms=False,
        about="what is wrong, the likeliest first, each with the next command",
    ),
    Procedure(
        "runbook/troubleshoot/debug_logging",
        "diagnosed",
        does="restarts members of the etcd cluster, one at a time",
        takes=("members!", "off"),
        about="etcd's debug logging on, or off again, member by member",
    ),
    Procedure(
        "runbook/troubleshoot/run_directly",
        "diagnosed",
        does="stops one member of the etcd cluster for a while",
        takes=("members!", "seconds"),
        about="one member run without its unit, for what it prints",
    ),
    Procedure(
        "runbook/troubleshoot/permissions",
        "diagnosed",
        does="gives etcd's files back to its account and restarts members, one at a time",
        takes=("members",),
        about="give etcd's files back to its account",
    ),
    Procedure(
        "runbook/troubleshoot/sudoers",
        "diagnosed",
        confirms=False,
        about="which commands sudo allows the login, and the lines that are missing",
    ),
)


def named(arguments: Sequence[str], base: Path, root: Path) -> Procedure | None:
    """The procedure that pytest's arguments name; None where they name none. `base`: what they are relative to.

    The innermost directory counts, so that `runbook` itself is only meant by its own name or by its modules'.
    """
    paths = [(base / argument.split("::")[0]).resolve() for argument in arguments]
    for procedure in sorted(PROCEDURES, key=lambda p: -len(p.directory)):
        directory = root / procedure.directory
        if any(path == directory or directory in path.parents for path in paths):
            return procedure
    return None


def mistyped(arguments: Sequence[str], base: Path, root: Path) -> tuple[str, tuple[str, ...]] | None:
    """An argument that names nothing that is there, as `runbook/bakup`, and the procedures that were likely meant; None
    where every one that is not there is no name of a procedure's kind."""
    every = [procedure.directory for procedure in PROCEDURES]
    for argument in arguments:
        path = (base / argument.split("::")[0]).resolve()
        if path.exists() or not path.is_relative_to(root):
            continue
        said = path.relative_to(root).as_posix()
        if difflib.get_close_matches(said.split("/")[0], ["runbook"]):
            last = [name for name in every if difflib.get_close_matches(path.name, [name.rsplit("/", 1)[-1]])]
            return argument, tuple(last or difflib.get_close_matches(said, every) or every)
    return None


def commits(nodeid: str) -> bool:
    """Whether this stage is of the module before which the commit prompt lies."""
    directory, _, module = nodeid.split("::")[0].rpartition("/")
    return any(p.directory == directory and p.commits == module for p in PROCEDURES)


def is_unnamed(path: Path, arguments: Sequence[str], base: Path, root: Path) -> bool:
    """Whether `path` belongs to a procedure of its own below `runbook/` that no argument names: it is not collected."""
    owner = named([str(path)], base, root)
    if owner is None or owner is PROCEDURES[0]:  # the recovery's own, or a directory on the way to a procedure
        return False
    directory = root / owner.directory
    paths = [(base / argument.split("::")[0]).resolve() for argument in arguments]
    return not any(argument == directory or directory in argument.parents for argument in paths)


def undecided(arguments: Sequence[str], base: Path, root: Path) -> list[str]:
    """The procedures below a directory that an argument names though it is none itself, as `runbook/troubleshoot`."""
    runbook = root / "runbook"
    paths = {(base / argument.split("::")[0]).resolve() for argument in arguments}
    above = {path for path in paths if runbook in path.parents}
    return [p.directory for p in PROCEDURES if above & set((root / p.directory).parents)]


def expected(directory: Path, root: Path, cases: Sequence[object] = ()) -> list[str]:
    """Node IDs of all stages directly in a procedure's directory, modules by name, stages as written.

    A module may import a class of stages from another module of the runbook: then it runs those very stages. A stage
    that takes a `case` is there once for each of `cases`.
    """
    nodes = []
    for module in sorted(directory.glob("test_*.py")):
        name = module.relative_to(root).as_posix()
        for item in ast.parse(module.read_text(encoding="utf-8")).body:
            if isinstance(item, ast.ImportFrom) and (item.module or "").startswith("runbook."):
                source = root / f"{(item.module or '').replace('.', '/')}.py"
                borrowed = [alias.name for alias in item.names if (alias.asname or alias.name).startswith("Test")]
                nodes += [f"{name}::{node}" for node in _stages(source, cases) if node.split("::")[0] in borrowed]
        nodes += [f"{name}::{node}" for node in _stages(module, cases)]
    return nodes


def _stages(module: Path, cases: Sequence[object]) -> list[str]:
    """`class::stage` of all stages that a module defines."""
    return [
        f"{item.name}::{stage.name}{suffix}"
        for item in ast.parse(module.read_text(encoding="utf-8")).body
        if isinstance(item, ast.ClassDef) and item.name.startswith("Test")
        for stage in item.body
        if isinstance(stage, ast.FunctionDef) and stage.name.startswith("test_")
        for suffix in _suffixes(stage, cases)
    ]


def _suffixes(stage: ast.FunctionDef, cases: Sequence[object]) -> list[str]:
    return [f"[{case}]" for case in cases] if any(a.arg == "case" for a in stage.args.args) else [""]


def difference(collected: Sequence[str], root: Path, cases: Sequence[object] = ()) -> str | None:
    """How the collected stages differ from their procedure's; None when they are exactly those."""
    if not collected:
        return "nothing was collected"
    directory = root / collected[0].split("::")[0]
    whole = expected(directory.parent, root, cases)
    for number, (found, wanted) in enumerate(zip(collected, whole, strict=False), start=1):
        if found != wanted:
            return f"stage {number} is {found.split('::')[-1]}, not {wanted.split('::')[-1]}"
    if len(collected) != len(whole):
        return f"{len(collected)} stages instead of {len(whole)}"
    return None
