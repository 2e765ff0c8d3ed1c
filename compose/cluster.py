"""The first etcd cluster of the lab, formed the way an installer would: with the vendor's commands.

`bootstrap` runs once, on empty machines; afterwards the cluster belongs to whoever breaks and
recovers it, and is never formed again. `state` is what `status` prints. The machines come from
`compose/nodes.py`, the vendor's commands from `compose/deephaven/`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from compose import layouts, poll
from compose.errors import LabError, NodeError
from compose.nodes import Node, Nodes, on_each
from compose.state import CHEAP

VENDOR = "/usr/illumon/latest/bin"
CLIENT_ROOT = "/etc/sysconfig/deephaven/etcd/client"
SERVER_ARCHIVE = "/etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz"
DATA_ROOT = layouts.DATA_ROOT
UNIT = layouts.UNIT
LAB_DIR = "/var/lib/requorum-lab"
FORMED = f"{LAB_DIR}/formed"
# Where these are, the stand-ins keep keys with a lease, run under three accounts, log in by certificates alone.
PRESENCE = f"{LAB_DIR}/presence"
ACCOUNTS = f"{LAB_DIR}/accounts"
CERTIFICATES = f"{LAB_DIR}/certificates"
BCRYPT_COST = f"{LAB_DIR}/bcrypt-cost"  # on the configuration server, where it is not `state.CHEAP`
KEPT_OFF = "/etc/monit/kept-off"  # the processes that `dh_monit up` leaves off, one a line
HEALTH_SECONDS = 60
PROCESS_SECONDS = 30


class ClusterError(LabError):
    """The lab's cluster could not be formed."""


@dataclass(frozen=True)
class Grant:
    """What a Deephaven role may do with the keys under a prefix."""

    role: str
    access: str
    prefix: str


# The vendor's ten roles besides root, as its javadoc lists them; spelling and permissions are ours, since not public.
GRANTS = (
    Grant("acl-ro", "read", "/main/acls"),
    Grant("acl-rw", "readwrite", "/main/acls"),
    Grant("authentication-server", "read", "/main/acls"),
    Grant("controller", "readwrite", "/main/persistent_queries"),
    Grant("datarouting-ro", "read", "/main/config/routing"),
    Grant("datarouting-rw", "readwrite", "/main/config"),
    Grant("datarouting-rw", "readwrite", "/status"),
    Grant("props-ro", "read", "/main/config"),
    Grant("props-ro", "readwrite", "/status"),
    Grant("props-rw", "readwrite", "/main"),
    Grant("props-rw", "readwrite", "/status"),
    Grant("schema", "readwrite", "/main/config/schema"),
    Grant("schema-ro", "read", "/main/config/schema"),
)


@dataclass(frozen=True)
class MemberState:
    """One machine's etcd: its unit, and what it says of itself without a login."""

    name: str
    unit: str
    healthy: bool
    has_leader: bool
    version: str
    revision: int


@dataclass(frozen=True)
class ProcessState:
    """One Deephaven process: `said` is what its last beat gave, "" when it does not run."""

    host: str
    name: str
    said: str

    @property
    def works(self) -> bool:
        """Its last beat was read from and written to etcd."""
        return self.said.startswith("ok ")


@dataclass(frozen=True)
class ClusterState:
    """The whole lab at one moment."""

    members: tuple[MemberState, ...]
    processes: tuple[ProcessState, ...]

    @property
    def has_quorum(self) -> bool:
        """A majority of the members is healthy."""
        return 2 * sum(member.healthy for member in self.members) > len(self.members)


def bootstrap(
    nodes: Nodes,
    *,
    presence: bool = False,
    accounts: bool = False,
    certificates: bool = False,
    layout: str = "vendor",
    bcrypt_cost: int = CHEAP,
) -> ClusterState:
    """Form the cluster, turn authentication on and Deephaven up; nothing when that was done once.

    With `presence`, each Deephaven process keeps a key with a lease; with `accounts`, three accounts run them; with
    `certificates` no user has a password.

    Raises ClusterError or NodeError; the next attempt clears what a failed one left behind.
    """
    if nodes.configuration_server.run(["test", "-e", FORMED], check=False).rc != 0:
        _clear(nodes)
        switches = ((PRESENCE, presence), (ACCOUNTS, accounts), (CERTIFICATES, certificates))
        wanted = [path for path, is_on in switches if is_on]
        on_each(nodes.deephaven, lambda node: _shell(node, _SWITCH, LAB_DIR, *wanted))
        if bcrypt_cost != CHEAP:
            nodes.configuration_server.put(BCRYPT_COST, f"{bcrypt_cost}\n".encode())
        cluster_id = f"lab-{datetime.now(UTC):%Y%m%dt%H%M%S}"
        _configure(nodes, cluster_id)
        layouts.before_start(nodes, layout)
        _start(nodes)
        layouts.after_start(nodes, layout)
        await_health(nodes)
        _secure(nodes.configuration_server)
        _power_on(nodes)
        _shell(
            nodes.configuration_server,
            'mkdir -p "${1%/*}" && echo "$2" >"$1"',
            FORMED,
            cluster_id,
        )
    return state(nodes)


