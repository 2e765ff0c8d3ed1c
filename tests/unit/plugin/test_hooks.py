"""What the front door refuses before any host is asked: exit code 4, one message, no traceback, no connection.

The real command in a process of its own. Every host of these inventories is port 1 of this machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from compose import poll
from requorum.evidence import audit
from requorum.plugin import hooks
from requorum.procedures import PROCEDURES
from tests.terminal import Terminal
from tests.unit import build

ROOT = Path(__file__).parents[3]


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A valid inventory whose ssh leads nowhere and leaves a trace if it is ever used."""
    (tmp_path / "ssh_config").write_text(
        f"Host *\n  HostName 127.0.0.1\n  Port 1\n  ProxyCommand sh -c 'touch {tmp_path}/connected; exit 1'\n"
    )
    path = tmp_path / "nowhere.yaml"
    data = build.document(transport={"backend": "ssh", "ssh_config": str(tmp_path / "ssh_config")})
    path.write_text(yaml.safe_dump(data))
    return path


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """pytest as an operator starts it, without a terminal."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "PYTHONOPTIMIZE"))}
    return subprocess.run(
        (sys.executable, "-m", "pytest", *arguments),
        cwd=ROOT,
        env={**inherited, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
        check=False,
    )


def refused(place: Path, *arguments: str, **environment: str) -> str:
    """The message of a run that must be refused before anything is connected to."""
    ended = run(*arguments, f"--evidence={place}/evidence", **environment)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 4, said
    assert "Traceback" not in said, said
    assert not (place / "connected").exists(), "a host was connected to"
    assert not (place / "evidence").exists(), "a refusal needs no evidence folder"
    assert said.count("ERROR: ") == 1, said
    assert "State      Nothing was changed: no host was asked." in said, said
    return said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("members: [", "is not valid YAML"),
        (yaml.safe_dump(build.document(members=[build.member(1), build.member(2)])), "an even number"),
        (yaml.safe_dump(build.document(surprise=1)), "surprise is not a known field"),
    ],
    ids=["empty", "malformed", "even", "unknown field"],
)
def test_a_bad_inventory_ends_in_one_message(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    said = refused(tmp_path, "runbook", f"--hosts={path}", "--confirm=lab")
    assert f"ERROR: {path}: " in said and says in said


def test_an_inventory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert "--hosts=nowhere-1: no such inventory" in refused(tmp_path, "runbook", "--hosts=nowhere-1", "--confirm=x")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("runbook/bakup", "runbook/backup"),
        ("runbok", "runbook"),
        ("runbook/sudoer", "runbook/troubleshoot/sudoers"),
    ],
)
def test_a_procedure_that_is_mistyped_is_named_with_what_was_meant(tmp_path: Path, word: str, meant: str) -> None:
    said = refused(tmp_path, word, "--hosts=example")
    assert f"{word}: no such procedure\n    → did you mean {meant}" in said


WITHOUT = """
import sys
class Without:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "hypothesis":
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Without())
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["runbook/bakup", "--hosts=rd"], "did you mean runbook/backup"),
        (["--hosts=rd", "--check"], "--check is for the recovery"),
        ([], "the tests need packages that a runbook does not"),
    ],
)
def test_where_the_packages_of_tests_are_not_there_it_is_one_message_all_the_same(words: list[str], says: str) -> None:
    line = (sys.executable, "-c", WITHOUT, "-p", "no:hypothesispytest", *words)
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 4 and says in ended.stderr and "Traceback" not in ended.stdout + ended.stderr, ended


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--confirm=prod"], "--confirm: 'prod' is not the name of this cluster"),
        (["--confirm="], "--confirm: '' is not the name of this cluster"),
        ([], "nobody is there to confirm"),
        (["--confirm=lab", "--gone=etcd-9"], "--gone=etcd-9: is no host of the inventory"),
        (["--confirm=lab", "--gone=query-1,etcd-2"], "--gone=etcd-2: is a member of the cluster to build"),
        (["--confirm=lab", "--gone=infra-1"], "--gone=infra-1: is the configuration server"),
        (["--confirm=lab", "--skip-hash=infra-1"], "--skip-hash=infra-1: is no old member that is there"),
        (["--confirm=lab", "--skip-hash=etcd-1", "--salvage=lab-1"], "--salvage and --skip-hash: each say which data"),
        (["--confirm=lab", "--concurrency=0"], "--concurrency=0: must be at least 1"),
        (["--confirm=lab", "--timeout-scale=0"], "must be a number above 0"),
        (["--confirm=lab", "--discard-new-writes"], "--discard-new-writes: is no option of runbook"),
        (["--confirm=lab", "--timeout-scale=nan"], "must be a number above 0"),
        (["--confirm=lab", "--ssh-config=/nowhere"], "--ssh-config: is testinfra's, and does nothing here"),
        (["--confirm=lab", "-k", "quorum"], "the stages must be exactly the runbook's"),
        (["--confirm=lab", "-n", "2"], "the stages run in their order, in one process"),
        (["--confirm=lab", "--dist=each", "--tx=popen"], "the stages run in their order, in one process"),
        (["--confirm=lab", "-k", "no_such_stage"], "nothing was collected"),
        (["--confirm=lab", "--deselect=runbook/test_step_0_snapshot.py"], "stage 1 is deephaven"),
        (["--confirm=lab", "tests/unit/run/test_run.py"], "the stages must be exactly the runbook's"),
    ],
    ids=lambda value: " ".join(value) or "no --confirm" if isinstance(value, list) else "",
)
def test_a_wrong_command_line_ends_in_one_message(inventory: Path, arguments: list[str], says: str) -> None:
    said = refused(inventory.parent, "runbook", f"--hosts={inventory}", *arguments)
    assert says.replace("deephaven", "test_when_deephaven") in said


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("", ["--confirm=lab"], "name one: runbook/troubleshoot/"),
        ("/debug_logging", ["--confirm=lab"], "needs --members=NAME"),
        ("/debug_logging", ["--confirm=lab", "--members=etcd-9"], "--members=etcd-9: is no member"),
        ("/debug_logging", ["--members=etcd-1"], "nobody is there to confirm"),
        ("/run_directly", ["--confirm=no", "--members=etcd-1"], "'no' is not the name of this cluster"),
        ("/permissions", ["--confirm=lab", "--off"], "--off: is no option of"),
        ("/sudoers", ["-k", "works"], "the stages must be exactly the runbook's"),
    ],
)
def test_troubleshooting_is_refused_before_any_host_is_asked(
    inventory: Path, name: str, arguments: list[str], says: str
) -> None:
    assert says in refused(inventory.parent, f"runbook/troubleshoot{name}", f"--hosts={inventory}", *arguments)


