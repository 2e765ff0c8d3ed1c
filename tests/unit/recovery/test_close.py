"""What people finished by hand is closed: only the cluster of the run itself, and afterwards it counts as alive."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from requorum import procedures
from requorum.cluster.lineage import Lineage
from requorum.command import Command
from requorum.hosts import kept
from requorum.recovery import close
from requorum.recovery.progress import Progress
from requorum.refusal import Disproved, NothingToDo, Refusal
from requorum.run import held, history, marker
from requorum.run.aftermath import is_own
from requorum.run.dryrun import Planning
from requorum.run.history import Birth
from requorum.run.marker import Marker, Phase, Undone
from requorum.troubleshoot import sudoers
from tests.unit import build
from tests.unit.run.test_dryrun import ROOT, Hosts, actions, config, lines, planning, stages

MEMBERS = "etcd-1=etcd-1/10.0.0.11 etcd-2=etcd-2/10.0.0.12 etcd-3=etcd-3/10.0.0.13"
BORN = Birth(build.TOKEN, build.RUN, Phase.STARTED, "ab" * 32, Lineage("old", 7), 1_000_000_000)
NEXT = "20260601t000000z-012345"


class ByHand(Hosts):
    """Hosts on which a run stopped in Step 5; people did the rest. `others`: host → the token of its configuration."""

    def __init__(self, mark: Marker | None, others: dict[str, str] | None = None, births: bool = True) -> None:
        super().__init__()
        self.mark, self.others, self.births = mark, others or {}, births

    def answer(self, command: Command) -> tuple[int, str]:
        argv, host = command.argv, command.host
        if argv[0] == "cat" and argv[1].endswith("/run.json"):
            if self.mark is None:
                return 1, ""
            return 0, build.stdins([marker.write(host, "lab", self.mark)])[0].decode()
        if argv[0] == "sh" and "birth.json" in " ".join(argv):
            return 0, "=\n" + (
                build.stdins([history.write_birth(host, "lab", BORN)])[0].decode() if self.births else ""
            )
        if argv[0] == "cat" and argv[1].endswith("config.yaml"):
            token = self.others.get(host, build.TOKEN)
            return (0, config(int(host[-1])).replace("token: old", f"token: {token}")) if token else (1, "")
        return super().answer(command)


def through(run: Planning) -> Planning:
    for nodeid, call in stages(run, Progress.begin(run), "runbook/close"):
        run.begin(nodeid)
        try:
            call()
        except Refusal as error:
            if not run.pardons(error):
                raise
        run.end(nodeid, "passed", 0.0, "")
    return run


def stopped(phase: Phase = Phase.STARTED, **fields: Any) -> Marker:
    return build.mark(phase, members=MEMBERS, snapshot="cd" * 32, **fields)


def refusals(run: Planning) -> dict[str, str]:
    return {stage.text: stage.refusal for stage in run.stages if stage.refusal}


@pytest.mark.parametrize("phase", [Phase.STOPPING, Phase.STARTED, Phase.POWERING_ON])
def test_what_is_written_ends_the_run_and_makes_its_cluster_live(tmp_path: Path, phase: Phase) -> None:
    """Read back by what the next run asks: nothing is carried on, and no password of that incident is taken over."""
    hosts = ByHand(stopped(phase))
    run = through(planning(tmp_path, hosts))
    assert refusals(run) == {}
    acted = [c for c in actions(run, "when_the_run_is_closed") if isinstance(c, Command)]
    written = [c for c in acted if c.stdin and kept.targets(c.argv)]
    assert {c.host for c in written} == set(run.terms.everyone)
    told = {}
    for host in run.terms.everyone:
        (both,) = (c.stdin.decode() for c in written if c.host == host and c.stdin)
        mark, birth = both.splitlines(keepends=True)
        told[host] = build.runs(host, mark, [f"{build.RUN}/client.before"], birth)
    known = held.hold(told, "infra-1")
    assert marker.to_carry_on(known.marks, "prod", known.outlived) is None
    assert known.outlived.reached == {build.RUN: Phase.DONE}
    one = told["infra-1"]
    assert one.births == (close.alive(stopped(), {BORN.token: BORN}),) and one.births[0].parent == BORN.parent
    assert history.first_backup(NEXT, one.kept, one.undone, one.births) is None
    lined = [c.line() for stage in run.stages for c in stage.commands()]
    assert sudoers.unlisted(run.inventory, [*lined, *(command.line() for command in hosts.asked)]) == []


@pytest.mark.parametrize(("revision", "bumps"), [(5_000, 0), (1_000_005_000, BORN.bumps), (None, BORN.bumps)])
def test_data_that_people_restored_without_a_bump_is_not_told_as_bumped(
    tmp_path: Path, revision: int | None, bumps: int
) -> None:
    """Its revisions without the bump would be below nothing, and every older backup further on."""
    run = planning(tmp_path, ByHand(stopped()))
    run.begin("runbook/close/test_close.py::TestClose::test_when_the_run_is_closed")
    run.carry_on(stopped(), "closing")
    close.close(run, revision)
    lines = [line for text in build.stdins(run.stages[-1].commands()) for line in text.splitlines()]
    told = [line for line in lines if b"bumps" in line]
    assert {build.understood(history.ask_births("etcd-1", "lab"), text.decode()) for text in told} == {
        (replace(BORN, phase=Phase.DONE, bumps=bumps),)
    }


def test_a_cluster_whose_birth_no_host_remembers_lives_too() -> None:
    assert close.alive(stopped(), {}) == Birth(build.TOKEN, build.RUN, Phase.DONE, "cd" * 32, None, 0)


def test_scratch_with_secrets_goes_and_nothing_of_the_cluster_is_changed(tmp_path: Path) -> None:
    run = through(planning(tmp_path, ByHand(stopped())))
    assert f"rm -rf {build.PLACE}/patch" in lines(run, "when_the_run_is_closed")
    foreign = [action for stage in run.stages for action in stage.actions if not is_own(action)]
    assert {c.argv[0] for c in foreign if isinstance(c, Command)} <= {"rmdir"}, "the generator's empty directory alone"


def test_every_proof_comes_before_the_mark() -> None:
    names = [node.split("::test_")[-1] for node in procedures.expected(ROOT / "runbook/close", ROOT)]
    before = names[: names.index("when_the_run_is_closed")]
    assert {
        "given_every_member_is_healthy",
        "given_it_is_one_cluster_with_one_leader",
        "given_all_members_hold_the_same_data",
        "given_the_keys_are_there",
        "given_every_old_password_logs_in",
        "given_deephaven_runs_and_talks_to_etcd",
    } <= set(before)


@pytest.mark.parametrize("mark", [None, stopped(Phase.DONE), stopped(undone=Undone.ROLLED_BACK), stopped(Phase.OPEN)])
def test_without_an_unfinished_run_there_is_nothing_to_do(tmp_path: Path, mark: Marker | None) -> None:
    with pytest.raises(NothingToDo, match="carry no mark of an unfinished run"):
        through(planning(tmp_path, ByHand(mark)))


def test_a_run_that_is_being_rolled_back_is_not_closed(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="is being rolled back"):
        through(planning(tmp_path, ByHand(stopped(undone=Undone.BEGUN))))


@pytest.mark.parametrize("second", ["old", ""])
def test_another_cluster_than_the_runs_is_refused_and_both_tokens_are_named(tmp_path: Path, second: str) -> None:
    """A configuration that cannot be read is nobody's."""
    run = planning(tmp_path, ByHand(stopped(), {"etcd-1": "old", "etcd-2": second}))
    run.begin("runbook/close/test_close.py::TestClose::test_given_the_cluster_is_this_runs")
    run.carry_on(stopped(), "closing")
    with pytest.raises(Disproved) as refused:
        close.the_cluster_is_this_runs(run)
    said = str(refused.value)
    assert f"etcd-1: found old, not {build.TOKEN}" in said
    assert f"etcd-2: found {second or 'none that can be read'}, not {build.TOKEN}" in said
    assert "docs/night.md#giving-a-run-up" in said and "etcd-3" not in said


