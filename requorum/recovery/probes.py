"""What proofs do on hosts before and after they look: pure planners, so that `--plan` shows them too.

All of it is removed again: a copy of a database to read, a client configuration with a wrong password, a key written
through each member. `proofs` runs these and judges what it sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from requorum.cluster import deephaven, etcdctl
from requorum.cluster.etcd import EtcdError, MemberConfig, Tools
from requorum.command import Command, Result, act, act_long
from requorum.deadlines import HUGE
from requorum.hosts.question import Question
from requorum.run.terms import Terms
from requorum.snapshots import beginning, on_host


def read_stopped_members(
    terms: Terms, configs: Mapping[str, MemberConfig], tools: Mapping[str, Tools]
) -> list[Command]:
    """The revision on each stopped member's disk, of a copy of its database. Shape: host → its old configuration."""
    plan: list[Command] = []
    for host, config in configs.items():
        copy, database = terms.place("after.db"), f"{config.data_dir}/member/snap/db"
        plan += [
            act_long(host, "cp", database, copy, why="read a copy, never the original", deadline=HUGE),
            *ask_revision(terms, host, tools).commands,
            Command(host, ("rm", "-f", copy), "the copy is not needed any more"),
        ]
    return plan


def ask_revision(terms: Terms, host: str, tools: Mapping[str, Tools]) -> Question[tuple[int, int] | str]:
    """Of the copy, in the middle of `read_stopped_members`."""
    tool = tools[host].restorer if host in tools else "etcdctl"
    return etcdctl.ask_snapshot(host, tool, terms.place("after.db"), "revision on the member's disk")


def read_databases(terms: Terms, databases: Mapping[str, str]) -> list[Command]:
    """The revision in each stopped member's database, of a copy: three commands a host. Shape: host → its path. What
    cannot be copied or read says nothing of the others."""
    copy = terms.place("written.db")
    plan: list[Command] = []
    for host, database in databases.items():
        copying = act_long(host, "cp", database, copy, why="read a copy, never the original", deadline=HUGE)
        plan += [
            replace(copying, accept=None),
            *on_host.ask_status(host, copy).commands,
            Command(host, ("rm", "-f", copy), "the copy is not needed any more"),
        ]
    return plan


def revisions(terms: Terms, databases: Mapping[str, str], done: Sequence[Result]) -> dict[str, int | str]:
    """host → the revision, or why it cannot be told. `done`: what was said to `read_databases`."""
    found: dict[str, int | str] = {}
    for host in databases:
        copied, status, _ = (result for result in done if result.command.host == host)
        read = on_host.ask_status(host, terms.place("written.db")).understand([status])
        if copied.code:
            found[host] = f"its database could not be copied: {copied.words}"
        else:
            found[host] = f"its database cannot be read: {read.why}" if isinstance(read, on_host.Unread) else read[0]
    return found


def spoiled_login(terms: Terms) -> str:
    """The directory of a client configuration whose password is wrong."""
    return terms.place("wrong")


def spoil_login(terms: Terms, role: str) -> list[Command]:
    host, scratch = terms.configuration_server, spoiled_login(terms)
    return [
        act(host, "rm", "-rf", scratch, why="clear what an interrupted run left"),
        act(
            host,
            "cp",
            "-a",
            f"{terms.inventory.deephaven.client_config}/{role}",
            scratch,
            why="a client configuration to spoil",
        ),
        Command(
            host,
            ("dd", f"of={scratch}/password", "status=none"),
            "a password that is wrong",
            stdin=b"not-the-password\n",
        ),
    ]


def remove_spoiled_login(terms: Terms) -> list[Command]:
    why = "the spoiled copy is not needed any more"
    return [act(terms.configuration_server, "rm", "-rf", spoiled_login(terms), why=why)]


def written(terms: Terms) -> str:
    """The prefix of the keys that are written and removed again."""
    return beginning.probed(terms).decode()


def write_through(terms: Terms, endpoints: Sequence[str]) -> list[Command]:
    """One key through each member; its value is the endpoint. None waits for another."""
    puts = [
        _etcdctl(
            terms,
            f"--endpoints={endpoint}",
            "put",
            f"{written(terms)}{number}",
            endpoint,
            why=f"write through {endpoint}",
        )
        for number, endpoint in enumerate(endpoints, start=1)
    ]
    return [replace(put, lane=str(number)) for number, put in enumerate(puts)]


def ask_written(terms: Terms, endpoint: str) -> Question[list[str] | str]:
    """The values of these keys as read through one member, or why there are none."""
    words = (f"--endpoints={endpoint}", "get", written(terms), "--prefix", "--print-value-only")
    command = deephaven.etcdctl(terms.inventory, *words, why=f"read through {endpoint}")
    return Question(command, lambda answer: answer.stdout.split() or answer.words)


def remove_written(terms: Terms) -> list[Command]:
    return [*ask_removed(terms).commands]


def ask_removed(terms: Terms) -> Question[tuple[int, int]]:
    """Of `remove_written`: how many keys went and with which revision; (0, 0) where its answer does not say."""

    def read(answer: Result) -> tuple[int, int]:
        try:
            return etcdctl.parse_deleted(answer.stdout)
        except (EtcdError, AttributeError, TypeError, ValueError, OverflowError):
            return 0, 0

    words = ("del", written(terms), "--prefix", "-w", "json")
    return Question(_etcdctl(terms, *words, why="remove the probe's keys again"), read)


@dataclass(frozen=True)
class Reached:
    """The store's `revision` once the probe's keys are gone; up to it `own` revisions are the probe's."""

    revision: int
    own: int


def reached(terms: Terms, wrote: int, done: Sequence[Result]) -> Reached | None:
    """What was said to `remove_written` after so many keys were written; None where not these went."""
    deleted, revision = ask_removed(terms).understand(done)
    return Reached(revision, wrote + 1) if deleted == wrote and revision else None


def _etcdctl(terms: Terms, *arguments: str, why: str) -> Command:
    return replace(deephaven.etcdctl(terms.inventory, *arguments, why=why), changes=True, accept=(0,))
