"""What any Linux says of its files, addresses and room."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Literal

from requorum.command import BECOME, MOST_OF_A_LIST, Command, Result, look
from requorum.deadlines import wait
from requorum.hosts import sudo
from requorum.hosts.question import OWNER, PATH, Question, complete
from requorum.refusal import Refusal


def ask_root(host: str, become: Sequence[str] = BECOME) -> Question[str | None]:
    """Whether commands are taken as root, without a password: None, or how sudo refuses."""
    name = become[0].rsplit("/", 1)[-1]
    command = look(host, "true", why=f"{name} works without a password")
    return Question(command, lambda result: f"{name} refused: {result.words}" if result.code else None)


def ask_root_path(host: str, become: Sequence[str] = BECOME) -> Question[str]:
    """sudo's secure_path, which is root's PATH; "" where it sets none or does not tell: then root has the login's."""
    why = "where root finds its tools"
    if not sudo.is_sudo(become):
        return sudo.ask_path(host, why)
    command = look(host, become[0], "-n", "-l", why=why, root=False)
    return Question(command, lambda said: sudo.root_path(host, said.stdout.partition("may run the following")[0]))


def ask_missing(host: str, tools: Sequence[str], path: str = "") -> Question[list[str]]:
    """Of these tools, those that are in no directory of `path`, or of the login's own."""
    asked = ask_unfound(host, (path, tools))
    return Question(asked.command, lambda answer: asked.understand([answer])[0])


def ask_unfound(host: str, *sought: tuple[str, Sequence[str]]) -> Question[list[list[str]]]:
    """The same of several, each `path` with its tools, in one command."""

    def read(answer: Result) -> list[list[str]]:
        if answer.code:
            raise Refusal(host, f"does not say which tools it has: {answer.words}", "look at that host")
        missing = [line.split(" ", 1) for line in answer.stdout.splitlines()]
        named = {(int(words[0]), words[1]) for words in missing if len(words) == 2 and words[0].isdecimal()}
        return [[tool for tool in tools if (number, tool) in named] for number, (_, tools) in enumerate(sought)]

    words = [word for path, tools in sought for word in (f":{path}", *tools)]
    return Question(look(host, "sh", "-c", _MISSING, *words, why="which tools are missing", root=False), read)


# Its words are `:` and a PATH, or `:` alone for the login's own, then the tools that are looked for there.
_MISSING = """
own=$PATH
number=-1
for tool in "$0" "$@"; do
    case $tool in
    :*)
        PATH=${tool#:}
        PATH=${PATH:-$own}
        number=$((number + 1)) ;;
    *) command -v "$tool" >/dev/null || printf '%s %s\\n' "$number" "$tool" ;;
    esac
done
"""


def ask_files(host: str, *paths: str) -> Question[tuple[str, ...]]:
    """Which of these paths exist, links not followed; of two names of the same file the first (/lib is a link where
    /usr is merged)."""
    inodes = ask_inodes(host, *paths)

    def read(result: Result) -> tuple[str, ...]:
        found: dict[str, str] = {}
        for path, inode in inodes.understand([result]).items():
            found.setdefault(inode, path)
        return tuple(found.values())

    return Question(inodes.command, read)


def ask_inodes(host: str, *paths: str) -> Question[dict[str, str]]:
    """Of these paths those that exist, links not followed, with `device:inode` of each."""
    asked = dict.fromkeys(paths)

    def read(result: Result) -> dict[str, str]:
        found: dict[str, str] = {}
        for line in complete(result).stdout.splitlines():
            inode, _, path = line.partition(" ")
            if path not in asked:
                raise Refusal(
                    host,
                    f"tells of {path[:200]!r}, which was not asked",
                    "look at that machine first: its find tells what it was not asked",
                )
            found[path] = inode
        return found

    words = ("find", *asked, "-maxdepth", "0", "-printf", r"%D:%i %p\n")
    return Question(look(host, *words, why="which of these files exist"), read)


def ask_absent(host: str, paths: Sequence[str]) -> Question[list[str]]:
    """Of these paths, those where the login finds nothing."""
    command = look(host, "stat", "-L", "-c", "%n", *paths, why="which of these paths are there", root=False)
    return Question(command, lambda answer: [p for p in paths if p not in complete(answer).stdout.splitlines()])


