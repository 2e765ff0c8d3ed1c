"""The lock: who holds it, how it is taken and cleared, and when a dead run's is taken over. Real files, no host."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum import procedures
from requorum.command import STOP, Action, Command, Result
from requorum.evidence.journal import Journal
from requorum.hosts import kept
from requorum.hosts.failure import failure, raise_all
from requorum.hosts.fleet import Fleet, Unreachable
from requorum.refusal import Refusal
from requorum.run import lock
from requorum.run import run as locking
from requorum.run.lock import Holder, LockError
from requorum.run.marker import Phase
from requorum.run.run import Run
from requorum.run.terms import Options
from tests.unit import build
from tests.unit.build import refused_by, understood

MINE = Holder("ann", "bastion", 100, "2026-01-01T00:00:00.000Z", "m pid:[1]", "boot-1", "5000", "aa")
OTHER = replace(MINE, user="bob", pid=200, born="6000", key="bb")


class Directory:
    """A host's directory in which the very commands are run, without root."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *commands: Command) -> list[subprocess.CompletedProcess[str]]:
        return [
            subprocess.run(
                [word.replace("/var/lib/requorum", str(self.path)) for word in command.argv],
                input=(command.stdin or b"").decode(),
                capture_output=True,
                text=True,
                check=False,
            )
            for command in commands
        ]

    def take(self, holder: Holder) -> Holder | None:
        results = self.run(*lock.take("infra-1", "lab", holder.words()))
        for command, result in zip(lock.take("infra-1", "lab", holder.words()), results, strict=True):
            assert command.accept is None or result.returncode in command.accept, result.stderr
        return understood(lock.ask_holder("infra-1", "lab"), results[-1].stdout)

    def drop(self, holder: Holder) -> None:
        (result,) = self.run(lock.drop("infra-1", "lab", holder.words(), "test"))
        assert result.returncode == 0, result.stderr


@pytest.fixture
def host(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


class TestTaking:
    def test_the_first_gets_it_and_the_second_reads_who_it_was(self, host: Directory) -> None:
        assert host.take(MINE) == MINE
        assert host.take(OTHER) == MINE

    def test_the_same_run_knows_its_own_lock_again_when_the_answer_was_lost(self, host: Directory) -> None:
        host.take(MINE)
        assert host.take(MINE) == MINE

    def test_another_process_of_the_same_operator_does_not_get_it(self, host: Directory) -> None:
        host.take(MINE)
        assert host.take(replace(MINE, pid=101, key="cc")) == MINE

    def test_of_many_at_the_same_moment_exactly_one_gets_it(self, host: Directory) -> None:
        host.run(lock.take("infra-1", "lab", MINE.words())[0])
        holders = [replace(MINE, pid=n, key=str(n)) for n in range(20)]
        makes = [shlex.join(lock.take("infra-1", "lab", holder.words())[1].argv) for holder in holders]
        script = " & ".join(make.replace("/var/lib/requorum", str(host.path)) for make in makes) + " & wait"
        subprocess.run(["sh", "-c", script], capture_output=True, check=True)
        assert len([holder for holder in holders if host.take(holder) == holder]) == 1

    def test_it_is_let_go_only_by_its_holder(self, host: Directory) -> None:
        host.take(MINE)
        host.drop(OTHER)
        assert host.take(OTHER) == MINE
        host.drop(MINE)
        host.drop(MINE)
        assert host.take(OTHER) == OTHER

    def test_a_lock_that_was_taken_over_is_not_taken_from_its_new_holder(self, host: Directory) -> None:
        """Two runs prove at the same time that the first is dead: the slower one must not remove the quicker one's."""
        host.take(MINE)
        host.drop(MINE)
        host.take(OTHER)
        host.drop(MINE)
        assert host.take(replace(MINE, key="dd")) == OTHER

    @pytest.mark.parametrize("text", ["nonsense", "[]", '{"user": 7}', MINE.words().replace('"ann"', "7"), "[" * 9999])
    def test_one_that_cannot_be_read_is_a_question_for_people(self, text: str) -> None:
        with pytest.raises(LockError, match="cannot be read"):
            understood(lock.ask_holder("infra-1", "lab"), text)

    @pytest.mark.parametrize(("code", "said"), [(1, "sudo: a password is required\n"), (124, ""), (127, "")])
    def test_where_nobody_could_look_it_is_not_said_that_there_is_none(self, code: int, said: str) -> None:
        with pytest.raises(Refusal, match="could not be asked"):
            understood(lock.ask_holder("infra-1", "lab"), "", code=code, stderr=said)
        assert understood(lock.ask_holder("infra-1", "lab"), "", code=1) is None

    @given(st.text(max_size=2000))
    def test_whatever_a_host_says_is_a_holder_or_a_refusal_that_names_it(self, text: str) -> None:
        with refused_by("infra-1"):
            understood(lock.ask_holder("infra-1", "lab"), text)

    def test_a_holders_words_do_nothing_to_a_terminal(self) -> None:
        assert "\x1b" not in str(replace(MINE, user="eve\x1b[2J"))

    def test_names_of_any_kind_survive(self, host: Directory) -> None:
        odd = replace(MINE, user="Zoë $(touch /tmp/x) 'q\"", host="naïve host")
        assert host.take(odd) == odd
        host.drop(odd)
        assert host.take(MINE) == MINE


class TestTakingOver:
    """`born` says when a process of this machine began."""

    def gone(self, holder: Holder, born: str | None, mine: Holder = MINE) -> bool:
        return lock.is_gone(holder, mine, lambda pid: born)

    def test_a_process_that_lives_is_not_gone(self) -> None:
        assert not self.gone(replace(MINE, key="old"), born="5000")

    def test_no_such_process_on_this_machine_any_more_is_gone(self) -> None:
        assert self.gone(replace(MINE, key="old"), born=None)

    def test_another_process_with_its_number_does_not_deceive(self) -> None:
        assert self.gone(replace(MINE, key="old"), born="9999")

    def test_a_machine_that_was_booted_since_holds_none_of_its_processes(self) -> None:
        assert self.gone(replace(MINE, boot="boot-0", key="old"), born="5000")

    @pytest.mark.parametrize("field", ["user", "host", "machine"])
    def test_of_another_user_or_machine_nothing_is_known(self, field: str) -> None:
        change: dict[str, Any] = {field: "another", "key": "old"}
        assert not self.gone(replace(MINE, **change), born=None)

    @pytest.mark.parametrize("field", ["machine", "boot"])
    def test_where_this_machine_cannot_say_who_it_is_nothing_is_known(self, field: str) -> None:
        unknown: dict[str, Any] = {field: ""}
        blind = replace(MINE, **unknown)
        assert not self.gone(replace(blind, key="old"), born=None, mine=blind)

    def test_a_holder_that_could_not_say_when_it_began_may_live(self) -> None:
        assert not self.gone(replace(MINE, born="", key="old"), born=None)


class TestThisProcess:
    def test_it_knows_itself(self) -> None:
        mine = lock.myself()
        assert (mine.pid, mine.born) == (os.getpid(), lock.born(os.getpid()))
        assert mine.machine and mine.boot and mine.born
        assert not lock.is_gone(mine, lock.myself(), lock.born)
        assert lock.myself().key != mine.key

    @pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "a zombie"])
    def test_a_process_that_was_killed_has_no_beginning(self, reaped: bool) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", "import time; print(flush=True); time.sleep(1000)"], stdout=subprocess.PIPE
        )
        assert process.stdout
        process.stdout.readline()
        assert lock.born(process.pid)
        process.send_signal(signal.SIGKILL)
        process.stdout.read()
        if reaped:
            process.wait()
        else:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert lock.born(process.pid) is None
        process.wait()


