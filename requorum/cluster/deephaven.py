"""The vendor's commands and files: what to run, and how to read what they print.

Each command's spelling is one line of the inventory; nothing else in the tree knows it. Pure functions only: they
return `Command`s or parse output. Passwords stay on the hosts: they are copied from file to file, never read here.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from requorum.command import Command, Result, act, act_long, look
from requorum.deadlines import LONG, SHORT
from requorum.hosts import kept
from requorum.hosts.question import NAME, OWNER, Question, checked, complete, in_time, parts, plain
from requorum.hosts.system import Connection, Process
from requorum.inventory import Inventory
from requorum.refusal import Refusal


def vendor(line: str, **values: str) -> tuple[str, ...]:
    """One line of the inventory as argv. A placeholder's value never splits into two arguments."""
    return tuple(word.format_map(values) for word in shlex.split(line))


def executable(line: str) -> str:
    """The file that a vendor's line runs: its first absolute word."""
    words = shlex.split(line)
    return next((word for word in words if word.startswith("/")), words[0])


def account(line: str, admin_user: str) -> str | None:
    """As whom a vendor's line runs its file: `sudo -u NAME`, `runuser -u NAME`; None where that is root."""
    words = vendor(line, admin_user=admin_user, client="")
    before = words[: words.index(executable(line))]
    found = re.search(r"(?<!\S)(?:-u|--user)[ =]?(\S+)", " ".join(before))
    return found[1] if found and found[1] != "root" else None


def etcdctl(inventory: Inventory, *arguments: str, why: str, deadline: int = SHORT) -> Command:
    """A question to etcd by the vendor's etcdctl on the configuration server, as root."""
    argv = (*vendor(inventory.deephaven.commands.etcdctl, admin_user=inventory.deephaven.admin_user), *arguments)
    host = inventory.deephaven.configuration_server
    return Command(host, argv, why, changes=False, accept=None, deadline=deadline)


def etcdctl_as(inventory: Inventory, client: str, *arguments: str, why: str, host: str | None = None) -> Command:
    """The vendor's etcdctl with the client configuration in the directory `client`."""
    line, admin = inventory.deephaven.commands.etcdctl_as, inventory.deephaven.admin_user
    argv = (*vendor(line, client=client, admin_user=admin), *arguments)
    return Command(host or inventory.deephaven.configuration_server, argv, why, changes=False, accept=None)


ACCOUNT = re.compile(r"[A-Za-z0-9][\w .@+-]{0,127}", re.A)  # a user or a role, as a word of etcdctl


def ask_users(host: str, client: str, roles: Sequence[str]) -> Question[dict[str, str | Refusal]]:
    """Role → as whom it logs in, or that this is not said, or no name; of these `roles`."""
    argv = ("-mindepth", "2", "-maxdepth", "2", "-name", "user", "-exec", "grep", "-H", "", "{}", "+")

    def read(answer: Result) -> dict[str, str | Refusal]:
        said: dict[str, list[str]] = {}
        for line in complete(answer).stdout.splitlines():
            path, _, user = line.partition(":")
            said.setdefault(posixpath.basename(posixpath.dirname(path)), []).append(user.strip())
        return {role: user_of(role, said.get(role, [])) for role in roles}

    def user_of(role: str, lines: Sequence[str]) -> str | Refusal:
        try:
            return checked(host, f"user of {role}", "\n".join(lines), ACCOUNT)
        except Refusal as refusal:
            return refusal

    return Question(look(host, "find", client, *argv, why="as whom roles log in"), read)


# -- processes ---------------------------------------------------------------------------------------------------

_TABLE = re.compile(r"^\s*(?P<name>\S+)\s+(?P<status>\S.*?)\s+(?P<type>Process)\s*$")
_LINES = re.compile(r"^\s*Process\s+'(?P<name>[^']+)'\s+(?P<status>\S.*?)\s*$")
_NO_MONIT = re.compile(r"not running|no daemon|nothing to do", re.I)
_UP = frozenset({"ok", "running", "accessible"})
_OFF = frozenset({"not monitored", "stopped", "does not exist - stop pending"})


