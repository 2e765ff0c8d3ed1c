"""Every deadline follows from bytes or is a rung, and passes the one door where --timeout-scale stretches it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from requorum import deadlines
from requorum.cluster import etcd, etcdctl, sandbox
from requorum.command import Command, Copy, Fetch, Result, look
from requorum.deadlines import HUGE, LONG, SHORT, by_bytes, rung, wait
from requorum.diagnosis import questions
from requorum.evidence.journal import Journal
from requorum.hosts import system
from requorum.hosts.fleet import Fleet
from requorum.refusal import Refusal
from requorum.snapshots import on_host, survivors
from requorum.troubleshoot import debug_logging
from tests.unit import build
from tests.unit.snapshots.test_survivors import survivor

ROOT = Path(__file__).parents[2]
GIB = 1 << 30

# Who may wait, in Python: the fleet with what it is made of, and the one poll loop. Everybody else asks these.
FLEET = {
    "hosts/fleet.py",
    "hosts/looks.py",
    "hosts/stream.py",
    "hosts/pour.py",
    "hosts/interrupt.py",
    "hosts/meeting.py",
    "run/run.py",
}
# On this machine alone: git, of whom what is late stays unknown; ssh-keygen, whose time the run stretches; and the turn
# at a file of numbers, without which they are written all the same.
DOORS = FLEET | {"version.py", "evidence/signature.py", "plugin/metrics.py", "hosts/cipher.py"}
_WAITS = {"sleep", "communicate", "Timer", "until_holds"}
# A limit in a word of argv: what a program on a host calls it.
_LIMIT = re.compile(
    r"--[a-z-]*timeout\b(?!-scale)|--max-time\b|^timeout$|/timeout$|RuntimeMaxSec=|Timeout[A-Za-z]+Sec="
)
# Words that limit nothing that could be slow.
FREE = {
    "command.py": {"timeout", "--property=TimeoutStopSec="},  # the deadline itself; how long SIGTERM has before SIGKILL
    "run/lock.py": {"timeout"},  # a line to be pasted
    "hosts/sudo.py": {"/usr/bin/timeout", "/bin/timeout"},  # what sudo compares
    "troubleshoot/sudoers.py": {"timeout"},  # and this
    "troubleshoot/run_directly.py": {"timeout", "RuntimeMaxSec="},  # systemd's word; what --seconds asks for
    "diagnosis/causes.py": None,  # commands for people
}


def _waits(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "wait"


def _texts(node: ast.AST, within: bool = False) -> Iterator[tuple[str, bool]]:
    """Every text of a program, and whether it stands in a call of `wait`, or as a word before one."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value, within
    children = list(ast.iter_child_nodes(node))
    for child, following in zip(children, [*children, node][1:], strict=True):
        yield from _texts(child, within or _waits(node) or _waits(following))


def _documented(tree: ast.AST) -> set[str]:
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
    return {
        str(n.body[0].value.value)
        for n in nodes
        if n.body and isinstance(n.body[0], ast.Expr) and isinstance(n.body[0].value, ast.Constant)
    }


@pytest.mark.parametrize("path", sorted((ROOT / "requorum").rglob("*.py")), ids=lambda path: path.stem)
def test_no_limit_in_a_command_passes_the_door_by(path: Path) -> None:
    name, tree = str(path.relative_to(ROOT / "requorum")), ast.parse(path.read_text(encoding="utf-8"))
    free = FREE.get(name, set())
    words = [text for text, within in _texts(tree) if not within and text not in _documented(tree)]
    limits = {word for word in words if _LIMIT.search(word) and len(word.split()) < 8}
    assert free is None or limits <= free, "write such a limit with deadlines.wait"


@pytest.mark.parametrize("path", sorted((ROOT / "requorum").rglob("*.py")), ids=lambda path: path.stem)
def test_nobody_waits_but_the_fleet_and_the_one_poll_loop(path: Path) -> None:
    name, found = str(path.relative_to(ROOT / "requorum")), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            found |= {called} & _WAITS
            found |= {called for word in node.keywords if word.arg == "timeout"}
            found |= {
                "deadline in figures"
                for w in node.keywords
                if w.arg == "deadline" and isinstance(w.value, ast.Constant)
            }
    assert name in DOORS or found == set(), "wait with Run.wait or Run.prove"


def test_what_waits_in_the_isolated_boot_follows_from_the_one_number_that_it_is_given() -> None:
    text = sandbox.PROGRAM.read_text(encoding="utf-8")
    calls = re.findall(r"(?:--max-time |-timeout=|timeout -k 2 )(\S+)", text)
    assert calls and all(call.startswith(('"$(long', '"${long')) for call in calls)
    assert 'deadline=$(($(date +%s) + $(long "$1")))' in text
    assert re.findall(r"sleep (\S+)", text) == ["0.05"]
    assert set(re.findall(r'await "\$seconds"', text)) == set(), "seconds is what 60 became"


