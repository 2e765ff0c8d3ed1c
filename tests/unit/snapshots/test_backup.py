"""The nightly backup's commands: the vendor's etcdctl and nobody else's, however the inventory spells it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from requorum.snapshots import backup, on_host
from tests.unit import build

SPELT = {"etcdctl": "/opt/vendor/ctl --as {admin_user} etcd"}


def saving(etcdctl: str) -> list[str]:
    terms = build.terms(of=build.inventory({"etcdctl": etcdctl}))
    return build.lines(backup.save(terms, "https://10.0.0.12:2379"))


def test_the_save_is_by_the_vendors_etcdctl_with_its_placeholders_filled() -> None:
    place = f"/var/lib/requorum/lab/backup-{build.RUN}"
    assert saving(SPELT["etcdctl"])[-1] == (
        f"infra-1: {build.HUGE} {build.SCOPE} /opt/vendor/ctl --as irisadmin etcd --endpoints=https://10.0.0.12:2379 "
        f"--dial-timeout=10s snapshot save {place}/snapshot.db"
    )


def read_with(tmp_path: Path, *tools: str) -> str:
    """Carries the question out where just `tools` are in the PATH; which tool answered, and what it was asked."""
    for name in ("etcdutl", "etcdctl", "vendor"):
        tool = tmp_path / name
        tool.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        tool.chmod(0o700 if name in (*tools, "vendor") else 0o600)
    terms = build.terms(of=build.inventory({"etcdctl": f"{tmp_path}/vendor --as {{admin_user}}"}))
    save = f"{backup.staging(terms)}/snapshot.db"
    (question,) = on_host.ask_status("infra-1", save, on_host.etcdctl(terms)).commands
    shell, *words = question.argv
    assert shell == "sh"
    return subprocess.check_output(["/bin/sh", *words], env={"PATH": str(tmp_path)}, text=True)


def test_where_there_is_no_etcdutl_the_vendors_etcdctl_reads_the_save(tmp_path: Path) -> None:
    save = f"/var/lib/requorum/lab/backup-{build.RUN}/snapshot.db"
    assert read_with(tmp_path) == f"vendor --as irisadmin snapshot status -w json {save}\n"
    assert read_with(tmp_path, "etcdctl") == f"vendor --as irisadmin snapshot status -w json {save}\n"


def test_etcdutl_reads_it_where_it_is_there_since_later_versions_leave_that_to_it(tmp_path: Path) -> None:
    assert read_with(tmp_path, "etcdutl", "etcdctl").startswith("etcdutl snapshot status -w json /")
