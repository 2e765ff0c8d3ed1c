"""What hosts will answer once the commands planned so far were run: how `--plan` gets past the first of them.

A question about what no planned command touches goes to the host itself. One about a path that is only a copy of
another goes to the host about that other. What is made on the way is answered with named placeholders, ‹…›, which hold
no blanks since answers are split at them; where no honest answer is known, `Unforeseen` is raised, since a plan must
not guess. Nothing here touches a host: `dryrun` asks and records, `aftermath` knows what the commands do.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from requorum.cluster import deephaven, sandbox
from requorum.command import SUM, Action, Command, Result
from requorum.hosts import system
from requorum.inventory import Inventory, Member
from requorum.refusal import Refusal
from requorum.run import bulk
from requorum.run.aftermath import EMPTY, Aftermath, Thing, digest, is_path, program

RUN, TOKEN = "‹run›", "‹token›"

# Numbers that an answer must hold although nobody knows them yet: higher than any that is known, and named when shown.
REVISION, HASH, NUMBER = (9_100_000_000_000_000_000 + n for n in range(3))
NAMES = {REVISION: "‹revision›", HASH: "‹hash›", NUMBER: "‹number›"}


class Unforeseen(Refusal):
    """Nobody can tell before the run what a host will answer."""


def shown(text: str) -> str:
    """`text` with the names of numbers that are not known yet."""
    for number, name in NAMES.items():
        text = text.replace(f"{number:,}", name).replace(str(number), name)
    return text


Read = Callable[[Result], Result]


class Forecast:
    """The hosts as they will be. `note` what is planned, `foresee` what will be answered."""

    def __init__(self, inventory: Inventory, token: Callable[[], str] = lambda: TOKEN) -> None:
        self.inventory = inventory
        self.token = token
        self.after = Aftermath()
        self._on: dict[str, bool] = {}  # Deephaven, where a plan turns it on or off

    def note(self, action: Action) -> Result | None:
        """Takes note of a planned action. Returns what a command will say when all goes well, None for a copy."""
        self.after.note(action)
        if not isinstance(action, Command):
            return None
        for up in (True, False):
            if action.argv == deephaven.monit(self.inventory, action.host, up).argv:
                self._on[action.host] = up
        if not action.changes:  # a look in the middle of a plan; what only the host knows is not told
            answer = self.foresee(action)
            return answer if isinstance(answer, Result) else Result(action, 0, self._status(action), "", 0.0)
        return Result(action, 0, self._boot(action), "", 0.0)

    def _boot(self, command: Command) -> str:
        """A boot in isolation, by the files that its program puts down."""
        name, *words = program(command.argv)
        if name != "sh" or posixpath.basename(words[0]) != sandbox.ON_HOSTS:
            return ""
        files = sandbox.files_of(self.after.at(command.host, words[0]).content.decode())
        members, prefixes = (files[name].splitlines() for name in ("members", "prefixes"))
        return sandbox.good_end(members, prefixes, REVISION, HASH, NUMBER)

    def foresee(self, question: Command) -> Result | tuple[Command, Read]:
        """The answer, or what to ask the host itself now and how its answer is to be read.

        Raises `Unforeseen` where neither can be told.
        """
        host, (name, *words) = question.host, question.argv
        paths = list(dict.fromkeys(word for word in words if is_path(word)))
        if name == "systemctl" and (changed := self.after.unit(host, words[1])):
            return question, lambda result: replace(result, stdout=_with(result.stdout, changed))
        if host in self._on and question.argv == deephaven.ask_monit(self.inventory, host).argv:
            return question, self._supervised
        if name == "df":
            above = dict.fromkeys(parent for path in paths for parent in system.with_parents(path))
            return replace(question, argv=(name, *(w for w in words if w not in paths), *above)), _deepest(
                question, paths
            )
        if name == "stat" and bulk.WHOSE in words:  # no command changes whose the directories above the data are
            return question, _same
        if system.is_listing(question):
            gone = partial(self._gone, host)
            return question, lambda result: replace(result, stdout=system.without(host, result.stdout, gone))
        things = {path: self.after.at(host, path) for path in paths}
        if name == "find" and "-maxdepth" in words and words[words.index("-maxdepth") + 1] == "0":
            return self._which_exist(question, things)
        touched = [(path, thing) for path, thing in things.items() if thing != Thing("real", path)]
        answer: Result | tuple[Command, Read] | None = None
        if not any(self.after.disturbed(host, path) for path in paths):
            if all(thing.kind == "new" for _, thing in touched) and (not touched or len(things) > 1):
                answer = question, _same  # the host does not have what is new either
            elif len(touched) == 1:
                answer = self._answer(question, *touched[0])
            elif name == "find" and all(thing.lacking for thing in things.values()):
                answer = Result(question, 1, "", f"{paths[0]}: No such file or directory", 0.0)
        if answer is not None:
            return answer
        raise Unforeseen(host, f"nobody can tell yet: {question.why} ({shlex.join(question.argv)})", "run the runbook")

    def _gone(self, host: str, path: str) -> bool:
        """Whether a path that is listed now will not be there. Raises `Unforeseen` for one that will be another."""
        thing = self.after.at(host, path)
        if thing.lacking or thing == Thing("real", path):
            return thing.lacking
        raise Unforeseen(host, f"nobody can tell yet how {path} will be", "run the procedure")

    def _supervised(self, result: Result) -> Result:
        """monit's word of the same processes. Raises `Unforeseen` where it names none now."""
        status = "OK" if self._on[result.command.host] else "Not monitored"
        processes = deephaven.parse_monit(result.stdout)
        if not processes:
            raise Unforeseen(result.command.host, "monit names no process whose state could be told", "run it")
        return replace(result, code=0, stdout="".join(f"Process '{name}'  {status}\n" for name in processes))

    def _answer(self, question: Command, path: str, thing: Thing) -> Result | tuple[Command, Read] | None:
        """The answer about one path that is not as it was; None where nobody knows it."""
        name = question.argv[0]
        if thing.kind == "real":
            return _about(question, path, thing.source)
        if thing.lacking or (thing == EMPTY and name == "find"):
            return Result(question, 1, "", f"{path}: No such file or directory", 0.0)
        if thing.kind == "archive" and name in ("find", "cat"):
            return _packed(question, path, thing)
        found = self._content(question.host, path, thing, question)
        return None if found is None else Result(question, 0, found, "", 0.0)

    def _which_exist(self, question: Command, things: dict[str, Thing]) -> Result | tuple[Command, Read]:
        """`find PATHS -maxdepth 0`: of those that are not the host's own, each is a file of its own."""
        asked = {path: thing.source for path, thing in things.items() if thing.kind == "real"}
        new = [path for path, thing in things.items() if thing.kind != "real" and not thing.lacking]
        inode = "-printf" in question.argv
        added = "".join(f"new:{n} {path}\n" if inode else f"{path}\n" for n, path in enumerate(new))
        if not asked:
            return Result(question, 0, added, "", 0.0)
        rest = question.argv[1 + len(things) :]
        back = {source: path for path, source in asked.items()}

        def read(result: Result) -> Result:
            lines = (line.split(" ", 1) for line in result.stdout.splitlines())
            kept = "".join(" ".join([*head, back.get(path, path)]) + "\n" for *head, path in lines)
            return replace(result, command=question, stdout=kept + added)

        return replace(question, argv=("find", *asked.values(), *rest)), read

    def _content(self, host: str, path: str, thing: Thing, question: Command) -> str | None:
        """What a question will be told about something that is made on the way; None where nobody knows."""
        name, *words = question.argv
        if name == "sha256sum" or SUM in words:
            return f"{digest(thing, path)}  {path}\n"
        if name == "sh" and "tail -c" in words[1]:  # a snapshot carries the hash of all that stands before it
            return f"{digest(thing, path)}\n{digest(thing, path)}  -\n"
        if name == "stat":
            return f"{NUMBER}\n"
        if name in ("cat", "readlink") and thing.kind == "bytes":
            return thing.content.decode()
        if name == "cat" and posixpath.basename(path) == posixpath.basename(self.inventory.etcd.config):
            return config_text(self._member(host, path), self.inventory, self.token())
        if name == "tar":
            return f"-rw------- 0/0 0 2000-01-01 00:00 ‹names-in-{posixpath.basename(path)}›\n"
        if name == "find" and "sha256sum" in words:
            return f"‹SHA-256-of-a-password›  {path}/‹role›/password\n"
        if name == "find" and "config.yaml" in words:
            return "".join(f"{path}/‹directory-of-{m.name}›/config.yaml\n" for m in self.inventory.members)
        return self._status(question) or None

    def _status(self, question: Command) -> str:
        """etcd's own reading of a snapshot."""
        line = " ".join(question.argv)
        said = f'{{"hash": {HASH}, "revision": {REVISION}, "totalKey": {NUMBER}}}'
        return said if "snapshot status" in line else ""

    def _member(self, host: str, path: str) -> Member:
        """Whose configuration lies there: the host's own, or one of the archive's."""
        members = self.inventory.members
        return next((m for m in members if f"‹directory-of-{m.name}›" in path or m.host == host), members[0])


