"""The lab's machines as the lab's own code reaches them: as root, through the container engine.

This is the lab's back door, for building, breaking and measuring. The runbook under test never
comes this way: it uses ssh, as in production. What the machines are is in `compose/state.py`.
"""

import io
import shlex
import socket
import tarfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import docker
import docker.errors
import requests
from docker.utils.socket import STDERR, frames_iter

from compose.errors import NodeError
from compose.state import PROJECT, LabState, Machine, Role

T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """What one command gave: exit code and decoded output."""

    rc: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Node:
    """One running machine: `name`, and `ip` on the etcd network."""

    name: str
    ip: str
    role: Role

    @property
    def container(self) -> str:
        """The container's name with the engine."""
        return f"{PROJECT}-{self.name}"

    def run(
        self,
        argv: list[str],
        *,
        stdin: bytes | None = None,
        check: bool = True,
        timeout: float = 60,
    ) -> Result:
        """Run `argv` as root on the machine and return what it gave.

        Raises NodeError when it cannot be run, does not end within `timeout` seconds (it is
        then ended on the machine), or, with `check`, ends non-zero.
        """
        bounded = ["timeout", "-k", "5", f"{timeout:g}", *argv]
        try:
            result = _exec(self.container, bounded, stdin or b"", timeout + 10)
        except (
            docker.errors.DockerException,
            requests.RequestException,
            OSError,
        ) as error:
            raise NodeError(f"{self.name}: cannot run {_brief(argv)}: {error}") from error
        if check and result.rc != 0:
            ending = "did not end in time" if result.rc == 124 else f"ended with {result.rc}"
            said = (result.stderr or result.stdout).strip()[-2000:]
            raise NodeError(f"{self.name}: {_brief(argv)} {ending}: {said}")
        return result

    def put(self, path: str, data: bytes, mode: int = 0o600, owner: str = "root:root") -> None:
        """Write `data` to `path`, with owner and mode right before the name appears."""
        script = 'umask 077; cat > "$1.new" && chown "$3" "$1.new" && chmod "$2" "$1.new" && mv -fT "$1.new" "$1"'
        self.run(["sh", "-c", script, "put", path, f"{mode:o}", owner], stdin=data)

    def get(self, path: str) -> bytes:
        """The content of the file at `path`; raises NodeError when there is none."""
        try:
            client = docker.APIClient(version="auto")
            try:
                stream, _ = client.get_archive(self.container, path)
                archive = io.BytesIO(b"".join(stream))
            finally:
                client.close()
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise NodeError(f"{self.name}: cannot read {path}: {error}") from error
        with tarfile.open(fileobj=archive) as tar:
            content = tar.extractfile(tar.getmembers()[0])
            if content is None:
                raise NodeError(f"{self.name}: {path} is not a plain file")
            return content.read()


@dataclass(frozen=True)
class Nodes:
    """All machines of the lab, members in server-number order."""

    members: tuple[Node, ...]
    configuration_server: Node
    query: tuple[Node, ...]
    spares: tuple[Node, ...]

    @property
    def all(self) -> tuple[Node, ...]:
        """Every machine, members first."""
        return (*self.members, self.configuration_server, *self.query, *self.spares)

    @property
    def deephaven(self) -> tuple[Node, ...]:
        """The machines with Deephaven processes, the configuration server first."""
        return (self.configuration_server, *self.query)

    def by_name(self, name: str) -> Node:
        """The machine called `name`; raises NodeError that lists the names there are."""
        for node in self.all:
            if node.name == name:
                return node
        names = ", ".join(node.name for node in self.all)
        raise NodeError(f"the lab has no machine {name!r}; it has {names}")

    @classmethod
    def of(cls, state: LabState) -> "Nodes":
        """The nodes of the lab that `state` describes."""

        def nodes(machines: Iterable[Machine]) -> tuple[Node, ...]:
            return tuple(Node(m.name, m.ip, m.role) for m in machines)

        return cls(
            members=nodes(state.of(Role.MEMBER)),
            configuration_server=nodes(state.of(Role.CONFIGURATION_SERVER))[0],
            query=nodes(state.of(Role.QUERY)),
            spares=nodes(state.of(Role.SPARE)),
        )

    @classmethod
    def read(cls) -> "Nodes":
        """The nodes of the lab that runs; raises StateError when there is none."""
        return cls.of(LabState.read())


def on_each(nodes: Sequence[Node], act: Callable[[Node], T]) -> tuple[T, ...]:
    """`act` on all `nodes` at once, results in their order; the first error is raised."""
    with ThreadPoolExecutor(max_workers=max(1, min(32, len(nodes)))) as pool:
        return tuple(pool.map(act, nodes))


def _brief(argv: list[str]) -> str:
    """A command as an error names it: whole scripts are cut to their beginning."""
    line = " ".join(shlex.join(argv).split())
    return line if len(line) <= 100 else f"{line[:97]}..."


# The SDK hands on the socket behind a reader that may hold the first of the output already. So the command waits for a
# line that is sent once the socket is ours; `read` takes no byte more than that line.
_AFTER_A_LINE = ("sh", "-c", 'read -r _ && exec "$@"', "sh")


def _exec(container: str, argv: list[str], stdin: bytes, seconds: float) -> Result:
    """One exec over a connection of its own: the SDK's client is not safe to share."""
    client = docker.APIClient(version="auto")
    try:
        exec_id = client.exec_create(container, [*_AFTER_A_LINE, *argv], stdin=True, user="root")["Id"]
        hijacked: Any = client.exec_start(exec_id, socket=True)
        raw: socket.socket = getattr(hijacked, "_sock", hijacked)
        raw.settimeout(seconds)
        try:
            raw.sendall(b"\n" + stdin)
            raw.shutdown(socket.SHUT_WR)
            out, err = _output(hijacked)
        finally:
            raw.close()
            hijacked.close()
        return Result(_exit_code(client, exec_id), out, err)
    finally:
        client.close()


def _output(hijacked: Any) -> tuple[str, str]:
    """Everything the command wrote, standard output and standard error apart."""
    out, err = bytearray(), bytearray()
    for stream, chunk in frames_iter(hijacked, tty=False):  # type: ignore[no-untyped-call]
        (err if stream == STDERR else out).extend(chunk)
    return out.decode(errors="replace"), err.decode(errors="replace")


def _exit_code(client: Any, exec_id: str) -> int:
    """The exit code, which the engine may record a moment after the output has ended."""
    deadline = time.monotonic() + 10
    while (code := client.exec_inspect(exec_id)["ExitCode"]) is None:
        if time.monotonic() > deadline:
            raise OSError("the engine recorded no exit code within 10 s")
    return int(code)
