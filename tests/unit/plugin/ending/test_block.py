"""The last lines of a run, by content."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest

from requorum import procedures
from requorum.cluster import quorum, sandbox
from requorum.hosts.failure import FleetError, raise_all
from requorum.plugin.ending.block import LABEL, Line, at_fault, drawn, ending, told
from requorum.plugin.ending.questions import QUESTIONS
from requorum.plugin.ending.remedies import ROOT
from requorum.plugin.ending.standing import Did
from requorum.recovery import trial, trials
from requorum.recovery.commit import NotConfirmed
from requorum.recovery.undo import retry, rollback
from requorum.refusal import Disproved, NotApproved, Refusal, remedy
from requorum.run import lock
from requorum.run.lock import LockError
from requorum.run.marker import Phase
from requorum.snapshots import anew
from requorum.snapshots.snapshot import SnapshotError
from tests.unit import build
from tests.unit.cluster.test_quorum import DARK, DOWN, MUTE, UP, verdict
from tests.unit.plugin.ending.ended import ON, SAID, STOPPED, block, broken, did, ended, pasted, seen, silent

DATA = "test_then_all_members_hold_the_same_data"
WRONG = Disproved("hashkv is equal on all members", {"etcd-3": "hash 2", "etcd-2": "hash 1"}, "compare them")
LOCKED = LockError("infra-1", "lab is locked by ann", "let that run finish")


def intact() -> Refusal:
    refused = quorum.refusal(verdict(UP, UP, DOWN), False, build.UNIT)
    assert refused is not None
    return refused


def test_a_stop_says_what_is_so_what_failed_why_and_what_to_do() -> None:
    found = block(ended(broken("Error: etcdserver: mvcc: database space exceeded")))
    assert list(found) == ["State", "Failed", "It said", "Cause", "Do first", "Go on", "Go back", "Evidence"]
    assert found["State"].startswith("Deephaven is OFF on infra-1, query-1.")
    assert found["Failed"] == "etcd-1: restore: exit code 2"
    assert found["It said"] == "Error: etcdserver: mvcc: database space exceeded"
    assert found["Cause"].startswith("etcd's own quota (quota-backend-bytes)")
    assert found["Do first"] == "mend that on the host"
    assert found["Go on"].splitlines() == [
        "cd /opt/requorum && .venv/bin/pytest runbook --hosts=lab --confirm=lab",
        "safe to repeat: proves again what holds; goes on at Step 4",
    ]
    assert found["Go back"].startswith("cd /opt/requorum && .venv/bin/pytest runbook/rollback --hosts=lab\ngives back")
    assert found["Evidence"] == "/opt/requorum/evidence/lab/x/report.html; the lock is released"


def test_the_command_line_is_in_the_evidence_and_not_on_the_screen() -> None:
    assert "sudo -n x" not in "".join(block(ended(broken("no"))).values())


def test_hosts_that_say_the_same_are_named_together_and_each_host_once() -> None:
    with pytest.raises(FleetError) as both:
        raise_all([broken("no", "etcd-2"), broken("no", "etcd-1")])
    found = block(ended(both.value))
    assert (found["Failed"], found["It said"]) == ("etcd-2, etcd-1: restore: exit code 2", "no")
    with pytest.raises(FleetError) as differing:
        raise_all([broken("no", "etcd-2"), broken("never", "etcd-1")])
    assert block(ended(differing.value))["It said"] == "etcd-2: no\netcd-1: never"


def test_a_host_that_was_only_asked_is_not_at_fault() -> None:
    asked = Disproved("all are healthy", {"infra-1": "https://10.0.0.12:2379: no leader"}, "read its journal")
    assert list(at_fault(asked, build.inventory()).values()) == [["infra-1"]]
    asked.asked = True
    assert list(at_fault(asked, build.inventory()).values()) == [["etcd-2"]]
    assert block(ended(asked, 5, "test_then_x"))["Failed"].startswith("etcd-2: https://10.0.0.12:2379: no leader")


def test_a_given_that_does_not_hold_is_an_answer() -> None:
    refused = quorum.refusal(verdict(MUTE, DOWN, DOWN), False, build.UNIT)
    found = block(ended(refused, 0, "test_given_quorum_is_lost", did=did(Phase.OPEN)))
    assert found["Asked"] == "Is quorum lost for good? No."
    assert "Failed" not in found
    for members, answer in ((verdict(UP, UP, DOWN), "No."), (verdict(DARK, DARK, DOWN), "That is not known.")):
        refused = quorum.refusal(members, False, build.UNIT)
        asked = block(ended(refused, 0, "test_given_quorum_is_lost", did=did(Phase.OPEN)))["Asked"]
        assert asked == f"Is quorum lost? {answer}"


def test_every_given_is_a_question() -> None:
    directories = [procedure.directory for procedure in procedures.PROCEDURES]
    nodes = [node for directory in directories for node in procedures.expected(ROOT / directory, ROOT, ["c"])]
    givens = {node.rsplit("::", 1)[-1] for node in nodes if "::test_given_" in node}
    assert set(QUESTIONS) == givens


def test_a_cluster_that_works_is_good_news_and_nobody_is_invited_to_rebuild_it() -> None:
    found = block(ended(intact(), 0, "test_given_quorum_is_lost", did=did(Phase.OPEN), seen=seen(STOPPED, ON)))
    assert next(iter(found)) == "Good news"
    assert found["Good news"].startswith("etcd works: quorum is intact, etcd-1, etcd-2 see a leader. etcd-3: down")
    assert found["Do first"].splitlines() == [
        "start etcd on etcd-3; the others go on meanwhile",
        f"ssh etcd-3.invalid sudo -n timeout -k 5 60 systemctl start --no-block {build.UNIT}",
    ]
    assert "--rebuild" not in "".join(found.values())
    assert "Go on" not in found, "a rerun would say the same"
    assert found["Look"].startswith("cd /opt/requorum && .venv/bin/pytest runbook/troubleshoot/diagnose --hosts=lab")


def test_a_majority_that_only_needs_starting_is_good_news_with_a_line_for_each_host() -> None:
    refused = quorum.refusal(verdict(MUTE, DOWN, DOWN), False, build.UNIT)
    of = ended(refused, 0, "test_given_quorum_is_lost", did=did(Phase.OPEN))
    assert block(of)["Good news"].startswith("nothing needs to be rebuilt: etcd-2, etcd-3 have their data")
    assert pasted(of)[:-1] == [
        f"ssh {host}.invalid sudo -n timeout -k 5 60 systemctl start --no-block {build.UNIT}"
        for host in ("etcd-2", "etcd-3")
    ]


def test_only_a_silent_machine_may_be_gone_and_the_price_is_said() -> None:
    found = block(ended(silent("ssh: connect to host etcd-2 port 22: No route to host"), 0, "test_given_x"))
    assert found["Failed"] == "etcd-2: did not answer"
    assert "Only if it is destroyed: --gone=HOST" in found["Do first"]


def test_an_interrupted_run_says_where_and_how_to_go_on_and_back() -> None:
    found = block(ended(None, 3, "test_when_both_archives_are_copied", did=did(Phase.STOPPING)))
    assert found["Ended"] == "Step 3, while “both archives are copied”: Ctrl-C, or a signal to this process"
    assert "Failed" not in found and "Do first" not in found
    assert "goes on at Step 3" in found["Go on"] and "runbook/rollback" in found["Go back"]


def test_where_a_plan_does_not_hold_any_more_the_next_one_goes_on() -> None:
    error = NotApproved("what the plan rests on is so", {"quorum": "“lost”, approved was “intact”"}, "make it anew")
    found = block(ended(error, 0, "test_when_the_cluster_is_locked", did=did(Phase.OPEN)))
    assert found["Go on"].endswith("makes the plan anew: have it approved, then give it by --approved")


def test_a_fault_of_ours_says_so_and_that_a_rerun_gives_the_same() -> None:
    found = block(ended(KeyError("x")))
    assert found["Failed"].endswith("KeyError: 'x'")
    assert found["Cause"].startswith("a fault of this runbook") and "gives the same" in found["Cause"]
    assert "gives the same" in found["Go on"]


def test_before_a_host_was_asked_nothing_was_changed() -> None:
    refusal = Refusal("/b/none.snap", "is no snapshot", "name another one with --snapshot=FILE")
    found = block(ended(refusal, 0, "test_given_x", seen=None, did=Did(unasked=True), evidence="", lock=""))
    assert found["State"] == "Nothing was changed: no host was asked."
    assert found["Do first"] == "name another one with --snapshot=FILE"


def test_a_run_that_came_to_its_end_says_how_things_stand_and_where_the_evidence_is() -> None:
    of = replace(ended(None), stage=None, seen=seen(deephaven=ON), did=did(Phase.DONE, outcome="recovered"))
    assert [line.label for line in ending(of)] == ["State", "Next", "", "Evidence"]
    (backup,) = (line.text for line in ending(of) if line.paste)
    assert backup.endswith("pytest runbook/backup --hosts=lab")


def test_whoever_is_to_be_called_stands_last() -> None:
    of = ended(WRONG, 5, DATA, inventory=build.inventory(notify={"contact": "ann, 555 0100"}))
    assert ending(of)[-1] == Line("Contact", "ann, 555 0100")


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("error", [WRONG, broken("no"), silent("no"), LOCKED, ValueError("a\nb"), None])
def test_a_way_back_is_offered_only_where_it_loses_nothing_and_undoes_something(
    phase: Phase, error: BaseException | None
) -> None:
    labels = [line.label for line in ending(ended(error, did=did(phase)))]
    assert ("Go back" in labels) <= (phase in (Phase.STOPPING, Phase.STARTED) and error is not LOCKED)
    assert "State" in labels and "Evidence" in labels


def test_data_that_is_not_what_was_restored_is_restored_anew() -> None:
    of = ended(WRONG, 5, DATA)
    assert block(of)["Failed"].splitlines() == [
        "etcd-2: hash 1",
        "etcd-3: hash 2",
        "Step 5, expected: hashkv is equal on all members",
    ]
    assert [shlex.split(line)[4] for line in pasted(of)] == ["runbook/retry", "runbook/rollback"]


def test_where_nothing_is_left_to_do_the_same_command_is_not_named_again() -> None:
    for refusal in (rollback.no_run("lab"), retry.refusal(None, None, "lab")):
        assert refusal is not None
        found = block(ended(refusal, 0, "test_given_a_run_may_be_rolled_back"))
        assert "Go on" not in found
        assert found["Do first"].splitlines()[-1].startswith("cd /opt/requorum && .venv/bin/pytest runbook --hosts=lab")


def test_what_is_run_by_hand_is_spelled_out_for_the_hosts_at_fault_alone() -> None:
    told = Disproved("it runs", dict.fromkeys(("etcd-1", "etcd-2"), "no"), remedy("look", ("true",), first="see"))
    told.hosts = ("etcd-2",)
    of = ended(told, 5, "test_then_x")
    assert block(of)["Do first"] == "see\nssh etcd-2.invalid sudo -n timeout -k 5 60 true"


def test_long_texts_hang_under_their_label_and_commands_are_never_broken() -> None:
    command = "ssh -F /a/b " + "x" * 200
    found = drawn([Line("State", "word " * 40), Line("", command, paste=True), Line("", "a\nb")], 80)
    assert found[0].startswith("State      word") and found[1].startswith(" " * LABEL + "word")
    assert all(len(line) <= 80 for line in found if "ssh" not in line)
    assert f"{' ' * LABEL}{command}" in found and found[-2:] == [f"{' ' * LABEL}a", f"{' ' * LABEL}b"]


def test_each_choice_of_a_stop_is_a_whole_command_with_the_words_that_were_given_before() -> None:
    choices = (
        "make it readable there, and run the same command again: it salvages anew; or go on with the data of etcd-1, "
        "and without what those disks hold: --accept=backup,without:etcd-2; or go on with a backup that must be named: "
        "'--snapshot=/b/a b.snap'; or put back what was before: pytest runbook/rollback --hosts=lab"
    )
    again = "cd /opt/requorum && .venv/bin/pytest runbook --hosts=lab --accept=backup --confirm=lab"
    of = replace(
        ended(SnapshotError("etcd-2", "may hold newer data", choices), did=did(Phase.STOPPING)),
        said=replace(SAID, words=("--accept=backup", "--confirm=lab")),
    )
    back = "cd /opt/requorum && .venv/bin/pytest runbook/rollback --hosts=lab"
    assert pasted(of) == [
        "cd /opt/requorum && .venv/bin/pytest runbook --hosts=lab --confirm=lab --accept=backup,without:etcd-2",
        f"{again} '--snapshot=/b/a b.snap'",
        again,
        back,
    ], "the way back stands once"
    found = block(of)
    assert found["Do first"] == "make it readable there, and run the same command again: it salvages anew"
    assert found["Or"].splitlines()[0] == "go on with the data of etcd-1, and without what those disks hold"
    assert "put back what was before" not in found["Or"] and back in found["Go back"]
    assert [line.label for line in ending(of)].count("Or") == 2, "a label for each choice"


def test_a_lock_names_whom_to_wait_for_before_the_line_that_clears_it() -> None:
    clear = "ssh infra-1.invalid sudo -n timeout -k 5 60 rm -f /var/lib/requorum/lab/lock"
    read = "ssh infra-1.invalid sudo -n timeout -k 5 60 readlink /var/lib/requorum/lab/lock"
    look = "ps -p 4711; whose the lock is now"
    holder = replace(lock.myself(), host="desk", pid=4711)
    found = block(ended(lock.held("infra-1", "lab", holder, read, clear), 0, "test_when_the_cluster_is_locked"))
    assert found["Do first"].splitlines() == [
        f"let that run finish. Whether it still runs, its user sees on desk (not on infra-1) with {look}",
        read,
        "only if you know that it has ended, clear its lock",
        clear,
    ]
    assert found["Go on"].endswith("refused for as long as somebody else holds the lock")
    assert "Go back" not in found and "Cause" not in found


TORN = "tar: member/snap/db: Read error at byte 40960, while reading 10240 bytes: Input/output error"


def test_what_a_sign_says_first_stands_before_the_choices_of_a_stop_and_never_in_their_place() -> None:
    choices = (
        "mend that on the host, and run the same command again: it salvages anew; or go on with the data of etcd-1, "
        "and without what those disks hold: --accept=without:etcd-2; or put back what was before: pytest "
        "runbook/rollback --hosts=lab"
    )
    torn = SnapshotError("etcd-2", "may hold newer data: etcd-2: its data could not be copied", choices)
    torn.brief, torn.said = "its data could not be copied", TORN
    found = block(ended(torn, 1, did=did(Phase.STOPPING)))
    assert (found["Failed"], found["It said"]) == ("etcd-2: its data could not be copied", TORN)
    assert found["Do first"] == "have that disk looked at; change nothing on it before its data is copied"
    assert found["Or"].splitlines() == [
        "go on with the data of etcd-1, and without what those disks hold",
        "cd /opt/requorum && .venv/bin/pytest runbook --hosts=lab --confirm=lab --accept=without:etcd-2",
    ]


def test_what_a_sign_says_takes_the_place_of_a_remedy_that_offers_nothing_to_paste() -> None:
    first = block(ended(broken(TORN)))["Do first"]
    assert first == "have that disk looked at; change nothing on it before its data is copied"


def test_a_command_that_stands_below_with_what_it_does_is_not_printed_twice() -> None:
    remedy = "decide whether newer data lies anywhere; else accept the loss: --accept=backup"
    said = replace(SAID, words=("--confirm=lab", "--accept=backup"))
    found = block(replace(ended(NotConfirmed("the commit prompt", "nobody is there to confirm", remedy)), said=said))
    assert found["Do first"] == "decide whether newer data lies anywhere; else accept the loss"
    assert "--accept=backup" in found["Go on"]


def test_words_behind_a_command_begin_with_no_sign() -> None:
    found = block(ended(Refusal("the hosts", "it is not so", "pytest runbook/close; look at it; then go on")))
    assert [line.strip()[:1] for line in found["Do first"].splitlines()] == ["c", "l"]


def test_where_sudo_wants_a_password_its_rules_are_printed_and_no_procedure_is_named_that_would_ask_the_same() -> None:
    found = block(ended(broken("sudo: a password is required")))
    assert "troubleshoot/sudoers" not in str(found)
    (line,) = [text for text in found["Do first"].splitlines() if "requorum.sudoers" in text]
    assert line.endswith(f"python -m requorum.sudoers {SAID.hosts} {build.inventory().transport.user or 'LOGIN'}")


FULL, GONE_DISK = "tar: x: Cannot write: No space left on device", "cat: x: Input/output error"


def joined(*errors: FleetError) -> FleetError:
    with pytest.raises(FleetError) as found:
        raise_all(list(errors))
    return found.value


def test_hosts_that_fail_for_different_reasons_have_each_their_cause_and_what_to_do() -> None:
    error = joined(broken(FULL, "etcd-1"), broken(GONE_DISK, "etcd-2"), broken(FULL, "etcd-3"), broken("no", "infra-1"))
    found = block(ended(error))
    assert found["Cause"].splitlines() == [
        "etcd-1, etcd-3: the file system there is full",
        "etcd-2: the disk there cannot read a block: hardware, or its file system",
    ]
    assert found["Do first"].splitlines() == [
        "etcd-1, etcd-3: make room on that machine",
        "etcd-2: have that disk looked at; change nothing on it before its data is copied",
        "infra-1: mend that on the host",
    ]


def test_hosts_of_one_stop_that_said_different_things_are_told_apart_too() -> None:
    choices = "mend it there; or go on without: --accept=without:etcd-2"
    stop = SnapshotError("etcd-1, etcd-2", "may hold newer data: etcd-1: x; etcd-2: x", choices)
    stop.brief, stop.said = "its data could not be copied", f"etcd-1: {FULL}\netcd-2: {GONE_DISK}"
    found = block(ended(stop, 1, did=did(Phase.STOPPING)))
    assert [line[:8] for line in found["Cause"].splitlines()] == ["etcd-1: ", "etcd-2: "]
    assert found["Do first"].splitlines()[0] == "etcd-1: make room on that machine"
    assert found["Do first"].splitlines()[1:] == [
        "etcd-2: have that disk looked at; change nothing on it before its data is copied",
    ]
    assert found["Or"].splitlines()[0] == "go on without" and found["Or"].count("--accept=") == 1, "offered once"


def test_members_of_one_claim_that_fail_for_different_reasons_have_each_their_cause() -> None:
    findings = {"etcd-1": "no leader", "etcd-2": "alarm:NOSPACE", "etcd-3": "certificate has expired"}
    found = block(ended(Disproved("all are healthy", findings, "read their journals"), 4, "test_then_x"))
    assert [line[:8] for line in found["Cause"].splitlines()] == ["etcd-2: ", "etcd-3: "]
    assert found["Do first"] == "read their journals"


def test_one_cause_for_all_names_no_host() -> None:
    found = block(ended(joined(broken(FULL, "etcd-1"), broken(FULL + " (2)", "etcd-2"))))
    assert found["Cause"] == "the file system there is full"
    assert found["Do first"] == "make room on that machine"


@pytest.mark.parametrize("roles", [["props-rw"], ["props-rw", "root"]])
def test_a_password_that_the_trial_refuses_is_named_by_its_role_and_where_it_lies(roles: list[str]) -> None:
    """The trial boots on one member, which is not at fault; the words are the trial's own."""
    why = "etcdserver: authentication failed, invalid user ID or password"
    problem = trial.problem(sandbox.Answers(logins={**dict.fromkeys(roles, why), "config": ""}))
    remedy = trials._REMEDY.format(backup="/var/lib/requorum/lab/x/client.before")
    found = block(ended(Disproved("it lets every role in", {"etcd-1": problem or ""}, remedy), 2, "test_then_x"))
    first, *_ = found["Failed"].splitlines()
    assert first.startswith("infra-1, query-1: the old password") and f"of {', '.join(roles)} do" in first
    assert "etcd-1" not in found["Failed"] and "config" not in found["Failed"]
    assert found["It said"].splitlines() == [f"{role}: {why}" for role in roles]
    assert found["Cause"].startswith("etcd refuses this password")
    place = roles[0] if len(roles) == 1 else "ROLE"
    assert f"/var/lib/requorum/lab/x/client.before/{place}/password on every Deephaven host" in found["Do first"]


