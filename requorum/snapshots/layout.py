"""What lies where etcd keeps data, wherever links and `wal-dir` lead: listings, read strictly. Pure.

The listings are a line of the sudo rules that sites have installed already (`permissions` asks it too).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from requorum.cluster.etcd import MemberConfig
from requorum.command import Command, Result, look
from requorum.deadlines import LONG
from requorum.hosts.question import NOT_THERE, Question

ENTRY = r"%y %U %G %m %n %p\0"
DEPTH = 3  # from a data directory to member/snap/db and member/wal/*.wal
OURS = ("lost+found",)  # what a file system keeps for itself


@dataclass(frozen=True)
class Layout:
    """`entries`: path below the directory → find's letter for its kind ("f", "d", "l", …); None where there is no such
    directory, which was seen and not guessed. `depth`: how deep it was looked into. `problem`: why it cannot be said
    what lies there, "" if it can. `link`: its own name is one."""

    entries: dict[str, str] | None = field(default_factory=dict)
    problem: str = ""
    depth: int = DEPTH
    link: bool = False

    @property
    def files(self) -> list[str]:
        """All that is no directory, so that a tree of empty directories holds nothing; and what was not looked into."""
        found = {path: kind for path, kind in (self.entries or {}).items() if not _is_ours(path)}
        return sorted(path for path, kind in found.items() if kind != "d" or path.count("/") + 1 >= self.depth)


@dataclass(frozen=True)
class Data:
    """What etcd would read of a member. `snap` and `wal`: the directories, by names that may be links; `snaps` and
    `logs`: names of the regular files in them that are data; `links`: names on the way that are links. `problem`: why
    it cannot be said that this is all of it, "" where it is, or where nothing is there."""

    snap: str
    wal: str
    snaps: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    problem: str = ""


def ask_layout(host: str, directory: str, depth: int = DEPTH) -> Question[Layout]:
    """All of it down to `depth`, and the directory's own name, which may be a link that leads nowhere."""
    command = look(
        host,
        "find",
        f"{directory}/.",
        directory,
        "-maxdepth",
        str(depth),
        "-printf",
        ENTRY,
        why=f"what lies in {directory}",
        deadline=LONG,
    )
    return Question(command, lambda answer: _read(directory, answer, depth))


def _read(directory: str, answer: Result, depth: int) -> Layout:
    """A directory that is gone is told by the system's own words for it; any other complaint is a problem."""
    kinds, inside = _kinds(answer), f"{directory}/."
    if odd := next((path for path in kinds if not path.isprintable()), None):
        return Layout(problem=f"a name in {directory} cannot be shown: {odd!r}")
    missing, complaint = _complaint(answer)
    if complaint:
        return Layout(problem=f"{directory} cannot be looked at: {complaint}")
    if inside in kinds:
        below = {path.removeprefix(f"{inside}/"): kind for path, kind in kinds.items() if path.startswith(f"{inside}/")}
        return Layout(below, depth=depth, link=kinds.get(directory) == "l")
    if directory in kinds:
        return Layout(problem=f"{directory} is no directory and leads to none")
    return Layout(None) if missing else Layout(problem=f"{directory} cannot be looked at: {answer.words}")


def _kinds(answer: Result) -> dict[str, str]:
    """Path → find's letter for its kind."""
    rows = (entry.lstrip("\n").split(" ", 5) for entry in answer.stdout.split("\0"))
    return {words[5]: words[0] for words in rows if len(words) == 6 and words[5].startswith("/")}


def _complaint(answer: Result) -> tuple[bool, str]:
    """Whether find missed only what is not there; its word where it complained of anything else."""
    said = [line for line in answer.stderr.splitlines() if line.startswith("find: ")]
    missing = bool(said) and all(line.endswith(NOT_THERE) for line in said)
    if answer.code == 0 or (answer.code == 1 and missing):
        return missing, ""
    others = [line for line in said if not line.endswith(NOT_THERE)]
    return missing, others[-1] if others else answer.words


def _is_ours(path: str) -> bool:
    return any(part in OURS for part in path.split("/"))


# -- a member's data ---------------------------------------------------------------------------------------------


def wal(config: MemberConfig) -> str:
    """The directory of the log."""
    return config.wal_dir.rstrip("/") or f"{config.data_dir}/member/wal"


def ask_data(host: str, config: MemberConfig) -> Question[Data]:
    """What etcd would read with this configuration: its data directory, and where links and `wal-dir` lead from it."""
    whole, parts = ask_layout(host, config.data_dir), _list_parts(host, config)
    return Question((*whole.commands, parts), lambda lies, led: _read_data(config, whole.understand([lies]), led))


