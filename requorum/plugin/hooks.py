"""The front door: options, --hosts to run, the gate that stops at the first failure, evidence at the end.

Only a run that names hosts (`--hosts`) or collects from `runbook/` is a run of the runbook; everything else is our own
tests and passes through untouched. What the stages do is in `runbook/`, how it looks in `requorum/plugin/reporter.py`.
"""

from __future__ import annotations

import getpass
import os
import re
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from requorum import commandline, manual, procedures, version
from requorum import inventory as inventories
from requorum.diagnosis import check as checks
from requorum.diagnosis.check.check import Case
from requorum.diagnosis.logs import collection
from requorum.evidence.journal import EvidenceError, Journal, now
from requorum.evidence.redaction import redact
from requorum.hosts.fleet import Fleet, Unreachable
from requorum.hosts.line import attempt
from requorum.hosts.password import Password
from requorum.inventory import Inventory
from requorum.plugin import metrics, options, programs
from requorum.plugin.ending import block, ways
from requorum.plugin.ending.standing import Did, standing
from requorum.plugin.reporter import CheckReporter, PlanReporter, Reporter
from requorum.recovery.commit import NotConfirmed
from requorum.refusal import NotApproved, Refusal
from requorum.run import accepted, state, terms
from requorum.run import lock as locks
from requorum.run.dryrun import Planning
from requorum.run.marker import Marker, Phase
from requorum.run.run import Run, release_lock
from requorum.run.terms import Options, Terms

ROOT = Path(__file__).parents[2]
PROCEDURE = pytest.StashKey[procedures.Procedure]()
SHA256 = pytest.StashKey[str]()  # of the inventory's file
NAMELESS = "the runbook needs --hosts=NAME, a file in inventory/"
INVENTORY = pytest.StashKey[Inventory]()
RUN = pytest.StashKey[Run]()
STARTED = pytest.StashKey[str]()
STOPPED_AT = pytest.StashKey[str]()
PASSED = pytest.StashKey[int]()
FAILURE = pytest.StashKey[BaseException]()
SUMMARY = pytest.StashKey[Mapping[str, object]]()
PASSWORD = pytest.StashKey[Password | None]()  # sudo's, on the named inventory's hosts


def pytest_addoption(parser: pytest.Parser) -> None:
    # testinfra's plugin owns --hosts; a bare name there would mean a host, here it means an inventory.
    group = parser.getgroup("requorum", "requorum: the runbook")
    for option in commandline.OPTIONS:
        if not option.declared:
            group.addoption(option.name, **option.arguments())


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """The runbook's own help, and its version for -VV; pytest's where no procedure is named, and for --help-pytest."""
    given = [word for word in config.invocation_params.args if isinstance(word, str) and not word.startswith("-")]
    procedure = procedures.named(given, config.invocation_params.dir, ROOT)
    config.option.help = config.option.help or config.option.help_pytest
    if procedure is None or config.option.help_pytest or not (config.option.help or config.option.version):
        return None
    print(manual.page(procedure) if config.option.help else f"requorum {version.told()}\n", end="")
    return int(pytest.ExitCode.OK)


