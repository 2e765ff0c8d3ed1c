"""systemd's word on a unit: its state, and what it runs."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requorum.command import Result
from requorum.hosts import systemd
from requorum.hosts.question import Question
from requorum.hosts.systemd import ExecStart, Unit, UnitError
from requorum.refusal import Refusal
from tests.unit.build import UNIT, refused_by, understood

ASK = systemd.ask_exec("etcd-2", UNIT)
ANSWER = """\
a(sasbttttuii) 1 "/usr/bin/etcd" 3 "/usr/bin/etcd" "--config-file" "/etc/etcd/dh/latest/config.yaml" false 1 2 3 4 5 6 7
as 0
a(sb) 0
s "etcd"
s ""
t 40000
"""
PLAIN = ExecStart(("/usr/bin/etcd", "--config-file", "/etc/etcd/dh/latest/config.yaml"), (), (), "etcd", "", 40000)


class TestUnits:
    def test_systemds_properties(self) -> None:
        text = (
            "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n"
            "FragmentPath=/etc/systemd/system/dh-etcd.service\n"
        )
        assert understood(systemd.ask_unit("h", UNIT), text) == Unit(
            "loaded", "active", "running", "enabled", "/etc/systemd/system/dh-etcd.service"
        )

    def test_a_machine_that_never_had_it(self) -> None:
        unit = understood(
            systemd.ask_unit("h", UNIT), "LoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\n"
        )
        assert not unit.running
        assert not unit.installed


def test_the_words_of_a_unit_are_read_as_systemd_understood_them() -> None:
    assert understood(ASK, ANSWER) == PLAIN


def test_environment_and_escapes_are_read() -> None:
    text = (
        ANSWER.replace("as 0", r'as 2 "A=two words" "B=\"q\" \\ \303\251 \x21\t"')
        .replace("a(sb) 0", 'a(sb) 2 "/etc/default/etcd" true "/etc/etcd.env" false')
        .replace('s ""', 's "!/srv/x"')
    )
    found = understood(ASK, text)
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
        understood(ASK, text)


def test_a_units_name_is_spelled_as_the_bus_wants_it() -> None:
    assert "/org/freedesktop/systemd1/unit/dh_2detcd_2eservice" in ASK.commands[0].argv


@pytest.mark.parametrize(
    ("was", "says"),
    [('3 "/usr/bin/etcd"', "program of dh-etcd.service"), ('s "etcd"', "account of dh-etcd.service")],
)
def test_a_word_that_could_lead_elsewhere_is_refused(was: str, says: str) -> None:
    with pytest.raises(Refusal, match=f"etcd-2: its {says} is '-x y'"):
        understood(ASK, ANSWER.replace(was, was.rsplit('"', 2)[0] + '"-x y"'))


@pytest.mark.parametrize("line", ["ActiveState=on;rm", "UnitFileState=\x1b[2J", "FragmentPath=/a/../x", "LoadState=A"])
def test_a_state_that_systemd_does_not_have_is_refused(line: str) -> None:
    with pytest.raises(Refusal, match=f"etcd-2: its {line.split('=')[0]} of {UNIT} is"):
        understood(systemd.ask_unit("etcd-2", UNIT), line)


LIKELY = (
    *ANSWER.splitlines(keepends=True),
    "a(sasbttttuii) 1 \n",
    's "\\xzz"\n',
    "ExecStart=/a 'b\n",
    "as 1\n",
    "t x\n",
)
QUESTIONS = [ASK, systemd.ask_unit("etcd-2", UNIT), systemd.ask_kept("etcd-2", UNIT, ["/x"])]


@pytest.mark.parametrize("question", QUESTIONS, ids=["exec", "unit", "kept"])
@settings(max_examples=50, deadline=None)
@given(
    text=st.text(max_size=2000)
    | st.lists(st.sampled_from(LIKELY), min_size=6, max_size=6).map("".join)
    | st.lists(st.sampled_from(LIKELY) | st.text(max_size=20)).map("".join)
)
def test_whatever_a_host_says_is_a_value_or_a_refusal_that_names_it(question: Question[Any], text: str) -> None:
    with refused_by("etcd-2"):
        understood(question, text)


# -- what the environment's files say ------------------------------------------------------------------------------


def environment(text: str, words: tuple[str, ...] = ("etcd",), name: str = "") -> dict[str, str] | None:
    """By the script itself, of a file of this name or of one that holds `text`."""
    with tempfile.NamedTemporaryFile("w", suffix=".env") as file:
        file.write(text)
        file.flush()
        question = systemd.ask_environment("h", replace(PLAIN, words=words, environment_files=(name or file.name,)))
        (command,) = question.commands
        done = subprocess.run(command.argv, capture_output=True, text=True, check=False)
    return question.understand([Result(command, done.returncode, done.stdout, done.stderr, 0.0)])


def test_of_an_environments_file_only_what_etcd_or_its_words_take_is_read() -> None:
    text = "# ETCD_X=1\nETCD_DATA_DIR=/data\n ETCD_NAME='etcd-1'\nOPTS=\"--wal-dir /fast\"\nAWS_SECRET=word\n"
    assert environment(text, ("etcd", "$OPTS")) == {
        "ETCD_DATA_DIR": "/data",
        "ETCD_NAME": "etcd-1",
        "OPTS": "--wal-dir /fast",
    }
    assert environment("AWS_SECRET=word\n") == {}


@pytest.mark.parametrize("text", ["ETCD_NAME=a\\\n b\n", "ETCD_NAME='a\n", "ETCD_NAME='a' 'b'\n", 'ETCD_NAME=a"b"\n'])
def test_a_value_that_systemd_alone_understands_tells_nothing(text: str) -> None:
    assert environment(text) is None


def test_a_file_that_may_be_missing_says_nothing_and_any_other_that_cannot_be_read_tells_nothing() -> None:
    assert environment("", name="-/nowhere-at-all.env") == {}
    assert environment("", name="-/nowhere/at/all.env") is None, "its directory cannot be looked into"
    assert environment("", name="/nowhere-at-all.env") is None
    assert environment("", name="-/etc/*.env") is None


def test_what_systemd_tells_is_believed_and_of_what_it_does_not_know_nothing() -> None:
    asked = systemd.ask_known("etcd-2", UNIT)
    assert understood(asked, ANSWER) == understood(ASK, ANSWER)
    assert understood(asked, "") is None


def test_a_unit_that_was_set_aside_tells_by_its_file() -> None:
    kept = (
        "[Service]\nEnvironment=ETCD_NAME=a 'B=c d'\nEnvironmentFile=-/e\nWorkingDirectory=/w\n"
        "ExecStart=/usr/bin/etcd \\\n  --data-dir=/d\n"
    )
    asked = systemd.ask_kept("h", UNIT, ("/aside",))
    file, none = (Result(c, 1, text, "", 0.0) for c, text in zip(asked.commands, (kept, ""), strict=True))
    found = asked.understand([file, replace(none, code=0)])
    assert found == ExecStart(("/usr/bin/etcd", "--data-dir=/d"), ("ETCD_NAME=a", "B=c d"), ("-/e",), "", "/w", 0)


@pytest.mark.parametrize(
    ("drop_ins", "words"),
    [
        ("", ("/usr/bin/etcd", "--config-file=/c")),
        ("[Service]\nLimitNOFILE=65536\n", ("/usr/bin/etcd", "--config-file=/c")),
        ("[Service]\nExecStart=\nExecStart=/usr/bin/etcd --data-dir=/d\n", ("/usr/bin/etcd", "--data-dir=/d")),
        ("[Service]\nExecStart=\nExecStart=/x\n\n[Service]\nExecStart=\nExecStart=/y\n", ("/y",)),
        ("[Service]\nExecStart=/usr/bin/etcd --data-dir=/d\n", None),
        (None, None),
    ],
    ids=["none", "of a limit", "a reset", "the later", "a second", "unreadable"],
)
def test_drop_ins_stay_when_the_file_is_set_aside_and_are_read_with_it(
    drop_ins: str | None, words: tuple[str, ...] | None
) -> None:
    asked = systemd.ask_kept("h", UNIT, ("/aside",))
    kept, beside = asked.commands
    file = "[Service]\nExecStart=/usr/bin/etcd --config-file=/c\n"
    answers = [(kept, 1, file), (beside, int(drop_ins is None), drop_ins or "")]
    found = asked.understand([Result(command, code, text, "", 0.0) for command, code, text in answers])
    assert (found and found.words) == words


def dropped(place: Path, unit: str, files: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """What the script says of these files, below `place` instead of the root."""
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (command,) = systemd.ask_drop_ins("h", unit).commands
    assert command.root, "a drop-in may be for root's eyes only"
    script = re.sub(" (?=/(?:etc|run|usr|lib)/)", f" {place}", command.argv[2]).replace('cat "/', f'cat "{place}/')
    script = script.replace('"${file##*/}$file"', f'"${{file##*/}}${{file#{place}}}"')
    return subprocess.run(["sh", "-c", script, *command.argv[3:]], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("unit", "files", "order"),
    [
        ("dh-etcd.service", ("etc/systemd/system/{u}.d/a", "run/systemd/system/{u}.d/b", "lib/{u}.d/c"), "ab"),
        ("dh-etcd.service", ("usr/lib/systemd/system/{u}.d/z", "etc/systemd/system/{u}.d/a"), "10"),
        ("dh-etcd.service", ("usr/lib/systemd/system/{u}.d/a", "etc/systemd/system/{u}.d/a"), "1"),
        ("dh-etcd.service", ("run/systemd/system/{u}.d/a", "etc/systemd/system/dh-.service.d/a"), "1"),
        ("dh-etcd.service", ("run/systemd/system/{u}.d/a", "etc/systemd/system/service.d/a"), "0"),
        ("dh-etcd@1.service", ("etc/systemd/system/dh-etcd@.service.d/b", "etc/systemd/system/{u}.d/a"), "10"),
        ("dh-etcd@1.service", ("etc/systemd/system/dh-etcd@.service.d/a", "etc/systemd/system/{u}.d/a"), "1"),
        ("dh-etcd.service", ("etc/systemd/system/{u}.d/a b", "etc/systemd/system/{u}.d/a"), "01"),
    ],
    ids=["places", "by name", "hides", "of a prefix", "of the type", "of a template", "hides a template", "a blank"],
)
def test_drop_ins_come_in_systemds_own_order(unit: str, files: Sequence[str], order: str, tmp_path: Path) -> None:
    written = {f"{name.format(u=unit)}.conf": f"number {n}" for n, name in enumerate(files)}
    if order == "ab":
        order, written["lib/systemd/system/x.service.d/c.conf"] = "01", "of another unit"
    done = dropped(tmp_path, unit, written)
    assert (done.returncode, re.findall("number (.)", done.stdout)) == (0, list(order)), done
    assert "another" not in done.stdout


def test_an_empty_drop_in_hides_the_one_below_it_and_one_that_cannot_be_read_is_not_none(tmp_path: Path) -> None:
    of = "systemd/system/dh-etcd.service.d"
    done = dropped(tmp_path, "dh-etcd.service", {f"usr/lib/{of}/a.conf": "ExecStart=/old", f"etc/{of}/a.conf": ""})
    assert (done.returncode, done.stdout.strip()) == (0, "")
    (tmp_path / f"etc/{of}/b.conf").symlink_to(tmp_path / "nowhere")
    assert dropped(tmp_path, "dh-etcd.service", {}).returncode == 1
    assert dropped(tmp_path / "empty", "dh-etcd.service", {}).returncode == 0


CONFIG = "/etc/etcd/dh/latest/config.yaml"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", ""),
        ("[Service]\nLimitNOFILE=65536\n", ""),
        (f"[Service]\nExecStart=\nExecStart=/usr/bin/etcd --config-file={CONFIG} --log-level=debug\n", ""),
        (f"ExecStart=\nExecStart=/usr/bin/nice -n 5 /usr/bin/etcd --config-file {CONFIG}\n", ""),
        ("ExecStart=\nExecStart=/usr/bin/etcd --data-dir=/old\n", "in another way than with"),
        ("ExecStart=\nExecStart=/usr/bin/etcd --config-file=/old.yaml\n", "in another way than with"),
        (f"ExecStart=\nExecStart=/opt/start --config-file={CONFIG}\n", "by /opt/start, and nobody tells what"),
        (f"ExecStart=\nExecStart=/bin/sh -c 'exec etcd --config-file={CONFIG}'\n", "by /bin/sh, and nobody tells"),
        (f"ExecStart=\nExecStart=/usr/bin/nice /opt/start --config-file={CONFIG}\n", "by /usr/bin/nice, and nobody"),
        (f"ExecStart=\nExecStart=/usr/bin/env A=/x nice -n -5 taskset -c 0-3 etcd --config-file={CONFIG}\n", ""),
        (f"ExecStart=\nExecStart=/usr/bin/env /opt/start etcd --config-file={CONFIG}\n", "by /usr/bin/env, and nobody"),
        (f"ExecStart=\nExecStart=/usr/bin/env A=/x/etcd /opt/start etcd --config-file={CONFIG}\n", "and nobody tells"),
        (f"ExecStart=\nExecStart=/usr/bin/env -S'/opt/start x' etcd --config-file={CONFIG}\n", "and nobody tells"),
        (f"ExecStart=\nExecStart=/usr/bin/env -iS /opt/start etcd --config-file={CONFIG}\n", "and nobody tells"),
        (
            f"ExecStart=\nExecStart=/usr/bin/nice -n 5 sh -c /opt/start etcd --config-file={CONFIG}\n",
            "and nobody tells",
        ),
        (f"ExecStart=\nExecStart=/usr/bin/etcd --config-file={CONFIG} $MORE\n", "what $MORE says too"),
        ("# a \\\nExecStart=\n# b \\\nExecStart=/opt/start\n", "is not understood"),
        ("# a \\\nLimitNOFILE=65536\n", ""),
        (f"ExecStart=/usr/bin/etcd --config-file={CONFIG}\n", "systemd refuses"),
        ("ExecStart=\n", "systemd refuses"),
        ("ExecStart=\nExecStart=/usr/bin/etcd 'torn\n", "systemd refuses"),
        (None, "cannot be read"),
    ],
    ids=[
        "none",
        "a limit",
        "the same file",
        "by nice",
        "flags",
        "an old configuration",
        "a wrapper",
        "a shell",
        "a wrapper by nice",
        "several launchers",
        "a wrapper by env",
        "a wrapper behind a setting",
        "a text that env splits",
        "another that env splits",
        "a shell by nice",
        "a variable",
        "comments that may go on",
        "one that may and says nothing",
        "a second ExecStart",
        "none left",
        "torn",
        "unreadable",
    ],
)
def test_what_drop_ins_have_started_below_a_new_unit_is_said_where_it_is_not_surely_the_same(
    said: str | None, why: str
) -> None:
    found = systemd.started_otherwise(said, CONFIG)
    assert why in found and bool(found) == bool(why), found
