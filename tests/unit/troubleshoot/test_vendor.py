"""The vendor's lines tried where nothing is real: which lines, by which unit, and how what it says is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from requorum.command import Result
from requorum.refusal import Refusal
from requorum.troubleshoot import vendor
from tests.unit import build

INVENTORY = build.inventory()
SAID = (
    "ended 0 Wrote password=hunter2 somewhere.\0wrote new\tregular file\t600 0:0 12\t/etc/./a.tgz\0"
    "holds -rw------- 0/0 9 2026-01-01 00:00 client/root/password\0"
    "wrote gone\tcharacter special file\t0 0:0 0\t/etc/./b\0"
)


def answered(stdout: str, code: int = 0, stderr: str = "") -> vendor.Tried:
    question = vendor.ask_try("infra-1", [["true"]], "requorum-try-1.service")
    return question.understand([Result(question.commands[0], code, stdout, stderr, 1.0)])


def test_only_what_writes_files_is_tried_never_a_line_that_turns_something_on_or_off() -> None:
    assert vendor.main(["try", "monit_down", "--hosts=x", "--on=y"]) == 4
    assert not [line for line in vendor.LINES if "monit" in line]
    (generate,) = vendor.of(INVENTORY, "generate", "infra-1")
    assert generate[0] == "/usr/illumon/latest/bin/config_generator.sh"
    first, unpack = vendor.of(INVENTORY, "unpack_server", INVENTORY.members[1].host)
    assert first == generate and unpack[1:] == [INVENTORY.deephaven.server_archive, "2"]
    assert len(vendor.of(INVENTORY, "unpack_client", "infra-1", "/root/a.tgz")) == 1


def test_the_unit_has_no_network_and_a_read_only_world_and_can_be_stopped() -> None:
    (command,) = vendor.ask_try("infra-1", [["a", "$HOME"], ["b"]], "requorum-try-1.service").commands
    given = [word.removeprefix("--property=") for word in command.argv if word.startswith("--property=")]
    assert {
        "PrivateNetwork=yes",
        "PrivateTmp=yes",
        "KillSignal=SIGKILL",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
    } <= set(given)
    assert command.stop == ("systemctl", "stop", "requorum-try-1.service")
    program, *words = command.argv[command.argv.index("-c", 3) + 1 :]
    assert program.replace("$$", "$") == vendor.PROGRAM.read_text() and not re.search(r"(?<!\$)\$(?!\$)", program)
    assert words == ["sh", "2", "a", "$$HOME", "b"]


def test_what_was_written_is_told_without_contents() -> None:
    tried = answered(f"{SAID}done\0")
    assert tried.ended[0][0] == 0 and "hunter2" not in tried.ended[0][1]
    assert [(one.how, one.path) for one in tried.written] == [("new", "/etc/a.tgz"), ("gone", "/etc/b")]
    assert "client/root/password" in "\n".join(vendor.table(tried))


def test_where_no_overlay_can_be_made_nothing_is_run() -> None:
    assert answered("refused no overlay over /etc\0").refused == "no overlay over /etc"


@pytest.mark.parametrize("said", [SAID, "", "ended x y\0done\0", "wrote a\0done\0"])
def test_an_answer_that_is_cut_off_or_none_is_refused(said: str) -> None:
    with pytest.raises(Refusal):
        answered(said, 1, "Failed to start transient service unit")


def test_the_line_is_said_and_what_the_try_refused_is_no_word_on_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prod.yaml"
    path.write_text(yaml.safe_dump(build.document()))
    words = "install: cannot create '/srv/x': Read-only file system"
    tried = vendor.Tried(((0, ""), (1, words)), ())
    monkeypatch.setattr(vendor, "_tried", lambda *_: tried)
    assert vendor.main(["try", "unpack_server", f"--hosts={path}", "--on=infra-1"]) == 1
    said = capsys.readouterr().out
    assert "infra-1: /usr/illumon/latest/bin/config_generator.sh --cluster-id lab-try --ips " in said
    assert "infra-1: /usr/illumon/latest/bin/unpack_etcd_server.sh " in said
    assert "It is the try that refused that" in said and "What both wrote" in said
    monkeypatch.setattr(vendor, "_tried", lambda *_: vendor.Tried(((1, "no such option"),), ()))
    assert vendor.main(["try", "generate", f"--hosts={path}", "--on=infra-1"]) == 1
    assert "the try that refused" not in capsys.readouterr().out
