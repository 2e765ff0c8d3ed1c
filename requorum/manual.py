"""The help, the man page, the tables of the pages and bash's completion, all from `commandline` and `procedures`."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from requorum import __version__, version
from requorum.commandline import EXAMPLES, EXIT_CODES, OPTIONS, OUTCOMES, Option
from requorum.procedures import PROCEDURES, Procedure

ROOT = Path(__file__).parents[1]
WIDTH = 110  # columns of the help
COLUMN = 26  # where its texts begin
MARK = "<!-- made by make manual: "


def page(procedure: Procedure = PROCEDURES[0]) -> str:
    """What `--help` prints: of the recovery everything, of another procedure what it takes."""
    whole = procedure is PROCEDURES[0]
    options = OPTIONS if whole else [option for option in OPTIONS if _takes(procedure, option)]
    name = "PROCEDURE" if whole else procedure.directory
    hosts = "" if procedure.needs_hosts else "[--snapshot=FILE] "
    lines = [
        f"requorum {version.told()}",
        f"usage: pytest {name} {hosts}--hosts=NAME [OPTION…]",
        "",
        *(_block("Procedures:", ((p.directory, p.about) for p in PROCEDURES)) if whole else [_sentence(procedure), ""]),
        *_block("Options:", ((option.spelled, f"{option.says} (default: {option.default})") for option in options)),
        *_block("Exit codes:", ((str(code), text) for code, text in EXIT_CODES.items())),
        "Examples:",
    ]
    for line, why in EXAMPLES if whole else _examples(procedure):
        lines += [f"  {line}", f"      {why}"]
    more = "" if whole else " All procedures: pytest runbook --help."
    return "\n".join([*lines, "", f"pytest's own options: --help-pytest.{more} Pages: docs/reference.md.", ""])


def _takes(procedure: Procedure, option: Option) -> bool:
    if option.name in ("--plan", "--confirm", "--rebuild"):
        return procedure.confirms
    if option.name == "--check":
        return False
    if option.name == "--detailed-exitcode":
        return procedure.confirms or procedure.looks
    return not option.own or option.dest in {name.rstrip("!") for name in procedure.takes}


def _sentence(procedure: Procedure) -> str:
    return f"{plain(procedure.about)}."[:1].upper() + f"{plain(procedure.about)}."[1:]


def _examples(procedure: Procedure) -> list[tuple[str, str]]:
    members = " --members=etcd-2" if "members!" in procedure.takes else ""
    line = f"pytest {procedure.directory} --hosts=prod{members}"
    found = [(line, plain(procedure.about))]
    if procedure.confirms:
        found.append((f"{line} --plan", "the exact commands for each host in order, nothing changed"))
        found.append((f"{line} --confirm=prod", "without the question on the terminal"))
    else:
        found.append((f"{line} --evidence=/srv/evidence", "its evidence elsewhere"))
        found.append((f"{line} --timeout-scale=3", "on slow hosts"))
    return found


def _block(title: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = [title]
    for name, text in rows:
        label = f"  {name:<{COLUMN - 4}}  "
        if len(label) > COLUMN:
            lines.append(label.rstrip())
            label = " " * COLUMN
        lines += textwrap.wrap(plain(text), WIDTH, initial_indent=label, subsequent_indent=" " * COLUMN)
    return [*lines, ""]


def plain(markdown: str) -> str:
    """Without links and backticks."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown).replace("`", "")


# -- the pages' tables -------------------------------------------------------------------------------------------


def tables() -> dict[str, str]:
    """Marker in a page → the Markdown table that stands behind it."""
    takes = {p.directory: ", ".join(f"`--{n.rstrip('!').replace('_', '-')}`" for n in p.takes) for p in PROCEDURES}
    return {
        "options": _table("option | what it says | default", ((f"`{o.spelled}`", o.says, o.default) for o in OPTIONS)),
        "procedures": _table(
            "procedure | what it is for | its own options | outcome",
            ((f"`{p.directory}`", p.about, takes[p.directory], f"`{p.outcome}`") for p in PROCEDURES),
        ),
        "outcomes": _table("outcome | meaning", ((f"`{word}`", text) for word, text in OUTCOMES.items())),
        "exit codes": _table("exit code | meaning", ((str(code), text) for code, text in EXIT_CODES.items())),
    }


def _table(head: str, rows: Iterable[Sequence[str]]) -> str:
    columns = head.count("|") + 1
    return "\n".join([f"| {head} |", "|---" * columns + "|", *(f"| {' | '.join(row)} |" for row in rows)])


def marked(text: str, place: str) -> str:
    """A page with the table behind each marker made anew. `place`: the name of its directory, for links."""
    for name, table in tables().items():
        here = table if place == "docs" else re.sub(r"\]\((?=[\w-]+\.md)", "](docs/", table)
        marker = f"{MARK}{name} -->\n\n"
        before, found, after = text.partition(marker)
        rest = re.sub(r"\A(?:\|.*\n)*", "", after)
        text = f"{before}{marker}{here}\n{rest}" if found else text
    return text


# -- the man page ------------------------------------------------------------------------------------------------


def man() -> str:
    """roff, without a date: the same text from the same source."""
    lines = [
        f'.TH REQUORUM 1 "" "requorum {__version__}" "Deephaven etcd recovery"',
        ".SH NAME",
        r"requorum \- a runbook that rebuilds a Deephaven etcd cluster after quorum loss",
        ".SH SYNOPSIS",
        r".B pytest \fIPROCEDURE\fP \-\-hosts=\fINAME\fP [\fIOPTION\fP...]",
        ".SH PROCEDURES",
        *(line for p in PROCEDURES for line in _item(p.directory, p.about)),
        ".SH OPTIONS",
        *(line for o in OPTIONS for line in _item(o.spelled, f"{o.says}. Default: {o.default}.")),
        ".SH EXIT STATUS",
        *(line for code, text in EXIT_CODES.items() for line in _item(str(code), text)),
        ".SH EXAMPLES",
        *(line for command, why in EXAMPLES for line in _item(command, why)),
        ".SH SEE ALSO",
        _roff("The pages in docs/, which say more: night.md, preparing.md, data.md, reference.md."),
        "",
    ]
    return "\n".join(lines)


def _item(name: str, text: str) -> list[str]:
    return [".TP", rf"\fB{_roff(name)}\fP", _roff(plain(text))]


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


# -- bash's completion -------------------------------------------------------------------------------------------


def completion() -> str:
    """A file to be sourced: what can be typed is filled into the text beside this module."""
    text = (Path(__file__).parent / "completion.bash.in").read_text(encoding="utf-8")
    options = [option.name + ("=" if option.value else "") for option in OPTIONS]
    words = {"@PROCEDURES@": [p.directory for p in PROCEDURES], "@OPTIONS@": options}
    for name, found in words.items():
        text = text.replace(name, " ".join(found))
    return text


# -- the files ---------------------------------------------------------------------------------------------------


def files() -> dict[Path, str]:
    """Each file that is made, and what must stand in it."""
    pages = {path: path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))}
    made = {path: marked(text, path.parent.name) for path, text in pages.items() if MARK in text}
    return {**made, ROOT / "docs" / "requorum.1": man(), ROOT / "deploy" / "completion.bash": completion()}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m requorum manual", description="Prints the man page.")
    parser.add_argument("--write", action="store_true", help="make docs/requorum.1 and the like anew in this tree")
    if not parser.parse_args(arguments).write:
        print(man(), end="")
        return 0
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0