@pytest.mark.parametrize("place", ["taken", "taken/below"])
def test_a_place_that_can_hold_no_evidence_is_refused(inventory: Path, place: str) -> None:
    (inventory.parent / "taken").write_text("a file")
    (inventory.parent / "taken").chmod(0o755)
    ended = run("runbook", f"--hosts={inventory}", "--confirm=lab", f"--evidence={inventory.parent}/{place}")
    assert ended.returncode == 4, ended.stdout
    assert f"--evidence: {inventory.parent}/taken: is no directory that" in ended.stdout + ended.stderr


def test_data_that_a_procedure_would_not_use_is_refused(inventory: Path) -> None:
    said = refused(inventory.parent, "runbook/rollback", f"--hosts={inventory}", "--confirm=lab", "--snapshot=x")
    assert "--snapshot: is no option of runbook/rollback" in said and "it takes --accept, --discard-new-writes" in said


def test_a_drill_of_what_is_no_snapshot_ends_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "none.snap").write_text("no snapshot")
    ended = run("runbook/drill", f"--snapshot={tmp_path}/none.snap", f"--evidence={tmp_path}/evidence")
    assert ended.returncode == 1, ended.stdout
    assert f"Failed     {tmp_path}/none.snap:" in ended.stdout and "Do first   name another one" in ended.stdout


def test_a_single_stage_cannot_be_run_alone(inventory: Path) -> None:
    stage = "runbook/test_step_4_restore.py::TestStep4Restore::test_when_all_members_are_started"
    said = refused(inventory.parent, stage, f"--hosts={inventory}", "--confirm=lab")
    assert "the stages must be exactly the runbook's" in said


def test_the_order_of_stages_cannot_be_changed(inventory: Path) -> None:
    files = sorted((str(p.relative_to(ROOT)) for p in (ROOT / "runbook").glob("test_*.py")), reverse=True)
    said = refused(inventory.parent, *files, f"--hosts={inventory}", "--confirm=lab")
    assert "the stages must be exactly the runbook's" in said


