"""What root needs is what the list of its commands runs, and what is missing is said with where it was looked for."""

from __future__ import annotations

import re
from pathlib import Path

from requorum.recovery import equipment
from requorum.troubleshoot import sudoers


def test_whatever_the_list_runs_by_its_bare_name_is_looked_for() -> None:
    listed = [row.split(" ", 1) for row in sudoers.LIST.read_text().splitlines() if row and row[0] != "#"]
    rows = [words for deadlines, words in listed if not deadlines.endswith("!")]  # SELinux is there with its tools
    run = {row.removeprefix("@SCOPE@ ").split(" ")[0] for row in rows}
    of_some_hosts = {"curl", "openssl"}  # `needed` says which
    assert {tool for tool in run if not tool.startswith("@")} - of_some_hosts <= set(equipment.AS_ROOT)


def test_what_the_copies_script_asks_for_is_looked_for_where_it_will_run() -> None:
    script = (Path(equipment.__file__).parents[1] / "cluster" / "sandbox.sh").read_text()
    (tools,) = re.findall(r"for tool in (.*); do", script)
    assert set(tools.split()) <= set(equipment.IN_UNIT)


def test_what_is_missing_is_said_with_where_root_and_systemd_look() -> None:
    assert equipment.unfound("/bin", [], []) == []
    assert equipment.unfound("/bin", ["ss", "ip"], ["etcd"]) == [
        "no ss, ip in /bin, where root looks",
        f"no etcd in {equipment.UNIT_PATH}, where systemd's units look",
    ]
    assert equipment.unfound("", ["ss"], []) == ["no ss in the PATH of the login, where root looks"]