def _refused(text: str) -> pytest.UsageError:
    """The end of a run before any host is asked: exit code 4, in the words of every other end."""
    return pytest.UsageError(f"{text}\n\nState      {standing(None, Did(unasked=True))}")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if wrong := procedures.mistyped(config.args, config.invocation_params.dir, ROOT):
        raise _refused(f"{wrong[0]}: no such procedure\n    → did you mean {' or '.join(wrong[1])}")
    undecided = procedures.undecided(config.args, config.invocation_params.dir, ROOT)
    if undecided:
        raise _refused(f"several procedures are below that directory\n    → name one: {', '.join(undecided)}")
    procedure = procedures.named(config.args, config.invocation_params.dir, ROOT)
    if config.getoption("check"):
        procedure = _check_instead(config, procedure)
    hosts = config.getoption("hosts")
    if not hosts and (procedure is None or procedure.needs_hosts):
        if procedure and not any(map(config.getoption, ("collectonly", "help", "version"))):
            raise _refused(NAMELESS)
        return
    if config.getoption("numprocesses", None) or config.getoption("tx", None) or hasattr(config, "workerinput"):
        raise _refused("the stages run in their order, in one process\n    → leave out the options of pytest-xdist")
    if not __debug__:
        raise _refused("PYTHONOPTIMIZE strips assertions, and they are the proof: unset it")
    config.stash[PROCEDURE] = procedure or procedures.PROCEDURES[0]
    if config.getoption("detailed_exitcode") and not (config.getoption("plan") or config.stash[PROCEDURE].looks):
        raise _refused("--detailed-exitcode is for --check and --plan\n    → leave it out")
    if config.getoption("plan") and not config.stash[PROCEDURE].confirms:
        raise _refused("--plan is for what changes the cluster\n    → leave it out: this changes nothing of it")
    try:
        if not hosts and not config.getoption("snapshot"):
            raise _refused("the drill needs --snapshot=FILE, or --hosts=NAME, whose newest backup it takes")
        if hosts:
            path = inventories.find(hosts, ROOT)
            inventory, config.stash[SHA256] = inventories.load(path), inventories.sha256(path)
            options.check(config.getoption, config.stash[PROCEDURE], inventory)
            config.stash[INVENTORY] = inventory
    except Refusal as refusal:
        raise _refused(str(refusal)) from None
    plain = config.pluginmanager.getplugin("terminalreporter")
    if plain is not None:
        config.pluginmanager.unregister(plain)
        reporter = PlanReporter if config.getoption("plan") else Reporter
        reporter = CheckReporter if config.stash[PROCEDURE].looks else reporter
        screen = sys.stderr if config.getoption("json") else None
        config.pluginmanager.register(reporter(config, screen), "terminalreporter")


def _check_instead(config: pytest.Config, named: procedures.Procedure | None) -> procedures.Procedure:
    """`pytest runbook --check` collects the check's stages in place of the recovery's."""
    check = next(procedure for procedure in procedures.PROCEDURES if procedure.outcome == "checked")
    if named not in (procedures.PROCEDURES[0], check):
        raise _refused("--check is for the recovery\n    → pytest runbook --hosts=NAME --check")
    config.args = [str(ROOT / check.directory)]
    return check


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A procedure below `runbook/` is collected only when it is named: `pytest runbook` is the recovery alone."""
    if ROOT / "runbook" not in collection_path.parents:
        return None
    return procedures.is_unnamed(collection_path, config.args, config.invocation_params.dir, ROOT) or None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The check has a case for everything that is looked at on a host."""
    if "case" in metafunc.fixturenames and INVENTORY in metafunc.config.stash:
        metafunc.parametrize("case", _cases(metafunc.config), ids=str)


def _cases(config: pytest.Config) -> list[Case]:
    nothing_begun = Marker(run="", token="", phase=Phase.OPEN, by="")
    return checks.cases(Terms(config.stash[INVENTORY], nothing_begun, options.gone(config.getoption)))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_collection_finish(session: pytest.Session) -> Generator[None, None, None]:
    yield
    config = session.config
    collected = [item.nodeid for item in session.items]
    if PROCEDURE not in config.stash:
        if any(nodeid.startswith("runbook/") for nodeid in collected):
            raise _refused(NAMELESS)
        return
    if collected and not any(nodeid.startswith("runbook/") for nodeid in collected):
        raise _refused("--hosts is for the runbook\n    → name it: pytest runbook --hosts=NAME")
    cases = _cases(config) if config.stash[PROCEDURE].looks else ()
    difference = procedures.difference(collected, ROOT, cases)
    if difference:
        directory = config.stash[PROCEDURE].directory
        raise _refused(
            f"the stages must be exactly the runbook's, in its order: {difference}\n"
            f"    → run `pytest {directory} --hosts=NAME` without options that select, sort or repeat stages"
        )
    if config.getoption("collectonly") or INVENTORY not in config.stash:
        return
    try:
        if config.stash[PROCEDURE].confirms and not config.getoption("plan"):
            options.confirm(config.getoption, config.stash[PROCEDURE], config.stash[INVENTORY].cluster)
        config.stash[PASSWORD] = options.password(config.getoption, config.stash[INVENTORY])
    except Refusal as refusal:
        raise _refused(str(refusal)) from None


