"""`python -m requorum vendor try`: the vendor's unpublished lines by daylight, where nothing that they write is real.

The program is `vendor.sh`: overlays in a namespace of a transient unit, read-only around them. Of what was written it
tells names, owners, modes and sizes, never contents.
"""

from __future__ import annotations

import argparse
import secrets
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from requorum import inventory as inventories
from requorum.cluster.deephaven import vendor
from requorum.command import MOST_OF_A_LIST, Command, Result, transient
from requorum.deadlines import LONG, wait
from requorum.evidence.journal import Journal
from requorum.evidence.redaction import redact, shown
from requorum.hosts.fleet import Fleet, raise_all
from requorum.hosts.password import Password, asked_for
from requorum.hosts.question import Question
from requorum.inventory import Inventory
from requorum.refusal import Refusal

PROGRAM = Path(__file__).with_suffix(".sh")
ROOT = Path(__file__).parents[2]
LINES = ("generate", "unpack_server", "unpack_client")  # what writes files; never one that turns something on or off
FAILED, REFUSED = 1, 4
_READ_ONLY = "Read-only file system"
_REFUSES = "what can be written there, docs/inventory.md#the-vendors-lines says"
_FAREWELL = 60  # seconds less for the unit than for the command that waits for it
# Of systemd 239. What makes the namespace, and all of it read-only but what `vendor.sh` lays over.
_PROPERTIES = (
    "PrivateNetwork=yes",
    "KillSignal=SIGKILL",  # process 1 of a namespace hears no other
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectSystem=strict",
    "ProtectHome=read-only",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectControlGroups=yes",
)


@dataclass(frozen=True)
class Written:
    """`how`: new, changed or gone. `holds`: of an archive, its entries as tar lists them."""

    how: str
    kind: str
    mode: str
    path: str
    holds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tried:
    """`ended`: of each line its exit code and last words; `refused`: why none was run."""

    ended: tuple[tuple[int, str], ...] = ()
    written: tuple[Written, ...] = ()
    refused: str = ""


def ask_try(host: str, lines: Sequence[Sequence[str]], name: str) -> Question[Tried]:
    """`lines`: one, or a second that is run where the first has ended well. `name`: the unit's."""
    words = (str(len(lines[0])), *(word for line in lines for word in line))
    program = (PROGRAM.read_text(encoding="utf-8"), "sh", *words)
    argv = (
        *("sh", "-c", '"$@" || exit 1', "sh"),  # 255, of a unit that was killed, would be ssh's word for no answer
        *transient(name, _PROPERTIES),
        "--description=one of the vendor's lines, where nothing is real",
        wait(LONG - _FAREWELL, "--property=RuntimeMaxSec={}"),
        "sh",
        "-c",
        *(word.replace("$", "$$") for word in program),  # a unit's $ is systemd's own
    )
    stop = ("systemctl", "stop", name)
    why = "the vendor's line where nothing is real"
    command = Command(
        host, argv, why, changes=False, deadline=LONG, stop=stop, accept=None, secret=True, most=MOST_OF_A_LIST
    )
    return Question(command, lambda answer: read(host, answer))


def read(host: str, answer: Result) -> Tried:
    """Raises `Refusal` for an answer that is not whole: then nothing is known of what was written."""
    records = [record.partition(" ") for record in answer.stdout.split("\0")]
    ended: list[tuple[int, str]] = []
    written: list[Written] = []
    holds: list[str] = []
    for kind, _, text in records:
        if kind == "refused":
            return Tried(refused=text.strip() or "it gives no reason")
        if kind == "ended":
            code, _, words = text.partition(" ")
            ended.append((int(code), redact(words.strip())))
        elif kind == "wrote":
            how, what, mode, path = text.split("\t", 3)
            holds = []
            written.append(Written(how, what, mode, path.replace("/./", "/", 1)))
        elif kind == "holds" and written:
            holds.append(text)
            last = written[-1]
            written[-1] = Written(last.how, last.kind, last.mode, last.path, tuple(holds))
        elif kind == "done":
            return Tried(tuple(ended), tuple(written))
    why = f"it was cut off: {answer.words}" if answer.late else (answer.stderr.strip().splitlines() or ["no word"])[-1]
    raise Refusal(host, f"the try did not come to its end ({why[:200]})", "nothing of it stays there; try again")


