"""The four lines at the end of a run that did not end well: what, where, why probably, what to do next.

Pure: from the stage that failed, what was raised there and how far the run had got. The last line holds a command to
paste. The design's word on each phase: until the new etcd was started the same command carries on and rollback loses
nothing; a started cluster that is wrong is restored anew; once Deephaven has written nobody goes back lightly.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from requorum.hosts.fleet import Unreachable
from requorum.hosts.meeting import TURNED_AWAY
from requorum.refusal import Disproved, NothingToDo, Refusal
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
    """How the operator called this run. `words` are its options, as they must be given again."""

    program: str
    directory: str
    hosts: str | None
    words: tuple[str, ...] = ()

    def line(self, way: Way) -> str:
        directory = way.value or self.directory
        hosts = (f"--hosts={self.hosts}",) if self.hosts else ()
        words = self.words if way is Way.AGAIN else ()
        return f"{self.program} {shlex.join((directory, *hosts, *words))}"


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
RIDDLES = frozenset({"test_given_quorum_is_lost", "test_then_every_member_sees_a_leader"})


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
    if phase is Phase.STARTED:
        if stage in DATA and isinstance(error, Disproved):
            return (Way.RETRY, Way.ROLLBACK)
        return (Way.DIAGNOSE, Way.AGAIN, Way.RETRY) if stage in RIDDLES else (Way.AGAIN, Way.ROLLBACK)
    return (Way.DIAGNOSE, Way.AGAIN)


# Why a stage fails, as far as one can know beforehand; only where its own words do not say it.
CAUSES = {
    "test_given_the_tools_are_there": "the machine is not fitted out yet, or the inventory spells a command otherwise",
    "test_given_quorum_is_lost": "etcd can come back without being rebuilt, or too little is known to say that not",
    "test_given_the_new_members_reach_each_other": "a firewall, a wrong address in the inventory, a cut network",
    "test_given_a_snapshot_is_whole": "no backup ran, or the file was cut off on its way",
    "test_then_etcd_can_read_every_copy": "the snapshot is of another etcd version, or damaged",
    "test_then_no_deephaven_process_runs": "a process hangs, or somebody started it by hand",
    "test_then_monit_brings_no_etcd_back": "monit was set up to supervise etcd",
    "test_then_only_known_machines_are_connected": "a client outside the inventory, or a machine that it lacks",
    "test_then_no_etcd_runs_and_its_ports_are_closed": "another unit, monit or a shell started etcd again",
    "test_then_every_host_holds_the_same_passwords": "a password was changed on some hosts only",
    "test_then_every_old_password_logs_in_to_the_trial": "the passwords on the hosts are not those of the snapshot",
    "test_given_you_confirm_what_was_proven": "you did not confirm",
    "test_given_no_data_is_in_the_way": "an earlier attempt, or somebody by hand, put data there",
    "test_then_every_member_sees_a_leader": "peers do not reach each other, or a certificate does not fit",
    "test_then_every_member_is_healthy": "a member is still starting, or has an alarm",
    "test_then_all_members_hold_the_same_data": "members were not restored from one and the same snapshot",
    "test_then_the_keys_are_there": "it is the wrong snapshot, or expect in the inventory is out of date",
    "test_then_it_is_what_the_trial_found": "somebody wrote into the new cluster already",
    "test_then_no_old_member_serves_clients": "an old member still runs, on a machine that was said to be gone",
    "test_then_the_configuration_server_runs": "Deephaven's own logs on that machine say",
    "test_then_deephaven_runs_and_talks_to_etcd": "a process needs longer, or has old configuration",
}


def cause(stage: str, error: BaseException | None) -> str:
    """Why probably, in a few words."""
    if error is None:
        return "Ctrl-C, or a signal to this process"
    if not isinstance(error, Refusal):
        return f"nobody foresaw this; the journal has what led to it ({type(error).__name__})"
    if isinstance(error, LockError):
        return "another run is under way, or one was killed on another machine"
    if isinstance(error, Unreachable) and TURNED_AWAY in error.what:
        return "sshd there, or a bastion's, takes no more connections at the same time"
    if isinstance(error, Unreachable):
        return "the machine, its ssh, or the network between is down"
    text = str(error)
    if "sudo" in text and "password" in text:
        return "the login lacks the sudo rule on that machine"
    if "did not end within" in text:
        return "a disk or a network far slower than usual, or a command that waits for something"
    if "the run was interrupted" in text:
        return "Ctrl-C, or a signal to this process"
    return CAUSES.get(stage, "as it says above")


def lines(stage: str, error: BaseException | None, phase: Phase, said: Said) -> list[str]:
    """The four lines. `stage` is a node ID."""
    name = stage.rsplit("::", 1)[-1]
    step = re.search(r"::Test(Step)(\d)", stage)
    words = name.removeprefix("test_").replace("_", " ")
    title = f"{f'Step {step[2]}, ' if step else ''}“{words.capitalize()}”"
    first, *others = ways(name, error, phase, said.directory)
    after = f"{_mended(error)}, then: " if isinstance(error, Refusal) else ""
    again = said.line(first)
    other = "".join(f" · or, to {_WORDS[way]}: {said.line(way)}" for way in others[:1])
    if isinstance(error, NothingToDo):
        after, again, other = _mended(error), "", ""
    return [
        f"What:      {title} {'was interrupted' if error is None else 'failed'}{_what(error)}",
        f"Where:     {_where(error) or 'this machine'}",
        f"Probably:  {cause(name, error)}",
        f"Next:      {after}{again}{other}",
    ]


_WORDS = {
    Way.AGAIN: "go on",
    Way.RETRY: "restore anew",
    Way.ROLLBACK: "go back",
    Way.DIAGNOSE: "find out more",
}


def _what(error: BaseException | None) -> str:
    if isinstance(error, Disproved):
        return f", expected: {_first_line(error.claim)}"
    if isinstance(error, Refusal):
        first, *more = _first_line(error.what).split("; ")
        return f": {first}{f', and {len(more)} more' if more else ''}"
    return f": {_first_line(str(error))}" if error is not None and str(error) else ""


def _mended(error: Refusal) -> str:
    """A remedy as the first half of a sentence."""
    if isinstance(error, LockError):
        return "when that run has ended"
    return re.sub(r"[,;]? *(then|and) run (it )?again$", "", _first_line(error.remedy))


def _where(error: BaseException | None) -> str:
    if isinstance(error, Disproved):
        return ", ".join(sorted(error.findings))
    return error.where if isinstance(error, Refusal) else ""


def _first_line(text: str) -> str:
    return text.strip().split("\n")[0].rstrip(".")


def program(argv0: str, executable: str) -> str:
    """pytest as it was called, to be pasted: by the same path, or as a module of the same Python."""
    return shlex.quote(argv0) if Path(argv0).name in ("pytest", "py.test") else f"{shlex.quote(executable)} -m pytest"


def words(options: Sequence[tuple[str, object]]) -> tuple[str, ...]:
    """Options as they are given again: a flag where the value is True, nothing where it is None or False."""
    given = [(name, value) for name, value in options if value is not None and value is not False]
    return tuple(name if value is True else f"{name}={value}" for name, value in given)