class TestWhereAndHow:
    def test_it_is_on_the_configuration_server_or_on_the_first_member_that_is_there(self) -> None:
        assert lock.place(build.terms()) == "infra-1"
        assert lock.place(build.terms(gone=("infra-1",))) == "etcd-1"
        assert lock.place(build.terms(gone=("infra-1", "etcd-1"))) == "etcd-2"

    def test_the_refusal_says_who_where_since_when_and_how_to_clear_it(self) -> None:
        said = str(lock.held("infra-1", "lab", MINE, "ssh infra-1 sudo -n cat /x", "ssh infra-1 sudo -n rm /x"))
        for word in ("infra-1", "lab is locked", "ann", "bastion", "process 100", "2026-01-01T00:00:00.000Z"):
            assert word in said
        assert said.endswith("clear its lock: ssh infra-1 sudo -n rm /x")
        looks = ("on bastion (not on infra-1) with ps -p 100", "ssh infra-1 sudo -n cat /x", "sudo -n rm /x")
        assert [said.count(look) for look in looks] == [1, 1, 1]
        assert sorted(looks, key=said.index) == list(looks), "the line that removes stands last"

    def test_what_a_lock_says_of_its_machine_becomes_no_line_to_paste(self) -> None:
        evil = replace(MINE, host="x; ssh infra-1 sudo -n rm -rf /")
        assert "on that machine (not on infra-1)" in lock.held("infra-1", "lab", evil, "ssh a", "ssh b").remedy

    @pytest.mark.parametrize(
        ("transport", "line"),
        [
            (
                {"backend": "ssh", "ssh_config": "my conf", "user": "ops"},
                "ssh -F 'my conf' -l ops infra-1.invalid sudo -n timeout -k 5 60 rm -f /var/lib/requorum/lab/lock",
            ),
            ({"backend": "ssh"}, "ssh infra-1.invalid sudo -n timeout -k 5 60 rm -f /var/lib/requorum/lab/lock"),
            ({"backend": "docker"}, "docker exec infra-1.invalid timeout -k 5 60 rm -f /var/lib/requorum/lab/lock"),
        ],
    )
    def test_the_line_that_clears_it_is_the_one_for_this_transport(self, transport: dict[str, str], line: str) -> None:
        inventory = build.inventory(transport=transport)
        assert lock.clearing(inventory, "infra-1") == line