def test_what_else_the_trial_finds_stays_where_it_was_found() -> None:
    found = block(ended(Disproved("it is good", {"etcd-1": "an old password is in no backup"}, "x"), 2, "test_then_x"))
    assert found["Failed"].startswith("etcd-1: an old password is in no backup")


def test_what_a_stage_noted_of_hosts_at_fault_is_told_by_the_last_lines() -> None:
    found = Disproved("all agree", {"etcd-1": "up", "etcd-2": "down"}, "x")
    found.hosts = ("etcd-2",)
    assert told(found, build.inventory()) == ["etcd-2: down"]
    assert told(broken("no"), build.inventory()) == [] and told(None, None) == []


def test_a_decision_is_no_first_thing_to_do() -> None:
    """Each side of it costs something: what is safe meanwhile comes first, then both under labels of their own."""
    refusal = Refusal("lab", "quorum is intact, but the data began anew", anew.ways("lab"))
    found = [line for line in ending(ended(refusal, 0, "test_given_quorum_is_lost")) if line.label or line.paste]
    labels = [line.label for line in found]
    first = labels.index("Do first")
    assert labels[first : first + 5] == ["Do first", "Either", "", "Or", ""]
    assert found[first].text.startswith("start no stopped etcd and delete nothing")
    assert found[first + 2].text.endswith("--rebuild") and "--accept=history" in found[first + 4].text
