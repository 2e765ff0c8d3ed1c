"""What sudo allows a login, how it answers, and what it gives root: its own words, understood."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from requorum.command import BECOME, Command, Result, look
from requorum.hosts.expression import Expression, Glob, UnreadError
from requorum.hosts.question import Question, checked, plain

TIMEOUT = "/usr/bin/timeout"
SLOW_SECONDS = 2.0
FORGETS = "the password was taken and is not remembered for the command: timestamp_timeout=0 in sudoers?"
MOST_ENTRIES = 20_000  # of any command
MOST_GRANTS = 2000  # of `timeout`; the list that the runbook prints has about 350 a --timeout-scale
MOST_EXPRESSIONS = 16  # sudo's own regular expressions among them
_DIRECTORIES = re.compile(r"[A-Za-z0-9/._+:-]*")
_UMASK = re.compile(r"[0-7]{0,4}")


@dataclass(frozen=True)
class Grant:
    """One entry of `sudo -l` that is about root: a command's pattern, whether it is denied, whether a password is
    asked. `arguments` None: whatever they are. `unread`: what they are is not read here, so that nothing is known to be
    allowed by it, and anything may be denied."""

    command: str
    arguments: str | None
    denied: bool
    password: bool
    unread: bool = False

    def matches(self, arguments: str) -> bool:
        """Whether it is about `timeout` with these arguments."""
        if self.command != "ALL" and _is_timeout(self.command) is False:
            return False
        if self.unread:
            return self.denied or self.password
        found = True if self.arguments is None else matches(self.arguments, arguments)
        return found or (found is None and (self.denied or self.password))


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
        unread = next((plain(f"{g.command} {g.arguments}")[:80] for g in self.grants or () if g.unread), "")
        unknown = f"sudo's entry {unread!r} is not read here: what it alone allows counts as not allowed"
        masked = f"sudo gives root the umask {self.umask}: what the vendor's commands write may be root's alone"
        return [
            *([f"{took}: each command takes so much longer"] if slow else []),
            *([masked] if self.umask else []),
            *([unknown] if unread else []),
        ]


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
        grants = None if listing.code else _parsed(listing.stdout)
        if grants is None and not listing.code:
            words = "it lists more entries than are read"
        if grants and listing.command.asked:  # it was typed, whatever the entry
            grants = tuple(replace(grant, password=False) for grant in grants)
        return Sudo(
            _refused("sudo", answer),
            grants if answer.code or grants is None else _as_taken(grants, answer.command),
            words if grants is None else "",
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


def _parsed(listing: str) -> tuple[Grant, ...] | None:
    """None where it is longer than any that people have written."""
    if listing.count("\n") + listing.count(",") > MOST_ENTRIES:
        return None
    grants = parse(listing)
    return grants if len(grants) <= MOST_GRANTS else None


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
    """`sudo -l`'s answer: what is about root and `timeout`, in its order."""
    _, _, entries = listing.partition("may run the following commands")
    grants: list[Grant] = []
    for line in entries.splitlines()[1:]:
        whom = re.match(r"\s*\(([^)]*)\)\s*(.*)$", line)
        if not whom or not {"root", "ALL", "#0"} & set(re.split(r"[,:\s]+", whom[1])):
            continue
        password = True
        for part in re.split(r"(?<!\\),\s+", whom[2]):
            at = 0
            while tag := _TAG.match(part, at):
                password = {"NOPASSWD": False, "PASSWD": True}.get(tag[1] or "", password)
                at = tag.end()
            denied = part.startswith("!", at)
            command, _, arguments = part[at:].lstrip("!").strip().partition(" ")
            if command == "ALL" or _is_timeout(command) is not False:
                grants.append(Grant(command, arguments.strip() or None, denied, password))
    return _with_the_unread(grants)


_TAG = re.compile(r"\s*([A-Z_]+):\s*|\s*[A-Z]+=\S+\s+")


def _with_the_unread(grants: Sequence[Grant]) -> tuple[Grant, ...]:
    """Those whose arguments are not read here are marked; of regular expressions only so many are."""
    found, left = [], MOST_EXPRESSIONS
    for grant in grants:
        text = grant.arguments or ""
        left -= text.startswith("^")
        unread = (text.startswith("^") and left < 0) or (bool(text) and text != '""' and _pattern(text) is None)
        unread = unread or (grant.command != "ALL" and _is_timeout(grant.command) is None)
        found.append(replace(grant, unread=unread))
    return tuple(found)


def allowed(grants: Sequence[Grant], arguments: str) -> bool:
    """Whether `sudo -n timeout ARGUMENTS` is: sudo's last entry that matches decides."""
    last = next((grant for grant in reversed(grants) if grant.matches(arguments)), None)
    return last is not None and not last.denied and not last.password


_PLACES = (TIMEOUT, "/bin/timeout")


def _is_timeout(command: str) -> bool | None:
    """Whether sudo's word for a command, a path, a directory with a slash behind it or a pattern, means `timeout`; None
    where that is not read here."""
    if not set("*?[\\^") & set(command):
        return any(command in (place, f"{place.rpartition('/')[0]}/") for place in _PLACES)
    found = [matches(f"{command}*" if command.endswith("/") else command, path) for path in _PLACES]
    return None if None in found else any(found)


@lru_cache(maxsize=4096)
def _pattern(text: str) -> Glob | Expression | None:
    """sudoers' spelling of arguments; None where it is not read here. ^…$ is sudo's own regular expression."""
    try:
        return Expression(text[1:-1]) if text.startswith("^") and text.endswith("$") else Glob(text)
    except UnreadError:
        return None


def matches(text: str, arguments: str) -> bool | None:
    """Whether sudoers' spelling of arguments takes these; `""` means none. None where that is not read here."""
    if text == '""':
        return not arguments
    found = _pattern(text)
    try:
        return None if found is None else found.matches(arguments)
    except UnreadError:
        return None
