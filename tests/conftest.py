"""Settings of all tests. Time never decides a test, so Hypothesis keeps no deadline for one example."""

import os
import signal

import pytest

try:
    from hypothesis import settings
except ModuleNotFoundError:  # in a bundle, where pytest reads this too if a command line names nothing that is there
    settings = None  # type: ignore[assignment,misc]

# Each of pytest-xdist's workers has a lab of its own, before anything reads where that is.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ["REQUORUM_LAB"] = worker

if settings is not None:
    settings.register_profile("requorum", deadline=None, print_blob=True)
    settings.load_profile("requorum")


def pytest_sessionstart(session: pytest.Session) -> None:
    """What the runs that tests start say is looked for in whole sentences: none is wrapped."""
    if settings is None:
        remedy = "./setup python3 lab; or name what to run: pytest runbook --hosts=NAME --check"
        raise pytest.UsageError(f"the tests need packages that a runbook does not\n    → {remedy}")
    writer = session.config.get_terminal_writer()
    writer.fullwidth = writer.fullwidth
    os.environ["COLUMNS"] = "400"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; what is started inherits it
        signal.signal(signal.SIGINT, signal.default_int_handler)