def ask_log(host: str, config: MemberConfig) -> Question[bool]:
    """Whether a write-ahead log is there: an etcd that finds none begins an empty cluster."""
    inside = f"{wal(config)}/./"

    def read(answer: Result) -> bool:
        return any(path.startswith(inside) and path.endswith(".wal") for path in _kinds(answer))

    return Question(_list_parts(host, config), read)


def _list_parts(host: str, config: MemberConfig) -> Command:
    """What lies in `member`, `snap` and `wal`, behind whatever links; and the own name of a `wal-dir`."""
    member = f"{config.data_dir}/member"
    places = [member, f"{member}/snap", f"{member}/wal"]
    apart = [f"{wal(config)}/.", wal(config)] if wal(config) not in places else []
    return look(
        host,
        "find",
        *(f"{place}/." for place in places),
        *apart,
        "-maxdepth",
        "1",
        "-printf",
        ENTRY,
        why=f"where the data of {config.data_dir} really lies",
        deadline=LONG,
    )


def _read_data(config: MemberConfig, found: Layout, led: Result) -> Data:
    """Both listings as one tree: path as etcd names it → kind."""
    directory, behind, log = config.data_dir, _kinds(led), wal(config)
    member, snap = f"{directory}/member", f"{directory}/member/snap"
    opened = {path.removesuffix("/.") for path in behind if path.endswith("/.")}
    tree = {f"{directory}/{path}": kind for path, kind in (found.entries or {}).items()}
    tree |= {path.replace("/./", "/"): kind for path, kind in behind.items() if "/./" in path or path == log}
    tree = {path: kind for path, kind in tree.items() if path != directory and not _is_ours(path)}
    places = dict.fromkeys((member, snap, f"{member}/wal", log))
    snaps, logs = _names(tree, snap, ("/db", ".snap", SENT)), _names(tree, log, (".wal",))
    links = [*([directory] if found.link else []), *(place for place in places if tree.get(place) == "l")]
    odd = _misplaced(config) or found.problem or _complaint(led)[1] or _odd(tree, places, opened)
    listed = {f"{directory}/{path}" for path in found.entries or {}}.difference(f"{directory}/{p}" for p in found.files)
    rest = sorted(path for path in tree if path not in listed and path not in places)
    odd = odd or _incomplete(config, "db" in snaps, logs, rest)
    return Data(snap, log, snaps, logs, tuple(links), odd)


SENT = ".snap.db"  # a database that a leader sent: etcd begins with it where it was cut before it was named `db`
DATA = ("/snap/db", ".snap", SENT, ".wal")


def _names(tree: Mapping[str, str], directory: str, ends: tuple[str, ...]) -> tuple[str, ...]:
    """Of the data in a directory."""
    paths = (path for path in tree if path.rpartition("/")[0] == directory and path.endswith(ends))
    return tuple(sorted(path.rpartition("/")[2] for path in paths))


def _misplaced(config: MemberConfig) -> str:
    named = {"data-dir": config.data_dir, "wal-dir": wal(config)}
    return next((f"its {name} {path} is no absolute path" for name, path in named.items() if path[:1] != "/"), "")


def _odd(tree: Mapping[str, str], places: Collection[str], opened: Collection[str]) -> str:
    """What is neither file nor directory; the places alone may be links, to directories."""
    for path, kind in tree.items():
        if path in places:
            if kind == "l" and path not in opened:
                return f"{path} is a link that leads to no directory"
            if kind not in "dl":
                return f"{path} is {_named(kind)}, not a directory"
        elif kind not in "fd" or (kind == "d" and path.rpartition("/")[0] in places and path.endswith(DATA)):
            return f"{path} is {_named(kind)}, not a file"
        elif not path.isprintable():
            return f"a name cannot be shown: {path!r}"
    return ""


def _incomplete(config: MemberConfig, there: bool, logs: Sequence[str], rest: Sequence[str]) -> str:
    """Why this is no whole data, nor nothing. `rest`: what is there and not known to be empty; beside a log that is
    kept apart nothing else counts."""
    directory, log, usual = config.data_dir, wal(config), f"{config.data_dir}/member/wal"
    if log != usual and any(path.startswith(f"{usual}/") and path.endswith(".wal") for path in rest):
        return f"{usual} holds a log, but its configuration keeps it in {log} (wal-dir)"
    if there and logs:
        return ""
    if there:
        return f"{directory} holds a database, but no log" + ("" if log == usual else f" is in {log} (wal-dir)")
    if logs:
        return f"{directory if log == usual else log} holds a log, but no database"
    left = [path for path in rest if log == usual or path.rpartition("/")[0] != log]
    return f"{directory} holds {left[0].removeprefix(f'{directory}/')}, but neither database nor log" if left else ""


def _named(kind: str) -> str:
    return {"l": "a link", "f": "a file", "d": "a directory"}.get(kind, f"of the kind “{kind}”")
