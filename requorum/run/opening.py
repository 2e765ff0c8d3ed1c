"""What a journal says first: who runs it, with which versions, which machines are gone and how each is retired.

Pure; `conftest.py` records it once the hosts are known, and `report` shows it.
"""

from __future__ import annotations

import platform
from importlib.metadata import version

from requorum.cluster import deephaven
from requorum.command import LONG, Command
from requorum.run.terms import Terms

# With the distribution's name, as pip knows it.
SHOWN = {"pytest": "pytest", "testinfra": "pytest-testinfra"}


def retire(terms: Terms) -> list[Command]:
    """For each machine that is gone by the operator's word, what takes it out of service should it ever come back.

    Never run from here: nobody can reach it. An old member could still serve clients that know its address.
    """
    inventory = terms.inventory
    members = {member.host for member in inventory.old_members}
    plan: list[Command] = []
    for host in terms.gone:
        if host in inventory.deephaven.hosts:
            plan.append(deephaven.monit(inventory, host, up=False))
        if host in members:
            disable = ("systemctl", "disable", "--now", inventory.etcd.unit)
            plan.append(Command(host, disable, "the old member must not serve old configuration", deadline=LONG))
    return plan


def versions() -> dict[str, str]:
    """Of what runs here; the hosts' own are in the summary."""
    return {"Python": platform.python_version(), **{name: version(package) for name, package in SHOWN.items()}}


def fields(terms: Terms, operator: str) -> dict[str, object]:
    """The fields of the `run` record."""
    return {
        "cluster": terms.inventory.cluster,
        "run": terms.mark.run,
        "operator": operator,
        "versions": versions(),
        "retire": [{"host": c.host, "command": c.line(), "why": c.why} for c in retire(terms)],
    }
