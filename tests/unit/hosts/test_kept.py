"""Small files of ours: whole or as before, whatever happens to the command. Real files, by the shells of hosts."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from requorum.command import Command
from requorum.hosts import batch, kept
from requorum.hosts.kept import File, Lock, Places
from requorum.run.aftermath import Aftermath, Thing, is_own
from requorum.troubleshoot import sudoers
from tests.unit import build

SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]
WORDS = json.dumps({"user": "* ann  of", "key": "a1"})


def run(shell: str, command: Command, content: bytes | None = None) -> int:
    given = command.stdin if content is None else content
    return subprocess.run(
        (shell, *command.argv[command.argv.index("-c") :]), input=given, capture_output=True, check=False
    ).returncode


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(str(tmp_path / "ours"), str(tmp_path / "ours" / "lab"), str(tmp_path / "ours" / "lab" / "run"))


@pytest.fixture
def mark(places: Places) -> Path:
    return Path(places.cluster) / "run.json"


@pytest.fixture
def birth(places: Places) -> Path:
    return Path(places.own) / "birth.json"


def files(*paths: Path, line: str) -> list[File]:
    return [File(str(path), f"{n} {line}\n") for n, path in enumerate(paths)]


def test_it_is_written_for_root_only_and_nothing_stays_beside_it(
    shell: str, places: Places, mark: Path, birth: Path
) -> None:
    for line in ('{"a": "\\u00e9 \\n * $x"}', '{"b": 2}'):
        one, two = files(mark, birth, line=line)
        assert run(shell, kept.write("h", one, "why", two, places)) == 0
        assert [path.read_text() for path in (mark, birth)] == [one.line, two.line]
    assert sorted(p.name for p in mark.parent.rglob("*")) == ["birth.json", "run", "run.json"]
    assert [oct(Path(p).stat().st_mode)[-3:] for p in (mark, birth, *places)] == ["600", "600", "700", "700", "700"]


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("lacking", [1, 3, 1000], ids=["its end", "a blank and more", "all"])
def test_what_is_cut_off_on_its_way_leaves_what_was_there(
    shell: str, places: Places, mark: Path, birth: Path, both: bool, lacking: int
) -> None:
    (old, older), (new, newer) = (files(mark, birth, line=line) for line in ("old", '{"a": 1, "b"'))
    assert run(shell, kept.write("h", old, "why", older, places)) == 0
    command = kept.write("h", new, "why", newer if both else None)
    assert command.stdin and run(shell, command, command.stdin[:-lacking]) != 0
    assert [mark.read_text(), birth.read_text()] == [old.line, older.line]
    assert run(shell, command) == 0, "what was left beside it is written over"
    assert [mark.read_text(), birth.read_text()] == [new.line, newer.line if both else older.line]


def test_of_two_files_none_is_written_where_only_the_first_has_arrived(
    shell: str, places: Places, mark: Path, birth: Path
) -> None:
    one, two = files(mark, birth, line="{}")
    assert run(shell, kept.write("h", one, "why", two, places), one.line.encode()) != 0
    assert not mark.exists() and not birth.exists()


def test_what_an_interrupted_writing_left_beside_it_does_no_harm(shell: str, mark: Path) -> None:
    mark.parent.mkdir(parents=True)
    mark.with_name("run.json.part").write_bytes(b"longer than what is written now\n" * 99)
    assert run(shell, kept.write("h", File(str(mark), "{}\n"), "why")) == 0 and mark.read_bytes() == b"{}\n"


@pytest.mark.parametrize("there", ["", WORDS.replace("a1", "b2"), WORDS.replace("  ", " "), f"{WORDS} ", "* ann"])
def test_who_lost_the_lock_writes_nothing(shell: str, places: Places, mark: Path, birth: Path, there: str) -> None:
    one, two = files(mark, birth, line="{}")
    lock = mark.with_name("lock")
    commands = [kept.write_flushed("h", one, "why", also, places, Lock(str(lock), WORDS)) for also in (None, two)]
    lock.parent.mkdir(parents=True)
    if there:
        lock.symlink_to(there)
    for command in commands:
        assert run(shell, command) != 0
    assert [p.name for p in lock.parent.iterdir()] == (["lock"] if there else [])
    lock.unlink(missing_ok=True)
    lock.symlink_to(WORDS)
    assert [run(shell, command) for command in commands] == [0, 0]
    assert [mark.read_text(), birth.read_text()] == [one.line, two.line]


def test_it_goes_in_one_trip_with_others_and_a_plan_knows_its_content() -> None:
    base = "/var/lib/requorum"
    one, two = File(f"{base}/lab/run.json", "1\n"), File(f"{base}/lab/r/birth.json", "2\n")
    command = kept.write_flushed("h", one, "why", two, Places(base, f"{base}/lab", f"{base}/lab/r"), Lock("/l", "w"))
    after = Aftermath()
    after.note(command)
    assert batch.fits(command) and kept.targets(("sh", "-c", "true", "/x")) == ()
    assert [after.at("h", file.path) for file in (one, two)] == [Thing("bytes", content=c) for c in (b"1\n", b"2\n")]
    assert is_own(kept.write("h", one, "why", two)) and not is_own(kept.write("h", one, "why", File("/etc/x", "2\n")))


def test_sudoers_spells_each_text_as_it_is_with_no_pattern_in_it() -> None:
    words = [need.arguments for need in sudoers.needed(build.inventory())]
    for text in (*kept.TEXTS, kept.TREE, kept.WHOLE):
        assert any(f"sh -c {text} /var/lib/requorum/lab/" in line for line in words), text
        assert sudoers.spelled(text).replace("\\=", "=") == text
        assert not set("*?[]!\"'\\#\n") & set(text)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """With a name that a shell would split or take for a pattern, a link, and modes of its own."""
    at = tmp_path / "of the * host\nand $(more)" / "client"
    (at / "root").mkdir(parents=True)
    (at / "root").chmod(0o750)
    (at / "root" / "password").write_text("x\n")
    (at / "root" / "password").chmod(0o640)
    (at / "latest").symlink_to("root")
    return at


def same(copy: Path, source: Path) -> bool:
    def listed(at: Path) -> list[tuple[str, int, float, str]]:
        each = [(path, path.lstat()) for path in sorted(at.rglob("*"))]
        return [(str(p.relative_to(at)), s.st_mode, s.st_mtime, p.resolve().name) for p, s in each]

    return listed(copy) == listed(source) and (copy / "root" / "password").read_text() == "x\n"


RECORD = json.dumps({"entries": "\u00e9 * \\n"}) + "\n"


def test_a_record_and_its_copies_are_as_on_the_host(shell: str, tmp_path: Path, source: Path) -> None:
    place, file = tmp_path / "before", source.parent.parent / "a unit"
    file.write_text("[Unit]\n")
    assert run(shell, kept.tree("h", str(place), [str(source), str(file)], RECORD, "why")) == 0
    assert (place / kept.RECORD).read_text() == RECORD and same(Path(f"{place}/tree{source}"), source)
    assert Path(f"{place}/tree{file}").read_text() == "[Unit]\n"
    assert oct(place.stat().st_mode)[-3:] == "700" and not Path(f"{place}.part").exists()
    empty = tmp_path / "empty"
    assert run(shell, kept.tree("h", str(empty), [], RECORD, "why")) == 0
    assert sorted(p.name for p in empty.iterdir()) == [kept.RECORD, "tree"]


@pytest.mark.parametrize("lacking", [1, 5, 1000], ids=["its end", "more", "all"])
def test_a_record_that_is_cut_off_gets_no_name_and_is_made_anew(
    shell: str, tmp_path: Path, source: Path, lacking: int
) -> None:
    place = tmp_path / "before"
    command = kept.tree("h", str(place), [str(source)], RECORD, "why")
    assert command.stdin and run(shell, command, command.stdin[:-lacking]) != 0 and not place.exists()
    (tmp_path / "before.part" / "tree" / "stale").write_text("of another time")
    assert run(shell, command) == 0 and not (place / "tree" / "stale").exists()


def test_what_cannot_be_copied_gets_no_name(shell: str, tmp_path: Path, source: Path) -> None:
    place = tmp_path / "before"
    for paths in ([str(source), "/not there", str(source / "root")], ["/not there"]):
        assert run(shell, kept.tree("h", str(place), paths, RECORD, "why")) != 0 and not place.exists()
    assert run(shell, kept.whole("h", "/not-there", str(place), "why")) != 0 and not place.exists()


def test_a_record_is_never_written_again(shell: str, tmp_path: Path, source: Path) -> None:
    place = tmp_path / "before"
    assert run(shell, kept.tree("h", str(place), [], RECORD, "why")) == 0
    assert run(shell, kept.tree("h", str(place), [str(source)], "{}\n", "why")) != 0
    assert (place / kept.RECORD).read_text() == RECORD


def test_a_directory_is_copied_whole_and_what_was_left_is_cleared(shell: str, tmp_path: Path) -> None:
    source, place = tmp_path / "client", tmp_path / "client.before"
    for at in (source, tmp_path / "client.before.part"):
        (at / "root").mkdir(parents=True)
        (at / "root" / "password").write_text("x\n")
    (tmp_path / "client.before.part" / "stale").write_text("of another time")
    assert run(shell, kept.whole("h", str(source), str(place), "why")) == 0
    assert same(place, source) and sorted(p.name for p in tmp_path.iterdir()) == ["client", "client.before"]
    (source / "root" / "password").write_text("new\n")
    assert run(shell, kept.whole("h", str(source), str(place), "why")) != 0, "it is there"
    assert (place / "root" / "password").read_text() == "x\n"


def test_a_plan_knows_what_they_leave() -> None:
    base = "/var/lib/requorum/lab/r"
    made, copy = kept.tree("h", f"{base}/before", ["/etc/x"], RECORD, "why"), kept.whole("h", "/etc/c", f"{base}/c", "")
    after = Aftermath()
    for command in (made, copy):
        after.note(command)
        assert batch.fits(command) and is_own(command)
    assert after.at("h", f"{base}/before/record.json") == Thing("bytes", content=RECORD.encode())
    assert after.at("h", f"{base}/before/tree/etc/x/y") == Thing("real", "/etc/x/y")
    assert after.at("h", f"{base}/c/root") == Thing("real", "/etc/c/root") and after.at("h", "/etc/x").kind == "real"
    assert not is_own(kept.whole("h", "/etc/c", "/etc/d", ""))