def test_options_smuggled_in_by_the_environment_are_seen_too(inventory: Path) -> None:
    arguments = ("runbook", f"--hosts={inventory}", "--confirm=lab")
    assert "stages must be exactly" in refused(inventory.parent, *arguments, PYTEST_ADDOPTS="-k restore")


def test_python_that_strips_assertions_is_refused(inventory: Path) -> None:
    arguments = ("runbook", f"--hosts={inventory}", "--confirm=lab")
    assert "PYTHONOPTIMIZE" in refused(inventory.parent, *arguments, PYTHONOPTIMIZE="1")


def test_the_runbook_needs_an_inventory(tmp_path: Path) -> None:
    assert "the runbook needs --hosts=NAME" in refused(tmp_path, "runbook")


def test_hosts_that_do_not_answer_stop_the_run_at_its_first_stage(inventory: Path) -> None:
    ended = run("runbook", f"--hosts={inventory}", "--confirm=lab", f"--evidence={inventory.parent}/evidence")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "raise " not in ended.stdout and ".py:" not in ended.stdout, "the operator reads no source code"
    assert "did not answer" in ended.stdout and "--gone=HOST" in ended.stdout
    assert "Not run: the rest of Step 0, Steps 1 to 5\n" in ended.stdout
    assert (inventory.parent / "connected").exists(), "this test's own trap must be able to spring"


def test_a_plan_needs_no_confirmation_and_says_when_none_could_be_made(inventory: Path) -> None:
    evidence = inventory.parent / "evidence"
    ended = run("runbook", f"--hosts={inventory}", "--plan", f"--evidence={evidence}")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "did not answer" in ended.stdout and "No plan could be made." in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr
    (summary,) = evidence.glob("*/2*/summary.json")
    assert json.loads(summary.read_text())["outcome"] == "refused"


@pytest.mark.parametrize("procedure", ["backup", "drill"])
def test_what_changes_nothing_of_the_cluster_has_no_plan(inventory: Path, procedure: str) -> None:
    said = refused(inventory.parent, f"runbook/{procedure}", f"--hosts={inventory}", "--plan")
    assert "--plan is for what changes the cluster" in said


@pytest.mark.parametrize("rest", [[], ["--rebuild"]])
def test_a_run_whose_stages_were_only_set_up_recovered_nothing(inventory: Path, rest: list[str]) -> None:
    evidence = inventory.parent / "evidence"
    ended = run("runbook", f"--hosts={inventory}", "--confirm=lab", f"--evidence={evidence}", "--setup-only", *rest)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert not (inventory.parent / "connected").exists()
    (summary,) = evidence.glob("*/2*/summary.json")
    assert json.loads(summary.read_text())["outcome"] == "stopped"


def test_a_run_that_reaches_no_host_still_leaves_whole_evidence(tmp_path: Path, inventory: Path) -> None:
    """Every host is silent, so nothing can be anchored either: that must not hide what the run came to."""
    ended = run("runbook", f"--hosts={inventory}", "--confirm=lab", f"--evidence={tmp_path}/evidence")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    (place,) = (tmp_path / "evidence" / "lab").glob("2*")
    data = (place / "journal.jsonl").read_bytes()
    assert audit.verdict(data).state is audit.State.WHOLE, audit.verdict(data)
    assert "not anchored in every syslog" in data.decode()
    page = (place / "report.html").read_text()
    assert "Refused" in page and "did not answer" in page
    verify = ("-m", "requorum.journal", "verify", str(place / "journal.jsonl"))
    assert subprocess.run((sys.executable, *verify), cwd=ROOT, check=False).returncode == 0
    assert subprocess.run((sys.executable, *verify, f"--hosts={inventory}"), cwd=ROOT, check=False).returncode == 4


# -- the check ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["runbook/backup", "--check"], "--check is for the recovery"),
        (["tests", "--check"], "--check is for the recovery"),
        (["runbook", "--check", "-k", "clock"], "the stages must be exactly the runbook's"),
        (
            [
                "runbook",
                "--check",
                "--deselect=runbook/check/test_check.py::TestCheck::test_then_it_holds[ssh on etcd-1]",
            ],
            "stage 2 is test_then_it_holds[sudo on etcd-1], not test_then_it_holds[ssh on etcd-1]",
        ),
        (["runbook", "--check", "--gone=infra-1"], "is the configuration server"),
    ],
)
def test_a_part_of_the_check_is_no_check(inventory: Path, arguments: list[str], says: str) -> None:
    assert says in refused(inventory.parent, *arguments, f"--hosts={inventory}")


