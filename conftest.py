"""The front door: options, --hosts to cluster, the gate that stops at the first failure, evidence at the end.

Only a run that names hosts (`--hosts`) or collects from `runbook/` is a run of the runbook; everything else is our own
tests and passes through untouched. What the stages do is in `runbook/`, how it looks in `requorum/terminal.py`.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from requorum import inventory as inventories
from requorum import opening, selection, snapshot, stages
from requorum.cluster import Cluster, Options
from requorum.fleet import Fleet
from requorum.inventory import Inventory
from requorum.journal import Journal, now
from requorum.refusal import Refusal
from requorum.terminal import Reporter

ROOT = Path(__file__).parent
PROCEDURE = pytest.StashKey[stages.Procedure]()
INVENTORY = pytest.StashKey[Inventory]()
CLUSTER = pytest.StashKey[Cluster]()
STARTED = pytest.StashKey[str]()
STOPPED_AT = pytest.StashKey[str]()
PASSED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    # testinfra's plugin owns --hosts; a bare name there would mean a host, here it means an inventory.
    group = parser.getgroup("requorum", "the runbook")
    group.addoption("--confirm", metavar="CLUSTER", help="the cluster's name, instead of being asked for it")
    group.addoption("--snapshot", metavar="FILE", help="the snapshot to restore, on this machine")
    group.addoption("--rebuild", action="store_true", help="rebuild although quorum is intact or could be restarted")
    group.addoption("--gone", metavar="HOST,…", help="machines that are fenced or destroyed, on your word")
    group.addoption("--members", metavar="NAME,…", help="troubleshooting: the members it is about")
    group.addoption("--off", action="store_true", help="debug_logging: turn it off again")
    group.addoption("--seconds", metavar="N", type=int, help="run_directly: how long")
    group.addoption("--evidence", metavar="DIR", default="evidence", help="where evidence is kept")
    group.addoption("--concurrency", metavar="N", type=int, help="hosts worked on at the same time")
    group.addoption("--timeout-scale", metavar="F", type=float, default=1.0, help="stretches every poll's deadline")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    undecided = stages.undecided(config.args, config.invocation_params.dir, ROOT)
    if undecided:
        raise pytest.UsageError(f"several procedures are below that directory\n    → name one: {', '.join(undecided)}")
    procedure = stages.named(config.args, config.invocation_params.dir, ROOT)
    hosts = config.getoption("hosts")
    if not hosts and (procedure is None or procedure.needs_hosts):
        return
    if not __debug__:
        raise pytest.UsageError("PYTHONOPTIMIZE strips assertions, and they are the proof: unset it")
    config.stash[PROCEDURE] = procedure or stages.PROCEDURES[0]
    try:
        if not hosts and not config.getoption("snapshot"):
            raise pytest.UsageError("the drill needs --snapshot=FILE, or --hosts=NAME, whose newest backup it takes")
        if hosts:
            inventory = inventories.load(inventories.find(hosts, ROOT))
            _check_options(config, inventory)
            config.stash[INVENTORY] = inventory
    except Refusal as refusal:
        raise pytest.UsageError(str(refusal)) from None
    plain = config.pluginmanager.getplugin("terminalreporter")
    if plain is not None:
        config.pluginmanager.unregister(plain)
        config.pluginmanager.register(Reporter(config), "terminalreporter")


def _gone(config: pytest.Config) -> tuple[str, ...]:
    return tuple(name.strip() for name in (config.getoption("gone") or "").split(",") if name.strip())


def _check_options(config: pytest.Config, inventory: Inventory) -> None:
    """Whatever can be seen wrong with the command line without asking any host."""
    config_file = inventory.transport.ssh_config
    if config_file and not Path(config_file).is_file():
        raise Refusal(f"transport.ssh_config: {config_file}", "does not exist", "correct it in the inventory")
    own = {name: config.getoption(name) for name in ("members", "off", "seconds")}
    selection.check(config.stash[PROCEDURE], inventory, own)
    named = config.getoption("snapshot") or inventory.snapshot.file
    if (
        named and config.stash[PROCEDURE] is stages.PROCEDURES[0]
    ):  # only the recovery restores it on the inventory's machines
        snapshot.verify(Path(named))
    concurrency, scale = config.getoption("concurrency"), config.getoption("timeout_scale")
    if concurrency is not None and concurrency < 1:
        raise Refusal(f"--concurrency={concurrency}", "must be at least 1", "leave it out")
    if scale <= 0:
        raise Refusal(f"--timeout-scale={scale}", "must be above 0", "leave it out")
    for host in _gone(config):
        if host not in inventory.hosts:
            known = ", ".join(inventory.hosts)
            raise Refusal(f"--gone={host}", "is no host of the inventory", f"one of {known}")
        if host in {member.host for member in inventory.members}:
            raise Refusal(
                f"--gone={host}",
                "is a member of the cluster to build",
                "put a spare in its place under members, and keep the old one under old_members",
            )
        if host == inventory.deephaven.configuration_server:
            raise Refusal(f"--gone={host}", "is the configuration server", "name its replacement in the inventory")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A procedure below `runbook/` is collected only when it is named: `pytest runbook` is the recovery alone."""
    if ROOT / "runbook" not in collection_path.parents:
        return None
    return stages.is_unnamed(collection_path, config.args, config.invocation_params.dir, ROOT) or None


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_collection_finish(session: pytest.Session) -> Generator[None, None, None]:
    yield
    config = session.config
    collected = [item.nodeid for item in session.items]
    if PROCEDURE not in config.stash:
        if any(nodeid.startswith("runbook/") for nodeid in collected):
            raise pytest.UsageError("the runbook needs --hosts=NAME, a file in inventory/")
        return
    if collected and not any(nodeid.startswith("runbook/") for nodeid in collected):
        raise pytest.UsageError("--hosts is for the runbook\n    → name it: pytest runbook --hosts=NAME")
    difference = stages.difference(collected, ROOT)
    if difference:
        directory = config.stash[PROCEDURE].directory
        raise pytest.UsageError(
            f"the stages must be exactly the runbook's, in its order: {difference}\n"
            f"    → run `pytest {directory} --hosts=NAME` without options that select, sort or repeat stages"
        )
    if config.stash[PROCEDURE].confirms and not config.getoption("collectonly"):
        _confirm(config, config.stash[INVENTORY].cluster, config.stash[PROCEDURE].does)


