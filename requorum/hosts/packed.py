"""Files on this machine as streams of their plain bytes, also where they are compressed or encrypted."""

from __future__ import annotations

import gzip
import subprocess
import zlib
from collections.abc import Generator
from pathlib import Path

from requorum.hosts import line
from requorum.hosts.line import Line, LineError

BLOCK = 1 << 20
GZ, ZST, ENC = "gz", "zst", "enc"  # the last: encrypted, told by its name alone
PACKED = (f".{GZ}", f".{ZST}", f".{ENC}")
LOCKED = "is encrypted, and the inventory has no snapshot.decrypt for it"
_MAGIC = {b"\x1f\x8b": GZ, b"\x28\xb5\x2f\xfd": ZST}
UNZSTD = ("zstd", "-dcq", "--")  # refuses a file that asks for more than 128 MiB of memory


class PackedError(Exception):
    """What stands in the way of the plain bytes, as the end of a sentence that the file begins."""


def kind(path: Path) -> str:
    """`GZ`, `ZST`, or empty where the file is not compressed; by its first bytes, whatever its name, but for `ENC`. May
    raise `OSError`."""
    if path.name.endswith(f".{ENC}"):
        return ENC
    with path.open("rb") as file:
        head = file.read(4)
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "")


def blocks(path: Path, packed: str, decrypt: Line | None = None) -> Generator[bytes, None, None]:
    """The plain bytes; memory stays at one block. Raises `PackedError`, or `OSError` where it cannot be read."""
    if packed == ENC:
        yield from _decrypted(path, decrypt)
        return
    if packed == ZST:
        yield from _unzstd(path)
        return
    with gzip.open(path, "rb") if packed == GZ else path.open("rb") as file:
        try:
            while block := file.read(BLOCK):
                yield block
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise PackedError(f"cannot be unpacked: it was cut off or altered ({error})") from None


def _decrypted(path: Path, decrypt: Line | None) -> Generator[bytes, None, None]:
    if decrypt is None:
        raise PackedError(LOCKED)
    try:
        yield from line.blocks(decrypt, path)
    except LineError as error:
        raise PackedError(f"cannot be decrypted: {error}") from None


def _unzstd(path: Path) -> Generator[bytes, None, None]:
    argv = (*UNZSTD, str(path))
    try:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise PackedError(
            "is compressed by zstd, and the program zstd is not on this machine: install it, or unpack the file"
        ) from None
    with process:
        try:
            assert process.stdout and process.stderr
            while block := process.stdout.read(BLOCK):
                yield block
            said = process.stderr.read().decode(errors="replace").strip()
        finally:
            process.kill()  # ended long since, unless nobody reads on
    if process.returncode != 0:
        raise PackedError(f"cannot be unpacked: {said.splitlines()[-1] if said else 'zstd failed'}")
