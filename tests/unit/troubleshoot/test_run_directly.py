"""What systemd says a unit runs, and the one transient unit that runs it directly."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.command import Collect, Collected
from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet
from requorum.hosts.systemd import ExecStart
from requorum.refusal import Disproved
from requorum.run.run import Run
from requorum.troubleshoot import run_directly, sudoers
from tests.unit import build

ANSWER = """\
a(sasbttttuii) 1 "/usr/bin/etcd" 3 "/usr/bin/etcd" "--config-file" "/etc/etcd/dh/latest/config.yaml" false 1 2 3 4 5 6 7
as 0
a(sb) 0
s "etcd"
s ""
t 40000
"""
PLAIN = ExecStart(("/usr/bin/etcd", "--config-file", "/etc/etcd/dh/latest/config.yaml"), (), (), "etcd", "", 40000)


WHERE = run_directly.Place("/var/lib/requorum/lab/run_directly", "r1")


def of(what: ExecStart = PLAIN, again: bool = True) -> str:
    return build.lines(run_directly.run("etcd-2", WHERE, build.UNIT, "etcd", what, 20, again))[-1]


def test_one_transient_unit_stops_runs_and_starts_again() -> None:
    line = of()
    assert line == (
        f"etcd-2: {build.LONG} systemd-run --wait --collect --unit=requorum-run-directly.service "
        "--property=RuntimeMaxSec=20 --property=TimeoutStartSec=900 --property=TimeoutStopSec=30 "
        "--property=StandardOutput=file:/var/lib/requorum/lab/run_directly/r1.log --property=StandardError=inherit "
        "'--property=ExecStartPre=/bin/systemctl stop dh-etcd.service' "
        "'--property=ExecStopPost=/bin/systemctl start --no-block dh-etcd.service' "
        "--property=LimitNOFILE=40000 "
        "--property=EnvironmentFile=/var/lib/requorum/lab/run_directly/r1.env "
        "runuser -u etcd -- /usr/bin/etcd --config-file /etc/etcd/dh/latest/config.yaml"
    )


def test_a_unit_that_was_stopped_is_not_started_afterwards() -> None:
    assert "ExecStopPost" not in of(again=False)


def test_ctrl_c_ends_it_on_the_host() -> None:
    plan = run_directly.run("etcd-2", WHERE, build.UNIT, "etcd", PLAIN, 20, True)
    assert plan[-1].stop == ("systemctl", "stop", "--no-block", "requorum-run-directly.service")
    assert plan[-1].accept is None, "that its time was up is no failure"


def test_the_environment_is_on_no_command_line() -> None:
    secret = ExecStart(("/usr/bin/etcd",), ("ETCD_TOKEN=hidden",), (), "etcd", "", 1024)
    plan = run_directly.run("etcd-2", WHERE, build.UNIT, "etcd", secret, 20, True)
    assert not any("hidden" in line for line in build.lines(plan))
    assert build.stdins(plan) == [b'ETCD_TOKEN="hidden"\n']
    assert build.lines(run_directly.forget("etcd-2", WHERE)) == [
        f"etcd-2: {build.SHORT} find /var/lib/requorum/lab/run_directly -name '*.env' -delete"
    ]


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20))
def test_an_environment_value_comes_back_from_its_quotes(value: str) -> None:
    text = run_directly.environment_file(ExecStart(("x",), (f"A={value}",), (), "", "", 1))
    assert text.startswith('A="') and text.endswith('"\n')
    inner = text[3:-2]
    assert not re.search(r'(?<!\\)(\\\\)*["$`]', inner)
    assert re.sub(r"\\(.)", r"\1", inner) == value


@pytest.mark.parametrize(
    ("said", "ended"),
    [
        ("Running as unit: x\nFinished with result: timeout\nMain processes terminated", "timeout"),
        ("Finished with result: exit-code", "exit-code"),
        ("Failed to start transient service unit: exists", None),
    ],
)
def test_how_it_ended_is_systemds_word(said: str, ended: str | None) -> None:
    assert run_directly.ending(said) == ended


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(build.inventory(transport={"backend": "local"}), Journal(tmp_path / "evidence")) as machines:
        yield machines


def keep(machines: Fleet, log: Path) -> tuple[str, list[str], list[Collect]]:
    """What is kept of a log on this very machine, the notes, and what was collected; without sudo."""
    asked: list[Collect] = []
    notes: list[str] = []

    def collect(items: Sequence[Collect]) -> dict[str, list[Collected] | Exception]:
        asked.extend(items)
        return machines.collect(
            [replace(item, command=replace(item.command, argv=("cat", str(log)), root=False)) for item in items]
        )

    def settle(claim: str, outcomes: dict[str, str | None], remedy: str) -> None:
        if any(outcomes.values()):
            raise Disproved(claim, {h: found for h, found in outcomes.items() if found}, remedy)

    run = SimpleNamespace(
        acts=True, journal=machines.journal, note=notes.append, settle=settle, fleet=SimpleNamespace(collect=collect)
    )
    run_directly.keep_the_output(cast(Run, run), "etcd-2", WHERE)
    return (machines.journal.directory / "etcd-2.log").read_text(), notes, asked


def test_what_etcd_said_is_redacted_before_it_is_on_this_machine(machines: Fleet, tmp_path: Path) -> None:
    log = tmp_path / "r1.log"
    log.write_text("".join(f"line {n}\n" for n in range(20)) + "password=hunter2\nlast\n")
    kept, notes, asked = keep(machines, log)
    assert kept.splitlines()[:20] == [f"line {n}" for n in range(20)] and kept.endswith("•••\nlast\n")
    assert "hunter2" not in kept + "".join(notes)
    assert notes[0].startswith("22 lines: ") and len(notes) == 1 + run_directly.SHOWN
    assert notes[1:3] == ["line 14", "line 15"] and notes[-1] == "last"
    assert sudoers.unlisted(build.inventory(), [item.command.line() for item in asked]) == []
    assert [item.command.argv for item in asked] == [("cat", WHERE.log)]


@pytest.mark.parametrize(("said", "found"), [("", "no output"), (None, "could not be read")])
def test_output_that_is_not_there_is_said(machines: Fleet, tmp_path: Path, said: str | None, found: str) -> None:
    log = tmp_path / "r1.log"
    if said is not None:
        log.write_text(said)
    with pytest.raises(Disproved, match=found):
        keep(machines, log)


def test_output_of_which_some_was_left_out_is_said(
    machines: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_directly, "MOST_BYTES", 10)
    log = tmp_path / "r1.log"
    log.write_text("a line that is longer than that\nanother\n")
    with pytest.raises(Disproved, match="more than 10 bytes"):
        keep(machines, log)