def test_one_member_that_differs_is_told_and_stops_nothing(tmp_path: Path) -> None:
    run = through(planning(tmp_path, ByHand(stopped(), {"etcd-3": "old"})))
    assert refusals(run) == {}
    (stage,) = [s for s in run.stages if s.nodeid.endswith("given_the_cluster_is_this_runs")]
    assert stage.notes == ["not of this run, or not readable: the configuration of etcd-3"]


@pytest.mark.parametrize("listed", ["", f"{build.CLIENT}/root/endpoints:https://10.0.0.11:2379\n"])
def test_no_role_at_all_is_no_proof_and_roles_without_a_password_are_in_order(tmp_path: Path, listed: str) -> None:
    class Bare(ByHand):
        def answer(self, command: Command) -> tuple[int, str]:
            if "sha256sum" in command.argv:
                return 0, ""
            return (0, listed) if "endpoints" in command.argv else super().answer(command)

    run = planning(tmp_path, Bare(stopped()))
    if listed:
        assert close.roles(run) == ()
        return
    with pytest.raises(Disproved, match="a role is configured"):
        close.roles(run)


def test_a_host_that_was_not_told_is_found() -> None:
    """The probe reads what lies there, not what was written."""
    told = build.runs("etcd-1", *_files(stopped(), BORN))
    assert "the mark" in (close.unaware(told, stopped(Phase.DONE)) or "")
    told = build.runs("etcd-1", *_files(stopped(Phase.DONE), BORN))
    assert close.unaware(told, stopped(Phase.DONE)) == "no record that its cluster lives"
    told = build.runs("etcd-1", *_files(stopped(Phase.DONE), close.alive(stopped(), {})))
    assert close.unaware(told, stopped(Phase.DONE)) is None


def _files(mark: Marker, birth: Birth) -> tuple[str, tuple[()], str]:
    written = (marker.write("etcd-1", "lab", mark), history.write_birth("etcd-1", "lab", birth))
    one, other = (text.decode() for text in build.stdins(written))
    return one, (), other