def ask_addresses(host: str) -> Question[tuple[str, ...]]:
    def read(result: Result) -> tuple[str, ...]:
        found = re.findall(r"\binet6? ([0-9a-fA-F.:]+)", result.stdout)
        return tuple(address for address in found if ip_address(address))

    return Question(look(host, "ip", "-o", "addr", "show", why="addresses of the host", root=False), read)


Reach = Literal["connected", "refused", "silent"]


def ask_reach(host: str, ip: str, port: int) -> Question[Reach]:
    """Whether an address can be reached at all; a refused connection is an answer too: somebody is there."""

    def read(result: Result) -> Reach:
        if result.code == 0:
            return "connected"
        return "refused" if "refused" in result.stderr.lower() else "silent"

    command = look(
        host,
        "env",
        "LC_ALL=C",
        "timeout",
        wait(3),
        "bash",
        "-c",
        'exec 3<>"/dev/tcp/$0/$1"',
        ip,
        str(port),
        why=f"reach {ip}:{port}",
        root=False,
    )
    return Question(command, read)


def ask_open(host: str, ip: str, port: int) -> Question[bool]:
    """Whether an old member's address still accepts this client."""
    knock = ("timeout", wait(2), "bash", "-c", 'exec 3<>"/dev/tcp/$0/$1"', ip, str(port))
    command = look(host, *knock, why=f"whether the old {ip} still answers", root=False)
    return Question(command, lambda answer: answer.code == 0)


@dataclass(frozen=True)
class Free:
    """Room on a file system: its free bytes, and the directory where it is mounted; `device`: whose it is, "" where it
    lies on none."""

    size: int
    mount: str
    device: str = ""

    @property
    def system(self) -> str:
        """The same of what is mounted at several places: by a bind mount, or as subvolumes that share their room."""
        return self.device or self.mount


_BYTES = re.compile(r"[0-9]{1,19}")


def with_parents(path: str) -> list[str]:
    """A path after all its parents: df's last answer is for the deepest one that exists."""
    return list(dict.fromkeys(path.rsplit("/", n)[0] or "/" for n in range(path.count("/"), -1, -1)))


def ask_free(host: str, *places: str) -> Question[Free | str]:
    """Room at the last of these places that exists; why that cannot be told where df tells of none of them."""
    question = ask_free_of(host, places)
    return Question(question.command, lambda result: question.understand([result])[0])


def ask_free_of(host: str, *groups: Sequence[str]) -> Question[list[Free | str]]:
    """The same for each of several, in one command."""
    asked = dict.fromkeys(place for places in groups for place in places)

    def read(result: Result) -> list[Free | str]:
        try:
            rows = df_rows(result)
        except ValueError as error:
            return [str(error) for _ in groups]
        return [_free(next((rows[p] for p in reversed(places) if p in rows), ""), result) for places in groups]

    return Question(look(host, "df", "-P", "-B1", *asked, why="free disk"), read)


def df_rows(result: Result) -> dict[str, str]:
    """Path → df's row. It prints one for each in their order, but for those that it complains of. Raises `ValueError`
    where these are not all."""
    rows = [line for line in result.stdout.splitlines()[1:] if line.strip()]
    complaints = [line.partition("df: ")[2].lstrip("'‘") for line in result.stderr.splitlines()]
    paths = [word for word in result.command.argv if word.startswith("/")]
    told = [path for path in paths if not any(re.match(rf"{re.escape(path)}['’]?: ", line) for line in complaints)]
    if rows and len(rows) != len(told):
        raise ValueError(f"df is not understood: {len(rows)} rows for {' '.join(told)}")
    return dict(zip(told, rows, strict=False))


def _free(line: str, result: Result) -> Free | str:
    row = line.split()
    if not row:
        return f"no answer from df: {result.words}"
    if len(row) < 6 or not _BYTES.fullmatch(row[-3]) or not PATH.fullmatch(row[-1]):
        return f"df is not understood: {' '.join(row)[:200]!r}"
    return Free(int(row[-3]), row[-1], row[0] if row[0].startswith("/dev/") else "")


# A host may ask its directory service before its own file, and wait for one that is down.
_UID = """
while IFS=: read -r name _ number _; do
    [ "$name" != "$0" ] || { echo "$number"; exit; }
done </etc/passwd
exec id -u "$0"
"""