def config_text(member: Member, inventory: Inventory, token: str) -> str:
    """The `config.yaml` that the vendor's generator will make, as far as it can be told: addresses and token."""
    ip = f"[{member.ip}]" if ":" in member.ip else member.ip
    return "\n".join(
        [
            f"name: ‹name-of-{member.name}›",
            f"data-dir: ‹data-directory-of-{member.name}›",
            "initial-cluster: ‹initial-cluster›",
            f"initial-cluster-token: {token}",
            f"initial-advertise-peer-urls: ‹peer-scheme›://{ip}:{inventory.etcd.peer_port}",
            f"advertise-client-urls: ‹client-scheme›://{ip}:{inventory.etcd.client_port}",
        ]
    )


def _deepest(question: Command, paths: Sequence[str]) -> Read:
    """Of an answer for paths and all above them: for each path what is told of the deepest that is there already."""

    def read(result: Result) -> Result:
        try:
            rows = system.df_rows(result)
        except ValueError:
            return result
        told = [next((rows[p] for p in reversed(system.with_parents(path)) if p in rows), "") for path in paths]
        lines = [*result.stdout.splitlines()[:1], *told]
        return replace(result, command=question, stdout="\n".join(lines), stderr="") if rows else result

    return read


def _same(result: Result) -> Result:
    return result


