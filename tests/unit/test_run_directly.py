"""What systemd says a unit runs, and the one transient unit that runs it directly."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum import direct, execstart
from requorum.execstart import ExecStart, UnitError
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


def test_the_words_of_a_unit_are_read_as_systemd_understood_them() -> None:
    assert execstart.parse(ANSWER, "etcd-2", build.UNIT) == PLAIN


def test_environment_and_escapes_are_read() -> None:
    text = (
        ANSWER.replace("as 0", r'as 2 "A=two words" "B=\"q\" \\ \303\251 \x21\t"')
        .replace("a(sb) 0", 'a(sb) 2 "/etc/default/etcd" true "/etc/etcd.env" false')
        .replace('s ""', 's "!/srv/x"')
    )
    found = execstart.parse(text, "etcd-2", build.UNIT)
    assert found.environment == ("A=two words", 'B="q" \\ é !\t')
    assert found.environment_files == ("-/etc/default/etcd", "/etc/etcd.env")
    assert found.directory == "-/srv/x"


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ("a(sasbttttuii) 0", "dh-etcd.service has no ExecStart"),
        ('a(sasbttttuii) 2 "/a" 1 "/a" false 0 0 0 0 0 0 0 "/b" 1 "/b" false 0 0 0 0 0 0 0', "has 2 ExecStart lines"),
        ("Failed to get property ExecStart: no such unit", "systemd does not tell"),
    ],
)
def test_a_unit_that_does_not_run_exactly_one_command_is_refused(first: str, says: str) -> None:
    text = "\n".join([first, *ANSWER.splitlines()[1:]]) if first.startswith("a(") else first
    with pytest.raises(UnitError, match=says):
        execstart.parse(text, "etcd-2", build.UNIT)


def test_a_units_name_is_spelled_as_the_bus_wants_it() -> None:
    assert "/org/freedesktop/systemd1/unit/dh_2detcd_2eservice" in execstart.ask("etcd-2", build.UNIT).argv


WHERE = direct.Place("/var/lib/requorum/lab/run_directly", "r1")


def of(what: ExecStart = PLAIN, again: bool = True) -> str:
    return build.lines(direct.run("etcd-2", WHERE, build.UNIT, "etcd", what, 20, again))[-1]


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
    plan = direct.run("etcd-2", WHERE, build.UNIT, "etcd", PLAIN, 20, True)
    assert plan[-1].stop == ("systemctl", "stop", "--no-block", "requorum-run-directly.service")
    assert plan[-1].accept is None, "that its time was up is no failure"


def test_the_environment_is_on_no_command_line() -> None:
    secret = ExecStart(("/usr/bin/etcd",), ("ETCD_TOKEN=hidden",), (), "etcd", "", 1024)
    plan = direct.run("etcd-2", WHERE, build.UNIT, "etcd", secret, 20, True)
    assert not any("hidden" in line for line in build.lines(plan))
    assert build.stdins(plan) == [b'ETCD_TOKEN="hidden"\n']
    assert build.lines(direct.forget("etcd-2", WHERE)) == [
        f"etcd-2: {build.SHORT} find /var/lib/requorum/lab/run_directly -name '*.env' -delete"
    ]


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=20))
def test_an_environment_value_comes_back_from_its_quotes(value: str) -> None:
    text = direct.environment_file(ExecStart(("x",), (f"A={value}",), (), "", "", 1))
    assert text.startswith('A="') and text.endswith('"\n')
    inner = text[3:-2]
    assert not re.search(r'(?<!\\)(\\\\)*["$`]', inner)
    assert re.sub(r"\\(.)", r"\1", inner) == value


@pytest.mark.parametrize(
    ("said", "ended"),
    [("Running as unit: x\nFinished with result: timeout\nMain processes terminated", "timeout"),
     ("Finished with result: exit-code", "exit-code"), ("Failed to start transient service unit: exists", None)],
)  # fmt: skip
def test_how_it_ended_is_systemds_word(said: str, ended: str | None) -> None:
    assert direct.ending(said) == ended