def monit(inventory: Inventory, host: str, up: bool) -> Command:
    """Turns all Deephaven processes of a host on or off and waits for it. Not `act_long`: what it starts must stay."""
    commands = inventory.deephaven.commands
    line = commands.monit_up if up else commands.monit_down
    why = f"turn Deephaven {'on' if up else 'off'}"
    return Command(host, vendor(line, admin_user=inventory.deephaven.admin_user), why, deadline=LONG)


def ask_monit(inventory: Inventory, host: str) -> Command:
    line = inventory.deephaven.commands.monit_status
    return look(host, *vendor(line, admin_user=inventory.deephaven.admin_user), why="what monit supervises")


def ask_etcd_in_monit(host: str) -> Command:
    """monit's own summary, for a host that is not Deephaven's; silent where no monit runs."""
    return look(
        host,
        "sh",
        "-c",
        "! pgrep -x monit >/dev/null || monit -B summary",
        why="whether monit supervises etcd",
    )


def ask_processes(inventory: Inventory, host: str) -> Question[dict[str, str] | str]:
    """Process → its status, by monit's word; why that cannot be understood. Of a host that is not Deephaven's too."""
    ours = host in inventory.deephaven.hosts

    def read(answer: Result) -> dict[str, str] | str:
        if silent(answer.code, answer.stdout + answer.stderr) if ours else answer.code != 0:
            how = f"deephaven.commands.monit_status ended with {answer.code}: " if ours and answer.code else ""
            return f"monit cannot be understood: {how}{answer.words}"
        return parse_monit(answer.stdout)

    return Question(ask_monit(inventory, host) if ours else ask_etcd_in_monit(host), read)


def parse_monit(text: str) -> dict[str, str]:
    """process → its status, from monit's table or its older lines."""
    found = [m for line in text.splitlines() for m in (_TABLE.match(line), _LINES.match(line)) if m]
    return {match["name"]: match["status"] for match in found}


def not_off(processes: Mapping[str, str]) -> list[str]:
    return [f"{name} ({status})" for name, status in processes.items() if status.lower() not in _OFF]


def up(processes: Mapping[str, str]) -> list[str]:
    return [name for name, status in processes.items() if status.lower() in _UP]


def not_up(processes: Mapping[str, str]) -> list[str]:
    return [f"{name} ({status})" for name, status in processes.items() if status.lower() not in _UP]


def expected(
    processes: Mapping[str, str], last_up: Collection[str] | None, off: Collection[str] = ()
) -> dict[str, str]:
    """Those that should be up, with their status. `last_up`: when all was well; None where nobody knows, then all that
    monit knows. `off`: on purpose."""
    names = processes if last_up is None else last_up
    return {name: processes.get(name, "unknown to monit") for name in names if name not in off}


def silent(code: int, text: str) -> bool:
    """Whether monit said nothing that could be understood: then nothing is known of the processes."""
    return (code != 0 or not parse_monit(text)) and not _NO_MONIT.search(text)


# Shells and services that an administrator's account may run although Deephaven is off.
_NOT_DEEPHAVEN = re.compile(r"^(\(sd-pam\)|systemd|sshd|-?(ba|z|k|da)?sh|su|sudo|screen|tmux.*|login)$")


def still_running(processes: Collection[Process], connections: Collection[Connection]) -> list[Process]:
    """Of its accounts' processes those that are Deephaven's. `connections`: with etcd. What an administrator started
    below a login counts only where it is connected."""
    uids = {connection.uid for connection in connections if connection.outgoing}
    found = [process for process in processes if not _NOT_DEEPHAVEN.match(process.name)]
    return [process for process in found if not process.below_login or process.uid in uids]


