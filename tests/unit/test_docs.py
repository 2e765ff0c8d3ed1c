"""README and docs/: short, without repetition, and everything that they or the code's messages name is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from requorum import procedures as stages
from requorum.evidence.journal import Journal

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [README, *PAGES]
SPEAKING = ("conftest.py", "setup", "Makefile", "deploy", "inventory/example.yaml", "requorum", "runbook", "compose")
NONE = object()
LONG_SENTENCE = 60  # characters; shorter ones may be the same by chance

CODE_BLOCK = re.compile(r"^ *```.*?^ *```$", re.M | re.S)
HEADING = re.compile(r"^#+ +(.*)$", re.M)
LINK = re.compile(r"\]\(([^)\s]+)\)")
IN_A_MESSAGE = re.compile(r"docs/[\w-]+\.md(?:#[\w-]+)?")
COMMAND = re.compile(
    r"\bpytest (?P<stages>runbook\S*)|\bpython -m (?P<module>[\w.]+)|^(?:[A-Z]+=\S+ )?make (?P<target>[\w-]+)"
)
ids = pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)


def prose(path: Path) -> str:
    return CODE_BLOCK.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """As GitHub makes them: lower case, punctuation away, a dash for each space, a number behind a repeated one."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    for heading in HEADING.findall(prose(path)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def missing(link: str, base: Path) -> str:
    """What a link in the file or directory `base` does not lead to; "" where all of it is there."""
    name, _, heading = link.partition("#")
    target = (base.parent if base.is_file() and name else base) / name
    if not target.exists():
        return f"no file {name}"
    if heading and (target.suffix != ".md" or heading not in anchors(target)):
        return f"no heading #{heading} in {target.name}"
    return ""


def speaking() -> Iterator[Path]:
    """Every file whose words an operator reads."""
    for name in SPEAKING:
        path = ROOT / name
        files = [path] if path.is_file() else path.rglob("*")
        yield from (f for f in files if f.is_file() and "__pycache__" not in f.parts)


def sentences(path: Path) -> Iterator[str]:
    """Long sentences outside code, tables and headings, without markup; a paragraph or an item of a list at a time."""
    lines = [line for line in prose(path).splitlines() if not line.lstrip().startswith(("|", "#", "!["))]
    for paragraph in re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.) +", "\n".join(lines)):
        for sentence in re.split(r"(?<=[.!?])\s+", re.sub(r"[*`_]", "", paragraph)):
            words = " ".join(sentence.split()).lower()
            if len(words) >= LONG_SENTENCE:
                yield words


def code(path: Path) -> Iterator[str]:
    """Every line of a code block, and every piece of code within prose."""
    for block in CODE_BLOCK.findall(path.read_text(encoding="utf-8")):
        yield from block.splitlines()[1:-1]
    yield from re.findall(r"`([^`\n]+)`", prose(path))


def unknown(line: str, config: pytest.Config) -> list[str]:
    """What a command names that is not there: a procedure, a module, a target, an option."""
    procedures = {procedure.directory for procedure in stages.PROCEDURES}
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    wrong = []
    for found in COMMAND.finditer(line):
        wanted = found["stages"] or found["module"] or found["target"]
        path = ROOT / (found["module"] or "").replace(".", "/")
        there = {
            "stages": wanted in procedures,
            "module": path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(),
            "target": wanted in targets,
        }[found.lastgroup or ""]
        wrong += [] if there else [wanted]
        if found["stages"]:
            options = re.findall(r"--[a-z][a-z-]*", line[found.end() :].partition("#")[0])
            wrong += [option for option in options if config.getoption(option, NONE) is NONE]
    return wrong


# -- what is named is there --------------------------------------------------------------------------------------


def test_every_page_that_a_message_names_has_that_heading() -> None:
    named = [(file, link) for file in speaking() for link in IN_A_MESSAGE.findall(file.read_text(errors="replace"))]
    assert named
    assert not [f"{file.relative_to(ROOT)}: {link}" for file, link in named if missing(link, ROOT)]


def test_no_message_sends_the_operator_to_look_through_the_readme() -> None:
    assert not [str(file.relative_to(ROOT)) for file in speaking() if "README" in file.read_text(errors="replace")]


@ids
def test_every_link_leads_somewhere(path: Path) -> None:
    links = [link for link in LINK.findall(prose(path)) if "://" not in link]
    assert not [f"{link}: {why}" for link in links if (why := missing(link, path))]


