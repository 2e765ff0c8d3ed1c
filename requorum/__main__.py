"""One command line for what needs no pytest: `python -m requorum journal … | report … | sudoers … | backups …`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from requorum import inventory as inventories
from requorum import manual, version
from requorum.command import Result
from requorum.diagnosis import inventories as inventory_command
from requorum.evidence import audit, report, signature, syslog
from requorum.evidence.audit import CLOSED, State, Verdict, against, verdict
from requorum.evidence.journal import Journal
from requorum.evidence.redaction import shown
from requorum.evidence.syslog import Anchor
from requorum.hosts.fleet import Fleet
from requorum.hosts.password import asked_for
from requorum.hosts.question import Question
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.snapshots import listed
from requorum.troubleshoot import sudoers
from requorum.troubleshoot import vendor as vendor_command
from requorum.verify import handed_over

REFUSED = 4  # no such file, no such inventory, no host answered: nothing is said about the journal


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:  # argparse's own 2 would say "incomplete"
        self.exit(REFUSED, f"{self.prog}: {message}\n")


def journal(arguments: Sequence[str] | None = None) -> int:
    """0 whole, 1 altered or disputed, 2 incomplete, 4 when that cannot be told. One line on standard output."""
    parser = _Parser(prog="python -m requorum.journal", description="Tells whether a journal is what was written.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    verify = commands.add_parser("verify", help="whole (0), altered or disputed (1), incomplete (2), untold (4)")
    verify.add_argument("file", type=Path, metavar="FILE", help="a journal.jsonl")
    verify.add_argument("--hosts", metavar="NAME", help="an inventory: compare with the syslogs of its hosts")
    verify.add_argument("--ask-become-pass", action="store_true", help="ask for the password that sudo wants there")
    options = parser.parse_args(arguments)
    try:
        data = options.file.read_bytes()
        others = (options.file.parent / name for name in CLOSED)
        found = verdict(data, {path.name: path.read_bytes() for path in others if path.is_file()})
        if options.hosts and found.state is not State.ALTERED:
            inventory = inventories.load(inventories.find(options.hosts, Path(__file__).parents[1]))
            found = signed(data, found, inventory)
            found = against(data, found, read_syslogs(inventory, options.ask_become_pass))
    except (OSError, Refusal) as error:
        print(shown(str(error)), file=sys.stderr)
        return REFUSED
    print(shown(f"{options.file}: {found}").replace("\n", "\\n"))
    return found.state.code


def backups(arguments: Sequence[str] | None = None) -> int:
    """0, or 4 where there is no such inventory or directory: nothing is asked of any host."""
    parser = _Parser(prog="python -m requorum backups", description="What lies in the inventory's snapshot.directory.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    those = commands.add_parser("list", help="each with what is in it, whether it was proven, what becomes of it")
    those.add_argument("--json", action="store_true", help="as JSON")
    pins = [commands.add_parser(name, help=f"{name} one: rotation leaves what is pinned") for name in ("pin", "unpin")]
    for command in (those, *pins):
        command.add_argument("--hosts", metavar="NAME", required=True, help="an inventory")
    for command in pins:
        command.add_argument("name", metavar="NAME.snap", help="a file's name in that directory")
    options = parser.parse_args(arguments)
    try:
        inventory = inventories.load(inventories.find(options.hosts, Path(__file__).parents[1]))
        if options.command == "list":
            text = listed.text(inventory, datetime.now(UTC), options.json)
        else:
            text = listed.pin(inventory, options.name, options.command == "pin")
    except (OSError, Refusal) as error:
        print(shown(str(error)), file=sys.stderr)
        return REFUSED
    print(shown(text))
    return 0


PROGRAMS = {
    "journal": journal,
    "report": report.main,
    "sudoers": sudoers.main,
    "manual": manual.main,
    "inventory": inventory_command.main,
    "backups": backups,
    "vendor": vendor_command.main,
    "hosts": handed_over.main,
}


ABOUT = {
    "journal": "verify FILE: whether a journal is what was written",
    "report": "a run's report.html anew, from its journal",
    "sudoers": "the lines of sudo that a login with less needs",
    "manual": "the man page",
    "inventory": "new, check, schema: a first inventory from the hosts, and what differs from them",
    "backups": "list, pin, unpin: what lies in snapshot.directory",
    "hosts": "the nightly proof's program, put on the hosts that need it",
    "vendor": "try LINE: one of the vendor's lines where nothing that it writes is real",
}


def main(words: Sequence[str] = ()) -> int:
    """`words` stand before those of the command line."""
    name, *others = [*words, *sys.argv[1:]] or [""]
    if name == "--version":
        print(f"requorum {version.told()}")
        return 0
    if name not in PROGRAMS:
        rows = "".join(f"\n  {program:<11}{ABOUT[program]}" for program in PROGRAMS)
        asked = name in ("-h", "--help")
        usage = f"usage: python -m requorum PROGRAM …\n{rows}\n\nThe runbook itself: pytest runbook --help"
        print(usage, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else REFUSED
    return PROGRAMS[name](others)


def signed(data: bytes, own: Verdict, inventory: Inventory) -> Verdict:
    """The same with what its signature says, where the inventory has a key or a list of who may sign."""
    end, wanted = audit.end_of(data), inventory.evidence
    if not end or not (wanted.sign or wanted.allowed_signers or end.get("signature")):
        return own
    if not wanted.allowed_signers and end.get("signature"):
        return replace(
            own, why=f"{own.why}; its signature was not checked: no evidence.allowed_signers in the inventory"
        )
    held, what = signature.verify(end, wanted.allowed_signers or "")
    return replace(own, why=f"{own.why}; {what}") if held else Verdict(State.ALTERED, own.number, what)


def read_syslogs(inventory: Inventory, asks: bool = False) -> dict[str, list[Anchor]]:
    """By host, what its syslog was told. Hosts that are silent are left out.

    Raises `Refusal` when no host at all could tell.
    """
    members = (member.host for member in (*inventory.members, *inventory.old_members))
    hosts = dict.fromkeys((*members, *inventory.deephaven.hosts))  # who is told; a spare machine is not
    password = asked_for(inventory.transport) if asks else None
    with (
        tempfile.TemporaryDirectory(prefix="rq-") as scratch,
        Fleet(inventory, Journal(Path(scratch)), password=password) as fleet,
    ):
        answers = fleet.each(hosts, lambda machine: machine.ask(_ask_syslog(machine.name)))
    told = {host: anchors for host, anchors in answers.items() if isinstance(anchors, list)}
    if not told:
        host, first = next(iter(answers.items()))
        why = f"{host}: {first.what if isinstance(first, Refusal) else first}; {len(answers)} hosts in all"
        raise Refusal("the hosts", f"none could be asked for its syslog ({why})", "check ssh and sudo, then ask again")
    return told


def _ask_syslog(host: str) -> Question[list[Anchor]]:
    def read(answer: Result) -> list[Anchor]:
        if answer.code:
            raise Refusal(host, answer.words, "check sudo there")
        return syslog.parse(answer.stdout)

    return Question(syslog.ask(host), read)


if __name__ == "__main__":
    sys.exit(main())