def supervised_etcd(processes: Mapping[str, str]) -> list[str]:
    """Processes named after etcd that monit would bring back."""
    return [
        f"{name} ({status})"
        for name, status in processes.items()
        if "etcd" in name.lower() and status.lower() != "not monitored"
    ]


# -- client configuration and passwords --------------------------------------------------------------------------


def ask_passwords(host: str, directory: str) -> Question[dict[str, str]]:
    """role → SHA-256 of its password below `directory`, compared in memory and recorded nowhere."""
    depth = ("-mindepth", "2", "-maxdepth", "2")
    return Question(_sums(host, directory, *depth), lambda answer: dict(_read_passwords(answer)))


def ask_all_passwords(host: str, directory: str) -> Question[list[tuple[str, str]]]:
    """The same at any depth: (role, SHA-256), since a role may stand in several places."""
    return Question(_sums(host, directory), _read_passwords)


def _sums(host: str, directory: str, *depth: str) -> Command:
    argv = ("find", directory, *depth, "-type", "f", "-name", "password", "-exec", "sha256sum", "{}", "+")
    return Command(host, argv, "compare passwords without reading them", changes=False, accept=None, secret=True)


def _read_passwords(answer: Result) -> list[tuple[str, str]]:
    rows = [line.partition("  ") for line in complete(answer).stdout.splitlines()]
    return [(_role(answer, path), digest) for digest, _, path in rows if path.endswith("/password")]


def _role(answer: Result, path: str) -> str:
    """Whose file it is: the name of its directory, which becomes part of other paths."""
    return checked(answer.command.host, "role", posixpath.basename(posixpath.dirname(path)), NAME)


def ask_endpoints(host: str, directory: str) -> Question[dict[str, str]]:
    """role → the endpoints that its clients know, as written."""
    argv = ("-mindepth", "2", "-maxdepth", "2", "-name", "endpoints", "-exec", "grep", "-H", "", "{}", "+")
    return Question(look(host, "find", directory, *argv, why="which members the clients know"), _read_endpoints)


def _read_endpoints(answer: Result) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in complete(answer).stdout.splitlines():
        path, _, value = line.partition(":")
        role = _role(answer, path)
        found[role] = f"{found.get(role, '')} {value}".strip()
    return found


def _canonical(address: str) -> str:
    """One spelling for an address, however many zeros were written."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address


_ADDRESS = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w.-])|\[[0-9a-fA-F:]+\]")
_WORD = re.compile(r"""[^\s,;|"'\[\]]+""")


def _split(endpoints: str) -> tuple[set[str], list[str]]:
    """The addresses that stand there, in whatever a release writes around them, and the names: behind a scheme, or
    before a port; any word where there is no scheme at all."""
    names = []
    for word in _WORD.findall(_ADDRESS.sub("", endpoints)):
        _, scheme, host = word.rpartition("://")
        name, *port = re.split("[:/]", host, maxsplit=1)
        if name and (scheme or port or "://" not in endpoints):
            names.append(name)
    return {_canonical(found.strip("[]")) for found in _ADDRESS.findall(endpoints)}, list(dict.fromkeys(names))


def names_in(endpoints: str) -> list[str]:
    """The names in endpoints that can be one."""
    return [name for name in _split(endpoints)[1] if NAME.fullmatch(name)]


def ask_resolved(host: str, name: str) -> Question[tuple[str, ...]]:
    """The addresses that a host's clients find behind a name; () where it leads nowhere there."""

    def read(answer: Result) -> tuple[str, ...]:
        if in_time(answer).code:
            return ()
        found = (line.split()[0] for line in answer.stdout.splitlines() if line.strip())
        return tuple(dict.fromkeys(_canonical(plain(address)) for address in found))

    return Question(look(host, "getent", "ahosts", name, why="where a name of the endpoints leads", root=False), read)


