"""How to go on after a run that did not end well, and the command for it, as it is pasted.

The design's word on each phase: until the new etcd was started the same command carries on and rollback loses nothing;
a started cluster that is wrong is restored anew; once Deephaven has written nobody goes back lightly.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from requorum.hosts.fleet import Unreachable
from requorum.procedures import PROCEDURES
from requorum.refusal import Disproved
from requorum.run import accepted
from requorum.run.lock import LockError
from requorum.run.marker import Phase


class Way(Enum):
    """How to go on, by the directory of the procedure; "" is the same command again."""

    AGAIN = ""
    RETRY = "runbook/retry"
    ROLLBACK = "runbook/rollback"
    DIAGNOSE = "runbook/troubleshoot/diagnose"


@dataclass(frozen=True)
class Said:
    """How the operator called this run. `words` are its options, as they must be given again; `place` is where;
    `root`: where `runbook/` lies, "" where that is the place."""

    program: str
    directory: str
    hosts: str | None
    words: tuple[str, ...] = ()
    place: str = "."
    root: str = ""

    def line(self, way: Way | str, *more: str) -> str:
        """A command that is complete from a fresh login. `way`: a procedure's directory too; `more`: options that take
        the place of those of the same name."""
        again = way in (Way.AGAIN, self.directory)
        directory = self.directory if again else way.value if isinstance(way, Way) else way
        names = {word.partition("=")[0] for word in more}
        kept = self.words if again else [word for word in self.words if word.partition("=")[0] in ANYWHERE]
        words = [word for word in (*kept, *self._marks(directory, again)) if word.partition("=")[0] not in names]
        hosts = (f"--hosts={self.hosts}",) if self.hosts else ()
        called = shlex.join((self._named(directory), *hosts, *words, *more))
        return f"cd {shlex.quote(self.place)} && {self.program} {called}"

    def _named(self, directory: str) -> str:
        return f"{self.root}/{directory}" if self.root else directory

    def _marks(self, directory: str, again: bool) -> tuple[str, ...]:
        """Whose run is followed holds for what takes such a word: without it that very mark is refused again."""
        takes = {procedure.directory for procedure in PROCEDURES if "accept" in procedure.takes}
        given = next((word.partition("=")[2] for word in self.words if word.startswith("--accept=")), "")
        marks = [word for word in accepted.split(given) if word.partition(":")[0] == accepted.RUN]
        return (f"--accept={','.join(marks)}",) if marks and not again and directory in takes else ()


ANYWHERE = ("--gone", "--concurrency", "--evidence", "--timeout-scale")  # options that every procedure takes


# Stages whose failure says that the new cluster's data is not what was to be restored.
DATA = frozenset(
    {
        "test_then_it_is_one_cluster_with_one_leader",
        "test_then_all_members_hold_the_same_data",
        "test_then_the_keys_are_there",
        "test_then_it_is_what_the_trial_found",
        "test_then_every_old_password_logs_in",
        "test_then_a_write_through_each_member_is_read_from_all",
    }
)
# Stages that will say the same again, until somebody has found out more.
RIDDLES = frozenset(
    {
        "test_given_quorum_is_lost",
        "test_given_the_new_members_reach_each_other",
        "test_then_every_member_sees_a_leader",
    }
)


def ways(stage: str, error: BaseException | None, phase: Phase, directory: str = "runbook") -> tuple[Way, ...]:
    """What to do next, the best first. `stage`: the name of the function that failed; `error` None: interrupted."""
    if directory != "runbook":
        return (Way.AGAIN,)
    if isinstance(error, Unreachable):
        return (Way.AGAIN, Way.DIAGNOSE)
    if error is None or isinstance(error, LockError):
        return (Way.AGAIN,)
    if phase is Phase.OPEN:
        return (Way.DIAGNOSE, Way.AGAIN) if stage in RIDDLES else (Way.AGAIN,)
    if phase is Phase.STOPPING:
        return (Way.AGAIN, Way.ROLLBACK)
    if phase is Phase.STARTED and isinstance(error, Disproved) and not error.anew:
        return (Way.ROLLBACK,)
    if phase is Phase.STARTED:
        if stage in DATA and isinstance(error, Disproved):
            return (Way.RETRY, Way.ROLLBACK)
        return (Way.DIAGNOSE, Way.AGAIN, Way.RETRY) if stage in RIDDLES else (Way.AGAIN, Way.ROLLBACK)
    return (Way.DIAGNOSE, Way.AGAIN)


def program(argv0: str, executable: str, place: str = "") -> str:
    """pytest as it was called, to be pasted in `place`: by the same path, or as a module of the same Python."""
    called = Path(argv0).name in ("pytest", "py.test")
    path = (argv0 if called else executable).removeprefix(f"{place}/" if place else "")
    return shlex.quote(path) if called else f"{shlex.quote(path)} -m pytest"


def words(options: Sequence[tuple[str, object]]) -> tuple[str, ...]:
    """Options as they are given again: a flag where the value is True, nothing where it is None or False."""
    given = [(name, value) for name, value in options if value is not None and value is not False]
    return tuple(name if value is True else f"{name}={value}" for name, value in given)