# -- the run -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", name="_run")
def _run_fixture(pytestconfig: pytest.Config) -> Iterator[Run]:
    with opened(pytestconfig, pytestconfig.stash[INVENTORY]) as run:
        yield run


@pytest.fixture(scope="session")
def named_inventory(pytestconfig: pytest.Config) -> Inventory | None:
    """The inventory that `--hosts` names; None where a procedure does without."""
    return pytestconfig.stash.get(INVENTORY, None)


@pytest.fixture(scope="session")
def open_run(pytestconfig: pytest.Config) -> Callable[[Inventory, str | None], AbstractContextManager[Run]]:
    """For a procedure that runs on other machines than the named inventory's: `opened`, with its evidence's name."""
    return partial(opened, pytestconfig)


def options_of(config: pytest.Config, inventory: Inventory) -> Options:
    """The operator's words as one value."""
    words = options.accepted(config.getoption, inventory)
    return Options(
        snapshot=config.getoption("snapshot"),
        salvage=config.getoption("salvage"),
        skip_hash=config.getoption("skip_hash") or next(iter(words.hosts("on-disk")), None),
        rebuild=config.getoption("rebuild"),
        gone=options.gone(config.getoption),
        accepted=words,
        since=config.getoption("since") or collection.DEFAULT_SINCE,
        evidence=Path(config.getoption("evidence")),
        concurrency=config.getoption("concurrency"),
        timeout_scale=config.getoption("timeout_scale"),
        looks=config.stash[PROCEDURE].looks,
        members=config.getoption("members") or "",
        off=config.getoption("off"),
        seconds=config.getoption("seconds") or options.DIRECT_SECONDS,
        operator=f"{getpass.getuser()}@{socket.gethostname()} (process {os.getpid()})",
        hosts=shlex.quote(config.getoption("hosts") or "NAME"),
        discard=config.getoption("discard_new_writes"),
        confirm=config.getoption("confirm"),
        approved=Path(config.getoption("approved")) if config.getoption("approved") else None,
        offsite=config.getoption("offsite"),
        extract=config.getoption("extract") or "",
        inventory_sha256=config.stash.get(SHA256, ""),
    )


@contextmanager
def opened(config: pytest.Config, inventory: Inventory, name: str | None = None) -> Iterator[Run]:
    """One run on the machines of `inventory`, with evidence under `name` (default: the cluster's)."""
    options = options_of(config, inventory)
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    place = options.evidence / (name or inventory.cluster)
    try:
        journal = Journal.create(place, started)
    except OSError as error:
        raise Refusal(str(place), f"cannot hold evidence: {error}", "name another place: --evidence=DIR") from None
    programs.point_at(journal.directory)
    config.stash[STARTED] = now()
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal ends a run as Ctrl-C does, nohup keeps it
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    reporter = config.pluginmanager.getplugin("terminalreporter")
    named = inventory is config.stash.get(INVENTORY, None)
    password = config.stash.get(PASSWORD, None) if named else None  # a lab's hosts never see it
    fleet = Fleet(inventory, journal, options.concurrency, options.timeout_scale, password)
    config.add_cleanup(fleet.close)  # the end of the evidence is told by its connections too
    kind = Planning if config.getoption("plan") else Run
    run = kind(inventory, options, journal, fleet)
    if isinstance(reporter, Reporter):
        run.watch = fleet.watch = reporter.watch
    config.stash[RUN] = run
    journal.record("run", **terms.opening(run.terms, options.operator))
    yield run
    journal.ending = True
    release_lock(run)
    if run.acts and run.steps and config.stash[PROCEDURE].confirms:
        run.seen = _how_things_stand(run, config.stash.get(FAILURE, None))
    run.anchor()
    journal.ending = False


