"""A host that prints without an end costs itself: it is cut off, and named with its question."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from requorum.command import MOST, Command, Result, look
from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet, Machine, Unreachable
from requorum.hosts.meeting import Doorkeeper, NoLogin
from requorum.hosts.question import Question
from tests.unit import build

ENDLESS = "while :; do echo 0123456789012345678901234567890123456789; done"
LINELESS = "tr '\\0' a </dev/zero"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(build.inventory(transport={"backend": "local"}), Journal(tmp_path / "evidence")) as fleet:
        yield fleet


@pytest.fixture(autouse=True)
def _little_memory_and_time() -> Iterator[None]:
    tracemalloc.start()
    began = time.monotonic()
    yield
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 40 * MOST and time.monotonic() - began < 50, "not its deadline ended it"


def asked(host: str, line: str, why: str = "the small thing") -> Command:
    return look(host, "sh", "-c", line, why=why, root=False)


@pytest.mark.parametrize("line", [ENDLESS, LINELESS, f"{ENDLESS} >&2", f"{LINELESS} >&2"])
@pytest.mark.parametrize("before", [0, 1], ids=["alone", "after another"])
def test_who_prints_without_an_end_is_named_with_its_question_and_stops_nobody_else(
    fleet: Fleet, line: str, before: int
) -> None:
    if before and ">&2" in line:
        line = f"{{ {line}; }} 2>&1"  # a batch keeps what is said on the other pipe on the host, until it ends
    commands = [*[asked("etcd-1", "echo first")] * before, asked("etcd-1", line), asked("etcd-2", "echo well")]
    found = fleet.gather(commands)
    endless, well = found["etcd-1"], found["etcd-2"]
    assert isinstance(endless, Unreachable) and isinstance(well, list)
    assert str(endless).startswith(
        f"etcd-1: answers without an end, more than {MOST:,} bytes, and was cut off: the small thing\n"
    )
    assert well[0].stdout == "well\n"


def test_each_question_has_its_own_bound(fleet: Fleet) -> None:
    large = replace(asked("etcd-1", f"head -c {3 * MOST} /dev/zero"), most=4 * MOST)
    fits = asked("etcd-1", f"head -c {MOST - 1000} /dev/zero")

    def read(*answers: Result) -> list[int]:
        return [len(answer.stdout) for answer in answers]

    question = Question((fits, large, fits), read)
    assert fleet.machines["etcd-1"].ask(question) == [MOST - 1000, 3 * MOST, MOST - 1000]
    with pytest.raises(Unreachable, match="was cut off: the small thing"):
        fleet.machines["etcd-1"].ask(Question((fits, replace(large, most=MOST), fits), read))


def test_a_look_for_an_assertion_is_bound_too(fleet: Fleet) -> None:
    def work(machine: Machine) -> object:
        return machine.see.run(LINELESS)

    (outcome,) = fleet.each(["etcd-1"], work).values()
    assert isinstance(outcome, Unreachable) and outcome.where == "etcd-1"
    assert f"a look printed more than {MOST:,} bytes: {LINELESS[:10]}" in outcome.what


def test_a_login_that_prints_without_an_end_is_told() -> None:
    met = Doorkeeper("m" * 32, 600, lambda seconds: False).greet(("sh", "-c", LINELESS))
    assert met == NoLogin(f"its login prints without an end, more than {MOST:,} bytes", "no shell")


def test_what_a_host_says_on_the_way_holds_up_nothing(fleet: Fleet) -> None:
    """Its login's own words go where the answer does not, more than a pipe holds."""
    there = fleet.machines["etcd-1"]
    noisy = ("sh", "-c", f'head -c {MOST} /dev/zero >&2; exec sh -c "$0"')
    fleet.machines["etcd-1"] = Machine("etcd-1", noisy, there.see, there.lock, there.look)
    found = fleet.gather([asked("etcd-1", "echo one"), asked("etcd-1", "echo two")])["etcd-1"]
    assert isinstance(found, list) and [result.stdout for result in found] == ["one\n", "two\n"]


def test_what_is_fed_arrives_whole_and_who_does_not_read_it_is_not_waited_for(fleet: Fleet) -> None:
    fed = b"x" * (4 << 20)
    reads = replace(asked("etcd-1", "wc -c"), stdin=fed)
    leaves = replace(asked("etcd-2", "exec 0<&-; exit 3"), stdin=fed)
    found = fleet.gather([reads, leaves])
    counted, left = found["etcd-1"], found["etcd-2"]
    assert isinstance(counted, list) and isinstance(left, list)
    assert (counted[0].stdout, left[0].code) == (f"{4 << 20}\n", 3)


def test_a_frame_that_a_host_forges_ends_in_no_traceback(fleet: Fleet) -> None:
    there = fleet.machines["etcd-1"]
    mark = "mark=$(echo \"$0\" | grep -o '[0-9a-f]\\{32\\} .' | tail -n 1 | cut -c -32)"
    first = "echo \"$0\" | grep -o 'echo [0-9a-f]\\{32\\}' | head -n 1 | cut -c 6-"
    forges = f'{mark}; {first}; echo "$mark x"; echo "$mark 9999"'
    fleet.machines["etcd-1"] = Machine("etcd-1", ("sh", "-c", forges), there.see, there.lock, there.look)
    found = fleet.gather([asked("etcd-1", "echo one"), asked("etcd-1", "echo two")])["etcd-1"]
    assert isinstance(found, Unreachable) and found.where == "etcd-1"
