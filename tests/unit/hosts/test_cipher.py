"""Of the site's own ciphers the quick ones come first; no other is ever added, and none is left out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from requorum.hosts import cipher
from tests.unit import build

GCM, CTR, CHACHA = "aes256-gcm@openssh.com", "aes256-ctr", "chacha20-poly1305@openssh.com"


def ciphers(words: tuple[str, ...]) -> list[str]:
    """As ssh itself understands them."""
    told = subprocess.run((words[0], "-G", *words[1:]), capture_output=True, text=True, check=True).stdout
    return next(line for line in told.splitlines() if line.startswith("ciphers ")).split(" ")[1].split(",")


def quicker(prefix: tuple[str, ...]) -> tuple[str, ...]:
    return cipher.quicker(build.inventory(), prefix[-1], prefix, 10)


@pytest.fixture
def flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "cpuinfo"
    file.write_text("flags\t\t: fpu aes avx2\n")
    monkeypatch.setattr(cipher, "_FLAGS", file)
    return file


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (f"{CTR},{GCM}", [GCM, CTR]),
        (f"{GCM},{CTR}", [GCM, CTR]),
        (CTR, [CTR]),
        (f"{CHACHA},{CTR},aes128-gcm@openssh.com,{GCM}", ["aes128-gcm@openssh.com", GCM, CHACHA, CTR]),
    ],
)
def test_the_quick_ones_of_the_site_s_own_come_first(
    tmp_path: Path, flags: Path, site: str, expected: list[str]
) -> None:
    """Broken once: with `^` before ours, ssh took its own defaults in place of the site's."""
    (tmp_path / "config").write_text(f"Host *\n    Ciphers {site}\n")
    prefix = ("ssh", "-F", str(tmp_path / "config"), "-o", "BatchMode=yes", "etcd-1")
    assert ciphers(quicker(prefix)) == expected


def test_where_ssh_s_own_are_taken_none_is_lost(flags: Path) -> None:
    prefix = ("ssh", "-F", "none", "etcd-1")
    own, quick = ciphers(prefix), ciphers(quicker(prefix))
    assert sorted(own) == sorted(quick) and quick[0] in cipher.QUICK


@pytest.mark.parametrize("why", ["no instructions", "no cpuinfo", "no ssh", "ssh fails", "no member"])
def test_else_it_stays_as_it_is(tmp_path: Path, flags: Path, why: str) -> None:
    if why == "no cpuinfo":
        flags.unlink()
    if why == "no instructions":
        flags.write_text("flags\t\t: fpu avx2\n")
    host = "query-1" if why == "no member" else "etcd-1"
    program = {"no ssh": str(tmp_path / "none"), "ssh fails": "false"}.get(why, "ssh")
    assert quicker((program, "-F", "none", host)) == (program, "-F", "none", host)
