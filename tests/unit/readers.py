"""Every question of the code, made with what a small healthy cluster would ask with: for tests of all readers."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requorum
from requorum.cluster.lineage import Lineage
from requorum.command import Command, Result
from requorum.diagnosis import check
from requorum.hosts.certificates import Certificate
from requorum.hosts.question import Question
from requorum.hosts.systemd import ExecStart
from requorum.refusal import Refusal
from requorum.snapshots.disks import Disk
from requorum.snapshots.emptiness import Place
from requorum.snapshots.on_host import Origin
from tests.unit import build
from tests.unit.world import World

MEMBER = build.inventory().members[0]
KEY = "/etc/etcd/dh/lab/server"
CERTIFICATE = Certificate(f"{KEY}.crt", f"{KEY}.key", f"{KEY}.ca.crt")
CONFIG = build.config(1, certificates=(CERTIFICATE,), metrics_url="http://127.0.0.1:2381")
# What a parameter of this name is given.
GIVEN: dict[str, Any] = {
    "account": "etcd",
    "accounts": ("etcd",),
    "address": "10.0.0.11",
    "archive": "/var/lib/requorum/server.tgz",
    "aside": "/var/lib/requorum/aside",
    "before": "/var/lib/requorum/lab/client.before",
    "bumps": 0,
    "certificate": CERTIFICATE,
    "client": build.CLIENT,
    "cluster": "lab",
    "command": Command("etcd-1", ("etcdctl", "get", "x"), "whether it logs in", changes=False, accept=None),
    "config": CONFIG,
    "data_dir": CONFIG.data_dir,
    "data_root": "/var/lib/etcd/dh",
    "databases": (f"{CONFIG.data_dir}/member/snap/db",),
    "directory": build.CLIENT,
    "disk": Disk(MEMBER, CONFIG, Lineage("old"), installed=True),
    "endpoint": "https://10.0.0.11:2379",
    "endpoints": "https://10.0.0.11:2379",
    "found": ExecStart(("/usr/bin/etcd",), ("A=B",), ("/etc/default/etcd",), "etcd", "/", 1024),
    "host": "etcd-1",
    "installed": True,
    "inventory": build.inventory(),
    "invocation": "0" * 32,
    "ip": "10.0.0.11",
    "kept": ("/var/lib/requorum/kept",),
    "keys": (f"{KEY}.key",),
    "known": Place("etcd-1", build.STOPPED, None),
    "last_up": ("configuration_server",),
    "lines": (("/usr/local/bin/config_generator.sh", "lab"),),
    "member": MEMBER,
    "name": "irisadmin",
    "number": 1,
    "origin": Origin("file", None, 0, "2026-01-01T00:00:00Z"),
    "paths": ("/etc/etcd/dh/latest/config.yaml",),
    "path": "/etc/etcd/dh/latest/config.yaml",
    "places": ("/etc/etcd/dh",),
    "port": 2379,
    "prefix": "/main",
    "process": "123",
    "program": "/usr/bin/etcd",
    "programs": ("/usr/bin/etcd",),
    "read": lambda text: text,
    "revision": 7,
    "role": "irisadmin",
    "roles": ("irisadmin",),
    "place": "/var/lib/requorum/lab",
    "settings": build.inventory().etcd,
    "snapshot": "a" * 64,
    "terms": build.terms(),
    "theirs": ("/srv/foo",),
    "tool": "etcdutl",
    "tools": {"etcd-1": build.BUMPING},
    "unit": build.UNIT,
    "user": "root",
    "wanted": ("root",),
    "what": "user",
    "why": "why",
    "words": ("get",),
}
OWN: dict[str, dict[str, Any]] = {  # of a function whose parameter means something else
    "requorum.cluster.archive.ask_listing": {},
    "requorum.hosts.system.ask_missing": {"tools": ("etcdctl",), "path": "/usr/bin"},
    "requorum.hosts.system.ask_unfound": {"sought": ("/usr/bin", ("etcdctl",))},
    "requorum.snapshots.disks.ask_earlier": {"config": "/etc/etcd/dh/latest/config.yaml"},
    "requorum.troubleshoot.debug_logging.ask_kept": {"kept": "/var/lib/requorum/kept"},
}
# They join questions that are made elsewhere, or are asked by a run that was begun.
JOIN = {"every", "both", "or_refusal", "_ask", "ask_page", "_ask_as_it_is", "_ask_equipment", "_ask_database"}


def makers() -> Iterator[tuple[str, Callable[..., Question[Any]]]]:
    """(name, function) of whatever gives a `Question`, by its annotation."""
    for module in pkgutil.walk_packages(requorum.__path__, "requorum."):
        if module.name == "requorum.__main__" or ("journal" in module.name and module.name.count(".") == 1):
            continue
        for name, function in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction):
            told = str(function.__annotations__.get("return", ""))
            if function.__module__ == module.name and told.startswith("Question[") and name not in JOIN:
                yield f"{module.name}.{name}", function


def questions() -> dict[str, Question[Any]]:
    """All of them by name. A parameter that nothing is given for is a `KeyError`."""
    found = {}
    for name, function in makers():
        given = {**GIVEN, **OWN.get(name, {})}
        positional: list[Any] = []
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                positional += given["places"] if parameter.name in ("places", "paths") else ()
            elif parameter.kind is parameter.KEYWORD_ONLY or parameter.default is not parameter.empty:
                continue
            else:
                positional.append(given[parameter.name])
        found[name] = function(*positional)
    world = World()
    seen = world.asked()
    for case in check.cases(world.terms):
        for key, question in case.check.ask(seen, case.subject).items():
            found[f"check {case.check.name}, {case.subject}: {key}"] = question
    return found


# Of lines, of brackets that do not end, of many small values.
MEMORY, SECONDS = 256 << 20, 5
LONG = ("\n", "[", "{},", "a b 1 /x\n")


def main() -> None:
    """Has every reader read as much as its question lets a host say. Prints which of them takes too much for it."""
    asked = {question.read.__code__: (name, question) for name, question in questions().items()}
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for name, question in asked.values():
        most = min(max(command.most for command in question.commands), 64 << 20)  # of all keys more may come
        for piece in LONG:
            text = ("[" if piece == "{}," else "") + piece * (most // len(piece))
            began = time.process_time()
            try:
                question.understand([Result(command, 0, text, "", 0.0) for command in question.commands])
            except Refusal as refusal:
                why = repr(refusal.__cause__) if isinstance(refusal.__cause__, MemoryError) else ""
            else:
                why = ""
            seconds = time.process_time() - began
            if why or seconds > SECONDS:
                print(f"{name}, {piece!r}: {why or f'{seconds:.1f} s'}")


if __name__ == "__main__":
    main()
