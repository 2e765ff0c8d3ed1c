"""`./setup hosts NAME`: puts the program of the nightly proof on the hosts that need it, once, by a login that may."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from requorum import inventory as inventories
from requorum.evidence.journal import Journal
from requorum.evidence.redaction import shown
from requorum.hosts.fleet import Fleet, Machine, raise_all
from requorum.hosts.password import asked_for
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.verify import program

ROOT = Path(__file__).parents[2]
REFUSED = 4


def main(arguments: Sequence[str]) -> int:
    """0 where it is on every host that needs it, 4 where it could not be put there."""
    parser = argparse.ArgumentParser(prog="./setup hosts", exit_on_error=False)
    parser.add_argument("name", metavar="NAME", help="an inventory")
    parser.add_argument("--print", action="store_true", help="print the program, and ask no host")
    parser.add_argument("--as", dest="login", metavar="LOGIN", help="the login that may do everything there")
    parser.add_argument("--ask-become-pass", action="store_true", help="ask for the password that sudo wants")
    try:
        options = parser.parse_args(arguments)
        inventory = inventories.load(inventories.find(options.name, ROOT))
        if options.print:
            print(program.text(inventory), end="")
            return 0
        if options.login:
            user = {"transport": inventory.transport.model_copy(update={"user": options.login})}
            inventory = inventory.model_copy(update=user)
        for host, was in _put(inventory, options.ask_become_pass).items():
            print(shown(f"{host}: {program.path(inventory)} {'is there now' if was else 'was there already'}"))
    except KeyboardInterrupt:
        print("interrupted; do it again", file=sys.stderr)
        return REFUSED
    except SystemExit as end:
        return REFUSED if end.code else 0
    except (Refusal, OSError, argparse.ArgumentError) as error:
        print(shown(str(error)), file=sys.stderr)
        return REFUSED
    return 0


def _put(inventory: Inventory, asks: bool) -> dict[str, str | None]:
    """host → what was wrong with it before. Raises `Refusal` where it is not as it must be afterwards."""

    def look(machine: Machine) -> str | None:
        return machine.ask(program.ask_installed(machine.name, inventory))

    def asked(fleet: Fleet) -> dict[str, str | None]:
        answers = fleet.each(program.hosts(inventory), look)
        raise_all([answer for answer in answers.values() if isinstance(answer, Exception)])
        return {host: found for host, found in answers.items() if not isinstance(found, Exception)}

    with (
        tempfile.TemporaryDirectory(prefix="rq-") as scratch,
        Fleet(inventory, Journal(Path(scratch)), password=asked_for(inventory.transport) if asks else None) as fleet,
    ):
        before = asked(fleet)
        fleet.run([command for host, wrong in before.items() if wrong for command in program.install(inventory, host)])
        if wrong := next(((host, wrong) for host, wrong in asked(fleet).items() if wrong), None):
            raise Refusal(*wrong, "look at that host, then do it again")
    return before