def of(inventory: Inventory, what: str, host: str, archive: str | None = None) -> list[list[str]]:
    """The line that is tried; before one that unpacks the generator's, unless an archive on that host is named."""
    dh = inventory.deephaven
    token = f"{inventory.cluster.lower()}-try"
    ips = [member.ip for member in inventory.members]
    values = {"cluster_id": token, "ips": " ".join(ips), "ips_comma": ",".join(ips), "admin_user": dh.admin_user}
    generate = list(vendor(dh.commands.generate, **values))
    if what == "generate":
        return [generate]
    number = next((inventory.number(member) for member in inventory.members if member.host == host), 1)
    made = {"unpack_server": dh.server_archive, "unpack_client": dh.client_archive.format(cluster_id=token)}
    line = dh.commands.unpack_server if what == "unpack_server" else dh.commands.unpack_client
    numbered = {"number": str(number)} if what == "unpack_server" else {}
    unpack = list(vendor(line, archive=archive or made[what], admin_user=dh.admin_user, **numbered))
    return [unpack] if archive else [generate, unpack]


def table(tried: Tried) -> list[str]:
    """What was written, as lines."""
    lines = []
    for one in tried.written:
        lines.append(f"  {one.how:<8}{one.kind:<20}{one.mode:<26}{one.path}")
        lines += [f"            holds {entry}" for entry in one.holds]
    return lines or ["  nothing"]


def main(arguments: Sequence[str]) -> int:
    """0 where every line ended with 0, 1 where one did not, 4 where it was not run."""
    parser = argparse.ArgumentParser(prog="python -m requorum vendor", exit_on_error=False)
    tries = parser.add_subparsers(dest="command", required=True).add_parser("try", exit_on_error=False)
    tries.add_argument("what", choices=LINES, metavar="|".join(LINES))
    tries.add_argument("--hosts", metavar="NAME", required=True, help="an inventory")
    tries.add_argument("--on", metavar="HOST", required=True, help="the host of it on which the line is tried")
    tries.add_argument("--archive", metavar="PATH", help="for an unpack line: an archive on that host, not a new one")
    tries.add_argument("--ask-become-pass", action="store_true", help="ask for the password that sudo wants")
    try:
        options = parser.parse_args(arguments)
        inventory = inventories.load(inventories.find(options.hosts, ROOT))
        if options.on not in inventory.hosts:
            raise Refusal(f"--on={options.on}", "is no host of the inventory", f"one of {', '.join(inventory.hosts)}")
        lines = of(inventory, options.what, options.on, options.archive)
        tried = _tried(
            inventory, options.on, lines, asked_for(inventory.transport) if options.ask_become_pass else None
        )
    except KeyboardInterrupt:
        print("interrupted; nothing of it stays there", file=sys.stderr)
        return REFUSED
    except SystemExit as end:
        return REFUSED if end.code else 0
    except (Refusal, OSError, argparse.ArgumentError) as error:
        print(shown(str(error)), file=sys.stderr)
        return REFUSED
    if tried.refused:
        refusal = Refusal(options.on, f"nothing was run: {tried.refused}", "try it on another host, or in the lab")
        print(shown(str(refusal)), file=sys.stderr)
        return REFUSED
    for line, (code, words) in zip(lines, tried.ended, strict=False):
        print(shown(f"{options.on}: {shlex.join(line)}"))
        print(shown(f"{options.on}: ended with {code}{', and said:' if words else ''}"))
        print("".join(f"    {shown(said)}\n" for said in words.splitlines()), end="")
        if code and _READ_ONLY in words:
            print(f"    It is the try that refused that, and no word on the line: {_REFUSES}")
    print(f"What {'both' if len(tried.ended) > 1 else 'it'} wrote, of which nothing is left:")
    print("\n".join(shown(line) for line in table(tried)))
    return FAILED if any(code for code, _ in tried.ended) else 0


def _tried(inventory: Inventory, host: str, lines: Sequence[Sequence[str]], password: Password | None) -> Tried:
    question = ask_try(host, lines, f"requorum-try-{secrets.token_hex(4)}.service")
    with (
        tempfile.TemporaryDirectory(prefix="rq-") as scratch,
        Fleet(inventory, Journal(Path(scratch)), password=password) as fleet,
    ):
        answers = fleet.each([host], lambda machine: machine.ask(question))
    raise_all([answer for answer in answers.values() if isinstance(answer, Exception)])
    return next(answer for answer in answers.values() if isinstance(answer, Tried))
