"""The one adapter around the `etcd3` package: how the lab itself writes to and reads from etcd.

Container addresses are not routable everywhere, so a member is reached as the operator reaches it:
by ssh, with one forwarded port to its loopback address, which its certificate names. What is
written is `compose/load.py`'s business. The runbook does not use this; it asks the vendor's etcdctl
on the hosts.
"""

import importlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from compose import poll
from compose.errors import LabError
from compose.nodes import Node, Nodes
from compose.state import SSH_CONFIG

# etcd3's generated code is older than the protobuf package and is only understood by its pure
# Python implementation. The choice is read once, when protobuf is first imported.
os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"
_etcd3: Any = importlib.import_module("etcd3")
_grpc: Any = importlib.import_module("grpc")

T = TypeVar("T")

CLIENT_ROOT = "/etc/sysconfig/deephaven/etcd/client"
CLIENT_PORT = 2379
PUTS_PER_TRANSACTION = 100  # etcd refuses more than 128 operations in one (--max-txn-ops)
WRITERS = 4
RPC_SECONDS = 20
CONNECT_SECONDS = 20

_CHANNEL: tuple[tuple[str, int], ...] = (
    # One range over all keys is larger than gRPC's limit of 4 MiB.
    ("grpc.max_receive_message_length", -1),
    # The forwarded port is on this machine; a proxy of the environment must not be asked for it.
    ("grpc.enable_http_proxy", 0),
)


class EtcdError(LabError):
    """etcd could not be reached, did not let us in, or refused a request."""


@dataclass(frozen=True)
class Login:
    """A role's client configuration: who to be, by password or by certificate and key, and the CA to trust."""

    user: str
    ca: bytes
    password: str = field(repr=False)
    certificate: tuple[bytes, bytes] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, nodes: Nodes, role: str = "root") -> "Login":
        """The login of `role` as the configuration server has it; raises NodeError when absent."""
        node, directory = nodes.configuration_server, f"{CLIENT_ROOT}/{role}"
        user, ca = node.get(f"{directory}/user").decode().strip(), node.get(f"{directory}/ca.crt")
        if node.run(["test", "-e", f"{directory}/client.crt"], check=False).rc == 0:
            return cls(user, ca, "", (node.get(f"{directory}/client.crt"), node.get(f"{directory}/client.key")))
        return cls(user, ca, node.get(f"{directory}/password").decode().strip())


class Client:
    """One member, as one user. Logs in when made, and once more when its token is refused."""

    def __init__(self, where: str, port: int, login: Login) -> None:
        self._where, self._port, self._login = where, port, login
        self._etcd = self._log_in()

    def read(self, prefix: bytes) -> dict[bytes, bytes]:
        """Every key under `prefix` with its value, all as of one revision; b"" is everything."""
        found = self._ask(
            "read",
            lambda: list(self._etcd.get_prefix(prefix) if prefix else self._etcd.get_all()),
        )
        return {bytes(about.key): bytes(value) for value, about in found}

    def read_range(self, first: bytes, end: bytes) -> dict[bytes, bytes]:
        """Every key from `first` to before `end`, as of one revision."""
        found = self._ask("read", lambda: list(self._etcd.get_range(first, end)))
        return {bytes(about.key): bytes(value) for value, about in found}

    def names(self, prefix: bytes) -> set[bytes]:
        """The keys under `prefix`."""
        return {
            bytes(about.key)
            for _, about in self._ask("list", lambda: list(self._etcd.get_prefix(prefix, keys_only=True)))
        }

    def put(self, key: bytes, value: bytes) -> int:
        """Write one key and return the revision that acknowledged it."""
        answer = self._ask("write", lambda: self._etcd.put(key, value))
        return int(answer.header.revision)

    def put_leased(self, key: bytes, value: bytes, seconds: int) -> None:
        """Write one key with a lease of its own that nobody renews."""
        self._ask("write with a lease", lambda: self._etcd.put(key, value, self._etcd.lease(seconds)))

    def leased(self, prefix: bytes) -> dict[bytes, int]:
        """The keys under `prefix` that have a lease, each with the lease's ID."""
        found = self._ask("read", lambda: list(self._etcd.get_prefix(prefix)))
        return {bytes(about.key): int(about.lease_id) for _, about in found if about.lease_id}

    def put_all(self, data: Mapping[bytes, bytes]) -> None:
        """Write `data` in transactions of a hundred keys, several at once."""
        put = self._etcd.transactions.put
        self._in_transactions([put(key, value) for key, value in data.items()])

    def delete_all(self, keys: Sequence[bytes]) -> None:
        """Delete exactly `keys`."""
        self._in_transactions([self._etcd.transactions.delete(key) for key in keys])

    def raise_alarm(self) -> None:
        """What etcd does by itself when its quota is used up: it refuses all writes from then on."""
        self._ask("raise the alarm", lambda: list(self._etcd.create_alarm()))

    def revision(self) -> int:
        """The cluster's revision, read with consensus."""
        answer = self._ask("read", lambda: self._etcd.get_response(b"/"))
        return int(answer.header.revision)

    def close(self) -> None:
        """Close the connection; the client is of no use afterwards."""
        self._etcd.close()

    def _in_transactions(self, operations: Sequence[Any]) -> None:
        def send(batch: Sequence[Any]) -> None:
            self._ask("write", lambda: self._etcd.transaction([], batch, []))

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(send, _batches(operations, PUTS_PER_TRANSACTION)))

    def _log_in(self) -> Any:
        with tempfile.TemporaryDirectory(prefix="requorum-lab-") as place:
            by_name = {"ca": self._login.ca, **dict(zip(("cert", "key"), self._login.certificate or (), strict=False))}
            for name, content in by_name.items():
                (Path(place) / name).write_bytes(content)
            files = {f"{'ca_cert' if name == 'ca' else f'cert_{name}'}": f"{place}/{name}" for name in by_name}
            who = {} if self._login.certificate else {"user": self._login.user, "password": self._login.password}
            try:
                return _etcd3.client(
                    host="127.0.0.1",
                    port=self._port,
                    **files,
                    **who,
                    timeout=RPC_SECONDS,
                    grpc_options=_CHANNEL,
                )
            except (_etcd3.Etcd3Exception, _grpc.RpcError) as error:
                raise EtcdError(
                    f"{self._where}: cannot log in to etcd as {self._login.user}: {_words(error)}"
                ) from error

    def _ask(self, what: str, request: Callable[[], T]) -> T:
        try:
            try:
                return request()
            except _grpc.RpcError as error:
                # Tokens end after five minutes and with a restart of the member.
                if error.code() is not _grpc.StatusCode.UNAUTHENTICATED:
                    raise
                self._etcd = self._log_in()
                return request()
        except (_etcd3.Etcd3Exception, _grpc.RpcError) as error:
            raise EtcdError(f"{self._where}: etcd refused to {what} as {self._login.user}: {_words(error)}") from error