def test_the_check_needs_an_inventory(tmp_path: Path) -> None:
    assert "the runbook needs --hosts=NAME" in refused(tmp_path, "runbook", "--check")


@pytest.mark.parametrize("named", ["runbook --check", "runbook/check"])
def test_a_check_of_silent_hosts_names_them_all_and_asks_nobody_to_confirm(inventory: Path, named: str) -> None:
    place = inventory.parent
    arguments = (*named.split(), f"--hosts={inventory}", f"--evidence={place}/evidence", f"--junitxml={place}/j.xml")
    ended = run(*arguments)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    (summary,) = (json.loads(path.read_text()) for path in place.glob("evidence/*/2*/summary.json"))
    assert (summary["outcome"], summary["stopped_at"]) == ("checked", None)
    failing = {(f["host"], f["check"]) for f in summary["findings"] if f["verdict"] == "fails"}
    assert failing == {
        *((f"etcd-{n}", "ssh") for n in (1, 2, 3)),
        ("infra-1", "ssh"),
        ("query-1", "ssh"),
        ("this machine", "backup"),
    }
    junit = (place / "j.xml").read_text()
    assert junit.count("<testcase") == len(summary["findings"]) + 1
    assert junit.count("<failure") == 6
    assert 'name="test_then_it_holds[ssh on etcd-2]"' in junit
    assert ended.stdout.count("did not answer") >= 5 and "the inventory names no snapshot.directory" in ended.stdout
    (page,) = place.glob("evidence/*/2*/report.html")
    assert "6 of" in page.read_text() and "What was found" in page.read_text()


def test_a_check_that_was_only_set_up_found_nothing(inventory: Path) -> None:
    place = inventory.parent
    ended = run("runbook", "--check", f"--hosts={inventory}", f"--evidence={place}/evidence", "--setup-only")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    (summary,) = (json.loads(path.read_text()) for path in place.glob("evidence/*/2*/summary.json"))
    assert summary["outcome"] == "stopped"


# -- how it ends, and what is seen meanwhile -----------------------------------------------------------------------


def test_a_stop_ends_with_how_things_stand_what_failed_and_the_command_to_go_on(inventory: Path) -> None:
    evidence = f"--evidence={inventory.parent}/evidence"
    words = ("--rebuild", "--accept=backup,without:etcd-2")
    ended = run("runbook", f"--hosts={inventory}", "--confirm=lab", evidence, *words)
    *_, block = ended.stdout.rpartition("\nState ")
    assert "not anchored in every syslog: etcd-1, etcd-2, etcd-3, infra-1, query-1: did not" in " ".join(
        ended.stdout.split()
    )
    assert "Whether Deephaven is on is not known: infra-1, query-1 (did not answer)." in " ".join(block.split())
    assert "Failed     etcd-1, etcd-2, etcd-3, infra-1, query-1: did not answer" in block
    python = shlex.quote(sys.executable.removeprefix(f"{ROOT}/"))
    again = f"{python} -m pytest runbook --hosts={inventory} --confirm=lab {' '.join(words)} {evidence}"
    assert f"Go on      cd {ROOT} && {again}\n" in block
    assert ended.stdout.splitlines()[-1].startswith("Evidence   "), "the block is the last word"
    assert "\x1b" not in ended.stdout, "without a terminal nothing is drawn"


def test_a_plan_that_cannot_be_made_names_the_plan_again_and_nothing_that_acts(inventory: Path) -> None:
    ended = run("runbook", f"--hosts={inventory}", "--plan", "--rebuild", f"--evidence={inventory.parent}/evidence")
    (following,) = (line for line in ended.stdout.splitlines() if line.startswith("Go on "))
    assert f"pytest runbook --hosts={inventory} --plan --rebuild" in following
    assert "rollback" not in ended.stdout
    assert "State      Nothing was changed: this only looked.\n" in ended.stdout


