"""The commit prompt: what it says, and that nothing but the right name goes on."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from requorum.cluster.authentication import Authentication
from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet
from requorum.hosts.watch import Watch
from requorum.recovery import commit
from requorum.recovery.commit import NotConfirmed
from requorum.recovery.progress import Progress
from requorum.recovery.trial import Trial
from requorum.run import facts
from requorum.run.accepted import Accepted, parse
from requorum.run.lock import LockError
from requorum.run.run import Run
from requorum.run.terms import Options
from requorum.snapshots.loss import Loss
from requorum.snapshots.snapshot import Source
from requorum.snapshots.sources import Sources
from requorum.snapshots.survivors import Salvaged
from tests.unit import build

SOURCE = Source("file", None, "/backups/x.snap", "ab" * 32, 10_633_248, "2026-01-01T02:00:00Z", 230, 21_640)
HOSTS = ("etcd-1", "etcd-2", "etcd-3")
TRIAL = Trial("ab" * 32, 1_000_000_230, 7, {"": 21_640}, ("root",), ("root",))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run right before the commit prompt, none of whose hosts has anything new."""
    monkeypatch.setattr(facts, "new_configuration_is_installed", lambda run: False)
    inventory = build.inventory(transport={"backend": "local"})
    journal = Journal(tmp_path / "evidence")
    with Fleet(inventory, journal) as fleet:
        run = Run(inventory, Options(confirm="lab"), journal, fleet)
        yield run


@pytest.fixture
def progress() -> Progress:
    """What was established by then."""
    sources = Sources(source=SOURCE, loss=Loss(32, None, "salvage failed: too old", asks=True))
    return Progress(sources, trial=TRIAL, roles=("config", "root"))


def test_it_says_how_long_the_rest_will_take_and_that_nobody_knows(run: Run, progress: Progress) -> None:
    (line,) = (line for line in commit.summary(run, progress) if line.startswith("time "))
    assert line.startswith("time         unknown: no recovery was finished from this machine; ")


def typing(monkeypatch: pytest.MonkeyPatch, word: str | None) -> list[str]:
    """Somebody types `word`; gives what they were asked."""
    questions: list[str] = []

    def asked(question: str) -> str | None:
        questions.append(question)
        return word

    monkeypatch.setattr(commit, "asked", asked)
    return questions


def test_it_says_what_was_proven_from_which_snapshot_what_is_lost_and_where_there_is_no_way_back(
    run: Run,
    progress: Progress,
) -> None:
    said = {line.split("  ")[0]: line for line in commit.summary(run, progress)}
    assert "etcd-1 at 10.0.0.11" in said["to be built"]
    assert "21,640 keys are there at revision 1,000,000,230" in said["proven"]
    assert "and the old passwords of 2 roles (config, root) log in" in said["proven"]
    assert "taken 2026-01-01T02:00:00Z, revision 230, 10,633,248 bytes" in said["snapshot"]
    assert "kept" not in said
    progress.settings = {"quota-backend-bytes": "8589934592"}
    assert "kept         quota-backend-bytes 8589934592" in commit.summary(run, progress)
    assert "writes: certain 32, possible unknown; salvage failed: too old" in said["lost"]
    assert "Step 5, when Deephaven is turned on at infra-1" in said["no return"]


def test_many_roles_are_counted_and_a_loss_that_nobody_can_count_is_said_once(run: Run, progress: Progress) -> None:
    progress.roles = tuple(f"role-{n}" for n in range(11))
    assert "and the old passwords of 11 roles log in" in "\n".join(commit.summary(run, progress))
    for loss, said in (
        (Loss(None, None, "why"), "unknown; why"),
        (Loss(0, 0, "why"), "none; why"),
        (Loss(7, 7, "why"), "7; why"),
        (Loss(0, 3, "why"), "certain 0, possible 3; why"),
    ):
        progress.sources.loss = loss
        (lost,) = (line for line in commit.summary(run, progress) if line.startswith("lost"))
        assert lost == f"lost         writes: {said}"


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (HOSTS, "restored     on etcd-1, etcd-2, etcd-3, alike by each one's own etcd; moved in place in Step 4"),
        (("etcd-2",), "moved in place in Step 4; only in Step 4 on etcd-1, etcd-3, where"),
        ((), "restored     only in Step 4 on etcd-1, etcd-2, etcd-3, where no place beside the data is ready"),
    ],
)
def test_it_says_who_holds_restored_data_already_and_what_one_member_does_not_prove(
    run: Run, progress: Progress, now: tuple[str, ...], said: str
) -> None:
    progress.ahead = now
    lines = "\n".join(commit.summary(run, progress))
    assert said in lines
    assert "not proven   that the members find each other: Step 5 proves it before Deephaven is on" in lines


