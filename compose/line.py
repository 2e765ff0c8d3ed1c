"""A thin line between the operator and the lab's machines: `up --line 50mbit`.

A token bucket each way on the management network. What goes to the machines shares the one of its bridge, as behind an
operator's own line; what comes back is held on each machine. Both go with the network and the machines.
"""

import contextlib
import re

import docker
import docker.errors
import requests

from compose.errors import LabError
from compose.nodes import Nodes, on_each
from compose.state import PROJECT, LabState

NETWORK = f"{PROJECT}_mgmt"
_BUCKET = ("root", "tbf", "burst", "64kb", "latency", "100ms", "rate")
_ON_A_MACHINE = 'exec tc qdisc replace dev "$(ip -o -4 addr show to "$0" | cut -d " " -f 2)" "$@"'


def parse(text: str) -> str:
    """`50mbit`, `500kbit`, `1gbit`. Raises ValueError."""
    if not re.fullmatch(r"[1-9][0-9]{0,3}[kmg]bit", text):
        raise ValueError(f"{text!r} is no rate like 50mbit")
    return text


def hold(lab: LabState, nodes: Nodes) -> None:
    """Makes the line as thin as `lab` says; nothing to do where it says nothing. Raises LabError."""
    if not lab.line:
        return
    client = docker.from_env(timeout=120)
    try:
        network = client.networks.get(NETWORK)
        network.reload()
        there = network.attrs["Containers"].values()
        addresses = {str(one["Name"]): str(one["IPv4Address"]).partition("/")[0] for one in there}
        bridge = f"br-{network.attrs['Id'][:12]}"
        # Where the engine runs, which need not be this machine.
        argv = ["tc", "qdisc", "replace", "dev", bridge, *_BUCKET, lab.line]
        client.containers.run(lab.image, argv, network_mode="host", cap_add=["NET_ADMIN"], remove=True, entrypoint="")
    except (docker.errors.DockerException, requests.RequestException, KeyError) as error:
        raise LabError(f"the lab's line cannot be held to {lab.line}: {error}") from error
    finally:
        with contextlib.suppress(OSError):
            client.close()
    script = ["sh", "-c", _ON_A_MACHINE]
    on_each(nodes.all, lambda node: node.run([*script, addresses[node.container], *_BUCKET, lab.line]))
