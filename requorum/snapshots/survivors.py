"""Salvage: the newest data there is, from what the survivors' disks still hold. Planners and parsers only.

Copies of all survivors' data start together in `sandbox`, with just the empty stand-ins that quorum
lacks, and Raft decides what was committed; nobody here compares survivors by revision, since an isolated old leader can
hold more entries that nobody acknowledged. The originals are only read. `disks` says who survived, `attempts` what is
started next, `salvage` carries it out, and `choice` decides whether it is used.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from requorum.cluster import archive, sandbox
from requorum.cluster.etcd import MemberConfig, address
from requorum.cluster.lineage import Lineage, cluster_id, member_id
from requorum.cluster.sandbox import WAL_BYTES, Boot
from requorum.command import Action, Command, Copy, Result, act, act_long, look
from requorum.deadlines import HUGE
from requorum.hosts.question import NAME, Question
from requorum.hosts.system import Free
from requorum.inventory import Member
from requorum.refusal import Refusal
from requorum.run import bulk
from requorum.run.bulk import PACKED, ROOM
from requorum.run.marker import SALVAGE
from requorum.run.terms import Terms
from requorum.snapshots import layout
from requorum.snapshots.disks import Disk
from requorum.snapshots.layout import Data
from requorum.snapshots.snapshot import Source

KIND = SALVAGE
SLACK = 64 << 20  # bytes: a tar's own, and a small log's


class SalvageError(Refusal):
    """The survivors' data cannot be salvaged; the text says why."""


UNCOPIED = "its data could not be copied"


@dataclass(frozen=True)
class Survivor:
    """An old member with data on its disk. `number`: its copy's name in scratch. Bytes: of its data directory as
    allocated, and free where copies are put. `data`: what of it is copied, as it lies now that etcd is stopped.
    `cluster_id`: at the head of its log, None where that is not known. `apart`: copies lie beside the data there, on
    another file system than the run's own directory."""

    number: int
    member: Member
    config: MemberConfig
    size: int
    free: int
    data: Data
    cluster_id: int | None = None
    apart: bool = False

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def host(self) -> str:
        return self.member.host

    @property
    def odd(self) -> str:
        """Why it cannot be copied now, though it was whole before etcd was stopped; "" where it can."""
        return self.data.problem or ("" if self.data.logs else f"nothing is in {self.config.data_dir} any more")


@dataclass(frozen=True)
class Salvaged:
    """What came of it. `source` None: nothing; `failed` says why, and is "" where there was nothing to salvage. `how`:
    "together", or "alone" for a copy that was forced into a cluster of its own. `survivors` (names) whose data it
    holds, `members` the lost cluster's size. `databases`: (host, the revision that its own database shows as applied),
    where it can be read; `damaged`: hosts where it does not hang together. `hosts` whose disks hold the data, `lineage`
    whose it is, `bumps` as `Source` has it. `mend`: what lets another try succeed. `could_not`: (host, why) of disks
    that may hold data of the lost cluster which is not in the salvage; `given_up`: (host, by which word) of disks that
    the operator gave up; `could_be_forced`: a host whose copy alone may do, by the operator's word;
    `outvoting`: hosts without whose copies the one that had applied most is salvaged; `anew`: members (names) whose
    disks began anew, and count for nothing; `taken`: the hosts of all others whose data it holds; `said`: the
    hosts' own words of why a disk could not be copied."""

    source: Source | None
    how: str = ""
    survivors: tuple[str, ...] = ()
    members: int = 0
    databases: tuple[tuple[str, int], ...] = ()
    failed: str = ""
    hosts: tuple[str, ...] = ()
    lineage: Lineage | None = None
    bumps: int = 0
    mend: str = ""
    could_not: tuple[tuple[str, str], ...] = ()
    damaged: tuple[str, ...] = ()
    given_up: tuple[tuple[str, str], ...] = ()
    could_be_forced: str = ""
    outvoting: tuple[str, ...] = ()
    anew: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    said: str = ""

    @property
    def on_disk(self) -> int | None:
        """The highest revision that a database shows; None where none can be read."""
        return max((revision for _, revision in self.databases), default=None)

    @property
    def counted(self) -> tuple[str, ...]:
        """The survivors whose data can be that of the lost cluster."""
        return tuple(name for name in self.survivors if name not in self.anew)

    @property
    def has_a_majority(self) -> bool:
        """Whether the disks that it was made from, without those in doubt, are a majority: then every acknowledged
        write is among them."""
        doubted = {host for host, _ in self.could_not}.intersection(self.taken)
        return self.source is not None and 2 * (len(self.counted) - len(doubted)) > self.members

    @property
    def words_of_giving_up(self) -> str:
        return ", ".join(f"{host} given up by {word}" for host, word in self.given_up)

    @property
    def absence(self) -> str:
        """Why there is none, in words; that nothing is there only where that was seen on every disk."""
        if self.failed:
            return f"salvage failed: {self.failed}"
        if self.could_not:
            return f"it is not understood what disks hold: {listed(self.could_not)}"
        if self.given_up:
            return f"no other disk holds anything to salvage ({self.words_of_giving_up})"
        return "no disk holds anything to salvage"


