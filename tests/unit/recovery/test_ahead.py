"""Every member's restore before the commit: the very words of Step 4, beside its place, and moved only when whole."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from requorum.cluster.etcd import MemberConfig
from requorum.command import Command
from requorum.hosts.question import Question
from requorum.recovery import ahead, plan
from requorum.recovery.ahead import Ahead
from requorum.run.aftermath import is_own
from requorum.run.marker import Phase
from requorum.run.terms import Terms
from requorum.troubleshoot import sudoers
from tests.unit import build
from tests.unit.build import HUGE, LONG, PLACE, RUN, SCOPE, SHORT, TOKEN, lines

HOSTS = ("etcd-1", "etcd-2", "etcd-3")
ROOT = "/var/lib/etcd/dh"
DATA = f"{ROOT}/{TOKEN}"
BESIDE = f"/var/lib/etcd/requorum-{RUN}"
CONFIGS: dict[str, MemberConfig] = {host: build.config(n, TOKEN) for n, host in enumerate(HOSTS, start=1)}
TOOLS = dict.fromkeys(HOSTS, build.BUMPING)
SHA = "5a" * 32


def note(terms: Terms | None = None, sha256: str = SHA, host: str = "etcd-1") -> str:
    return ahead.note(terms or build.terms(), build.BUMPING, CONFIGS[host], sha256)


def whole(host: str) -> Ahead:
    return Ahead(movable=True, note=note(host=host), left=True)


def step_4(
    found: dict[str, Ahead], existing: dict[str, tuple[str, ...]] | None = None, terms: Terms | None = None
) -> list[Command]:
    there = {host: (f"{ROOT}/.", *(existing or {}).get(host, ())) for host in HOSTS}
    return plan.restore(terms or build.terms(), TOOLS, CONFIGS, there, SHA, found)


def of(plan: list[Command], host: str) -> list[str]:
    return [line.removeprefix(f"{host}: ") for line in lines(plan) if line.startswith(f"{host}: ")]


def test_it_lies_beside_the_data_gets_its_name_only_when_it_is_whole_and_is_the_etcd_accounts() -> None:
    made = ahead.restore(build.terms(), "etcd-2", build.BUMPING, CONFIGS["etcd-2"], SHA)
    words = next(c.argv for c in made if "restore" in c.argv)
    assert of(made, "etcd-2") == [
        f"{SHORT} install -d -m 700 -o etcd -g etcd {BESIDE}",
        f"{HUGE} {' '.join(words)}",
        f"{SHORT} chown -R etcd:etcd {BESIDE}/data.restoring",
        f"{SHORT} chmod 700 {BESIDE}/data.restoring",
        build.written(f"{PLACE}/restored.ahead"),
        f"{SHORT} mv -T {BESIDE}/data.restoring {BESIDE}/data",
    ]
    assert all(map(is_own, made)), "nothing but what is ours"


def test_it_is_the_very_restore_of_step_4_in_another_place() -> None:
    def words(plan: list[Command]) -> list[list[str]]:
        return [[w for w in c.argv if not w.startswith("--data-dir=")] for c in plan if "restore" in c.argv]

    early = [c for h in HOSTS for c in ahead.restore(build.terms(), h, build.BUMPING, CONFIGS[h], SHA)]
    assert len(words(early)) == 3 and words(early) == words(step_4({}))


def test_what_was_restored_is_only_moved_and_what_was_cut_on_its_way_there_is_gone() -> None:
    moved = step_4({host: whole(host) for host in HOSTS}, {"etcd-2": (f"{DATA}.restoring",)})
    halves = [line for line in lines(moved) if line.endswith(f"rm -rf {DATA}.restoring")]
    assert halves == [f"etcd-2: {LONG} {SCOPE} rm -rf {DATA}.restoring"] and of(moved, "etcd-2")[1] in halves[0]
    assert of(moved, "etcd-3") == [
        build.written(f"{PLACE}/restored"),
        f"{SHORT} mv -T {BESIDE}/data {BESIDE}/leaving",
        f"{SHORT} mv -T {BESIDE}/leaving {DATA}.restoring",
        f"{SHORT} mv -T {DATA}.restoring {DATA}",
        f"{LONG} {SCOPE} rm -rf {BESIDE}",
    ]
    assert build.stdins(moved) == [f"{SHA}\n".encode()] * 3


@pytest.mark.parametrize("cut", range(1, 4))
def test_wherever_the_move_is_cut_what_lies_there_is_moved_on_or_restored_but_never_half_a_member(
    tmp_path: Path, cut: int
) -> None:
    """The commands themselves, on files; `mv` is one that copies, and is cut when it has removed half of its source."""
    root, beside = tmp_path / "dh", tmp_path / f"requorum-{RUN}"
    (beside / "data/member").mkdir(parents=True)
    (beside / "data/member/db").write_text("whole")
    root.mkdir()
    moves = [c.argv for c in step_4({"etcd-1": whole("etcd-1")}) if c.host == "etcd-1" and c.argv[0] == "mv"][:3]
    for n, argv in enumerate(moves[:cut], start=1):
        source, target = (Path(w.replace("/var/lib/etcd", str(tmp_path))) for w in argv[-2:])
        if n == cut and n == 2:
            shutil.copytree(source, target)
            (source / "member/db").unlink()
        else:
            source.rename(target)
    for complete in (beside / "data", root / TOKEN):
        assert not complete.exists() or (complete / "member/db").read_text() == "whole"


OTHERS = [
    Ahead(movable=True),  # nothing, as where a run of an earlier version is carried on
    Ahead(movable=True, left=True),  # a half restore
    replace(whole("etcd-1"), note=note(sha256="other")),
    replace(whole("etcd-1"), note=note(build.terms(of=build.inventory(etcd={"revision_bump": 7})))),
    replace(whole("etcd-1"), note=ahead.note(build.terms(), build.OLDER, CONFIGS["etcd-1"], SHA)),
    replace(whole("etcd-1"), note=note(host="etcd-2")),
    replace(whole("etcd-1"), movable=False),
]


@pytest.mark.parametrize("found", OTHERS)
def test_anything_else_is_restored_in_step_4_as_ever_and_does_not_stay(found: Ahead) -> None:
    made = of(step_4({"etcd-1": found, "etcd-2": whole("etcd-2"), "etcd-3": whole("etcd-3")}), "etcd-1")
    as_ever = of(step_4({}), "etcd-1")
    assert made == [*([f"{LONG} {SCOPE} rm -rf {BESIDE}"] if found.left else []), *as_ever]


def test_cut_between_the_move_and_the_tidying_it_is_tidied() -> None:
    made = step_4({host: Ahead(movable=True, left=True) for host in HOSTS}, dict.fromkeys(HOSTS, (f"{DATA}/member",)))
    assert of(made, "etcd-1") == [f"{LONG} {SCOPE} rm -rf {BESIDE}"]


def test_nothing_is_moved_once_the_new_etcd_was_started() -> None:
    assert step_4({host: whole(host) for host in HOSTS}, terms=build.terms(Phase.STARTED)) == []


def asked(
    host: str, question: Question[Ahead], there: dict[str, str], said: str, mounts: tuple[str, str] = ("/", "/")
) -> Ahead:
    rows = "".join(f"{inode} {path}\n" for path, inode in there.items())
    lacks = [path for path, mount in zip((f"{ROOT}/.", "/var/lib/etcd/."), mounts, strict=True) if not mount]
    room = "".join(["Filesystem\n", *(f"/x 9 9 9 9% {mount}\n" for mount in mounts if mount)])
    told = [build.answered(c, text) for c, text in zip(question.commands, (rows, said, room), strict=False)]
    complaints = "".join(f"df: {path}: No such file or directory\n" for path in lacks)
    return question.understand([*told[:2], *(replace(one, stderr=complaints) for one in told[2:])])


ON_ONE = {f"{ROOT}/.": "7:1", "/var/lib/etcd/.": "7:2"}
MADE = {BESIDE: "7:3", f"{BESIDE}/data": "7:4"}


@pytest.mark.parametrize(
    ("there", "config", "expected"),
    [
        (ON_ONE, CONFIGS["etcd-1"], Ahead(movable=True)),
        ({**ON_ONE, **MADE}, CONFIGS["etcd-1"], Ahead(True, "it", True)),
        ({**ON_ONE, BESIDE: "7:3"}, CONFIGS["etcd-1"], Ahead(True, "", True)),  # a half restore
        ({f"{ROOT}/.": "8:1", "/var/lib/etcd/.": "7:2"}, CONFIGS["etcd-1"], Ahead()),  # a volume of its own
        ({"/var/lib/etcd/.": "7:2"}, CONFIGS["etcd-1"], Ahead()),  # a machine that never was a member
        ({}, CONFIGS["etcd-1"], Ahead()),
        (ON_ONE, build.config(1, data_dir="/elsewhere/data"), Ahead()),
        ({**ON_ONE, **MADE}, None, Ahead(False, "it", True)),
    ],
)
def test_it_can_be_moved_where_a_new_name_is_all_it_needs(
    there: dict[str, str], config: MemberConfig | None, expected: Ahead
) -> None:
    assert asked("etcd-1", ahead.ask(build.terms(), "etcd-1", config), there, "it\n") == expected


@pytest.mark.parametrize(
    ("mounts", "movable"),
    [
        (("/data", "/data"), True),
        (("/var/lib/etcd/dh", "/"), False),  # a bind mount: one device, and `mv` copies
        (("", "/"), False),  # df does not tell
        (("", ""), False),
    ],
)
def test_on_another_mount_of_the_same_device_a_new_name_would_not_do(mounts: tuple[str, str], movable: bool) -> None:
    question = ahead.ask(build.terms(), "etcd-1", CONFIGS["etcd-1"])
    assert asked("etcd-1", question, ON_ONE, "", mounts).movable == movable


def test_it_is_removed_on_new_members_alone() -> None:
    terms = build.terms(of=build.replaced())
    assert {c.host for c in ahead.forget(terms, terms.everyone)} == {"etcd-1", "etcd-2", "etcd-4"}
    assert lines(plan.tidy(build.terms()))[-3:] == [f"{host}: {LONG} {SCOPE} rm -rf {BESIDE}" for host in HOSTS]


def test_the_lines_for_sudoers_cover_all_of_it() -> None:
    terms = build.terms()
    made = [
        *ahead.restore(terms, "etcd-1", build.BUMPING, CONFIGS["etcd-1"], SHA),
        *step_4({"etcd-1": whole("etcd-1")}),
    ]
    made += [*ahead.ask(terms, "etcd-1", CONFIGS["etcd-1"]).commands]
    assert sudoers.unlisted(terms.inventory, [command.line() for command in made]) == []
