"""What lies in a directory where etcd keeps data: one listing, read strictly. Pure: a question and its reader.

The listing is a line of the sudo rules that sites have installed already (`permissions` asks it too).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from requorum.cluster.etcd import NOT_THERE, MemberConfig
from requorum.command import LONG, Result, look
from requorum.hosts.question import Question

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
        found = {path: kind for path, kind in (self.entries or {}).items() if path.split("/")[0] not in OURS}
        return sorted(path for path, kind in found.items() if kind != "d" or path.count("/") + 1 >= self.depth)


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
    kinds: dict[str, str] = {}
    for entry in answer.stdout.split("\0"):
        words = entry.lstrip("\n").split(" ", 5)
        if len(words) == 6 and words[5].startswith(directory):
            kinds[words[5]] = words[0]
    if odd := next((path for path in kinds if not path.isprintable()), None):
        return Layout(problem=f"a name in {directory} cannot be shown: {odd!r}")
    said = [line for line in answer.stderr.splitlines() if line.startswith("find: ")]
    missing = bool(said) and all(line.endswith(NOT_THERE) for line in said)
    inside = f"{directory}/."
    if answer.code not in (0, 1) or (answer.code == 1 and not missing):
        others = [line for line in said if not line.endswith(NOT_THERE)]
        return Layout(problem=f"{directory} cannot be looked at: {others[-1] if others else answer.words}")
    if inside in kinds:
        below = {path.removeprefix(f"{inside}/"): kind for path, kind in kinds.items() if path.startswith(f"{inside}/")}
        return Layout(below, depth=depth, link=kinds.get(directory) == "l")
    if directory in kinds:
        return Layout(problem=f"{directory} is no directory and leads to none")
    return Layout(None) if missing else Layout(problem=f"{directory} cannot be looked at: {answer.words}")


def problem(config: MemberConfig, found: Layout) -> str:
    """Why the data of this member is not where and as etcd lays it out by itself; "" where it is, or nothing is."""
    directory, inside = config.data_dir, (f"{config.data_dir}/member/wal", "")
    if not directory.startswith("/"):
        return f"its data-dir {directory} is no absolute path"
    if config.wal_dir.rstrip("/") not in inside:
        return f"its configuration keeps the log apart, in {config.wal_dir} (wal-dir)"
    if found.problem or not found.files:
        return found.problem
    kinds = found.entries or {}
    for name in ("member", "member/snap", "member/wal"):
        if kinds.get(name, "d") != "d":
            return f"{directory}/{name} is {_named(kinds[name])}, not a directory"
    data = {name: kind for name, kind in kinds.items() if name == "member/snap/db" or _is_log(name)}
    for name, kind in data.items():
        if kind != "f":
            return f"{directory}/{name} is {_named(kind)}, not a file"
    logged = any(map(_is_log, data))
    if "member/snap/db" not in data:
        what = "a log, but no database" if logged else f"{found.files[0]}, but neither database nor log"
        return f"{directory} holds {what}"
    return "" if logged else f"{directory} holds a database, but no log"


def _is_log(name: str) -> bool:
    return name.startswith("member/wal/") and name.endswith(".wal")


def _named(kind: str) -> str:
    return {"l": "a link", "f": "a file", "d": "a directory"}.get(kind, f"of the kind “{kind}”")
