"""A signature over a journal's end, by the real ssh-keygen: it never asks, and what is wrong or missing is said."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from requorum.__main__ import signed
from requorum.evidence import audit, signature
from requorum.evidence.audit import State, Verdict, verdict
from requorum.evidence.journal import Journal, line_of
from requorum.hosts.fleet import Fleet
from requorum.inventory import Inventory
from requorum.run.run import Run
from requorum.run.terms import Options
from tests.unit import build


def key(place: Path, name: str, passphrase: str = "") -> Path:
    subprocess.run(
        ("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", str(place / name)), check=True
    )
    return place / name


def inventory(place: Path, sign: Path | None, *signers: Path) -> Inventory:
    lines = [f"{one.name}@desk {one.with_suffix('.pub').read_text()}" for one in signers]
    (place / "allowed").write_text("".join(lines))
    return build.inventory(evidence={"sign": sign and str(sign), "allowed_signers": str(place / "allowed")})


def closed(place: Path, of: Inventory) -> tuple[Run, bytes]:
    """A run that came to its end, and its journal."""
    journal = Journal(place / "evidence")
    run = Run(of, Options(), journal, cast(Fleet, None))
    journal.record("note", text="something happened")
    run.close("checked", None, "")
    return run, journal.path.read_bytes()


def told(data: bytes, of: Inventory) -> Verdict:
    found = verdict(data)
    assert found.state is State.WHOLE
    return signed(data, found, of)


def rewritten(data: bytes, **fields: Any) -> bytes:
    """The same with another end record, in a chain that holds again."""
    *lines, last = data.splitlines(keepends=True)
    record = {k: v for k, v in json.loads(last).items() if k not in ("previous", "seal")}
    changed = {k: v for k, v in {**record, **fields}.items() if v is not None or k == "stopped_at"}
    return b"".join(lines) + line_of(changed, json.loads(last)["previous"])


def test_a_journal_says_who_signed_it(tmp_path: Path) -> None:
    mine = key(tmp_path, "ops")
    of = inventory(tmp_path, mine, key(tmp_path, "other"), mine)
    run, data = closed(tmp_path, of)
    assert run.unsigned == ""
    assert told(data, of).why.endswith("; signed by ops@desk") and told(data, of).state is State.WHOLE
    nobody = build.inventory()
    assert "its signature was not checked: no evidence.allowed_signers" in told(data, nobody).why


def test_without_a_key_in_the_inventory_nothing_is_signed_or_said(tmp_path: Path) -> None:
    run, data = closed(tmp_path, build.inventory())
    end = audit.end_of(data)
    assert run.unsigned == "" and end["outcome"] == "checked" and not {"signature", "unsigned"} & set(end)
    assert told(data, build.inventory()) == verdict(data)
    assert "; not signed: it was written without a key" in told(data, inventory(tmp_path, None)).why


CHANGES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "outcome": lambda end: {"outcome": "planned"},
    "stopped_at": lambda end: {"stopped_at": "a::B::c"},
    "files": lambda end: {"files": {**end["files"], "summary.json": "0" * 64}},
    "signature": lambda end: {"signature": end["signature"][:-8] + "00000000"},
    "half of it": lambda end: {"signature": end["signature"][: len(end["signature"]) // 4 * 2]},
    "none": lambda end: {"signature": "not hexadecimal"},
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_wrong_signature_is_said_though_the_chain_holds(tmp_path: Path, what: str) -> None:
    mine = key(tmp_path, "ops")
    of = inventory(tmp_path, mine, mine)
    data = closed(tmp_path, of)[1]
    found = told(rewritten(data, **CHANGES[what](audit.end_of(data))), of)
    assert found.state is State.ALTERED and found.why.startswith("its signature")


def test_a_record_before_the_end_is_signed_with_it(tmp_path: Path) -> None:
    mine = key(tmp_path, "ops")
    of = inventory(tmp_path, mine, mine)
    first, last = closed(tmp_path, of)[1].splitlines(keepends=True)
    record = {k: v for k, v in json.loads(first).items() if k not in ("previous", "seal")}
    other = line_of({**record, "text": "nothing happened"}, json.loads(first)["previous"])
    end = {k: v for k, v in json.loads(last).items() if k not in ("previous", "seal")}
    found = told(other + line_of(end, hashlib.sha256(other).hexdigest()), of)
    assert found.state is State.ALTERED and found.why == "its signature, of ops@desk, does not fit"


def test_a_stranger_s_signature_is_wrong_and_one_that_was_taken_away_is_missing(tmp_path: Path) -> None:
    stranger, mine = key(tmp_path, "stranger"), key(tmp_path, "ops")
    of = inventory(tmp_path, stranger, mine)
    data = closed(tmp_path, of)[1]
    found = told(data, of)
    assert found.state is State.ALTERED and found.why == f"its signature is of nobody in {tmp_path}/allowed"
    assert "; not signed: it was written without a key" in told(rewritten(data, signature=None), of).why


@pytest.mark.parametrize(
    ("script", "why"),
    [("#!/bin/sh\nexec /bin/sleep 30\n", "did not end within 0.5 s"), (None, "cannot be started: No such file")],
)
def test_where_nobody_could_look_who_signed_nothing_is_altered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, why: str
) -> None:
    mine = key(tmp_path, "ops")
    of = inventory(tmp_path, mine, mine)
    end = audit.end_of(closed(tmp_path, of)[1])
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "ssh").symlink_to(shutil.which("ssh") or "")
    if script:
        (tools / "ssh-keygen").write_text(script)
        (tools / "ssh-keygen").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    held, said = signature.verify(end, of.evidence.allowed_signers or "", 0.5)
    assert held and said.startswith(f"its signature was not checked: ssh-keygen {why}")


def test_a_key_that_is_found_without_a_name_is_nobody_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = key(tmp_path, "ops")
    of = inventory(tmp_path, mine, mine)
    end = audit.end_of(closed(tmp_path, of)[1])
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh-keygen").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "bin" / "ssh-keygen").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    held, said = signature.verify(end, of.evidence.allowed_signers or "")
    assert not held and said == f"its signature is of nobody in {tmp_path}/allowed"


def test_a_key_that_has_expired_since_was_good_when_it_signed(tmp_path: Path) -> None:
    mine = key(tmp_path, "ops")
    of = inventory(tmp_path, mine, mine)
    end = audit.end_of(closed(tmp_path, of)[1])
    public = mine.with_suffix(".pub").read_text()
    (tmp_path / "allowed").write_text(f'ops@desk valid-before="20200601" {public}')
    for time_, holds in (("2020-05-01T00:00:00.000Z", True), ("2020-07-01T00:00:00.000Z", False)):
        held, said = signature.verify({**end, "time": time_}, str(tmp_path / "allowed"))
        assert held == holds, said


def test_a_key_with_a_passphrase_is_never_asked_for_and_the_run_says_that_it_is_not_signed(tmp_path: Path) -> None:
    locked = key(tmp_path, "locked", "a passphrase")
    of = inventory(tmp_path, locked, locked)
    began = time.monotonic()
    run, data = closed(tmp_path, of)
    assert run.unsigned.startswith("The evidence is not signed: ssh-keygen says: ") and time.monotonic() - began < 9
    assert "; not signed: ssh-keygen says: " in told(data, of).why and told(data, of).state is State.WHOLE


def test_a_key_that_is_not_there_is_said(tmp_path: Path) -> None:
    run, data = closed(tmp_path, inventory(tmp_path, tmp_path / "none"))
    assert "not signed" in run.unsigned and audit.end_of(data)["unsigned"]


@pytest.mark.parametrize(
    ("tool", "script", "why"),
    [
        ("ssh", "echo OpenSSH_8.1p1 >&2", "ssh-keygen of OpenSSH 8.2 or newer is needed, and this is 'OpenSSH_8.1p1'"),
        ("ssh", "echo Sun_SSH_1.0 >&2", "ssh-keygen of OpenSSH 8.2 or newer is needed, and this is 'Sun_SSH_1.0'"),
        ("ssh-keygen", "exec sleep 30", "ssh-keygen did not end within 0.5 s"),
        ("ssh-keygen", "exit 3", "ssh-keygen ended with 3"),
        ("ssh-keygen", "echo nothing of it", "ssh-keygen ended with 0"),
    ],
)
def test_where_ssh_keygen_cannot_or_hangs_the_run_ends_unsigned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, script: str, why: str
) -> None:
    mine = key(tmp_path, "ops")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / tool).write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bin" / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    found = signature.sign({"previous": "0" * 64}, str(mine), 0.5)
    assert (found.signature, found.why) == ("", why)