def ask_uid(host: str, account: str, why: str = "etcd's account") -> Question[int | None]:
    """The user ID of an account, the host's own ones first; None where there is none."""
    command = look(host, "sh", "-c", _UID, account, why=why, root=False)
    return Question(command, lambda result: int(result.stdout) if complete(result).code == 0 else None)


LOGINS = ("sshd", "sshd-session", "login", "(sd-pam)")  # what hangs below them, an administrator started by hand


@dataclass(frozen=True)
class Process:
    """`uid` None where only root may see more of it than its name."""

    pid: int
    name: str
    account: str
    uid: int | None = None
    below_login: bool = False

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid} of {self.account})"


def ask_processes(host: str, account: str, others: Collection[str] = ()) -> Question[tuple[Process, ...]]:
    """All that an account runs, seen by root, and what these `others` run, where processes can be seen by everybody."""
    mine = look(
        host,
        "ps",
        "-o",
        "pid=,comm=",
        "-u",
        account,
        why=f"processes of {account}, whoever may see them",
        most=MOST_OF_A_LIST,
    )
    tree = ("ps", "-eo", "pid=,ppid=,uid=,user:64=,comm=")

    def read(own: Result, listed: Result) -> tuple[Process, ...]:
        rows = [line.split(None, 4) for line in listed.stdout.splitlines() if line.strip()]
        seen = {
            int(row[0]): (int(row[1]), int(row[2]), row[3], "".join(row[4:])) for row in rows
        }  # a name may be blank
        named = {int(row[0]): "".join(row[1:]) for row in (line.split(None, 1) for line in own.stdout.splitlines())}
        theirs = {pid for pid, (_, _, user, _) in seen.items() if user in others}
        return tuple(
            Process(pid, seen[pid][3], seen[pid][2], seen[pid][1], _is_below_login(pid, seen))
            if pid in seen
            else Process(pid, named[pid].strip(), account)
            for pid in sorted(named.keys() | theirs)
        )

    return Question((mine, look(host, *tree, why="who started them", root=False, most=MOST_OF_A_LIST)), read)


def _is_below_login(pid: int, seen: Mapping[int, tuple[int, int, str, str]]) -> bool:
    """Shape of `seen`: process → its parent, its account's number and name, its program's name."""
    passed: set[int] = set()
    while pid > 1 and pid in seen and pid not in passed:
        passed.add(pid)
        pid, _, _, name = seen[pid]
        if name in LOGINS or name.startswith("sshd:") or name == "systemd":  # pid 1 is not reached
            return True
    return False


@dataclass(frozen=True)
class Connection:
    """One established connection of a host. `outgoing`: the port is the peer's; `uid` owns the host's own end."""

    peer: str
    outgoing: bool
    uid: int


_CONNECTION = re.compile(r"\S+\s+\S+\s+\S+\s+(?P<peer>\S+):(?P<port>\d+)(?:\s.*?\buid:(?P<uid>\d+)(?!\S)|\s|$)")


def ask_connections(host: str, port: int, seconds: int = 0) -> Question[frozenset[Connection]]:
    """Connections from and to a port; with `seconds`, all that were seen in so long a time, in one trip.

    One look would miss a client that connects again and again. The owner is told by account, since a process's name
    needs more rights than reading a socket.
    """
    once = f"ss -Htne state established '( sport = :{port} or dport = :{port} )'"
    watch = f"end=$(($(date +%s) + {seconds})); while :; do {once}; [ $(date +%s) -lt $end ] || break; done | sort -u"

    def read(result: Result) -> frozenset[Connection]:
        found = set()
        for line in filter(None, map(str.strip, result.stdout.splitlines())):
            row = _CONNECTION.match(line)
            if not row:
                raise Refusal(
                    host,
                    f"tells of a connection that is not understood: {line[:200]!r}",
                    "look at what `ss -tn` prints there",
                )
            peer = str(ip_address(row["peer"].strip("[]").removeprefix("::ffff:")))
            found.add(Connection(peer, row["port"] == str(port), int(row["uid"] or 0)))
        return frozenset(found)

    return Question(look(host, "sh", "-c", watch, why=f"who is connected with port {port}", most=MOST_OF_A_LIST), read)


