"""What is done on the host that boots a backup: pure functions that return commands.

All of it lies in one directory of this run, and runs with limits in a slice of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from requorum.cluster import archive, etcd, sandbox
from requorum.cluster.etcd import MemberConfig, Tools
from requorum.cluster.sandbox import WAL_BYTES, Boot
from requorum.command import BESIDE_STOP, LOGINS, Action, Command, Copy, act, act_long, beside, look
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
    """Where something is written: passwords are packed on the configuration server."""
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


def bring(terms: Terms, host: str, source: Source, roles: Sequence[str]) -> list[Action]:
    """The snapshot from this machine, no faster than `verify.rate`, and every role's password beside it."""
    base, at = marker.directory(terms.inventory.cluster), place(terms)
    plan: list[Action] = [
        act(each, "install", "-d", "-m", "700", marker.BASE, base, at, why="a place for the proof, for root only")
        for each in hosts(terms, host)
    ]
    plan += sandbox.make_room(host, at, terms.inventory.etcd.user)
    plan.append(
        Copy(
            source.path,
            ((host, f"{at}/snapshot.db"),),
            "the backup to where it is booted",
            sha256=source.sha256,
            bytes=source.bytes,
            most=source.bytes if source.packed else 0,
            packed=source.packed,
            rate=terms.inventory.verify.rate * 1_000_000,
        )
    )
    return [*plan, *(_bring_logins(terms, host, roles) if roles else ())]


def _bring_logins(terms: Terms, host: str, roles: Sequence[str]) -> list[Action]:
    """From the client configuration of the configuration server, of which a copy is packed there."""
    server, at, client = terms.configuration_server, place(terms), terms.inventory.deephaven.client_config
    packed, brought = f"{at}/{LOGINS}", f"{at}/brought/{LOGINS}"
    files = [f"client/{role}/{name}" for role in roles for name in ("user", "password")]
    as_files = ("--dereference", "--hard-dereference")
    pack = ("tar", "--create", "--sparse", f"--file={packed}", f"--directory={at}", *as_files, *files)
    unpack = ("tar", "--extract", f"--file={brought}", f"--directory={at}/logins")
    as_root = ("--strip-components=1", "--no-same-owner")
    return [
        act(server, "cp", "-a", client, f"{at}/client", why="every role's password, for root only"),
        act(server, "install", "-m", "600", "/dev/null", packed, why="a file that only root reads"),
        *beside([act_long(server, *pack, why="pack every role's password")]),
        Copy(packed, ((host, brought),), "every role's password", server),
        act(server, "rm", "-rf", packed, f"{at}/client", why="the packed passwords are not needed any more"),
        archive.judge(host, brought, "client", "every role's password"),
        *beside([act_long(host, *unpack, *as_root, why="unpack every role's password")]),
        act(host, "rm", "-rf", f"{at}/brought", why="the packed passwords are not needed any more"),
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


def boot(terms: Terms, host: str, revision: int, size: int) -> list[Command]:
    """In isolation; the last command's output is for `sandbox.parse`."""
    plan = sandbox.boot(
        host, KIND, terms.mark.run, place(terms), terms.inventory, boots(terms), prefixes(terms), revision, size
    )
    return beside(plan)


def prefixes(terms: Terms) -> tuple[str, ...]:
    """What is counted: all keys, and the prefixes that the inventory expects something of."""
    return ("", *terms.inventory.expect.prefixes)
