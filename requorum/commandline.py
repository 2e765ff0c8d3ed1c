"""What can be typed: the one list of options, outcomes and exit codes, from which help, pages and completion are made.

Texts are Markdown; `requorum/manual.py` draws them for a terminal, a man page and `docs/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """`value` "" is a flag. `default` is what holds without it, in words; `number` what its value is read as, `given`
    its value then. `own`: only procedures whose row takes it know it. `declared`: by a plugin of others' already."""

    name: str
    value: str
    says: str
    default: str
    number: type[int] | type[float] | None = None
    given: str | float | None = None
    own: bool = False
    declared: bool = False

    @property
    def spelled(self) -> str:
        return f"{self.name}={self.value}" if self.value else self.name

    def arguments(self) -> dict[str, Any]:
        """What pytest's parser is given."""
        if not self.value:
            return {"action": "store_true", "help": self.says}
        return {"metavar": self.value, "type": self.number, "default": self.given, "help": self.says}

    @property
    def dest(self) -> str:
        return self.name.removeprefix("--").replace("-", "_")


OPTIONS = (
    Option(
        "--hosts",
        "NAME",
        "a file's name in `inventory/`, or a path",
        "required, but for a drill of a file",
        declared=True,
    ),
    Option(
        "--confirm",
        "CLUSTER",
        "the cluster's name, for both questions; where something is [lost](night.md#the-command) only for the first",
        "asked on the terminal",
    ),
    Option("--plan", "", "print what would be done, and change nothing", "act"),
    Option("--check", "", "look at everything, change nothing", "recover"),
    Option(
        "--snapshot",
        "FILE",
        "the snapshot to restore, on this machine",
        "`snapshot.file`, then the furthest of `snapshot.directory`",
        own=True,
    ),
    Option(
        "--salvage", "TOKEN", "the cluster whose data on members' disks is salvaged", "the one that was lost", own=True
    ),
    Option("--skip-hash", "HOST", "the member whose own database may be restored without a hash", "none", own=True),
    Option(
        "--accept",
        "WORD,…",
        "losses that a stop offered: `KIND:NAME`, [each stated](data.md#salvage)",
        "stop",
        own=True,
    ),
    Option(
        "--approved",
        "FILE",
        "a `plan.json` that a second person [approved](programs.md#a-plan-that-was-approved)",
        "none is asked for",
        own=True,
    ),
    Option("--rebuild", "", "although quorum is intact or could be restarted", "refuse"),
    Option("--gone", "HOST,…", "machines that are fenced or destroyed", "none"),
    Option(
        "--discard-new-writes",
        "",
        "`rollback`: although somebody wrote; a new cluster that runs is saved first",
        "refuse",
        own=True,
    ),
    Option("--since", "TIME", "`collect_logs`: since when (90m, 2h, 3d, 2026-01-31T03:00:00Z)", "2h", own=True),
    Option(
        "--members",
        "NAME,…",
        "`runbook/troubleshoot`: the members it is about",
        "required where it is about some",
        own=True,
    ),
    Option("--off", "", "`debug_logging`: off again", "on", own=True),
    Option("--seconds", "N", "`run_directly`: how long, 1 to 780", "20", int, own=True),
    Option(
        "--offsite",
        "",
        "`verify`: the newest backup that lies [off-site](backup-and-drill.md#off-site), read from there and decrypted",
        "the newest on this machine",
        own=True,
    ),
    Option(
        "--extract",
        "PREFIX",
        "`verify`: writes the keys below it, with their values, of that backup to a [file](verify.md#one-prefix-back)",
        "none",
        own=True,
    ),
    Option("--evidence", "DIR", "where evidence is kept", "`evidence`, where you stand", given="evidence"),
    Option("--concurrency", "N", "hosts worked on at the same time", "`limits.concurrency`", int),
    Option(
        "--timeout-scale",
        "F",
        "stretches every deadline: of commands on hosts and all that waits in them, of copies, proofs and ssh",
        "1",
        float,
        given=1.0,
    ),
    Option(
        "--ask-become-pass",
        "",
        "ask once, on the terminal, for [the password that sudo wants](login.md#a-password-for-sudo)",
        "sudo wants none",
    ),
    Option("--json", "", "`summary.json` on standard output when all has ended; all else on standard error", "no"),
    Option(
        "--detailed-exitcode",
        "",
        "`--check`, `--plan`: [2](programs.md#exit-codes) where there are findings or changes",
        "1 and 0",
    ),
    Option("--help-pytest", "", "pytest's own help, in place of this", "this page"),
)

EXIT_CODES = {
    0: "done: recovered and proven",
    1: "something did not hold; [the last lines](reference.md#the-last-lines) say how things stand, and what to do",
    2: "interrupted",
    3: "an error inside pytest",
    4: "refused before any host was reached: command line, inventory, confirmation",
}

OUTCOMES = {  # of `summary.json`; those of the procedures stand in their rows
    "recovered": "the cluster is rebuilt and proven, Deephaven is on; also by a retry",
    "rolled-back": "every host is as it was before the run",
    "closed": "people had finished the run, its cluster is proven",
    "backed-up": "a snapshot is stored and verified",
    "verified": "the newest backup was booted, and every proof holds",
    "not-proven": "the newest backup was not proven, for whatever reason: [proof.json](verify.md#proofjson) says it",
    "skipped": "something else was under way: nothing was proven, and that is no failure",
    "drilled": "the backup was restored in a lab and proven",
    "checked": "everything was looked at, whatever was found: `findings`",
    "planned": "a plan was made, whatever stands in its way today",
    "diagnosed": "a procedure of troubleshooting came to its end",
    "refused": "stopped in Step 0, or in a Given of a rollback, retry or close: nothing of the cluster was changed",
    "stopped": "stopped later: `state` says how things stand",
    "interrupted": "by Ctrl-C or a signal",
}

EXAMPLES = (
    ("pytest runbook --hosts=prod --check", "before the night: everything that is not ready, nothing changed"),
    ("pytest runbook --hosts=prod --plan", "every command that the recovery would run, nothing changed"),
    ("pytest runbook --hosts=prod", "the recovery; after an interruption the same again goes on"),
)
