"""What sudo allows a login, how it answers, and what it gives root: its own words, understood."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from requorum.command import BECOME, Command, Result, look
from requorum.hosts.question import Question, checked, plain

TIMEOUT = "/usr/bin/timeout"
SLOW_SECONDS = 2.0
FORGETS = "the password was taken and is not remembered for the command: timestamp_timeout=0 in sudoers?"
_DIRECTORIES = re.compile(r"[A-Za-z0-9/._+:-]*")
_UMASK = re.compile(r"[0-7]{0,4}")


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
        return self.arguments is None or matches(pattern(self.arguments), arguments)


@dataclass(frozen=True)
class Sudo:
    """`refused`: how commands are not taken as root, "" where they are; `grants` None where it does not tell, with
    `why`. `path`: root's PATH, "" where it is the login's. `umask`: what it adds to the login's, "" where that is
    its own 0022. `stray`: what it prints before an answer; `seconds`: how long one took, without the way there."""

    refused: str = ""
    grants: tuple[Grant, ...] | None = ()
    why: str = ""
    path: str = ""
    umask: str = ""
    stray: str = ""
    seconds: float = 0.0

    def allows(self, command: Command) -> bool:
        """Whether root may be this command, as far as sudo tells."""
        return self.grants is None or allowed(self.grants, command.root_words)

    @property
    def hinders(self) -> str:
        """Why nothing can be run as root and understood; "" where it can."""
        if self.stray and not self.refused:
            return f"sudo prints {self.stray[:80]!r} before every answer, so that none can be read"
        return self.refused

    def oddities(self) -> list[str]:
        slow = self.seconds >= SLOW_SECONDS
        took = f"sudo takes {self.seconds:.1f} s to answer (a directory service or name server that is slow or gone?)"
        masked = f"sudo gives root the umask {self.umask}: what the vendor's commands write may be root's alone"
        return [*([f"{took}: each command takes so much longer"] if slow else []), *([masked] if self.umask else [])]


def is_sudo(become: Sequence[str]) -> bool:
    """Whether what makes root of a login tells what it allows, as `sudo -l` does."""
    return become[0].rsplit("/", 1)[-1] == "sudo"


def ask_sudo(host: str, become: Sequence[str] = BECOME) -> Question[Sudo]:
    """In one trip: what it allows and sets, and whether it takes a command."""
    if not is_sudo(become):
        return _ask_another(host, become[0].rsplit("/", 1)[-1])
    listed = look(host, become[0], "-n", "-l", why="what sudo allows this login, and gives root", root=False)
    taken = look(host, "true", why="sudo works without a password")

    def read(listing: Result, answer: Result) -> Sudo:
        defaults, words = listing.stdout.partition("may run the following")[0], plain(listing.words)
        grants = None if listing.code else parse(listing.stdout)
        if grants and listing.command.asked:  # it was typed, whatever the entry
            grants = tuple(replace(grant, password=False) for grant in grants)
        return Sudo(
            _refused("sudo", answer),
            grants if answer.code or grants is None else _as_taken(grants, answer.command),
            words if listing.code else "",
            root_path(host, defaults),
            checked(host, "umask of sudo's", _last(defaults, "umask"), _UMASK),
            plain(answer.stdout.strip()) if not answer.code else "",
            answer.seconds,
        )

    return Question((listed, taken), read)


def _ask_another(host: str, name: str) -> Question[Sudo]:
    """Of what is not sudo: whether it takes a harmless command, and root's PATH then. No more is known of it."""
    taken = look(host, "true", why=f"{name} works without a password")
    told = ask_path(host, "where root finds its tools")

    def read(answer: Result, path: Result) -> Sudo:
        return Sudo(
            _refused(name, answer),
            None,
            f"cannot be asked of {name}",
            told.understand([path]),
            stray=plain(answer.stdout.strip()) if not answer.code else "",
            seconds=answer.seconds,
        )

    return Question((taken, *told.commands), read)


def ask_path(host: str, why: str) -> Question[str]:
    """Root's PATH by root's own word; "" where it does not tell."""

    def read(said: Result) -> str:
        return "" if said.code else checked(host, "PATH of root's", said.stdout.strip(), _DIRECTORIES)

    return Question(look(host, "printenv", "PATH", why=why), read)


def _refused(name: str, answer: Result) -> str:
    if not answer.code:
        return ""
    forgets = answer.command.asked and "password is required" in answer.stderr
    return f"{name} refused: {plain(answer.words)}{f' ({FORGETS})' if forgets else ''}"


def _as_taken(grants: tuple[Grant, ...], command: Command) -> tuple[Grant, ...]:
    """Root, a login that is exempt, and one under `!authenticate` are asked for no password, and no entry says so: a
    command was taken for which, by the list, one is asked."""
    arguments = command.root_words
    free = tuple(replace(grant, password=False) for grant in grants)
    return free if allowed(free, arguments) and not allowed(grants, arguments) else grants


def root_path(host: str, defaults: str) -> str:
    """sudo's secure_path of what stands above the entries of `sudo -l`, the last one set."""
    return checked(host, "secure_path", _last(defaults, "secure_path"), _DIRECTORIES)


def _last(defaults: str, name: str) -> str:
    found = re.findall(rf"(?<![\w-]){name}(?:=((?:\\.|[^\s,])+))?(?!\w)", defaults)
    return found[-1].replace("\\", "").strip('"') if found else ""


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


def _is_timeout(command: str) -> bool:
    """Whether sudo's word for a command, a path, a directory with a slash behind it or a pattern, means `timeout`."""
    places = (TIMEOUT, "/bin/timeout")
    return any(fnmatch.fnmatchcase(path, f"{command}*" if command.endswith("/") else command) for path in places)


@cache
def pattern(text: str) -> re.Pattern[str]:
    """sudoers' spelling as a regular expression. `""` means no arguments; ^…$ is sudo's own regular expression."""
    if text == '""':
        return re.compile(r"\Z")
    if text.startswith("^") and text.endswith("$"):
        try:
            return re.compile(text, re.S)
        except (re.error, RecursionError, OverflowError):  # a host may say what it likes: that allows nothing
            return re.compile("(?!)")
    parts = []
    for token in re.findall(r"\\.|\[[^]]+\]|.", text, re.S):
        if token in "*?":
            parts.append(".*" if token == "*" else ".")
        else:
            parts.append(token if len(token) > 2 else re.escape(token[-1]))
    return re.compile("".join(parts) + r"\Z", re.S)


def matches(found: re.Pattern[str], text: str) -> bool:
    return found.match(text) is not None
