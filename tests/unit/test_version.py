"""Which Requorum ran is in every run's evidence."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

import requorum.__main__
from requorum import __version__, version
from requorum.run import terms

ROOT = Path(__file__).parents[2]


def git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(("git", "-C", str(root), *who, *words), check=True, capture_output=True)


def test_the_version_is_said_once_for_packages_and_programs() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


def test_a_checkout_tells_its_commit_and_whether_it_was_changed(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "a").write_text("a")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-m", "a")
    head = subprocess.run(("git", "-C", str(tmp_path), "rev-parse", "HEAD"), capture_output=True, text=True).stdout
    assert version.told(tmp_path) == f"{__version__} (commit {head[:12]})"
    version.told.cache_clear()
    (tmp_path / "a").write_text("b")
    assert version.told(tmp_path) == f"{__version__} (commit {head[:12]}, changed)"


def test_what_is_no_checkout_does_not_tell_the_commit_of_a_repository_around_it(tmp_path: Path) -> None:
    git(tmp_path, "init")
    (tmp_path / "unpacked").mkdir()
    assert version.told(tmp_path / "unpacked") == f"{__version__} (commit unknown)"


@pytest.mark.parametrize(
    ("text", "said"), [("3420568a9b1c\n", "commit 3420568a9b1c"), ("x; rm\n", "commit unknown"), ("", "commit unknown")]
)
def test_a_bundle_tells_the_commit_that_it_was_made_of(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "COMMIT").write_text(text)
    assert version.told(tmp_path) == f"{__version__} ({said})"


def test_a_run_records_it_with_the_versions_of_what_it_runs_on() -> None:
    assert terms.versions()["requorum"] == version.told()


def test_it_is_printed_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert requorum.__main__.main(["--version"]) == 0
    assert capsys.readouterr().out == f"requorum {version.told()}\n"
