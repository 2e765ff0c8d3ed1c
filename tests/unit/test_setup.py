"""What the set-up installs: nothing that is not pinned by its hash, and nothing that builds with something else."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_everything_is_hashed_and_only_etcd3_is_built_with_what_is_hashed_too() -> None:
    text = (ROOT / "setup").read_text(encoding="utf-8").replace("\\\n", " ")
    build, rest = (shlex.split(line) for line in text.splitlines() if "pip install" in line)
    assert build[-1] == "requirements-build.txt" and rest[-1] == "requirements.txt"
    for line in (build, rest):
        assert "--require-hashes" in line and "--only-binary :all:" in " ".join(line)
    assert "--no-build-isolation" in rest and "--no-binary etcd3 " in " ".join(rest)
    for name in (build[-1], rest[-1]):
        pins = re.split(
            r"\n(?=[A-Za-z])", re.sub(r"(?m)^ *#.*\n?", "", (ROOT / name).read_text(encoding="utf-8")).strip()
        )
        assert all(re.match(r"[\w.\[\]-]+==\S+ (?:;[^\\]*)?\\\n +--hash=sha256:[0-9a-f]{64}", pin) for pin in pins)