def _with(text: str, properties: dict[str, str]) -> str:
    """`systemctl show`, with these properties in place of its own."""
    own = [line for line in text.splitlines() if line.split("=", 1)[0] not in properties]
    return "\n".join([*own, *(f"{name}={value}" for name, value in properties.items())]) + "\n"


def _about(question: Command, path: str, source: str) -> tuple[Command, Read]:
    """The same question about what `path` will be a copy of."""
    argv = tuple(source + word[len(path) :] if word.startswith(path) else word for word in question.argv)
    return replace(question, argv=argv), lambda result: replace(
        result, command=question, stdout=result.stdout.replace(source, path)
    )


def _packed(question: Command, path: str, packed: Thing) -> tuple[Command, Read]:
    """What will lie at `path` once a real archive is unpacked: asked of the archive as it lies there."""
    inside = packed.inside.strip("/")
    if question.argv[0] == "cat":  # whichever way the archive spells it
        argv: tuple[str, ...] = ("tar", "-xzOf", packed.source, inside, f"./{inside}")
        asked = replace(question, argv=argv, accept=None)
        return asked, lambda result: replace(result, command=question, code=0)
    script = 'printf "%s  %s\\n" "$(sha256sum | cut -d " " -f 1)" "$TAR_FILENAME"'
    what = (f"--to-command={script}", "-xzf") if "sha256sum" in question.argv else ("-tzf",)
    name = question.argv[question.argv.index("-name") + 1] if "-name" in question.argv else ""

    def read(result: Result) -> Result:
        rows = [line.rpartition("  ") for line in result.stdout.splitlines()]
        kept = [
            f"{digest}{space}{posixpath.normpath(f'{path}/{below}')}\n"
            for digest, space, below in rows
            if not name or posixpath.basename(below) == name
        ]
        return replace(result, command=question, stdout="".join(kept))

    return replace(question, argv=("tar", *what, packed.source)), read
