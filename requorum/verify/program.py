"""What root runs for the proof: one program, root's own on its host, so that no login chooses anything of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from requorum.cluster import sandbox
from requorum.cluster.archive import JUDGE
from requorum.cluster.logins import MOST as MOST_OF_LOGINS
from requorum.cluster.sandbox import ALONE, BOOT_SECONDS, FAREWELL, FIRST_PLAIN_PORT, FIRST_PORT, Boot
from requorum.command import BESIDE, LIMITS, Brought, Command, act, look, transient
from requorum.deadlines import LINE_RATE, LONG, by_bytes, rung, stretched, wait
from requorum.hosts.question import Question, complete
from requorum.inventory import Inventory
from requorum.run import marker
from requorum.snapshots.snapshot import Source

TEXT = Path(__file__).with_suffix(".sh")
KIND = "verify"
NAME = "verify"
PEER = "http://127.0.0.1:2380"  # nothing else is in the boot's network
REMEDY = (
    "somebody who may do everything there puts it there once: ./setup hosts NAME, or by hand what ./setup hosts NAME "
    "--print prints (docs/verify.md#its-program)"
)


def path(inventory: Inventory) -> str:
    return f"{marker.PROGRAMS}/{KIND}-{inventory.cluster}"


def hosts(inventory: Inventory) -> tuple[str, ...]:
    """Where it must be: where a backup is booted, and where the passwords are."""
    server = inventory.deephaven.configuration_server
    return tuple(dict.fromkeys((inventory.verify.host or server, server)))


def boots(token: str) -> list[Boot]:
    return [Boot(1, NAME, PEER, "127.0.0.1", f"{NAME}={PEER}", token)]


def text(inventory: Inventory) -> str:
    """The whole program, for this inventory: all that decides what runs stands in it."""
    (boot,) = boots("@TOKEN@")
    words = {
        "CLUSTER": inventory.cluster,
        "BASE": shlex.quote(marker.BASE),
        "RUNS": shlex.quote(marker.directory(inventory.cluster)),
        "ACCOUNT": shlex.quote(inventory.etcd.user),
        "CLIENT": shlex.quote(inventory.deephaven.client_config),
        "PROGRAM": shlex.quote(path(inventory)),
        "ROOM": sandbox.ROOM,
        "SECRETS": sandbox.SECRETS,
        "KIND": KIND,
        "SLICE": BESIDE,
        "HIDDEN": shlex.join(sandbox.unseen(inventory)),
        "NEEDED": shlex.join(sandbox.TOOLS),
        "UNIT": shlex.join(transient(f"requorum-{KIND}-{inventory.cluster}.service", (*LIMITS, *ALONE), BESIDE)),
        "NAME": NAME,
        "PEER": PEER,
        "PORT": str(FIRST_PORT),
        "PLAIN_PORT": str(FIRST_PLAIN_PORT),
        "JUDGE": JUDGE.strip(),
        "CONFIG": boot.config(FIRST_PORT).rstrip(),
    }
    program = TEXT.read_text(encoding="utf-8")
    for word, value in words.items():
        program = program.replace(f"@{word}@", value)
    return program + sandbox.PROGRAM.read_text(encoding="utf-8")


# -- putting it there, and whether it is there ---------------------------------------------------------------------


def install(inventory: Inventory, host: str) -> list[Command]:
    """Whole or not at all: one that is at work is read by a shell meanwhile."""
    at, owned = path(inventory), ("-o", "root", "-g", "root")
    draft = f"{at}.new"
    return [
        act(host, "install", "-d", "-m", "755", *owned, marker.PROGRAMS, why="a place that root alone writes into"),
        Command(
            host,
            ("install", "-m", "755", *owned, "/dev/stdin", draft),
            "the program of the nightly proof",
            stdin=text(inventory).encode(),
        ),
        act(host, "mv", "-fT", draft, at, why="it gets its name"),
    ]


def ask_installed(host: str, inventory: Inventory) -> Question[str | None]:
    """None where it is this very program and root's alone, in places that are; else what is wrong with it. Asked as the
    login: everybody may read it."""
    at = path(inventory)
    parents = [str(parent) for parent in Path(at).parents][:-1]
    own = look(host, "stat", "-L", "-c", "%u %a", at, *parents, why="whose the proof's program is", root=False)
    read = look(host, "cat", at, why="whether the proof's program is this one", root=False)

    def judge(whose: str, content: str) -> str | None:
        rows = [row.split() for row in whose.splitlines()]
        if len(rows) != len(parents) + 1:
            return f"{at} is not there"
        if any(owner != "0" or int(mode, 8) & 0o022 for owner, mode in rows):
            return f"{at} is not root's alone, or does not lie where root alone writes"
        return None if content == text(inventory) else f"{at} is another version's, or another inventory's"

    return Question((own, read), lambda whose, content: judge(whose.stdout, content.stdout))


# -- running it ----------------------------------------------------------------------------------------------------


def logins(inventory: Inventory) -> Command:
    """Prints the archive of every role's user and password."""
    why = "every role's password, for its standard input"
    host = inventory.deephaven.configuration_server
    return Command(host, (path(inventory), "logins"), why, changes=False, secret=True, most=MOST_OF_LOGINS)


def clear(inventory: Inventory) -> list[Command]:
    """Ends what a proof that was cut off left running, and removes what it left; the same tidies up afterwards."""
    return [
        act(host, path(inventory), "clear", why="nothing of a proof stays on the host") for host in hosts(inventory)
    ]


def ask_left(inventory: Inventory, host: str) -> Question[str | None]:
    """What is left there, None where nothing is. A listing that failed or was cut is neither."""
    command = look(host, path(inventory), "left", why="whether anything was left")
    return Question(command, lambda answer: complete(answer).stdout.strip() or None)


def boot(
    inventory: Inventory,
    host: str,
    token: str,
    source: Source,
    revision: int,
    bump: int,
    roles: Sequence[str],
    prefixes: Sequence[str],
    in_memory: bool,
    scale: float = 1.0,
) -> Command:
    """Restores `source` and boots it; its output is for `sandbox.parse`. `bump` 0: as the backup is. An exit code is no
    failure here, since a backup that does not start is an answer. `scale`: of all that it waits for."""
    size, rate = source.bytes, inventory.verify.rate * 1_000_000
    deadline = rung(by_bytes(2 * size, BOOT_SECONDS) + by_bytes(size, rate=LINE_RATE), LONG)
    words = (token, revision, bump, size, source.sha256, stretched(by_bytes(size), scale), len(roles), len(prefixes))
    order = "".join(f"{line}\n" for line in (" ".join(map(str, words)), *roles, *prefixes))
    at, where = path(inventory), "memory" if in_memory else "disk"
    return Command(
        host,
        (at, "boot", where, wait(deadline - FAREWELL)),
        f"boot the backup in isolation, {'in memory alone' if in_memory else 'on a disk'}",
        deadline=deadline,
        stdin=order.encode(),
        brings=Brought(source.path, size, source.packed, rate),
        fed=logins(inventory) if roles else None,
        stop=(at, "clear"),
        accept=None,
    )
