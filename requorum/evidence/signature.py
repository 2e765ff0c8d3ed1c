"""The operator's signature over the end of a journal, by ssh-keygen: what the end record says, and all before it."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

NAMESPACE = "requorum"
SECONDS = 10  # for a key in an agent, or in a token that wants to be touched
SINCE = (8, 2)  # OpenSSH that signs and finds who did
AS_OF = (8, 8)  # and that judges a signer's valid-before as of another time than now
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


@dataclass(frozen=True)
class Signed:
    """`signature` in hexadecimal digits, in which nothing looks like a password; or `why` there is none."""

    signature: str = ""
    why: str = ""

    def fields(self) -> dict[str, str]:
        """Of the end record."""
        return {"signature": self.signature} if self.signature else {"unsigned": self.why}


def text(end: Mapping[str, Any]) -> bytes:
    """What is signed of an end record: `previous` stands for all records before it, `files` for what is beside it."""
    return json.dumps({name: end.get(name) for name in ("previous", "outcome", "stopped_at", "files")}).encode()


def sign(end: Mapping[str, Any], key: str, seconds: float = SECONDS) -> Signed:
    """By a private key without a passphrase, or by a public key whose private one an agent holds. It never asks."""
    if isinstance(lacks := _openssh(), str):
        return Signed(why=lacks)
    done = _keygen("sign", "-n", NAMESPACE, "-f", key, fed=text(end), seconds=seconds)
    if isinstance(done, str):
        return Signed(why=done)
    armored = done.stdout.decode(errors="replace")
    body = armored.partition(_BEGIN)[2].partition(_END)[0]
    try:
        signature = base64.b64decode("".join(body.split()), validate=True).hex()
    except binascii.Error:
        signature = ""
    return Signed(signature) if signature and not done.returncode else Signed(why=_last(done))


def verify(end: Mapping[str, Any], signers: str, seconds: float = SECONDS) -> tuple[bool, str]:
    """Whether it is signed by one who was an allowed signer when the run ended; and who did, or why not. A record
    without is not wrong."""
    signature = end.get("signature")
    if not signature:
        return True, f"not signed: {end.get('unsigned') or 'it was written without a key'}"
    if not isinstance(signature, str) or not re.fullmatch("([0-9a-f]{2}){1,16384}", signature):
        return False, "its signature is none"
    if isinstance(openssh := _openssh(), str):
        return True, f"its signature was not checked: {openssh}"
    if not os.access(signers, os.R_OK):
        return True, f"its signature was not checked: {signers} cannot be read"
    with tempfile.TemporaryDirectory(prefix="rq-") as scratch:
        path = Path(scratch) / "signature"
        body = base64.encodebytes(bytes.fromhex(signature)).decode()
        path.write_text(f"{_BEGIN}\n{body}{_END}\n")
        then = _as_of(end.get("time"), openssh)
        found = _keygen("find-principals", *then, "-s", str(path), "-f", signers, fed=b"", seconds=seconds)
        if isinstance(found, str):
            return True, f"its signature was not checked: {found}"
        names = found.stdout.decode(errors="replace").strip().splitlines()
        if found.returncode or not names:
            return False, f"its signature is of nobody in {signers}"
        who = names[0]
        words = (*then, "-n", NAMESPACE, "-f", signers, "-I", who, "-s", str(path))
        held = _keygen("verify", *words, fed=text(end), seconds=seconds)
    if isinstance(held, str):
        return True, f"its signature was not checked: {held}"
    return (False, f"its signature, of {who}, does not fit") if held.returncode else (True, f"signed by {who}")


def _as_of(time: object, openssh: tuple[int, int]) -> tuple[str, ...]:
    """The option that judges as of then; it takes this machine's own time."""
    try:
        then = datetime.fromisoformat(str(time)).astimezone()
    except (ValueError, OverflowError, OSError):
        return ()
    return (f"-Overify-time={then:%Y%m%d%H%M%S}",) if openssh >= AS_OF else ()


def _openssh() -> tuple[int, int] | str:
    """Its version on this machine; or why its ssh-keygen cannot."""
    try:
        told = subprocess.run(("ssh", "-V"), stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return "no OpenSSH on this machine"
    said = (told.stderr + told.stdout).decode(errors="replace")
    found = re.match(r"OpenSSH_(\d{1,4})\.(\d{1,4})", said)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < SINCE:
        return f"ssh-keygen of OpenSSH {SINCE[0]}.{SINCE[1]} or newer is needed, and this is {said.strip()[:60]!r}"
    return version


def _keygen(what: str, *words: str, fed: bytes, seconds: float) -> subprocess.CompletedProcess[bytes] | str:
    """Without a terminal and without a window, so that it can ask nobody; why it did not end in a string."""
    quiet = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    argv: Sequence[str] = ("ssh-keygen", "-Y", what, *words)
    environment = {**quiet, "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
    try:
        return subprocess.run(
            argv, input=fed, capture_output=True, timeout=seconds, start_new_session=True, env=environment
        )
    except OSError as error:
        return f"ssh-keygen cannot be started: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"ssh-keygen did not end within {seconds:g} s"


def _last(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    return f"ssh-keygen says: {lines[-1][:200]}" if lines else f"ssh-keygen ended with {done.returncode}"
