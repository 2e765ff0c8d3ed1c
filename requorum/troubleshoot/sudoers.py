"""What the login needs of sudo: one list of commands, the sudoers lines made from it, and what `sudo -l` lacks of them.

The list is `sudoers.txt`. Pure functions; `runbook/troubleshoot/sudoers` asks the hosts, and so does `--check`. The lab
gives its login `limited` exactly `file()`. What such a list is worth: docs/preparing.md#a-login-with-less.
"""

from __future__ import annotations

import fnmatch
import itertools
import math
import posixpath
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from requorum import inventory as inventories
from requorum.cluster import deephaven
from requorum.command import REDACTED, SCOPE, look
from requorum.deadlines import stretched
from requorum.hosts.fleet import Machine
from requorum.hosts.question import Question
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run import marker
from requorum.run.run import Run

LIST = Path(__file__).with_suffix(".txt")
TIMEOUT = "/usr/bin/timeout"
TOOLS = tuple(f"/usr/{place}bin/{tool}" for place in ("", "local/") for tool in ("etcdutl", "etcdctl"))
# Anything else in a word is spelled `?`, any one character: quotes, backslashes and # mean something to sudoers.
_PLAIN = re.compile(r"[A-Za-z0-9 /._%+@{}()<>|$&;~^*-]")
_ESCAPED = re.compile(r"[,:=]")
_UNLIKELY = "any thing/at-all"  # stands for `*` when a needed pattern is held against a granted one


@dataclass(frozen=True)
class Need:
    """One command that the runbook runs as root: everything behind `sudo -n timeout`, `*` for what varies."""

    arguments: str

    def line(self, login: str) -> str:
        """As it stands in a sudoers file."""
        return f"{login} ALL=(root) NOPASSWD: {TIMEOUT} {spelled(self.arguments)}"

    def covers(self, arguments: str) -> bool:
        return _matches(_pattern(spelled(self.arguments)), arguments)


def spelled(arguments: str) -> str:
    """Words as sudoers wants them: `,:=` behind a backslash, what it could take for its own as `?`."""
    one_space = re.sub("(?<= ) | $", "?", arguments)  # an empty word; sudoers would make one space of two
    return "".join(c if c == "?" or _PLAIN.match(c) else f"\\{c}" if _ESCAPED.match(c) else "?" for c in one_space)


def needed(inventory: Inventory, *scales: float, of_backup: bool = False) -> tuple[Need, ...]:
    """Every command of the runbook, in the list's order, for this inventory; with its deadlines so many times as long
    for each of `scales`, which is 1 where none is named. `of_backup`: of the nightly backup alone."""
    rows = (row.split(" ", 1) for row in LIST.read_text(encoding="utf-8").splitlines() if row and row[0] != "#")
    found: dict[Need, None] = {}
    for scale, (deadlines, words) in itertools.product(scales or (1.0,), list(rows)):
        if of_backup and not deadlines.endswith("+"):
            continue
        for deadline in deadlines.rstrip("+").split(","):
            for filled in _filled(inventory, _stretched(f"-k 5 @{deadline}@ {words}", scale)):
                found.setdefault(Need(filled))
    return tuple(found)


def _stretched(words: str, scale: float) -> str:
    return re.sub(r"@(\d+)@", lambda limit: str(stretched(int(limit[1]), scale)), words)


def _filled(inventory: Inventory, words: str) -> Iterable[str]:
    """The list's @WORDS@ from the inventory; a line that names a tool becomes one for each place it may be in,
    one for the account that etcdctl runs as none where that is root."""
    settings, dh = inventory.etcd, inventory.deephaven
    latest = posixpath.dirname(settings.config)
    token = f"{inventory.cluster.lower()}-*"
    saver = deephaven.account(dh.commands.etcdctl, dh.admin_user)
    if saver is None and "@SAVER@" in words:
        return
    values = {
        "SCOPE": " ".join(SCOPE),
        "BASE": marker.BASE,
        "RUNS": marker.directory(inventory.cluster),
        "CONFIG": settings.config,
        "LATEST": latest,
        "CONFIG_ROOT": posixpath.dirname(latest),
        "DATA": settings.data_root,
        "UNIT": settings.unit,
        "ACCOUNT": settings.user,
        "PORT": str(settings.client_port),
        "ADMIN": dh.admin_user,
        "SAVER": saver or "",
        "CLIENT": dh.client_config,
        "SERVER_ARCHIVE": dh.server_archive,
        "CLIENT_ARCHIVE": dh.client_archive.format(cluster_id=token),
        "CLIENT_ARCHIVE_DIRECTORY": posixpath.dirname(dh.client_archive.format(cluster_id=token)),
        **{name.upper(): _vendor(inventory, line) for name, line in dh.commands.model_dump().items()},
    }
    for name, value in values.items():
        words = words.replace(f"@{name}@", value)
    for tool in TOOLS if "@TOOL@" in words else ("",):
        yield words.replace("@TOOL@", tool)


