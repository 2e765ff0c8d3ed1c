"""What the login needs of sudo: one list of commands, the sudoers lines made from it, and what `sudo -l` lacks of them.

The list is `sudoers.txt`. Pure functions; `runbook/troubleshoot/sudoers` asks the hosts, and so does `--check`. The lab
gives its login `limited` exactly `file()`. What such a list is worth: docs/preparing.md#a-login-with-less.
"""

from __future__ import annotations

import itertools
import math
import os
import posixpath
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from requorum import inventory as inventories
from requorum.cluster import deephaven
from requorum.command import REDACTED, SCOPE, Result, look
from requorum.deadlines import stretched
from requorum.hosts import probe, shell, sudo, systemd
from requorum.hosts.fleet import Machine
from requorum.hosts.probe import Probed
from requorum.hosts.question import Question, plain
from requorum.hosts.sudo import Grant
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run import marker
from requorum.run.run import Run

LIST = Path(__file__).with_suffix(".txt")
TOOLS = tuple(f"/usr/{place}bin/{tool}" for place in ("", "local/") for tool in ("etcdutl", "etcdctl"))
# Anything else in a word is spelled `?`, any one character: quotes, backslashes and # mean something to sudoers.
_PLAIN = re.compile(r"[A-Za-z0-9 /._%+@{}()<>|$&;~^*-]")
_ESCAPED = re.compile(r"[,:=]")
_EXACT = {'"': '"', "'": "'", "!": "!", "[": r"\[", "]": r"\]"}
# One character of a class: elsewhere a bracket is spelled `?`. Of two characters one is a digit, so that no option of a
# program can stand among them.
_HEX, _DIGIT = "⟦0-9a-f⟧?", "⟦0-9⟧"
_CLASSES = str.maketrans("⟦⟧", "[]")
_UNLIKELY = "any thing/at-all"  # stands for `*` when a needed pattern is held against a granted one


@dataclass(frozen=True)
class Need:
    """One command that the runbook runs as root: everything behind `sudo -n timeout`, `*` for what varies. `labels`:
    only where files have SELinux's; `aside`: no recovery needs it, nor its rollback and retry; `exact`: of a login that
    may not choose what root runs."""

    arguments: str
    labels: bool = False
    aside: bool = False
    exact: bool = False

    def line(self, login: str) -> str:
        """As it stands in a sudoers file."""
        return f"{login} ALL=(root) NOPASSWD: {sudo.TIMEOUT} {spelled(self.arguments, self.exact)}"

    def covers(self, arguments: str) -> bool:
        return bool(sudo.matches(spelled(self.arguments, self.exact), arguments))


def spelled(arguments: str, exact: bool = False) -> str:
    """Words as sudoers wants them: `,:=` behind a backslash, what it could take for its own as `?`. `exact`: quotes and
    brackets as themselves, since where any character may stand in their place a script is another one."""
    # An empty word, since sudoers would make one space of two; and a word that would begin a regular expression.
    one_space = re.sub("(?<= ) | $|^\\^", "?", arguments)
    own = _EXACT if exact else {}
    return "".join(
        own.get(c)
        or (c.translate(_CLASSES) if c in "?⟦⟧" or _PLAIN.match(c) else f"\\{c}" if _ESCAPED.match(c) else "?")
        for c in one_space
    )


PURPOSES = {"backup": "+", "verify": "v"}  # what may have a login of its own, and its mark in the list


def needed(inventory: Inventory, *scales: float, purpose: str = "") -> tuple[Need, ...]:
    """Every command of the runbook, in the list's order, for this inventory; with its deadlines so many times as long
    for each of `scales`, which is 1 where none is named. `purpose`: of one of `PURPOSES` alone."""
    rows = (row.split(" ", 1) for row in LIST.read_text(encoding="utf-8").splitlines() if row and row[0] != "#")
    values = _values(inventory)
    found: dict[Need, None] = {}
    for scale, (deadlines, words) in itertools.product(scales or (1.0,), list(rows)):
        marks = deadlines.lstrip("0123456789,")
        if PURPOSES.get(purpose, "") not in marks:
            continue
        for deadline in deadlines.removesuffix(marks).split(","):
            for filled in _filled(values, _stretched(f"-k 5 @{deadline}@ {words}", scale)):
                found.setdefault(Need(filled, "!" in marks, "-" in marks, purpose == "verify"))
    return tuple(found)