def test_a_run_whose_terminal_is_closed_ends_as_by_ctrl_c(inventory: Path) -> None:
    """Every host hangs; SIGHUP and SIGTERM end the run in order, with evidence and a word on how to go on."""
    trap = inventory.parent / "ssh_config"
    trap.write_text(f"Host *\n  ProxyCommand sh -c 'touch {inventory.parent}/connected; exec sleep 1000'\n")
    for number in (signal.SIGHUP, signal.SIGTERM):
        (inventory.parent / "connected").unlink(missing_ok=True)
        process = subprocess.Popen(
            (
                sys.executable,
                "-m",
                "pytest",
                "runbook",
                f"--hosts={inventory}",
                "--confirm=lab",
                f"--evidence={inventory.parent}/evidence-{number.name}",
                "--timeout-scale=0.3",  # of the look around at the end too: no host answers it
            ),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # nohup above us keeps it ignored
        )
        poll.until((inventory.parent / "connected").exists, seconds=60, what="a host is asked")
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 2, said
        assert "Ended      Step 0, while “every host answers”: Ctrl-C" in said and "Traceback" not in said, said
        (summary,) = (inventory.parent / f"evidence-{number.name}").glob("*/2*/summary.json")
        assert json.loads(summary.read_text())["outcome"] == "interrupted"


def test_a_terminal_shows_what_a_stage_is_at_while_it_runs(inventory: Path) -> None:
    """Every host keeps silent until its line has been seen, so it is not drawn afterwards."""
    seen, place = inventory.parent / "seen", inventory.parent
    trap = f"until [ -e {seen} ]; do sleep 0.1; done; exit 1"
    (place / "ssh_config").write_text(f"Host *\n  ProxyCommand sh -c '{trap}'\n  ConnectTimeout 60\n")
    terminal = Terminal(f"--hosts={inventory}", f"--evidence={place}/evidence")
    terminal.answer("Type the cluster's name to go on (lab): ", "lab")
    terminal.wait_for("Given every host answers\x1b[0m")
    terminal.wait_for("\x1b[2metcd-1, etcd-2, etcd-3, infra-1, query-1\x1b[0m")
    terminal.wait_for("0:00:01")
    seen.touch()
    assert terminal.end() == 1
    assert "Not run: the rest of Step 0, Steps 1 to 5" in terminal.seen


def test_a_wrong_name_on_the_terminal_ends_the_run_before_any_host(inventory: Path) -> None:
    terminal = Terminal(f"--hosts={inventory}", f"--evidence={inventory.parent}/evidence")
    terminal.answer("Type the cluster's name to go on (lab): ", "prod")
    assert terminal.end() == 4
    assert "'prod' is not the name of this cluster" in terminal.seen
    assert not (inventory.parent / "connected").exists()