def _vendor(inventory: Inventory, line: str) -> str:
    """A vendor's line as sudo joins its words, with `*` for every placeholder but the account, which does not vary."""
    words = shlex.split(line.replace("{admin_user}", inventory.deephaven.admin_user))
    return re.sub(r"\{[a-z_]+\}", "*", " ".join(words))


def file(inventory: Inventory, login: str, *scales: float, of_backup: bool = False) -> str:
    """A whole file for /etc/sudoers.d. secure_path: without it the login could bring a `cat` of its own."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    head = [f"Defaults:{login} !requiretty", f'Defaults:{login} secure_path="{path}"']
    return "\n".join([*head, *(need.line(login) for need in needed(inventory, *scales, of_backup=of_backup))]) + "\n"


# -- what a login may do already ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grant:
    """One entry of `sudo -l` that is about root: a command's pattern, whether it is denied, whether a password is
    asked. `arguments` None: whatever they are."""

    command: str
    arguments: str | None
    denied: bool
    password: bool

    def matches(self, arguments: str) -> bool:
        """Whether it is about `timeout` with these arguments."""
        if self.command != "ALL" and not _is_timeout(self.command):
            return False
        return self.arguments is None or _matches(_pattern(self.arguments), arguments)


def ask_lacking(host: str, inventory: Inventory, scale: float = 1.0) -> Question[tuple[Need, ...] | str]:
    """What the login that the runbook uses lacks, asked without a password, as the runbook will ask; why sudo tells
    nothing where it does not."""
    command = look(host, "env", "LC_ALL=C", "sudo", "-n", "-l", why="what sudo allows this login", root=False)
    return Question(command, lambda result: result.words if result.code else missing(inventory, result.stdout, scale))


def parse(listing: str) -> tuple[Grant, ...]:
    """`sudo -l`'s answer. Entries for other accounts than root, and the defaults above them, are left out."""
    _, _, entries = listing.partition("may run the following commands")
    grants: list[Grant] = []
    for line in entries.splitlines()[1:]:
        whom = re.match(r"\s*\(([^)]*)\)\s*(.*)$", line)
        if not whom or not {"root", "ALL", "#0"} & set(re.split(r"[,:\s]+", whom[1])):
            continue
        password = True
        for part in re.split(r"(?<!\\),\s+", whom[2]):
            while tag := re.match(r"\s*([A-Z_]+):\s*|\s*[A-Z]+=\S+\s+", part):
                password = {"NOPASSWD": False, "PASSWD": True}.get(tag[1] or "", password)
                part = part[tag.end() :]
            denied = part.startswith("!")
            command, _, arguments = part.lstrip("!").strip().partition(" ")
            grants.append(Grant(command, arguments.strip() or None, denied, password))
    return tuple(grants)


def allowed(grants: Sequence[Grant], arguments: str) -> bool:
    """Whether `sudo -n timeout ARGUMENTS` is: sudo's last entry that matches decides."""
    last = next((grant for grant in reversed(grants) if grant.matches(arguments)), None)
    return last is not None and not last.denied and not last.password


def missing(inventory: Inventory, listing: str, scale: float = 1.0) -> tuple[Need, ...]:
    """What the login lacks, by `sudo -l`'s own words; () is as it must be.

    A needed pattern counts as allowed when it is with something unlikely in place of every `*`.
    """
    grants = parse(listing)
    needs = needed(inventory, scale)
    return tuple(need for need in needs if not allowed(grants, need.arguments.replace("*", _UNLIKELY)))


def unlisted(inventory: Inventory, lines: Iterable[str], *scales: float) -> list[str]:
    """Of exact shell lines as `Command.line` spells them: those as root that no line of the list covers."""
    needs = needed(inventory, *scales)
    spoken = {line: as_root(line) for line in lines}
    return [line for line, words in spoken.items() if words and not any(need.covers(words) for need in needs)]


