"""A line arrives at `sh` as it was written, through every shell that a login may have, and its answer is found."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
from pathlib import Path

import pytest

from requorum.command import SUM, Collect, Copy, Fetch, look
from requorum.evidence.journal import Journal
from requorum.hosts import shell
from requorum.hosts.fleet import Fleet, FleetError, Unreachable
from requorum.hosts.question import NOT_THERE
from requorum.hosts.shell import Login
from requorum.run import facts
from requorum.snapshots.on_host import Origin, ask_source
from tests.unit import build

SHELLS = [name for name in ("sh", "bash", "zsh", "tcsh", "fish") if shutil.which(name)]
MARK = "0123456789abcdef"
NASTY = 'it\'s $HOME `id` "\\\\n" !x !! \\! *? {a,b} ~ # ; | & < >\nand\ta second line \\'


@pytest.mark.parametrize("name", SHELLS)
def test_a_line_arrives_as_it_was_written_and_keeps_its_input(name: str) -> None:
    line = shell.carried('printf %s "$(cat)"', MARK, name)
    done = subprocess.run([name, "-c", line], input=NASTY, capture_output=True, text=True, check=True)
    assert shell.answer(done.stdout, MARK) == ("", NASTY)
    words = look("h", "printf", "%s", NASTY, why="", root=False).line()
    done = subprocess.run([name, "-c", shell.carried(words, MARK, name)], capture_output=True, text=True, check=True)
    assert shell.answer(done.stdout, MARK) == ("", NASTY)


def test_what_only_lies_in_sbin_is_found_and_what_the_login_prefers_stays_first() -> None:
    line = shell.carried("echo $PATH", MARK)
    done = subprocess.run(["/bin/sh", "-c", line], env={"PATH": "/opt/own:/bin"}, capture_output=True, text=True)
    assert done.stdout == f"{MARK}\n/opt/own:/bin:/usr/local/sbin:/usr/sbin:/sbin\n"


def test_stray_text_is_cut_off_also_without_a_line_of_its_own() -> None:
    assert shell.answer(f"Welcome{MARK}\nyes\n", MARK) == ("Welcome", "yes\n")
    assert shell.answer("Welcome\n", MARK) is None
    pipe = io.BytesIO(f"a\nWelcome{MARK}\n".encode() + b"\0\1\n")
    assert shell.skip(pipe, MARK.encode()) and pipe.read() == b"\0\1\n"
    assert not shell.skip(io.BytesIO(b"Welcome\n"), MARK.encode())


@pytest.mark.parametrize(
    ("said", "found", "words"),
    [
        (f"{MARK}\n/bin/bash\n", Login("bash", ""), ""),
        (f"{MARK}\n/usr/bin/fish\n", Login("fish", ""), "its login's shell is fish"),
        (
            f"Hi\n{MARK}\n/bin/tcsh\n",
            Login("tcsh", "Hi"),
            "its login's shell is tcsh and prints 'Hi' before every answer, which is cut off",
        ),
        (f"{MARK}\n\n", Login("sh", ""), ""),
        (f"{MARK}\nno path; rm\n", Login("sh", ""), ""),
        ("This account is currently not available.\n", None, ""),
    ],
)
def test_what_a_login_is_like_is_told(said: str, found: Login | None, words: str) -> None:
    assert shell.login(said, MARK) == found
    assert str(found or "") == words


# -- over ssh ----------------------------------------------------------------------------------------------------

SSH = """#!/bin/sh
for last; do :; done
[ "$last" = "$REQUORUM_ADDRESS" ] && exit 0
printf 'Welcome to prod!\\nIt is yours'
SHELL=$(command -v {shell}) exec {shell} -c "$last"
"""
SUDO = '#!/bin/sh\nshift; exec "$@"\n'


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Fleet:
    """Hosts that print a banner before every answer, by a login with the shell of the test's parameter."""
    for name, text in {"ssh": SSH.replace("{shell}", request.param), "sudo": SUDO}.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    return Fleet(build.inventory(), Journal(tmp_path / "evidence"))


