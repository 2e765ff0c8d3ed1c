"""Which Requorum this is: its version, and the commit it was taken from."""

from __future__ import annotations

import hashlib
import re
import subprocess
from functools import cache
from pathlib import Path

from requorum import __version__

ROOT = Path(__file__).parents[1]
CODE = ("requorum", "runbook")
SECONDS = 5  # git on a slow disk; what takes longer stays unknown


@cache
def told(root: Path = ROOT) -> str:
    """`0.1.0 (commit 3420568)`, with `, changed` where files differ from it; "commit unknown" without git's word."""
    return f"{__version__} ({_commit(root)})"


def is_known(text: str) -> bool:
    """Whether a version as `told` says it names a commit."""
    return "commit unknown" not in text and "commit " in text


@cache
def contents(root: Path = ROOT) -> str:
    """SHA-256 of the code that runs, whatever commit says that it is."""
    files = [path for place in CODE for path in (root / place).rglob("*") if path.is_file()]
    files += [root / name for name in ("conftest.py", "pytest.ini") if (root / name).is_file()]
    digest = hashlib.sha256()
    for path in sorted(files):
        if "__pycache__" not in path.parts:  # pytest compiles into .pyo there
            digest.update(f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _commit(root: Path) -> str:
    if not (root / ".git").exists():  # unpacked, or copied: a repository further up is another's
        return _noted(root / "COMMIT")
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changed is None:
        return "commit unknown"
    return f"commit {commit.strip()}{', changed' if changed.strip() else ''}"


def _noted(file: Path) -> str:
    """What a bundle says of itself; whether it was changed since, its SHA256SUMS tells."""
    try:
        word = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return "commit unknown"
    return f"commit {word}" if re.fullmatch(r"[0-9a-f]{7,40}", word) else "commit unknown"


def _git(root: Path, *words: str) -> str | None:
    argv = ("git", "-C", str(root), "--no-optional-locks", *words)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
