"""Which procedures there are, and which stages each has: what pytest collects must be exactly those, in that order.

This one comparison takes the place of lists of forbidden options (-k, --lf, --deselect, random order, node IDs, …).
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from requorum.refusal import Refusal


@dataclass(frozen=True)
class Procedure:
    """One directory of stages. `confirms`: it changes the cluster, so its name must be typed. `needs_hosts`: it runs
    on the machines of an inventory that `--hosts` names. `outcome`: what the summary says when every stage passed."""

    directory: str
    outcome: str
    confirms: bool = True
    needs_hosts: bool = True


PROCEDURES = (
    Procedure("runbook", "recovered"),
    Procedure("runbook/backup", "backed-up", confirms=False),
    Procedure("runbook/drill", "drilled", confirms=False, needs_hosts=False),
    Procedure("runbook/troubleshoot/diagnose", "diagnosed", confirms=False),
    Procedure("runbook/troubleshoot/collect_logs", "diagnosed", confirms=False),
)


def named(arguments: Sequence[str], base: Path, root: Path) -> Procedure | None:
    """The procedure that pytest's arguments name; None where they name none. `base`: what they are relative to.

    The innermost directory counts, so that `runbook` itself is only meant by its own name or by its modules'. Raises
    `Refusal` for a directory below `runbook/` that is no procedure, as `runbook/troubleshoot`, which holds several.
    """
    paths = _paths(arguments, base)
    for procedure in sorted(PROCEDURES, key=lambda p: -len(p.directory)):
        directory = root / procedure.directory
        inside = next((path for path in paths if path == directory or directory in path.parents), None)
        if inside is not None:
            _refuse_a_collection(inside, directory, root)
            return procedure
    return None


def _refuse_a_collection(path: Path, directory: Path, root: Path) -> None:
    """`path` must be a procedure's own directory or one of its modules."""
    if path in (directory, *directory.glob("*.py")):
        return
    below = [p.directory for p in PROCEDURES if path in (root / p.directory).parents]
    known = below or [p.directory for p in PROCEDURES if p.directory != "runbook"]
    raise Refusal(path.relative_to(root).as_posix(), "is no procedure", f"name one: {', '.join(known)}")


def is_unnamed(path: Path, arguments: Sequence[str], base: Path, root: Path) -> bool:
    """Whether `path` belongs to a procedure of its own below `runbook/` that no argument names: it is not collected."""
    for procedure in PROCEDURES:
        directory = root / procedure.directory
        if directory != root / "runbook" and (path == directory or directory in path.parents):
            return not any(named == directory or directory in named.parents for named in _paths(arguments, base))
    inner = path.is_dir() and path != root / "runbook"  # a directory that only holds procedures, or is none at all
    return inner and not any(path in (named, *named.parents) for named in _paths(arguments, base))


def _paths(arguments: Sequence[str], base: Path) -> list[Path]:
    return [(base / argument.split("::")[0]).resolve() for argument in arguments]


def expected(directory: Path, root: Path) -> list[str]:
    """Node IDs of all stages directly in a procedure's directory, modules by name, stages as written."""
    nodes = []
    for module in sorted(directory.glob("test_*.py")):
        name = module.relative_to(root).as_posix()
        for item in ast.parse(module.read_text(encoding="utf-8")).body:
            if isinstance(item, ast.ClassDef) and item.name.startswith("Test"):
                nodes += [
                    f"{name}::{item.name}::{stage.name}"
                    for stage in item.body
                    if isinstance(stage, ast.FunctionDef) and stage.name.startswith("test_")
                ]
    return nodes


def difference(collected: Sequence[str], root: Path) -> str | None:
    """How the collected stages differ from their procedure's; None when they are exactly those."""
    if not collected:
        return "nothing was collected"
    directory = root / collected[0].split("::")[0]
    whole = expected(directory.parent, root)
    for number, (found, wanted) in enumerate(zip(collected, whole, strict=False), start=1):
        if found != wanted:
            return f"stage {number} is {found.split('::')[-1]}, not {wanted.split('::')[-1]}"
    if len(collected) != len(whole):
        return f"{len(collected)} stages instead of {len(whole)}"
    return None
