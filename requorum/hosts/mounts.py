"""Which place of which file system a path is, by `/proc/…/mountinfo`: two names of one place are told. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from requorum.hosts.question import plain

Place = tuple[str, str]  # a file system's device number, and a path in it


@dataclass(frozen=True)
class Mount:
    """`root`: the directory of its file system that is mounted. `layers`: of an overlay, the directories below it."""

    number: int
    parent: int
    device: str
    root: str
    at: str
    layers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mounts:
    found: tuple[Mount, ...]

    def lies(self, path: str) -> Place | None:
        """None where nothing is mounted above it, as in a changed root."""
        found = self._mount(path)
        return (found.device, _below(found.root, path, found.at)) if found else None

    def all(self, path: str) -> set[Place]:
        """The same, with all that is mounted below it, and, in an overlay, where that keeps it."""
        own = self._mount(path)
        layers = [_below(layer, path, own.at) for layer in own.layers] if own else []
        places = {self.lies(at) for at in (path, *layers)}
        places |= {(mount.device, mount.root) for mount in self.found if _is_in(mount.at, path)}
        return {place for place in places if place}

    def _mount(self, path: str) -> Mount | None:
        """As the kernel walks: of what is mounted on a file system, the first on the way; a later mount on the same
        place lies on the earlier one."""
        numbers = {mount.number for mount in self.found}
        now = next((m for m in self.found if m.at == "/" and (m.parent not in numbers or m.parent == m.number)), None)
        left = [mount for mount in self.found if _is_in(path, mount.at)]
        while now:
            on = [mount for mount in left if mount.parent == now.number and mount != now]
            if not on:
                break
            now = min(on, key=lambda mount: len(mount.at))
            left.remove(now)
        return now


def overlap(one: Collection[Place], other: Collection[Place]) -> bool:
    """Whether a place of one is, holds, or is in a place of the other."""
    return any(a[0] == b[0] and (_is_in(a[1], b[1]) or _is_in(b[1], a[1])) for a in one for b in other)


def _below(directory: str, path: str, at: str) -> str:
    """What `path` is below `at`, below another directory."""
    return posixpath.normpath(f"{directory.rstrip('/')}/{posixpath.relpath(path, at)}")


def _is_in(path: str, directory: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{directory.rstrip('/')}/")


# 36 35 98:0 /root /at options optional… - type source options
_ROW = re.compile(r"(\d+) (\d+) (\d+:\d+) (\S+) (/\S*) \S+(?: \S+)*? - (\S+) \S*(?: (\S+))?")
_LAYER = re.compile(r"(?:^|,)(?:upperdir|lowerdir\+?|datadir\+?)=([^,]*)")


def read(lines: Iterable[str]) -> Mounts:
    """Raises `ValueError` for a line that is none: what is not understood must not be taken for a place of its own."""
    return Mounts(tuple(map(_mount, lines)))


def _mount(line: str) -> Mount:
    found = _ROW.fullmatch(line)
    if not found:
        raise ValueError(f"not a line of mountinfo: {plain(line)[:100]}")
    number, parent, device, root, at, kind, options = found.groups()
    layers = _LAYER.findall(options or "") if kind == "overlay" else ()
    directories = [_spelled(path) for layer in layers for path in layer.split(":") if path.startswith("/")]
    return Mount(int(number), int(parent), device, _spelled(root), _spelled(at), tuple(directories))


def _spelled(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)
