"""Help, man page, tables and completion say what can be typed, and all the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from requorum import __main__, commandline, manual, procedures, version
from requorum.plugin import options
from tests.unit import build

ROOT = Path(__file__).parents[2]
FILES = manual.files()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_made_from_the_one_list_is_as_it_says(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path], "run `make manual`, and commit what it makes"


def test_every_page_with_a_table_has_its_marker() -> None:
    text = "".join(FILES[ROOT / name] for name in ("README.md", "docs/reference.md", "docs/programs.md"))
    assert all(
        f"<!-- made by make manual: {name} -->\n\n{table[:20]}" in text for name, table in manual.tables().items()
    )


def test_every_option_of_a_procedure_is_in_the_list_as_one_that_not_all_take() -> None:
    taken = {name.rstrip("!") for procedure in procedures.PROCEDURES for name in procedure.takes}
    assert taken == set(options.OWN)
    assert all(procedure.about for procedure in procedures.PROCEDURES)


def test_every_outcome_of_a_procedure_has_its_meaning() -> None:
    assert {procedure.outcome for procedure in procedures.PROCEDURES} <= set(commandline.OUTCOMES)


def test_every_option_is_one_that_pytest_knows(request: pytest.FixtureRequest) -> None:
    missing = object()
    for option in commandline.OPTIONS:
        assert request.config.getoption(option.name, missing) is not missing, option.name


def test_a_link_of_the_readme_leads_into_docs() -> None:
    assert "](docs/reference.md#the-last-lines)" in FILES[ROOT / "README.md"]


# -- the help ----------------------------------------------------------------------------------------------------


def asked(*words: str) -> str:
    line = (sys.executable, "-m", "pytest", *words)
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0 and not ended.stderr, ended.stderr
    return ended.stdout


def test_the_runbooks_help_is_our_page_alone() -> None:
    said = asked("runbook", "--help")
    assert said == manual.page()
    assert all(f"  {procedure.directory}" in said for procedure in procedures.PROCEDURES)
    assert all(f"  {option.spelled}" in said and "default: " in said for option in commandline.OPTIONS)
    assert all(f"\n  {code}  " in said for code in range(5))
    assert said.count("\n  pytest runbook --hosts=prod") == 3 and "`" not in said and "](" not in said


def test_a_procedures_help_has_the_options_that_it_takes() -> None:
    said = asked("--help", "runbook/troubleshoot/run_directly")
    assert said == manual.page(next(p for p in procedures.PROCEDURES if p.directory.endswith("run_directly")))
    assert "--seconds=N" in said and "--members=NAME" in said and "--plan" in said
    assert not [name for name in ("--snapshot", "--salvage", "--since", "--off ", "  --check ") if name in said]


def test_pytests_own_help_is_a_word_away_and_is_what_stands_where_no_procedure_is_named() -> None:
    own = asked("runbook", "--help-pytest")
    assert "pytest [options] [file_or_dir]" in own and "--confirm" in own
    assert "pytest [options] [file_or_dir]" in asked("--help")


def test_the_version_is_said_where_pytest_lets_us() -> None:
    assert asked("runbook", "-VV") == f"requorum {version.told()}\n"
    assert asked("runbook", "--help").splitlines()[0] == f"requorum {version.told()}"


# -- the man page ------------------------------------------------------------------------------------------------


def test_the_man_page_is_printed_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.PROGRAMS["manual"]([]) == 0
    assert capsys.readouterr().out == manual.man()


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff here")
def test_the_man_page_is_roff_that_groff_takes_without_a_word() -> None:
    drawn = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww"], input=manual.man(), capture_output=True, text=True, check=True
    )
    assert drawn.stderr == "" and "EXIT STATUS" in drawn.stdout.replace("\b", "").replace(
        "EEXXIITT SSTTAATTUUSS", "EXIT STATUS"
    )


# -- completion --------------------------------------------------------------------------------------------------

DRIVER = """
source deploy/completion.bash
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$2
_requorum
printf '%s\\n' "${COMPREPLY[@]}"
complete -p pytest >&2
"""


def completed(line: str, breaks: str = " =:") -> list[str]:
    ended = subprocess.run(
        ["bash", "-c", DRIVER, "bash", line, breaks], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "-F _requorum pytest" in ended.stderr
    return ended.stdout.split()


def test_bash_completes_procedures() -> None:
    assert completed("pytest runbook/tr") == [
        p.directory for p in procedures.PROCEDURES if p.directory.startswith("runbook/tr")
    ]
    assert completed(".venv/bin/pytest run")[0] == "runbook"
    assert completed("pytest tests/unit") == []


def test_bash_completes_options_only_behind_a_procedure() -> None:
    assert {"--hosts=", "--check", "--confirm="} <= set(completed("pytest runbook --"))
    assert completed("pytest runbook --co") == ["--confirm=", "--concurrency="]
    assert completed("pytest --co") == []


def test_bash_completes_inventories_and_their_names() -> None:
    assert "example" in completed("pytest runbook --hosts=")
    assert completed("pytest runbook --hosts=exam") == ["example"]
    assert completed("pytest runbook --hosts=exam", breaks=" ") == ["--hosts=example"]
    assert completed("pytest runbook/x --hosts=example --members=etcd-1,etcd-") == [
        f"etcd-1,etcd-{number}" for number in (2, 3)
    ]
    assert completed("pytest runbook --hosts=example --gone=q") == ["query-1"]
    assert "etcd-1" in completed("pytest runbook --hosts=example --gone=")
    assert not {"etcd-1,etcd-1", "etcd-1,"} & set(completed("pytest runbook --hosts=example --gone=etcd-1,"))


def test_bash_completes_the_names_of_an_inventory_from_the_hosts(tmp_path: Path) -> None:
    path = tmp_path / "made.yaml"
    path.write_text(yaml.safe_dump(build.document(), sort_keys=False))  # as `inventory new` writes it
    assert completed(f"pytest runbook/x --hosts={path} --members=") == ["etcd-1", "etcd-2", "etcd-3"]
    assert completed(f"pytest runbook/x --hosts={path} --members=etcd-1,") == ["etcd-1,etcd-2", "etcd-1,etcd-3"]
    assert completed(f"pytest runbook --hosts={path} --gone=") == list(build.document()["hosts"])