def _confirm(config: pytest.Config, cluster: str, does: str) -> None:
    """The cluster's name from --confirm or from the terminal; a wrong one ends the run before any host is asked."""
    word = config.getoption("confirm")
    if word is None:
        try:
            with Path("/dev/tty").open("r+b", buffering=0) as tty:
                tty.write(f"\nThis {does}. Type its name to go on ({cluster}): ".encode())
                word = tty.readline().decode(errors="replace").strip()
        except OSError:
            raise pytest.UsageError(f"nobody is there to confirm\n    → add --confirm={cluster}") from None
    if word != cluster:
        raise pytest.UsageError(
            f"--confirm: {word!r} is not the name of this cluster\n    → it is {cluster}; nothing was done"
        )


# -- the run -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", name="_run")
def _run_fixture(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    with opened(pytestconfig, pytestconfig.stash[INVENTORY]) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def named_inventory(pytestconfig: pytest.Config) -> Inventory | None:
    """The inventory that `--hosts` names; None where a procedure does without."""
    return pytestconfig.stash.get(INVENTORY, None)


@pytest.fixture(scope="session")
def open_run(pytestconfig: pytest.Config) -> Callable[[Inventory, str | None], AbstractContextManager[Cluster]]:
    """For a procedure that runs on other machines than the named inventory's: `opened`, with its evidence's name."""
    return partial(opened, pytestconfig)


def options_of(config: pytest.Config) -> Options:
    """The operator's words as one value."""
    return Options(
        snapshot=config.getoption("snapshot"),
        rebuild=config.getoption("rebuild"),
        gone=_gone(config),
        evidence=Path(config.getoption("evidence")),
        concurrency=config.getoption("concurrency"),
        timeout_scale=config.getoption("timeout_scale"),
        members=config.getoption("members") or "",
        off=config.getoption("off"),
        seconds=config.getoption("seconds") or selection.SECONDS,
        operator=f"{getpass.getuser()}@{socket.gethostname()} (process {os.getpid()})",
    )


@contextmanager
def opened(config: pytest.Config, inventory: Inventory, name: str | None = None) -> Iterator[Cluster]:
    """One run on the machines of `inventory`, with evidence under `name` (default: the cluster's)."""
    options = options_of(config)
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    journal = Journal.create(options.evidence / (name or inventory.cluster), started)
    config.stash[STARTED] = now()
    with Fleet(inventory, journal, options.concurrency) as fleet:
        cluster = Cluster(inventory, options, journal, fleet)
        config.stash[CLUSTER] = cluster
        journal.record("run", **opening.fields(cluster.terms, options.operator))
        yield cluster
        cluster.anchor()


@pytest.fixture
def cluster(_run: Cluster, request: pytest.FixtureRequest) -> Cluster:
    """The cluster that is being recovered; each stage starts with empty notes."""
    _run.begin(request.node.nodeid)
    return _run


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    stopped_at = item.config.stash.get(STOPPED_AT, None)
    if stopped_at is not None:
        pytest.skip(f"the runbook stopped at {stopped_at.rsplit('::', 1)[-1]}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    config = item.config
    if PROCEDURE not in config.stash:
        return report
    cluster = config.stash.get(CLUSTER, None)
    if call.excinfo is not None and isinstance(call.excinfo.value, Refusal):
        report.longrepr = str(call.excinfo.value)  # a sentence for the operator, not a traceback
    if report.passed and report.when == "call":
        config.stash[PASSED] = config.stash.get(PASSED, 0) + 1
    if report.failed and STOPPED_AT not in config.stash:
        config.stash[STOPPED_AT] = item.nodeid
    if cluster is not None and report.when == "call":
        report.user_properties += [("hosts", list(cluster.touched)), ("notes", list(cluster.notes))]
        report.user_properties += [("table", list(cluster.table))]
        cluster.end(item.nodeid, report.outcome, report.duration, str(report.longrepr or ""))
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: Any) -> None:
    config = session.config
    cluster = config.stash.get(CLUSTER, None)
    collected_only = config.getoption("collectonly")
    done = config.stash.get(PASSED, 0) == len(session.items) or collected_only
    if PROCEDURE in config.stash and int(exitstatus) == int(pytest.ExitCode.OK) and not done:
        # --setup-only, --setup-plan and the like: nothing was carried out, so it must not look as if it had been
        session.exitstatus = exitstatus = pytest.ExitCode.TESTS_FAILED
    if cluster is None:
        return
    stopped_at = config.stash.get(STOPPED_AT, None)
    if int(exitstatus) == int(pytest.ExitCode.OK):
        outcome = config.stash[PROCEDURE].outcome
    elif int(exitstatus) == int(pytest.ExitCode.INTERRUPTED):
        outcome, stopped_at = "interrupted", cluster.stage
    else:
        outcome = "refused" if stopped_at and "step_0" in stopped_at else "stopped"
    cluster.close(outcome, stopped_at, config.stash[STARTED])
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if isinstance(reporter, Reporter):
        reporter.closing = cluster.closing(outcome)
