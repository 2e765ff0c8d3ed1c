"""Whether an old member's disk is proven to hold nothing of the lost cluster: questions and the judgement.

A disk without anything to salvage is one of two: nothing is there, which is proven here, or nobody understands where
its data is, which stops the run: a backup must not take the place of data that was only not found.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from requorum.cluster.etcd import MemberConfig
from requorum.cluster.lineage import Lineage, ask_wal, cluster_id, member_id
from requorum.command import Result, look
from requorum.hosts import systemd
from requorum.hosts.question import Question, plain
from requorum.hosts.systemd import Unit
from requorum.inventory import Etcd
from requorum.snapshots.disks import Disk
from requorum.snapshots.family import Family
from requorum.snapshots.layout import OURS, Layout, ask_layout
from requorum.snapshots.ranking import NAME_SALVAGE

UNNAMED = "which no configuration names"  # of a directory with data


@dataclass(frozen=True)
class Way:
    """Where a path leads: `real` after all links that this login may follow, and the first link on it that leads
    nowhere, "" where none does. `link`: its own name is one. `unknown`: nobody answered."""

    real: str
    dangling: str = ""
    link: bool = False
    unknown: bool = False


@dataclass(frozen=True)
class Place:
    """One old member's machine. `config`: the installed one, why it cannot be read, or None; `real`: its path without
    links; `earlier`: why earlier ones cannot be read, "" if they can. `runs`: the words that its unit starts, None
    where nobody tells. `processes`: of etcd. `root`: the entries of `data_root`. `unmounted`: file systems that belong
    there and are not mounted, None where nobody tells. `ways`: directory where data would be → where that leads.
    `told`: "" where flags and environment say all instead of a configuration, why not where they say some of it.
    `opened`: databases that its running etcd has open and no configuration leads to; None where nobody tells.
    `mounted`: file systems. `noted`: by the manifest of the last backup, its data directory, where the file system of
    that was mounted, and the backup.
    `strays`: directory below `data_root` that no configuration names → what lies there, and whose it is."""

    host: str
    unit: Unit
    config: MemberConfig | str | None
    real: str = ""
    earlier: str = ""
    runs: tuple[str, ...] | None = None
    told: str | None = None
    processes: tuple[str, ...] = ()
    root: Layout = field(default_factory=Layout)
    unmounted: tuple[str, ...] | None = ()
    ways: Mapping[str, Way] = field(default_factory=dict)
    strays: Mapping[str, tuple[Layout, Lineage]] = field(default_factory=dict)
    mounted: tuple[str, ...] = ()
    noted: tuple[str, str, str] | None = None
    opened: tuple[str, ...] | None = ()


# -- questions ---------------------------------------------------------------------------------------------------


def ask_place(known: Place, settings: Etcd) -> Question[Place]:
    """Whether its unit runs now; where its configuration really lies; whether an etcd runs whatever its unit; which
    file systems are mounted and should be; and what lies in `data_root`.

    `ways` and `strays` are asked next, since they follow from that.
    """
    host = known.host
    unit, root = systemd.ask_unit(host, settings.unit), ask_layout(host, settings.data_root, 1)
    commands = (
        *unit.commands,
        look(host, "readlink", "-f", settings.config, why="where the configuration really lies"),
        look(host, "pgrep", "-x", "etcd", why="whether any etcd runs", root=False),
        look(host, "findmnt", "-rno", "TARGET", "--fstab", why="file systems that belong there", root=False),
        look(host, "systemctl", "list-unit-files", "*.mount", "--no-legend", "--no-pager", why=_MOUNTS, root=False),
        look(host, "findmnt", "-rno", "TARGET", why="file systems that are there", root=False),
        *root.commands,
    )

    def read(
        state: Result,
        real: Result,
        etcds: Result,
        fstab: Result,
        units: Result,
        mounted: Result,
        lies: Result,
    ) -> Place:
        return replace(
            known,
            unit=unit.understand([state]),
            real=real.stdout.strip(),
            processes=_processes(etcds),
            root=root.understand([lies]),
            unmounted=_unmounted(fstab, units, mounted),
            mounted=tuple(mounted.stdout.split()),
        )

    return Question(commands, read)


_MOUNTS = "file systems that units mount there"
_UNIT = re.compile(r"^(\S+\.mount)\s+(?!disabled|masked)", re.M)  # what nobody would mount belongs nowhere
_WAY = 'at=$0; while [ "$at" != / ]; do [ ! -L "$at" ] || [ -e "$at" ] || echo "$at"; at=$(dirname "$at"); done'


def ask_way(host: str, directory: str, link: bool = False) -> Question[Way]:
    """Links on the way that lead nowhere, then where it leads after all links. `link`: its own name is one."""
    script = f'{_WAY}; printf "%s\\n" "= $(realpath -m "$0")"'
    command = look(host, "sh", "-c", script, directory, why=f"where {directory} leads", root=False)

    def read(answer: Result) -> Way:
        lines = answer.stdout.splitlines()
        real = next((line[2:] for line in lines if line.startswith("= /")), directory)
        return Way(real, next((line for line in lines if line.startswith("/")), ""), link, answer.hindered)

    return Question(command, read)


# By device and inode, since links, bind mounts and the unit's own mounts give one file several names.
_OPENED = r"""
for at in $(grep -lsF "/$0" /proc/[0-9]*/cgroup); do
    for fd in "${at%/cgroup}"/fd/*; do
        case $(readlink "$fd") in
        */db | */db' (deleted)') printf 'open %s %s\n' "$(stat -L -c %d:%i "$fd")" "$(readlink "$fd")" ;;
        esac
    done
