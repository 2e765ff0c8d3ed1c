"""What only running members tell, noted before they are stopped, since a run that is carried on cannot ask any more:
which databases they had open that no configuration leads to, and that their cluster had begun anew."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from requorum.cluster import etcd
from requorum.command import Command, Result, look
from requorum.hosts import kept
from requorum.hosts.kept import File
from requorum.hosts.question import Question
from requorum.refusal import Refusal
from requorum.run.terms import Terms

OPENED, ANEW = "opened.json", "anew.json"
_WHY = {OPENED: "where members that run have their data", ANEW: "which members' cluster began anew"}


def note(terms: Terms, opened: Mapping[str, tuple[str, ...]], anew: Collection[str] = ()) -> list[Command]:
    """On the configuration server, which has the run's mark; nothing where nobody had any. `anew`: hosts."""
    told: dict[str, dict[str, list[str]]] = {
        OPENED: {host: list(paths) for host, paths in opened.items() if paths},
        ANEW: {host: [] for host in anew},
    }
    return [_write(terms, name, found) for name, found in told.items() if found]


def _write(terms: Terms, name: str, found: Mapping[str, list[str]]) -> Command:
    """Where that is cut off there is no note, and a rerun makes it."""
    file = File(terms.place(name), json.dumps(found) + "\n")
    return kept.write(terms.configuration_server, file, f"note {_WHY[name]}")


def ask(terms: Terms, name: str = OPENED) -> Question[dict[str, tuple[str, ...]]]:
    """host → databases; {} where nothing was noted. A note that cannot be read is no missing one: raises `Refusal`."""
    server, path = terms.configuration_server, terms.place(name)

    def read(answer: Result) -> dict[str, tuple[str, ...]]:
        if (answer.planned and answer.code and not answer.stderr) or etcd.is_not_there(answer):
            return {}
        try:
            told = {} if answer.code else json.loads(answer.stdout)
            if answer.code or not isinstance(told, dict) or not set(told) <= set(terms.inventory.hosts):
                raise ValueError
            if not all(_are_paths(paths) for paths in told.values()):
                raise ValueError
            return {host: tuple(paths) for host, paths in told.items()}
        except (ValueError, RecursionError):
            remedy = f"read it there: it tells {_WHY[name]}; nothing else knows that any more"
            raise Refusal(f"{server}:{path}", "cannot be read, and this run wrote it", remedy) from None

    return Question(look(server, "cat", path, why=f"what was noted before the stop: {_WHY[name]}"), read)


def _are_paths(paths: object) -> bool:
    """As `/proc` spells them: they are shown and compared, and lead nobody anywhere."""
    return isinstance(paths, list) and all(isinstance(p, str) and p.startswith("/") and p.isprintable() for p in paths)
