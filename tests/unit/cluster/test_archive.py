"""Which archives may be unpacked, on real archives as the system's own tar lists them."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.cluster import archive
from requorum.cluster.archive import ArchiveError, Entry
from requorum.refusal import Refusal
from tests.unit.build import refused_by, understood


def item(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def listed(place: Path, *members: tarfile.TarInfo) -> list[Entry]:
    """Makes an archive of these and reads it with the very command that the hosts run."""
    path = place / "a.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b""))
    question = archive.ask_listing("infra-1", str(path))
    argv = question.commands[0].argv
    text = subprocess.run(argv, capture_output=True, text=True, check=True, env={"TZ": "UTC", "PATH": "/usr/bin:/bin"})
    return understood(question, text.stdout)


def link(name: str, target: str) -> tarfile.TarInfo:
    return item(name, tarfile.SYMTYPE, target)


def hard(name: str, target: str) -> tarfile.TarInfo:
    return item(name, tarfile.LNKTYPE, target)


FOLDER = item("dh", tarfile.DIRTYPE)
FILE = item("dh/config.yaml")


class TestWhatIsAccepted:
    def test_files_directories_and_links_inside_are_read_as_they_are(self, tmp_path: Path) -> None:
        members = [FOLDER, FILE, link("dh/latest", "config.yaml"), hard("copy", "dh/config.yaml")]
        assert listed(tmp_path, *members) == [
            Entry("d", "dh/"),
            Entry("-", "dh/config.yaml"),
            Entry("l", "dh/latest", "config.yaml"),
            Entry("h", "copy", "dh/config.yaml"),
        ]

    def test_a_link_may_climb_as_long_as_it_stays_inside(self, tmp_path: Path) -> None:
        assert listed(tmp_path, link("dh/a/b", "../../c"))[0].target == "../../c"

    @pytest.mark.parametrize("name", ["with space", " leading", "two  spaces", "a..b", "...", "dots../x"])
    def test_odd_but_harmless_names_are_kept_to_the_letter(self, tmp_path: Path, name: str) -> None:
        assert listed(tmp_path, item(name))[0].name == name

    def test_a_name_with_a_line_break_is_one_entry(self, tmp_path: Path) -> None:
        assert len(listed(tmp_path, item("a\nb"))) == 1

    def test_an_empty_archive_holds_nothing(self, tmp_path: Path) -> None:
        assert listed(tmp_path) == []


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("member", "says"),
        [
            (item("/etc/passwd"), "would land outside"),
            (item("../passwd"), "would land outside"),
            (item("dh/../../passwd"), "would land outside"),
            (item(".."), "would land outside"),
            (link("dh/x", "/etc/passwd"), "a link that points outside"),
            (link("dh/x", "../../etc/passwd"), "a link that points outside"),
            (link("x", ".."), "a link that points outside"),
            (item("tty", tarfile.CHRTYPE), "neither file, directory nor link"),
            (item("sda", tarfile.BLKTYPE), "neither file, directory nor link"),
            (item("pipe", tarfile.FIFOTYPE), "neither file, directory nor link"),
        ],
        ids=lambda value: f"{value.name} {value.linkname}" if isinstance(value, tarfile.TarInfo) else "",
    )
    def test_what_would_land_or_point_outside(self, tmp_path: Path, member: tarfile.TarInfo, says: str) -> None:
        with pytest.raises(ArchiveError, match=says) as error:
            listed(tmp_path, FILE, member)
        assert str(error.value).startswith(f"infra-1:{tmp_path}/a.tgz: ") and "do not unpack it" in str(error.value)

    @pytest.mark.parametrize("target", ["/etc/passwd", "../etc/passwd"])
    def test_a_hard_link_to_the_outside_is_refused_where_tar_does_not_bend_it_inside(self, target: str) -> None:
        line = f"hrw-r--r-- 0/0               0 1970-01-01 00:00 dh/x link to {target}"
        with pytest.raises(ArchiveError, match="a link that points outside"):
            understood(archive.ask_listing("infra-1", "/a.tgz"), line)

    @pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6711, 0o4644])
    def test_a_file_that_would_give_the_rights_of_its_owner(self, tmp_path: Path, mode: int) -> None:
        odd = item("dh/tool")
        odd.mode = mode
        with pytest.raises(ArchiveError, match="holds dh/tool, which gives whoever runs it the rights of its owner"):
            listed(tmp_path, FILE, odd)
        shared = item("dh", tarfile.DIRTYPE)
        shared.mode = 0o2775
        assert listed(tmp_path, shared, FILE), "a directory that gives its group on is no such file"

    def test_more_than_any_configuration_has_is_not_unpacked(self) -> None:
        asked = archive.ask_listing("infra-1", "/a.tgz")
        line = "-rw-r--r-- 0/0 {} 1970-01-01 00:00 dh/{}\n"
        whole = "".join(line.format(1, n) for n in range(archive.MOST_ENTRIES))
        assert len(understood(asked, whole)) == archive.MOST_ENTRIES
        for said in (whole + line.format(1, "x"), line.format(archive.MOST_BYTES + 1, "x"), line.format("9" * 39, "x")):
            with pytest.raises(ArchiveError, match="it is no archive of configuration"):
                understood(asked, said)

    def test_a_link_whose_name_looks_like_an_arrow(self, tmp_path: Path) -> None:
        with pytest.raises(ArchiveError):
            listed(tmp_path, link("x -> ok", "/etc"))

    def test_a_link_that_climbs_out_through_another_link(self, tmp_path: Path) -> None:
        with pytest.raises(ArchiveError):
            listed(tmp_path, link("s", "."), link("t", "s/../x"))

    def test_dots_inside_a_name_although_they_cancel_out(self, tmp_path: Path) -> None:
        with pytest.raises(ArchiveError):
            listed(tmp_path, item("dh/../config.yaml"))

    def test_a_name_that_tar_would_take_for_an_option(self, tmp_path: Path) -> None:
        entries = listed(tmp_path, item("--checkpoint-action=exec=id"))
        names = archive.top_level(entries)
        argv = archive.repack("infra-1", "/patched", names, "/a.tgz")[1].argv
        assert "--" in argv or not any(word.startswith("--checkpoint") for word in argv)

    def test_a_role_that_would_lead_elsewhere_has_no_password_in_it(self, tmp_path: Path) -> None:
        with pytest.raises(Refusal, match="its role is 'a b'"):
            listed(tmp_path, item("dh/a b/password"))

    @given(st.text(max_size=2000))
    def test_whatever_a_host_says_is_a_listing_or_a_refusal_that_names_it(self, text: str) -> None:
        with refused_by("infra-1:/a.tgz"):
            understood(archive.ask_listing("infra-1", "/a.tgz"), text)

    def test_a_line_that_is_not_tars(self) -> None:
        with pytest.raises(ArchiveError, match="cannot be read"):
            understood(archive.ask_listing("infra-1", "/a.tgz"), "tar: Removing leading `/' from member names")


class TestFindingTheParts:
    def test_a_role_is_the_directory_of_a_password(self) -> None:
        entries = [Entry("-", "client/root/password"), Entry("-", "client/root/user"), Entry("d", "x/password/")]
        assert archive.role_directories(entries) == [("root", "client/root")]

    @pytest.mark.parametrize(
        ("names", "top"),
        [(["./", "./a"], ["."]), (["a/", "a/b", "c"], ["a", "c"]), (["."], ["."])],
    )
    def test_a_repacked_archive_spells_its_members_as_the_first_did(self, names: list[str], top: list[str]) -> None:
        assert archive.top_level([Entry("-", name) for name in names]) == top


def packed(place: Path, make: Callable[[Path], object] = lambda inside: None, top: str = "1") -> Path:
    """An archive as a member packs its data, with what `make` puts beside it."""
    inside = place / "data" / top / "member" / "snap"
    inside.mkdir(parents=True)
    (inside / "db").write_bytes(b"x")
    make(inside)
    path = place / "1.tar"
    subprocess.run(["tar", "--create", "--sparse", f"--file={path}", f"--directory={place / 'data'}", top], check=True)
    return path


def judged(path: Path, top: str = "1") -> subprocess.CompletedProcess[str]:
    command = archive.judge("etcd-1", str(path), top, "etcd-2's trial data")
    assert command.accept == (0,)
    return subprocess.run(command.argv, capture_output=True, text=True, check=False)


def test_data_of_files_and_directories_is_unpacked(tmp_path: Path) -> None:
    assert judged(packed(tmp_path)).returncode == 0
    assert judged(packed(tmp_path / "salvage", top="."), ".").returncode == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda inside: (inside / "link").symlink_to("/etc"),
        lambda inside: (inside / "twice").hardlink_to(inside / "db"),
        lambda inside: os.mkfifo(inside / "pipe"),
        lambda inside: (inside / "db").chmod(0o4755),
        lambda inside: (inside / "a name\nof two lines").write_bytes(b""),
    ],
    ids=["link", "hard link", "pipe", "setuid", "a name"],
)
def test_what_could_lead_root_astray_is_not_unpacked(tmp_path: Path, make: Callable[[Path], object]) -> None:
    found = judged(packed(tmp_path, make))
    assert found.returncode == 1 and "1/member/snap" in found.stderr


def test_one_member_s_archive_cannot_hold_another_s_data(tmp_path: Path) -> None:
    path = packed(tmp_path, top="2")
    assert judged(path).returncode == 1 and judged(path, "2").returncode == 0
    shorter = packed(tmp_path / "b", top="11")
    assert judged(shorter).returncode == 1


@pytest.mark.parametrize("name", ["1/../../etc/x", "/etc/x", "1/../2"])
def test_a_name_that_leads_elsewhere_is_not_unpacked(tmp_path: Path, name: str) -> None:
    path = tmp_path / "1.tar"
    with tarfile.open(path, "w") as made:
        made.addfile(tarfile.TarInfo(name), io.BytesIO())
    assert judged(path).returncode == judged(path, ".").returncode == 1