def test_the_readme_leads_to_every_page() -> None:
    assert {f"docs/{page.name}" for page in PAGES} <= {link.partition("#")[0] for link in LINK.findall(prose(README))}


@ids
def test_every_command_shown_is_there(path: Path, request: pytest.FixtureRequest) -> None:
    assert not [f"{line}: {wrong}" for line in code(path) if (wrong := unknown(line, request.config))]


SHOWN = re.compile(
    r"(?:\.venv/bin/)?((?:pytest runbook\S*|make)(?: +[-A-Z]\S+| [a-z-]+)+|python -m [^>#]+)\s*(?:[>#].*)?"
)
ONE_PROCESS = """
import json, pytest, runpy, sys
for sys.argv in json.load(sys.stdin):
    print("$", *sys.argv, flush=True)
    try:
        if sys.argv[0] == "pytest":
            sys.exit(pytest.main(sys.argv[1:]))
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print("ended with", int(end.code or 0), flush=True)
"""


def without_hosts(shown: str, evidence: Path) -> list[str]:
    """A command of the pages as far as it goes without a host, a lab or an engine: what pytest would run, a help."""
    inventory = re.sub(r"--hosts=(prod|lab)\b", "--hosts=example", shown)
    words = [w for w in inventory.removeprefix("python -m ").split() if not w.startswith("--approved=")]
    if words[0] == "pytest":
        return [*words, "--collect-only", "-q"]
    if words[0].startswith(("compose.", "tests.")):
        return [*words[: 2 if words[1][0] != "-" else 1], "--help"]
    if words[0] == "requorum":
        return ["requorum", "--version"] if words[1:2] in ([], ["--version"]) else [*words[:2], "--help"]
    return {
        "requorum": ["requorum", "backups", "list", "--hosts=example"],
        "requorum.sudoers": ["requorum.sudoers", "example", words[-1]],
        "requorum.journal": ["requorum.journal", "verify", str(evidence / "journal.jsonl")],
        "requorum.report": ["requorum.report", str(evidence)],
    }[words[0]]


def test_every_command_shown_does_what_it_can_without_a_host(tmp_path: Path) -> None:
    """A run is collected, a lab says its help, make says what it would do; what reads evidence reads some."""
    shown = {found[1].strip() for path in TEXTS for line in code(path) if (found := SHOWN.fullmatch(line.strip()))}
    journal = Journal(tmp_path / "evidence")
    journal.record("run", cluster="prod")
    journal.record("end", outcome="stopped", stopped_at=None)
    journal.summary({})
    made = sorted(command for command in shown if command.startswith("make "))
    others = [without_hosts(command, journal.directory) for command in sorted(shown - set(made))]
    assert len(made) >= 8 and len(others) >= 20
    for command in made:
        subprocess.run([*command.split(), "-n"], cwd=ROOT, check=True, capture_output=True)
    driver = [sys.executable, "-c", ONE_PROCESS]
    ran = subprocess.run(driver, cwd=ROOT, input=json.dumps(others), text=True, capture_output=True, check=False)
    assert ran.stdout.count("ended with 0") == len(others), ran.stdout + ran.stderr


def test_every_dependency_has_its_reason() -> None:
    rows = re.findall(r"^\| ([\w-]+) \| .{5}", (ROOT / "docs" / "development.md").read_text(encoding="utf-8"), re.M)
    named = [(ROOT / f"requirements{part}.in").read_text().split() for part in ("", "-lab")]
    assert {name for words in named for name in words} - {"-c", "requirements.txt"} <= set(rows)


# -- short, and each thing once ----------------------------------------------------------------------------------


def test_the_readme_is_one_screen_and_links() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 180
    assert len(text.split()) <= 1300


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 190


def test_no_sentence_stands_twice() -> None:
    counts = Counter(sentence for path in TEXTS for sentence in sentences(path))
    assert len(counts) > 100
    assert not [sentence for sentence, times in counts.items() if times > 1]


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Giving a run up", "giving-a-run-up"),
        ("summary.json", "summaryjson"),
        ("What is refused, and why", "what-is-refused-and-why"),
        ("`--plan`: what it [would](x.md) do", "--plan-what-it-would-do"),
    ],
)
def test_an_anchor_is_made_as_github_makes_it(heading: str, anchor: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# {heading}\n\n```\n# no heading\n```\n\n## {heading}\n")
    assert anchors(page) == {anchor, f"{anchor}-1"}
