"""What is done on the host that boots a backup: pure functions that return commands.

All of it lies in one directory of this run, and runs with limits in a slice of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from requorum.cluster import etcd, sandbox
from requorum.cluster.etcd import MemberConfig, Tools
from requorum.cluster.logins import packed
from requorum.cluster.sandbox import WAL_BYTES, Boot
from requorum.command import BESIDE_STOP, Action, Command, Copy, act, act_long, beside, look
from requorum.hosts.question import Question, complete
from requorum.run import marker
from requorum.run.terms import Terms
from requorum.snapshots.snapshot import Source
from requorum.snapshots.unpacked import SPARE_BYTES

KIND = "verify"
NAME = "verify"
PEER = "http://127.0.0.1:2380"  # nothing else is in the boot's network
NEEDED = ("openssl", "setpriv", "curl", "etcd", "etcdctl")


def place(terms: Terms) -> str:
    """This run's own directory; nothing else is written on any host."""
    return marker.directory(terms.inventory.cluster, f"{KIND}-{terms.mark.run}")


def bytes_needed(snapshot: int) -> int:
    """The snapshot and one restored member."""
    return 2 * snapshot + WAL_BYTES + SPARE_BYTES


def hosts(terms: Terms, host: str) -> tuple[str, ...]:
    """Where something of it may lie: a proof of before packed passwords on the configuration server."""
    return tuple(dict.fromkeys((host, terms.configuration_server)))


def clear(terms: Terms, host: str) -> list[Command]:
    """Ends what a proof that was cut off left running, and removes what it left; the same tidies up afterwards."""
    base, plan = marker.directory(terms.inventory.cluster), []
    for each in hosts(terms, host):
        below = ("-mindepth", "1", "-maxdepth", "1", "-name", f"{KIND}-*")
        plan += [
            Command(each, BESIDE_STOP, "end what a proof of a backup left running", accept=(0, 5)),
            act(
                each,
                "find",
                base,
                *below,
                "-exec",
                "rm",
                "-rf",
                "{}",
                "+",
                why="nothing of it stays on the host",
                accept=(0, 1),
            ),
        ]
    return plan


def tidy(terms: Terms, host: str) -> list[Command]:
    """And the cluster's own directory, where no marks or other runs lie in it."""
    empty = ("rmdir", "--ignore-fail-on-non-empty", marker.directory(terms.inventory.cluster), marker.BASE)
    return [
        *clear(terms, host),
        *(act(each, *empty, why="nor an empty directory", accept=(0, 1)) for each in hosts(terms, host)),
    ]


def ask_left(terms: Terms, host: str) -> Question[str | None]:
    """What is left there, None where nothing is. A listing that failed or was cut is neither."""
    base = marker.directory(terms.inventory.cluster)
    command = look(
        host, "find", base, "-mindepth", "1", "-maxdepth", "1", "-name", f"{KIND}-*", why="whether anything was left"
    )
    return Question(command, lambda answer: complete(answer).stdout.strip() or None)


def bring(terms: Terms, host: str, source: Source) -> list[Action]:
    """The snapshot from this machine, no faster than `verify.rate`."""
    base, at = marker.directory(terms.inventory.cluster), place(terms)
    plan: list[Action] = [
        act(host, "install", "-d", "-m", "700", marker.BASE, base, at, why="a place for the proof, for root only")
    ]
    plan += sandbox.make_room(host, at, terms.inventory.etcd.user)
    return [
        *plan,
        Copy(
            source.path,
            ((host, f"{at}/snapshot.db"),),
            "the backup to where it is booted",
            sha256=source.sha256,
            bytes=source.bytes,
            most=source.bytes if source.packed else 0,
            packed=source.packed,
            rate=terms.inventory.verify.rate * 1_000_000,
        ),
    ]


def token(terms: Terms) -> str:
    """Its own, so that what is restored could never join anything."""
    return f"{KIND}-{terms.mark.run}"


def restore(terms: Terms, host: str, tools: Tools, bump: int) -> list[Command]:
    """As one member. `bump` 0: as the backup is; else with the recovery's own flags."""
    at = place(terms)
    config = MemberConfig(NAME, token(terms), f"{at}/room/1", PEER, (), f"{NAME}={PEER}", None, None, None, False, 1.0)
    note = (f"{at}/restored", "for the proof")
    steps = etcd.restore(host, tools, config, f"{at}/snapshot.db", terms.inventory.etcd.user, bump, note)
    again = act_long(host, "rm", "-rf", f"{at}/room/1", why="what was restored before goes")
    return [*beside([again, *steps]), *sandbox.make_room(host, at, terms.inventory.etcd.user)]


def boots(terms: Terms) -> list[Boot]:
    return [Boot(1, NAME, PEER, "127.0.0.1", f"{NAME}={PEER}", token(terms))]


def boot(
    terms: Terms, host: str, revision: int, size: int, roles: Sequence[str], hidden: Sequence[str] = ()
) -> list[Command]:
    """In isolation; the last command's output is for `sandbox.parse`. Roles log in by the configuration server's own
    client configuration."""
    of = (boots(terms), prefixes(terms), revision, size, hidden)
    client, whose = terms.inventory.deephaven.client_config, "every role's password"
    logins = packed(terms.configuration_server, client, roles, whose) if roles else None
    return beside(
        sandbox.boot(host, KIND, terms.mark.run, place(terms), terms.inventory, *of, roles=roles, logins=logins)
    )


def prefixes(terms: Terms) -> tuple[str, ...]:
    """What is counted: all keys, and the prefixes that the inventory expects something of."""
    return ("", *terms.inventory.expect.prefixes)