def state(nodes: Nodes) -> ClusterState:
    """What every etcd and every Deephaven process says now. A spare counts once it has an etcd."""
    machines = (*nodes.members, *nodes.spares)
    found = on_each(machines, _member_state)
    spares = _names(nodes.spares)
    members = tuple(m for m in found if m.name not in spares or m.unit not in ("absent", "unreachable"))
    processes = on_each(nodes.deephaven, lambda node: _process_states(nodes, node))
    return ClusterState(members, tuple(process for each in processes for process in each))


_SWITCH = 'mkdir -p "$1" && shift && { [ $# = 0 ] || touch "$@"; }'


def _clear(nodes: Nodes) -> None:
    """Undo an attempt that did not finish. Nobody can have stored anything in it."""
    script = (
        'systemctl disable --now "$1" 2>/dev/null; '
        'find "$2" -mindepth 1 -delete && find /etc/etcd/dh -mindepth 1 -delete'
    )
    on_each(nodes.members, lambda node: _shell(node, script, UNIT, DATA_ROOT))
    layouts.clear(nodes)


def _configure(nodes: Nodes, cluster_id: str) -> None:
    """Generate the configuration and put it on every machine that needs it."""
    source = nodes.configuration_server
    ips = " ".join(node.ip for node in nodes.members)
    source.run([f"{VENDOR}/config_generator.sh", "--cluster-id", cluster_id, "--ips", ips])
    query_archive = f"/tmp/{cluster_id}/dh_query.tgz"
    server, query = source.get(SERVER_ARCHIVE), source.get(query_archive)
    numbers = {node.name: number for number, node in enumerate(nodes.members, start=1)}

    def unpack_server(node: Node) -> None:
        _unpack(node, server, "unpack_etcd_server.sh", str(numbers[node.name]))

    on_each(nodes.members, unpack_server)
    on_each(nodes.deephaven, lambda node: _unpack(node, query, "unpack_etcd_client.sh"))
    source.run(["rm", "-r", f"/tmp/{cluster_id}"])


def _unpack(node: Node, archive: bytes, command: str, *arguments: str) -> None:
    path = "/root/etcd-configuration.tgz"
    node.put(path, archive)
    node.run([f"{VENDOR}/{command}", path, *arguments])
    node.run(["rm", path])


def _start(nodes: Nodes) -> None:
    """Start all members at once: the unit is Type=notify and would wait for the others."""
    on_each(
        nodes.members,
        lambda node: node.run(["systemctl", "enable", "--now", "--no-block", UNIT]),
    )
    await_health(nodes)


def await_health(nodes: Nodes) -> None:
    health = [f"{VENDOR}/etcdctl.sh", "--command-timeout=1s", "endpoint", "health"]
    poll.until(
        lambda: nodes.configuration_server.run(health, check=False).rc == 0,
        seconds=HEALTH_SECONDS,
        what="every new member is healthy",
        why_not=lambda: _why_not(nodes),
        error=ClusterError,
    )


# Without a password where the generator made none.
_ADD_USER = """
add() {
    [ -e "$2" ] || { "$etcdctl" user add "$1" --no-password; return; }
    "$etcdctl" user add "$1" --interactive=false <"$2"
}
"""


def _secure(node: Node) -> None:
    """Make the users with the generated passwords, grant each role its prefixes, then lock up."""
    lines = ["set -eu", f"etcdctl={VENDOR}/etcdctl.sh", "jobs=''", _ADD_USER]
    for role in ("root", *dict.fromkeys(grant.role for grant in GRANTS)):
        granted = (f"{grant.access} {grant.prefix}" for grant in GRANTS if grant.role == role)
        one_role = [
            f"add {role} {CLIENT_ROOT}/{role}/password",
            f"$etcdctl role add {role}",
            f"$etcdctl user grant-role {role} {role}",
            *(f"$etcdctl role grant-permission --prefix=true {role} {what}" for what in granted),
        ]
        lines.append(f'{{ {" && ".join(one_role)}; }} & jobs="$jobs $!"')  # at once: dozens of them
    lines += ['for job in $jobs; do wait "$job"; done', "$etcdctl auth enable"]
    _shell(node, "\n".join(lines))