def _how_things_stand(run: Run, error: BaseException | None) -> state.Seen | None:
    """Who was not reached is not waited for once more. None where the operator does not wait either."""
    silent = set(error.where.split(", ")) if isinstance(error, Unreachable) else set()
    if run.inventory.transport.backend == "ssh":
        silent |= set(run.terms.everyone) - run.fleet.logins.keys()
    try:
        return state.seen(run.fleet, run.terms, tuple(silent))
    except KeyboardInterrupt:
        return None


@pytest.fixture(scope="session")
def checked(pytestconfig: pytest.Config) -> list[Case]:
    """What `--check` looks at."""
    return _cases(pytestconfig)


@pytest.fixture
def run(_run: Run, request: pytest.FixtureRequest) -> Run:
    """The run that the stages belong to; each stage starts with empty notes."""
    _run.begin(request.node.nodeid)
    return _run


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    stopped_at = item.config.stash.get(STOPPED_AT, None)
    if stopped_at is not None:
        pytest.skip(f"the runbook stopped at {stopped_at.rsplit('::', 1)[-1]}")
    run = item.config.stash.get(RUN, None)
    if run is not None and run.skipped:
        pytest.skip(run.skipped)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    config = item.config
    if PROCEDURE not in config.stash:
        return report
    run = config.stash.get(RUN, None)
    if call.excinfo is not None and isinstance(call.excinfo.value, Refusal):
        report.longrepr = redact(str(call.excinfo.value))  # a sentence for the operator, not a traceback
    if isinstance(run, Planning) and report.when == "call" and call.excinfo and run.pardons(call.excinfo.value):
        report.outcome, report.longrepr = "passed", None
    error = call.excinfo.value if call.excinfo is not None else None
    if run is not None and report.when == "call":
        report.user_properties += [("hosts", list(run.touched)), ("notes", list(run.notes)), ("warned", run.warned)]
        report.user_properties += [("table", list(run.table)), ("sources", list(run.sources))]
        report.user_properties += [("told", block.told(error, run.inventory))]
        error = _end_stage(run, item.nodeid, report) or error
    looks = config.stash[PROCEDURE].looks
    if report.when == "call" and (report.passed or looks):
        config.stash[PASSED] = config.stash.get(PASSED, 0) + 1
    if report.failed and STOPPED_AT not in config.stash and not looks:
        config.stash[STOPPED_AT] = item.nodeid
        if error is not None:
            config.stash[FAILURE] = error
    if report.when == "call" and isinstance(run, Planning):
        texts = (getattr(item, "cls", None).__doc__, getattr(item, "function", None).__doc__)
        report.user_properties.append(("plan", run.describe(*texts)))
    return report


