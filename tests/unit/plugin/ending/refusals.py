"""Every refusal that the code can make, as its author wrote it: its remedy with likely words for what is filled in."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requorum.refusal import Remedy

ROOT = Path(__file__).parents[4]
MADE = ("settle", "prove", "_on_configuration_server")  # the remedy is their argument of that name, or this one
AT = {"settle": 2, "prove": 3, "_on_configuration_server": 3}
# What stands in braces, by the last name in it.
WORDS = {
    "hosts": "lab",
    "unit": "dh-etcd.service",
    "monit_status": "/usr/illumon/latest/bin/dh_monit summary",
    "run": "20260101t000000z-abcdef",
    "accept": "--accept=backup",
    "clear": "ssh infra-1.invalid sudo -n timeout -k 5 60 rm -f /var/lib/requorum/lab/lock",
    "away": "ssh infra-1.invalid sudo -n timeout -k 5 60 mv /var/lib/requorum/lab/run.json /root/",
}
CALLS = {
    "rollback": "pytest runbook/rollback --hosts=lab",
    "by_hand": WORDS["clear"],
    "recovery": "pytest runbook --hosts=lab",
    "option": "--accept=backup",
    "_look_at_monit": "look at `/usr/illumon/latest/bin/dh_monit summary` and the process's log there",
}


@dataclass(frozen=True)
class Written:
    """A remedy and where it stands. `text` "": it is made elsewhere, by a function with tests of its own."""

    place: str
    text: str
    kind: str


def written() -> Iterator[Written]:
    for path in sorted((*(ROOT / "requorum").rglob("*.py"), *(ROOT / "runbook").rglob("*.py"))):
        name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (kind := _kind(node)):
                given = {word.arg: word.value for word in node.keywords}
                at = AT.get(kind, 2)
                remedy = given.get("remedy", node.args[at] if len(node.args) > at else None)
                if remedy is not None:
                    for text in _texts(remedy, name):
                        yield Written(f"{name}:{node.lineno}", text, kind)


def _kind(call: ast.Call) -> str:
    function = call.func
    name = (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )
    refuses = name.endswith("Error") or name in (
        "Refusal",
        "Disproved",
        "NothingToDo",
        "Unreachable",
        "Unproven",
        "NotConfirmed",
        "Unforeseen",
    )
    ours = refuses and name not in (
        "ValueError",
        "FileExistsError",
        "StreamError",
        "BoltError",
        "PackedError",
        "UsageError",
        "RuntimeError",
        "_refused",
        "YAMLError",
        "ComposerError",
        "ConstructorError",
    )
    return name if name in MADE or ours else ""


def _texts(node: ast.expr, module: str) -> list[str]:
    """Of a choice, both."""
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body, module), *_texts(node.orelse, module)]
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(v.value) if isinstance(v, ast.Constant) else _filled(v.value, module) for v in node.values)]  # type: ignore[attr-defined]
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "remedy":
        return _texts(node.args[0], module)
    if isinstance(node, ast.Name):
        found: Any = getattr(importlib.import_module(module), node.id, None)
        return [str(found)] if isinstance(found, str | Remedy) else []
    return []


def _filled(value: ast.expr, module: str) -> str:
    if isinstance(value, ast.Call):
        name = value.func.attr if isinstance(value.func, ast.Attribute) else ast.unparse(value.func)
        return CALLS.get(name, "etcd-1")
    name = value.attr if isinstance(value, ast.Attribute) else ast.unparse(value)
    constant = getattr(importlib.import_module(module), name, None)
    return constant if isinstance(constant, str) else WORDS.get(name, "etcd-1")
