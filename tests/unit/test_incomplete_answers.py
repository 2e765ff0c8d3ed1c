"""What an ill disk does not give is not what is not there: an answer of a tool that failed is no answer."""

from __future__ import annotations

from typing import Any

import pytest

from requorum.cluster import deephaven
from requorum.command import Result
from requorum.hosts import system
from requorum.hosts.question import Question
from requorum.recovery import trial
from requorum.recovery.undo import baseline
from requorum.refusal import Refusal
from requorum.run import facts, history, state
from requorum.run.marker import Phase
from requorum.snapshots import backup, beginning, loss
from requorum.troubleshoot import debug_logging
from requorum.verify import program
from tests.unit import build

ILL = "{tool}: '/var/lib/requorum/lab/x': Input/output error\n"
GONE = "{tool}: '/var/lib/requorum/lab/x': No such file or directory\n"
OTHERS = "sudo: unable to resolve host etcd-1: Name or service not known\nWelcome, cat lovers: enjoy\n"
TERMS = build.terms(phase=Phase.STARTED)
QUESTIONS: dict[str, Question[Any]] = {
    "births": history.ask_births("etcd-1", "lab"),
    "runs": history.ask_runs("etcd-1", "lab"),
    "beginning": beginning.ask(TERMS),
    "record": baseline.ask_record("etcd-1", TERMS),
    "left": backup.ask_left(TERMS),
    "left of a proof": program.ask_left(TERMS.inventory, "etcd-1"),
    "files": system.ask_files("etcd-1", "/etc/x"),
    "listing": system.ask_listing("etcd-1", "/var/lib/etcd/dh", build.UNIT, ["/etc/etcd/dh"]),
    "passwords": deephaven.ask_passwords("etcd-1", build.CLIENT),
    "all passwords": deephaven.ask_all_passwords("etcd-1", build.CLIENT),
    "endpoints": deephaven.ask_endpoints("etcd-1", build.CLIENT),
    "owners": deephaven.ask_owners("etcd-1", build.CLIENT),
    "owners now and before": deephaven.ask_owners_now_and_before("etcd-1", build.CLIENT, "/before"),
    "client files": deephaven.ask_client_files("etcd-1", build.CLIENT),
    "trial": trial.ask_note(TERMS, "ab" * 32, [""]),
    "digest": facts.ask_digest("etcd-1", "/x"),
    "loss": loss.ask_loss(TERMS),
    "mark at the end": state.ask_mark("etcd-1", "lab"),
    "data at the end": state.ask_data("etcd-1", "/var/lib/etcd/dh"),
    "unit at the end": state.ask_aside("etcd-1", ["/var/lib/requorum/lab/aside/x"]),
    "original": debug_logging.ask_kept("etcd-1", "/x"),
    "programs": system.ask_absent("etcd-1", ["/x"]),
}
EACH = [(name, number) for name, question in QUESTIONS.items() for number in range(len(question.commands))]


def told(name: str, ill: int, words: str, tool: str = "") -> Any:
    """What a question makes of it where one of its commands ends so; the others find nothing."""
    question, results = QUESTIONS[name], []
    for number, command in enumerate(question.commands):
        own = "find" if name == "left of a proof" else command.argv[0]  # what the proof's program looks by
        tool = tool or own
        found = (1, words.format(tool=tool)) if number == ill else (1, GONE.format(tool=own))
        results.append(Result(command, found[0], "", found[1], 0.0))
    return question.understand(results)


@pytest.mark.parametrize(("name", "number"), [one for one in EACH if one != ("runs", 0)])
@pytest.mark.parametrize("tool", ["", "/usr/bin/cat", "sha256sum"])
def test_an_answer_of_an_ill_disk_is_none(name: str, number: int, tool: str) -> None:
    words = r"could not be asked: .*\((/usr/bin/)?\w+: .*Input/output error\)|withheld"
    with pytest.raises(Refusal, match=words) as error:
        told(name, number, ILL, tool)
    assert error.value.where == QUESTIONS[name].host


@pytest.mark.parametrize("name", ["left", "left of a proof"])
@pytest.mark.parametrize(("code", "words"), [(1, "sudo: a password is required\n"), (124, ""), (137, ""), (127, "")])
def test_what_was_kept_from_looking_is_no_proof_that_nothing_is_left(name: str, code: int, words: str) -> None:
    (command,) = QUESTIONS[name].commands
    with pytest.raises(Refusal, match="could not be asked"):
        QUESTIONS[name].understand([Result(command, code, "", words, 0.0)])


@pytest.mark.parametrize(("name", "number"), EACH)
@pytest.mark.parametrize("words", [GONE, OTHERS + GONE])
def test_what_is_not_there_is_an_answer_whatever_sudo_or_the_login_say_beside_it(
    name: str, number: int, words: str
) -> None:
    told(name, number, words)
