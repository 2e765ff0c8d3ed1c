"""What the set-up installs: nothing that is not pinned by its hash, and nothing that builds with something else."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_everything_is_hashed_and_only_etcd3_is_built_with_what_is_hashed_too() -> None:
    installs = _installs()
    for line in installs:
        assert "--require-hashes" in line and "--only-binary :all:" in " ".join(line)
    operator, build, rest = installs
    assert operator[-1] == "requirements.txt" and not {"--no-binary", "--no-build-isolation"} & set(operator)
    assert build[-1] == "requirements-build.txt"
    assert "--no-build-isolation" in rest and "--no-binary etcd3 " in " ".join(rest)
    assert rest[-4:] == ["-r", "requirements.txt", "-r", "requirements-lab.txt"]
    for name in (operator[-1], build[-1], rest[-1]):
        pins = _pins(name)
        assert all(re.match(r"[\w.\[\]-]+==\S+ (?:;[^\\]*)?\\\n +--hash=sha256:[0-9a-f]{64}", pin) for pin in pins)


def test_the_operators_machine_gets_nothing_of_the_labs() -> None:
    operator, lab = (
        {re.split("=", pin, maxsplit=1)[0] for pin in _pins(f"requirements{of}.txt")} for of in ("", "-lab")
    )
    assert {"etcd3", "docker", "protobuf", "hypothesis"} <= lab
    assert operator.isdisjoint(lab)
    text = (ROOT / "setup").read_text(encoding="utf-8")
    assert text.index("-r requirements.txt") < text.index('[ "${2:-}" = lab ] || exit 0') < text.index("build.txt")


def test_in_a_bundle_no_index_is_asked_and_no_system_package_installed() -> None:
    text = (ROOT / "setup").read_text(encoding="utf-8")
    assert "from='--no-index --find-links=wheels'" in text and '[ -z "$from" ] && command -v apt-get' in text
    assert _installs()[0][4:6] == ["$from", "--quiet"]


def _installs() -> list[list[str]]:
    text = (ROOT / "setup").read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(line) for line in text.splitlines() if "pip install" in line]


def _pins(name: str) -> list[str]:
    text = re.sub(r"(?m)^ *#.*\n?", "", (ROOT / name).read_text(encoding="utf-8"))
    return re.split(r"\n(?=[A-Za-z])", text.strip())