def listed(could_not: Sequence[tuple[str, str]]) -> str:
    return "; ".join(f"{host}: {why}" for host, why in could_not)


# -- who survived ------------------------------------------------------------------------------------------------


def ask_survivor(number: int, disk: Disk, terms: Terms) -> Question[Survivor]:
    """How large the data is, and how much room there is for a copy. What cannot be measured counts as nothing: then the
    copying itself fails, and says so."""
    places = (f"{disk.config.data_dir}/member/snap/.", f"{layout.wal(disk.config)}/.")
    du = look(disk.host, "du", "-sB1", *places, why="size of the data")
    room, there = bulk.ask_rooms(disk.host, terms), layout.ask_data(disk.host, disk.config)

    def read(used: Result, *answers: Result) -> Survivor:
        dfs = len(room.commands)
        rooms, data = room.understand(answers[:dfs]), there.understand(answers[dfs:])
        size = sum(_number(line.split()[:1]) for line in used.stdout.splitlines())
        free = rooms.scratch.size if isinstance(rooms.scratch, Free) else 0
        return Survivor(number, disk.member, disk.config, size, free, data, disk.lineage.cluster_id, rooms.apart)

    return Question((du, *room.commands, *there.commands), read)


def _number(words: Sequence[str]) -> int:
    return int(words[0]) if words and re.fullmatch("[0-9]{1,19}", words[0]) else 0


def no_room(one: Survivor) -> SalvageError:
    what = f"has room for {one.free:,} bytes, and its data takes {one.size:,}"
    place = "beside its data" if one.apart else "below /var/lib/requorum"
    return SalvageError(one.host, what, f"make room {place} there, then run again")