def wrong_endpoints(
    endpoints: str,
    new_ips: tuple[str, ...],
    behind: Mapping[str, Sequence[str]] = MappingProxyType({}),
    old_ips: Sequence[str] = (),
) -> str | None:
    """What is wrong with a client's endpoints: exactly the new members must stand there, by address, or by a name that
    leads to one, and to none that was lost. `behind`: name → its addresses, as that host has them."""
    wanted = {_canonical(address) for address in new_ips}
    lost = {_canonical(address) for address in old_ips} - wanted
    listed, names = _split(endpoints)
    for name in names:
        found = set(behind.get(name, ()))
        if not found:
            return f"names {plain(name)}, which leads nowhere there"
        if not found & wanted:
            return f"names {plain(name)}, which leads to {', '.join(sorted(found))} there"
        if found & lost:
            return f"names {plain(name)}, which still leads to {', '.join(sorted(found & lost))} too"
        listed |= found & wanted
    lacking, stale = wanted - listed, listed - wanted
    if lacking:
        return f"lacks {', '.join(sorted(lacking))}"
    if stale:
        return f"still names {', '.join(sorted(stale))}"
    return None


Owners = dict[str, tuple[str, int]]  # role → (user:group, mode) of its password
_PASSWORDS = ("-mindepth", "2", "-maxdepth", "2", "-name", "password", "-printf")


def ask_owners(host: str, directory: str) -> Question[Owners]:
    """Of the passwords below `directory`."""
    why = "who owns and reads the passwords"
    return Question(look(host, "find", directory, *_PASSWORDS, r"%P %u:%g %m\n", why=why), _read_owners)


_OWNED = re.compile(rf"(\S+) ({OWNER.pattern}) ([0-7]+)")


def ask_owners_now_and_before(host: str, directory: str, before: str) -> Question[tuple[Owners, Owners]]:
    """The same of two directories."""
    why = "who owns and reads the passwords, now and before"

    def read(answer: Result) -> tuple[Owners, Owners]:
        rows = answer.stdout.splitlines()
        now, was = ([row[len(at) + 1 :] for row in rows if row.startswith(f"{at}/")] for at in (directory, before))
        if len(now) + len(was) != len(rows):
            raise Refusal(host, "tells of passwords where none were looked for", "look at that host")
        one, other = (_read_owners(replace(answer, stdout="\n".join(of))) for of in (now, was))
        return one, other

    return Question(look(host, "find", directory, before, *_PASSWORDS, r"%H/%P %u:%g %m\n", why=why), read)


def _read_owners(answer: Result) -> Owners:
    rows = (parts(answer.command.host, "owner", line, _OWNED) for line in complete(answer).stdout.splitlines())
    return {_role(answer, name): (plain(owner), int(mode, 8)) for name, owner, mode in rows}


def ask_client_files(host: str, directory: str) -> Question[dict[str, str]]:
    """`role/file` → SHA-256 of every file of the roles, which have a password or endpoints, at any depth below
    `directory`; compared in memory, recorded nowhere."""
    argv = ("find", directory, "-type", "f", "-exec", "sha256sum", "{}", "+")
    why = "compare client configurations without reading them"
    command = Command(host, argv, why, changes=False, accept=None, secret=True)
    return Question(command, _read_client_files)


def _read_client_files(answer: Result) -> dict[str, str]:
    rows = [line.partition("  ") for line in complete(answer).stdout.splitlines()]
    found = {"/".join(path.split("/")[-2:]): digest for digest, _, path in rows}
    roles = {_role(answer, name) for name in found if name.endswith(("/password", "/endpoints"))}
    return {plain(name): digest for name, digest in found.items() if name.split("/")[0] in roles}


def back_up_client(host: str, client: str, backup: str) -> Command:
    """Copies the whole client configuration once; the copy gets its name only when it is whole."""
    why = "back up the client configuration and passwords, never to be written again"
    return kept.whole(host, client, backup, why)


