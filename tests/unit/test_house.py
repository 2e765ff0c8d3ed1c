"""The house's import rule, read from the code: a package imports only what stands above it."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

from requorum.procedures import PROCEDURES

ROOT = Path(__file__).parents[2]
LEVELS = ("evidence", "hosts", "cluster", "run", "snapshots", "recovery troubleshoot verify", "diagnosis", "plugin")
LEVEL = {room: number for number, rooms in enumerate(LEVELS, start=1) for room in rooms.split()}  # the ground is 0
ON_TOP = ("__main__", "journal", "report", "sudoers", "plugin")  # the three are aliases of what `python -m` promises


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


HOUSE = {dotted(path): path for path in ROOT.glob("requorum/**/*.py")}


def imported(path: Path) -> set[str]:
    """The house's modules that are imported anywhere in a file, without `requorum.` before them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            whole = {f"{node.module}.{alias.name}": str(node.module) for alias in node.names}
            found |= {name if name in HOUSE else module for name, module in whole.items()}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.removeprefix("requorum.") for name in found if name.startswith("requorum.")}


ARROWS = {(dotted(p).removeprefix("requorum."), other) for p in HOUSE.values() for other in imported(p)}


def points_down(module: str, other: str) -> bool:
    here, there = module.split(".")[0], other.split(".")[0]
    return here not in ON_TOP and here != there and 0 < LEVEL.get(there, 0) >= LEVEL.get(here, 0)


def test_a_package_imports_only_what_stands_above_it() -> None:
    assert {arrow for arrow in ARROWS if points_down(*arrow)} == set()
    assert {place.parent.name for place in ROOT.glob("requorum/*/__init__.py")} == set(LEVEL)


def test_nothing_in_cluster_reaches_a_machine() -> None:
    assert not [module for module, other in ARROWS if module.startswith("cluster.") and other == "hosts.fleet"]


def test_the_plugin_is_named_by_the_root_conftest_alone() -> None:
    others = [path for place in ("runbook", "compose") for path in ROOT.glob(f"{place}/**/*.py")]
    users = {dotted(path) for path in others if any(name.startswith("plugin") for name in imported(path))}
    users |= {module for module, other in ARROWS if other.startswith("plugin") and not module.startswith("plugin")}
    assert users == set()
    assert '("requorum.plugin.hooks",)' in (ROOT / "conftest.py").read_text(encoding="utf-8")


def test_no_environment_is_in_the_repository_nor_a_link_to_one() -> None:
    """A commit of one takes away what the checkout that it is merged into runs by."""
    tracked = subprocess.run(["git", "ls-files", ".venv"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert tracked.stdout == ""


def test_a_procedures_row_holds_no_code() -> None:
    values = [value for row in PROCEDURES for value in vars(row).values()]
    parts = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    assert {type(part) for part in parts} <= {str, bool}


def test_a_function_fits_a_screen_and_a_file_fits_a_head() -> None:
    texts = {module: path.read_text(encoding="utf-8") for module, path in HOUSE.items()}
    assert not [module for module, text in texts.items() if text.count("\n") > 600]
    nodes = [(module, node) for module, text in texts.items() for node in ast.walk(ast.parse(text))]
    functions = [(module, node) for module, node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert not [f"{m}.{node.name}" for m, node in functions if (node.end_lineno or 0) - node.lineno >= 50]
