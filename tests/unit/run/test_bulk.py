"""Scratch that takes room lies on the data's own file system, by the same paths as ever; and it goes again."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from requorum.command import Action, Command, Copy
from requorum.hosts.system import Free
from requorum.recovery import trial
from requorum.run import bulk
from requorum.run.aftermath import is_own
from requorum.run.bulk import Rooms
from requorum.snapshots import survivors
from requorum.troubleshoot import sudoers
from tests.unit import build
from tests.unit.build import PLACE, RUN
from tests.unit.snapshots.test_survivors import survivor

ROOTS = "0 755 directory\n" * 4  # whose each directory above the data is
BESIDE = f"/var/lib/etcd/requorum-{RUN}.scratch"


ABOVE_BASE = ("/", "/var", "/var/lib", "/var/lib/requorum")


def rooms(
    base: tuple[str, int],
    there: tuple[str, int],
    above: tuple[str, int],
    roots: str = ROOTS,
    cleared: str | None = None,
    devices: tuple[str, str] = ("/x", "/x"),
) -> Rooms:
    """As told where the run's own directory, `data_root` and the directory above it are so mounted, with so much free;
    "" is not there. `cleared`: what a run has left."""
    at = {**dict.fromkeys(ABOVE_BASE, (*base, devices[0])), "/var/lib/etcd": (*above, devices[1])}
    at |= {"/var/lib/etcd/dh": (*there, devices[1])}
    question = bulk.ask_rooms("etcd-1", build.terms(), cleared=cleared is not None)
    _, command = question.commands[:2]
    rows = {path: at[path.removesuffix("/.") or "/"] for path in command.argv[3:]}
    said = "".join(f"{device} 9 9 {free} 9% {mount}\n" for mount, free, device in rows.values() if mount)
    gone = "".join(f"df: {path}: No such file or directory\n" for path, (mount, *_) in rows.items() if not mount)
    texts = (roots, f"Filesystem\n{said}", *([] if cleared is None else [cleared]))
    told = [build.answered(c, text) for c, text in zip(question.commands, texts, strict=True)]
    told[1] = replace(told[1], code=bool(gone), stderr=gone)
    return question.understand(told)


@pytest.mark.parametrize(
    ("base", "there", "above", "apart"),
    [
        ("/var", "/data", "/data", True),
        ("/", "/", "/", False),  # the run's own directory is on the data's file system
        ("/", "/data", "/", False),  # a mount of its own: nothing beside it is on the data's file system
        ("/var", "/var/lib/etcd/dh", "/var/lib/etcd", False),  # nor beside a bind mount
        ("/var", "", "/data", False),  # a machine that never was a member
        ("/var", "", "", False),
        ("", "/data", "/data", False),  # not told
    ],
)
def test_it_lies_beside_the_data_where_the_runs_own_directory_is_on_another_mount(
    base: str, there: str, above: str, apart: bool
) -> None:
    found = rooms((base, 1), (there, 2), (above, 2))
    assert found.apart == apart
    assert found.scratch == (Free(2, there) if apart else found.base)
    assert isinstance(found.base, Free) == bool(base)


@pytest.mark.parametrize(
    "rows",
    [
        "998 755 directory\n0 755 directory\n0 755 directory\n0 755 directory",  # etcd's own: it may rename ours
        "0 755 directory\n0 775 directory\n0 755 directory\n0 755 directory",
        "0 1777 directory\n0 755 directory\n0 755 directory\n0 755 directory",
        "0 777 symbolic link\n0 755 directory\n0 755 directory\n0 755 directory",
        "0 755 directory",
        "0 755",
        "",
    ],
)
def test_where_another_account_may_write_beside_the_data_nothing_of_roots_lies_there(rows: str) -> None:
    """It would be exchanged for a link while root works in it."""
    assert rooms(("/var", 1), ("/data", 2), ("/data", 2)).apart
    assert not rooms(("/var", 1), ("/data", 2), ("/data", 2), rows).apart


@pytest.mark.parametrize(("device", "apart"), [("/dev/sda1", False), ("/dev/sdb1", True), ("tmpfs", True)])
def test_two_mounts_of_one_file_system_are_one(device: str, apart: bool) -> None:
    """Bind mounts, or subvolumes that share their room: nothing is won beside the data."""
    assert rooms(("/var", 1), ("/data", 2), ("/data", 2), devices=(device, "/dev/sda1")).apart == apart


def test_its_own_directory_is_asked_for_by_what_is_there_already_and_the_datas_by_itself() -> None:
    commands = bulk.ask_rooms("etcd-1", build.terms()).commands
    assert commands[0].argv[3:] == ("/var/lib/etcd", "/var/lib", "/var", "/") and not commands[0].root
    data = ("/var/lib/etcd", "/var/lib/etcd/dh", "/var/lib/etcd/dh/.", "/var/lib/etcd/.")
    assert [c.argv for c in commands[1:]] == [("df", "-P", "-B1", *ABOVE_BASE, *data)], "all in one"


def own(number: int) -> survivors.Survivor:
    return replace(survivor(number), apart=True)


def salvaged(apart: bool) -> list[Action]:
    terms, found = build.terms(), [replace(survivor(n), apart=apart) for n in (1, 3)]
    return [
        *(command for one in found for command in survivors.copy(terms, one)),
        *survivors.gather(terms, found, "etcd-1"),
        *survivors.unpack(terms, "etcd-1", found, apart),
        *survivors.clear(terms, ("etcd-1", "etcd-3")),
    ]


def tried(apart: bool) -> list[Action]:
    terms, config = build.terms(), build.config(1)
    return [
        *trial.prepare(terms, "etcd-1", apart),
        *trial.restore(terms, "etcd-1", build.BUMPING, config),
        *trial.clear(terms, ["etcd-1"]),
    ]


PLANS = {"salvage": salvaged, "trial": tried}


def words(plan: Sequence[Action]) -> list[str]:
    return [a.line() if isinstance(a, Command) else a.shown() for a in plan]


@pytest.mark.parametrize("kind", PLANS)
def test_apart_only_the_places_are_made_otherwise(kind: str) -> None:
    """All else has the same words, so that the same sudo rules cover it."""
    apart, here = words(PLANS[kind](True)), words(PLANS[kind](False))
    made = [line for line in apart if line not in here]
    assert made and not [line for line in made if " install -d " not in line and " ln -sfT " not in line]
    plan = PLANS[kind](True)
    assert sudoers.unlisted(build.inventory(), [a.line() for a in plan if isinstance(a, Command)]) == []
    copied = [
        c.line() for a in plan if isinstance(a, Copy) for c in (*a.opens(), a.reads(), *a.writes(), *a.names()) if c
    ]
    assert sudoers.unlisted(build.inventory(), copied) == []
    places = [a for a in plan if isinstance(a, Command) and a.argv[0] in ("install", "ln", "mkdir")]
    assert all(map(is_own, places)), "nothing but what is ours"


@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize("apart", [False, True])
def test_the_bytes_lie_where_they_belong_and_nothing_of_it_stays(tmp_path: Path, kind: str, apart: bool) -> None:
    """The commands themselves, on files, up to the clearing."""
    beside, place = tmp_path / f"etcd/requorum-{RUN}.scratch", tmp_path / f"requorum/lab/{RUN}/{kind}"
    (tmp_path / "etcd").mkdir()
    place.parent.mkdir(parents=True)
    plan = [a for a in PLANS[kind](apart) if isinstance(a, Command) and a.host == "etcd-1"]
    places = [c for c in plan if c.argv[0] in ("install", "ln", "mkdir") or "rm" in c.argv]
    cleared = places.pop()
    assert cleared.argv[-2:] == (f"{PLACE}/{kind}", BESIDE)
    for command in places:
        _run(command, tmp_path)
    room = beside / "room" if apart else place / "room"
    assert room.is_dir() and not room.is_symlink() and (place / "room").is_dir()
    assert (beside.exists(), (place / "room").is_symlink()) == (apart, apart)
    if kind == "salvage":
        (place / "packed/1.tar").write_text("a copy")
        assert ((beside if apart else place) / "packed/1.tar").read_text() == "a copy"
    for _ in range(2):  # an attempt after another begins with an empty room
        (place / "room/x").write_text("what an attempt changed")
        again = [
            bulk.clear_room(build.terms(), "etcd-1", kind),
            *bulk.make(build.terms(), "etcd-1", kind, apart, bulk.ROOM),
        ]
        for command in again:
            _run(command, tmp_path)
        assert list((place / "room").iterdir()) == []
    _run(cleared, tmp_path)
    assert not place.exists() and not beside.exists()


def _run(command: Command, top: Path) -> None:
    """Its last program, as whoever runs the test, below `top`."""
    start = next(n for n, word in enumerate(command.argv) if word in ("install", "ln", "mkdir", "rm"))
    argv = [word.replace("/var/lib", str(top)) for word in command.argv[start:]]
    if "-o" in argv:
        argv = argv[: argv.index("-o")] + argv[argv.index("-g") + 2 :]
    subprocess.run([word for word in argv if word != "/dev/null"] if "-d" in argv else argv, check=True)


def test_whoever_clears_knows_both_places_whatever_a_run_decided() -> None:
    """A run of an earlier version had all of it in its own directory; nobody has to know which."""
    terms = build.terms(of=build.replaced())
    assert [c.argv[-2:] for c in survivors.clear(terms, ["etcd-3"]) if "rm" in c.argv] == [(f"{PLACE}/salvage", BESIDE)]
    gone = {(c.host, c.argv[-1]) for c in trial.forget(terms, terms.everyone) if "rm" in c.argv}
    assert {(host, BESIDE) for host in terms.etcd_hosts} <= gone, "of old members too, that gathered copies"
    assert not [host for host, path in gone if path == BESIDE and host not in terms.etcd_hosts]


def test_copies_of_a_salvage_that_was_cut_off_go_wherever_they_are_and_a_finished_save_stays(tmp_path: Path) -> None:
    """No later salvage clears them where the rerun holds none: it was given a snapshot, or is rolled back."""
    scratch = Path(f"{PLACE}/salvage".replace("/var/lib", str(tmp_path)))
    for kind in ("room", "packed"):
        (scratch / kind).mkdir(parents=True)
    (scratch / "salvage.snap").write_text("all that there is of the newest data")
    there = [c for c in trial.forget(build.terms(), build.terms().everyone) if c.host == "etcd-2"]
    assert there[0].argv == ("systemctl", "stop", f"requorum-salvage-{RUN}.service")
    for command in there:
        if "rm" in command.argv:
            _run(command, tmp_path)
    assert [path.name for path in scratch.iterdir()] == ["salvage.snap"]


def test_what_it_lies_in_stays_in_sight_of_a_boot_only_where_it_is_used() -> None:
    terms = build.terms()
    assert bulk.seen_from(terms, apart=False) == ("/var/lib/requorum/lab",)
    assert bulk.seen_from(terms, apart=True) == ("/var/lib/requorum/lab", "/var/lib/etcd")
    assert Rooms(Free(1, "/"), Free(2, "/d")).scratch == Free(1, "/")


@pytest.mark.parametrize(
    ("mounts", "base", "data"),
    [
        (("/var", "/data", "/data"), 3, 1 + 50),  # it lies beside the data now
        (("/", "/", "/"), 3, 3),  # all on one: nothing lies beside the data but of another decision
        (("/", "/data", "/"), 3, 1),  # what lies beside a mount of its own frees nothing on it
    ],
)
def test_scratch_of_before_is_no_lack_of_room_for_a_run_that_is_carried_on(
    mounts: Sequence[str], base: int, data: int
) -> None:
    """It goes before anything is put down; another run's, what is restored and what is not told does not count."""
    rows = {"/trial": 2, "/salvage": 0, "": 99, "/restored": 99}
    left = "".join(f"{size}\t{PLACE}{path}\n" for path, size in rows.items())
    left += f"50\t{BESIDE}\n99\t{BESIDE.removesuffix('.scratch')}\n99\t{BESIDE.replace(RUN, RUN[:-1])}\n"
    one, there, above = ((mount, 1) for mount in mounts)
    found = rooms(one, there, above, cleared=left)
    assert (found.base, found.data) == (Free(base, mounts[0]), Free(data, mounts[1]))
    assert rooms(one, there, above, cleared="") == rooms(one, there, above)
