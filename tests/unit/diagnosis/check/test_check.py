"""What the check says of a cluster, and that it says all of it: from what hosts answer to findings, no host touched."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.cluster.lineage import Lineage
from requorum.command import Result
from requorum.diagnosis import check as checks
from requorum.diagnosis.check import running
from requorum.diagnosis.check.check import CLUSTER, HERE, Seen, Verdict, counted
from requorum.diagnosis.check.machines import judge_clock
from requorum.hosts import clock
from requorum.hosts.clock import Reading
from requorum.hosts.question import Question
from requorum.run.marker import began
from requorum.run.run import Run
from requorum.snapshots import processes
from requorum.snapshots.anew import began_anew
from requorum.snapshots.ranking import Candidate
from tests.unit import build, world
from tests.unit.world import MAY, Answer, World, noted

CERT = f"{world.KEYS}/server.crt"
CLIENT_CERT = f"{build.CLIENT}/root/c.crt"
EVERYBODY = ("etcd-1", "etcd-2", "etcd-3", "infra-1", "query-1")


def fails(of: World) -> dict[tuple[str, str], str]:
    return {key: finding.found for key, finding in of.findings().items() if finding.verdict == "fails"}


def test_a_healthy_cluster_has_nothing_but_what_holds_and_the_fact_of_its_quorum() -> None:
    findings = World().findings()
    others = {key: f for key, f in findings.items() if f.verdict != "holds"}
    assert list(others) == [(CLUSTER, "quorum"), (CLUSTER, "history"), (CLUSTER, "zombie members")], others
    assert {finding.verdict for finding in others.values()} == {"told"}, "no backup is no proof"
    assert others[CLUSTER, "quorum"].found.startswith("quorum is intact; etcd-1: up, and sees a leader")
    assert all(finding.found and not finding.remedy for finding in findings.values())


def test_every_host_has_its_checks_and_hosts_come_as_the_inventory_lists_them() -> None:
    cases = checks.cases(build.terms())
    assert list(dict.fromkeys(case.subject for case in cases)) == [*EVERYBODY, CLUSTER, HERE]
    assert max(Counter(map(str, cases)).values()) == 1, "a case's name is its own in junit"
    for name in ("ssh", "sudo", "clock", "commands", "ports", "monit"):
        assert {case.subject for case in cases if case.check.name == name} == set(EVERYBODY)


def test_a_machine_that_is_gone_is_not_looked_at() -> None:
    terms = build.terms(gone=("query-1",))
    assert "query-1" not in {case.subject for case in checks.cases(terms)}
    asked = [case.check.ask(Seen(terms, world.NOW), case.subject).values() for case in checks.cases(terms)]
    assert "query-1" not in {question.host for questions in asked for question in questions}


def test_a_spare_answers_lets_us_in_and_keeps_time_and_more_is_not_asked_of_it() -> None:
    hosts = {**build.document()["hosts"], "spare-1": {"address": "spare-1.invalid"}}
    cases = checks.cases(build.terms(of=build.inventory(hosts=hosts)))
    assert [case.check.name for case in cases if case.subject == "spare-1"] == ["ssh", "sudo", "clock"]


LEFT = "/var/lib/etcd/requorum-20260101t000000z-a"
REFUSED: Answer = (1, "", "Error: etcdserver: authentication failed, invalid user ID or password\n")
FAULTS: list[tuple[str, str, str, Answer, str]] = [
    ("etcd-1", "commands", "-perm /111", (0, ""), "missing: /usr/illumon/latest/bin/unpack_etcd_server.sh"),
    ("etcd-1", "commands", 'command -v "$tool"', (0, "0 curl\n"), "missing: curl"),
    (
        "etcd-2",
        "secure_path",
        "base64 cat",
        (0, "0 runuser\n"),
        "no runuser in the PATH of the login, where root looks",
    ),
    ("etcd-1", "secure_path", "setpriv", (0, "0 etcd\n"), "where systemd's units look"),
    ("etcd-1", "commands", "id -u", (1, ""), "missing: the account etcd"),
    ("etcd-1", "ports", "10.0.0.12 2380", (1, "", "Connection refused"), "10.0.0.12:2380 refuses"),
    ("query-1", "ports", "10.0.0.13 2379", (124, "", ""), "10.0.0.13:2379 gives no answer"),
    (
        "etcd-1",
        "disk",
        "df -P",
        (0, world.df(free=1000, on="/")),
        "1,000 bytes free in /, 428,387,865 needed: the snapshot, its trial and the restored data",
    ),
    ("etcd-1", "disk", "df -P", (0, world.df(free=10**12, on="/ro")), "/ro is mounted read-only"),
    ("etcd-1", "disk", "df -P", (127, "", "df: not found"), "no answer from df: df: not found"),
    ("etcd-1", "leftovers", "du -s -B1", (0, f"4096\t{LEFT}\n"), f"{LEFT}: 4,096 bytes, "),
    ("etcd-1", "address", "ip -o addr", (0, "2: eth0 inet 10.9.9.9/24"), "10.0.0.11 is none of 10.9.9.9"),
    ("etcd-2", "version", "etcd --version", (0, "etcd Version: 3.4.44\n"), "etcd 3.4.44, but 3.5.33 on etcd-1"),
    ("etcd-2", "version", "etcd --version", (127, ""), "has no etcd in its PATH"),
    ("etcd-3", "advisories", "etcd --version", (0, "etcd Version: 3.5.2\n"), "etcd-io/etcd#13766: a crash under load"),
    (
        "etcd-1",
        "drop-ins",
        "/etc/systemd",
        (0, "[Service]\nExecStart=\nExecStart=/opt/start\n"),
        "started by /opt/start",
    ),
    ("etcd-1", "drop-ins", "/etc/systemd", (1, "", "cat: x: Permission denied"), "they cannot be read"),
    ("etcd-1", "etcd", "systemctl show", (0, "LoadState=masked\nActiveState=inactive\n"), "is masked, inactive"),
    ("etcd-1", "etcd", "/metrics", (0, "etcd_server_has_leader 0\n"), "it sees no leader"),
    ("etcd-1", "etcd", "/metrics", (7, ""), "it does not say whether there is a leader"),
    ("etcd-1", "etcd", "ss -Htln", (0, "LISTEN 0 9 127.0.0.1:2379 0.0.0.0:*\n"), "nobody listens on 10.0.0.11:2379"),
    ("etcd-1", "server files", "'!' -user", (0, "root:root /var/lib/etcd/dh/x/member\n"), "belongs to root:root"),
    ("etcd-1", "server files", "'!' -user", (1, "", "find: no such directory"), "no data: find: no such directory"),
    ("etcd-1", "server files", "runuser", (1, ""), "etcd cannot read /etc/etcd/dh/latest/config.yaml or a key"),
    ("etcd-1", "server files", "%m %u", (0, f"644 root:etcd {world.KEYS}/server.key\n"), "everybody can read"),
    (
        "infra-1",
        "client files",
        "-name password -printf",
        (0, "root/password nobody:nobody 600\n"),
        "root/password belongs to nobody:nobody, not to irisadmin",
    ),
    ("infra-1", "client files", "-name password -printf", (0, "root/password root:root 644\n"), "has mode 644"),
    (
        "infra-1",
        "client files",
        "-name password -printf",
        (0, "root/password joe:domain users 600\n"),
        "joe:domain users",
    ),
    (
        "etcd-1",
        "server files",
        "'!' -user",
        (0, "1234:domain users /var/lib/etcd/dh/x\n"),
        "belongs to 1234:domain users",
    ),
    (
        "infra-1",
        "endpoints",
        "-name endpoints",
        (0, f"{build.CLIENT}/root/endpoints:https://10.0.0.11:2379\n"),
        "root/endpoints lacks 10.0.0.12, 10.0.0.13",
    ),
    (
        "infra-1",
        "client files",
        "sha256sum",
        (0, f"{'b' * 64}  {build.CLIENT}/root/password\n"),
        "root: infra-1 differs from query-1",
    ),
    (
        "etcd-1",
        "certificates",
        "openssl",
        (0, f"{CERT}\nnotAfter=Nov 20 07:40:04 2020 GMT\n"),
        f"{CERT} ended on 2020-11-20",
    ),
    (
        "etcd-1",
        "certificates",
        "openssl",
        (0, f"{CERT}\nnotAfter=Dec 20 07:40:04 2026 GMT\n"),
        f"{CERT} ends on 2026-12-20, in 27 days",
    ),
    ("etcd-1", "certificates", "openssl", (0, f"{CERT}\n", "unable to load"), "no certificate that openssl can read"),
    ("etcd-1", "certificates", "openssl", (1, "", "find: ‘/a.crt’: No such file"), "‘/a.crt’: No such file"),
    (
        "query-1",
        "certificates",
        "'*.crt'",
        (0, f"{CLIENT_CERT}\nnotAfter=Nov  1 00:00:00 2026 GMT\n"),
        f"{CLIENT_CERT} ended on 2026-11-01",
    ),
    ("infra-1", "monit", "dh_monit summary", (0, "etcd OK Process\n"), "monit watches etcd (OK)"),
    ("infra-1", "monit", "dh_monit summary", (1, "what?"), "deephaven.commands.monit_status ended with 1: what?"),
    (
        CLUSTER,
        "health",
        "endpoint health",
        (0, world.health({"0.0.12": "deadline exceeded"})),
        "etcd-2: deadline exceeded",
    ),
    (CLUSTER, "health", "endpoint health", (1, "", "Error: no endpoint"), "no member answers an authenticated user"),
    (CLUSTER, "logins", "get /requorum", REFUSED, "root: Error: etcdserver: authentication failed"),
    (CLUSTER, "logins", "get /requorum", (1, "", "Error: context deadline exceeded"), "root: Error: context deadline"),
    (
        CLUSTER,
        "one cluster",
        "10.0.0.12:2379 endpoint status",
        (0, json.dumps([world.status("https://10.0.0.12:2379", leader=2)])),
        "they name several leaders",
    ),
    (
        CLUSTER,
        "one cluster",
        "10.0.0.12:2379 endpoint status",
        (0, json.dumps([world.status("https://10.0.0.12:2379", errors=["NOSPACE"])])),
        "etcd-2: NOSPACE",
    ),
    (
        CLUSTER,
        "one cluster",
        "10.0.0.12:2379 endpoint status",
        (0, json.dumps([world.status("https://10.0.0.12:2379", version="3.4.1")])),
        "etcd-2 runs 3.4.1",
    ),
    (
        CLUSTER,
        "hashkv",
        "10.0.0.13:2379 endpoint hashkv",
        (0, json.dumps([world.digest("https://10.0.0.13:2379", 8)])),
        "etcd-3: 8",
    ),
    (CLUSTER, "hashkv", "10.0.0.13:2379 endpoint hashkv", (1, "", "Error: compacted"), "Error: compacted"),
    (CLUSTER, "keys", "--keys-only", (0, json.dumps({"count": 0})), "0 in all, expected at least 1"),
    (CLUSTER, "keys", "--keys-only", (1, "", "Error: deadline"), "in all: Error: deadline"),
]


BY_NAME = (0, f"{build.CLIENT}/root/endpoints:https://a.lab:2379,https://b.lab:2379,https://10.0.0.13:2379\n")


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ({"a": "10.0.0.11", "b": "10.0.0.12"}, "3 members, a.lab, b.lab by name"),
        ({"a": "10.0.0.11", "b": "10.9.9.9"}, "root/endpoints names b.lab, which leads to 10.9.9.9 there"),
        ({"a": "10.0.0.11", "b": "10.0.0.11"}, "root/endpoints lacks 10.0.0.12"),
        ({"a": "10.0.0.11"}, "root/endpoints names b.lab, which leads nowhere there"),
    ],
    ids=["the members", "another", "one of them twice", "nobody"],
)
def test_endpoints_may_be_names_that_lead_to_the_members_on_that_host(there: dict[str, str], found: str) -> None:
    says: list[tuple[str, str, Answer]] = [("infra-1", "-name endpoints", BY_NAME), ("infra-1", "getent", (2, ""))]
    says = [*[("infra-1", f"ahosts {n}.lab", (0, f"{ip} STREAM {n}\n{ip} DGRAM\n")) for n, ip in there.items()], *says]
    finding = World(says=says).findings()["infra-1", "endpoints"]
    assert (finding.found, finding.verdict) == (found, "holds" if found.endswith("by name") else "fails")


@pytest.mark.parametrize(("host", "check", "part", "answer", "found"), FAULTS, ids=lambda v: str(v)[:40])
def test_what_is_wrong_is_found_on_its_host_with_a_remedy(
    host: str, check: str, part: str, answer: Answer, found: str
) -> None:
    asked = "infra-1" if host == CLUSTER else host
    finding = World(says=[(asked, part, answer)]).findings()[host, check]
    assert finding.verdict == "fails", finding
    assert found in finding.found
    assert finding.remedy and "{" not in finding.remedy + finding.expected


def test_data_over_the_quota_of_a_new_cluster_is_found_unless_it_is_kept_or_nobody_knows_it() -> None:
    large: tuple[str, str, Answer] = ("etcd-1", "stat -c %s", (0, "3000000000\n"))
    raised = {"etcd-1": build.config(1, settings=(("quota-backend-bytes", "8589934592"),))}
    finding = World(says=[large], seen={"configs": raised}).findings()[CLUSTER, "quota"]
    assert (finding.verdict, finding.found[:28]) == ("fails", "a quota of 2,147,483,648 byt")
    assert "etcd.keep_settings: [quota-backend-bytes]" in finding.remedy
    for word, verdict in (("", "holds"), ("=-1", "holds"), ("=2147483648", "fails")):
        named = build.inventory(etcd={"keep_settings": [f"quota-backend-bytes{word}"]})
        world = World(build.terms(of=named), says=[large], seen={"configs": raised})
        assert world.findings()[CLUSTER, "quota"].verdict == verdict
    finding = World(says=[large]).findings()[CLUSTER, "quota"]
    assert finding.verdict == "told" and "the generator must write a larger one" in finding.found


def test_all_that_is_wrong_is_found_at_once() -> None:
    many = [FAULTS[n] for n in (0, 3, 7, 12, 16, 19, 24)]
    found = fails(World(says=[(host, part, answer) for host, _, part, answer, _ in many]))
    assert {(host, check) for host, check, *_ in many} <= set(found)


def test_every_check_is_seen_to_fail() -> None:
    """So that a check which cannot fail is noticed. What is not a row above has a test of its own below."""
    own = {
        "ssh",
        "sudo",
        "clock",
        "quota",
        "unfinished run",
        "backup",
        "quorum",
        "history",
        "off-site",
        "zombie members",
        "proof's program",
    }
    assert {check for _, check, *_ in FAULTS} | own == {check.name for check in checks.CHECKS}


def test_a_name_or_an_address_that_is_not_the_inventorys_is_found() -> None:
    configs = {f"etcd-{n}": world.member_config(n) for n in (1, 2)} | {"etcd-3": world.member_config(2)}
    found = fails(World(seen={"configs": configs}))["etcd-3", "address"]
    assert found == "etcd calls itself etcd-2, the inventory etcd-3; etcd is configured for 10.0.0.12"


def test_a_member_without_a_configuration_is_found_and_where_it_is_broken_is_said() -> None:
    configs = {"etcd-1": world.member_config(1)}
    found = fails(World(seen={"configs": configs, "broken_configs": {"etcd-3": "config.yaml lacks name"}}))
    assert found["etcd-2", "server files"] == "no /etc/etcd/dh/latest/config.yaml"
    assert found["etcd-3", "server files"] == "config.yaml lacks name"


def test_an_unfinished_run_is_named() -> None:
    text = json.dumps({"run": "20260101t000000z-a", "token": "t", "phase": "STOPPING", "by": "eve@desk"})
    found = fails(World(says=[("infra-1", "run.json", (0, text))]))
    assert found == {(CLUSTER, "unfinished run"): "run 20260101t000000z-a of eve@desk got to: stopping"}
    (foreign,) = fails(World(says=[("query-1", "run.json", (0, text))])).values()
    assert foreign.startswith("query-1: the mark of a run there is not what infra-1 says")
    done = text.replace("STOPPING", "DONE")
    assert not fails(World(says=[("query-1", "run.json", (0, done))]))
    undone: tuple[str, str, Answer] = ("infra-1", "rolled-back", (0, "20260101t000000z-a/rolled-back\n"))
    back: list[tuple[str, str, Answer]] = [("query-1", "run.json", (0, text)), undone]
    assert not fails(World(says=back))
    assert "cannot be read" in fails(World(says=[("query-1", "run.json", (0, "{"))]))[CLUSTER, "unfinished run"]


def test_what_a_run_that_is_over_left_is_named_with_its_bytes_its_age_and_what_removes_it() -> None:
    scratch, own = f"{LEFT}.scratch", "/var/lib/requorum/lab/20260101t000000z-a/salvage"
    rows = "".join(f"{n}\t{path}\n" for n, path in ((4096, LEFT), (1 << 30, scratch), (7, own)))
    not_ours = "".join(f"9\t{path}\n" for path in (f"{LEFT}x", f"{LEFT}/../../x", "/etc", f"{LEFT} x", "/x\n9\t/etc"))
    finding = World(says=[("etcd-2", "du -s -B1", (0, rows + not_ours))]).findings()["etcd-2", "leftovers"]
    assert finding.verdict == "fails"
    days = (world.NOW - began("20260101t000000z-a")).days
    assert finding.found.split("; ") == [
        f"{path}: {size} bytes, {days} days old"
        for path, size in ((LEFT, "4,096"), (scratch, "1,073,741,824"), (own, "7"))
    ]
    assert finding.remedy.endswith(f"`sudo rm -rf {LEFT} {scratch} {own}`")


@pytest.mark.parametrize("host", ["infra-1", "query-1"])
@pytest.mark.parametrize("phase", ["OPEN", "STOPPING", "POWERING_ON"])
def test_nothing_of_an_unfinished_run_is_named_for_removal(host: str, phase: str) -> None:
    """Also where one host alone knows it: what is removed is gone."""
    mark = {"run": "20260101t000000z-a", "token": "t", "phase": phase, "by": "eve@desk"}
    left: tuple[str, str, Answer] = ("etcd-1", "du -s -B1", (0, f"4096\t{LEFT}\n"))
    finding = World(says=[(host, "run.json", (0, json.dumps(mark))), left]).findings()["etcd-1", "leftovers"]
    assert finding.verdict == "told" and finding.found.endswith(": of a run that is not over") and not finding.remedy
    closed = json.dumps({**mark, "undone": "ROLLED_BACK"})
    assert World(says=[(host, "run.json", (0, closed)), left]).findings()["etcd-1", "leftovers"].verdict == "fails"


@pytest.mark.parametrize("answer", [(0, "{"), (124, ""), (1, "", "cat: Permission denied")])
def test_nor_where_the_mark_is_not_known(answer: Answer) -> None:
    left: tuple[str, str, Answer] = ("etcd-1", "du -s -B1", (0, f"4096\t{LEFT}\n"))
    finding = World(says=[("infra-1", "run.json", answer), left]).findings()["etcd-1", "leftovers"]
    assert finding.verdict == "told" and "infra-1 does not say whether its run is over" in finding.found


@pytest.mark.parametrize(
    "unhealthy",
    [
        (1, "", "Error: unhealthy cluster"),
        (1, world.health({f"0.0.1{n}": "etcdserver: authentication failed" for n in (1, 2, 3)}), ""),
    ],
)
def test_a_root_whose_password_is_refused_is_one_finding_and_no_reason_to_recover(unhealthy: Answer) -> None:
    of = World(says=[("infra-1", "get /requorum", REFUSED), ("infra-1", "endpoint health", unhealthy)])
    assert list(fails(of)) == [(CLUSTER, "logins")]
    finding = of.findings()[CLUSTER, "logins"]
    assert f"{build.CLIENT}/ROLE/password" in finding.remedy and "pytest runbook --hosts" not in finding.remedy
    assert of.findings()[CLUSTER, "health"].found == "etcd refuses root's password"


def test_nobody_is_refused_where_nobody_can_log_in() -> None:
    of = World(says=[(f"etcd-{n}", "/metrics", (0, "etcd_server_has_leader 0\n")) for n in (1, 2, 3)])
    assert of.findings()[CLUSTER, "logins"].verdict == "unknown"


@pytest.mark.parametrize(("was_on", "verdict"), [(True, "fails"), (False, "holds"), (None, "holds")])
def test_authentication_that_is_off_is_in_order_unless_the_newest_backup_had_it_on(
    was_on: bool | None, verdict: str
) -> None:
    off: Answer = (0, "", '{"error":"desc = etcdserver: authentication is not enabled"}')
    backups = (noted(0, lineage=Lineage(build.TOKEN), authentication=was_on),)
    of = World(says=[("infra-1", "get /requorum", off)], seen={"backups": backups})
    assert of.findings()[CLUSTER, "logins"].verdict == verdict


def test_a_role_without_a_password_in_etcd_is_named_and_in_order() -> None:
    bare: Answer = (1, "", "Error: auth: authentication failed, password was given for no password user")
    finding = World(says=[("infra-1", "get /requorum", bare)]).findings()[CLUSTER, "logins"]
    assert (finding.verdict, finding.found) == ("holds", "let in: root; without a password in etcd: root")


def test_advisories_are_told_and_do_not_fail() -> None:
    of = World(says=[(f"etcd-{n}", "etcd --version", (0, "etcd Version: 3.5.16\n")) for n in (1, 2, 3)])
    assert not fails(of)
    finding = of.findings()["etcd-1", "advisories"]
    assert finding.verdict == "told"
    assert (
        finding.found
        == "etcd 3.5.16: CVE-2026-33413, CVE-2026-33343, CVE-2026-44283, CVE-2026-73499 (as of 2026-11-23)"
    )


def test_processes_that_are_off_are_told() -> None:
    finding = World(says=[("infra-1", "dh_monit", (0, "cs Not monitored Process\n"))]).findings()["infra-1", "monit"]
    hint = "name in expect.off of the inventory what is off on purpose"
    assert (finding.verdict, finding.found) == ("told", f"not up: cs (Not monitored); {hint}")


@pytest.mark.parametrize(("off", "last_up"), [(["b"], {}), ([], {"infra-1": ("a",)})])
def test_a_process_that_is_not_expected_up_is_in_order_and_named(
    off: list[str], last_up: dict[str, tuple[str, ...]]
) -> None:
    of = World(
        terms=build.terms(of=build.inventory(expect={"off": off})),
        says=[("infra-1", "dh_monit", (0, "a OK Process\nb Not monitored Process\n"))],
        seen={"last_up": last_up},
    )
    finding = of.findings()["infra-1", "monit"]
    assert (finding.verdict, finding.found) == ("holds", "a up; off as expected: b (Not monitored)")


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        ({"backup": world.backup(taken="2026-11-21T03:00:00Z")}, "lab.snap is 48 h old"),
        ({"backup": world.backup(problem="is cut off", hash="bad")}, "/backups/lab.snap is cut off"),
        ({"backup": None, "no_backup": "no backup in /backups"}, "no backup in /backups"),
    ],
)
def test_a_backup_that_will_not_do_is_found(seen: dict[str, Any], found: str) -> None:
    assert fails(World(seen=seen)) == {(HERE, "backup"): found}


def test_where_no_backup_was_ever_made_the_remedy_is_one_that_can_be_followed() -> None:
    seen = {
        "backup": None,
        "no_backup": "the inventory names no snapshot.directory",
        "hosts": "rd",
        "file": "/x/rd.yaml",
    }
    finding = World(seen=seen).findings()[HERE, "backup"]
    assert "add to /x/rd.yaml the line snapshot: {directory: ../backups/lab}" in finding.remedy
    assert "nightly" not in finding.remedy and "pytest runbook/backup --hosts=rd" in finding.remedy
    others = build.terms(of=build.inventory(snapshot={"max_age_hours": 30}))  # a second line of that name is refused
    finding = World(others, seen=seen).findings()[HERE, "backup"]
    assert "add to snapshot in /x/rd.yaml directory: ../backups/lab (relative" in finding.remedy
    named = build.terms(of=build.inventory(snapshot={"directory": "/backups"}))
    finding = World(named, seen={**seen, "no_backup": "no backup in /backups"}).findings()[HERE, "backup"]
    assert finding.remedy.startswith("make one: pytest runbook/backup --hosts=rd, ")


def test_a_configuration_server_without_root_is_said_where_etcd_would_be_asked_as_root() -> None:
    other: Answer = (0, f"{'a' * 64}  {build.CLIENT}/query/password\n")
    says: list[tuple[str, str, Answer]] = [
        ("infra-1", "sha256sum", other),
        ("infra-1", "endpoint health", (1, "", "no client configuration")),
    ]
    finding = World(says=says).findings()[CLUSTER, "health"]
    assert finding.verdict == "fails" and "infra-1 has no role root below" in finding.found
    assert "query-1 has" in finding.found and "pytest runbook" not in finding.remedy
    assert finding.remedy == "correct deephaven.configuration_server in the inventory: query-1"


def test_a_monit_line_that_fails_is_the_lines_fault() -> None:
    says: list[tuple[str, str, Answer]] = [("infra-1", "dh_monit", (1, "", "sudo: unknown user irisadmn"))]
    finding = World(says=says).findings()["infra-1", "monit"]
    assert "correct deephaven.commands.monit_status" in finding.remedy and "unmonitor" not in finding.remedy


def test_a_cluster_that_began_anew_is_found_by_the_member_that_is_furthest_on() -> None:
    page = "etcd_server_has_leader 1\netcd_debugging_mvcc_current_revision {}\n"

    def history(backups: tuple[Candidate, ...], *revisions: int) -> tuple[str, str]:
        says: list[tuple[str, str, Answer]] = [
            (f"etcd-{n}", "/metrics", (0, page.format(r))) for n, r in enumerate(revisions, 1)
        ]
        found = World(says=says, seen={"backups": backups}).findings()[CLUSTER, "history"]
        return found.verdict, found.found

    ours = (noted(10, lineage=Lineage(build.TOKEN)),)
    assert history(ours, 3, 4, 4) == ("fails", f"the cluster {began_anew(4, Lineage(build.TOKEN), ours)}")
    assert history(ours, 3, 10, 4) == ("holds", "at revision 10, behind no manifest")
    assert history((noted(10, lineage=Lineage("other")),), 3, 3, 3)[0] == "holds"
    assert history(ours)[0] == "unknown", "no member says its revision"


# -- hosts that cannot be asked ----------------------------------------------------------------------------------


def test_a_host_that_does_not_answer_is_one_finding_and_the_others_are_looked_at() -> None:
    findings = World(seen={"silent": {"etcd-2": "did not answer: no route"}}).findings()
    of_it = {check: f.verdict for (host, check), f in findings.items() if host == "etcd-2"}
    assert of_it.pop("ssh") == "fails"
    assert set(of_it.values()) == {"unknown"}
    assert findings["etcd-1", "etcd"].verdict == "holds"
    assert findings[CLUSTER, "unfinished run"].verdict == "holds"
    assert "etcd-2: could not be asked" in findings[CLUSTER, "quorum"].found


def test_etcds_tools_and_all_others_are_looked_for_where_sudo_has_root_look() -> None:
    may = "Matching Defaults entries for ops on etcd-1:\n    secure_path=/opt\\:/bin\n\n" + world.MAY
    says: list[tuple[str, str, Answer]] = [
        ("etcd-1", "sudo -n -l", (0, may.format(host="etcd-1", what="/usr/bin/timeout"))),
        ("etcd-1", "PATH=/opt:/bin; command -v etcdutl", (127, "")),
        ("etcd-1", "/opt:/bin base64", (0, "0 ss\n")),
    ]
    findings = World(says=says).findings()
    assert findings["etcd-1", "version"].found.endswith("where root looks for them: sudo's secure_path is /opt:/bin")
    assert findings["etcd-1", "secure_path"].found == "no ss in /opt:/bin, where root looks"
    assert findings["etcd-2", "secure_path"].found == "not set: root has the login's PATH"


def test_a_host_that_turns_connections_away_is_not_said_to_be_gone() -> None:
    seen = {"silent": {"etcd-2": "turned the connection away"}, "remedies": {"etcd-2": "look at its sshd"}}
    finding = World(seen=seen).findings()["etcd-2", "ssh"]
    assert (finding.verdict, finding.remedy) == ("fails", "look at its sshd")


def test_what_is_odd_of_a_login_is_told_where_it_answers() -> None:
    found = World(seen={"logins": {"etcd-2": "its login's shell is fish"}}).findings()
    assert found["etcd-2", "ssh"].found == "answers; its login's shell is fish"
    assert found["etcd-1", "ssh"].found == "answers"


def test_a_sudo_that_refuses_is_one_finding_and_what_needs_no_root_is_looked_at() -> None:
    findings = World(seen={"locked": {"etcd-2": "sudo refused: a password is required"}}).findings()
    of_it = {check: f.verdict for (host, check), f in findings.items() if host == "etcd-2"}
    assert of_it["sudo"] == "fails"
    assert of_it["server files"] == of_it["disk"] == of_it["etcd"] == "unknown"
    assert of_it["address"] == of_it["version"] == of_it["clock"] == "holds"


def test_a_login_that_may_not_run_all_of_the_runbooks_commands_is_found() -> None:
    lines = MAY.format(host="etcd-2", what="/usr/bin/timeout -k 5 60 true")
    finding = World(says=[("etcd-2", "sudo -n -l", (0, lines))]).findings()["etcd-2", "sudo"]
    assert finding.verdict == "fails" and finding.found.endswith("of the runbook's commands are not allowed")


def test_without_the_configuration_server_the_cluster_is_unknown() -> None:
    findings = World(seen={"silent": {"infra-1": "did not answer"}}).findings()
    of_it = {name: findings[CLUSTER, name].verdict for name in ("health", "one cluster", "hashkv", "keys")}
    assert set(of_it.values()) == {"unknown"}


@given(
    silent=st.sets(st.sampled_from(EVERYBODY)),
    locked=st.sets(st.sampled_from(EVERYBODY)),
    without=st.sets(st.sampled_from(EVERYBODY[:3])),
    sick=st.sets(st.sampled_from(["0.0.11", "0.0.12", "0.0.13"])),
)
def test_what_is_unknown_never_stands_without_what_is_in_its_way(
    silent: set[str], locked: set[str], without: set[str], sick: set[str]
) -> None:
    """So the check never ends well where something was not looked at."""
    seen = {
        "silent": dict.fromkeys(silent, "did not answer"),
        "locked": dict.fromkeys(locked - silent, "refused"),
        "configs": {f"etcd-{n}": world.member_config(n) for n in (1, 2, 3) if f"etcd-{n}" not in without},
    }
    answer = (1, world.health(dict.fromkeys(sick, "ill")))
    says: list[tuple[str, str, Answer]] = [("infra-1", "endpoint health", answer)]
    verdicts = Counter(finding.verdict for finding in World(seen=seen, says=says).findings().values())
    assert not verdicts["unknown"] or verdicts["fails"]
    assert verdicts["fails"] or not (silent or locked or without or sick)


# -- clocks ------------------------------------------------------------------------------------------------------


@given(ahead=st.floats(-5, 5), there=st.floats(0, 3), back=st.floats(0, 3), began=st.floats(1e9, 2e9))
def test_a_clock_is_judged_by_what_is_certain_whatever_the_way(
    ahead: float, there: float, back: float, began: float
) -> None:
    way = there + back
    question = clock.ask_clock("etcd-1", began)
    found = question.understand([Result(question.commands[0], 0, f"{began + there + ahead:.6f}", "", way)])
    assert isinstance(found, Reading) and abs(found.middle - ahead) <= found.margin + 1e-5, (
        "the true offset is within the margin"
    )
    verdict = judge_clock(Seen(build.terms(), datetime.now(UTC), clocks={"etcd-1": found}), "etcd-1").verdict
    assert verdict is Verdict.FAILS or abs(ahead) <= 1 + 1e-5, "a clock that is off never holds"
    assert verdict is Verdict.HOLDS or abs(ahead) + 2 * found.margin > 1 - 1e-5, (
        "one that is right holds on a quick way"
    )


def test_a_way_that_is_too_slow_is_not_a_wrong_clock() -> None:
    clocks = {**dict.fromkeys(EVERYBODY, Reading(0, 0)), "etcd-1": Reading(-1.3, 1.7), "etcd-2": Reading(-3.1, -2.9)}
    found = fails(World(seen={"clocks": clocks}))
    assert found["etcd-1", "clock"].startswith("cannot be told, the way there is too slow")
    assert found["etcd-2", "clock"] == "3.000 s behind, ± 0.100 s"


def test_findings_are_counted_in_words() -> None:
    findings = list(World(seen={"silent": {"query-1": "x"}}).findings().values())
    assert counted(findings).startswith(f"{len(findings)} findings: ")
    assert ", 1 fails, 3 are facts for you to judge, " in counted(findings)


HEALTHY = World().asked()
QUESTIONS = [
    question for case in checks.cases(build.terms()) for question in case.check.ask(HEALTHY, case.subject).values()
]


@given(
    question=st.sampled_from(QUESTIONS),
    code=st.integers(0, 255),
    stdout=st.text(max_size=2000),
    stderr=st.text(max_size=300),
)
def test_any_answer_gives_a_value_or_a_refusal_that_names_the_host(
    question: Question[Any], code: int, stdout: str, stderr: str
) -> None:
    with build.refused_by(question.host):
        question.understand([Result(command, code, stdout, stderr, 0.1) for command in question.commands])


def test_a_host_whose_addresses_are_nonsense_is_not_taken_for_lost() -> None:
    findings = World(says=[("etcd-1", "ip -o addr", (0, "inet 999.1.1.1/24"))]).findings()
    assert "etcd-1: could not be asked" in findings[CLUSTER, "quorum"].found
    assert findings["etcd-1", "address"].verdict == "fails"


@pytest.mark.parametrize(
    ("stat", "found"), [((0, "4096\n"), "down, with its data and its address"), ((1, ""), "down, and cannot come back")]
)
def test_an_old_member_that_is_none_any_more_is_asked_for_its_data_and_its_addresses(stat: Answer, found: str) -> None:
    terms = build.terms(of=build.replaced())
    says: list[tuple[str, str, Answer]] = [
        ("etcd-3", "systemctl show", (0, "LoadState=loaded\nActiveState=inactive\n")),
        ("etcd-3", "/metrics", (7, "")),
        ("etcd-3", "stat -c %s", stat),
    ]
    assert f"etcd-3: {found}" in World(terms, says).findings()[CLUSTER, "quorum"].found


def test_an_answer_that_is_not_understood_is_a_finding_and_the_others_are_made() -> None:
    findings = World(says=[("etcd-1", "%m %u", (0, "644 root:etcd /etc/\x1b[2Jshadow\n"))]).findings()
    found = findings["etcd-1", "server files"]
    assert found.verdict == "fails" and found.found.startswith("etcd-1: tells of '/etc/\\x1b[2Jshadow'")
    assert findings["etcd-2", "server files"].verdict == findings["etcd-1", "etcd"].verdict == "holds"


def test_what_is_up_is_kept_for_the_night_where_there_is_a_directory_for_backups(tmp_path: Path) -> None:
    seen = World().asked()
    for place in (tmp_path / "nowhere", tmp_path):
        run = SimpleNamespace(inventory=build.inventory(snapshot={"directory": str(place)}))
        running.keep_what_is_up(cast(Run, run), seen)
        kept = processes.last_up(run.inventory)
        assert bool(kept) is (place == tmp_path)
    assert "configuration_server" in kept["infra-1"]


def test_client_files_without_any_role_are_found_and_without_any_password_are_in_order() -> None:
    bare: list[tuple[str, str, Answer]] = [("infra-1", "-name password -printf", (0, ""))]
    assert World(says=bare).findings()["infra-1", "client files"].verdict == "holds"
    of = World(says=[*bare, ("infra-1", "-name endpoints", (0, ""))])
    assert fails(of)["infra-1", "client files"] == f"no role in {build.CLIENT}"
