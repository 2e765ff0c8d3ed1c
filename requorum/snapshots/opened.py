"""Which databases running members had open that no configuration leads to: noted before they are stopped, since a run
that is carried on cannot ask any more."""

from __future__ import annotations

import json
from collections.abc import Mapping

from requorum.cluster import etcd
from requorum.command import Command, Result, look
from requorum.hosts.question import Question
from requorum.refusal import Refusal
from requorum.run.terms import Terms


def place(terms: Terms) -> str:
    return terms.place("opened.json")


def note(terms: Terms, opened: Mapping[str, tuple[str, ...]]) -> list[Command]:
    """On the configuration server, which has the run's mark; nothing where nobody had any."""
    found = {host: list(paths) for host, paths in opened.items() if paths}
    argv = ("dd", f"of={place(terms)}", "status=none")
    why = "note where members that run have their data"
    content = (json.dumps(found) + "\n").encode()
    return [Command(terms.configuration_server, argv, why, stdin=content)] if found else []


def ask(terms: Terms) -> Question[dict[str, tuple[str, ...]]]:
    """host → databases; {} where nothing was noted. A note that cannot be read is no missing one: raises `Refusal`."""
    server, path = terms.configuration_server, place(terms)

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
            remedy = "read it there: it names the databases that members had open; nothing else knows that any more"
            raise Refusal(f"{server}:{path}", "cannot be read, and this run wrote it", remedy) from None

    return Question(look(server, "cat", path, why="where members that ran had their data"), read)


def _are_paths(paths: object) -> bool:
    """As `/proc` spells them: they are shown and compared, and lead nobody anywhere."""
    return isinstance(paths, list) and all(isinstance(p, str) and p.startswith("/") and p.isprintable() for p in paths)