@pytest.mark.parametrize("hosts", SHELLS, indirect=True)
def test_no_way_to_ask_a_host_takes_its_banner_for_the_answer(hosts: Fleet, tmp_path: Path) -> None:
    one, two = (look("etcd-1", "printf", "%s\\n", word, why="", root=False) for word in (NASTY, "b"))
    data = bytes(range(256)) * 9
    (tmp_path / "data").write_bytes(data)
    told: list[tuple[str, int | None]] = []
    with hosts as fleet:
        fleet.watch.copying = lambda what, size: told.append((what, size))  # type: ignore[method-assign]
        assert [result.stdout for result in fleet.run([one])] == [f"{NASTY}\n"]
        assert [result.stdout for result in fleet.run([one, two])] == [f"{NASTY}\n", "b\n"]
        assert fleet.machines["etcd-1"].see.run("printf '%%s' %s; exit 3", NASTY).stdout == NASTY
        assert fleet.machines["etcd-1"].see.file(str(tmp_path / "data")).size == len(data)
        fleet.run([Copy(str(tmp_path / "data"), (("etcd-2", str(tmp_path / "copy")),), "copy", "etcd-1")])
        digest = fleet.run([look("etcd-1", "sha256sum", str(tmp_path / "data"), why="", root=False)])[0].stdout[:64]
        fleet.run(
            [Fetch("etcd-1", str(tmp_path / "data"), str(tmp_path / "here"), "fetch", digest)]
        )  # of unknown length
        with pytest.raises(FleetError, match=f"etcd-1: fetch of {tmp_path}/data: sends more than the 7 bytes"):
            fleet.run([Fetch("etcd-1", str(tmp_path / "data"), str(tmp_path / "more"), "fetch", digest, 7)])
        assert not (tmp_path / "more").exists()
        assert told == [("copy", None), ("fetch", None), ("fetch", 7)]
        fleet.collect([Collect(two, str(tmp_path / "collected"), 1000)])
        assert "prints 'Welcome to prod!\\nIt is yours' before every answer" in str(fleet.logins["etcd-1"])
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "here").read_bytes() == data
    assert (tmp_path / "collected").read_text() == "b\n"


@pytest.mark.parametrize("hosts", ["false"], indirect=True)
def test_a_login_that_runs_no_command_is_named_with_what_it_says(hosts: Fleet) -> None:
    with (
        hosts as fleet,
        pytest.raises(FleetError, match="etcd-1: its login's shell runs no command: ") as error,
    ):
        fleet.run([look("etcd-1", "true", why="", root=False)])
    assert "It is yours" in error.value.what and not isinstance(error.value, Unreachable)
    assert "docs/preparing.md#the-login" in error.value.remedy and "--gone" not in error.value.remedy


@pytest.mark.parametrize("openssl", ["there", "not there", "failing"])
def test_the_sha_256_of_a_file_is_told_by_openssl_or_else_by_sha256sum(tmp_path: Path, openssl: str) -> None:
    (tmp_path / "bin").mkdir()
    for tool in ("cat", "sh", "sha256sum", *(["openssl"] if openssl == "there" else [])):
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    if openssl == "failing":
        (tmp_path / "bin/openssl").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "bin/openssl").chmod(0o755)
    (tmp_path / "a file").write_text("data")

    def told(name: str) -> subprocess.CompletedProcess[str]:
        argv = ["sh", "-c", SUM, str(tmp_path / name)]
        return subprocess.run(argv, env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True, check=False)

    said = told("a file")
    assert (said.returncode, facts.digest(said.stdout)) == (0, hashlib.sha256(b"data").hexdigest())
    assert ("*" in said.stdout) is (openssl == "there"), "whichever is quicker"
    gone = told("gone")
    assert gone.returncode != 0 and "sha256sum: " in gone.stderr and gone.stderr.strip().endswith(NOT_THERE)


@pytest.mark.parametrize("openssl", ["there", "not there", "failing"])
def test_and_so_is_that_of_all_before_a_snapshot_s_end(tmp_path: Path, openssl: str) -> None:
    """What is in a pipe cannot be read again by another."""
    (tmp_path / "bin").mkdir()
    tools = ("sh", "sha256sum", "tail", "head", "od", "tr", *(["openssl"] if openssl == "there" else []))
    for tool in tools:
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    if openssl == "failing":
        (tmp_path / "bin/openssl").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "bin/openssl").chmod(0o755)
    data = hashlib.sha256(b"data")
    (tmp_path / "snapshot.db").write_bytes(b"data" + data.digest())
    *_, ends = ask_source(Origin("file", None, 0, "now"), "h", str(tmp_path / "snapshot.db")).commands
    said = subprocess.run(ends.argv, env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True, check=False)
    carried, computed = said.stdout.splitlines()
    assert (said.returncode, carried, computed.split(" ")[0]) == (0, data.hexdigest(), data.hexdigest())