def _stretched(words: str, scale: float) -> str:
    return re.sub(r"@(\d+)@", lambda limit: str(stretched(int(limit[1]), scale)), words)


def _values(inventory: Inventory) -> dict[str, str]:
    """What stands for each of the list's @WORDS@; no SAVER where etcdctl runs as root."""
    settings, dh = inventory.etcd, inventory.deephaven
    latest = posixpath.dirname(settings.config)
    token = f"{inventory.cluster.lower()}-*"
    saver = deephaven.account(dh.commands.etcdctl, dh.admin_user)
    return {
        "SCOPE": " ".join(SCOPE),
        "CLUSTER": inventory.cluster,
        "HEX16": 8 * _HEX,
        "HEX64": 32 * _HEX,
        "VERIFY": f"{marker.PROGRAMS}/verify-{inventory.cluster}",
        "BASE": marker.BASE,
        "RUNS": marker.directory(inventory.cluster),
        "CONFIG": settings.config,
        "LATEST": latest,
        "CONFIG_ROOT": posixpath.dirname(latest),
        "DATA": settings.data_root,
        "BESIDE": posixpath.dirname(settings.data_root).rstrip("/"),
        "UNIT": settings.unit,
        "DROP_INS": " ".join(systemd.drop_ins(settings.unit)),
        "ACCOUNT": settings.user,
        "PORT": str(settings.client_port),
        "ADMIN": dh.admin_user,
        **({"SAVER": saver} if saver else {}),
        **({"ALSO": " ".join(path.lstrip("/") for path in inventory.backup.also)} if inventory.backup.also else {}),
        "CLIENT": dh.client_config,
        "SERVER_ARCHIVE": dh.server_archive,
        "CLIENT_ARCHIVE": dh.client_archive.format(cluster_id=token),
        "CLIENT_ARCHIVE_DIRECTORY": posixpath.dirname(dh.client_archive.format(cluster_id=token)),
        **{name.upper(): _vendor(inventory, line) for name, line in dh.commands.model_dump().items()},
    }


def _filled(values: Mapping[str, str], words: str) -> Iterable[str]:
    """A line of the list for this inventory; one that names a tool becomes one for each place it may be in, one for
    an account or for paths that are none does not come."""
    if any(f"@{name}@" in words and name not in values for name in ("SAVER", "ALSO")):
        return
    for name, value in values.items():
        words = words.replace(f"@{name}@", value)
    for tool in TOOLS if "@TOOL@" in words else ("",):
        for digits in range(1, 6) if "@NUMBER@" in words else (0,):
            yield words.replace("@TOOL@", tool).replace("@NUMBER@", digits * _DIGIT)


def _vendor(inventory: Inventory, line: str) -> str:
    """A vendor's line as sudo joins its words, with `*` for every placeholder but the account, which does not vary."""
    words = shlex.split(line.replace("{admin_user}", inventory.deephaven.admin_user))
    return re.sub(r"\{[a-z_]+\}", "*", " ".join(words))


def file(inventory: Inventory, login: str, *scales: float, purpose: str = "") -> str:
    """A whole file for /etc/sudoers.d. secure_path: without it the login could bring a `cat` of its own."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    head = [f"Defaults:{login} !requiretty", f'Defaults:{login} secure_path="{path}"']
    return "\n".join([*head, *(need.line(login) for need in needed(inventory, *scales, purpose=purpose))]) + "\n"


# -- what a login may do already ---------------------------------------------------------------------------------


def ask_lacking(host: str, inventory: Inventory, scale: float = 1.0) -> Question[tuple[Need, ...] | str]:
    """What the login that the runbook uses lacks, asked without a password, as the runbook will ask; why sudo tells
    nothing where it does not."""
    asked = probe.ask_host(host, inventory.transport.as_root)

    def read(*answers: Result) -> tuple[Need, ...] | str:
        return lacked(inventory, asked.understand(answers), scale)

    return Question(asked.commands, read)


def lacked(inventory: Inventory, probed: Probed, scale: float = 1.0) -> tuple[Need, ...] | str:
    """The same of a host that was asked; lines for SELinux's labels count where it has them."""
    if probed.sudo.grants is None:
        return probed.sudo.why
    return tuple(need for need in missing(inventory, probed.sudo.grants, scale) if probed.labels or not need.labels)