@contextmanager
def tunnel(node: Node, ssh_config: Path = SSH_CONFIG) -> Iterator[int]:
    """A port of this machine's loopback that leads to etcd's client port on `node`."""
    port = _free_port()
    argv = ["ssh", "-F", str(ssh_config), "-N", "-o", "ExitOnForwardFailure=yes"]
    argv += ["-L", f"127.0.0.1:{port}:127.0.0.1:{CLIENT_PORT}", node.name]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said) as ssh,
    ):

        def forwarded() -> bool:
            if ssh.poll() is not None:
                said.seek(0)
                words = said.read().decode(errors="replace").strip()
                raise EtcdError(f"{node.name}: ssh gave no way to etcd: {words}")
            return _listens(port)

        try:
            poll.until(
                forwarded,
                seconds=CONNECT_SECONDS,
                every=0.02,
                what=f"ssh to {node.name} forwards a port",
                error=EtcdError,
            )
            yield port
        finally:
            ssh.terminate()


@contextmanager
def connect(
    nodes: Nodes, *, member: Node | None = None, role: str = "root", login: Login | None = None
) -> Iterator[Client]:
    """A client of `member`, or else of the first member that lets us in.

    Raises EtcdError, with what each member said, when none does.
    """
    who = login or Login.of(nodes, role)
    refusals: list[str] = []
    with ExitStack() as stack:
        for node in (member,) if member else serving(nodes):
            try:
                with ExitStack() as attempt:
                    port = attempt.enter_context(tunnel(node))
                    client = Client(node.name, port, who)
                    attempt.callback(client.close)
                    stack.push(attempt.pop_all())
            except EtcdError as error:
                refusals.append(str(error))
                continue
            yield client
            return
    raise EtcdError("; ".join(refusals))


def serving(nodes: Nodes) -> tuple[Node, ...]:
    """The machines that the configuration server's root client is configured to use.

    After a recovery on other machines these are not the members that the lab began with.
    """
    raw = nodes.configuration_server.get(f"{CLIENT_ROOT}/root/endpoints").decode()
    addresses = {url.rsplit("/", 1)[-1].rsplit(":", 1)[0] for url in raw.strip().split(",")}
    return tuple(node for node in nodes.all if node.ip in addresses) or nodes.members


def read_all(nodes: Nodes, prefix: str = "") -> dict[bytes, bytes]:
    """Every key under `prefix` with its value, as root sees it; "" is everything."""
    with connect(nodes) as client:
        return client.read(prefix.encode())


def put(nodes: Nodes, key: str, value: str) -> int:
    """Write one key as root; returns the revision that acknowledged it."""
    with connect(nodes) as client:
        return client.put(key.encode(), value.encode())


def _words(error: Any) -> str:
    """What an error of etcd3 or gRPC says, in one line."""
    details = getattr(error, "details", None)
    said = details() if callable(details) else str(error)
    return " ".join(str(said or type(error).__name__).split())


def _batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