class TestByBytes:
    def test_eight_gigabytes_fit_into_the_longest_rung_over_a_thin_line(self) -> None:
        assert rung(by_bytes(8 * GIB, rate=deadlines.LINE_RATE)) == HUGE

    @pytest.mark.parametrize(("size", "deadline"), [(0, 7200), (8 * GIB, 7200), (20 * GIB, 21600)])
    def test_a_transfer_takes_as_long_as_its_bytes_need(self, size: int, deadline: int) -> None:
        copy = Copy("/a", (("h", "/b"),), "x", "g", bytes=size)
        assert {c.deadline for c in (copy.reads(), *copy.writes(), *copy.checks()) if c} == {deadline}
        assert Fetch("h", "/a", "/b", "x", "5" * 64, size).reads().deadline == deadline

    @pytest.mark.parametrize(
        ("size", "waits", "deadline"), [(10 << 20, 60, LONG), (GIB, 180, LONG), (8 * GIB, 900, HUGE)]
    )
    def test_a_boot_waits_for_a_leader_and_ends_by_its_data(self, size: int, waits: int, deadline: int) -> None:
        boots = [sandbox.Boot(1, "etcd-1", "https://10.0.0.11:2380", "10.0.0.11", "etcd-1=https://10.0.0.11:2380", "t")]
        command = sandbox.boot("h", "trial", "r", "/s", build.inventory(), boots, size=size)[-1]
        assert (command.argv[-1], command.deadline) == (str(waits), deadline)
        assert f"--property=RuntimeMaxSec={deadline - 30}" in command.argv

    def test_whoever_reads_a_whole_database_has_the_longest_rung(self) -> None:
        """Eight gigabytes of it take some fifteen minutes where others use the disk too."""
        asked = (on_host.ask_status("h", "/x/db"), etcdctl.ask_database("h", "/usr/bin/etcdutl", "etcd", "/x/db"))
        assert [question.commands[0].deadline for question in asked] == [HUGE, HUGE]

    def test_a_gathered_copy_tells_its_bytes(self) -> None:
        two = [survivor(1, size=20 * GIB), survivor(2, size=30 * GIB)]
        (copy,) = [a for a in survivors.gather(build.terms(), two, "etcd-1") if isinstance(a, Copy)]
        assert (copy.bytes, copy.most > 2 * 30 * GIB) == (30 * GIB, True)
        assert copy.deadline > 30 * GIB / deadlines.LINE_RATE

    def test_a_copy_that_stands_still_is_late_long_before_its_deadline(self) -> None:
        assert deadlines.STALLED == SHORT / 2

    def test_what_a_plan_does_not_know_yet_is_small(self) -> None:
        assert by_bytes(9_100_000_000_000_000_002) == SHORT


class TestStretched:
    def test_a_command_with_all_its_limits(self) -> None:
        command = look("h", "curl", "--max-time", wait(3), wait(20, "--dial-timeout={}s"), "3", why="x", root=False)
        assert command.stretched(1) is command
        assert command.stretched(2.5).line() == "timeout -k 5 150 curl --max-time 8 --dial-timeout=50s 3"
        assert command.stretched(2).stretched(2).deadline == 240

    def test_a_copy_and_a_fetch(self) -> None:
        copy = Copy("/a", (("h", "/b"),), "x", "g").stretched(2)
        lines = [*copy.opens(), copy.reads(), *copy.writes(), *copy.checks(), *copy.names()]
        assert [c.deadline for c in lines if c] == [120, 14400, 14400, 14400, 120]
        assert Fetch("h", "/a", "/b", "x", "5" * 64).stretched(2).reads().deadline == 14400

    @pytest.mark.parametrize("way", ["run", "severally", "gather", "ask"])
    def test_the_fleet_runs_nothing_that_is_not(self, tmp_path: Path, way: str) -> None:
        inventory = build.inventory(transport={"backend": "local"})
        command = look("etcd-1", "sh", "-c", 'ps -o args= -p "$PPID"; exit $0', wait(3), why="x", root=False)
        told: Result | None = None
        with Fleet(inventory, Journal(tmp_path / "evidence"), scale=3) as fleet:
            if way == "run":
                (told,) = fleet.run([command])
            elif way == "ask":
                (told,) = fleet.machines["etcd-1"].look([command])
            elif way == "severally":
                (told,), failed = fleet.severally([replace(command, accept=(0, 9))])
                assert failed == {}
            else:
                answer = fleet.gather([replace(command, accept=(0, 9))])["etcd-1"]
                assert isinstance(answer, list)
                (told,) = answer
        assert told and (told.command.deadline, told.code) == (180, 9)
        assert "timeout -k 5 180 sh -c" in (tmp_path / "evidence" / "journal.jsonl").read_text()

    def test_ssh_is_given_more_time_too(self, tmp_path: Path) -> None:
        with Fleet(build.inventory(), Journal(tmp_path / "evidence"), scale=3) as fleet:
            prefix = fleet.machines["etcd-1"].prefix
        assert {"ConnectTimeout=30", "ServerAliveInterval=15", "ControlPersist=120s"} <= set(prefix)


LATE = [
    system.ask_uid("h", "etcd"),
    questions.ask_data("h", build.config()),
    etcd.ask_size("h", build.config()),
    etcdctl.ask_snapshot("h", "etcdctl", "/s", "revision"),
    debug_logging.ask_kept("h", "/k"),
]


@pytest.mark.parametrize("code", [124, 137])
@pytest.mark.parametrize("question", LATE, ids=lambda question: question.commands[0].why)
def test_a_question_that_was_not_answered_in_time_is_neither_yes_nor_no(question: object, code: int) -> None:
    (command,) = question.commands  # type: ignore[attr-defined]
    with pytest.raises(Refusal, match=r"h: could not be asked in time: .*did not end within") as error:
        question.understand([Result(command, code, "", "", 60.0)])  # type: ignore[attr-defined]
    assert "--timeout-scale" in error.value.remedy


def test_what_a_late_command_said_is_not_taken_for_why_it_failed() -> None:
    late = Result(Command("h", ("x",), "x"), 124, "", "half a line\n", 60.0)
    assert late.words == "it did not end within 60 s, and said: half a line"