def missing(inventory: Inventory, grants: Sequence[Grant], scale: float = 1.0) -> tuple[Need, ...]:
    """What these grants lack; () is as it must be.

    A needed pattern counts as allowed when it is with something unlikely in place of every `*`.
    """
    needs = needed(inventory, scale)
    return tuple(need for need in needs if not sudo.allowed(grants, need.arguments.replace("*", _UNLIKELY)))


def unlisted(inventory: Inventory, lines: Iterable[str], *scales: float, of_recovery: bool = False) -> list[str]:
    """Of exact shell lines as `Command.line` spells them: those as root that no line of the list covers.
    `of_recovery`: no line that Step 0 asks for."""
    needs = [need for need in needed(inventory, *scales) if not (of_recovery and need.aside)]
    spoken = {line: as_root(line) for line in lines}
    return [line for line, words in spoken.items() if words and not any(need.covers(words) for need in needs)]


def as_root(line: str) -> str | None:
    """What sudo compares of `sudo -n timeout …`: the words joined by spaces. None for a line without sudo."""
    words = shlex.split(line.removesuffix(f" < {REDACTED}"))
    return " ".join(words[3:]) if words[:3] == ["sudo", "-n", "timeout"] else None


FOR = "--for="


def main(arguments: Sequence[str]) -> int:
    """`python -m requorum.sudoers INVENTORY LOGIN [--for=backup|verify] [SCALE…]`: a whole file on standard output,
    also for each --timeout-scale that is named."""
    purposes = [word.removeprefix(FOR) for word in arguments if word.startswith(FOR)]
    purpose = purposes[-1] if purposes else ""
    arguments = [word for word in arguments if not word.startswith(FOR)]
    try:
        scales = [float(word) for word in arguments[2:]]
    except ValueError:
        scales = [math.nan]
    unknown = bool(purposes) and purpose not in PURPOSES
    if unknown or len(arguments) < 2 or not all(0 < scale < math.inf for scale in scales):
        usage = f"INVENTORY LOGIN [{FOR}{'|'.join(PURPOSES)}] [SCALE…]"
        print(f"usage: python -m requorum.sudoers {usage}", file=sys.stderr)
        return 4
    try:
        inventory = inventories.load(inventories.find(arguments[0], LIST.parents[2]))
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 4
    text = file(inventory, arguments[1], 1.0, *scales, purpose=purpose)
    if doubt := refused_by_visudo(text):
        print(f"visudo does not take these lines, so they are not printed: {doubt}", file=sys.stderr)
        return 4
    if not sudo.is_sudo(inventory.transport.as_root):
        print(f"these are sudo's lines, and transport.become is {inventory.transport.become}", file=sys.stderr)
    print(text, end="")
    return 0


def refused_by_visudo(text: str) -> str:
    """What this machine's visudo says against a file; "" where it takes it, or there is none."""
    program = shutil.which("visudo", path=f"{os.environ.get('PATH', os.defpath)}:{shell.SBIN}")
    if program is None:
        return ""
    with tempfile.NamedTemporaryFile("w", prefix="rq-", encoding="utf-8") as draft:
        draft.write(text)
        draft.flush()
        told = subprocess.run((program, "-c", "-f", draft.name), capture_output=True, text=True, check=False)
        said = (told.stderr + told.stdout).replace(f"{draft.name}:", "line ")
    return plain(" ".join(said.split())) or "it gives no reason" if told.returncode else ""


