"""One command for one host, as data: what to run, why, whether it changes anything, how long, how to stop it.

Planners return these, `fleet` runs them, the plan prints them and unit tests compare them: one code path.
Nothing here touches a host.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from requorum import deadlines
from requorum.deadlines import HUGE, LINE_RATE, LONG, SHORT, Wait

REDACTED = "•••"
LOGINS = "logins.tar"  # users and passwords, packed to be carried
BECOME = ("sudo", "-n")  # by what a login becomes root where the inventory says nothing
UNLOCK = "rqs"  # the function of a host's shell that gives sudo its password before a line: hosts/password

# Whatever changes a host and may take long runs in one slice, so that one fixed line ends all of it, also for a login
# with little sudo. A scope leaves the command its environment, its input and its exit code.
SLICE = "requorum.slice"
STOP = ("systemctl", "stop", SLICE)
MOST_LINES = 12  # of a host's own words, at the end of a run
# Of dd. Not flushed: a copy is proven by its SHA-256 each time before it is used, and what is restored from it is.
_BLOCKS = ("bs=1M", "status=none")
# Of `sh -c`: prints the SHA-256 of $0 as `sha256sum` does. By openssl where that is there, which knows the processor's
# own instructions for it and takes a fifth of the time; what ails the file sha256sum tells.
SUM = (
    'test -f "$0" && command -v openssl >/dev/null && openssl dgst -sha256 -r <"$0" 2>/dev/null || exec sha256sum "$0"'
)
STOP_SECONDS = 5  # from SIGTERM to SIGKILL
# Bytes of an answer, far beyond what most hosts give; and of one that lists files, processes or what was logged.
MOST = 1 << 20
MOST_OF_A_LIST = 8 << 20
SCOPE = (
    "systemd-run",
    "--quiet",
    "--scope",
    "--collect",
    f"--slice={SLICE}",
    f"--property=TimeoutStopSec={STOP_SECONDS}",
)

# What only tries something beside a living cluster: in a slice of its own below that one, so that a recovery ends it
# with the rest and it ends nothing of a recovery's; a core, half of the memory, and the disk when nobody else wants it.
BESIDE = "requorum-verify.slice"
LIMITS = ("CPUQuota=100%", "MemoryMax=50%", "IOWeight=10")


def transient(unit: str, properties: Sequence[str], slice_: str = SLICE) -> tuple[str, ...]:
    """What runs the words behind it as a unit of its own, and waits: stopping the unit ends every process of it. Its
    streams are the caller's."""
    own = ("--quiet", "--wait", "--pipe", "--collect", f"--slice={slice_}", f"--unit={unit}")
    return ("systemd-run", *own, *(f"--property={one}" for one in properties))


@dataclass(frozen=True)
class Brought:
    """A file of this machine on its way into a command's standard input; its plain bytes are what arrives."""

    path: str
    bytes: int
    packed: str = ""  # how it is compressed
    rate: int = 0  # bytes a second that it is held to, 0 for as fast as it goes


