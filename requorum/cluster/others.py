"""Every etcd that runs on a host, whatever its unit: which is surely another cluster's. Pure.

What its command line and its unit say is taken as proof only where neither leaves anything open, and where its
directories lie, behind links and mounts, nothing of this cluster's does.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from requorum.command import MOST_OF_A_LIST, Result, look
from requorum.hosts import mounts
from requorum.hosts.mounts import Mounts
from requorum.hosts.question import Question, plain
from requorum.inventory import Etcd

_ROW = re.compile(r"\s*([0-9]{1,10})\s+(\S+)\s+(.*)")
_UNIT = re.compile(r"/([^/,\s]+\.(?:service|scope))(?=[/,\s]|$)")
_FLAG = re.compile(r"--?([a-z][a-z0-9-]*)(?:=(.*))?")
# What makes paths or settings others than the command line says: ETCD_CONFIG_FILE overrules every flag.
_MOVED = ("Environment", "EnvironmentFiles", "PassEnvironment", "BindPaths", "RootDirectory", "RootImage")


@dataclass(frozen=True)
class Running:
    """One process of etcd. `unit`: systemd's, the innermost, "" where nobody tells; `ours`: below the cluster's unit or
    one of this program."""

    pid: int
    unit: str = ""
    ours: bool = False
    words: tuple[str, ...] = ()

    def flags(self, name: str) -> list[str]:
        """Each value of a flag; "" where it has none that can be told."""
        return [value for flag, value in _flags(self.words) if flag == name]

    @property
    def data(self) -> str:
        return next(iter(self.flags("data-dir")), "")

    @property
    def directories(self) -> list[str]:
        return [*self.flags("data-dir"), *self.flags("wal-dir")]

    @property
    def ports(self) -> list[str]:
        return list(dict.fromkeys(port for value in self._listens() for port in re.findall(r":(\d+)(?=[/,]|$)", value)))

    def _listens(self) -> list[str]:
        return [*self.flags("listen-client-urls"), *self.flags("listen-peer-urls")]

    def __str__(self) -> str:
        told = [self.unit or "no unit is known", f"data {self.data}" * bool(self.data)]
        told += [f"ports {', '.join(self.ports)}"] if self.ports else []
        return plain(f"process {self.pid} ({', '.join(filter(None, told))})")

    def doubt(self, etcd: Etcd, moved: str | None) -> str:
        """Why it may be this cluster's; "" where it is surely another's. `moved`: what its unit moves, None where that
        is not known."""
        directories = self.directories
        ports = {str(etcd.client_port), str(etcd.peer_port)}
        if self.ours:
            return "it is this cluster's unit"
        if self.flags("config-file") or any(etcd.config in word for word in self.words):
            return "what it uses is in a configuration file"
        if not self.data or any(not directory.startswith("/") for directory in directories):
            return "its command line does not say where its data is"
        if any(_overlap(directory, etcd.data_root) for directory in directories):
            return f"its data is in {etcd.data_root}"
        if not (self.flags("listen-client-urls") and self.flags("listen-peer-urls")) or ports & set(self.ports):
            return f"it listens, or may listen, on port {etcd.client_port} or {etcd.peer_port}"
        if moved is None or not self.unit.endswith(".service"):
            return "no unit tells how it was started"
        return moved


def _flags(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for word, following in zip(words, (*words[1:], ""), strict=True):
        if found := _FLAG.fullmatch(word):
            yield found[1], found[2] if found[2] is not None else following if not following.startswith("-") else ""


def _overlap(one: str, other: str) -> bool:
    one, other = (f"{posixpath.normpath(path)}/" for path in (one, other))
    return one.startswith(other) or other.startswith(one)


def ask_running(host: str, unit: str) -> Question[tuple[Running, ...]]:
    """Every process that is called etcd, as far as this login may see them."""
    command = ("ps", "-ww", "-C", "etcd", "-o", "pid=", "-o", "cgroup:1024=", "-o", "args=")

    def read(answer: Result) -> tuple[Running, ...]:
        rows = [found.groups() for line in answer.stdout.splitlines() if (found := _ROW.fullmatch(line))]
        return tuple(_running(int(pid), group, words, unit) for pid, group, words in rows)

    return Question(
        look(host, *command, why="every etcd that runs, whatever its unit", root=False, most=MOST_OF_A_LIST), read
    )


def _running(pid: int, group: str, words: str, unit: str) -> Running:
    units = _UNIT.findall(group)
    ours = unit in units or "/requorum.slice" in group or any(name.startswith("requorum-") for name in units)
    return Running(pid, units[-1] if units else "", ours, tuple(words.split()[1:]))


def ask_moved(host: str, unit: str) -> Question[str | None]:
    """Whether its unit gives it other settings or paths than its command line says, in words; None if nobody tells."""
    command = ("systemctl", "show", "-p", ",".join(_MOVED), "--", unit)

    def read(answer: Result) -> str | None:
        told = dict(line.split("=", 1) for line in answer.stdout.splitlines() if "=" in line)
        if answer.code != 0 or "Environment" not in told:
            return None
        return next((f"{name} of its unit may say otherwise" for name in _MOVED if told.get(name, "").strip()), "")

    return Question(look(host, *command, why="how that etcd is started", root=False), read)


# Links are followed as the host follows them; two names may still be one place, by mounts: of the login, and of the
# process, which may see others. Its environment may name a configuration that its unit does not.
_WHERE = """
lies() {
    real=$(realpath -m "$1") && echo "$real" || return 1
    [ ! -d "$real" ] || find -L "$real" -maxdepth 3 -ignore_readdir_race -xtype l -exec realpath -m {} +
}
echo = mounts; cat /proc/self/mountinfo || exit 1
echo = its; cat "/proc/$0/mountinfo" || exit 1
echo = set; tr "\\0" "\\n" 2>/dev/null <"/proc/$0/environ" | grep -o "^ETCD_CONFIG_FILE="
echo = ours
for at; do
    if [ "$at" = -- ]; then echo = theirs; else lies "$at" || exit 1; fi