done
for file; do [ ! -e "$file" ] || stat -L -c 'known %d:%i' "$file"; done
"""
_FILE = re.compile(r"(open|known) ([0-9]+:[0-9]+)(?: (/.*))?")


def ask_opened(host: str, unit: str, databases: Sequence[str]) -> Question[tuple[str, ...] | None]:
    """The databases that processes of a unit have open, without these; None where nobody tells. That is where a running
    member's data is, whatever is configured."""
    command = look(host, "sh", "-c", _OPENED, unit, *databases, why="which database its etcd has open")

    def read(answer: Result) -> tuple[str, ...] | None:
        rows = [found.groups() for line in answer.stdout.splitlines() if (found := _FILE.fullmatch(line))]
        if answer.code != 0 or all(kind != "open" for kind, _, _ in rows):
            return None  # an etcd that runs has one: root may not look into its process, as in some containers
        known = {file for kind, file, _ in rows if kind == "known"}
        others = (plain(path or "") for kind, file, path in rows if kind == "open" and file not in known)
        return tuple(dict.fromkeys(others))

    return Question(command, read)


def ask_stray(host: str, directory: str) -> Question[tuple[Layout, Lineage]]:
    """What lies in a directory that no configuration names, and by its log, which cluster's it is."""
    lies, wal = ask_layout(host, directory), ask_wal(host, directory)
    return Question(
        (*lies.commands, *wal.commands),
        lambda found, head: (lies.understand([found]), Lineage(None, wal.understand([head]))),
    )


def _processes(answer: Result) -> tuple[str, ...]:
    """The process IDs; something that is none where nobody tells."""
    return tuple(answer.stdout.split()) if answer.code in (0, 1) else ("unknown",)


_KERNELS = ("/proc/", "/sys/", "/dev/", "/run/")  # nobody's data: a mount unit there often has nothing to mount


def _unmounted(fstab: Result, units: Result, mounted: Result) -> tuple[str, ...] | None:
    """Mount points of fstab and of mount units where nothing is mounted; None where that cannot be told."""
    if mounted.code != 0 or fstab.hindered or units.hindered:
        return None
    there = {target.rstrip("/") for target in mounted.stdout.split()}
    targets = [target.rstrip("/") for target in fstab.stdout.split() if target.startswith("/")]
    targets += [systemd.mount_point(name).rstrip("/") for name in _UNIT.findall(units.stdout)]
    return tuple(target for target in targets if target not in there and not target.startswith(_KERNELS))