def _end_stage(run: Run, nodeid: str, report: pytest.TestReport) -> EvidenceError | None:
    """A stage that holds and leaves no evidence has failed."""
    try:
        run.end(nodeid, report.outcome, report.duration, str(report.longrepr or ""))
    except EvidenceError as error:
        if report.passed:
            report.outcome, report.longrepr = "failed", redact(str(error))
            return error
    return None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: Any) -> None:
    config = session.config
    run = config.stash.get(RUN, None)
    collected_only = config.getoption("collectonly")
    skipped = run is not None and bool(run.skipped)
    done = config.stash.get(PASSED, 0) == len(session.items) or collected_only or skipped
    if PROCEDURE in config.stash and int(exitstatus) == int(pytest.ExitCode.OK) and not done:
        # --setup-only, --setup-plan and the like: nothing was carried out, so it must not look as if it had been
        session.exitstatus = exitstatus = pytest.ExitCode.TESTS_FAILED
    reporter = config.pluginmanager.getplugin("terminalreporter")
    stopped_at = config.stash.get(STOPPED_AT, None)
    if run is None:
        if stopped_at is not None and isinstance(reporter, Reporter):  # before a host was asked
            reporter.ending = block.ending(_ended(config, None, "refused", stopped_at))
            reporter.closing = _told_outside(config, "refused", None, failed=True)
        return
    outcome, stopped_at = _came_to(config, run, exitstatus, done, stopped_at)
    lacking, path = [], None
    try:
        path = run.close(outcome, stopped_at, config.stash[STARTED])
    except EvidenceError as error:
        if outcome != "interrupted" and FAILURE not in config.stash:
            config.stash[FAILURE], stopped_at, outcome = error, run.stage, "stopped"
            session.exitstatus = exitstatus = pytest.ExitCode.TESTS_FAILED
        elif not isinstance(config.stash.get(FAILURE, None), EvidenceError):
            lacking = [f"The evidence ends too early: {error.what}."]
    if run.acts and not run.skipped:  # neither good news nor bad
        lacking += _told_outside(config, outcome, path, failed=int(exitstatus) != int(pytest.ExitCode.OK))
    summary = programs.written(path) if path else run.summary(outcome, stopped_at, config.stash[STARTED])
    config.stash[SUMMARY] = summary
    lacking += _measured(config, run, summary, int(exitstatus) == int(pytest.ExitCode.OK))
    programs.told_to_junit(config, summary, run.journal.directory)
    if config.getoption("detailed_exitcode"):
        session.exitstatus = programs.detailed(run, outcome, int(exitstatus))
    if isinstance(reporter, Reporter):
        reporter.closing = [*run.closing(outcome), *([run.unsigned] if run.unsigned else []), *lacking]
        reporter.untold = run.unanchored
        reporter.ending = block.ending(_ended(config, run, outcome, stopped_at))


def _came_to(
    config: pytest.Config, run: Run, exitstatus: Any, done: bool, stopped_at: str | None
) -> tuple[str, str | None]:
    """The outcome in a word, and the stage where it stopped."""
    procedure = config.stash[PROCEDURE]
    if int(exitstatus) == int(pytest.ExitCode.OK) and run.skipped:
        return "skipped", None
    if int(exitstatus) == int(pytest.ExitCode.OK) or (done and run.handed_in.get("findings")):
        return ("planned" if isinstance(run, Planning) else procedure.outcome), stopped_at
    if int(exitstatus) == int(pytest.ExitCode.INTERRUPTED):
        return "interrupted", run.stage
    refused = stopped_at is not None and procedure.refuses in stopped_at
    return procedure.fails or ("refused" if refused else "stopped"), stopped_at


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last thing of all, and with --json the only one on standard output."""
    if config.getoption("json") and SUMMARY in config.stash:
        print(programs.text(config.stash[SUMMARY]), flush=True)


def _told_outside(config: pytest.Config, outcome: str, summary: Path | None, failed: bool) -> list[str]:
    """Runs the inventory's line for how it ended. What goes wrong with it is said, and changes nothing else."""
    inventory = config.stash.get(INVENTORY, None)
    lines = inventory.hooks if inventory else None
    line = (lines.on_failure if failed else lines.on_success) if lines else None
    if lines is None or line is None or config.getoption("collectonly") or config.getoption("plan"):
        return []
    there = str(summary.absolute()) if summary and summary.exists() else ""
    environment = {"REQUORUM_OUTCOME": outcome, "REQUORUM_SUMMARY": there}
    wrong = attempt(line, environment, lines.seconds)
    return [f"hooks.{'on_failure' if failed else 'on_success'} did not work: {wrong}."] if wrong else []