done
"""
_SECTIONS = ("mounts", "its", "set", "ours", "theirs")
_MOUNTS, _PLACES = 10_000, 100  # more than any host has of them: each place is held against each


def ask_where(host: str, process: str, theirs: Sequence[str], places: Sequence[str]) -> Question[str]:
    """Why the data of an etcd may be this cluster's, by where its directories and this cluster's `places` really lie;
    "" where they lie apart."""
    argv = ("sh", "-c", _WHERE, process, *dict.fromkeys(places), "--", *dict.fromkeys(theirs))
    command = look(host, *argv, why="where that etcd's data really lies", most=MOST_OF_A_LIST)

    def read(answer: Result) -> str:
        parts = re.split(r"^= (\w+)\n", answer.stdout, flags=re.M)
        if answer.code != 0 or tuple(parts[1::2]) != _SECTIONS:
            return f"where its data really lies cannot be told: {plain(answer.words)}"
        here, there, named, ours, its = (part.splitlines() for part in parts[2::2])
        if named:
            return "its environment names a configuration file"
        if max(len(here), len(there)) > _MOUNTS or len(ours) + len(its) > _PLACES:
            return "where its data really lies cannot be told: there are too many mounts or links"
        return _one_place(mounts.read(here), mounts.read(there), its, ours)

    return Question(command, read)


def _one_place(here: Mounts, there: Mounts, theirs: Sequence[str], ours: Sequence[str]) -> str:
    """`here`: as this login sees it; `there`: as the process does."""
    if moved := next((path for path in theirs if here.lies(path) != there.lies(path)), None):
        return f"{plain(moved)} is on another file system for it than for this login"
    known = {path: here.all(path) for path in {*theirs, *ours}}
    same = ((a, b) for a in theirs for b in ours if mounts.overlap(known[a], known[b]))
    return next((f"its data in {plain(a)} lies where this cluster's does, in {plain(b)}" for a, b in same), "")