class TestARun:
    """Taking and letting go, on a host that is played by a directory."""

    @pytest.fixture
    def run(self, host: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
        def carry_out(plan: Sequence[Action]) -> list[Result]:
            commands = [action for action in plan if isinstance(action, Command)]
            self.done += commands
            results = [
                Result(c, r.returncode, r.stdout, r.stderr, 0.0)
                for c in commands
                if "systemctl" not in c.argv
                for r in host.run(c)
            ]
            raise_all([failure(result) for result in results if not result.ok])
            return results

        self.done: list[Command] = []
        inventory, journal = build.inventory(transport={"backend": "local"}), Journal(tmp_path / "evidence")
        with Fleet(inventory, journal) as fleet:
            monkeypatch.setattr(fleet, "run", carry_out)
            yield Run(inventory, Options(), journal, fleet)

    def test_it_takes_the_lock_first_then_ends_what_was_left_everywhere(self, run: Run) -> None:
        locking.take_lock(run)
        assert [c.argv[0] for c in self.done[:3]] == ["install", "ln", "readlink"]
        assert [(c.host, c.argv) for c in self.done[3:]] == [(h, STOP) for h in run.terms.everyone]

    def test_held_already_it_stays_held(self, run: Run) -> None:
        locking.take_lock(run)
        held, done = run.lock, len(self.done)
        locking.take_lock(run)
        assert (run.lock, len(self.done)) == (held, done)

    def test_a_plan_shows_it_and_holds_nothing(self, run: Run) -> None:
        run.acts = False
        locking.take_lock(run)
        assert self.done[2].argv[2] == "‹holder›", "behind the question who holds it now"
        assert run.lock is None
        done = len(self.done)
        locking.take_lock(run)
        assert len(self.done) == done, "a procedure with the runbook's own steps in it takes it once"

    def test_it_is_let_go_at_the_end(self, run: Run, host: Directory) -> None:
        locking.take_lock(run)
        locking.release_lock(run)
        assert run.lock is None
        assert host.take(OTHER) == OTHER

    def test_another_ones_lock_is_refused_and_left(self, run: Run, host: Directory) -> None:
        host.take(OTHER)
        with pytest.raises(LockError, match="lab is locked by bob on bastion"):
            locking.take_lock(run)
        locking.release_lock(run)
        assert host.take(MINE) == OTHER
        assert not [c for c in self.done if c.argv == STOP], "the other one's work goes on"

    def test_the_operators_own_dead_run_is_taken_over(self, run: Run, host: Directory) -> None:
        host.take(replace(lock.myself(), born="1"))
        locking.take_lock(run)
        assert host.take(OTHER) == run.lock
        assert "is taken over" in run.notes[0]

    def test_a_lock_that_was_cleared_meanwhile_stops_the_run_before_its_next_mark(
        self, run: Run, host: Directory
    ) -> None:
        locking.take_lock(run)
        assert run.lock
        host.drop(run.lock)
        host.take(OTHER)
        done = len(self.done)
        with pytest.raises(LockError, match="this run's lock is held by bob"):
            run.advance(replace(run.mark, phase=Phase.STOPPING))
        assert [(c.host, c.argv[0]) for c in self.done[done:]] == [("infra-1", "sh"), ("infra-1", "readlink")]
        assert not list(host.path.rglob("run.json*")), "nothing was written"
        assert (run.mark.phase, run.reached) == (Phase.OPEN, {}), "and the end of the run says no other phase"
        locking.release_lock(run)
        assert host.take(MINE) == OTHER

    def test_the_mark_is_what_proves_that_it_is_held_still(self, run: Run, host: Directory) -> None:
        locking.take_lock(run)
        done = len(self.done)
        run.advance(replace(run.mark, phase=Phase.STOPPING))
        assert {c.argv[0] for c in self.done[done:]} == {"sh"}, "nothing is asked besides"
        assert self.done[done].argv[2] == kept.GUARDED.one and (host.path / "lab" / "run.json").exists()

    def test_a_mark_elsewhere_than_the_lock_asks_for_it(self, run: Run, host: Directory) -> None:
        locking.take_lock(run)
        done = len(self.done)
        run.remark(run.mark, ["query-1"])
        assert [(c.host, c.argv[0]) for c in self.done[done:]] == [("infra-1", "readlink"), ("query-1", "sh")]

    def test_where_it_cannot_be_let_go_the_operator_hears_how_to_clear_it(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def silent(plan: Sequence[Action]) -> list[Result]:
            raise Unreachable("infra-1", "did not answer", "check it")

        locking.take_lock(run)
        monkeypatch.setattr(run.fleet, "run", silent)
        locking.release_lock(run)
        assert "The lock may stay on infra-1" in run.last_words[0]
        assert "readlink /var/lib/requorum/lab/lock and only if it is this run's" in run.last_words[0]
        assert "rm -f /var/lib/requorum/lab/lock" in run.last_words[0]


def test_every_procedure_that_changes_the_cluster_takes_the_lock() -> None:
    root = Path(__file__).parents[3]
    for procedure in procedures.PROCEDURES:
        if procedure.confirms:
            names = [n.rsplit("::", 1)[-1] for n in procedures.expected(root / procedure.directory, root)]
            assert "test_when_the_cluster_is_locked" in names[:3], procedure.directory
