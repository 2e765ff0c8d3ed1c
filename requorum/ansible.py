"""Hosts by group from an Ansible inventory, INI or YAML: as much of it as an inventory of ours is begun with."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from requorum import yaml_text
from requorum.refusal import Refusal

Groups = dict[str, dict[str, dict[str, str]]]  # group → host → its own variables

_SECTION = re.compile(r"\[([^\]:]+)(?::(\w+))?\]")
_RANGE = re.compile(r"\[([0-9]+|[a-z]):([0-9]+|[a-z])\]")
MOST = 10_000  # hosts of one range


def read(path: Path) -> Groups:
    """Children are in their parents, too. Raises `Refusal` that names file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(str(path), f"cannot be read: {error}", "name an Ansible inventory, INI or YAML") from None
    return _yaml(path, text) if path.suffix in (".yml", ".yaml") else _ini(path, text)


def hosts(path: Path, groups: Groups, group: str) -> dict[str, dict[str, str]]:
    """host → variables of one group. Raises `Refusal` where there is no such group, or nobody in it."""
    if not groups.get(group):
        known = ", ".join(sorted(name for name, there in groups.items() if there))
        raise Refusal(str(path), f"has no hosts in a group {group}", f"name one of {known}")
    return groups[group]


def _ini(path: Path, text: str) -> Groups:
    groups: Groups = {}
    children: dict[str, list[str]] = {}
    group, kind = "ungrouped", ""
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#")[0].split(";")[0].strip()
        section = _SECTION.fullmatch(words)
        if section:
            group, kind = section[1].strip(), section[2] or ""
            groups.setdefault(group, {})
        elif words and kind == "children":
            children.setdefault(group, []).append(words)
        elif words and kind == "":
            try:
                name, *pairs = shlex.split(words)
                own = dict(pair.split("=", 1) for pair in pairs)
            except ValueError as error:
                raise Refusal(f"{path}:{number}", f"is no host with variables: {error}", "correct that line") from None
            groups.setdefault(group, {}).update(dict.fromkeys(_each(name), own))
    return _with_children(groups, children)


def _each(name: str) -> Iterator[str]:
    """`etcd-[1:3]` → etcd-1, etcd-2, etcd-3; a port behind a colon is left out."""
    found = _RANGE.search(name)
    if not found:
        yield name.split(":")[0] if name.count(":") == 1 else name
        return
    first, last = found.groups()
    numbers = first.isdigit() and last.isdigit()
    values = range(int(first), int(last) + 1) if numbers else range(ord(first), ord(last) + 1)
    for value in values[:MOST]:
        part = str(value).zfill(len(first)) if numbers else chr(value)
        yield from _each(f"{name[: found.start()]}{part}{name[found.end() :]}")


def _yaml(path: Path, text: str) -> Groups:
    try:
        data = yaml_text.load(text)
    except yaml_text.YAMLError as error:
        raise Refusal(str(path), f"is not valid YAML: {' '.join(str(error).split())}", "correct it") from None
    groups: Groups = {}
    children: dict[str, list[str]] = {}

    def walk(name: str, body: object) -> None:
        there = body if isinstance(body, dict) else {}
        own = groups.setdefault(name, {})
        for host, values in (there.get("hosts") or {}).items():
            pairs = values if isinstance(values, dict) else {}
            own.update({one: {str(k): str(v) for k, v in pairs.items()} for one in _each(str(host))})
        for child, inner in (there.get("children") or {}).items():
            children.setdefault(name, []).append(str(child))
            walk(str(child), inner)

    if not isinstance(data, dict):
        raise Refusal(str(path), "holds no groups", "name an Ansible inventory, INI or YAML")
    for name, body in data.items():
        walk(str(name), body)
    return _with_children(groups, children)


def _with_children(groups: Groups, children: dict[str, list[str]]) -> Groups:
    """Variables of a host that stands in several groups are put together."""
    variables: dict[str, dict[str, str]] = {}
    for there in groups.values():
        for host, own in there.items():
            variables.setdefault(host, {}).update(own)

    def all_of(name: str, above: tuple[str, ...]) -> list[str]:
        below = [child for child in children.get(name, []) if child not in above]
        return [*groups.get(name, {}), *(h for child in below for h in all_of(child, (*above, child)))]

    return {
        name: {host: variables[host] for host in dict.fromkeys(all_of(name, (name,)))}
        for name in dict.fromkeys((*groups, *children))
    }