def disagreements(found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Roles whose password differs between hosts. Shape: host → role → SHA-256."""
    by_role: dict[str, dict[str, list[str]]] = {}
    for host, roles in found.items():
        for role, digest in roles.items():
            by_role.setdefault(role, {}).setdefault(digest, []).append(host)
    return [
        f"{role}: " + " differs from ".join("/".join(sorted(hosts)) for hosts in digests.values())
        for role, digests in sorted(by_role.items())
        if len(digests) > 1
    ]


def put_passwords(host: str, old: str, directory: str, roles: Sequence[str]) -> Command:
    """Overwrites every password below `directory` of each of these `roles`, one at least, with that below `old`; owner
    and mode stay as the vendor made them. All in one look through it: a file lies in one role's directory."""
    copies = ("-exec", "cp", "--no-preserve=all")
    each = [
        ("-o", "-type", "f", "-path", f"*/{role}/password", *copies, f"{old}/{role}/password", "{}", ";")
        for role in roles
    ]
    words = [word for of_one in each for word in of_one][1:]
    return act(host, "find", directory, *words, why=f"the old passwords stay valid: {', '.join(roles)}")


# -- generating and unpacking ------------------------------------------------------------------------------------


# What the generator makes below /tmp is made in a /tmp of this run's own: nobody else can have made it or see it.
_OWN_TMP = """
install -d -m 700 "$0" && install -d -m 1777 "$0/tmp" || exit
exec unshare -m sh -c 'mount --bind "$0/tmp" /tmp && exec "$@"' "$0" "$@"
"""


def generate(
    inventory: Inventory, cluster_id: str, staged: tuple[str, str], old_archive: str | None, room: str
) -> list[Command]:
    """Generates the new configuration and takes both archives into staging at once (`staged`: server, client).

    `old_archive` is where an older server archive is set aside, None where there is none; `room` is a directory of the
    run's for a /tmp of its own.
    """
    dh = inventory.deephaven
    host = dh.configuration_server
    ips = [member.ip for member in inventory.members]
    values = {
        "cluster_id": cluster_id,
        "ips": " ".join(ips),
        "ips_comma": ",".join(ips),
        "admin_user": dh.admin_user,
    }
    client_archive = dh.client_archive.format(cluster_id=cluster_id)
    own_tmp = client_archive.startswith("/tmp/")
    made = (dh.server_archive, f"{room}{client_archive}" if own_tmp else client_archive)
    words = vendor(dh.commands.generate, **values)
    plan = []
    if old_archive:
        plan.append(
            act(host, "mv", "--backup=numbered", "-T", dh.server_archive, old_archive, why="set the old archive aside")
        )
    plan.append(
        act_long(
            host,
            *(("sh", "-c", _OWN_TMP, room, *words) if own_tmp else words),
            why="generate certificates and configuration for the new cluster",
            makes=made,
        )
    )
    for path, place in zip(made, staged, strict=True):
        plan += [
            act(host, "chmod", "600", path, why="for root only"),
            act(host, "mv", "-fT", path, place, why="take it into staging"),
        ]
    return plan


def unpack_server(inventory: Inventory, host: str, archive: str, number: int) -> Command:
    line = inventory.deephaven.commands.unpack_server
    argv = vendor(line, archive=archive, number=str(number), admin_user=inventory.deephaven.admin_user)
    made = (inventory.etcd.config, f"/etc/systemd/system/{inventory.etcd.unit}")
    return act_long(host, *argv, why=f"install the configuration of etcd server {number}", makes=made)


def unpack_client(inventory: Inventory, host: str, archive: str) -> Command:
    line = inventory.deephaven.commands.unpack_client
    argv = vendor(line, archive=archive, admin_user=inventory.deephaven.admin_user)
    made = (inventory.deephaven.client_config,)
    return act_long(host, *argv, why="install the client configuration", makes=made)