@dataclass(frozen=True)
class Command:
    """`argv` for `host`, run as root unless `root` is false; `deadline` in seconds, enforced on the host.

    `stdin` is never logged and never in argv: the way for secrets. `fed`: a command, maybe of another host, that is run
    right before; what it prints becomes standard input, and is in memory alone. `brings`: a file that is streamed to
    it, behind `stdin` and before what it is `fed`. `stop` is an argv that ends on the
    host what this command started there, since killing the local ssh does not; `act_long` gives it. `accept` lists the
    exit codes that are not a failure (None: any, the caller reads it). `secret` keeps the output out of every message
    and record. `makes` lists paths that it leaves behind and argv does not tell, so that a plan can go on after it.
    `most`: bytes that it may print; it is ended where it prints more, and nothing of it is read.
    `lane`: commands of another lane on its host are not waited for; all of one lane go in their order.
    `become`: what makes root of the login, and `asked`, whether that wants a password: the fleet's to say (`for_root`).
    """

    host: str
    argv: tuple[str, ...]
    why: str
    changes: bool = True
    root: bool = True
    deadline: int = SHORT
    stdin: bytes | None = field(default=None, repr=False)
    fed: Command | None = None
    brings: Brought | None = None
    stop: tuple[str, ...] = ()
    accept: tuple[int, ...] | None = (0,)
    secret: bool = False
    makes: tuple[str, ...] = ()
    most: int = field(default=MOST, compare=False)
    lane: str = field(default="", compare=False)
    become: tuple[str, ...] = field(default=BECOME, compare=False)
    asked: bool = field(default=False, compare=False)

    def for_root(self, become: tuple[str, ...], asked: bool = False) -> Command:
        """As a site's login becomes root."""
        if (become, asked) == (BECOME, False):
            return self
        return replace(self, become=become, asked=asked, fed=self.fed and self.fed.for_root(become, asked))

    def stretched(self, scale: float) -> Command:
        """With its deadline, and every limit in its words, so many times as long."""
        if scale == 1:
            return self
        argv = tuple(word.stretched(scale) if isinstance(word, Wait) else word for word in self.argv)
        fed = self.fed and self.fed.stretched(scale)
        return replace(self, argv=argv, deadline=deadlines.stretched(self.deadline, scale), fed=fed)

    def line(self) -> str:
        """The exact shell line for the host. sudo stands outside so that the deadline can signal root's child."""
        if self.asked and self.of_sudo:  # its parent must be who gave the password
            return shlex.join(self.argv)
        return shlex.join((*(self.become if self.root else ()), "timeout", "-k", "5", str(self.deadline), *self.argv))

    @property
    def of_sudo(self) -> bool:
        """Whether it is sudo itself that the login asks something."""
        return not self.root and self.argv[:1] == self.become[:1]

    @property
    def unlocks(self) -> bool:
        """Whether the password goes before it."""
        return self.asked and (self.root or self.of_sudo)

    @property
    def root_words(self) -> str:
        """What sudo compares with its rules: the words behind `sudo -n timeout`, joined by spaces."""
        return " ".join(shlex.split(self.line())[len(self.become) + 1 :])

    def sent(self) -> str:
        """The line as it goes to the host: a question is answered in the words that its reader knows."""
        return self.streamed() if self.changes else f"{self._before}env LC_ALL=C {self.line()}"

    def streamed(self) -> str:
        """The same where nobody reads its words, but for what it carries."""
        return f"{self._before}{self.line()}"

    @property
    def _before(self) -> str:
        return f"{UNLOCK} " if self.unlocks else ""

    def shown(self) -> str:
        """The line as the plan and the journal show it: standard input is named, never shown."""
        return self.line() + (f" < {REDACTED}" if self.takes_input else "")

    @property
    def takes_input(self) -> bool:
        return self.stdin is not None or self.fed is not None or self.brings is not None


def _transfer(size: int, scale: float) -> int:
    """Seconds for one way over the network."""
    return deadlines.stretched(deadlines.rung(deadlines.by_bytes(size, rate=LINE_RATE), HUGE), scale)


