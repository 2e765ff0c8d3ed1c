"""The plan of a trial, as data: one member alone with the bump of Step 4, and how its answers are judged."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.cluster import sandbox
from requorum.cluster.authentication import Authentication
from requorum.cluster.etcd import MemberConfig, Tools
from requorum.cluster.sandbox import Answers
from requorum.command import Action, Command
from requorum.recovery import ahead, plan, trial
from requorum.recovery.trial import Trial
from requorum.run.marker import Phase
from requorum.troubleshoot import sudoers
from tests.unit import build
from tests.unit.snapshots.test_survivors import initial_cluster, ip, terms

HOSTS = ("etcd-1", "etcd-2", "etcd-3")
BESIDE = "/var/lib/etcd/requorum-r1.scratch"
SCRATCH = "/var/lib/requorum/prod/r1/trial"


def configs() -> dict[str, MemberConfig]:
    return {
        f"etcd-{n}": MemberConfig(
            f"etcd-{n}",
            "prod-r1",
            "/var/lib/etcd/dh/prod-r1",
            f"https://{ip(n)}:2380",
            (),
            initial_cluster(3),
            None,
            None,
            None,
            False,
            1.0,
        )
        for n in (1, 2, 3)
    }


def tried() -> list[Command]:
    restored = trial.restore(terms(), "etcd-1", TOOLS, configs()["etcd-1"])
    return [*trial.prepare(terms(), "etcd-1"), *restored]


def booted(*roles: str) -> list[Command]:
    logins = trial.logins(terms(), roles)
    boots = [trial.boot(terms(), configs()["etcd-1"])]
    return sandbox.boot("etcd-1", trial.KIND, "r1", SCRATCH, terms().inventory, boots, roles=roles, logins=logins)


TOOLS = Tools("3.5.16", "/usr/bin/etcdutl", bumps=True)


def restored(plan: Sequence[Action]) -> dict[str, str]:
    """The options of the one restore."""
    (command,) = [c for c in plan if isinstance(c, Command) and "restore" in c.argv and "systemd-run" in c.argv]
    words = command.argv[command.argv.index("restore") + 2 :]
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def test_one_member_is_restored_alone_with_the_bump_of_step_4_and_as_nobody_elses_member() -> None:
    real = plan.restore(
        terms(), dict.fromkeys(HOSTS, TOOLS), configs(), dict.fromkeys(HOSTS, ("/var/lib/etcd/dh/.",)), "sha"
    )
    step_4, alone = restored([c for c in real if c.host == "etcd-1"]), restored(tried())
    differing = {name for name in step_4 if step_4[name] != alone[name]}
    assert step_4.keys() == alone.keys() and alone["--bump-revision"] == "1000000000"
    assert differing == {
        "--data-dir",
        "--initial-cluster",
        "--initial-cluster-token",
        "--initial-advertise-peer-urls",
    }
    assert alone["--initial-cluster"] == "etcd-1=https://127.0.0.1:2380"
    assert alone["--initial-cluster-token"] == "prod-r1-trial"
    one = trial.boot(terms(), configs()["etcd-1"])
    assert f"{SCRATCH}/room/{one.number}" == alone["--data-dir"]
    assert (one.initial_cluster, one.token, one.peer_url) == (
        alone["--initial-cluster"],
        alone["--initial-cluster-token"],
        alone["--initial-advertise-peer-urls"],
    )


def test_only_one_hosts_scratch_is_written_and_no_login_is_among_what_is_written() -> None:
    commands = [*tried(), *booted("config", "root")]
    assert {command.host for command in commands} == {"etcd-1"}
    assert not [c for c in commands if any("/var/lib/etcd/dh" in word for word in c.argv if "=-" not in word)]
    assert not [line for line in build.lines(commands) if "logins" in line or "password" in line]


def test_the_boot_is_fed_every_roles_old_login_by_the_configuration_server() -> None:
    (*written, boot) = booted("config", "root")
    assert boot.fed is not None and (boot.fed.host, boot.fed.changes, boot.fed.secret) == ("infra-1", False, True)
    assert boot.fed.argv[:3] == ("tar", "--create", "--file=-") and boot.stdin is None
    assert "--directory=/var/lib/requorum/prod/r1/client.before" in boot.fed.argv
    assert boot.fed.argv[-4:] == tuple(
        f"./{role}/{name}" for role in ("config", "root") for name in ("user", "password")
    )
    (program,) = build.stdins(written)
    assert sandbox.files_of(program.decode())["roles"] == "config\nroot\n", "so that one that does not arrive is missed"


def test_of_all_that_is_done_the_boots_word_is_read() -> None:
    booting = sandbox.boot("etcd-1", trial.KIND, "r1", SCRATCH, terms().inventory, [])
    done = [
        *ahead.restore(terms(), "etcd-2", TOOLS, configs()["etcd-2"], "sha"),
        *booting,
        *trial.clear(terms(), HOSTS),
    ]
    said = trial.said(terms(), [build.answered(command, "") for command in done])
    assert said is not None and said.command is booting[-1]
    assert trial.said(terms(), [build.answered(command, "") for command in done if command not in booting]) is None


def test_the_lines_for_sudoers_cover_all_of_it() -> None:
    commands = [*tried(), *booted("root")]
    lines = [command.line() for one in commands for command in (one, one.fed) if command]
    assert len([line for line in lines if "--file=-" in line]) == 1
    assert sudoers.unlisted(terms().inventory, lines) == []


def test_where_no_role_has_a_password_none_is_packed() -> None:
    assert [command.fed for command in booted()] == [None] * len(booted())


def test_scratch_is_removed_everywhere_and_the_unit_stopped_first() -> None:
    for host in HOSTS:
        stop, remove = [c.argv for c in trial.clear(terms(), HOSTS) if c.host == host]
        assert stop == ("systemctl", "stop", "requorum-trial-r1.service")
        assert remove == (*build.SCOPE.split(), "rm", "-rf", SCRATCH, BESIDE)


@pytest.mark.parametrize("hosts", [("etcd-1", "etcd-2", "etcd-3", "infra-1", "query-1"), ("etcd-2", "query-1")])
def test_what_a_trial_that_was_cut_off_left_is_forgotten_on_these_hosts_alone(hosts: tuple[str, ...]) -> None:
    removed = {(c.host, path) for c in trial.forget(terms(), hosts) if "rm" in c.argv for path in c.argv[-2:]}
    removed = {(host, path) for host, path in removed if path not in ("-f", BESIDE) and "/salvage/" not in path}
    logins = {("infra-1", "/var/lib/requorum/prod/r1/logins.tar")}
    assert removed == {place for place in {*((host, SCRATCH) for host in HOSTS), *logins} if place[0] in hosts}


GOOD = {"a": (3, 7)}
PROPER: dict[str, Any] = {"logins": {"root": ""}, "wrong": {"root": "Error: authentication failed"}}
NONE = "Error: auth: authentication failed, password was given for no password user"


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        (Answers(hashes=GOOD, **PROPER), None),
        (Answers(hashes=GOOD, logins={"root": ""}), "no wrong password was tried"),
        (Answers(hashes=GOOD, logins={"root": ""}, wrong={"root": ""}), "a wrong password lets in: root"),
        (Answers(hashes=GOOD, logins={"root": "", "config": NONE}, wrong={"root": "no", "config": NONE}), None),
        (Answers(hashes=GOOD, wrong={"root": NONE, "config": NONE}), None),
        (Answers(hashes=GOOD, wrong={"root": NONE, "eve": "no"}), "no role's old password is in the backup, .* eve"),
        (Answers(hashes=GOOD, authentication=False), None),
        (Answers(authentication=False), "gave 0 hashes"),
        (Answers(hashes=GOOD, logins={"config": "invalid"}), "an old password does not log in: config: invalid"),
        (Answers(failed="root does not log in: x", logins={"root": "x"}), "an old password does not log in: root: x"),
        (Answers(failed="no leader within 60 s"), "no leader within 60 s"),
        (Answers(hashes={**GOOD, "c": (3, 7)}, **PROPER), "gave 2 hashes"),
        (Answers(**PROPER), "gave 0 hashes"),
        (Answers(hashes=GOOD, alarms=("NOSPACE",), **PROPER), None),
        (Answers(hashes=GOOD, alarms=("CORRUPT",), **PROPER), "the alarm CORRUPT lies in this data"),
    ],
)
def test_a_trial_is_good_when_its_hash_is_told_and_who_gets_in_is_as_the_data_has_it(
    answers: Answers, problem: str | None
) -> None:
    found = trial.problem(answers)
    assert found is None if problem is None else re.search(problem, str(found))


@pytest.mark.parametrize(
    ("answers", "authentication"),
    [
        (Answers(revision=7, hashes=GOOD, counts=(20,), **PROPER), Authentication()),
        (Answers(revision=7, hashes=GOOD, counts=(20,), authentication=False), Authentication(on=False)),
        (
            Answers(
                revision=7, hashes=GOOD, counts=(20,), wrong={"root": "no", "b": NONE, "a": NONE}, logins={"x": ""}
            ),
            Authentication(without_password=("a", "b")),
        ),
    ],
)
def test_who_gets_in_is_kept_with_the_trial_and_an_older_note_had_only_passwords(
    answers: Answers, authentication: Authentication
) -> None:
    found = trial.result("sha", ("",), answers)
    assert found.authentication == authentication
    noted = (trial.note(terms(), "infra-1", found).stdin or b"").decode()
    assert build.understood(trial.ask_note(terms(), "sha", ("",)), noted) == found
    older = json.loads(noted)
    older.pop("authentication")
    old = build.understood(trial.ask_note(terms(), "sha", ("",)), json.dumps(older))
    assert old is not None and old.authentication == Authentication()


def test_a_good_trial_is_kept_and_holds_for_the_same_snapshot_alone() -> None:
    answers = Answers(revision=7, hashes=GOOD, users=("root",), roles=("root",), counts=(20, 5), **PROPER)
    found = trial.result("sha", ("", "/main"), answers)
    assert found == Trial("sha", 7, 3, {"": 20, "/main": 5}, ("root",), ("root",))
    noted = (trial.note(terms(), "infra-1", found).stdin or b"").decode()
    assert json.loads(noted)["hash"] == 3
    of_it = trial.ask_note(terms(), "sha", ("", "/main"))
    assert build.understood(of_it, noted) == found
    assert build.understood(trial.ask_note(terms(), "other", ("", "/main")), noted) is None
    assert build.understood(trial.ask_note(terms(), "sha", ("",)), noted) is None
    for text in ("", "{}", "[" * 99_999, noted.replace("3", '"3"'), noted.replace("20", "2e1000")):
        assert build.understood(of_it, text) is None


def test_the_keys_that_are_closed_to_users_are_kept_with_it_and_an_older_note_told_of_none() -> None:
    answers = Answers(revision=7, hashes=GOOD, counts=(20,), outside={"dh": "~requorum", "all": None}, **PROPER)
    found = trial.result("sha", ("",), answers)
    assert found.outside == {"dh": "~requorum", "all": None}
    noted = (trial.note(terms(), "infra-1", found).stdin or b"").decode()
    assert build.understood(trial.ask_note(terms(), "sha", ("",)), noted) == found
    older = json.loads(noted)
    older.pop("outside")
    old = build.understood(trial.ask_note(terms(), "sha", ("",)), json.dumps(older))
    assert old is not None and old.outside == {}


def test_it_holds_for_the_same_bump_by_the_same_etcd_alone_until_the_new_etcd_was_started() -> None:
    """Step 5 would compare the new cluster with a revision and a hash that it cannot have."""
    answers, as_then = Answers(revision=7, hashes=GOOD, counts=(20,), **PROPER), trial.how(terms(), TOOLS)
    assert as_then == "3.5.16 --bump-revision=1000000000 --mark-compacted"
    noted = (trial.note(terms(), "infra-1", trial.result("sha", ("",), answers, as_then)).stdin or b"").decode()
    mine, smaller = terms(), replace(terms(), inventory=build.inventory(etcd={"revision_bump": 7}))
    for how in (as_then, ""):
        assert build.understood(trial.ask_note(mine, "sha", ("",), how), noted) is not None
    others = [trial.how(smaller, TOOLS), trial.how(mine, replace(TOOLS, bumps=False))]
    others.append(trial.how(mine, replace(TOOLS, version="3.5.17")))
    for how in others:
        assert build.understood(trial.ask_note(mine, "sha", ("",), how), noted) is None
    older = json.loads(noted)
    older.pop("restored")
    assert build.understood(trial.ask_note(mine, "sha", ("",), as_then), json.dumps(older)) is None
    started = replace(mine, mark=replace(mine.mark, phase=Phase.STARTED))
    for text in (noted, json.dumps(older)):
        assert build.understood(trial.ask_note(started, "sha", ("",), others[0]), text) is not None


def test_a_space_alarm_in_the_data_is_disarmed_after_the_restore_and_an_older_note_tells_of_none() -> None:
    answers = Answers(revision=7, hashes=GOOD, counts=(20,), alarms=("NOSPACE",), **PROPER)
    found = trial.result("sha", ("",), answers)
    (command,) = plan.disarm(terms(), found.alarms)
    assert (command.argv[-2:], command.changes, command.accept) == (("alarm", "disarm"), True, (0,))
    noted = json.loads((trial.note(terms(), "infra-1", found).stdin or b"").decode())
    noted.pop("alarms")
    old = build.understood(trial.ask_note(terms(), "sha", ("",)), json.dumps(noted))
    assert old is not None and plan.disarm(terms(), old.alarms) == []


@given(st.text())
def test_a_note_that_cannot_be_read_is_none(text: str) -> None:
    assert build.understood(trial.ask_note(terms(), "sha", ("",)), text) is None