def bytes_gathered(sizes: Sequence[int], members: int) -> int:
    """Where all copies are gathered: each as an archive and unpacked, and the stand-ins' data."""
    stand_ins = max(members // 2 + 1 - len(sizes), 0)
    return 2 * sum(sizes) + stand_ins * (max(sizes) + WAL_BYTES)


def bytes_needed(sizes: Sequence[int], members: int, apart: bool = False) -> int:
    """The same with the saved snapshot, which lies in the run's own directory: none of it on a file system `apart`."""
    return bytes_gathered(sizes, members) + (0 if apart else max(sizes))


def gathering_host(survivors: Sequence[Survivor], members: int) -> Survivor:
    """The first survivor with room for it takes all copies: a plan can name it beforehand.

    Raises `SalvageError` where none has room, or where one cannot hold its own copy.
    """
    sizes = [s.size for s in survivors]
    needed = {s.host: bytes_needed(sizes, members, s.apart) for s in survivors}
    best = next((s for s in survivors if s.free >= needed[s.host]), max(survivors, key=lambda s: s.free))
    short = [f"{s.host} has {s.free:,} of {s.size:,} bytes" for s in survivors if s.free < s.size]
    if best.free < needed[best.host]:
        short.append(f"{best.host} has {best.free:,} of {needed[best.host]:,} bytes")
    if short:
        place = "beside the data" if any(s.apart for s in survivors) else "below /var/lib/requorum"
        raise SalvageError("no room for copies", "; ".join(short), f"make room {place}, then run again")
    return best


# -- the plan ----------------------------------------------------------------------------------------------------


def scratch(terms: Terms) -> str:
    return terms.place(KIND)


def kept(terms: Terms) -> str:
    """Where the salvaged snapshot stays, on the host that made it."""
    return terms.place("salvage.snap")


def clear(terms: Terms, hosts: Sequence[str]) -> list[Command]:
    return [command for host in hosts for command in bulk.clear(terms, host, KIND)]


def remove(terms: Terms, hosts: Sequence[str]) -> list[Command]:
    """The same once the boots have ended by themselves."""
    return [bulk.remove(terms, host, KIND) for host in hosts]


def packed(terms: Terms, survivor: Survivor) -> str:
    """Its copy, as an archive."""
    return f"{scratch(terms)}/{PACKED}/{survivor.number}.tar"


_PLAIN = (
    r"--transform=s,^\./\(.*\.wal\)$,./member/wal/\1,",
    r"--transform=s,^\./\(db\|.*\.snap\(\.db\)\?\)$,./member/snap/\1,",
)


def copy(terms: Terms, survivor: Survivor) -> list[Command]:
    """Copies one survivor's data from wherever it lies: database, snapshots and log, named as in a plain directory."""
    data = survivor.data
    return [
        *bulk.make(terms, survivor.host, KIND, survivor.apart, PACKED),
        act_long(
            survivor.host,
            "tar",
            "--create",
            "--sparse",
            f"--file={packed(terms, survivor)}",
            f"--directory={data.snap}",
            *_PLAIN,
            "--no-recursion",
            *(f"./{name}" for name in data.snaps),
            f"--directory={data.wal}",
            *(f"./{name}" for name in data.logs),
            ".",  # the directory's own entry: sudo rules out there allow a copy that ends so
            why="copy database, snapshots and log; the original is only read",
            deadline=HUGE,
        ),
    ]


def may_be_cloned(terms: Terms, survivor: Survivor) -> bool:
    """Whether all of it lies where the sudo rules let a plain copy read."""
    below = f"{terms.inventory.etcd.data_root}/"
    return survivor.data.snap.startswith(below) and survivor.data.wal.startswith(below)


def clone(terms: Terms, survivor: Survivor) -> list[Command]:
    """The same where all copies will be gathered: into the room at once, sharing its bytes where files clone."""
    places = (PACKED, ROOM, *_places(survivor))  # archives are the others'
    return [*bulk.make(terms, survivor.host, KIND, survivor.apart, *places), *_clone(terms, survivor)]


def _clone(terms: Terms, survivor: Survivor) -> list[Command]:
    data = survivor.data
    pairs = ((data.snap, data.snaps, "snap"), (data.wal, data.logs, "wal"))
    return [
        act_long(
            survivor.host,
            *("cp", "--reflink=auto", "-P", "-t", f"{_room_of(terms, survivor)}/member/{below}", "--"),
            *(f"{directory}/{name}" for name in names),
            why=f"copy what is in {below}; the original is only read",
            deadline=HUGE,
        )
        for directory, names, below in pairs
    ]


def _room_of(terms: Terms, survivor: Survivor) -> str:
    return f"{scratch(terms)}/{ROOM}/{survivor.number}"


def _places(survivor: Survivor) -> tuple[str, ...]:
    """Of its copy in the scratch, each after the one that it lies in."""
    return tuple(f"{ROOM}/{survivor.number}{below}" for below in ("", "/member", "/member/snap", "/member/wal"))


def gather(terms: Terms, survivors: Sequence[Survivor], host: str, cloned: bool = False) -> list[Action]:
    """Brings all copies to `host`. `cloned`: its own is in the room already."""
    plan: list[Action] = []
    for survivor in survivors:
        if cloned and survivor.host == host:
            continue
        place = packed(terms, survivor)
        if survivor.host != host:
            why = f"the copy of {survivor.name} to where all are gathered"
            most = 2 * survivor.size + SLACK
            plan.append(Copy(place, ((host, place),), why, survivor.host, bytes=survivor.size, most=most))
            gone = (scratch(terms), bulk.beside(terms))
            plan.append(act_long(survivor.host, "rm", "-rf", *gone, why="the copy is where it is needed"))
        plan.append(archive.judge(host, place, ".", f"the copy of {survivor.name}"))
    return plan


def unpack(
    terms: Terms,
    host: str,
    survivors: Sequence[Survivor],
    apart: bool = False,
    cloned: bool = False,
    first: bool = False,
) -> list[Command]:
    """Fresh copies for one attempt: what an attempt before it changed is gone, stand-ins' data too. `apart`: of the
    host, as the survivor there has it; `cloned`: that one is copied from its disk. `first`: nothing was there before,
    but what was cloned."""
    place = scratch(terms)
    ordered = sorted(survivors, key=lambda survivor: survivor.number)
    lying = [survivor for survivor in ordered if first and cloned and survivor.host == host]
    made_anew = [path for survivor in ordered if survivor not in lying for path in _places(survivor)]
    before = [
        act(host, *sandbox.stop(KIND, terms.mark.run), why="end what an attempt left running", accept=(0, 5)),
        act(host, "find", place, "-name", "*.pid", "-delete", why="forget the processes of an attempt"),
        bulk.clear_room(terms, host, KIND, made(terms)),
    ]
    plan = [] if first else before
    if made_anew:
        plan += bulk.make(terms, host, KIND, apart, *(() if lying else (ROOM,)), *made_anew)
    for survivor in ordered:
        if cloned and survivor.host == host:
            plan += [] if first else _clone(terms, survivor)
            continue
        plan.append(
            act_long(
                host,
                "tar",
                "--extract",
                f"--file={packed(terms, survivor)}",
                f"--directory={_room_of(terms, survivor)}",
                why=f"unpack the copy of {survivor.name}",
                deadline=HUGE,
            )
        )
    return plan


def database(terms: Terms, survivor: Survivor) -> str:
    """Of the unpacked copy."""
    return f"{_room_of(terms, survivor)}/member/snap/db"


def told(said: Sequence[tuple[str, str]], configured: Mapping[str, str]) -> dict[str, str]:
    """The members as the data has them: name → peer URL. `said`: (name, URL), a name is empty where the data has none
    yet; `configured` then names it by its URL. The configured members where the data says the same, or nothing."""
    urls = {url for _, url in said}
    if not urls or urls == set(configured.values()):
        return dict(configured)
    by_url = {url: name for name, url in configured.items()}
    names = ((name if NAME.fullmatch(name) else "", url) for name, url in said)
    return {name or by_url.get(url, f"member-{n}"): url for n, (name, url) in enumerate(names, start=1)}


def _urls(survivors: Sequence[Survivor], members: Mapping[str, str]) -> dict[str, str]:
    """Name → peer URL of everybody. `members`: the same as configured; a survivor that is not among them is added."""
    own = {s.name: members.get(s.name, s.config.peer_url) for s in survivors}
    return {**dict(sorted(members.items())), **own}


_SNAPSHOT = re.compile("[0-9a-f]{16}-([0-9a-f]{16})[.]snap")  # term and index, as etcd names them


def may_begin_ahead(survivors: Sequence[Survivor], members: Mapping[str, str]) -> bool:
    """Whether the stand-ins that quorum lacks may begin the very cluster that was lost, before the copies start.

    They do it with an entry of the log for each member, as a cluster that is begun or restored with these members does.
    """
    urls, token = _urls(survivors, members), survivors[0].config.token
    formed = cluster_id(member_id([url], token) for url in urls.values())
    begun = all(index is not None and index >= len(urls) for index in _snapshots(survivors))
    alike = all((one.cluster_id, one.config.token) == (formed, token) for one in survivors)
    return begun and alike and len(survivors) <= len(urls) // 2


def was_restored(survivors: Sequence[Survivor], members: Mapping[str, str]) -> bool:
    """Whether the log of a cluster that `may_begin_ahead` starts with a snapshot at just that index, as a restore makes
    it: what is in that, a stand-in which has the entries is never sent. Beyond it, a leader can only send a snapshot of
    its own."""
    return len(_urls(survivors, members)) in _snapshots(survivors)


def _snapshots(survivors: Sequence[Survivor]) -> list[int | None]:
    """The index at which each snapshot of a log ends; None where its name does not tell."""
    found = [_SNAPSHOT.fullmatch(name) for one in survivors for name in one.data.snaps if name != "db"]
    return [int(name[1], 16) if name else None for name in found]


def boots(
    survivors: Sequence[Survivor],
    members: Mapping[str, str],
    old_members: Sequence[Member],
    force: bool = False,
    ahead: bool = False,
) -> list[Boot]:
    """The survivors' copies as they are, and the empty stand-ins that quorum lacks, under dead members' names.

    In the order of names, not of revisions, which nobody can tell when a plan is made.
    `members`: name → peer URL, all of the lost cluster. `force`: exactly one survivor, made a cluster of its own;
    `ahead`: the stand-ins begin the cluster, where they may; where it was restored, they only vote.
    Raises `SalvageError` where a name stands for no address, or for two survivors.
    """
    known = {member.name: member.ip for member in old_members}
    own = {s.name for s in survivors}
    votes = ahead and was_restored(survivors, members)
    if len(own) < len(survivors):
        calls = ", ".join(f"{s.host}: {s.name}" for s in survivors)
        raise SalvageError("the copies", f"do not differ by their members' names ({calls})", "correct the wrong name")
    urls = _urls(survivors, members)
    initial = ",".join(f"{name}={url}" for name, url in urls.items())
    token = survivors[0].config.token

    numbers = {s.name: s.number for s in survivors}
    free = itertools.count(max(numbers.values()) + 1)

    def made(name: str, stand_in: bool) -> Boot:
        url = urls[name]
        try:
            ip = str(ipaddress.ip_address(address(url).host))
        except ValueError:
            if name not in known:
                raise SalvageError(
                    name, f"has the peer URL {url}, of an unknown address", "list it in old_members"
                ) from None
            ip = known[name]
        number = next(free) if stand_in else numbers[name]
        joins = not (stand_in and ahead)
        return Boot(number, name, url, ip, initial, token, joins, stand_in, force, votes=votes and stand_in)

    lacking = 0 if force else len(urls) // 2 + 1 - len(survivors)
    dead = [name for name in urls if name not in own]
    return [*(made(name, False) for name in sorted(own)), *(made(name, True) for name in dead[: max(lacking, 0)])]


def unproven(terms: Terms) -> str:
    """Where a finished save stays that was followed by a question which found something wrong."""
    return terms.place("salvage.unproven.snap")


def made(terms: Terms) -> str:
    """Where the isolated boot saves, for root alone; etcdctl gives it this name when it is whole."""
    return f"{scratch(terms)}/salvage.snap"


def keep(terms: Terms, host: str) -> list[Command]:
    """Gives the saved snapshot its name."""
    return [act(host, "mv", "-fT", made(terms), kept(terms), why="the salvaged snapshot gets its name")]


def keep_unproven(terms: Terms, host: str) -> list[Command]:
    """Sets a finished save aside, beside any that is there already: it may be all that there is of the newest data."""
    return [act(host, "mv", "--backup=numbered", "-T", made(terms), unproven(terms), why="what was saved stays")]
