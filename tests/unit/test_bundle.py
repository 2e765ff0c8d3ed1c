"""The bundle: unpacked and set up in a network namespace that holds nothing, it runs.

Building it takes the wheels from this machine's package source, so the whole of it is of the matrix. What needs no
source is here besides: an altered bundle, and a Python that is too old.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from requorum import __version__

ROOT = Path(__file__).parents[2]
NAME = f"requorum-{__version__}-linux-x86_64"
ALONE = ("unshare", "-n") if os.geteuid() == 0 else ("unshare", "-rn")


def begun(place: Path) -> Path:
    """What a bundle's set-up looks at before it installs."""
    shutil.copy(ROOT / "setup", place / "setup")
    (place / "wheels").mkdir()
    (place / "wheels" / "a.whl").write_text("a")
    subprocess.run("sha256sum setup wheels/a.whl > SHA256SUMS", shell=True, cwd=place, check=True)
    return place


def setup(place: Path, *words: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    line = ["/bin/sh", "setup", *words]
    return subprocess.run(line, cwd=place, capture_output=True, text=True, env={"PATH": path}, check=False, timeout=600)


def test_a_bundle_that_was_altered_sets_nothing_up(tmp_path: Path) -> None:
    (begun(tmp_path) / "wheels" / "a.whl").write_text("b")
    ended = setup(tmp_path)
    assert ended.returncode == 1 and "the bundle is not whole" in ended.stderr
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_is_too_old_is_named_with_the_package_to_install(tmp_path: Path) -> None:
    old = tmp_path / "bin"
    old.mkdir()
    (old / "python3").write_text("#!/bin/sh\ncase $2 in *version_info*) exit 1 ;; esac\necho Python 3.9.18\n")
    (old / "python3").chmod(0o755)
    (tmp_path / "tree").mkdir()
    for tool in ("sha256sum", "ssh", "ssh-keygen", "openssl", "dirname", "id"):
        (old / tool).symlink_to(shutil.which(tool) or "/bin/false")
    ended = setup(begun(tmp_path / "tree"), path=str(old))
    assert ended.returncode == 1, ended.stderr
    assert "Python 3.9.18 is too old" in ended.stderr and "dnf install python3.12" in ended.stderr
    assert not (tmp_path / "tree" / ".venv").exists()


# -- the whole of it -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of this commit, as `make bundle` makes it, unpacked; built from a clone, so that nothing is left."""
    place = tmp_path_factory.mktemp("bundle")
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(place / "clone")], check=True)
    build = ["sh", "deploy/bundle", sys.executable]
    done = subprocess.run(build, cwd=place / "clone", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    dist = place / "clone" / "dist"
    subprocess.run(["sha256sum", "--check", "--quiet", f"{NAME}.tar.gz.sha256"], cwd=dist, check=True)
    subprocess.run(["tar", "-xzf", str(dist / f"{NAME}.tar.gz"), "-C", str(place)], check=True)
    return place / NAME


def alone(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Without a network, not even loopback; without this machine's own settings of pip."""
    kept = {"PATH": os.environ["PATH"], "HOME": str(place), "PIP_CONFIG_FILE": os.devnull}
    return subprocess.run(
        (*ALONE, *words), cwd=place, capture_output=True, text=True, env=kept, check=False, timeout=600
    )


@pytest.mark.matrix
def test_it_is_set_up_without_a_network_and_runs(unpacked: Path) -> None:
    assert alone(unpacked, "sh", "-c", "ip route 2>/dev/null | grep -c .").stdout.strip() in ("0", "")
    ended = alone(unpacked, "./setup", sys.executable)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = alone(unpacked, ".venv/bin/python", "-m", "requorum", "--version").stdout
    commit = (unpacked / "COMMIT").read_text().strip()
    assert said == f"requorum {__version__} (commit {commit})\n"
    refused = alone(unpacked, ".venv/bin/pytest", "runbook", "--check", "--hosts=prod")
    assert refused.returncode == 4 and "--hosts=prod: no such inventory" in refused.stdout + refused.stderr
    silent = alone(unpacked, ".venv/bin/pytest", "runbook", "--check", "--hosts=example", "--json")
    assert silent.returncode == 1 and '"outcome": "checked"' in silent.stdout, silent.stderr


@pytest.mark.matrix
def test_it_has_wheels_for_every_python_and_no_others(unpacked: Path) -> None:
    wheels = [path.name for path in (unpacked / "wheels").iterdir()]
    for version in ("cp311", "cp312", "cp313", "cp314"):
        assert [name for name in wheels if name.startswith("pydantic_core") and f"-{version}-" in name]
    packages = {name.split("-")[0] for name in wheels}
    assert len(packages) < 20 and not packages & {"etcd3", "docker", "hypothesis"}


@pytest.mark.matrix
@pytest.mark.parametrize("python", ["python3.12", "python3.13", "python3.14"])
def test_it_is_set_up_with_another_python(unpacked: Path, tmp_path: Path, python: str) -> None:
    if not shutil.which(python):
        pytest.skip(f"no {python} here")
    shutil.copytree(unpacked, tmp_path / "tree", ignore=shutil.ignore_patterns(".venv"))
    ended = alone(tmp_path / "tree", "./setup", python)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert alone(tmp_path / "tree", ".venv/bin/pytest", "runbook", "--help").stdout.startswith("requorum ")


def test_a_wheel_takes_all_that_the_package_reads(tmp_path: Path) -> None:
    """A file of another kind than these would be left out without a word."""
    made = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    kinds = {pattern.removeprefix("*") for pattern in made["package-data"]["*"]}
    files = (path for path in (ROOT / "requorum").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert {path.suffix for path in files} - {".py"} == kinds
    assert made["dynamic"]["dependencies"] == {"file": ["requirements.in"]}


@pytest.mark.matrix
def test_a_wheel_is_built_and_runs_by_itself(tmp_path: Path) -> None:
    """`pip wheel .`, of the commit's tree, with setuptools from where this machine's pip takes packages."""
    (tmp_path / "tree").mkdir()
    tree = subprocess.run(("git", "archive", "HEAD"), cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(("tar", "-x", "-C", tmp_path / "tree"), input=tree, check=True)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={tmp_path}", tmp_path / "tree")
    subprocess.run(pip, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    program = (sys.executable, "-P", "-m", "requorum", "inventory", "schema")
    told = subprocess.run(program, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(wheel)}, capture_output=True)
    assert told.returncode == 0 and b"transport" in told.stdout, told.stderr
    names = subprocess.run((sys.executable, "-m", "zipfile", "-l", wheel), capture_output=True, text=True).stdout
    assert "requorum/troubleshoot/vendor.sh" in names and "runbook/" not in names and "tests/" not in names