def _power_on(nodes: Nodes) -> None:
    """Deephaven up, the configuration server first, each seen to work."""
    for group in ((nodes.configuration_server,), nodes.query):
        on_each(group, lambda node: _supervise(nodes, node))


def _supervise(nodes: Nodes, node: Node) -> None:
    script = (
        'for name; do ln -sfn "../conf-available/$name" "/etc/monit/conf-enabled/$name"; done && '
        "systemctl enable --quiet monit.service && systemctl restart monit.service"
    )
    _shell(node, script, *_processes(nodes, node))
    node.run([f"{VENDOR}/dh_monit", "up", "--block"], timeout=90)
    poll.until(
        lambda: all(process.works for process in _process_states(nodes, node)),
        seconds=PROCESS_SECONDS,
        every=0.2,
        what=f"Deephaven on {node.name} reaches etcd",
        why_not=lambda: "; ".join(f"{p.name}: {p.said or 'does not run'}" for p in _process_states(nodes, node)),
        error=ClusterError,
    )


def _processes(nodes: Nodes, node: Node) -> tuple[str, ...]:
    """The Deephaven processes that belong on `node`."""
    if node.name != nodes.configuration_server.name:
        return ("query_server",)
    three = node.run(["test", "-e", ACCOUNTS], check=False).rc == 0
    return ("configuration_server", *(["data_import_server"] if three else []))


_PROCESSES = f"""
for name in $(ls /etc/monit/conf-enabled); do
    ! grep -qsx "$name" {KEPT_OFF} || continue
    cd /run/deephaven && kill -0 "$(cat "$name.pid")" && said=$(cat "$name.status") || said=''
    echo "$name $said"
done 2>/dev/null
"""


def _process_states(nodes: Nodes, node: Node) -> tuple[ProcessState, ...]:
    """Those that monit knows and that are not kept off on purpose; of a machine that is off, one that does not run."""
    try:
        lines = _shell(node, _PROCESSES, check=False).splitlines()
    except NodeError:
        lines = []
    return tuple(ProcessState(node.name, *line.split(" ", 1)) for line in lines) or (ProcessState(node.name, "-", ""),)


# Written for bash, whose /dev/tcp needs no HTTP client on the machine.
_PROBE = r"""
ask() {
    timeout 3 bash -c 'exec 3<>/dev/tcp/127.0.0.1/2381 &&
        printf "GET %s HTTP/1.0\r\n\r\n" "$1" >&3 && cat <&3' ask "$1" 2>/dev/null
}
[ -e /usr/lib/systemd/system/dh-etcd.service ] &&
    echo "unit $(systemctl is-active dh-etcd.service)" || echo "unit absent"
ask /health | grep -Eq '"health": *"true"' && echo "healthy 1"
ask /metrics | sed -n -E \
    -e 's/^etcd_server_has_leader ([01]).*/leader \1/p' \
    -e 's/^etcd_server_version\{server_version="([^"]+)"\}.*/version \1/p' \
    -e 's/^etcd_debugging_mvcc_current_revision (.*)/revision \1/p'
exit 0
"""


def _member_state(node: Node) -> MemberState:
    try:
        said = node.run(["bash", "-c", _PROBE]).stdout
    except NodeError:  # switched off, as a machine that is gone for good
        return MemberState(node.name, "unreachable", False, False, "", 0)
    facts = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
    return MemberState(
        name=node.name,
        unit=facts.get("unit", "absent"),
        healthy=facts.get("healthy") == "1",
        has_leader=facts.get("leader") == "1",
        version=facts.get("version", ""),
        revision=int(float(facts.get("revision", "0"))),
    )


def _why_not(nodes: Nodes) -> str:
    """Each member's state and the last line of its log."""
    log = ["journalctl", "-u", UNIT, "-n", "1", "-o", "cat", "--no-pager"]

    def words(node: Node) -> str:
        return f"{node.name} {_member_state(node).unit}, {node.run(log, check=False).stdout.strip()}"

    return "; ".join(on_each(nodes.members, words))


def _names(nodes: tuple[Node, ...]) -> frozenset[str]:
    return frozenset(node.name for node in nodes)


def _shell(node: Node, script: str, *arguments: str, check: bool = True) -> str:
    """`script` with `arguments` as $1 and so on; what it wrote to standard output."""
    return node.run(["sh", "-c", script, "sh", *arguments], check=check).stdout
