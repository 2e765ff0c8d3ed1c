"""How etcd lies on its machines where an administrator had a say: done once, to a cluster that has just been formed."""

from collections.abc import Mapping
from typing import Any

import yaml

from compose.nodes import Node, Nodes, on_each

LAYOUTS = ("vendor", "wal-dir", "links", "volume", "flags", "environment")
UNIT = "dh-etcd.service"
UNIT_FILE = f"/usr/lib/systemd/system/{UNIT}"
CONFIG = "/etc/etcd/dh/latest/config.yaml"
DATA_ROOT = "/var/lib/etcd/dh"
ELSEWHERE = "/srv/etcd"  # the other place: of a log, of what links lead to, of the volume

# For scripts: `data` and `wal`, wherever configuration, flags or environment say that they are; "" where nothing does.
PLACES = rf"""
place() {{
    cat {CONFIG} {UNIT_FILE} 2>/dev/null | tr -d '"' | sed -n -E \
        -e "s/^$1: *//p" -e "s/.*--$1[= ]([^ ]+).*/\1/p" -e "s/.*ETCD_$2=([^ ]+).*/\1/p" | head -n 1
}}
data=$(place data-dir DATA_DIR)
wal=$(place wal-dir WAL_DIR)
"""

_MAKE = f"install -d -m 0700 -o etcd -g etcd {ELSEWHERE}"
_WAL_DIR = f"""{PLACES}
{_MAKE}
echo "wal-dir: {ELSEWHERE}/wal" >>{CONFIG}
"""
_VOLUME = f"""
{_MAKE}
echo '{ELSEWHERE} {DATA_ROOT} none bind 0 0' >>/etc/fstab
systemctl daemon-reload
systemctl start "$(systemd-escape --path --suffix=mount {DATA_ROOT})"
"""
# An administrator stops the member, moves something to where there is room, and leaves a link.
_MOVED = f"""{PLACES}
{_MAKE}
systemctl stop {UNIT}
for part; do
    mv "$data/$part" "{ELSEWHERE}/${{part##*/}}"
    ln -s "{ELSEWHERE}/${{part##*/}}" "$data/$part"
done
systemctl start --no-block {UNIT}
"""
_DATA_MOVED = f"""{PLACES}
{_MAKE}
systemctl stop {UNIT}
mv "$data" {ELSEWHERE}/data
ln -s {ELSEWHERE}/data "$data"
systemctl start --no-block {UNIT}
"""
_REPLACE_UNIT = f"cat >{UNIT_FILE} && rm {CONFIG} && systemctl daemon-reload"


_CLEAR = f"""
umount {DATA_ROOT} 2>/dev/null || true
sed -i '\\#^{ELSEWHERE} #d' /etc/fstab
[ ! -d {ELSEWHERE} ] || find {ELSEWHERE} -mindepth 1 -delete
"""


def clear(nodes: Nodes) -> None:
    """Undo what an attempt that did not finish has laid elsewhere; etcd does not run."""
    _shell(nodes, _CLEAR)


def before_start(nodes: Nodes, layout: str) -> None:
    """What must be so before etcd first starts."""
    if layout in ("wal-dir", "volume"):
        _shell(nodes, _WAL_DIR if layout == "wal-dir" else _VOLUME)
    elif layout in ("flags", "environment"):
        on_each(nodes.members, lambda node: _into_unit(node, layout))


def after_start(nodes: Nodes, layout: str) -> None:
    """What is done to members that run: log and database of odd ones elsewhere, all the data of even ones."""
    if layout == "links":
        for number, node in enumerate(nodes.members):
            moved = [_DATA_MOVED] if number % 2 else [_MOVED, "sh", "member/snap", "member/wal"]
            node.run(["bash", "-ec", *moved])


def unmount(node: Node) -> None:
    """The volume of the layout `volume` is not there; fstab still says that it should be. etcd must not run."""
    node.run(["umount", DATA_ROOT])


def settings(config: Mapping[str, Any]) -> dict[str, str]:
    """A configuration file's content as etcd's flags, without the dashes before them."""
    found: dict[str, str] = {}
    for name, value in config.items():
        prefix = "peer-" if name == "peer-transport-security" else ""
        for flag, said in value.items() if isinstance(value, dict) else ((name, value),):
            found[prefix + flag] = str(said).lower() if isinstance(said, bool) else str(said)
    return found


def unit(text: str, config: Mapping[str, Any], layout: str) -> str:
    """The unit `text` with all of `config` in it, as flags or as environment, and no configuration file."""
    said = settings(config)
    if layout == "flags":
        command = " ".join(["ExecStart=/usr/bin/etcd", *(f"--{name}={value}" for name, value in said.items())])
    else:
        variables = (f"Environment=ETCD_{name.upper().replace('-', '_')}={value}" for name, value in said.items())
        command = "\n".join([*variables, "ExecStart=/usr/bin/etcd"])
    return "".join(command + "\n" if line.startswith("ExecStart=") else line for line in text.splitlines(keepends=True))


def _into_unit(node: Node, layout: str) -> None:
    text, config = node.get(UNIT_FILE).decode(), yaml.safe_load(node.run(["cat", CONFIG]).stdout)
    node.run(["sh", "-ec", _REPLACE_UNIT], stdin=unit(text, config, layout).encode())


def _shell(nodes: Nodes, script: str) -> None:
    on_each(nodes.members, lambda node: node.run(["bash", "-ec", script]))
