"""The real restore of every new member, made before anything is committed: beside its place, which Step 4 gives it.

It lies in a directory of this run's own beside `data_root`, on the same file system, so that it only needs its name;
not below the token's directory, which the vendor's unpacking may touch. Planners and questions only.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from requorum.cluster import etcd
from requorum.cluster.etcd import MemberConfig, Tools
from requorum.command import Command, Result, act, act_long, look
from requorum.hosts import kept, system
from requorum.hosts.kept import File
from requorum.hosts.question import Question, complete
from requorum.hosts.system import Free
from requorum.run.terms import Terms


@dataclass(frozen=True)
class Ahead:
    """What lies beside one new member's place. `movable`: what is restored there can be given its place by a new name;
    `note`: what a finished restore says that it is, "" where there is none; `left`: something lies there."""

    movable: bool = False
    note: str = ""
    left: bool = False


NOTHING = Ahead()


def place(terms: Terms) -> str:
    """This run's directory beside `data_root`, for the etcd account alone."""
    return posixpath.join(posixpath.dirname(terms.inventory.etcd.data_root), f"requorum-{terms.mark.run}")


def data(terms: Terms) -> str:
    """The restored data, under this name only once it is whole."""
    return f"{place(terms)}/data"


def database(terms: Terms) -> str:
    return f"{data(terms)}/member/snap/db"


def note_path(terms: Terms) -> str:
    return terms.place("restored.ahead")


def note(terms: Terms, tools: Tools, config: MemberConfig, sha256: str) -> str:
    """Which bytes were restored, by which etcd, as whose data: what Step 4 would restore, or it is restored anew."""
    bump = terms.inventory.etcd.revision_bump
    words = etcd.restore_words(tools, config, bump, terms.skips_hash)
    return " ".join((sha256, tools.version, *words))


def restore(terms: Terms, host: str, tools: Tools, config: MemberConfig, sha256: str) -> list[Command]:
    """As Step 4 does it; only the place differs. What an earlier try left there is gone."""
    settings = terms.inventory.etcd
    owner = ("-o", settings.user, "-g", settings.user)
    return [
        act(host, "install", "-d", "-m", "700", *owner, place(terms), why="a place of this run beside the data"),
        *etcd.restore(
            host,
            tools,
            replace(config, data_dir=data(terms)),
            terms.snapshot_path,
            settings.user,
            settings.revision_bump,
            (note_path(terms), note(terms, tools, config, sha256)),
            terms.skips_hash,
        ),
    ]


def put_in_place(terms: Terms, host: str, config: MemberConfig, sha256: str, half: Sequence[Command]) -> list[Command]:
    """Gives it its name as the member's data. By way of two others: where a bind mount lies between, `mv` copies, and
    what was cut in the middle must look like neither a whole restore nor a member's data. `half` removes what was."""
    leaving, part = f"{place(terms)}/leaving", f"{config.data_dir}.restoring"
    return [
        kept.write(host, File(terms.place("restored"), f"{sha256}\n"), "note which snapshot was restored"),
        *half,
        act(host, "mv", "-T", data(terms), leaving, why="it is moved from here on, or restored anew"),
        act(host, "mv", "-T", leaving, part, why="the restored data goes to where data is"),
        act(host, "mv", "-T", part, config.data_dir, why="the restored data gets its name"),
        *forget(terms, [host]),
    ]


def forget(terms: Terms, hosts: Sequence[str]) -> list[Command]:
    """Removes what lies there on these hosts: this run's own, which was never a member's data."""
    why = "remove what this run restored before it was committed"
    return [act_long(host, "rm", "-rf", place(terms), why=why) for host in hosts if host in terms.member_hosts]


def ask(terms: Terms, host: str, config: MemberConfig | None = None) -> Question[Ahead]:
    """What lies there; and whether a new name is all that `config`'s data needs: `data_root` and the directory above it
    are on one device, and on one mount of it, since `mv` copies from one bind mount to another. Not on a machine that
    never was a member, nor where `data_root` is a file system of its own."""
    root, (beside, made) = f"{terms.inventory.etcd.data_root}/.", (place(terms), data(terms))
    above = f"{posixpath.dirname(beside).rstrip('/')}/."
    inodes = system.ask_inodes(host, root, above, beside, made)
    told = look(host, "cat", note_path(terms), why="what was restored before the commit")
    mounts = [system.ask_free_of(host, (root,), (above,))] if config is not None else []

    def read(which: Result, said: Result, *rooms: Result) -> Ahead:
        there = inodes.understand([which])
        devices = {there[path].partition(":")[0] if path in there else path for path in (root, above)}
        free = [one for mount in mounts for one in mount.understand(rooms)]
        mounted = {one.mount if isinstance(one, Free) else n for n, one in enumerate(free)}
        one_mount = len(devices) == 1 and len(mounted) == 1
        movable = one_mount and config is not None and _is_below_the_root(terms, config)
        return Ahead(movable, complete(said).stdout.strip() if made in there else "", beside in there)

    return Question((*inodes.commands, told, *(c for mount in mounts for c in mount.commands)), read)


def _is_below_the_root(terms: Terms, config: MemberConfig) -> bool:
    """Whether the data's own directory lies right in `data_root`; a plan does not know, and takes it so."""
    above = posixpath.dirname(config.data_dir)
    return above == terms.inventory.etcd.data_root or not config.data_dir.startswith("/")


def is_there(
    terms: Terms, tools: Mapping[str, Tools], configs: Mapping[str, MemberConfig], found: Mapping[str, Ahead], sha: str
) -> frozenset[str]:
    """Hosts where exactly what Step 4 would restore lies whole, and can be moved."""
    return frozenset(
        host for host, one in found.items() if one.movable and one.note == note(terms, tools[host], configs[host], sha)
    )
