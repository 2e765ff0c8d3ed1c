"""Which stages the runbook has, read from its own files: what pytest collects must be exactly that, in that order.

This one comparison takes the place of lists of forbidden options (-k, --lf, --deselect, random order, node IDs, …).
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path


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