class RecordError(Refusal):
    """What a host was before the run cannot be told."""


@dataclass(frozen=True)
class Entry:
    """One path. `kind` is find's letter (f, d, l, …), `mode` octal, `owner` user:group, `target` where a link points,
    `sha256` of a file's content, `label` SELinux's; "" where it was not read."""

    path: str
    kind: str
    mode: str
    owner: str
    target: str = ""
    sha256: str = ""
    label: str = ""


# $0: the data root, listed one level deep; $1: the unit, whose links in /etc count; then the places. The answer has
# "kind mode owner", where asked for with the label, path and target of each, and "SHA-256  path" of each file, all
# ended by NUL.
_LIST = r"""
unit=$1; shift
entry='%y %m %u:%g\0%p\0%l\0'
real() { parent=$(realpath "$(dirname "$1")") || exit 1; place=${parent%/}/$(basename "$1"); }
there() { [ -e "$1" ] || [ -L "$1" ]; }
if there "$0"; then find -H "$0" -maxdepth 1 -printf "$entry" || exit 1; fi
for path in "$@" /etc/systemd/system/*/"$unit"; do
    there "$path" || continue
    real "$path"
    find "$place" -printf "$entry" -type f -exec sha256sum -z {} + || exit 1
done
"""
_LABELLED = _LIST.replace("%u:%g", "%u:%g %Z")  # find knows none on a host without them, and fails
_LABEL = r"( (?P<label>[\w.-]+(:[\w.,-]+){2,4}))?"
_STAT = re.compile(rf"^(?P<kind>\S) (?P<mode>[0-7]+) (?P<owner>{OWNER.pattern}?){_LABEL}$")
_SUM = re.compile(r"^(?P<sum>[0-9a-f]{64}) [ *](?P<path>/.*)$", re.S)


def ask_listing(
    host: str, data_root: str, unit: str, places: Sequence[str], labels: bool = False
) -> Question[tuple[Entry, ...]]:
    """Path, mode, owner, link, content and label of all that lies there. Compared in memory: passwords are among it."""
    argv = ("sh", "-c", _LABELLED if labels else _LIST, data_root, unit, *places)
    command = Command(host, argv, "list what the runbook may touch", changes=False, secret=True, most=MOST_OF_A_LIST)
    return Question(command, lambda result: _read_listing(host, complete(result).stdout))


def is_listing(question: Command) -> bool:
    return question.argv[:3] in (("sh", "-c", _LIST), ("sh", "-c", _LABELLED))


def without(host: str, text: str, gone: Callable[[str], bool]) -> str:
    """A listing without the paths that will be gone by then, for a plan."""
    words = []
    for entry in _read_listing(host, text):
        if not gone(entry.path):
            stat = f"{entry.kind} {entry.mode or '777'} {entry.owner} {entry.label}".rstrip()
            words += [stat, entry.path, entry.target]
            words += [f"{entry.sha256}  {entry.path}"] if entry.sha256 else []
    return "".join(f"{word}\0" for word in words)


def _read_listing(host: str, text: str) -> tuple[Entry, ...]:
    """Entries by path; of a place that was listed twice, by two of its names, one."""
    words = iter(text.split("\0"))
    found: dict[str, Entry] = {}
    sums: dict[str, str] = {}
    for word in words:
        stat, digest = _STAT.match(word), _SUM.match(word)
        if stat:
            path, target = next(words), next(words)
            mode, label = stat["mode"] if stat["kind"] != "l" else "", stat["label"] or ""
            found[path] = Entry(path, stat["kind"], mode, stat["owner"], target, label=label)
        elif digest:
            sums[digest["path"]] = digest["sum"]
        elif word:  # not shown: it may be a password's
            raise RecordError(host, "has a line in its listing that is none of it", "run again")
    whole = {path: Entry(**{**asdict(e), "sha256": sums.get(path, "")}) for path, e in found.items()}
    return tuple(whole[path] for path in sorted(whole))


def topmost(paths: Iterable[str]) -> list[str]:
    """These paths without those that lie below another of them."""
    kept: list[str] = []
    for path in sorted(paths, key=lambda p: p.split("/")):
        if not kept or not path.startswith(f"{kept[-1]}/"):
            kept.append(path)
    return kept