def ways(root: Layout, data_root: str, disks: Sequence[Disk]) -> dict[str, bool]:
    """Where data would be on one host, each with whether its own name is a link."""
    known = [path for d in disks for path in (d.config.data_dir, d.config.wal_dir, *d.links) if path.startswith("/")]
    links = [path for disk in disks for path in disk.links]
    return {data_root: root.link, **{path: path in links for path in known}}


def strays(root: Layout, data_root: str, disks: Sequence[Disk]) -> list[str]:
    """Directories and links in `data_root` that are no known cluster's data, nor what a restore of it left."""
    known = {disk.config.data_dir for disk in disks}
    ours = {*known, *(f"{directory}.restoring" for directory in known), *(disk.config.wal_dir for disk in disks)}
    if data_root in known:
        return []
    names = (name for name, kind in (root.entries or {}).items() if kind in "dl" and name and name not in OURS)
    return [path for path in (f"{data_root}/{name}" for name in sorted(names)) if path not in ours]


# -- the judgement -----------------------------------------------------------------------------------------------


def doubt(place: Place, found: Sequence[Disk], picked: bool, family: Family, settings: Etcd) -> str:
    """Why a disk may hold data of the lost cluster that is not salvaged from it; "" where it is proven to hold nothing
    of it, or what is `picked` to be salvaged is all of it. `found`: what its configurations lead to."""
    lost = [disk for disk in found if not is_proven_anothers(disk, family)]
    whole = [disk.config for disk in lost if disk.whole]
    if place.opened:
        there = " and ".join(disk.database for disk in found) or "no database"
        return f"its etcd has {', '.join(place.opened)} open, and its configuration leads to {there}"
    odd = next((disk.problem for disk in lost if disk.problem), "") or place.earlier
    if odd or isinstance(place.config, str):
        return odd or str(place.config)
    if len(whole) > 1:
        return f"data of the lost cluster may be in {' and in '.join(config.data_dir for config in whole)}"
    name = f"{NAME_SALVAGE}{shlex.quote(whole[0].token)}" if whole else ""
    if whole and not picked:
        return f"data in {whole[0].data_dir} is whole, and not proven to be another cluster's ({name})"
    if flags := _flags(place, settings):
        return flags
    if whole:
        moved = _not_as_noted(place, [disk for disk in lost if disk.whole])
        return _unmounted_there(place) or (f"{moved} ({name} takes it nevertheless)" if moved else "")
    if not place.unit.load:
        return f"systemd does not tell of {settings.unit}"
    return _configuration(place, found, settings) or _elsewhere(place, family) or _not_as_noted(place, found)


def is_proven_anothers(disk: Disk, family: Family) -> bool:
    """Whether data is another cluster's, beyond what its configuration says, which people change: an ancestor's, that
    of a run that failed, or that of a cluster whose ID is known to be another one."""
    lineage = disk.lineage
    generation = family.generation(lineage)
    if generation is not None or family.is_unborn(lineage):
        return generation != 0
    if _is_foreign(lineage, family) or (lineage.token or "") in dict(family.bumps):
        return True
    if not family.line:
        return False
    urls = [urls.split("=", 1)[-1] for urls in disk.config.initial_cluster.split(",")]
    formed = cluster_id(member_id([url.strip()], disk.config.token) for url in urls)
    return lineage.cluster_id is not None and lineage.cluster_id == formed