def test_a_no_says_where_restored_data_lies_and_what_removes_it(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    typing(monkeypatch, "no")
    for now, where in ((HOSTS, True), ((), False)):
        progress.ahead = now
        with pytest.raises(NotConfirmed) as error:
            commit.commit(run, progress)
        assert (f"hold restored data in /var/lib/etcd/requorum-{run.mark.run}" in error.value.what) == where
        assert ("and removes what was restored" in error.value.remedy) == where


def test_data_that_lets_people_in_without_a_password_is_told(run: Run, progress: Progress) -> None:
    progress.trial = replace(TRIAL, authentication=Authentication(on=False))
    said = "\n".join(commit.summary(run, progress))
    assert "authentication is off in this data" in said and "log in" not in said
    progress.trial = replace(TRIAL, authentication=Authentication(without_password=("root", "viewer")))
    assert "by client certificates alone: root, viewer, and it will be so" in "\n".join(commit.summary(run, progress))
    progress.trial = TRIAL
    assert "logins" not in "\n".join(commit.summary(run, progress))


def test_what_a_host_said_is_shown_at_the_prompt_and_not_obeyed() -> None:
    seen = b""
    child, terminal = pty.fork()
    if child == 0:  # has that terminal as its /dev/tty
        os._exit(commit.asked(f"{build.OBEYED}?") != "lab")
    os.write(terminal, b"lab\n")
    while b"?" not in seen:
        seen += os.read(terminal, 4096)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(terminal)
    assert r"no\ryes" in seen.decode() and seen.decode().replace("\r\n", "").isprintable()


def test_the_question_fits_the_terminal_and_breaks_no_word(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = typing(monkeypatch, "lab")
    monkeypatch.setattr(commit, "_columns", lambda: 80)
    progress.sources.loss = Loss(None, None, " ".join(["writes of yesterday are not in it"] * 6), asks=True)
    commit.commit(run, progress)
    (question,) = questions
    assert all(len(line) <= 80 for line in question.splitlines()), question
    assert all(f"    {line.split('  ')[0]}  " in question for line in commit.summary(run, progress))
    assert " ".join(" ".join(commit.summary(run, progress)).split()) in " ".join(question.split())


NOTHING = Loss(0, 0, "nothing is missing")
UNKNOWN = Loss(None, None, "x", asks=True)
SALVAGED = replace(SOURCE, kind="salvage", host="etcd-1")
OF_ONE = Salvaged(SALVAGED, "together", ("etcd-1",), 3, taken=("etcd-1",))
# Some loss, and the words that it asks for.
LOSSES: list[tuple[Loss | None, Source, Salvaged | None, Options, str]] = [
    (None, SOURCE, None, Options(snapshot="x.snap", rebuild=True), "backup"),  # named while quorum is there
    (Loss(32, None, "x", asks=True), SOURCE, None, Options(), "backup"),
    (UNKNOWN, SOURCE, None, Options(snapshot="x.snap"), "backup"),
    (UNKNOWN, SALVAGED, OF_ONE, Options(), "without:etcd-2,without:etcd-3"),
    (Loss(7, 7, "x", asks=True), SALVAGED, replace(OF_ONE, taken=("etcd-1", "etcd-3")), Options(), "without:etcd-2"),
    (UNKNOWN, SALVAGED, replace(OF_ONE, how="alone"), Options(), "forced:etcd-1"),
    (UNKNOWN, SALVAGED, OF_ONE, Options(salvage="other"), "history"),
    (
        UNKNOWN,
        replace(SOURCE, kind="on-disk", host="etcd-2"),
        OF_ONE,
        Options(),
        "on-disk:etcd-2",
    ),
]


def test_confirmed_beforehand_it_goes_on_and_says_the_same_where_the_loss_does_not_ask(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = typing(monkeypatch, "never asked")
    for loss in (NOTHING, Loss(0, 3, "some may be"), Loss(None, None, "nobody can count it")):
        run.notes.clear()
        progress.sources.loss = loss
        commit.commit(run, progress)
        assert run.notes == commit.summary(run, progress)
    assert questions == []


@pytest.mark.parametrize(
    ("loss", "source", "salvaged", "options", "words"), LOSSES, ids=[f"{n}-{loss[-1]}" for n, loss in enumerate(LOSSES)]
)
def test_what_is_lost_for_certain_or_nobody_knows_is_answered_by_its_word_alone(
    run: Run,
    progress: Progress,
    monkeypatch: pytest.MonkeyPatch,
    loss: Loss | None,
    source: Source,
    salvaged: Salvaged | None,
    options: Options,
    words: str,
) -> None:
    progress.sources = Sources(source=source, loss=loss, salvaged=salvaged)
    others = {"without:etcd-3", "backup", "forced:etcd-2", "history"} - {words.split(",")[0]}  # half is not enough
    run.options = replace(options, confirm="lab", accepted=Accepted(tuple(sorted(others))))
    questions = typing(monkeypatch, None)
    with pytest.raises(NotConfirmed) as stopped:
        commit.commit(run, progress)
    (question,), offered = questions, run.options.accepted.option(*words.split(","))
    assert f"not answered for by --confirm, {offered} does" in question and "writes: " in question
    assert f"not answered for by --confirm: {progress.sources.lost.why}. Nothing is committed" in stopped.value.what
    assert offered in stopped.value.remedy and stopped.value.words == tuple(words.split(","))
    assert run.notes == commit.summary(run, progress), "nobody saw the question"

    run.options = replace(run.options, accepted=parse(offered.removeprefix("--accept="), HOSTS))
    commit.commit(run, progress)
    assert len(questions) == 1, "what was accepted is not asked again"


def test_the_last_resort_that_was_named_is_no_question(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = typing(monkeypatch, None)
    progress.sources = Sources(source=replace(SOURCE, kind="on-disk", host="etcd-2"), loss=UNKNOWN)
    run.options = Options(confirm="lab", skip_hash="etcd-2")
    commit.commit(run, progress)
    assert questions == []


def test_a_healthy_clusters_own_save_lacks_nothing_and_is_no_question(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = typing(monkeypatch, None)
    progress.sources = Sources(source=replace(SOURCE, kind="handover"))
    commit.commit(run, progress)
    assert questions == [] and any("writes: none; " in line for line in run.notes)
    progress.sources.loss = UNKNOWN  # members held more than was saved
    with pytest.raises(NotConfirmed):
        commit.commit(run, progress)


@pytest.mark.parametrize("word", ["lab", "no"])
def test_on_a_terminal_a_loss_is_asked_for_although_the_name_was_given(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    questions = typing(monkeypatch, word)
    with suppress(NotConfirmed):
        commit.commit(run, progress)
        assert word == "lab" and run.notes == ["confirmed on the terminal by typing lab"]
    (question,) = questions
    assert "writes: certain 32, possible unknown" in question


def test_whoever_thought_so_long_that_the_lock_was_cleared_commits_nothing(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cleared() -> None:
        raise LockError("infra-1", "this run's lock was cleared", "find out who works on it")

    monkeypatch.setattr(run, "prove_lock", cleared)
    progress.sources.loss = NOTHING
    with pytest.raises(LockError):
        commit.commit(run, progress)


def test_on_a_terminal_the_name_is_typed_below_the_summary(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = typing(monkeypatch, "lab")
    run.options = Options(confirm=None)
    commit.commit(run, progress)
    (question,) = questions
    assert all(" ".join(line.split()) in " ".join(question.split()) for line in commit.summary(run, progress))
    assert run.notes == ["confirmed on the terminal by typing lab"]
    assert "21,640 keys" in run.journal.path.read_text(), "evidence has what was confirmed"


@pytest.mark.parametrize("word", ["", "LAB", "yes", "lab2", None])
def test_anything_else_stops(run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch, word: str | None) -> None:
    typing(monkeypatch, word)
    run.options = Options(confirm=None)
    with pytest.raises(NotConfirmed) as stopped:
        commit.commit(run, progress)
    goes_on = (
        "the same command carries on"
        if word is not None
        else "accept the loss (price in writes: certain 32, possible unknown): --accept=backup"
    )
    for words in ("Nothing is committed", goes_on, "runbook/rollback"):
        assert words in str(stopped.value)


def test_a_run_that_is_carried_on_behind_it_is_not_asked_again(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "new_configuration_is_installed", lambda run: True)
    questions = typing(monkeypatch, "no")
    run.options, progress.sources.loss = Options(confirm=None), None  # an earlier version noted none
    commit.commit(run, progress)
    assert questions == []
    assert run.notes == ["confirmed before: the new configuration is installed already"]


def test_the_terminal_is_cleared_before_the_question(
    run: Run, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    class Told(Watch):
        def end(self) -> None:
            order.append("cleared")

    def asked(question: str) -> str:
        order.append("asked")
        return "lab"

    run.watch = Told()
    run.options = Options(confirm=None)
    monkeypatch.setattr(commit, "asked", asked)
    commit.commit(run, progress)
    assert order == ["cleared", "asked"]