def _measured(config: pytest.Config, run: Run, summary: Mapping[str, object], success: bool) -> list[str]:
    """Writes the inventory's textfile; a plan and a night that was passed over change nothing in it."""
    inventory = config.stash.get(INVENTORY, None)
    if inventory is None or not inventory.metrics or run.skipped or config.getoption("plan"):
        return []
    procedure = config.stash[PROCEDURE].directory.removeprefix("runbook").strip("/") or "recovery"
    at = datetime.now(UTC)
    try:
        metrics.write(inventory, metrics.ended(procedure, success, at, run.seconds, summary), at)
    except OSError as error:
        return [f"metrics were not written to {inventory.metrics}: {error.strerror}."]
    return []


def _ended(config: pytest.Config, run: Run | None, outcome: str, stopped_at: str | None) -> block.Ended:
    """How the run ended, for its last lines. `run` None: before a host was asked."""
    error = None if outcome == "interrupted" else config.stash.get(FAILURE, None)
    said, inventory = _said(config, error), config.stash.get(INVENTORY, None)
    if run is None:
        return block.Ended(said, stopped_at, error, inventory, did=Did(unasked=True, outcome=outcome))
    acts = run.acts and not run.options.looks
    did = Did(
        phase=run.mark.phase if run.acts else Phase.OPEN,  # a plan went nowhere
        run=run.mark.run,
        token=run.mark.token,
        reached=run.reached,
        changed=run.changed,
        acts=acts,
        carried_on=run.carrying_on,
        outcome=outcome,
        lost=run.lost,
        loss=_loss(run) if _is_chosen(stopped_at) else "",
    )
    lock = f"the lock may still be on {locks.place(run.terms)}" if run.lock else "the lock is released" * run.let_go
    return block.Ended(said, stopped_at, error, run.inventory, run.seen, did, _kept(run), lock)


def _kept(run: Run) -> str:
    """What of the evidence is to be read."""
    return str(run.page if run.page.exists() else run.journal.path.absolute())


def _is_chosen(stage: str | None) -> bool:
    """Steps 0 and 1 end with the choice of the data: before that nobody knows what would be lost."""
    return not re.search(r"::TestStep[01]", stage or "")


def _loss(run: Run) -> str:
    """Why going on may lose writes, once the data is chosen; "" where nothing is known to be missing."""
    told = run.handed_in
    loss = told.get("data_loss")
    if not told.get("snapshot") or not isinstance(loss, dict) or loss["certain"] == loss["possible"] == 0:
        return ""
    return str(loss["why"])


def _said(config: pytest.Config, error: BaseException | None = None) -> ways.Said:
    """How this run was called, and what it must be called with to go on after `error`."""
    names = (
        "--plan",
        "--confirm",
        "--snapshot",
        "--salvage",
        "--skip-hash",
        "--rebuild",
        "--gone",
        "--discard-new-writes",
        "--members",
        "--off",
        "--seconds",
        "--since",
        "--concurrency",
        "--ask-become-pass",
    )
    options = [(name, config.getoption(name)) for name in names]
    more = error.words if isinstance(error, NotConfirmed) else ()
    given = accepted.split(config.getoption("accept"))
    options += [("--accept", ",".join(words))] if (words := dict.fromkeys((*given, *more))) else []
    run = config.stash.get(RUN, None)  # what the hosts are like after a change was never approved
    if isinstance(error, NotApproved):
        options[0] = ("--plan", True)
    elif run is None or run.mark.phase is Phase.OPEN:
        options += [("--approved", config.getoption("approved"))]
    options += [("--evidence", e)] if (e := config.getoption("evidence")) != "evidence" else []
    options += [("--timeout-scale", scale)] if (scale := config.getoption("timeout_scale")) != 1 else []
    place = str(config.invocation_params.dir)
    program = ways.program(sys.argv[0], sys.executable, place)
    directory, hosts = config.stash[PROCEDURE].directory, config.getoption("hosts")
    root = "" if Path(place).resolve() == ROOT.resolve() else str(ROOT)
    return ways.Said(program, directory, hosts, ways.words(options), place, root)