def _configuration(place: Place, found: Sequence[Disk], settings: Etcd) -> str:
    """Whether it is known where the data of this machine was: by its configuration, or because there was never any."""
    if place.config is None and not found:
        reads = systemd.flags(place.runs or ()).get("config-file")
        if place.unit.installed and (reads != settings.config or place.root.files):
            return f"{settings.unit} is installed, but {settings.config} is not there to say where its data is"
        if place.processes:
            return f"an etcd runs (process {', '.join(place.processes)}), but {settings.config} is not there"
    if place.unit.load == "loaded" and place.told != "" and "config-file" not in systemd.flags(place.runs or ()):
        return f"{settings.unit} is not seen to start etcd with --config-file={settings.config}"
    return ""


def _flags(place: Place, settings: Etcd) -> str:
    """Whether the unit takes its settings from another place than the configurations that were read. Beside a
    configuration file etcd ignores every other flag."""
    given = systemd.flags(place.runs or ())
    if "config-file" in given:
        other, known = PurePosixPath(given["config-file"]), PurePosixPath(settings.config)
        beside = (other.parent.parent, other.name) == (known.parent.parent, known.name)
        ours = str(other) in (settings.config, place.real) or (place.config is None and beside)
        return "" if ours else f"{settings.unit} reads {other}, not {settings.config}"
    if place.told is not None:
        return place.told
    named = [f"{name}={given[name]}" for name in ("data-dir", "wal-dir") if name in given]
    by = f"by flags or environment, not by {settings.config}"
    return f"{settings.unit} gives etcd {' '.join(named)} {by}" if named else ""


def _elsewhere(place: Place, family: Family) -> str:
    """Whether data may lie where nothing points to: on a disk that is not mounted, or under another name."""
    if why := place.root.problem or _unmounted_there(place):
        return why
    for path, (layout, lineage) in place.strays.items():
        if layout.problem:
            return layout.problem
        if layout.files and not _is_foreign(lineage, family):
            return f"data lies in {path}, {UNNAMED}"
    return ""


def _unmounted_there(place: Place) -> str:
    """Whether what is seen may only be what lies below a file system that is not mounted: a stale copy, or nothing."""
    if place.unmounted is None:
        return "nobody tells which of its file systems are mounted"
    for directory, way in place.ways.items():
        if way.unknown:
            return f"nobody tells where {directory} leads"
        if way.dangling:
            return f"{way.dangling} is a link on the way to {directory}, and leads nowhere"
        for target in place.unmounted:
            if _lies_in(target, directory) or _lies_in(target, way.real) or (way.link and way.real == directory):
                return f"{target} should be a file system of its own (fstab), and none is mounted there"
    return ""


def _not_as_noted(place: Place, found: Sequence[Disk]) -> str:
    """Whether the last backup saw the data of this member where `found` is not: on a volume that nobody listed, or in
    another directory. A machine set up anew has no configuration."""
    if place.noted is None or (place.config is None and not found):
        return ""
    directory, mount, backup = place.noted
    said = f"by the manifest of {backup} its data was in {directory}, on the file system {mount}"
    if directory not in [disk.config.data_dir for disk in found]:
        there = " and ".join(disk.config.data_dir for disk in found if disk.whole)
        return f"{said}: {f'now it is in {there}' if there else 'no configuration names that directory'}"
    if mount not in place.mounted:
        return f"{said}: that is not mounted"
    now = _mount(place, directory)
    return f"{said}: now that directory is on {now}" if now not in ("", mount) else ""


def _mount(place: Place, directory: str) -> str:
    """The file system that a directory is on; "" where nobody tells where it leads."""
    way = place.ways.get(directory)
    if way is None or way.unknown:
        return ""
    return max(
        (at for at in place.mounted if at == way.real or at == "/" or _lies_in(at, way.real)), key=len, default=""
    )


def _lies_in(target: str, directory: str) -> bool:
    return target != "/" and f"{directory}/".startswith(f"{target}/")


def _is_foreign(lineage: Lineage, family: Family) -> bool:
    """Whether it is proven to be another cluster's: both IDs are known, and differ."""
    known = family.lost.cluster_id if family.lost else None
    return lineage.cluster_id is not None and known is not None and lineage.cluster_id != known
