"""The front door: options, --hosts to cluster, the gate that stops at the first failure, evidence at the end.

Only a run that names hosts (`--hosts`) or collects from `runbook/` is a run of the runbook; everything else is our own
tests and passes through untouched. What the stages do is in `runbook/`, how it looks in `requorum/terminal.py`.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from requorum import inventory as inventories
from requorum import snapshot, stages
from requorum.cluster import Cluster, Options
from requorum.fleet import Fleet
from requorum.inventory import Inventory
from requorum.journal import Journal, now
from requorum.refusal import Refusal
from requorum.terminal import Reporter

ROOT = Path(__file__).parent
INVENTORY = pytest.StashKey[Inventory]()
CLUSTER = pytest.StashKey[Cluster]()
STARTED = pytest.StashKey[str]()
STOPPED_AT = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    # testinfra's plugin owns --hosts; a bare name there would mean a host, here it means an inventory.
    group = parser.getgroup("requorum", "the runbook")
    group.addoption("--confirm", metavar="CLUSTER", help="the cluster's name, instead of being asked for it")
    group.addoption("--snapshot", metavar="FILE", help="the snapshot to restore, on this machine")
    group.addoption("--rebuild", action="store_true", help="rebuild although quorum is intact or could be restarted")
    group.addoption("--gone", metavar="HOST,…", help="machines that are fenced or destroyed, on your word")
    group.addoption("--evidence", metavar="DIR", default="evidence", help="where evidence is kept")
    group.addoption("--concurrency", metavar="N", type=int, help="hosts worked on at the same time")
    group.addoption("--timeout-scale", metavar="F", type=float, default=1.0, help="stretches every poll's deadline")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    hosts = config.getoption("hosts")
    if not hosts:
        return
    if not __debug__:
        raise pytest.UsageError("PYTHONOPTIMIZE strips assertions, and they are the proof: unset it")
    try:
        inventory = inventories.load(inventories.find(hosts, ROOT))
        _check_options(config, inventory)
    except Refusal as refusal:
        raise pytest.UsageError(str(refusal)) from None
    config.stash[INVENTORY] = inventory
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
    named = config.getoption("snapshot") or inventory.snapshot.file
    if named:
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


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_collection_finish(session: pytest.Session) -> Generator[None, None, None]:
    yield
    config = session.config
    collected = [item.nodeid for item in session.items]
    if INVENTORY not in config.stash:
        if any(nodeid.startswith("runbook/") for nodeid in collected):
            raise pytest.UsageError("the runbook needs --hosts=NAME, a file in inventory/")
        return
    if collected and not any(nodeid.startswith("runbook/") for nodeid in collected):
        raise pytest.UsageError("--hosts is for the runbook\n    → name it: pytest runbook --hosts=NAME")
    difference = stages.difference(collected, ROOT)
    if difference:
        raise pytest.UsageError(
            f"the stages must be exactly the runbook's, in its order: {difference}\n"
            "    → run `pytest runbook --hosts=NAME` without options that select, sort or repeat stages"
        )
    if not config.getoption("collectonly"):
        _confirm(config, config.stash[INVENTORY].cluster)


def _confirm(config: pytest.Config, cluster: str) -> None:
    """The cluster's name from --confirm or from the terminal; a wrong one ends the run before any host is asked."""
    word = config.getoption("confirm")
    if word is None:
        try:
            with Path("/dev/tty").open("r+b", buffering=0) as tty:
                tty.write(f"\nThis rebuilds the etcd cluster. Type its name to go on ({cluster}): ".encode())
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
    inventory = pytestconfig.stash[INVENTORY]
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    evidence = Path(pytestconfig.getoption("evidence"))
    options = Options(
        snapshot=pytestconfig.getoption("snapshot"),
        rebuild=pytestconfig.getoption("rebuild"),
        gone=_gone(pytestconfig),
        evidence=evidence,
        concurrency=pytestconfig.getoption("concurrency"),
        timeout_scale=pytestconfig.getoption("timeout_scale"),
        operator=f"{getpass.getuser()}@{socket.gethostname()} (process {os.getpid()})",
    )
    journal = Journal.create(evidence / inventory.cluster, started)
    pytestconfig.stash[STARTED] = now()
    with Fleet(inventory, journal, options.concurrency) as fleet:
        cluster = Cluster(inventory, options, journal, fleet)
        pytestconfig.stash[CLUSTER] = cluster
        journal.record("run", cluster=inventory.cluster, run=cluster.mark.run, operator=options.operator)
        yield cluster


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
    if INVENTORY not in config.stash:
        return report
    cluster = config.stash.get(CLUSTER, None)
    if call.excinfo is not None and isinstance(call.excinfo.value, Refusal):
        report.longrepr = str(call.excinfo.value)  # a sentence for the operator, not a traceback
    if report.failed and STOPPED_AT not in config.stash:
        config.stash[STOPPED_AT] = item.nodeid
    if cluster is not None and report.when == "call":
        report.user_properties += [("hosts", list(cluster.touched)), ("notes", list(cluster.notes))]
        cluster.end(item.nodeid, report.outcome, report.duration, str(report.longrepr or ""))
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: Any) -> None:
    config = session.config
    cluster = config.stash.get(CLUSTER, None)
    if cluster is None:
        return
    stopped_at = config.stash.get(STOPPED_AT, None)
    if int(exitstatus) == int(pytest.ExitCode.OK):
        outcome = "recovered"
    elif int(exitstatus) == int(pytest.ExitCode.INTERRUPTED):
        outcome, stopped_at = "interrupted", cluster.stage
    else:
        outcome = "refused" if stopped_at and "step_0" in stopped_at else "stopped"
    cluster.close(outcome, stopped_at, config.stash[STARTED])
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if isinstance(reporter, Reporter):
        reporter.closing = cluster.closing(outcome)