# -- what only looks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["runbook/troubleshoot"], "name one: runbook/troubleshoot/collect_logs, runbook/troubleshoot/diagnose"),
        (["runbook/troubleshoot/collect_logs", "--since=yesterday"], "--since=yesterday: is no time"),
        (["runbook/troubleshoot/diagnose", "--since=2h"], "--since: is no option of runbook/troubleshoot/diagnose"),
    ],
)
def test_what_only_looks_is_refused_as_clearly(
    inventory: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    assert says in refused(tmp_path, *arguments, f"--hosts={inventory}")


def test_the_inventorys_name_in_a_command_to_paste_is_one_word_of_a_shell() -> None:
    said = {"hosts": "my inventory; x", "evidence": "e", "timeout_scale": 1.0}
    config: Any = SimpleNamespace(getoption=said.get, stash={hooks.PROCEDURE: PROCEDURES[0]})
    assert hooks.options_of(config, build.inventory()).hosts == "'my inventory; x'"


@pytest.mark.parametrize(("plan", "runs"), [(False, True), (True, False)])
def test_a_plan_that_is_refused_tells_nobody(tmp_path: Path, plan: bool, runs: bool) -> None:
    of = build.inventory(hooks={"on_failure": f"touch {tmp_path}/told"})
    said = {"collectonly": False, "plan": plan}
    config: Any = SimpleNamespace(getoption=said.get, stash={hooks.INVENTORY: of})
    assert hooks._told_outside(config, "refused", None, failed=True) == []
    assert (tmp_path / "told").exists() == runs


def test_a_command_to_paste_names_the_runbook_from_any_place(inventory: Path) -> None:
    """Called from beside the repository, and pasted as it stands into a shell that lists the stages."""
    evidence = f"--evidence={inventory.parent}/evidence"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    called = (sys.executable, "-m", "pytest", f"{ROOT}/runbook", f"--hosts={inventory}", "--confirm=lab", evidence)
    ended = subprocess.run(
        called,
        cwd=inventory.parent,
        env=inherited,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    (line,) = (line for line in ended.stdout.splitlines() if line.startswith("Go on "))
    pasted = line.removeprefix("Go on").strip()
    listed = subprocess.run(
        ("sh", "-c", f"{pasted} --collect-only -q"), cwd="/", env=inherited, capture_output=True, text=True, check=False
    )
    assert listed.returncode == 0, pasted + listed.stdout + listed.stderr


def test_what_may_be_lost_is_said_once_data_is_chosen() -> None:
    assert not any(hooks._is_chosen(f"runbook/x.py::TestStep{n}X::test_x") for n in (0, 1))
    assert all(hooks._is_chosen(one) for one in ("runbook/x.py::TestStep2X::test_x", None))


# -- the nightly proof -------------------------------------------------------------------------------------------


def proof_of(inventory: Path, **snapshot: Any) -> tuple[subprocess.CompletedProcess[str], dict[str, Any], Path]:
    """What `runbook/verify` gives, its summary, and its evidence; no host of that inventory can be reached."""
    data = yaml.safe_load(inventory.read_text())
    inventory.write_text(yaml.safe_dump({**data, "snapshot": snapshot}))
    ended = run("runbook/verify", f"--hosts={inventory}", f"--evidence={inventory.parent}/evidence")
    place = (inventory.parent / "evidence" / "lab" / "latest").resolve()
    return ended, json.loads((place / "summary.json").read_text()), place


def test_a_night_without_a_backup_is_not_proven_and_says_so_in_its_proof(inventory: Path) -> None:
    ended, summary, place = proof_of(inventory)
    assert ended.returncode == 1 and summary["outcome"] == "not-proven", ended.stdout
    told = json.loads((place / "proof.json").read_text())
    assert told["recoverable"] is False and "snapshot.directory: is not set" in told["why"]
    assert (told["snapshot"], told["behind"]["revisions"]) == (None, None)
    assert told["recovery"]["measured"] == "never measured"
    assert (place / "proof.json").stat().st_mode & 0o777 == 0o600
    assert "Could last night's backup be recovered from? No" in (place / "report.html").read_text()


def test_beside_a_backup_the_night_is_skipped_which_is_no_failure(inventory: Path) -> None:
    backups = inventory.parent / "backups"
    backups.mkdir()
    lock = os.open(backups / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        ended, summary, place = proof_of(inventory, directory=str(backups))
    finally:
        os.close(lock)
    assert ended.returncode == 0 and summary["outcome"] == "skipped", ended.stdout
    assert "Skipped: another backup is under way, or one is being verified; nothing was proven yet." in ended.stdout
    assert not (place / "proof.json").exists()


# -- who is told of the end --------------------------------------------------------------------------------------


def test_a_failure_runs_its_line_and_one_that_fails_changes_no_exit_code(inventory: Path) -> None:
    data, told = yaml.safe_load(inventory.read_text()), inventory.parent / "told"
    script = inventory.parent / "tell"
    script.write_text(f'#!/bin/sh\necho "$1 $REQUORUM_OUTCOME $REQUORUM_SUMMARY" >>{told}\nexit 7\n')
    script.chmod(0o755)
    hooks = {"on_success": f"{script} good", "on_failure": f"{script} bad"}
    inventory.write_text(yaml.safe_dump({**data, "hooks": hooks}))
    ended, summary, place = proof_of(inventory)
    assert ended.returncode == 1 and summary["outcome"] == "not-proven"
    assert told.read_text() == f"bad not-proven {place}/summary.json\n"
    assert f"hooks.on_failure did not work: {script} ended with 7, and said nothing." in ended.stdout


def test_a_night_that_is_passed_over_runs_no_line(inventory: Path) -> None:
    data, backups = yaml.safe_load(inventory.read_text()), inventory.parent / "backups"
    backups.mkdir()
    hooks = dict.fromkeys(("on_success", "on_failure"), f"touch {inventory.parent}/told")
    inventory.write_text(yaml.safe_dump({**data, "hooks": hooks}))
    lock = os.open(backups / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        ended, _, _ = proof_of(inventory, directory=str(backups))
    finally:
        os.close(lock)
    assert ended.returncode == 0 and not (inventory.parent / "told").exists()
