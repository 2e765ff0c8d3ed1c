"""A healthy cluster as its hosts would answer the check, and what is wrong with it, as data. No host is touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from requorum.cluster.lineage import Lineage
from requorum.command import Command, Result
from requorum.diagnosis import check
from requorum.diagnosis.check.check import Finding, Seen, judge
from requorum.diagnosis.rounds import understood
from requorum.hosts.certificates import Certificate
from requorum.hosts.clock import Reading
from requorum.run import bulk
from requorum.run.terms import Terms
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.ranking import Candidate
from requorum.verify import program
from tests.unit import build

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
KEYS = f"/etc/etcd/dh/{build.TOKEN}"
UNIT_UP = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nFragmentPath=/x\n"
MONIT = " configuration_server  OK  Process\n"
ENDS = "notAfter=Nov 20 07:40:04 2036 GMT\n"
DF = "/dev/sda 9 9 {free} 1% {on}"


def member_config(number: int) -> Any:
    certificate = Certificate(f"{KEYS}/server.crt", f"{KEYS}/server.key", f"{KEYS}/ca.crt")
    return build.config(number, build.TOKEN, certificates=(certificate,), metrics_url="http://127.0.0.1:2381")


def backup(**fields: Any) -> Candidate:
    values: dict[str, Any] = {"taken": "2026-11-23T01:00:00Z", "bytes": 10_000_000, "hash": "good"}
    return Candidate("file", None, "/backups/lab.snap", **{**values, **fields})


def noted(revision: int, **fields: Any) -> Candidate:
    """A backup at this revision, as its manifest says."""
    values = {"lineage": Lineage(), "bumps": 0, "taken": "2026-11-22T03:00:00Z", "number": 1, **fields}
    note = Manifest("lab", "a", 1, revision=revision, keys=1, etcd="3.5.16", member="m", **values)
    path, told = f"/backups/{note.number}.snap", (note.bytes, note.revision, note.keys, note.lineage, note.bumps)
    return Candidate("file", None, path, note.taken, *told, note=note)


Answer = tuple[int, str] | tuple[int, str, str]


@dataclass
class World:
    """`says`: (host, what the command holds, answer), which comes before what a healthy host would say."""

    terms: Terms = field(default_factory=build.terms)
    says: list[tuple[str, str, Answer]] = field(default_factory=list)
    seen: dict[str, Any] = field(default_factory=dict)

    def findings(self) -> dict[tuple[str, str], Finding]:
        """(host, check) → what the check says."""
        seen = self.asked()
        return {(case.subject, case.check.name): judge(case, seen) for case in check.cases(self.terms)}

    def asked(self) -> Seen:
        """All questions with their answers, in the order of a real check."""
        cases = check.cases(self.terms)
        configs = {f"etcd-{n}": member_config(n) for n in (1, 2, 3)}
        clocks = dict.fromkeys(self.terms.inventory.hosts, Reading(-0.01, 0.03))
        seen = Seen(self.terms, NOW, clocks=clocks, configs=configs, backup=backup())
        seen = replace(seen, **self.seen)
        for number in sorted({case.check.round for case in cases}):
            answers = {
                (case.check.name, case.subject): {
                    key: understood(question, [self._answer(command) for command in question.commands])
                    for key, question in case.check.ask(seen, case.subject).items()
                    if question.host not in seen.silent
                }
                for case in cases
                if case.check.round == number
            }
            seen = replace(seen, answers={**seen.answers, **answers})
        return seen

    def _answer(self, command: Command) -> Result:
        assert not command.changes, f"a check must not change anything: {command}"
        if command.root and command.host in self.seen.get("locked", {}):
            return Result(command, 1, "", "sudo: a password is required\n", 0.0)
        line = command.line()
        for host, part, answer in self.says:
            if host == command.host and part in line:
                return _result(command, answer)
        for part, healthy in HEALTHY.items():
            if part in line:
                return _result(command, healthy(command))
        raise AssertionError(f"nobody knows what a healthy host would say to: {line}")


def _result(command: Command, answer: Answer) -> Result:
    return Result(command, answer[0], answer[1], answer[2] if len(answer) > 2 else "", 0.0)


def _ip(command: Command) -> str:
    return f"10.0.0.{10 + int(command.host[-1])}"


def _asked(command: Command) -> list[str]:
    (word,) = (word for word in command.argv if word.startswith("--endpoints="))
    return word.removeprefix("--endpoints=").split(",")


def _number(endpoint: str) -> int:
    return int(endpoint.split(":")[1][-1])


def status(endpoint: str, **fields: Any) -> dict[str, Any]:
    number = _number(endpoint)
    header = {"cluster_id": 1, "member_id": number, "revision": 100 + number}
    return {"Endpoint": endpoint, "Status": {"header": header, "version": "3.5.33", "leader": 1, **fields}}


def digest(endpoint: str, value: int = 7) -> dict[str, Any]:
    return {"Endpoint": endpoint, "HashKV": {"header": {"revision": 101}, "hash": value}}


def health(sick: dict[str, str] | None = None) -> str:
    """What `endpoint health` says when the members at these addresses are ill."""
    members = [f"https://10.0.0.{n}:2379" for n in (11, 12, 13)]
    rows = [{"endpoint": e, "health": True} for e in members if not any(ip in e for ip in sick or {})]
    rows += [{"endpoint": e, "health": False, "error": w} for e in members for ip, w in (sick or {}).items() if ip in e]
    return json.dumps(rows)


def _find_programs(command: Command) -> str:
    return "".join(f"{word}\n" for word in command.argv if word.startswith("/"))


MAY = "User ops may run the following commands on {host}:\n    (root) NOPASSWD: {what}\n"


def df(free: int, on: str) -> str:
    """What a host says of all that is asked for its room."""
    (command,) = (c for c in bulk.ask_rooms("etcd-1", build.terms()).commands if c.argv[0] == "df")
    return build.df(command, DF.format(free=free, on=on))


HEALTHY: dict[str, Callable[[Command], Answer]] = {
    "sudo -n -l": lambda c: (0, MAY.format(host=c.host, what="/usr/bin/timeout")),
    "command -v restorecon": lambda c: (0, "1795744800.5\n"),
    'command -v "$tool"': lambda c: (0, ""),
    "60 true": lambda c: (0, ""),
    "rolled-back": lambda c: (0, ""),
    "birth.json": lambda c: (0, ""),
    "-perm /111": lambda c: (0, _find_programs(c)),
    "id -u": lambda c: (0, "111\n"),
    "/dev/tcp/": lambda c: (0, ""),
    "/proc/mounts": lambda c: (0, "/dev/sda / ext4 rw,relatime 0 0\n/dev/sdb /ro ext4 ro 0 0\n"),
    "df -P": lambda c: (0, build.df(c, DF.format(free=10**12, on="/"))),
    "stat -L -c '%u %a' /usr/libexec/requorum/": lambda c: (0, "0 755\n" * len(c.argv[4:])),
    "cat /usr/libexec/requorum/": lambda c: (0, program.text(build.inventory())),
    "stat -c '%u %a %F'": lambda c: (0, "0 755 directory\n" * len(c.argv[3:])),
    "stat -c %s": lambda c: (0, "20000000\n"),
    "ip -o addr": lambda c: (0, f"1: lo inet 127.0.0.1/8\n2: eth0    inet {_ip(c)}/24 brd\n"),
    "etcd --version": lambda c: (0, "etcd Version: 3.5.33\nGit SHA: x\n"),
    "snapshot restore": lambda c: (0, "--bump-revision\n"),
    "command -v etcdutl": lambda c: (0, "/usr/bin/etcdutl\n"),
    "/etc/systemd/system.control": lambda c: (0, ""),
    "systemctl show": lambda c: (0, UNIT_UP),
    "ss -Htln": lambda c: (0, f"LISTEN 0 9 {_ip(c)}:2379 0.0.0.0:*\nLISTEN 0 9 {_ip(c)}:2380 0.0.0.0:*\n"),
    "/metrics": lambda c: (0, "etcd_server_has_leader 1\n"),
    "runuser": lambda c: (0, ""),
    "%m %u:%g %p": lambda c: (0, f"640 root:etcd /etc/etcd/dh/latest/config.yaml\n640 root:etcd {KEYS}/server.key\n"),
    "'!' -user": lambda c: (0, ""),
    "-name password -printf": lambda c: (0, "root/password irisadmin:irisadmin 600\n"),
    "-name endpoints": lambda c: (
        0,
        f"{build.CLIENT}/root/endpoints:https://10.0.0.11:2379,https://10.0.0.12:2379,https://10.0.0.13:2379\n",
    ),
    "sha256sum": lambda c: (0, f"{'a' * 64}  {build.CLIENT}/root/password\n"),
    "-name '*.crt'": lambda c: (0, f"{build.CLIENT}/root/ca.crt\n{ENDS}"),
    "openssl x509": lambda c: (0, "".join(f"{w}\n{ENDS}" for w in c.argv if w.endswith(".crt"))),
    "dh_monit summary": lambda c: (0, MONIT),
    "pgrep -x monit": lambda c: (0, ""),
    "du -s -B1": lambda c: (0, ""),
    "run.json": lambda c: (1, "", "cat: No such file or directory\n"),
    "endpoint health": lambda c: (0, json.dumps([{"endpoint": e, "health": True} for e in _asked(c)])),
    "endpoint status": lambda c: (0, json.dumps([status(e) for e in _asked(c)])),
    "endpoint hashkv": lambda c: (0, json.dumps([digest(e) for e in _asked(c)])),
    "get /requorum": lambda c: (1, "", "Error: etcdserver: permission denied\n"),
    "--keys-only": lambda c: (0, json.dumps({"count": 21_640})),
}
