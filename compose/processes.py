"""Deephaven's processes that are off although monit knows them: on purpose, or because monit gave up on them."""

from compose import cluster, poll
from compose.errors import FaultError
from compose.nodes import Node, Nodes

MONIT = "monit -c /etc/monit/monitrc"
KNOWN_TO_MONIT_SECONDS = 30
SPARE = "data_import_server"  # of those in conf-available, the one that the lab does not run by itself

_KEEP_OFF = f"""
grep -qsx "$1" {cluster.KEPT_OFF} || echo "$1" >>{cluster.KEPT_OFF}
ln -sfn "../conf-available/$1" "/etc/monit/conf-enabled/$1"
{MONIT} reload
"""
# What monit does by itself after some restarts in vain.
_GIVE_UP = f"""
{MONIT} unmonitor "$1"
group=$(ps -o pgid= -p "$(cat "/run/deephaven/$1.pid")" | tr -d ' ')
kill -KILL "-$group"
rm -f "/run/deephaven/$1.pid" "/run/deephaven/$1.status"
"""
# monit shows it as not monitored, and nothing that waits to be done.
_LEFT_ALONE = f"{MONIT} -B summary | grep -Eq '^ *{{name}} +Not monitored +Process'"


def keep_off(node: Node, name: str = SPARE) -> None:
    """monit knows the process, and somebody keeps it unmonitored on purpose; `dh_monit up` leaves it off."""
    _shell(node, _KEEP_OFF, name)
    # monit may be about to start it: stopped until it stays so.
    stopped = f"{MONIT} stop {name}; sleep 1; [ ! -e /run/deephaven/{name}.pid ] && {_LEFT_ALONE.format(name=name)}"
    _await(node, stopped, f"monit on {node.name} leaves {name} alone")


def give_up(nodes: Nodes) -> tuple[cluster.ProcessState, ...]:
    """After an outage that was too long for monit: every other process is dead, and unmonitored. Those that are."""
    given_up = cluster.state(nodes).processes[::2]
    for process in given_up:
        node = nodes.by_name(process.host)
        _shell(node, _GIVE_UP, process.name)
        _await(node, _LEFT_ALONE.format(name=process.name), f"monit on {node.name} has given {process.name} up")
    return given_up


def _await(node: Node, shown: str, what: str) -> None:
    poll.until(
        lambda: node.run(["sh", "-c", shown], check=False).rc == 0,
        seconds=KNOWN_TO_MONIT_SECONDS,
        what=what,
        error=FaultError,
    )


def _shell(node: Node, script: str, name: str) -> None:
    node.run(["sh", "-ec", script, "sh", name])