FILE = "/etc/sudoers.d/requorum"


def the_login_answers(run: Run) -> None:
    """Reached by ssh; nothing is asked of sudo yet."""

    def probe(machine: Machine) -> str | None:
        command = look(machine.name, "true", why="the login works", root=False)
        return machine.ask(Question(command, lambda answer: answer.words if answer.code else None))

    run.prove(run.terms.everyone, "the login works", probe, "check ssh and the login's shell")


def lacking(run: Run) -> dict[str, tuple[Need, ...]]:
    """host → what sudo does not allow there; proves that it tells. Raises `Refusal` where that is not sudo."""
    become = run.inventory.transport.as_root
    if not sudo.is_sudo(become):
        raise Refusal(
            f"transport.become: {shlex.join(become)}",
            f"what it allows cannot be asked of {become[0].rsplit('/', 1)[-1]}",
            "hold its rules against the commands that --plan prints",
        )
    answers = run.ask(
        {host: ask_lacking(host, run.inventory, run.options.timeout_scale) for host in run.terms.everyone}
    )
    run.settle(
        "sudo tells this login what it may do, without a password",
        {host: found if isinstance(found, str) else None for host, found in answers.items()},
        f"as root there, give the login its rules; a whole file for {FILE}: python -m requorum.sudoers "
        f"{run.options.hosts} {run.inventory.transport.user or 'LOGIN'}",
    )
    return {host: found for host, found in answers.items() if not isinstance(found, str)}


def every_command_is_allowed(run: Run, lacking: dict[str, tuple[Need, ...]]) -> None:
    """One row for each command, and the lines that are missing at the end of the run."""
    run.table = [
        {
            "command": need.arguments,
            "verdict": f"not on {', '.join(hosts)}"
            if (hosts := [host for host, needs in lacking.items() if need in needs])
            else "allowed",
        }
        for need in needed(run.inventory, run.options.timeout_scale)
    ]
    _settle(run, "sudo -n allows every command of the runbook as it is spelled", lacking)
    if not any(lacking.values()):
        run.last_words.append(f"All {len(run.table)} commands are allowed on {', '.join(lacking)}.")


def what_is_run_is_allowed(run: Run) -> None:
    """Of the hosts that were asked at the start; one whose sudo does not tell is noted, each command shows it there."""
    told = {host: lacked(run.inventory, found, run.options.timeout_scale) for host, found in run.probed.items()}
    for host, why in told.items():
        if isinstance(why, str):
            of_sudo = sudo.is_sudo(run.inventory.transport.as_root)
            what = "sudo does not tell what it allows: " if of_sudo else "which commands are allowed "
            run.note(f"{host}: {what}{why}")
    found = {host: needs for host, needs in told.items() if not isinstance(needs, str)}
    for host, needs in found.items():
        if aside := [need for need in needs if need.aside]:
            run.note(
                f"{host}: sudo does not allow {len(aside)} commands that only other procedures run (logs, diagnose, "
                "troubleshooting); which: pytest runbook/troubleshoot/sudoers"
            )
    within = {host: tuple(need for need in needs if not need.aside) for host, needs in found.items()}
    _settle(run, "sudo -n allows every command of a recovery and its rollback as it is spelled", within)


def _settle(run: Run, claim: str, lacking: dict[str, tuple[Need, ...]]) -> None:
    """The lines that are missing stand at the end of the run."""
    login = run.inventory.transport.user or "LOGIN"
    groups: dict[tuple[Need, ...], list[str]] = {}
    for host, needs in lacking.items():
        groups.setdefault(needs, []).append(host)
    for needs, hosts in groups.items():
        if needs:
            run.last_words += [f"Missing on {', '.join(hosts)}:", *(need.line(login) for need in needs)]
    run.settle(
        claim,
        {host: f"{len(needs)} not allowed" if needs else None for host, needs in lacking.items()},
        f"as root there, open {FILE} by visudo -f {FILE}, and add the lines that stand with this message; a whole file "
        f"in their place is printed by python -m requorum.sudoers {run.options.hosts} {login}",
    )