@dataclass(frozen=True)
class Copy:
    """A file streamed through the operator's machine, never stored there; on its own host it is copied in place.

    `source_host` None means the operator's machine. Each target gets the file as `path`, owner root, mode 0600,
    by way of `path.part`, and its SHA-256 must be the source's. In its own directory it only gets another name.
    """

    source: str
    targets: tuple[tuple[str, str], ...]
    why: str
    source_host: str | None = None
    sha256: str | None = None
    bytes: int | None = field(default=None, compare=False)  # for the bar and the deadline
    most: int = field(default=0, compare=False)  # bytes that are taken of a host that may lie about its file, 0 for all
    packed: str = ""  # how a source on the operator's machine is compressed; its plain bytes are what arrives
    rate: int = 0  # bytes a second that it is held to, 0 for as fast as it goes
    scale: float = field(default=1.0, compare=False)
    become: tuple[str, ...] = field(default=BECOME, compare=False)
    asked: bool = field(default=False, compare=False)

    def stretched(self, scale: float) -> Copy:
        return replace(self, scale=scale)

    def for_root(self, become: tuple[str, ...], asked: bool = False) -> Copy:
        return replace(self, become=become, asked=asked)

    def _mine(self, commands: Sequence[Command]) -> list[Command]:
        return [command.for_root(self.become, self.asked) for command in commands]

    @property
    def deadline(self) -> int:
        """For each of its commands that reads or writes all of it."""
        return _transfer(self.bytes or 0, self.scale)

    @property
    def is_a_password(self) -> bool:
        """And little else: then its SHA-256 and its length would tell what to try, and are kept nowhere."""
        return self.source.rsplit("/", 1)[-1] in ("password", LOGINS)

    def shown(self) -> str:
        to = ", ".join(f"{host}:{path}" for host, path in self.targets)
        return f"copy {self.source_host or 'this machine'}:{self.source}{self.packed and ', unpacked,'} to {to}"

    @property
    def _beside(self) -> tuple[tuple[str, str], ...]:
        """Targets on its own host; what is streamed to all alike where nothing says what must arrive."""
        return tuple(target for target in self.targets if self.sha256 and target[0] == self.source_host)

    @property
    def _carried(self) -> tuple[tuple[str, str], ...]:
        return tuple(target for target in self.targets if target not in self._beside)

    # What it is made of, in this order; `fleet` joins the reader to all writers.

    def opens(self) -> list[Command]:
        argv = ("install", "-D", "-m", "600", "/dev/null")
        made = [Command(host, (*argv, f"{path}.part"), self.why).stretched(self.scale) for host, path in self.targets]
        return self._mine(made)

    def copies(self) -> list[Command]:
        """In place: what is there keeps its name, since it may be the only one of its kind. Nobody writes into such a
        file: what is made anew is made beside it and moved, so a second name will do in the same directory."""
        made = [
            act(host, "ln", "-fT", self.source, f"{path}.part", why=self.why).stretched(self.scale)
            if posixpath.dirname(path) == posixpath.dirname(self.source)
            else act_long(
                host, "dd", f"if={self.source}", f"of={path}.part", *_BLOCKS, why=self.why, deadline=self.deadline
            )
            for host, path in self._beside
        ]
        return self._mine(made)

    def reads(self) -> Command | None:
        if self.source_host is None or not self._carried:
            return None
        reader = Command(self.source_host, ("cat", self.source), self.why, changes=False, deadline=self.deadline)
        return reader.for_root(self.become, self.asked)

    def writes(self) -> list[Command]:
        return self._mine(
            [
                Command(host, ("dd", f"of={path}.part", *_BLOCKS), self.why, deadline=self.deadline)
                for host, path in self._carried
            ]
        )

    def checks(self) -> list[Command]:
        return self._mine(
            [
                Command(
                    host,
                    ("sh", "-c", SUM, f"{path}.part"),
                    "the copy is whole",
                    changes=False,
                    deadline=self.deadline,
                )
                for host, path in self.targets
            ]
        )

    def names(self) -> list[Command]:
        argv = ("mv", "-fT")
        made = [Command(host, (*argv, f"{path}.part", path), self.why) for host, path in self.targets]
        return self._mine([command.stretched(self.scale) for command in made])


ARCHIVE = ("tar", "--create", "--file=-", "--numeric-owner", "--directory=/", "--")


@dataclass(frozen=True)
class Fetch:
    """A file of a host streamed to `target` on the operator's machine, mode 0600; its SHA-256 must be `sha256`, and it
    has these `bytes`, 0 where nobody knows: more are not taken.

    `paths`: an archive of these, made as it is sent, in place of a file; nobody can know its SHA-256, so that is "".
    `through`: a program here, which gives the file what it makes of the bytes; in clear they are in pipes alone."""

    host: str
    source: str
    target: str
    why: str
    sha256: str
    bytes: int = 0
    paths: tuple[str, ...] = ()
    through: tuple[str, ...] = field(default=(), compare=False)
    scale: float = field(default=1.0, compare=False)
    become: tuple[str, ...] = field(default=BECOME, compare=False)
    asked: bool = field(default=False, compare=False)

    def stretched(self, scale: float) -> Fetch:
        return replace(self, scale=scale)

    def for_root(self, become: tuple[str, ...], asked: bool = False) -> Fetch:
        return replace(self, become=become, asked=asked)

    @property
    def deadline(self) -> int:
        return _transfer(self.bytes, self.scale)

    def shown(self) -> str:
        return f"fetch {self.host}:{self.source} to this machine:{self.target}"

    def reads(self) -> Command:
        argv = (*ARCHIVE, *(path.lstrip("/") for path in self.paths)) if self.paths else ("cat", self.source)
        deadline = deadlines.stretched(LONG, self.scale) if self.paths else self.deadline
        reader = Command(self.host, argv, self.why, changes=False, deadline=deadline)
        return reader.for_root(self.become, self.asked)

    def writes(self) -> tuple[str, ...]:
        """What takes the bytes on this machine."""
        if self.through:
            return ("sh", "-c", 'umask 077; exec "$@" >"$0"', self.target, *self.through)
        return ("dd", f"of={self.target}", "bs=1M", "conv=fsync", "status=none")