def as_root(line: str) -> str | None:
    """What sudo compares of `sudo -n timeout …`: the words joined by spaces. None for a line without sudo."""
    words = shlex.split(line.removesuffix(f" < {REDACTED}"))
    return " ".join(words[3:]) if words[:3] == ["sudo", "-n", "timeout"] else None


def _is_timeout(command: str) -> bool:
    """Whether sudo's word for a command, a path, a directory with a slash behind it or a pattern, means `timeout`."""
    places = (TIMEOUT, "/bin/timeout")
    return any(fnmatch.fnmatchcase(path, f"{command}*" if command.endswith("/") else command) for path in places)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """sudoers' spelling as a regular expression. `""` means no arguments; ^…$ is sudo's own regular expression."""
    if text == '""':
        return re.compile(r"\Z")
    if text.startswith("^") and text.endswith("$"):
        return re.compile(text, re.S)
    parts = []
    for token in re.findall(r"\\.|\[[^]]+\]|.", text, re.S):
        if token in "*?":
            parts.append(".*" if token == "*" else ".")
        else:
            parts.append(token if len(token) > 2 else re.escape(token[-1]))
    return re.compile("".join(parts) + r"\Z", re.S)


def _matches(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.match(text) is not None


FOR_BACKUP = "--for=backup"


def main(arguments: Sequence[str]) -> int:
    """`python -m requorum.sudoers INVENTORY LOGIN [--for=backup] [SCALE…]`: a whole file on standard output, also for
    each --timeout-scale that is named."""
    of_backup = FOR_BACKUP in arguments
    arguments = [word for word in arguments if word != FOR_BACKUP]
    try:
        scales = [float(word) for word in arguments[2:]]
    except ValueError:
        scales = [math.nan]
    if len(arguments) < 2 or not all(0 < scale < math.inf for scale in scales):
        print(f"usage: python -m requorum.sudoers INVENTORY LOGIN [{FOR_BACKUP}] [SCALE…]", file=sys.stderr)
        return 4
    try:
        inventory = inventories.load(inventories.find(arguments[0], LIST.parents[2]))
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 4
    print(file(inventory, arguments[1], 1.0, *scales, of_backup=of_backup), end="")
    return 0


FILE = "/etc/sudoers.d/requorum"


def the_login_answers(run: Run) -> None:
    """Reached by ssh; nothing is asked of sudo yet."""

    def probe(machine: Machine) -> str | None:
        command = look(machine.name, "true", why="the login works", root=False)
        return machine.ask(Question(command, lambda answer: answer.words if answer.code else None))

    run.prove(run.terms.everyone, "the login works", probe, "check ssh and the login's shell")


def lacking(run: Run) -> dict[str, tuple[Need, ...]]:
    """host → what sudo does not allow there; proves that it tells."""
    answers = run.ask(
        {host: ask_lacking(host, run.inventory, run.options.timeout_scale) for host in run.terms.everyone}
    )
    run.settle(
        "sudo tells this login what it may do, without a password",
        {host: found if isinstance(found, str) else None for host, found in answers.items()},
        f"give the login NOPASSWD there; a whole file for {FILE}: python -m requorum.sudoers INVENTORY LOGIN",
    )
    return {host: found for host, found in answers.items() if not isinstance(found, str)}


def every_command_is_allowed(run: Run, lacking: dict[str, tuple[Need, ...]]) -> None:
    """One row for each command, and the lines that are missing at the end of the run."""
    login = run.inventory.transport.user or "LOGIN"
    run.table = [
        {
            "command": need.arguments,
            "verdict": f"not on {', '.join(hosts)}"
            if (hosts := [host for host, needs in lacking.items() if need in needs])
            else "allowed",
        }
        for need in needed(run.inventory, run.options.timeout_scale)
    ]
    groups: dict[tuple[Need, ...], list[str]] = {}
    for host, needs in lacking.items():
        groups.setdefault(needs, []).append(host)
    for needs, hosts in groups.items():
        if needs:
            run.last_words += [f"Missing on {', '.join(hosts)}:", *(need.line(login) for need in needs)]
    run.settle(
        "sudo -n allows every command of the runbook as it is spelled",
        {host: f"{len(needs)} not allowed" if needs else None for host, needs in lacking.items()},
        f"add the lines below to {FILE} there, with `visudo -f {FILE}`",
    )