@dataclass(frozen=True)
class Collect:
    """What a command prints, redacted line by line, as the file `target` on the operator's machine, mode 0600.

    At most `most` bytes of it; what was left out is said at the file's end.
    """

    command: Command
    target: str
    most: int


@dataclass(frozen=True)
class Collected:
    """What came of a `Collect`: bytes in the file, whether some were left out, exit code and last word of the host."""

    collect: Collect
    bytes: int
    cut: bool
    code: int
    said: str


Action = Command | Copy | Fetch


@dataclass(frozen=True)
class Result:
    """What a command gave. `seconds` includes the way there and back; `planned`: it is a dry run's, where a placeholder
    may stand for a word."""

    command: Command
    code: int
    stdout: str
    stderr: str
    seconds: float
    planned: bool = False

    @property
    def ok(self) -> bool:
        return self.command.accept is None or self.code in self.command.accept

    @property
    def hindered(self) -> bool:
        """Whether it says nothing about what it was run for: no sudo, no such tool, or not ended in time."""
        last = (self.stderr.strip().splitlines() or [""])[-1]
        refusals = (f"{self.command.become[0].rsplit('/', 1)[-1]}:", "sudo:", "Sorry, user ")
        refused = self.command.root and self.code == 1 and last.startswith(refusals)
        return refused or self.late or self.code in (126, 127)

    @property
    def words(self) -> str:
        """The last line of what it said, for a message; nothing of a secret command."""
        if self.command.secret:
            return "(output withheld)"
        said = [line for line in (self.stderr + "\n" + self.stdout).splitlines() if line.strip()]
        if len(said) > 1 and said[-1].endswith("Exiting with failure status due to previous errors"):
            said.pop()  # tar's last word; the reason stands before it
        last = said[-1].strip() if said else ""
        if self.late:
            return f"it did not end within {self.command.deadline} s" + (f", and said: {last}" if last else "")
        return last or "(it printed nothing)"

    @property
    def whole(self) -> str:
        """All that it said of why, its last lines at most; nothing of a secret command."""
        if self.command.secret:
            return ""
        said = [line.strip() for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        return "\n".join(said[-MOST_LINES:])

    @property
    def late(self) -> bool:
        """Whether its deadline ended it."""
        return self.code in (124, 137)


def look(
    host: str,
    *argv: str,
    why: str,
    root: bool = True,
    accept: tuple[int, ...] | None = None,
    deadline: int = SHORT,
    most: int = MOST,
) -> Command:
    """A command that changes nothing. Any exit code is an answer unless `accept` says otherwise."""
    return Command(host, argv, why, changes=False, root=root, accept=accept, deadline=deadline, most=most)


def act(host: str, *argv: str, why: str, accept: tuple[int, ...] = (0,)) -> Command:
    """A command that changes the host, within the short deadline."""
    return Command(host, argv, why, accept=accept)


def act_long(
    host: str,
    *argv: str,
    why: str,
    deadline: int = LONG,
    accept: tuple[int, ...] | None = (0,),
    makes: tuple[str, ...] = (),
) -> Command:
    """A command that changes the host and may take long: Ctrl-C ends it there, and so does the next run."""
    return Command(host, (*SCOPE, *argv), why, deadline=deadline, accept=accept, stop=STOP, makes=makes)


def stop_all(host: str, why: str) -> Command:
    """Ends whatever of this kind still runs on the host; nothing is an answer too."""
    return act(host, *STOP, why=why, accept=(0, 5))
